"""Text as data: words, the encoding of a column, and folders of files."""

from __future__ import annotations

import json
import unicodedata

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from whet.data.load import load
from whet.data.prepare import apply_encoding, fit_encoding
from whet.data.seen.view import view
from whet.data.table import table
from whet.data.text import same_text, text_keys, words
from whet.data.textcolumn import LONGEST, fit_text, is_text, word_numbers
from whet.data.textfolder import is_text_folder, read_text
from whet.errors import DataError, TaskError
from whet.tasks import reference, resolve, restore
from whet.tasks.table import TableTask

SEEDS = [0, 1]


def reviews(n=200, seed=0):
    """Sentences over a vocabulary as natural ones have it (Zipf), half of them with words of liking."""
    draw = np.random.default_rng(seed)
    common = np.array([f"word{i}" for i in range(400)])
    p = 1 / np.arange(1, 401)
    good = draw.integers(0, 2, n)
    said = []
    for liked in good:
        own = list(draw.choice(common, draw.integers(8, 25), p=p / p.sum()))
        own += list(draw.choice(["fine", "great", "lovely"] if liked else ["dull", "awful", "boring"], 3))
        said.append(" ".join(draw.permutation(own)))
    return pd.DataFrame({"review": said, "stars": draw.normal(size=n), "good": np.where(good, "yes", "no")})


# -- words


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
@example("हिन्दी में I\u0307 ΑΣ. e\u0301 don’t ''a'b' 東京tower")
@example("\u0345 a\u0345")
def test_words_lose_nothing_but_spaces_and_case_and_are_stable(text):
    found = words(text)
    kept = unicodedata.normalize("NFC", text).lower()
    assert "".join(found) == "".join(c for c in kept if not c.isspace())
    assert all(w and not any(c.isspace() for c in w) for w in found)
    assert [w for own in (words(w) for w in found) for w in own] == found


def test_words_of_many_scripts():
    assert words("Don't stop -- it's 5 o'clock!") == ["don't", "stop", "-", "-", "it's", "5", "o'clock", "!"]
    assert words("Straße, ЁЛКА, ΑΘΗΝΑ") == ["straße", ",", "ёлка", ",", "αθηνα"]
    assert words("हिन्दी में") == ["हिन्दी", "में"]
    assert words("東京タワー 한국어") == [*"東京タワー", "한국어"]
    assert words("cafe\u0301") == words("caf\u00e9")
    assert words(" \t\n") == []


@given(st.text(max_size=30), st.sampled_from([" ", "\t", "\n ", "\u00a0"]))
def test_the_same_text_is_the_same_whatever_its_case_and_spaces(text, space):
    spaced = space + text.replace(" ", space) + space
    assert same_text(spaced) == same_text(text)
    a, b = text_keys([spaced, text])
    assert a == b


# -- the encoding


@pytest.mark.parametrize("seed", SEEDS)
def test_the_vocabulary_is_of_the_training_rows_and_the_most_frequent_first(seed):
    said = list(reviews(seed=seed)["review"])
    entry, fact = fit_text(said, "review")
    rows = pd.Series([w for t in said for w in set(t.split())]).value_counts()
    assert entry["values"] == sorted(rows.index[rows >= 2], key=lambda w: (-rows[w], w))
    sizes = np.array([len(t.split()) for t in said])
    assert (sizes <= entry["length"]).mean() >= 0.98
    assert fact["longest"] == sizes.max()
    numbers = word_numbers(entry, [*said, "never seen", "", None])
    first = said[0].split()
    at = {w: i + 2 for i, w in enumerate(entry["values"])}
    assert numbers[0].tolist()[: len(first)] == [at.get(w, 1) for w in first][: entry["length"]]
    assert numbers[-3].tolist()[:3] == [1, 1, 0]
    assert not numbers[-2:].any()


def test_no_more_than_the_most_frequent_words_and_the_longest_text_are_kept():
    long = " ".join(f"w{i % 12_000}" for i in range(24_000))
    entry, fact = fit_text([long, long, "w1 w2"] * 20, "t")
    assert len(entry["values"]) <= 10_000
    assert entry["length"] == LONGEST
    assert fact["cut"] == pytest.approx(2 / 3)
    huge = "again and " * 100_000  # a megabyte
    assert word_numbers(entry, [huge]).shape == (1, LONGEST)


