from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.errors import UsageError
from whet.execute import gpu
from whet.execute.gpu import check_share, divide, listed, named, visible


def test_without_a_wish_each_worker_has_one_or_they_share_alike():
    assert divide([], 3, None) is None
    assert divide(["0", "1", "2"], 2, None) == [["0"], ["1"]]
    assert divide(["a", "b"], 4, None) == [["a"], ["b"], ["a"], ["b"]]


def test_shares():
    assert divide([], 2, 0) == [[], []]
    assert divide(["0"], 2, 0) == [[], []]
    assert divide(["0"], 2, 0.5) == [["0"], ["0"]]
    assert divide(["0", "1"], 4, 0.5) == [["0"], ["1"], ["0"], ["1"]]
    assert divide(["0"], 10, 0.1) == [["0"]] * 10  # 1 / 0.1 as a float is just 10
    assert divide(["0"], 3, 1 / 3) == [["0"]] * 3
    assert divide(["0", "1", "2", "3"], 2, 2) == [["0", "1"], ["2", "3"]]
    assert divide(["0", "1", "2"], 1, 1) == [["0"]]


@pytest.mark.parametrize(
    ("devices", "workers", "share", "match"),
    [
        (2, 3, 1, "3 workers need 3 GPUs, visible are 2. Use at most 2 workers"),
        (1, 3, 0.5, "3 workers need 2 GPUs, visible are 1. Use at most 2 workers"),
        (2, 3, 0.7, "need 3 GPUs, visible are 2"),  # what is left of a device is too small for another
        (3, 2, 2, "need 4 GPUs, visible are 3. Use at most 1 workers"),
        (1, 1, 2, "need 2 GPUs, visible are 1. Use gpus=1 at most"),
        (0, 1, 1, "no GPU is visible"),
    ],
)
def test_too_few_are_refused_with_the_numbers(devices, workers, share, match):
    with pytest.raises(UsageError, match=match):
        divide([str(i) for i in range(devices)], workers, share)


@pytest.mark.parametrize("share", [-1, 1.5, float("nan"), float("inf"), "many", "", True, None, [1]])
def test_a_share_that_makes_no_sense(share):
    with pytest.raises(UsageError, match=r"gpus: must be 0, a fraction of 1 or a whole number.*Use e.g. 1 or 0.5"):
        check_share(share)


@given(st.integers(1, 8), st.integers(1, 30), st.one_of(st.sampled_from([1, 2, 3, 4]), st.floats(0.05, 1)))
def test_no_device_is_given_out_more_than_once_over(devices, workers, share):
    names = [f"GPU-{i}" for i in range(devices)]
    try:
        shares = divide(names, workers, share)
    except UsageError:
        assert workers * share > devices or share > devices or workers > devices * int(1 / min(share, 1))  # it is so
        return
    assert len(shares) == workers
    each = max(1, int(share))
    assert all(len(set(s)) == each for s in shares)
    load = Counter(d for s in shares for d in s)
    assert set(load) <= set(names)
    assert all(n * min(share, 1) <= 1 + 1e-6 for n in load.values())
    assert max(load.values()) - min(load.get(d, 0) for d in names[: workers * each]) <= 1  # evenly


def test_what_is_visible_is_what_cuda_would_say(monkeypatch):
    for text, devices in {"": [], "-1": [], "0": ["0"], "3, 1": ["3", "1"], "0,-1,1": ["0"], "NoDevFiles": []}.items():
        assert named(text) == devices
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", text)
        assert visible() == devices
    assert named("GPU-1a-2b,MIG-3c") == ["GPU-1a-2b", "MIG-3c"]


def test_the_driver_is_asked_when_there_is_one(monkeypatch, tmp_path):
    """A program of the driver's name stands in for it: this is the only part that no machine without a GPU can run."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    lister = tmp_path / "nvidia-smi"
    lister.write_text(
        "#!/bin/sh\necho 'GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aa)'\necho 'GPU 1: A100 (UUID: GPU-bb)'\n"
    )
    lister.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(gpu, "_DRIVERS", ("/dev/null",))
    assert visible() == ["GPU-aa", "GPU-bb"]
    monkeypatch.setattr(gpu, "_DRIVERS", ("/dev/no-such-driver",))
    assert visible() == []


def test_slices_stand_in_for_a_device_that_is_divided():
    text = "GPU 0: A (UUID: GPU-a)\n  MIG 1g Device 0: (UUID: MIG-1)\n  MIG 1g Device 1: (UUID: MIG-2)\nGPU 1: B (UUID: GPU-b)\n"
    assert listed(text) == ["MIG-1", "MIG-2", "GPU-b"]
    assert listed("No devices were found\n") == []
