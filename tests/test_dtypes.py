"""Integers, masks, and the one rule for dtypes that differ."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import DTYPES, rng, uniform

import fastprop as fp
from fastprop import Tensor, tensor
from fastprop import functional as F

A = rng(1).integers(-5, 5, (4, 1, 3))
B = rng(2).integers(-5, 5, (2, 3))
X, Y = tensor(A), tensor(B)
EMPTY = np.zeros((0, 3), np.int64)


def equal(ours: Tensor, theirs: np.ndarray, dtype: str) -> None:
    assert ours.dtype == dtype
    assert ours.shape == np.shape(theirs)
    np.testing.assert_array_equal(ours.data, theirs)


# -- which dtype ----------------------------------------------------------------------------------


def test_one_rule_for_dtypes_that_differ() -> None:
    single, double, whole = (tensor(np.ones(2, t)) for t in ("float32", "float64", "int64"))
    mask = np.array([True, False])
    for other in (2, 2.5, np.float64(2), True, [1.0, 2.0], whole, np.arange(2), mask):
        assert (single * other).dtype == np.float32
        assert (
            other * double if not isinstance(other, list) else double * other
        ).dtype == "float64"
    assert (whole * 2.5).dtype == np.float32
    assert (whole * mask).dtype == np.int64
    np.testing.assert_array_equal((whole * 2.5).data, [2.5, 2.5])
    for f in (F.add, F.maximum, F.matmul, F.less, lambda a, b: F.where(a > 0, a, b)):
        with pytest.raises(TypeError, match=r"operands have different dtypes, .* astype"):
            f(single, double)
    assert F.concatenate([whole, whole]).dtype == np.int64
    with pytest.raises(TypeError, match="concatenate: parts have different dtypes"):
        F.concatenate([single, double])


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1, "int64"), (1.5, "float32"), ([1, 2], "int64"), ([1.0, 2], "float32"),
        (np.ones(2, np.float16), "float32"), (np.ones(2, np.uint8), "int64"), (True, "float32"),
        ([True, False], "float32"), (np.ones(2, np.float64), "float64"),
        (np.float64(1), "float64"), (np.ones(2, np.int32), "int64"), ([], "float32"),
        (np.ones(2, ">f4"), "float32"), (np.ones(2, ">f8"), "float64"),
        (np.ones(2, ">i8"), "int64"), (np.ones(2, ">i2"), "int64"),
        (np.array([2**63 - 1], np.uint64), "int64"), (np.ma.array([1.0, 2.0]), "float64"),
        pytest.param(
            np.array([1 / 3], np.longdouble).astype("f8").astype(np.longdouble), "float64",
            marks=pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="is float64"),
        ),
    ],
)  # fmt: skip
def test_what_a_tensor_is_made_of(data, dtype: str) -> None:
    assert tensor(data).dtype == dtype
    np.testing.assert_array_equal(tensor(data).data, np.asarray(data))
    assert tensor(data, dtype="float64").dtype == np.float64


@pytest.mark.parametrize("data", [1j, "a", None, [None], np.array("2020", "datetime64[Y]")])
def test_what_is_no_number(data) -> None:
    with pytest.raises(TypeError, match=r"Tensor: expects real numbers, got (\w+ of )?dtype"):
        tensor(data)


def test_numbers_that_would_become_others() -> None:
    with pytest.raises(ValueError, match="Tensor: 9223372036854775808 is beyond int64"):
        tensor(np.array([1, 2**63], np.uint64))
    with pytest.raises(TypeError, match="Tensor: the array has masked elements"):
        tensor(np.ma.array([1.0, 2.0], mask=[False, True]))


# -- integers -------------------------------------------------------------------------------------


def test_arithmetic_of_integers() -> None:
    for ours, theirs in [
        (X + Y, A + B), (X - 1, A - 1), (2 * X, 2 * A), (F.maximum(X, Y), np.maximum(A, B)),
        (F.minimum(X, 0), np.minimum(A, 0)), (X[:, 0] + X[0], A[:, 0] + A[0]), (-X, -A),
        (abs(X), abs(A)), (X.sign(), np.sign(A)), (X**2, A**2), (X**3, A**3), (X**0, A**0),
        (X ** (Y + 5), A ** (B + 5)), (2 ** abs(X), 2 ** abs(A)), (X.clip(-2, 3), A.clip(-2, 3)),
        (F.where(X > 0, X, Y), np.where(A > 0, A, B)), (F.where(0.5 * X, X, 7), np.where(A, A, 7)),
        (X.clone(), A), (F.copy(EMPTY), EMPTY),
    ]:  # fmt: skip
        equal(ours, theirs, "int64")
    for ours, theirs in [
        (X > Y, A > B), (X <= Y, A <= B), (X == 2, A == 2), (X != Y, A != B), (X >= 0, A >= 0),
        (X < Y, A < B), (X / 2, A / 2),
    ]:  # fmt: skip
        equal(ours, theirs, "float32")
    np.testing.assert_array_equal(X[X > 1].data, A[A > 1])
    big = tensor([2**62, -(2**63)])
    equal(big + big, np.array([-(2**63), 0]), "int64")  # wraps around, as in NumPy
    equal(-big, -big.data, "int64")
    equal(abs(big), abs(big.data), "int64")
    equal(big**2, big.data**2, "int64")
    with pytest.raises(ValueError, match="pow: integers have no negative powers"):
        X**-1
    with pytest.raises(ValueError, match="pow: integers have no negative powers"):
        2**X
    with pytest.raises(TypeError, match="matmul: expects float32 or float64 operands, got int64"):
        X @ Y.T


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (2, 3, 4), (0, 3), (3, 0)])
def test_reductions_of_integers(shape: tuple[int, ...]) -> None:
    a = rng(3).integers(-9, 9, shape)
    x = tensor(a)
    for axis in [None, *range(a.ndim), tuple(range(a.ndim))]:
        for keep in (False, True):
            equal(x.sum(axis, keep), a.sum(axis, keepdims=keep), "int64")
            equal(x.prod(axis, keep), a.prod(axis, keepdims=keep), "int64")
            equal(F.any(x, axis, keep), a.any(axis, keepdims=keep), "float32")
            equal(F.all(x, axis, keep), a.all(axis, keepdims=keep), "float32")
            if a.size:
                equal(x.max(axis, keep), a.max(axis, keepdims=keep), "int64")
                equal(x.min(axis, keep), a.min(axis, keepdims=keep), "int64")
                mean = x.mean(axis, keep)
                assert mean.dtype == np.float32
                np.testing.assert_allclose(mean.data, a.mean(axis, keepdims=keep), rtol=1e-6)
        if isinstance(axis, int):
            equal(F.cumsum(x, axis), a.cumsum(axis), "int64")
            equal(F.argsort(x, axis), a.argsort(axis, kind="stable"), "int64")
            equal(F.sort(x, axis)[0], np.sort(a, axis), "int64")
            if a.size:
                equal(F.argmax(x, axis), a.argmax(axis), "int64")
                equal(F.argmin(x, axis), a.argmin(axis), "int64")


def test_integers_become_floats_where_they_must() -> None:
    a = abs(A) + 1
    x = tensor(a)
    for ours, theirs in [
        (F.exp(x), np.exp(a)), (F.log(x), np.log(a)), (F.sqrt(x), np.sqrt(a)), (x.var(), a.var()),
        (x.std(0), a.std(0)), (x.norm(), np.linalg.norm(a)), (F.tanh(x), np.tanh(a)),
        (F.logsumexp(x), np.log(np.exp(a).sum())), (x**0.5, a**0.5), (F.softmax(x, 0), None),
        (F.sin(3), np.sin(3)),
    ]:  # fmt: skip
        assert ours.dtype == np.float32
        if theirs is not None:
            np.testing.assert_allclose(ours.data, theirs, rtol=2e-6)
    big = tensor([2**53 - 1, 2**53 - 3])
    assert big.mean().item() == float(np.float32(2**53 - 2))


def test_smallest_and_largest() -> None:
    ends = np.array([-(2**63), 2**63 - 1, 0])
    x = tensor(ends)
    assert (x.argmax().item(), x.argmin().item()) == (1, 0)
    assert (x.max().item(), x.min().item()) == (2**63 - 1, -(2**63))
    np.testing.assert_array_equal(F.argsort(x, descending=True).data, [1, 2, 0])


def test_conversion() -> None:
    for dtype in DTYPES:
        x = np.array([1.9, -1.9, -0.0, np.nan, np.inf, -np.inf, 1e30, -1e30], dtype)
        low, high = -(2**63), 2**63 - 1
        y = tensor(x, requires_grad=True).astype("int64")
        assert not y.requires_grad
        np.testing.assert_array_equal(y.data, [1, -1, 0, 0, high, low, high, low])
    equal(X.astype("float32").astype(int), A, "int64")
    with pytest.raises(TypeError, match="cast: dtype must be float32, float64 or int64, got int32"):
        X.astype("int32")


def test_integers_move_as_floats_do() -> None:
    equal(F.expand(tensor([[1], [2]]), 2, 3), np.repeat([[1], [2]], 3, 1), "int64")
    equal(F.tril(A[:, 0]), np.tril(A[:, 0]), "int64")
    counts = F.scatter_add(np.zeros(4, int), 0, [0, 3, 3, 1, 3], np.ones(5, int))
    equal(counts, np.bincount([0, 3, 3, 1, 3]), "int64")


# -- masks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [*DTYPES, "int64"])
def test_masks(dtype: str) -> None:
    a, b = (uniform((4, 5), -9, 9, seed=i).astype(dtype) for i in (1, 2))
    x, y = tensor(a), tensor(b)
    p, q = a > 1, b < 2
    given = "float32" if dtype == "int64" else dtype
    for ours, theirs in [
        ((x > 1) & (y < 2), p & q), ((x > 1) | (y < 2), p | q), ((x > 1) ^ (y < 2), p ^ q),
        (~(x > 1), ~p), ((x > 1) & q, p & q), (p | (y < 2), p | q), (p ^ (y < 2), p ^ q),
        (F.logical_and(x, y), np.logical_and(a, b)), (F.logical_or(x, 0), np.logical_or(a, 0)),
        (F.logical_xor(x, y), np.logical_xor(a, b)), (F.logical_not(x), np.logical_not(a)),
        ((x > 1).any(0), p.any(0)), ((x > 1).all(1, True), p.all(1, keepdims=True)),
        (F.isnan(x), np.isnan(a)), (F.isinf(x), np.isinf(a)), (F.isfinite(x), np.isfinite(a)),
    ]:  # fmt: skip
        equal(ours, theirs, given)
    np.testing.assert_array_equal(x[(x > 1) & (y < 2)].data, a[p & q])
    np.testing.assert_array_equal(x[tensor(p)].data, a[p])  # not rows 0 and 1
    np.testing.assert_array_equal((x * p).data, a * p)
    assert (x > 1).mean().item() == pytest.approx(p.mean())
    assert not (tensor(a.astype(float), requires_grad=True) > 1).requires_grad


def test_masks_of_unlike_dtypes() -> None:
    double, whole = tensor([[0.5, -1.0]], dtype="float64"), tensor([1, 0])
    equal((double > 0) & (whole == 1), np.array([[True, False]]), "float64")
    equal(F.logical_or(whole, double > 0), np.array([[True, False]]), "float64")
    equal(F.where(whole == 1, double, 0.0), np.array([[0.5, 0]]), "float64")
    for wrong in (lambda: whole & whole, lambda: (double > 0) | whole, lambda: ~whole):
        with pytest.raises(TypeError, match=r"Tensor [&|~]: for masks, which comparisons give"):
            wrong()


def test_not_numbers_in_masks() -> None:
    x = tensor(np.array([np.nan, np.inf, -np.inf, 0.0, 1.0]))
    equal(F.isnan(x), [1, 0, 0, 0, 0], "float64")
    equal(F.isinf(x), [0, 1, 1, 0, 0], "float64")
    equal(F.isfinite(x), [0, 0, 0, 1, 1], "float64")
    assert bool(F.any(x))
    assert not bool(F.all(x))
    assert bool(F.all(EMPTY))
    assert not bool(F.any(EMPTY))


def test_where_conditions_of_every_dtype() -> None:
    x = tensor(np.array([1.0, 2.0, 3.0]), requires_grad=True)
    for condition in (
        np.array([True, False, True]), np.array([1, 0, -2]), np.array([0.5, 0.0, np.nan]),
        tensor(np.array([2, 0, 1])), tensor(np.array([1, 0, 1], np.float32)), [True, False, True],
    ):  # fmt: skip
        np.testing.assert_array_equal(F.where(condition, x, 0.0).data, [1, 0, 3])
        np.testing.assert_array_equal(fp.grad(F.where(condition, x, 0.0).sum(), x).data, [1, 0, 1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_beside_tensors_are_told_apart(dtype) -> None:
    a = np.array([1.5, -2.0], dtype)
    numbers = (0.0, -0.0, 0, 1, 1.0, -1, 3, 0.1, float("inf"), 2**62, 2**63, 2**40)
    for number in (*numbers, *numbers[::-1]):  # made, and found again
        found, wanted = (Tensor(a) * number).data, a * dtype(number)
        np.testing.assert_array_equal(found, wanted)
        np.testing.assert_array_equal(np.signbit(found), np.signbit(wanted))
        assert found.dtype == dtype
    with pytest.raises(TypeError):
        Tensor(a) * 2**70
