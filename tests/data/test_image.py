from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from whet.data.image import image_folder
from whet.data.load import load
from whet.errors import DataError


def paint(path, size=(10, 8), mode="RGB", seed=0, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    array = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(array).convert(mode).save(path, **options)
    return array


def album(folder, n=12, **options):
    for k, kind in enumerate(("cat", "dog")):
        for i in range(n):
            paint(folder / kind / f"{i:03}.png", seed=100 * k + i, **options)


def codes(data):
    return {f.code: f for f in data.findings}


@pytest.mark.parametrize("seed", [0, 1])
def test_a_folder_of_classes(tmp_path, seed):
    album(tmp_path, 20)
    data = load(tmp_path, seed=seed)
    assert data.classes == ("cat", "dog")
    assert data.train.inputs.shape == (28, 3, 8, 10)
    assert data.train.inputs.dtype == torch.uint8
    assert data.meta["examples"] == {"train": 28, "valid": 6, "test": 6}
    assert not data.findings
    ids = [*data.train.ids, *data.valid.ids, *data.sealed().ids]
    assert sorted(ids) == list(range(40))
    assert (data.valid.targets == torch.tensor(data.valid.ids >= 20)).all()
    at = int(data.train.ids[0])
    seen = np.array(Image.open(tmp_path / ("cat" if at < 20 else "dog") / f"{at % 20:03}.png"))
    assert np.array_equal(data.train.inputs[0].permute(1, 2, 0).numpy(), seen)
    json.dumps(dict(data.meta))


def test_sizes_and_modes_are_made_one_and_stated(tmp_path):
    album(tmp_path)
    paint(tmp_path / "cat" / "grey.png", mode="L")
    paint(tmp_path / "cat" / "palette.png", mode="P")
    paint(tmp_path / "dog" / "clear.png", mode="RGBA", size=(20, 30))
    paint(tmp_path / "dog" / "print.jpg", mode="CMYK", size=(500, 300))
    paint(tmp_path / "dog" / "one.png", mode="1")
    data = image_folder(tmp_path)
    every = torch.cat([data.train.inputs, data.valid.inputs, data.sealed().inputs])
    assert every.shape == (29, 3, 8, 10)
    assert "all become 10x8" in codes(data)["SIZE"].message
    assert "all become RGB" in codes(data)["IMAGE-MODE"].message


def test_grey_pictures_have_one_channel_and_16_bits_become_8(tmp_path):
    album(tmp_path, mode="L")
    wide = np.linspace(0, 65535, 80).astype(np.uint16).reshape(8, 10)
    Image.fromarray(wide).save(tmp_path / "cat" / "deep.png")
    data = image_folder(tmp_path)
    assert data.meta["image"] == {"channels": 1, "height": 8, "width": 10}
    splits = [data.train, data.valid, data.sealed()]
    deep = [s.inputs[i] for s in splits for i, at in enumerate(s.ids) if at == 12]
    assert np.abs(deep[0][0].numpy().astype(float) - wide / 257).max() <= 1


def test_transparent_is_white_and_exif_turns(tmp_path):
    album(tmp_path)
    Image.new("RGBA", (10, 8), (0, 0, 0, 0)).save(tmp_path / "cat" / "000.png")
    side = Image.fromarray(np.repeat(np.uint8([[0], [255]]), [4, 4], axis=0).repeat(10, 1)).convert("RGB")  # dark above
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    side.save(tmp_path / "cat" / "001.png", exif=exif)
    data = image_folder(tmp_path)
    splits = [data.train, data.valid, data.sealed()]
    found = {int(at): s.inputs[i] for s in splits for i, at in enumerate(s.ids)}
    assert int(found[0].min()) == 255
    assert found[1][0, 0, 0] == 255
    assert found[1][0, 7, 0] == 0


def test_large_pictures_are_scaled_to_64_and_size_overrides(tmp_path):
    album(tmp_path, size=(200, 100))
    assert image_folder(tmp_path).train.inputs.shape[2:] == (32, 64)
    assert image_folder(tmp_path, size=(20, 16)).train.inputs.shape[2:] == (20, 16)


def test_given_splits_are_kept(tmp_path):
    for split, n in (("train", 10), ("val", 4), ("test", 3)):
        album(tmp_path / split, n)
    data = image_folder(tmp_path)
    assert data.meta["examples"] == {"train": 20, "valid": 8, "test": 6}
    assert len(data.sealed()) == 6
    assert codes(data)["SPLIT"].message == "given splits: train/ 20, val/ 8, test/ 6"


def test_classes_that_a_given_split_lacks_are_said(tmp_path):
    for split, n in (("train", 10), ("val", 4), ("test", 3)):
        album(tmp_path / split, n)
    lost = sorted(p for p in (tmp_path / "val").iterdir())[0]
    shutil.rmtree(lost)
    found = [f for f in image_folder(tmp_path).findings if f.severity == "WARN"]
    assert [(f.code, f.evidence["split"], f.evidence["absent"]) for f in found] == [("SPLIT", "valid", [lost.name])]
    assert found[0].message.startswith(f"val/ has no example of 1 of the 2 classes: {lost.name!r}")


def test_what_is_not_given_comes_off_train(tmp_path):
    album(tmp_path / "train", 20)
    album(tmp_path / "test", 3)
    data = image_folder(tmp_path)
    assert data.meta["examples"] == {"train": 34, "valid": 6, "test": 6}
    assert "valid divided off train" in codes(data)["SPLIT"].message


def test_unreadable_pictures_are_named_counted_and_skipped(tmp_path):
    album(tmp_path, 20)
    (tmp_path / "cat" / "empty.png").write_bytes(b"")
    (tmp_path / "dog" / "text.jpg").write_text("not a picture at all")
    whole = (tmp_path / "dog" / "000.png").read_bytes()
    for i in range(20):  # cut off in the middle: the header is fine; enough of them that every split has one
        (tmp_path / "dog" / f"cut{i:02}.png").write_bytes(whole[: len(whole) // 2])
    data = image_folder(tmp_path)
    finding = codes(data)["UNREADABLE"]
    assert {"cat/empty.png", "dog/text.jpg"} <= set(finding.evidence["files"])
    assert "0 bytes" in finding.message
    test = data.sealed()
    cut = 20 - (finding.evidence["n"] - 2)  # those in the sealed split are found when it is opened
    assert 0 < cut < 20
    assert len(data.train) + len(data.valid) + len(test) == 40


def test_pictures_in_deeper_folders_belong_to_their_class_and_other_files_do_not(tmp_path):
    album(tmp_path)
    paint(tmp_path / "cat" / "more" / "x.PNG", seed=77)
    (tmp_path / "cat" / "notes.txt").write_text("x")
    (tmp_path / ".hidden").mkdir()
    assert sum(image_folder(tmp_path).meta["examples"].values()) == 25


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: None, "no class folders, got no folder"),
        (lambda p: (p / "bird").mkdir(), "no pictures in any of its 1 folders (bird"),
        (lambda p: paint(p / "a.png"), "no class folders, got 1 loose pictures"),
        (lambda p: (album(p), (p / "bird").mkdir()), "bird: class folder without pictures, got nothing"),
        (lambda p: (album(p), (p / "bird").mkdir(), (p / "bird" / "a.pdf").write_text("x")), "got 1 .pdf"),
        (lambda p: [paint(p / "cat" / f"{i}.png") for i in range(9)], "one class only (cat)"),
        (lambda p: (album(p), (p / "bird").mkdir(), (p / "bird" / "a.png").write_bytes(b"")), "none of its 1 pictures"),
        (
            lambda p: (album(p / "train"), paint(p / "test" / "bird" / "a.png")),
            "class folders bird are not under train/",
        ),
    ],
)
def test_folders_that_cannot_be_used(tmp_path, make, says):
    make(tmp_path)
    with pytest.raises(DataError) as e:
        image_folder(tmp_path)
    assert says in str(e.value)
    assert len(str(e.value).splitlines()) == 1


def test_no_such_folder(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        image_folder(tmp_path / "x")


def test_classes_may_be_called_test(tmp_path):
    for kind in ("test", "train"):
        for i in range(10):
            paint(tmp_path / kind / f"{i}.png", seed=i)
    assert image_folder(tmp_path).classes == ("test", "train")
