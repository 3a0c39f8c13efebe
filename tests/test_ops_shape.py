"""Ops that move elements about."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers import DTYPES, gradcheck, uniform

from fastprop import Tensor, grad, tensor
from fastprop import functional as F


@pytest.mark.parametrize(
    "shape", [(6, 4), (24,), (2, 3, 4), (-1,), (2, -1), (-1, 2, 2), (1, 24, 1), 24]
)
def test_reshape(shape) -> None:
    x = uniform((2, 12))
    np.testing.assert_array_equal(tensor(x).reshape(shape).data, x.reshape(shape))
    assert np.shares_memory(F.reshape(x, shape).data, x)
    gradcheck(lambda t: F.reshape(t * t, shape), uniform((2, 12)), order=2)


def test_reshape_keeps_the_batch() -> None:
    x = Tensor.placeholder((8, 2, 3), "float32", batched=True)
    assert F.reshape(x, (-1, 6)).spec == ((8, 6), np.dtype("float32"), True)
    assert F.reshape(x, (8, 6)).batched
    with pytest.raises(ValueError, match="batch axis"):
        F.reshape(x, (-1, 3))
    with pytest.raises(ValueError, match="batch axis"):
        F.reshape(x, -1)


@pytest.mark.parametrize("shape", [(5,), (-1, 5), (-1, -1), (-2, 3), (0, -1)])
def test_reshape_messages(shape) -> None:
    with pytest.raises(ValueError, match="reshape: "):
        F.reshape(np.ones((2, 3)), shape)


@pytest.mark.parametrize("dtype", DTYPES)
def test_transpose(dtype: str) -> None:
    for shape in ((), (3,), (5, 3), (33, 17), (2, 3, 4), (2, 1, 3, 5), (0, 3)):
        x = uniform(shape, dtype=dtype)
        np.testing.assert_array_equal(F.transpose(x).data, x.T)
        for axes in itertools.permutations(range(len(shape))):
            np.testing.assert_array_equal(F.transpose(x, axes).data, x.transpose(axes))
    np.testing.assert_array_equal(tensor(uniform((2, 3, 4))).transpose(0, -1, 1).shape, (2, 4, 3))
    gradcheck(lambda t: F.transpose(t * t, (2, 0, 1)), uniform((2, 3, 2)), order=2)


def test_transpose_messages() -> None:
    with pytest.raises(ValueError, match=r"transpose: axes .* are not a permutation"):
        F.transpose(np.ones((2, 3)), (0, 0))
    with pytest.raises(ValueError, match="batch axis"):
        F.transpose(Tensor.placeholder((8, 2), "float32", batched=True))


def test_cast() -> None:
    x = np.array([1.7, -1.7, 0.0, 3.0])
    for dtype in DTYPES:
        np.testing.assert_array_equal(F.cast(x, dtype).data, x.astype(dtype))
        assert F.cast(np.arange(3), dtype).dtype == dtype
    with pytest.raises(TypeError, match="cast: dtype must be"):
        F.cast(x, "int32")
    t = tensor(x, requires_grad=True)
    assert grad((t.astype("float32") ** 2).sum(), t).dtype == np.float64


def test_stop_gradient() -> None:
    x = tensor(np.array([2.0, 3.0]), requires_grad=True)
    y = F.stop_gradient(x)
    assert not y.requires_grad
    np.testing.assert_array_equal(grad((x * y).sum(), x).data, [2.0, 3.0])
