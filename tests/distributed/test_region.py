"""Shared memory: as large as it is said to be, and refused before anything starts where there is no room."""

import os
import subprocess
import sys
import textwrap

import pytest
import torch
from torch import nn

from whet.distributed.flat import Flat
from whet.distributed.local.layout import Layout, memory, region_path
from whet.distributed.local.region import Area, Region
from whet.distributed.named import parse_rule
from whet.distributed.rule import Local
from whet.distributed.sampler import Sampler
from whet.distributed.server import Server
from whet.distributed.shuffle import Shuffle
from whet.distributed.update import Update

MIB = 1 << 20


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(
    "rule", ["async", "sync", "dc-asgd-a", "dc-asgd-c", "average", "elastic", "diloco", "ec", "codistil"]
)
def test_the_shared_memory_is_what_the_formula_says(rule, workers, tmp_path):
    flat = Flat(nn.Linear(1000, 64, bias=False))
    layout = Layout.of(flat, parse_rule(rule).local or Local(), workers)
    Region.make(region_path(tmp_path), layout.areas())
    own = 4 * flat.size  # the server's weights, which are its alone
    small = sum(a.bytes for a in layout.areas().values() if a.dtype != "float32")
    taken = os.stat(region_path(tmp_path))
    assert taken.st_size - small == memory(layout) - own
    assert taken.st_blocks * 512 >= taken.st_size  # it is there, not promised
    assert small <= 64 * (3 + 3 * workers)


def vectors(node):
    """Return bytes of the tensors in a rule's memory."""
    if isinstance(node, torch.Tensor):
        return node.numel() * node.element_size()
    if isinstance(node, dict):
        return sum(map(vectors, node.values()))
    return sum(map(vectors, node)) if isinstance(node, (list, tuple)) else 0


def test_what_delay_compensation_and_momentum_remember_is_what_the_formula_says():
    workers, flat = 3, Flat(nn.Linear(1000, 64))
    optimizer = torch.optim.SGD(flat.parameters, lr=0.1, momentum=0.9)
    rule = parse_rule("dc-asgd-a")
    server = Server(flat, rule, Sampler(Shuffle(8, 1, workers), 1), optimizer=optimizer)
    for w in range(workers):
        server.join(w)
        server.pull(w, torch.empty(flat.size))
        server.push(Update(w, 0, torch.randn(flat.size), tickets=server.ledger.at(w)))
    remembered = vectors(server.memory) + sum(vectors(s) for s in server.optimizer.state.values())
    layout = Layout.of(flat, Local(), workers)
    assert remembered == memory(layout, optimizer=1, squares=True) - memory(layout)


def test_there_is_room_for_the_models_of_more_workers_than_are_left():
    flat = Flat(nn.Linear(10, 6, bias=False))
    for rule, before, room in (("ec", 3, 3), ("codistil", 1, 2), ("async", 3, 0)):
        areas = Layout.of(flat, parse_rule(rule).local or Local(), 2, before=before).areas()
        names = ["snapshot/models", "0/peers", "1/peers"]
        assert [areas[n].size for n in names if n in areas] == ([room * 60] * 3 if room else [])


@pytest.mark.parametrize(("limit", "size"), [(1 * MIB, 4 * MIB)])
def test_no_room_is_one_line_that_names_the_size(limit, size, tmp_path):
    """A limit on the size of files, which the kernel keeps: a page that is not there would be a SIGBUS later."""
    code = f"""
        import resource, signal
        from pathlib import Path
        from whet.distributed.local.place import meet
        from whet.distributed.local.region import Area
        from whet.errors import StoreError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
        try:
            meet({{"a": Area({size // 4})}}, [Path({str(tmp_path)!r})])
        except StoreError as e:
            print(e)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    assert "cannot make 4 MiB of shared memory" in done.stdout
    assert "--shm-size" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_where_memory_is_too_small_it_is_on_disk_and_says_so(tmp_path):
    """A file system of 1 MiB in memory, as a small container has it, seen by one process alone."""
    small, disk = tmp_path / "small", tmp_path / "disk"
    small.mkdir()
    disk.mkdir()
    mount = ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs -o size=1m tmpfs {small} && exec "$@"', "sh"]
    if subprocess.run([*mount, "true"], capture_output=True).returncode:
        pytest.skip("this user may not mount")
    code = f"""
        import warnings
        from pathlib import Path
        from whet.distributed.local.place import meet
        from whet.distributed.local.region import Area
        places = [Path({str(small)!r}), Path({str(disk)!r})]
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            fits, _ = meet({{"a": Area(1000)}}, places)
            other, region = meet({{"a": Area(1000_000)}}, places)
        region["a"].fill_(7)
        print(fits.parent.name, other.parent.name, region["a"].sum().item(), list(places[0].iterdir()) == [fits])
        print(*(w.message for w in said), sep="\\n")
    """
    done = subprocess.run(
        [*mount, sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == "small disk 7000000.0 True"
    assert "cannot make 4 MiB of shared memory: No space left on device" in second
    assert f"Until then it is in {disk}" in second


def test_who_opens_it_sees_what_its_maker_wrote(tmp_path):
    Region.make(tmp_path / "m", {"a": Area(1)})["a"].fill_(3)
    assert Region(tmp_path / "m", {"a": Area(1)})["a"].tolist() == [3.0]