def test_what_is_free_text_and_what_is_not():
    frame = reviews()
    assert is_text(list(frame["review"]))
    assert not is_text(list(frame["review"])[:19])
    assert not is_text([f"person {i}" for i in range(100)])
    assert not is_text([f"urn:{i}:{i * 7}" for i in range(100)])
    assert not is_text([f"{a} of the {b}" for a in ("man", "dog") for b in ("sea", "sky")] * 20)
    draw = np.random.default_rng(0)
    assert not is_text([" ".join(f"{draw.integers(1 << 60):x}x" for _ in range(4)) for _ in range(60)])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_table_with_text_has_three_inputs_and_states_the_guess(seed):
    frame = reviews(seed=seed)
    frame.loc[3, "review"] = None
    data = table(frame, "good", seed=seed)
    numbers, codes, read = data.train.parts
    assert numbers.shape == (len(data.train), 1)
    assert codes.shape == (len(data.train), 0)
    assert read.dtype == torch.int64
    assert data.features == ("stars", "review")
    (found,) = [f for f in data.findings if f.code == "TEXT"]
    assert "texts=()" in found.fix
    assert data.raw["train"]["review"][0] == frame["review"][data.train.ids[0]]
    # The vocabulary knows nothing of validation: rows changed there change no number of training.
    changed = frame.copy()
    changed.loc[data.valid.ids, "review"] = "something else altogether"
    assert torch.equal(table(changed, "good", seed=seed).train.parts[2], read)
    encoding = json.loads(json.dumps(data.meta["encoding"]))
    again = apply_encoding(encoding, frame.iloc[data.valid.ids])
    assert all(torch.equal(a, b) for a, b in zip(again, data.valid.parts, strict=True))


def test_which_columns_are_text_can_be_said():
    frame = reviews()
    assert "review" in [f.where for f in table(frame, "good", texts=()).findings if f.code == "ID"]
    frame["note"] = ["short", "long"] * 100
    kinds = {c["name"]: c["kind"] for c in table(frame, "good", texts=["note"]).meta["encoding"]["columns"]}
    assert kinds == {"stars": "number", "note": "text"}
    with pytest.raises(DataError, match=r"texts: no column 'revue'\. Did you mean 'review'"):
        table(frame, "good", texts=["revue"])
    encoding, found = fit_encoding(pd.DataFrame({"x": [1.0, 2.0], "t": [" ", None]}), texts=["t"])
    assert [c["name"] for c in encoding["columns"]] == ["x"]
    assert found[0].code == "EMPTY"


def test_long_texts_and_another_encoding_in_a_file(tmp_path):
    frame = reviews(60)
    frame.loc[3, "review"] = "a very long, caf\u00e9 story\nof two lines " * 30_000  # a megabyte, with commas and lines
    frame.to_csv(tmp_path / "t.csv", index=False, encoding="latin-1")
    data = load(tmp_path / "t.csv", "good")
    assert {"DIALECT", "TEXT"} <= {f.code for f in data.findings}
    assert data.meta["encoding"]["columns"][0]["kind"] == "text"
    said = pd.concat(data.raw.values())["review"]
    assert set(said) <= set(frame["review"])


def test_a_part_of_many_examples_keeps_its_texts():
    frame = reviews(300)
    data = table(frame, "good")
    part = view(data, most=90, seed=1)
    assert part.part
    (t,) = part.texts
    assert [t.strings[i] for i in range(90)] == [frame["review"][i] for i in part.ids]
    assert t.features.shape[0] == part.features.shape[0] == 90


# -- folders


def write(folder, said, labels, split=""):
    for i, (text, label) in enumerate(zip(said, labels, strict=True)):
        path = folder / split / label / f"{i}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())


@pytest.mark.parametrize("seed", SEEDS)
def test_a_folder_of_texts_is_the_table_of_its_texts(tmp_path, seed):
    frame = reviews(80, seed=seed)
    write(tmp_path, frame["review"], frame["good"])
    data = load(tmp_path, seed=seed)
    assert data.classes == ("no", "yes")
    assert (len(data.train), len(data.valid), data.meta["examples"]["test"]) == (56, 12, 12)
    said = {f"{g}/{i}.txt": t for i, (t, g) in enumerate(zip(frame["review"], frame["good"], strict=True))}
    for name, split in (("train", data.train), ("valid", data.valid)):
        rows = data.raw[name]
        assert [said[f] for f in rows["file"]] == list(rows["text"])
        assert [data.classes[y] for y in split.targets] == [f.split("/")[0] for f in rows["file"]]
        assert torch.equal(split.parts[2], apply_encoding(data.meta["encoding"], rows)[2])
    test = data.sealed()
    assert len(test) == 12
    assert not set(test.ids) & {*data.train.ids, *data.valid.ids}


