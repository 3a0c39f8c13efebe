"""Tensors of given shapes, as NumPy makes them, in the dtypes of this library."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from helpers import uniform

import fastprop as fp

F32, F64, I64 = np.float32, np.float64, np.int64

MADE: dict[str, tuple[Any, Any, Any]] = {
    # what it is: ours, NumPy's, dtype
    "zeros": (fp.zeros(2, 3), np.zeros((2, 3)), F32),
    "ones of a tuple": (fp.ones((2, 0), dtype="float64"), np.ones((2, 0)), F64),
    "scalar": (fp.zeros(dtype=np.int64), np.zeros(()), I64),
    "full": (fp.full((2, 2), 0.1), np.full((2, 2), 0.1), F32),
    "full of integers": (fp.full(3, 7), np.full(3, 7), I64),
    "eye": (fp.eye(3), np.eye(3), F32),
    "eye of a rectangle": (fp.eye(2, 3, dtype="float64"), np.eye(2, 3), F64),
    "arange": (fp.arange(5), np.arange(5), I64),
    "arange backward": (fp.arange(5, -1, -2), np.arange(5, -1, -2), I64),
    "arange of fractions": (fp.arange(0, 1, 0.25), np.arange(0, 1, 0.25), F32),
    "arange float64": (fp.arange(3, dtype=np.float64), np.arange(3), F64),
    "linspace": (fp.linspace(-1, 1, 7), np.linspace(-1, 1, 7), F32),
    "zeros_like": (fp.zeros_like(fp.ones(2, 3, dtype=F64)), np.zeros((2, 3)), F64),
    "ones_like": (fp.ones_like(np.zeros((2, 2)), dtype=F32), np.ones((2, 2)), F32),
    "full_like": (fp.full_like(fp.arange(4), 3), np.full(4, 3), I64),
}


@pytest.mark.parametrize("name", MADE)
def test_made_as_numpy_does(name: str) -> None:
    ours, theirs, dtype = MADE[name]
    assert ours.dtype == dtype
    assert not ours.requires_grad
    np.testing.assert_array_equal(ours.data, theirs.astype(dtype))


def test_leaves_that_require_a_gradient() -> None:
    w = fp.zeros(3, requires_grad=True)
    (w * fp.arange(3)).sum().backward()
    assert w.grad.tolist() == [0.0, 1.0, 2.0]
    assert fp.randn(2, requires_grad=True).requires_grad
    with pytest.raises(TypeError, match="only float Tensors can require a gradient"):
        fp.ones(3, requires_grad=True, dtype=np.int64)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            lambda: fp.zeros((2, 3), np.float64),
            TypeError,
            "zeros: extents must be integers.*dtype=",
        ),
        (lambda: fp.ones(2.0), TypeError, "ones: extents must be integers, got 2.0"),
        (lambda: fp.ones(-1), ValueError, "ones: extents must not be negative, got -1"),
        (
            lambda: fp.zeros(2, dtype="float16"),
            TypeError,
            "dtype must be float32, float64 or int64",
        ),
        (lambda: fp.eye(2.5), TypeError, "eye: extents must be integers"),
        (lambda: fp.full((2, True), 1), TypeError, "full: extents must be integers, got True"),
        (lambda: fp.arange(0, 1, 0), ZeroDivisionError, "division by zero"),
        (lambda: fp.randn_like(fp.arange(3)), TypeError, "gaussian_noise: expects float32 or"),
    ],
)
def test_wrong_arguments(call: Any, kind: type, message: str) -> None:
    with pytest.raises(kind, match=message):
        call()


def test_random_numbers_are_those_of_the_seed() -> None:
    fp.seed(3)
    first = [fp.rand(4, 5), fp.randn((200, 50), dtype=np.float64), fp.randn_like(fp.ones(2, 3))]
    fp.seed(3)
    again = [fp.rand(4, 5), fp.randn((200, 50), dtype=np.float64), fp.randn_like(fp.ones(2, 3))]
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.data, b.data)
    assert not np.array_equal(fp.rand(4, 5).data, first[0].data)
    assert [t.shape for t in first] == [(4, 5), (200, 50), (2, 3)]
    assert [t.dtype for t in first] == [F32, F64, F32]
    assert 0 <= first[0].data.min() < first[0].data.max() < 1
    # Mean and variance of 10,000 draws within five deviations of theirs.
    assert abs(first[1].data.mean()) < 0.05
    assert abs(first[1].data.var() - 1) < 5 * np.sqrt(2 / 10_000)


def test_in_compiled_functions_there_are_as_many_rows_as_in_the_call() -> None:
    @fp.compile
    def shares(x: fp.Tensor) -> fp.Tensor:
        return fp.ones_like(x) * 2 + fp.full_like(x, 3) + fp.zeros_like(x).sum(1, keepdims=True)

    for rows in (4, 2, 7):
        x = uniform((rows, 3))
        x[0] = [np.nan, np.inf, 1]
        np.testing.assert_array_equal(shares(x).data, np.full((rows, 3), 5.0))
    assert shares.notes == []  # which would say why every shape has a Program of its own


def test_random_numbers_in_compiled_functions() -> None:
    @fp.compile
    def noisy(mean: fp.Tensor, std: fp.Tensor) -> fp.Tensor:
        return mean + std * fp.randn_like(std)

    mean, std = np.zeros((50, 4)), np.full((50, 4), 2.0)
    first, second = noisy(mean, std).data.copy(), noisy(mean, std).data
    assert (first != second).all()
    assert 1.5 < first.std() < 2.5
    given = fp.Tensor(std, requires_grad=True)
    y = noisy(mean, given)
    y.sum().backward()
    np.testing.assert_allclose(given.grad.data, y.data / 2)
    for draw in (lambda x: x + fp.rand(3), lambda x: x * fp.randn(2, 3)):
        with pytest.raises(ValueError, match=re.escape("a compiled function would draw once")):
            fp.compile(draw)(np.zeros((2, 3), np.float32))
