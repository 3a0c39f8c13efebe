"""Matrix products and the dense layer: values, derivatives to third order, messages."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import DTYPES, ORACLES, assert_close, gradcheck, uniform

from fastprop import Tensor
from fastprop import functional as F
from fastprop.graph.op import OPS, apply

SHAPES = [
    ((1, 1), (1, 1)),
    ((3, 4), (4, 5)),
    ((17, 33), (33, 65)),
    ((5, 1), (1, 7)),
    ((31, 129), (129, 2)),
    ((2, 3, 4), (4, 5)),
    ((2, 3, 4), (2, 4, 5)),
    ((2, 2, 3, 4), (2, 2, 4, 1)),
    ((4,), (4, 5)),
    ((3, 4), (4,)),
    ((4,), (4,)),
    ((2, 3, 4), (4,)),
    ((0, 4), (4, 5)),
    ((3, 0), (0, 5)),
]


def _product(a: np.ndarray, b: np.ndarray, ta: bool = False, tb: bool = False) -> np.ndarray:
    a = np.swapaxes(a, -1, -2) if ta else a
    return a @ (np.swapaxes(b, -1, -2) if tb else b)


@pytest.mark.levels
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shapes", SHAPES)
def test_matmul_values(shapes: tuple, dtype: str) -> None:
    a, b = uniform(shapes[0], dtype=dtype), uniform(shapes[1], dtype=dtype, seed=1)
    expected = a.astype(np.float64) @ b.astype(np.float64)
    assert_close(F.matmul(a, b).data, expected, ulps=8, scale=4.0 * a.shape[-1] + 1)


@pytest.mark.parametrize("oracle", ORACLES)
@pytest.mark.parametrize("tb", [False, True])
@pytest.mark.parametrize("ta", [False, True])
@pytest.mark.parametrize("lead", [((), ()), ((2,), (2,)), ((2,), ())])
def test_matmul_derivatives(lead: tuple, ta: bool, tb: bool, oracle: str) -> None:
    if ta and lead[0] != lead[1]:
        return  # a transposed operand needs a partner of as many axes
    a = uniform((*lead[0], 3, 2) if ta else (*lead[0], 2, 3))
    b = uniform((*lead[1], 2, 3) if tb else (*lead[1], 3, 2), seed=1)

    def ours(x: Tensor, y: Tensor) -> Tensor:
        return apply(OPS["matmul"], x * x, y * y, transpose_a=ta, transpose_b=tb)

    def theirs(x, y):
        x, y = x * x, y * y
        return (x.mT if ta else x) @ (y.mT if tb else y)

    np.testing.assert_allclose(ours(Tensor(a), Tensor(b)).data, _product(a * a, b * b, ta, tb))
    gradcheck(ours, a, b, order=3, oracle=oracle, torch_f=theirs, tolerance=1e-6)


@pytest.mark.parametrize("shapes", [((3,), (3, 2)), ((2, 3), (3,)), ((3,), (3,))])
def test_vector_derivatives(shapes: tuple) -> None:
    gradcheck(
        lambda a, b: F.exp(a @ b),
        uniform(shapes[0]),
        uniform(shapes[1], seed=1),
        order=2,
        tolerance=1e-5,
    )


@pytest.mark.levels
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (3, 4, 5), (33, 17, 31), (7, 100, 2), (2, 3, 4, 5), (0, 4, 5)]
)
def test_dense_values(shape: tuple, bias: bool, dtype: str) -> None:
    *rows, n_in, n_out = shape
    x, W = uniform((*rows, n_in), dtype=dtype), uniform((n_in, n_out), dtype=dtype, seed=1)
    b = uniform((n_out,), dtype=dtype, seed=2) if bias else None
    expected = x.astype(np.float64) @ W + (0 if b is None else b.astype(np.float64))
    assert_close(F.dense(x, W, b).data, expected, ulps=8, scale=4.0 * n_in + 1)


@pytest.mark.parametrize("oracle", ORACLES)
@pytest.mark.parametrize("rows", [(3,), (2, 2), ()])
def test_dense_derivatives(rows: tuple, oracle: str) -> None:
    arrays = uniform((*rows, 2)), uniform((2, 3), seed=1), uniform((3,), seed=2)
    gradcheck(
        lambda x, W, b: F.dense(x * x, W, b) ** 2,
        *arrays,
        order=3,
        oracle=oracle,
        torch_f=lambda x, W, b: ((x * x) @ W + b) ** 2,
        tolerance=1e-6,
    )


def test_batch_axes() -> None:
    x = Tensor.placeholder((8, 3), "float32", batched=True)
    W = np.ones((3, 2), np.float32)
    assert F.dense(x, W).batched
    assert (x @ W).batched
    weights = apply(OPS["matmul"], x, x, transpose_a=True, transpose_b=False)
    assert weights.shape == (3, 3)
    assert not weights.batched
    with pytest.raises(ValueError, match="batch"):
        np.ones((4, 8), np.float32) @ x


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: F.dense(np.ones((2, 3)), np.ones((4, 5))),
            ValueError,
            "dense: x has 3 columns, W expects 4",
        ),
        (
            lambda: F.dense(np.ones((2, 3)), np.ones((3, 5)), np.ones(4)),
            ValueError,
            "dense: b has shape",
        ),
        (lambda: F.dense(np.ones((2, 3)), np.ones(3)), ValueError, "dense: W must have the shape"),
        (
            lambda: F.matmul(np.ones((2, 3)), np.ones((2, 3))),
            ValueError,
            "matmul: a gives 3 columns, b expects 2",
        ),
        (lambda: F.matmul(np.ones((2, 3)), 2.0), ValueError, "matmul: operands need an axis"),
        (
            lambda: F.matmul(np.ones((2, 3, 4)), np.ones((3, 4, 2))),
            ValueError,
            "matmul: leading axes of .* do not broadcast",
        ),
        (
            lambda: F.matmul(np.ones((2, 3), np.float32), np.ones((3, 2))),
            TypeError,
            "matmul: operands have different dtypes",
        ),
    ],
)
def test_messages(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()
