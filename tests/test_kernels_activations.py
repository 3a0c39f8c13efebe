"""Activations and softmax as NumPy functions."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from helpers import DTYPES, uniform

from fastprop import functional as F
from fastprop import grad, kernels, tensor
from fastprop.graph.ops_activation import INFO

NAMES = [name for name, _ in INFO if name != "identity"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_forward_and_backward_are_those_of_the_tensors(name: str, dtype: str) -> None:
    forward, backward = (getattr(kernels, f"{name}_{way}") for way in ("forward", "backward"))
    uses_output = dict(INFO)[name]
    for shape in ((), (1,), (23,), (5, 3), (0, 3)):
        x, dy = uniform(shape, -4, 4, dtype), uniform(shape, dtype=dtype, seed=1)
        t = tensor(x, requires_grad=True)
        y = F.ACTIVATIONS[name](t)
        np.testing.assert_array_equal(forward(x), y.data)
        dx = backward(y.data if uses_output else x, dy)
        np.testing.assert_array_equal(dx, grad(y, t, tensor(dy)).data)


@pytest.mark.parametrize("name", NAMES)
def test_in_place(name: str) -> None:
    forward, backward = (getattr(kernels, f"{name}_{way}") for way in ("forward", "backward"))
    x, dy = uniform((37,), -4, 4), uniform((37,), seed=1)
    y, dx = forward(x), backward(x, dy)
    buffer = x.copy()
    assert forward(buffer, out=buffer) is buffer
    np.testing.assert_array_equal(buffer, y)
    for position in (0, 1):
        arrays = [x.copy(), dy.copy()]
        backward(*arrays, out=arrays[position])
        np.testing.assert_array_equal(arrays[position], dx)


def test_parameters() -> None:
    x = np.array([-1.0, 2.0])
    np.testing.assert_array_equal(kernels.leaky_relu_forward(x), [-0.01, 2])
    np.testing.assert_array_equal(kernels.leaky_relu_forward(x, 0.5), [-0.5, 2])
    np.testing.assert_array_equal(kernels.leaky_relu_backward(x, x, negative_slope=0.5), [-0.5, 2])
    with pytest.raises(TypeError, match="relu_forward: got an unexpected keyword argument 'slope'"):
        kernels.relu_forward(x, slope=2)
    with pytest.raises(ValueError, match="celu_forward: alpha must not be 0"):
        kernels.celu_forward(x, 0.0)


@pytest.mark.parametrize("name", kernels.__all__)
def test_every_kernel_is_documented(name: str) -> None:
    function = getattr(kernels, name)
    assert function.__name__ == name
    assert len(inspect.getdoc(function)) > 60


@pytest.mark.parametrize("slopes", [1, 3])
def test_prelu(slopes: int) -> None:
    x, dy = uniform((5, 3)), uniform((5, 3), seed=1)
    slope = uniform((slopes,), 0.1, 0.5, seed=2)
    np.testing.assert_allclose(kernels.prelu_forward(x, slope), np.where(x > 0, x, slope * x))
    np.testing.assert_allclose(
        kernels.prelu_backward_data(x, slope, dy), np.where(x > 0, dy, slope * dy)
    )
    parts = np.where(x > 0, 0, x * dy).sum(0)
    np.testing.assert_allclose(
        kernels.prelu_backward_slope(x, slope, dy), parts if slopes == 3 else [parts.sum()]
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax(dtype: str) -> None:
    x, dy = uniform((6, 11), -5, 5, dtype), uniform((6, 11), dtype=dtype, seed=1)
    t = tensor(x, requires_grad=True)
    for name in ("softmax", "log_softmax"):
        y = getattr(F, name)(t)
        np.testing.assert_array_equal(getattr(kernels, f"{name}_forward")(x), y.data)
        dx = getattr(kernels, f"{name}_backward")(y.data, dy)
        np.testing.assert_array_equal(dx, grad(y, t, tensor(dy)).data)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: kernels.relu_forward(np.ones(3, int)),
            TypeError,
            "relu_forward: x must be float32 or float64, got int64",
        ),
        (
            lambda: kernels.relu_backward(np.ones(3), np.ones(4)),
            ValueError,
            "relu_backward: operands must have one shape",
        ),
        (
            lambda: kernels.tanh_backward(np.ones(3), np.ones(3, np.float32)),
            TypeError,
            "tanh_backward: h is float64 but dy is float32",
        ),
        (
            lambda: kernels.relu_forward(np.ones(4), out=np.ones(3)),
            ValueError,
            "relu_forward: out must have shape",
        ),
        (
            lambda: kernels.softmax_forward(np.ones(3)),
            ValueError,
            "softmax_forward: expects two or more axes",
        ),
        (
            lambda: kernels.prelu_forward(np.ones((2, 3)), np.ones(2)),
            ValueError,
            "prelu_forward: slope must have",
        ),
    ],
)
def test_messages(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()


def test_overlapping_memory_is_refused() -> None:
    memory = np.ones(8)
    with pytest.raises(ValueError, match="relu_forward: out shares memory"):
        kernels.relu_forward(memory[:6], out=memory[2:])
