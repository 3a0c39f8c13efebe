"""Reductions and broadcasting: values, derivatives, messages."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import DTYPES, ORACLES, assert_close, gradcheck, torch, uniform

from fastprop import Tensor, grad, tensor
from fastprop import functional as F

CASES = [
    ((7,), None),
    ((7,), 0),
    ((1,), 0),
    ((5, 3), None),
    ((5, 3), 0),
    ((5, 3), 1),
    ((5, 3), -1),
    ((130, 37), 0),
    ((37, 130), 1),
    ((2, 3, 4), (0, 2)),
    ((2, 3, 4), 1),
    ((2, 3, 4), (1, 2)),
    ((2, 3, 4, 5), (1, 3)),
    ((2, 1, 3, 1), (1, -1)),
    ((3, 4), ()),
    ((), None),
]
REDUCTIONS = ["sum", "mean", "max", "min"]


@pytest.mark.levels
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_values(name: str, dtype: str, keepdims: bool) -> None:
    for seed, (shape, axis) in enumerate(CASES):
        x = uniform(shape, dtype=dtype, seed=seed)
        y = getattr(F, name)(x, axis, keepdims)
        expected = getattr(np, name)(x.astype(np.float64), axis=axis, keepdims=keepdims)
        assert y.dtype == dtype
        assert_close(
            y.data, expected, ulps=16, scale=max(1.0, np.abs(x).sum()), what=f"{shape} {axis}"
        )


@pytest.mark.parametrize("oracle", ORACLES)
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize(
    ("shape", "axis"), [((4,), 0), ((2, 3), 0), ((2, 3), 1), ((2, 2, 2), (0, 2)), ((2, 3), None)]
)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_derivatives(name: str, shape: tuple, axis, keepdims: bool, oracle: str) -> None:
    def ours(x: Tensor) -> Tensor:
        return getattr(F, name)(x * x, axis, keepdims)

    def theirs(x):
        method = {"max": "amax", "min": "amin"}.get(name, name)
        return getattr(torch, method)(
            x * x, dim=axis if axis is not None else tuple(range(x.ndim)), keepdim=keepdims
        )

    gradcheck(ours, uniform(shape, 0.5, 2), order=3, oracle=oracle, torch_f=theirs, tolerance=1e-6)


def test_equal_extremes_share_the_derivative() -> None:
    x = tensor(np.array([[1.0, 3.0, 3.0], [0.0, 0.0, 0.0]]), requires_grad=True)
    np.testing.assert_array_equal(grad(F.max(x, 1).sum(), x).data, [[0, 0.5, 0.5], [1 / 3] * 3])
    np.testing.assert_array_equal(grad(F.min(x, 1).sum(), x).data, [[1, 0, 0], [1 / 3] * 3])


def test_empty() -> None:
    assert F.sum(np.zeros((0, 3))).item() == 0
    np.testing.assert_array_equal(F.sum(np.zeros((0, 3)), 0).data, np.zeros(3))
    assert F.sum(np.zeros((0, 3)), 1).shape == (0,)
    for name in ("mean", "max", "min"):
        with pytest.raises(ValueError, match=f"{name}: axis 0 of shape .* is empty"):
            getattr(F, name)(np.zeros((0, 3)), 0)
    with pytest.raises(ValueError, match=r"logsumexp: the axes .* are empty"):
        F.logsumexp(np.zeros((0, 3)), 0)
    x = tensor(np.zeros((0, 3)), requires_grad=True)
    for axis in (None, 0):
        y = F.prod(x, axis)
        np.testing.assert_array_equal(y.data, np.ones(y.shape))
        assert grad(y.sum(), x).shape == (0, 3)


@pytest.mark.parametrize("ddof", [0, 1])
def test_a_deviation_of_zero_has_the_derivative_zero(ddof: int) -> None:
    x = tensor(np.array([[1.0, 1.0], [1.0, 4.0]]), requires_grad=True)
    d = grad(F.std(x, 1, ddof=ddof).sum(), x).data
    np.testing.assert_array_equal(d[0], [0.0, 0.0])
    np.testing.assert_allclose(
        d[1], [-0.5 * (2 if ddof else 1) ** 0.5, 0.5 * (2 if ddof else 1) ** 0.5]
    )


@pytest.mark.parametrize("name", ["max", "min"])
def test_nan_is_the_extreme_one(name: str) -> None:
    x = np.array([[1.0, np.nan, 2.0], [1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(getattr(F, name)(x, 1).data, getattr(np, name)(x, axis=1))
    np.testing.assert_array_equal(getattr(F, name)(x, 0).data, getattr(np, name)(x, axis=0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_argmax(dtype: str) -> None:
    for shape in ((7,), (5, 3), (2, 3, 17), (4, 1)):
        x = np.round(uniform(shape, dtype=dtype))
        y = F.argmax(x, -1)
        assert y.dtype == np.int64
        np.testing.assert_array_equal(y.data, x.argmax(-1))
        assert F.argmax(x).item() == x.argmax()
        for axis in (None, 0, -1):
            for name in ("argmax", "argmin"):
                kept = getattr(F, name)(x, axis, keepdims=True).data
                np.testing.assert_array_equal(kept, getattr(x, name)(axis, keepdims=True))
    with pytest.raises(ValueError, match="argmax: shape"):
        F.argmax(np.zeros((3, 0)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("shape", "to"),
    [
        ((), (3,)),
        ((1,), (4,)),
        ((3,), (2, 3)),
        ((2, 1), (2, 5)),
        ((1, 3, 1), (4, 3, 2)),
        ((3, 1), (2, 3, 4)),
        ((2, 3), (2, 3)),
    ],
)
def test_broadcast_to(shape: tuple, to: tuple, dtype: str) -> None:
    x = uniform(shape, dtype=dtype)
    np.testing.assert_array_equal(F.broadcast_to(x, to).data, np.broadcast_to(x, to))
    gradcheck(lambda t: F.broadcast_to(t * t, to), x.astype(np.float64), order=2)


def test_mean_of_a_mean_to_third_order() -> None:
    gradcheck(
        lambda x: F.mean(F.exp(F.mean(x * x, 1, keepdims=True) + x), 0),
        uniform((3, 2)),
        order=3,
        tolerance=1e-6,
    )


def test_sum_is_exact_in_a_fixed_order() -> None:
    """The same rows give the same bits wherever they are."""
    x = uniform((50, 33), dtype="float32")
    rows = F.sum(x, 1).data
    for start in (1, 7, 31):
        np.testing.assert_array_equal(F.sum(x[start:].copy(), 1).data, rows[start:])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: F.sum(np.ones((2, 3)), 2), "sum: axis 2 is out of range for 2 axes"),
        (lambda: F.mean(np.ones((2, 3)), (0, -2)), "mean: axes .* repeat one"),
        (
            lambda: F.broadcast_to(np.ones((2, 3)), (3, 2)),
            "broadcast_to: shape .* does not broadcast",
        ),
        (
            lambda: F.broadcast_to(np.ones((2, 3)), (3,)),
            "broadcast_to: shape .* does not broadcast",
        ),
    ],
)
def test_messages(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()
