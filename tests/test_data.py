"""Arrays, frames and files on their way in."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from fastprop.data import RowOrder, check_finite, split_rows, to_array, train_test_split

F32 = np.dtype(np.float32)


def same_memory(a: np.ndarray, b: np.ndarray) -> bool:
    return np.shares_memory(a, b)


@pytest.mark.parametrize(
    "dtype",
    ["bool", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", ">f8", ">i4"],
)
def test_every_numeric_dtype_is_converted(dtype: str) -> None:
    source = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)
    array = to_array("x", source, F32)
    assert array.dtype == F32
    assert array.flags.c_contiguous
    np.testing.assert_array_equal(array, source.astype(F32))


def test_longdouble_is_converted() -> None:
    assert to_array("x", np.ones(3, np.longdouble), F32).dtype == F32


def test_right_dtype_and_layout_are_not_copied() -> None:
    source = np.ones((4, 3), F32)
    source.flags.writeable = False
    assert same_memory(to_array("x", source, F32), source)


@pytest.mark.parametrize("view", ["transposed", "strided", "reversed", "fortran"])
def test_layouts(view: str) -> None:
    base = np.arange(24, dtype=F32).reshape(4, 6)
    source = {
        "transposed": base.T,
        "strided": base[::2, ::3],
        "reversed": base[::-1],
        "fortran": np.asfortranarray(base),
    }[view]
    array = to_array("x", source, F32)
    assert array.flags.c_contiguous
    np.testing.assert_array_equal(array, source)


def test_unaligned_array_is_copied() -> None:
    raw = np.zeros(4 * 6 + 1, np.uint8)
    source = raw[1:].view(F32)
    assert not source.flags.aligned
    assert to_array("x", source, F32).flags.aligned


def test_default_dtypes() -> None:
    assert to_array("y", np.ones(2, np.int8)).dtype == np.int64
    assert to_array("y", np.ones(2, bool)).dtype == np.int64
    assert to_array("y", np.ones(2, np.float16)).dtype == np.float32
    assert to_array("y", np.ones(2, np.float64)).dtype == np.float64


def test_lists() -> None:
    np.testing.assert_array_equal(to_array("x", [[1, 2], [3, 4]], F32), [[1, 2], [3, 4]])


def test_conversion_is_said(caplog: pytest.LogCaptureFixture) -> None:
    notes: list[str] = []
    with caplog.at_level(logging.INFO, logger="fastprop"):
        to_array("x", np.ones((3, 2)), F32, notes)
        to_array("x", np.ones((3, 2), F32), F32, notes)
    assert notes == ["x was converted from float64 to float32 (24 bytes)"]
    assert notes[0] in caplog.text


def test_memory_mapped_file_is_not_copied(tmp_path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.arange(12, dtype=F32).reshape(4, 3))
    source = np.load(path, mmap_mode="r")
    array = to_array("x", source, F32)
    assert same_memory(array, source)
    check_finite("x", array)


def test_converting_a_memory_mapped_file_warns(tmp_path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.ones((4, 3)))
    with caplog.at_level(logging.WARNING, logger="fastprop"):
        to_array("x", np.load(path, mmap_mode="r"), F32)
    assert "save the file as float32" in caplog.text


def test_pandas() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5], "c": [True, False]})
    np.testing.assert_array_equal(to_array("x", frame, F32), [[1, 0.5, 1], [2, 1.5, 0]])
    np.testing.assert_array_equal(to_array("y", frame["a"]), [1, 2])


def test_pandas_nullable_columns() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "b": [0.5, 1.5]})
    np.testing.assert_array_equal(to_array("x", frame, F32), [[1, 0.5], [np.nan, 1.5]])


def test_pandas_text_column_is_named() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"age": [1, 2], "city": ["Rome", "Oslo"]})
    with pytest.raises(TypeError, match=r"fit: x: column 'city' .* is not numeric"):
        to_array("fit: x", frame, F32)
    with pytest.raises(TypeError, match=r"y: the series 'city' \(.*\) is not numeric; encode it"):
        to_array("y", frame["city"])
    with pytest.raises(TypeError, match=r"y: the series \(.*\) is not numeric"):
        to_array("y", pd.Series(["a", "b"]))
    with pytest.raises(TypeError, match="column 'kind'"):
        to_array("x", pd.DataFrame({"kind": pd.Categorical(["a", "b"])}), F32)


def test_polars() -> None:
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"a": [1, 2], "b": [0.5, 1.5]})
    np.testing.assert_array_equal(to_array("x", frame, F32), [[1, 0.5], [2, 1.5]])
    np.testing.assert_array_equal(to_array("y", frame["a"]), [1, 2])
    missing = pl.DataFrame({"a": [1, None], "b": [True, False]})
    np.testing.assert_array_equal(to_array("x", missing, F32), [[1, 1], [np.nan, 0]])
    with pytest.raises(TypeError, match="column 'city'"):
        to_array("x", pl.DataFrame({"a": [1], "city": ["Rome"]}), F32)


class ThroughDlpack:
    """An array of some other library."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    def __dlpack__(self, **options):
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