def test_given_splits_and_other_classes_in_one(tmp_path):
    frame = reviews(80)
    write(tmp_path, frame["review"][:60], frame["good"][:60], "train")
    write(tmp_path, frame["review"][60:], frame["good"][60:], "test")
    data = load(tmp_path)
    assert data.meta["examples"] == {"train": 51, "valid": 9, "test": 20}
    assert "test/ 20; valid divided off train" in data.findings[0].message
    write(tmp_path, ["x y z"], ["maybe"], "test")
    with pytest.raises(DataError, match="class folders maybe are not under train/"):
        load(tmp_path)


def test_classes_that_a_given_split_lacks_are_said(tmp_path):
    frame = reviews(80)
    write(tmp_path, frame["review"][:60], frame["good"][:60], "train")
    write(tmp_path, frame["review"][60:], ["yes"] * 20, "test")
    found = [f for f in load(tmp_path).findings if f.code == "SPLIT" and f.severity == "WARN"]
    assert [f.message for f in found] == [
        "test/ has no example of 1 of the 2 classes: 'no'; its score says nothing of it"
    ]
    assert found[0].evidence == {"split": "test", "absent": ["no"], "classes": 2}
    write(tmp_path, ["a dull day"], ["no"], "test")
    assert all(f.severity != "WARN" for f in load(tmp_path).findings)


def test_files_that_are_no_text_are_skipped_and_said(tmp_path):
    frame = reviews(80)
    write(tmp_path, frame["review"], frame["good"])
    for split in range(40):  # of the visible splits some in any case
        (tmp_path / "yes" / f"x{split}.txt").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(50))
    (tmp_path / "no" / "empty.txt").write_bytes(b"")
    (tmp_path / "no" / "a.txt").write_bytes("déjà vu".encode("latin-1"))
    (tmp_path / "no" / "b.txt").write_bytes("déjà vu".encode("utf-16"))
    found = {f.code: f for f in load(tmp_path).findings}
    assert found["UNREADABLE"].severity == "WARN"
    assert "binary, starts with 89 50 4e 47" in found["UNREADABLE"].message
    assert read_text(tmp_path / "no" / "a.txt") == ("déjà vu", "cp1252")
    assert read_text(tmp_path / "no" / "b.txt") == ("déjà vu", "utf-16")
    assert read_text(tmp_path / "no" / "empty.txt")[0] == ""
    (tmp_path / "no" / "cut.txt").write_bytes(b"a" * 999_999 + "é".encode())  # the limit is inside a letter
    assert read_text(tmp_path / "no" / "cut.txt") == ("a" * 999_999, "utf-8")


def test_folders_that_cannot_be_used(tmp_path):
    write(tmp_path, ["some words here"] * 30, ["only"] * 30)
    with pytest.raises(DataError, match=r"one class only \(only\)"):
        load(tmp_path)
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match="class folder without texts, got nothing"):
        load(tmp_path)
    for i in range(10):
        (tmp_path / "other" / f"{i}.txt").write_bytes(bytes(range(256)))
    with pytest.raises(DataError, match="no readable training text of class other"):
        load(tmp_path)
    with pytest.raises(DataError, match="has no target column"):
        load(tmp_path, "text")
    (tmp_path / "other" / "p.png").write_bytes(b"")
    assert not is_text_folder(tmp_path)
    with pytest.raises(DataError, match=r"no class folders, got 30 loose texts\. Put the texts of each class"):
        load(tmp_path / "only")


def test_a_folder_of_texts_is_a_task_that_another_process_can_make(tmp_path):
    frame = reviews(80)
    write(tmp_path, frame["review"], frame["good"])
    task = resolve(str(tmp_path), seed=3)
    assert isinstance(task, TableTask)
    again = restore(reference(task))
    assert torch.equal(again.data({}).train.parts[2], task.data({}).train.parts[2])
    made = TableTask(tmp_path, seed=3)
    assert restore(reference(made)).seed == 3
    frame.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(
        TaskError, match="cannot make this task again"
    ):  # the columns that are text are not in a reference
        reference(TableTask(tmp_path / "t.csv", "good", texts=()))
    with pytest.raises(DataError, match="Leave --target out"):
        resolve(str(tmp_path), target="text")
