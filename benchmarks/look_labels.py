"""How well suspected label errors are found: precision and recall, beside cleanlab where it is installed.

Three sources. `digits` with labels flipped at 0, 1, 3 and 10 %, and the first 6,000 images of a folder of IDX files
likewise (`--data`, or WHET_DATA: shared data with vision/fashion_mnist): the whole way of `whet look`, its own quick model
included; cleanlab gets the same probabilities. And the CIFAR-10 test set with the probabilities of labelnoise/, judged by
people: of the candidates five voted on, those whose given label won fewer than three votes are errors (people only saw
candidates, so errors elsewhere are unknown, and precision is of the judged ones). Intervals: 95 %, Clopper-Pearson.
Run: python benchmarks/look_labels.py [--data FOLDER] [--seeds 3]
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy.stats import beta

from whet.data.bundled import digits
from whet.data.load import load
from whet.data.seen.confident import confident
from whet.data.seen.folds import probabilities
from whet.data.seen.view import view

try:
    from cleanlab.filter import find_label_issues
except ImportError:
    find_label_issues = None


def share(hits: int, of: int) -> str:
    """Return a share with its interval."""
    if of == 0:
        return "none"
    low = beta.ppf(0.025, hits, of - hits + 1) if hits else 0.0
    high = beta.ppf(0.975, hits + 1, of - hits) if hits < of else 1.0
    return f"{hits / of:.3f} ({low:.3f} to {high:.3f})"


def suspects(p: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Return the indices each tool suspects."""
    out = {"whet": confident(p, y).suspects}
    if find_label_issues is not None:
        out["cleanlab"] = np.flatnonzero(find_label_issues(y, p, n_jobs=1))
    return out


def flipped(name: str, x: np.ndarray, true: np.ndarray, seeds: int) -> None:
    """Print a row a rate and tool, flips of all seeds taken together."""
    k = int(true.max()) + 1
    for rate in (0.0, 0.01, 0.03, 0.1):
        total: dict[str, np.ndarray] = {}
        estimates = []
        for seed in range(seeds):
            draw = np.random.default_rng(seed)
            wrong = draw.random(len(true)) < rate
            y = np.where(wrong, (true + draw.integers(1, k, len(true))) % k, true)
            p = probabilities(x, y, k, seed=seed)
            estimates.append(confident(p, y).rate)
            for tool, found in suspects(p, y).items():
                counts = np.array([wrong[found].sum(), len(found), wrong.sum()])
                total[tool] = total.get(tool, 0) + counts
        for tool, (hits, found, of) in total.items():
            guess = f"{np.mean(estimates):.3f}" if tool == "whet" else ""
            print(f"| {name} | {rate:.0%} | {tool} | {found} | {share(hits, found)} | {share(hits, of)} | {guess} |")


def judged(folder: Path) -> None:
    """Print precision and recall on the CIFAR-10 test set, by people's votes."""
    p = np.load(folder / "cifar10_test_set_pyx.npy").astype(float)
    votes = json.loads((folder / "cifar10_mturk.json").read_text())
    y = _cifar_labels(folder, votes)
    seen = np.array([v["id"] for v in votes])
    error = np.array([v["id"] for v in votes if v["mturk"]["given"] < 3])
    for tool, found in suspects(p, y).items():
        both = np.intersect1d(found, error)
        known = np.intersect1d(found, seen)
        print(
            f"| CIFAR-10 test | judged | {tool} | {len(found)} | {share(len(both), len(known))} | {share(len(both), len(error))} | |"
        )


def _cifar_labels(folder: Path, votes: list[dict]) -> np.ndarray:
    """Return the given labels of the test set, from the images' own file."""
    z = np.load(folder.parent / "vision" / "cifar10_jpg" / "cifar10_jpeg_bytes.npz")
    y = np.asarray(z["test_y"]).astype(np.int64)
    assert all(y[v["id"]] == v["given_original_label"] for v in votes)
    return y


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("WHET_DATA"))
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    print("| data | flipped | tool | suspects | precision | recall | estimated rate |\n|---|---|---|---|---|---|---|")
    folder = Path(given.data) if given.data else None
    if folder and (folder / "labelnoise").is_dir():
        judged(folder / "labelnoise")
    v = view(digits())
    flipped("digits", v.features, v.y, given.seeds)
    if folder and (folder / "vision" / "fashion_mnist").is_dir():
        v = view(load(folder / "vision" / "fashion_mnist"), most=6000)
        flipped("Fashion-MNIST, 6,000", v.features, v.y, given.seeds)


if __name__ == "__main__":
    main()
