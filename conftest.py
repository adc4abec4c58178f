"""What holds for every test and doctest."""

from __future__ import annotations

import importlib.util
import os
import shutil

# One thread a process: tests run side by side, and results do not depend on the number of cores.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("NO_COLOR", "1")

import pytest  # noqa: E402

try:
    from hypothesis import settings
except ImportError:  # the doctests alone need no Hypothesis
    pass
else:
    # No wall time decides a test, and CI draws the same examples every time.
    settings.register_profile("whet", deadline=None, derandomize=bool(os.environ.get("CI")), print_blob=True)
    settings.load_profile("whet")


# A doctest run imports what it collects, and these import whole frameworks: tests/train/hooks has their examples.
collect_ignore_glob = [
    f"whet/train/hooks/{name}.py" for name in ("lightning", "huggingface", "ignite", "ignite_state", "fastai", "keras")
]

_SEEDS = 2  # of each test that `make test` runs; `make soak` runs them all


@pytest.hookimpl(tryfirst=True)  # before `-m "not soak"` is applied
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave all but the first seeds of a test to `make soak`, and skip what this machine cannot run."""
    seeds: dict[tuple[str, str], list[object]] = {}
    for item in items:
        values = getattr(getattr(item, "callspec", None), "params", {})
        if "seed" in values:
            name = getattr(item, "originalname", item.name)
            own = seeds.setdefault((str(item.path), name), [])
            if values["seed"] not in own:
                own.append(values["seed"])
            if own.index(values["seed"]) >= _SEEDS:
                item.add_marker(pytest.mark.soak)
    _skip(items)


def _skip(items: list[pytest.Item]) -> None:
    """Skip what this machine cannot run: `gpu` without CUDA, and never in CI `browser`, `postgres`, `ray` without them."""
    gpu = [item for item in items if item.get_closest_marker("gpu")]
    if gpu:
        import torch

        if not torch.cuda.is_available():
            for item in gpu:
                item.add_marker(pytest.mark.skip(reason="needs CUDA"))
    chromium = (shutil.which("chromium") or shutil.which("google-chrome")) and shutil.which("chromedriver")
    if not chromium and not os.environ.get("CI"):
        for item in items:
            if item.get_closest_marker("browser"):
                item.add_marker(pytest.mark.skip(reason="needs Chromium and chromedriver"))
    on_servers = [item for item in items if item.get_closest_marker("postgres")]
    if on_servers and not os.environ.get("CI"):
        from postgres_server import programs

        if programs() is None:
            for item in on_servers:
                item.add_marker(pytest.mark.skip(reason="needs PostgreSQL's programs (initdb, postgres)"))

    if importlib.util.find_spec("ray") is None and not os.environ.get("CI"):
        for item in items:
            if item.get_closest_marker("ray"):
                item.add_marker(pytest.mark.skip(reason="needs Ray"))


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> object:
    """Run doctests in an empty folder, so that an example that writes `runs/` leaves nothing in the tree."""
    if not isinstance(request.node, pytest.DoctestItem):
        yield
        return
    here = os.getcwd()
    os.chdir(tmp_path_factory.mktemp("doctest"))
    try:
        yield
    finally:
        os.chdir(here)
