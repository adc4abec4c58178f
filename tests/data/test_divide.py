from __future__ import annotations

import numpy as np
import pytest

from whet.data.divide import divide
from whet.errors import DataError


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("n", [20, 101, 1797])
def test_every_example_is_in_exactly_one_part_and_classes_keep_their_share(seed, n):
    labels = np.random.default_rng(seed).choice(4, n, p=[0.5, 0.3, 0.15, 0.05])
    parts = divide(n, labels=labels, seed=seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(n))
    for part, share in zip(parts, (0.7, 0.15, 0.15), strict=True):
        assert abs(len(part) - share * n) <= 2
        for c in range(4):
            assert abs((labels[part] == c).sum() - share * (labels == c).sum()) <= 2


def test_the_same_seed_gives_the_same_parts_and_another_seed_others():
    a, b, c = divide(100, seed=1), divide(100, seed=1), divide(100, seed=2)
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    assert not np.array_equal(a[2], c[2])


def test_a_class_of_two_is_always_learned():
    labels = np.array([0] * 50 + [1, 1] + [2, 2])
    for seed in range(10):
        assert set(labels[divide(54, labels=labels, seed=seed)[0]]) == {0, 1, 2}


def test_many_tiny_classes_still_fill_every_part():
    labels = np.repeat(np.arange(30), 2)
    train, valid, test = divide(60, labels=labels, seed=0)
    assert (len(train), len(valid), len(test)) == (42, 9, 9)


def test_too_few_examples_and_wrong_labels_are_refused():
    with pytest.raises(DataError, match="too few"):
        divide(2)
    with pytest.raises(DataError, match="3 labels for 5"):
        divide(5, labels=[0, 1, 0])
    with pytest.raises(DataError, match="shares"):
        divide(10, shares=(-1, 2))
