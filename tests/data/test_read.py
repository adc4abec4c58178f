from __future__ import annotations

import gzip

import pandas as pd
import pytest

from whet.data.read import has_header, read
from whet.errors import DataError


def written(tmp_path, text, name="t.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("sep", [",", ";", "\t", "|"])
def test_separators_are_found(tmp_path, sep):
    path = written(tmp_path, "".join(sep.join(r) + "\n" for r in [["a", "b"], ["1", "x"], ["2", "y"]]))
    frame, _ = read(path)
    assert list(frame.columns) == ["a", "b"]
    assert frame["b"].tolist() == ["x", "y"]


@pytest.mark.parametrize("word", ["?", "NA", "", "null", "N/A", "nan"])
def test_words_for_missing(tmp_path, word):
    frame, _ = read(written(tmp_path, f"a,b\n1, {word}\n2,y\n"))
    assert frame["b"].isna().tolist() == [True, False]


def test_blanks_after_commas_and_the_byte_order_mark_go(tmp_path):
    frame, _ = read(written(tmp_path, "\ufeffa, b\n1, x\n2, y\n".encode()))
    assert list(frame.columns) == ["a", "b"]
    assert frame["b"].tolist() == ["x", "y"]


def test_no_header_row_is_seen_and_stated(tmp_path):
    frame, found = read(written(tmp_path, "39,State-gov,<=50K\n50,Private,<=50K\n38,Private,>50K\n"))
    assert list(frame.columns) == ["c1", "c2", "c3"]
    assert len(frame) == 3
    assert [f.code for f in found] == ["HEADER"]
    assert "'39'" in found[0].message


def test_header_rules():
    assert has_header([["name", "town"], ["Ann", "Rome"], ["Bob", "Oslo"]])[0]
    assert not has_header([["M", "b"], ["F", "c"], ["M", "d"]])[0]
    assert has_header([["0", "1", "2"], ["5.5", "4", "1"]])[0], "a frame saved without column names"
    assert has_header([["M", "b"], ["M", "c"]], target="b")[0]
    assert not has_header([["0.1", "R"], ["0.2", "R"]])[0]
    assert not has_header([["7", "2", "M"], ["6", "1", "F"]], target="2")[0], "the target is the second column"


def test_latin_1_and_gzip_are_read(tmp_path):
    frame, found = read(written(tmp_path, "stadt,n\nKöln,1\nBonn,2\n".encode("latin-1")))
    assert frame["stadt"][0] == "Köln"
    assert found[0].code == "DIALECT"
    frame, _ = read(written(tmp_path, gzip.compress(b"a,b\n1,2\n3,4\n"), "t.csv.gz"))
    assert frame["b"].tolist() == [2, 4]


def test_parquet(tmp_path):
    pd.DataFrame({"a": [1, 2], "b": pd.to_datetime(["2020-01-01", None])}).to_parquet(tmp_path / "t.parquet")
    frame, _ = read(tmp_path / "t.parquet")
    assert frame["a"].tolist() == [1, 2]
    assert frame["b"].isna().sum() == 1


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("t.csv", b"", "empty"),
        ("t.csv", b"  \n\n", "empty"),
        ("t.csv", b"\x89PNG\r\n\x1a\n\0\0\0", "binary"),
        ("t.csv", b"a,b\n1,\0\n", "binary"),
        ("t.csv", "a,b\n1,2\n3\n4,5\n", "line 3: 1 fields, but the first line has 2"),
        ("t.csv", "a,b\n1,2\n3,4,5\n", "line 3: 3 fields"),
        ("t.csv", "a,a,b\n1,2,3\n4,5,6\n", "column 'a' appears 2 times (columns 1, 2)"),
        ("t.csv", "a,b\n", "no rows"),
        ("t.csv", "a\n1\n2\n", "one column only"),
        ("t.xlsx", b"PK\x03\x04", "cannot read '.xlsx'. Allowed: .csv"),
        ("t", "a,b\n1,2\n", "no ending"),
        ("t.parquet", b"not parquet", "not a Parquet file"),
        ("t.csv.gz", b"not gzip", "cannot be read"),
    ],
)  # fmt: skip
def test_bad_files_are_one_clear_line(tmp_path, name, text, says):
    path = written(tmp_path, text, name)
    with pytest.raises(DataError) as e:
        read(path)
    assert says in str(e.value)
    assert name in str(e.value)
    assert len(str(e.value).splitlines()) == 1


def test_a_missing_file_names_the_nearest_and_a_folder_is_no_table(tmp_path):
    written(tmp_path, "a,b\n1,2\n", "titanic.csv")
    with pytest.raises(DataError, match=r"no such file\. Did you mean 'titanic\.csv'"):
        read(tmp_path / "titanik.csv")
    with pytest.raises(DataError, match="is a folder"):
        read(tmp_path)


def test_a_quoted_separator_is_not_ragged(tmp_path):
    frame, _ = read(written(tmp_path, 'name,n\n"Braund, Mr. Owen",1\n"x ""y"" z",2\n'))
    assert frame["name"].tolist() == ["Braund, Mr. Owen", 'x "y" z']