def test_dlpack() -> None:
    source = np.arange(6, dtype=F32).reshape(2, 3)
    array = to_array("x", ThroughDlpack(source), F32)
    assert same_memory(array, source)


class BrokenDlpack(ThroughDlpack):
    def __dlpack__(self, **options):
        raise BufferError("the array lives elsewhere")


def test_unreadable_dlpack() -> None:
    with pytest.raises(TypeError, match=r"x is a .*BrokenDlpack that NumPy cannot read"):
        to_array("x", BrokenDlpack(np.ones(2)), F32)


def test_torch() -> None:
    torch = pytest.importorskip("torch")
    np.testing.assert_array_equal(to_array("x", torch.arange(4), F32), [0, 1, 2, 3])
    with pytest.raises(TypeError, match="NumPy cannot read"):
        to_array("x", torch.ones(2, requires_grad=True), F32)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.ones(2, complex), "complex128.*real and imaginary"),
        (np.array([1, None], object), "object"),
        (np.array(["a", "b"]), "encode text"),
        (np.array(["2020-01-01"], "datetime64[D]"), "datetime64"),
        (np.ma.masked_array([1.0, 2.0], mask=[0, 1]), "masked"),
        (None, "None"),
        (object(), "object"),
    ],
)
def test_not_numbers(value, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        to_array("x", value, F32)


def test_uneven_lists() -> None:
    with pytest.raises(ValueError, match="x cannot become an array"):
        to_array("x", [[1, 2], [3]], F32)


def test_sparse() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match="sparse"):
        to_array("x", sparse.csr_matrix(np.eye(2)), F32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_check_finite_says_where(dtype, bad) -> None:
    x = np.zeros((50, 7), dtype)
    check_finite("x", x)
    x[31, 5] = bad
    x[40, 1] = np.nan
    with pytest.raises(ValueError, match=r"x is -?(nan|inf) at row 31, column 5"):
        check_finite("x", x)


def test_overflow_is_told_from_infinity() -> None:
    source = np.array([[1.0, 1e300]])
    array = to_array("x", source, F32)
    with pytest.raises(ValueError, match=r"1e\+?300.*too large for float32"):
        check_finite("x", array, source)


def test_orders_are_permutations_and_differ() -> None:
    order = RowOrder(100, shuffle=True, seed=3)
    first, second = order(1), order(2)
    assert sorted(first) == sorted(second) == list(range(100))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, RowOrder(100, shuffle=True, seed=3)(1))
    assert not np.array_equal(first, RowOrder(100, shuffle=True, seed=4)(1))
    np.testing.assert_array_equal(RowOrder(5, shuffle=False, seed=0)(7), range(5))


def test_order_of_some_rows() -> None:
    rows = np.array([4, 7, 9], np.int64)
    assert sorted(RowOrder(3, rows, shuffle=True, seed=0)(1)) == [4, 7, 9]
    np.testing.assert_array_equal(RowOrder(3, rows, shuffle=False, seed=0)(1), rows)


def test_split_rows() -> None:
    train, test = split_rows(10, 0.3, seed=1)
    assert len(train) == 7
    assert len(test) == 3
    assert sorted([*train, *test]) == list(range(10))
    for fraction in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match="fraction"):
            split_rows(10, fraction)


def test_train_test_split() -> None:
    x, y = np.arange(20).reshape(10, 2), np.arange(10)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.2, seed=5)
    assert x_test.shape == (2, 2)
    np.testing.assert_array_equal(x_train[:, 0] // 2, y_train)
    np.testing.assert_array_equal(x_test[:, 0] // 2, y_test)
    with pytest.raises(ValueError, match="different lengths"):
        train_test_split(x, y[:-1])
    with pytest.raises(ValueError, match="no row"):
        train_test_split(x, test_size=0.0)
    with pytest.raises(ValueError, match="at least one"):
        train_test_split()
