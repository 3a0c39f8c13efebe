"""``x[…]`` with every mixture of keys that NumPy knows: values, derivatives, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import rng, uniform

from fastprop import grad, tensor

A = rng(3).normal(size=(4, 5, 6))
I2 = np.array([[0, -1], [2, 1]])
KEYS = [
    0, -1, (1, 2), (1, 2, 3), slice(None), slice(1, 3), slice(None, None, -1), slice(3, 0, -2),
    slice(5, 9), ..., (..., 1), (0, ...), (slice(None), None, 2), (None, ..., None),
    (slice(None), slice(1, 4, 2), -1), (..., slice(None, None, 3)), np.int64(2), (),
    I2, [0, 2], [], np.array([], int), (I2, 1), (slice(None), I2), (1, slice(None), I2),
    (I2, slice(None), I2), (I2, I2), (slice(None), I2, I2 % 2), (None, I2), (I2, None),
    (0, I2, slice(1, 3)), (slice(1, 3), 0, [1, 2]), (np.arange(2)[:, None], np.arange(3)),
    (..., [0, 0]), A > 0, A[:, 0, 0] > 0, (slice(None), A[0, :, 0] > 0), (A[:, :, 0] > 0, 1),
    (I2, ..., slice(None), I2), (slice(None), I2, ..., 1), (I2, ..., slice(1, 3)), (0, ..., I2, I2),
    (..., A[0, 0] > 0), (A[:, 0, 0] > 9,), (1, A[0, :, 0] > 0), [True, False, True, False],
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
def test_indexing_as_in_numpy(key) -> None:
    expected = A[key]
    for array in (A, A.astype(np.float32), (A * 10).astype(int)):
        found = tensor(array)[key]
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found.data, array[key])
    x = tensor(A, requires_grad=True)
    weight = uniform(expected.shape, seed=1)
    derivative = np.zeros_like(A)
    np.add.at(derivative, key, weight)
    y = (x[key] * weight).sum()
    np.testing.assert_allclose(grad(y, x).data, derivative, rtol=1e-14)


def test_indexing_by_tensors() -> None:
    x = tensor(A, requires_grad=True)
    np.testing.assert_array_equal(x[tensor([2, 0])].data, A[[2, 0]])
    np.testing.assert_array_equal(x[x > 0].data, A[A > 0])
    np.testing.assert_array_equal([row.data for row in x], list(A))


@pytest.mark.parametrize(
    ("key", "error", "message"),
    [
        (4, IndexError, "index 4 is out of range for axis 0"),
        ((0, 0, 0, 0), IndexError, "4 indices for the 3 axes"),
        ((..., ...), IndexError, "one '...' only"),
        ([0, 4], IndexError, "indices go from 0 to 4, the axis has 4"),
        (A[:3, 0, 0] > 0, IndexError, "a mask has extent 3 where axis 0"),
        (1.5, TypeError, "indices are integers, slices"),
        ("a", TypeError, "indices are integers, slices"),
        (True, TypeError, "a single True or False"),
        (([0, 1], [0, 1, 2]), IndexError, "do not broadcast"),
    ],
)
def test_indexing_messages(key, error, message: str) -> None:
    with pytest.raises(error, match=message):
        tensor(A)[key]


def test_assignment_is_refused() -> None:
    x = tensor(A.copy())
    with pytest.raises(TypeError, match="a Tensor is a value and cannot be assigned to in part"):
        x[0] = 1.0
