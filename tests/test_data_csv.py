"""CSV files: round trips, what columns may hold, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fastprop import data

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def csv(folder: Path, text: str, name: str = "t.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def everything(dataset) -> data.Batch:
    """All rows of a stream, in order."""
    pieces = [p for b in range(len(dataset.block_rows)) for p in dataset.read(b, 1)]
    columns = zip(*(p.arrays for p in pieces), strict=True)
    return pieces[0].with_arrays([np.concatenate(arrays) for arrays in columns])


# -- CSV -------------------------------------------------------------------------------------------


def test_csv_round_trip(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(1003, 5))
    text = "a,b,c,d,y\n" + "\n".join(",".join(map(repr, map(float, row))) for row in table) + "\n"
    path = csv(tmp_path, text)
    dataset = data.from_csv(path, target="y")
    assert dataset.feature_names == ("a", "b", "c", "d")
    np.testing.assert_array_equal(dataset.x, table[:, :4])
    np.testing.assert_array_equal(dataset.y, table[:, 4])
    chosen = data.from_csv(path, target=["y", "a"], columns=["d", "b"], dtype="float32")
    np.testing.assert_array_equal(chosen.x, table[:, [3, 1]].astype(np.float32))
    np.testing.assert_array_equal(chosen.y, table[:, [4, 0]])
    assert data.from_csv(path).y is None
    stream = data.from_csv(path, target="y", stream=True)
    assert stream.feature_names == ("a", "b", "c", "d")
    np.testing.assert_array_equal(everything(stream).x, table[:, :4])


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffa,y\n1,2\n3,4\n",  # byte-order mark
        "a,y\r\n1,2\r\n3,4\r\n",
        "a,y\n1,2\n3,4",  # no newline at the end
        'a,y\n"1","2"\n"3",4\n',
        "a,y\n\n1,2\n\n3,4\n\n",
        '"a",y\n 1, 2\n3 ,4 \n',
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_csv_forms(tmp_path: Path, text: str, stream: bool) -> None:
    dataset = data.from_csv(csv(tmp_path, text), target="y", stream=stream)
    found = everything(dataset) if stream else dataset.batch
    np.testing.assert_array_equal(found.x, [[1], [3]])
    np.testing.assert_array_equal(found.y, [2, 4])


def test_csv_delimiter_decimal_header_encoding(tmp_path: Path) -> None:
    path = csv(tmp_path, "größe;y\n1,5;2\n2,5;3\n", encoding="latin-1")
    dataset = data.from_csv(path, "y", delimiter=";", decimal=",", encoding="latin-1")
    assert dataset.feature_names == ("größe",)
    np.testing.assert_array_equal(dataset.x, [[1.5], [2.5]])
    plain = csv(tmp_path, "1,2\n3,4\n", "plain.csv")
    np.testing.assert_array_equal(data.from_csv(plain, "f1", header=False).x, [[1], [3]])
    named = data.from_csv(plain, "q", header=["p", "q"])
    np.testing.assert_array_equal(named.y, [2, 4])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("first", ["5.1,-3e2,0", '"5.1", 3 ,NA', "7,nan,"])
def test_csv_whose_first_line_may_be_a_row(tmp_path: Path, first: str, stream: bool) -> None:
    """Neither guess is good: a row would be lost, or names would become one."""
    path = csv(tmp_path, f"{first}\n1,2,3\n")
    message = r"from_csv: .*t\.csv: the first line is all numbers: '.*header=False.*header=True"
    for target in (None, "y", "f2"):
        with pytest.raises(ValueError, match=message):
            data.from_csv(path, target, stream=stream)

    def read(**options: object) -> data.Batch:
        made = data.from_csv(path, stream=stream, missing=0, **options)
        return everything(made) if stream else made.batch

    assert len(read(header=False).x) == len(read(header=["a", "b", "c"]).x) == 2
    np.testing.assert_array_equal(read(header=True).x, [[1, 2, 3]])


def test_csv_first_lines_that_are_names(tmp_path: Path) -> None:
    for first in ("a,1,2", "x1,y1,z1", "1.5.2,1,2"):
        assert len(data.from_csv(csv(tmp_path, f"{first}\n1,2,3\n"))) == 1
    comma = csv(tmp_path, "1,5;2\n3,5;4\n")
    with pytest.raises(ValueError, match="the first line is all numbers: '1,5', '2'"):
        data.from_csv(comma, delimiter=";", decimal=",")


@pytest.mark.parametrize("header", [None, 0, "infer", "a"])
def test_csv_headers_that_are_wrong(tmp_path: Path, header: object) -> None:
    with pytest.raises(TypeError, match=r"from_csv: header must be True, False, 'auto' or names"):
        data.from_csv(csv(tmp_path, "a,b\n1,2\n"), header=header)
    with pytest.raises(ValueError, match="header has a name twice"):
        data.from_csv(csv(tmp_path, "a,b\n1,2\n"), header=["a", "a"])


def test_csv_compressed_and_folders(tmp_path: Path) -> None:
    import gzip

    with gzip.open(tmp_path / "b.csv.gz", "wt") as file:
        file.write("a,y\n5,6\n")
    csv(tmp_path, "a,y\n3,4.5\n", "c.csv")
    csv(tmp_path, "a,y\n1,2\n", "a.csv")
    np.testing.assert_array_equal(data.from_csv(tmp_path / "b.csv.gz", "y").y, [6])
    folder = data.from_csv(tmp_path, "y")
    np.testing.assert_array_equal(folder.x, [[1], [3]])
    np.testing.assert_array_equal(folder.y, [2, 4.5])
    listed = data.from_csv([tmp_path / "c.csv", tmp_path / "a.csv"], "a", stream=True)
    np.testing.assert_array_equal(everything(listed).x, [[4.5], [2]])


def test_csv_types(tmp_path: Path) -> None:
    path = csv(tmp_path, "flag,big,small,y\ntrue,9007199254740993,1,0\nfalse,-5,2,1\n")
    dataset = data.from_csv(path, "y")
    assert dataset.x.dtype == np.int64  # no float holds all of them
    np.testing.assert_array_equal(dataset.x, [[1, 9007199254740993, 1], [0, -5, 2]])
    assert dataset.y.dtype == np.int64


def test_csv_categories(tmp_path: Path) -> None:
    path = csv(tmp_path, "size,city,kind\n1,Rome,b\n2,Oslo,a\n3,Rome,b\n")
    dataset = data.from_csv(path, "kind", categories=["city", "kind"])
    assert dataset.categories == {"city": ("Oslo", "Rome"), "kind": ("a", "b")}
    assert dataset.feature_names == ("size", "city=Oslo", "city=Rome")
    np.testing.assert_array_equal(dataset.x, [[1, 0, 1], [2, 1, 0], [3, 0, 1]])
    np.testing.assert_array_equal(dataset.y, [1, 0, 1])
    # the same numbers for other data
    other = csv(tmp_path, "size,city,kind\n1,Rome,a\n", "other.csv")
    again = data.from_csv(other, "kind", categories=dataset.categories)
    np.testing.assert_array_equal(again.x, [[1, 0, 1]])
    np.testing.assert_array_equal(again.y, [0])
    streamed = data.from_csv(other, "kind", categories=dataset.categories, stream=True)
    np.testing.assert_array_equal(everything(streamed).x, [[1, 0, 1]])
    csv(tmp_path, "size,city,kind\n1,Rome,a\n2,Bonn,a\n", "other.csv")
    for stream in (False, True):
        with pytest.raises(
            ValueError, match=r"row 1, column 'city': 'Bonn' is not among .*'Oslo', 'Rome'"
        ):
            everything(data.from_csv(other, "kind", categories=dataset.categories, stream=stream))
    with pytest.raises(ValueError, match=r"stream needs the values .*categories=\{'kind'"):
        data.from_csv(path, "kind", categories=["kind"], stream=True)


def test_csv_missing_values(tmp_path: Path) -> None:
    path = csv(tmp_path, "a,b,y\n1,2,0\n,4,1\n5,NA,0\n7,8,1\n")
    with pytest.raises(
        ValueError, match=r"from_csv: .*t\.csv, row 1, column 'a': the value is mis"
    ):
        data.from_csv(path, "y")
    with pytest.raises(ValueError, match=r"missing='drop'.*missing=0.*columns=\[…\]"):
        data.from_csv(path, "y")
    for stream in (False, True):

        def read(missing, stream=stream):
            made = data.from_csv(path, "y", missing=missing, stream=stream)
            return everything(made) if stream else made.batch

        dropped = read("drop")
        np.testing.assert_array_equal(dropped.x, [[1, 2], [7, 8]])
        np.testing.assert_array_equal(dropped.y, [0, 1])
        np.testing.assert_array_equal(read(-1).x, [[1, 2], [-1, 4], [5, -1], [7, 8]])
        np.testing.assert_array_equal(read(0.5).x, [[1, 2], [0.5, 4], [5, 0.5], [7, 8]])
        mixed = read({"a": 9, "b": "drop"})
        np.testing.assert_array_equal(mixed.x, [[1, 2], [9, 4], [7, 8]])
        with pytest.raises(ValueError, match="row 2, column 'b'"):
            read({"a": 3})
    # a number is for inputs; a target that is missing is another matter
    target = csv(tmp_path, "a,y\n1,2\n3,\n", "target.csv")
    with pytest.raises(ValueError, match="row 1, column 'y': the value is missing"):
        data.from_csv(target, "y", missing=0)
    np.testing.assert_array_equal(data.from_csv(target, "y", missing={"y": 7}).y, [2, 7])
    with pytest.raises(ValueError, match="there are no rows"):
        data.from_csv(csv(tmp_path, "a,y\n,1\n"), "y", missing="drop")


def test_csv_missing_category(tmp_path: Path) -> None:
    path = csv(tmp_path, "a,kind\n1,x\n2,\n")
    with pytest.raises(ValueError, match="row 1, column 'kind': the value is missing"):
        data.from_csv(path, "kind", categories=["kind"])
    filled = data.from_csv(path, "kind", categories={"kind": ["x", "z"]}, missing={"kind": "z"})
    np.testing.assert_array_equal(filled.y, [0, 1])


def test_csv_text_is_named(tmp_path: Path) -> None:
    rows = ["1,2"] * 300_000
    rows[287_654] = "1,unknown"
    path = csv(tmp_path, "a,b\n" + "\n".join(rows) + "\n")
    message = r"row 287654, column 'b': 'unknown' is.* not a number.*null_values=\['unknown'\]"
    with pytest.raises(ValueError, match=message):
        data.from_csv(path, "a")
    with pytest.raises(ValueError, match=message):
        everything(data.from_csv(path, "a", stream=True))
    cleaned = data.from_csv(path, "a", null_values=["unknown"], missing="drop")
    assert len(cleaned) == len(rows) - 1
    names = csv(tmp_path, "name,y\nAnn,1\nBob,2\n", "names.csv")
    with pytest.raises(ValueError, match=r"row 0, column 'name': 'Ann' .*categories=\['name'\]"):
        data.from_csv(names, "y")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"t\.csv is empty"),
        ("a,y\n", "no rows"),
        ("a,y\n1,2\n3\n", r"t\.csv, row 1 has 1 fields, the others have 2: '3'"),
        ("a,y\n1,2\n3,4,5\n", "row 1 has 3 fields"),
        ("a,z\n1,2\n", r"no column 'y'.*There are: 'a', 'z'"),
        ("y\n1\n", r"has no column but 'y'"),
        ("a,a,y\n1,2,3\n", "several columns called 'a'"),
    ],
)
def test_csv_that_is_wrong(tmp_path: Path, text: str, message: str, stream: bool) -> None:
    path = csv(tmp_path, text)
    with pytest.raises(ValueError, match=message):
        data.from_csv(path, "y", stream=stream).head()


def test_csv_encodings_that_are_wrong(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,y\n\xff,2\n")
    with pytest.raises(ValueError, match="column 'a' is no text in utf-8; give encoding="):
        data.from_csv(path, "y", categories=[])
    with pytest.raises(ValueError, match="encoding='nonsense'"):
        data.from_csv(path, "y", encoding="nonsense")
    utf16 = csv(tmp_path, "a,y\n1,2\n", "u.csv", "utf-16")
    np.testing.assert_array_equal(data.from_csv(utf16, "y", encoding="utf-16").y, [2])


def test_arguments_that_are_wrong(tmp_path: Path) -> None:
    path = csv(tmp_path, "a,b,y\n1,2,3\n")
    with pytest.raises(ValueError, match=r"no column 'target'\. There are: 'a', 'b', 'y'"):
        data.from_csv(path, "target")
    with pytest.raises(ValueError, match=r"no column 'Y'; did you mean 'y'\? There are: "):
        data.from_csv(path, "Y")
    with pytest.raises(ValueError, match=r"no column 'yy'; did you mean 'y'\?"):
        data.from_csv(path, "yy")
    with pytest.raises(ValueError, match="'y' cannot be input and target"):
        data.from_csv(path, "y", columns=["a", "y"])
    with pytest.raises(TypeError, match="columns must be names"):
        data.from_csv(path, "y", columns="a")
    with pytest.raises(ValueError, match="has a name twice"):
        data.from_csv(path, "y", columns=["a", "a"])
    with pytest.raises(ValueError, match="at least one input"):
        data.from_csv(path, "y", columns=[])
    with pytest.raises(ValueError, match="missing must be 'error', 'drop' or a number"):
        data.from_csv(path, "y", missing="mean")
    with pytest.raises(ValueError, match="must be finite"):
        data.from_csv(path, "y", missing=float("nan"))
    with pytest.raises(ValueError, match="no column 'q'"):
        data.from_csv(path, "y", missing={"q": 0})
    with pytest.raises(TypeError, match="must be a list of values"):
        data.from_csv(path, "y", categories={"a": "xyz"})
    with pytest.raises(ValueError, match="must be different values"):
        data.from_csv(path, "y", categories={"a": ["1", "1"]})
    with pytest.raises(ValueError, match="delimiter must be one character"):
        data.from_csv(path, "y", delimiter=", ")
    with pytest.raises(TypeError, match="null_values must be a list"):
        data.from_csv(path, "y", null_values="x")
    with pytest.raises(FileNotFoundError, match="no file"):
        data.from_csv(tmp_path / "none.csv")
    with pytest.raises(FileNotFoundError, match=r"no \*\.parquet"):
        data.from_parquet(tmp_path)
    with pytest.raises(TypeError, match="path must be"):
        data.from_csv([])
    with pytest.raises(TypeError, match="path of a file"):
        data.from_csv([3])


@pytest.mark.parametrize("value", ["2020-01-01", "2020-01-01 10:00:00", "12:30:00"])
def test_csv_dates_and_times_are_refused(tmp_path: Path, value: str) -> None:
    path = csv(tmp_path, f"a,when,y\n1,{value},3\n")
    with pytest.raises(TypeError, match=r"column 'when' is of type .*no number; turn it into"):
        data.from_csv(path, "y")
    np.testing.assert_array_equal(data.from_csv(path, "y", columns=["a"]).x, [[1]])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a;y\n1;2\n", r"no column 'y'; is it delimiter=';'\? There are: 'a;y'"),
        ("a\ty\n1\t2\n", r"no column 'y'; is it delimiter='\\t'\?"),
        ('a,y\n"1,5",2\n', r"'1,5' is text, not a number; choose .*decimal=',' for numbers like"),
        ("a,y\n1,\n", r"column 'y': the value is missing; .* fills in a number$"),
        ("a,y\n1,no\n", r"'no' is text, not a number; choose categories=\['y'\] for classes$"),
        ("a,y\n", "no rows"),
    ],
)
def test_offers_what_helps(tmp_path: Path, text: str, message: str, stream: bool) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        data.from_csv(path, "y", stream=stream).head()
    assert "t.csv" in str(caught.value)
