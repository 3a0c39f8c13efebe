"""The dense layer and matrix products as NumPy functions."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import DTYPES, assert_close, uniform

from fastprop import kernels
from fastprop.graph.ops_activation import INFO
from fastprop.kernels.activations import PARAMETERS

SIZES = [(1, 1, 1), (3, 4, 5), (33, 65, 17), (7, 100, 10), (2, 3, 4, 5)]


@pytest.mark.levels
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_dense(size: tuple, dtype: str) -> None:
    *rows, n_in, n_out = size
    x, W = uniform((*rows, n_in), dtype=dtype), uniform((n_in, n_out), dtype=dtype, seed=1)
    b, dy = uniform((n_out,), dtype=dtype, seed=2), uniform((*rows, n_out), dtype=dtype, seed=3)
    wide = [a.astype(np.float64) for a in (x, W, b, dy)]
    flat_x, flat_dy = wide[0].reshape(-1, n_in), wide[3].reshape(-1, n_out)
    count = len(flat_x)
    assert_close(kernels.dense_forward(x, W), wide[0] @ wide[1], scale=4.0 * n_in)
    assert_close(kernels.dense_forward(x, W, b), wide[0] @ wide[1] + wide[2], scale=4.0 * n_in + 2)
    assert_close(kernels.dense_backward_data(dy, W), wide[3] @ wide[1].T, scale=4.0 * n_out)
    assert_close(kernels.dense_backward_weights(x, dy), flat_x.T @ flat_dy, scale=4.0 * count)
    assert_close(kernels.dense_backward_bias(dy), flat_dy.sum(0), scale=2.0 * count)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", [name for name, _ in INFO])
def test_fused_activation_is_the_activation(activation: str, dtype: str) -> None:
    """The epilogue gives the bits of the pass of its own."""
    x, W = uniform((19, 6), dtype=dtype), uniform((6, 35), dtype=dtype, seed=1)
    b, dy = uniform((35,), dtype=dtype, seed=2), uniform((19, 35), dtype=dtype, seed=3)
    h = uniform((19, 6), 0.05, 0.9, dtype=dtype, seed=4)
    parameters = [0.5 + p for p in PARAMETERS.get(activation, {}).values()]
    z, dx = kernels.dense_forward(x, W, b), kernels.dense_backward_data(dy, W)
    y = kernels.dense_forward(x, W, b, activation, parameters)
    d = kernels.dense_backward_data(dy, W, h, activation, parameters)
    if activation != "identity":
        z = getattr(kernels, f"{activation}_forward")(z, *parameters)
        dx = getattr(kernels, f"{activation}_backward")(h, dx, *parameters)
    np.testing.assert_array_equal(y, z)
    np.testing.assert_array_equal(d, dx)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ta", [False, True])
@pytest.mark.parametrize("tb", [False, True])
def test_matmul(ta: bool, tb: bool, dtype: str) -> None:
    for m, k, n in ((1, 1, 1), (5, 7, 3), (33, 64, 18), (2, 130, 40)):
        a = uniform((k, m) if ta else (m, k), dtype=dtype)
        b = uniform((n, k) if tb else (k, n), dtype=dtype, seed=1)
        expected = (a.T if ta else a).astype(np.float64) @ (b.T if tb else b)
        assert_close(kernels.matmul(a, b, ta, tb), expected, scale=4.0 * k)
        out = np.empty((m, n), dtype)
        assert kernels.matmul(a, b, transpose_a=ta, transpose_b=tb, out=out) is out
        assert_close(out, expected, scale=4.0 * k)


def test_strided_inputs_are_read_rightly() -> None:
    x, W = uniform((6, 8))[::2, ::2], uniform((5, 4), seed=1).T
    np.testing.assert_allclose(kernels.dense_forward(x, W), x @ W)
    np.testing.assert_allclose(kernels.matmul(x.T, x), x.T @ x)


X, W = np.ones((2, 3)), np.ones((3, 4))


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (
            np.empty((2, 5)),
            ValueError,
            r"dense_forward: out must have shape \(2, 4\), got \(2, 5\)",
        ),
        (
            np.empty((2, 4), np.float32),
            TypeError,
            "dense_forward: out must be float64, got float32",
        ),
        (np.empty((4, 2)).T, ValueError, "dense_forward: out must be contiguous"),
        (np.broadcast_to(np.ones(4), (2, 4)), ValueError, "dense_forward: out "),
        ([[0.0] * 4] * 2, TypeError, "dense_forward: out must be a NumPy array, got list"),
    ],
)
def test_out_that_does_not_fit(out, error, message) -> None:
    with pytest.raises(error, match=message):
        kernels.dense_forward(X, W, out=out)


def test_out_may_not_be_read_only_nor_an_input() -> None:
    out = np.zeros((2, 4))
    out.flags.writeable = False
    with pytest.raises(ValueError, match="dense_forward: out is read-only"):
        kernels.dense_forward(X, W, out=out)
    np.testing.assert_array_equal(out, 0)
    square = np.ones((3, 3))
    with pytest.raises(ValueError, match="matmul: out shares memory with an input"):
        kernels.matmul(square, np.ones((3, 3)), out=square)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: kernels.dense_forward(X, np.ones((4, 5))),
            ValueError,
            "dense_forward: x has 3 columns, W expects 4",
        ),
        (lambda: kernels.dense_forward(X, W, np.ones(3)), ValueError, "dense_forward: b has shape"),
        (
            lambda: kernels.dense_forward(X, W.astype(np.float32)),
            TypeError,
            "dense_forward: x is float64 but W is float32",
        ),
        (
            lambda: kernels.dense_forward(np.ones((2, 3), int), W),
            TypeError,
            "dense_forward: x must be float32 or float64, got int64",
        ),
        (
            lambda: kernels.dense_forward(X, W, activation="rely"),
            ValueError,
            "dense_forward: unknown activation 'rely'; did you mean 'relu'",
        ),
        (
            lambda: kernels.dense_forward(X, W, activation="relu", parameters=[1]),
            ValueError,
            "relu has 0 parameters, got 1",
        ),
        (
            lambda: kernels.dense_backward_data(X, W),
            ValueError,
            "dense_backward_data: dy of shape .* has 3 columns, W gives 4",
        ),
        (
            lambda: kernels.dense_backward_data(np.ones((2, 4)), W, activation="tanh"),
            ValueError,
            "derivative of tanh needs h, its output",
        ),
        (
            lambda: kernels.dense_backward_data(np.ones((2, 4)), W, np.ones((2, 4)), "tanh"),
            ValueError,
            "dense_backward_data: h must have shape",
        ),
        (
            lambda: kernels.dense_backward_weights(X, np.ones((3, 4))),
            ValueError,
            "dense_backward_weights: x and dz",
        ),
        (
            lambda: kernels.dense_backward_bias(np.float64(1)),
            ValueError,
            "dense_backward_bias: dy must have",
        ),
        (lambda: kernels.matmul(X, X), ValueError, "matmul: a gives 3 columns, b expects 2"),
    ],
)
def test_messages(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()
