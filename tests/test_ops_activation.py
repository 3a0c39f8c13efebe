"""Activations and softmax: values far out, derivatives to third order, messages."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers import DTYPES, ORACLES, assert_close, away_from, gradcheck, torch, uniform

from fastprop import Tensor, grad, tensor
from fastprop import functional as F
from fastprop.graph.ops_activation import CURVATURE, KINDS, PIECEWISE_LINEAR


def _erf(x: np.ndarray) -> np.ndarray:
    return np.reshape([math.erf(v) for v in np.ravel(x)], np.shape(x))


_LAMBDA, _ALPHA = 1.0507009873554805, 1.6732632423543772


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.where(x >= 0, 1, np.exp(-np.abs(x))) / (1 + np.exp(-np.abs(x)))


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _elu(x: np.ndarray, alpha: float = 1.0) -> np.ndarray:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _hard(x: np.ndarray) -> np.ndarray:
    return np.clip(x / 6 + 0.5, 0, 1)


_C = math.sqrt(2 / math.pi)
# name: (reference, kinks, PyTorch's name, arguments, PyTorch's arguments)
CASES = {
    "identity": (lambda x: x, [], "Identity", {}),
    "relu": (lambda x: np.maximum(x, 0), [0], "relu", {}),
    "leaky_relu": (
        lambda x: np.where(x > 0, x, 0.2 * x),
        [0],
        "leaky_relu",
        {"negative_slope": 0.2},
    ),
    "elu": (lambda x: _elu(x, 0.7), [0], "elu", {"alpha": 0.7}),
    "selu": (lambda x: _LAMBDA * _elu(x, _ALPHA), [0], "selu", {}),
    "celu": (
        lambda x: np.maximum(x, 0) + 0.5 * np.expm1(np.minimum(x, 0) / 0.5),
        [0],
        "celu",
        {"alpha": 0.5},
    ),
    "gelu": (lambda x: 0.5 * x * (1 + _erf(x / math.sqrt(2))), [], "gelu", {}),
    "gelu_tanh": (lambda x: 0.5 * x * (1 + np.tanh(_C * (x + 0.044715 * x**3))), [], "gelu", {}),
    "silu": (lambda x: x * _sigmoid(x), [], "silu", {}),
    "mish": (lambda x: x * np.tanh(_softplus(x)), [], "mish", {}),
    "softplus": (lambda x: _softplus(2 * x) / 2, [], "softplus", {"beta": 2.0, "threshold": 50.0}),
    "softsign": (lambda x: x / (1 + np.abs(x)), [0], "softsign", {}),
    "sigmoid": (_sigmoid, [], "sigmoid", {}),
    "hard_sigmoid": (_hard, [-3, 3], "hardsigmoid", {}),
    "hard_swish": (lambda x: x * _hard(x), [-3, 3], "hardswish", {}),
    "tanh": (np.tanh, [], "tanh", {}),
}


def test_every_activation_is_here() -> None:
    assert set(CASES) == set(KINDS) == set(F.ACTIVATIONS)
    assert set(CURVATURE) | set(PIECEWISE_LINEAR) == set(KINDS)


@pytest.mark.levels
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_values(name: str, dtype: str) -> None:
    reference, _, _, options = CASES[name]
    for shape in ((), (1,), (19,), (5, 7), (0, 2)):
        for reach in (2, 8, 40):
            x = uniform(shape, -reach, reach, dtype)
            y = F.ACTIVATIONS[name](x, **options)
            assert y.dtype == dtype
            expected = reference(x.astype(np.float64))
            assert_close(y.data, expected, ulps=8, scale=1.0, what=f"{name} {shape} {reach}")


def _torch_function(name: str):
    if torch is None:
        return None
    if name == "identity":
        return lambda x: x * 1
    if name == "softsign":  # the second derivative of its abs takes seconds at first
        return lambda x: x / (1 + x * torch.sign(x))
    function, options = getattr(torch.nn.functional, CASES[name][2]), CASES[name][3]
    if name == "gelu_tanh":
        options = {"approximate": "tanh"}
    return lambda x: function(x, **options)


@pytest.mark.parametrize("oracle", ORACLES)
@pytest.mark.parametrize("name", CASES)
def test_derivatives(name: str, oracle: str) -> None:
    _, kinks, _, options = CASES[name]
    x = away_from(np.linspace(-4.3, 4.1, 14).reshape(2, 7), kinks)
    # PyTorch's hardsigmoid has no second derivative, and 1/6 rounded to float32.
    order = 1 if oracle == "torch" and name in ("hard_sigmoid", "hard_swish") else 3
    gradcheck(
        lambda t: F.ACTIVATIONS[name](t, **options),
        x,
        order=order,
        oracle=oracle,
        torch_f=_torch_function(name),
        tolerance=1e-6 if oracle == "differences" else 1e-7 if "hard" in name else 1e-10,
    )


@pytest.mark.parametrize("name", CASES)
def test_derivatives_far_out_are_finite(name: str) -> None:
    for dtype in DTYPES:
        x = tensor(np.array([-500.0, -90.0, -20.0, 20.0, 90.0, 500.0], dtype), requires_grad=True)
        d = grad(F.ACTIVATIONS[name](x).sum(), x, create_graph=True)
        second = grad(d.sum(), x) if d.requires_grad else d
        assert np.isfinite(d.data).all()
        assert np.isfinite(second.data).all()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_propagates(name: str, dtype: str) -> None:
    x = tensor(np.array([np.nan, 1.0], dtype), requires_grad=True)
    y = F.ACTIVATIONS[name](x)
    assert np.isnan(y.data[0])
    assert np.isfinite(y.data[1])


def test_derivative_at_kinks_is_pytorchs() -> None:
    x = tensor(np.array([0.0, -0.0, 3.0, -3.0]), requires_grad=True)
    for name in CASES:
        ours = grad(F.ACTIVATIONS[name](x).sum(), x).data
        if torch is not None:
            t = torch.tensor(x.data, requires_grad=True)
            (theirs,) = torch.autograd.grad(_torch_function(name)(t).sum(), t)
            if not CASES[name][3]:
                np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-12, err_msg=name)


def test_activation_by_name_or_function() -> None:
    x = uniform((3,))
    np.testing.assert_array_equal(F.activation(x, "relu").data, np.maximum(x, 0))
    np.testing.assert_array_equal(F.activation(x, lambda t: t * 2).data, x * 2)
    with pytest.raises(ValueError, match="did you mean 'relu'"):
        F.activation(x, "relo")
    for call, message in (
        (lambda: F.gelu(x, approximate="no"), "gelu: approximate must be"),
        (lambda: F.celu(x, 0.0), "celu: alpha must not be 0"),
        (lambda: F.softplus(x, 0.0), "softplus: beta must not be 0"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    np.testing.assert_array_equal(F.gelu(x, "tanh").data, F.gelu_tanh(x).data)


@pytest.mark.parametrize("oracle", ORACLES)
@pytest.mark.parametrize("slopes", [1, 3])
def test_prelu(slopes: int, oracle: str) -> None:
    x = away_from(uniform((4, 3)), [0])
    slope = uniform((slopes,), 0.1, 0.5, seed=1)
    for dtype in DTYPES:
        y = F.prelu(x.astype(dtype), slope.astype(dtype))
        assert_close(y.data, np.where(x > 0, x, slope * x), ulps=8)
    np.testing.assert_array_equal(F.prelu(x, 0.25).data, np.where(x > 0, x, 0.25 * x))
    other = None if torch is None else (lambda a, b: torch.nn.functional.prelu(a * a * a, b * b))
    gradcheck(
        lambda a, b: F.prelu(a * a * a, b * b), x, slope, order=2, oracle=oracle, torch_f=other
    )
    with pytest.raises(ValueError, match="prelu: slope must have 1 element, or"):
        F.prelu(x, np.ones(2))


def test_prelu_has_a_slope_for_each_channel() -> None:
    x, slope = away_from(uniform((2, 3, 2)), [0]), uniform((3,), 0.1, 0.5, seed=1)
    np.testing.assert_allclose(
        F.prelu(x, slope).data, np.where(x > 0, x, slope[:, None] * x), rtol=1e-15
    )
    gradcheck(lambda a, b: F.prelu(a * a * a, b * b), x, slope, order=2)


@pytest.mark.levels
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((5,), 0), ((3, 1), 1), ((3, 10), -1), ((3, 33), 0), ((2, 3, 4), 1), ((129, 70), 1)],
)
def test_softmax_values(shape: tuple, axis: int, dtype: str) -> None:
    for shift in (0.0, 1000.0, -1000.0):
        x = (uniform(shape, -20, 20) + shift).astype(dtype)
        d = x.astype(np.float64) - x.max(axis, keepdims=True).astype(np.float64)
        total = np.exp(d).sum(axis, keepdims=True)
        assert_close(F.softmax(x, axis).data, np.exp(d) / total, ulps=32, scale=0.1)
        assert_close(F.log_softmax(x, axis).data, d - np.log(total), ulps=8, scale=40.0)


@pytest.mark.parametrize("oracle", ORACLES)
@pytest.mark.parametrize(("shape", "axis"), [((4,), 0), ((2, 3), 1), ((3, 2), 0), ((2, 2, 2), 1)])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_derivatives(name: str, shape: tuple, axis: int, oracle: str) -> None:
    gradcheck(
        lambda x: getattr(F, name)(x, axis),
        uniform(shape),
        order=3,
        oracle=oracle,
        torch_f=lambda x: getattr(torch, name)(x, axis),
        tolerance=1e-6 if oracle == "differences" else None,
    )


def test_softmax_with_masked_entries() -> None:
    x = np.array([[0.0, -np.inf, 1.0]])
    y = F.softmax(x).data
    assert y[0, 1] == 0
    assert np.isclose(y.sum(), 1)
    assert F.log_softmax(x).data[0, 1] == -np.inf


def test_softmax_messages() -> None:
    with pytest.raises(ValueError, match="softmax: axis 2 is out of range"):
        F.softmax(np.ones((2, 2)), 2)
    with pytest.raises(ValueError, match="softmax: "):
        F.softmax(np.float64(1.0))
    with pytest.raises(ValueError, match="batch"):
        F.softmax(Tensor.placeholder((4, 2), "float32", batched=True), 0)
    assert F.log_softmax(np.ones((2, 2), np.int64)).dtype == np.float32
