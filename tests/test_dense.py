"""The dense layer and the activations as modules."""

import numpy as np
import pytest

from fastprop import Tensor, nn
from fastprop import functional as F
from fastprop import random as fr


def batch(rows, columns, dtype=np.float32):
    return np.random.default_rng(0).normal(size=(rows, columns)).astype(dtype)


def dense_values(layer, x):
    return x @ layer.weight.data + (0 if layer.bias is None else layer.bias.data)


# -- Dense ---


def test_dense_computes_xw_plus_b():
    x = batch(5, 3)
    layer = nn.Dense(3, 2)
    layer.bias.data = [1.0, -2.0]
    np.testing.assert_allclose(layer(x).data, dense_values(layer, x), rtol=1e-5, atol=1e-6)
    plain = nn.Dense(3, 2, bias=False)
    assert plain.bias is None
    np.testing.assert_allclose(plain(x).data, x @ plain.weight.data, rtol=1e-5, atol=1e-6)


def test_dense_keeps_leading_axes():
    x = batch(6, 3).reshape(2, 3, 3)
    layer = nn.Dense(3, 4, activation="sigmoid")
    y = layer(x)
    assert y.shape == (2, 3, 4)
    np.testing.assert_allclose(
        y.data, 1 / (1 + np.exp(-dense_values(layer, x))), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("activation", [*F.ACTIVATIONS, "softmax", "log_softmax"])
def test_dense_knows_every_activation_by_name(activation):
    layer = nn.Dense(3, 4, activation=activation, dtype="float64")
    function = getattr(F, activation)
    x = batch(5, 3, np.float64)
    expected = function(Tensor(dense_values(layer, x))).data
    np.testing.assert_allclose(layer(x).data, expected, rtol=1e-12, atol=1e-12)


def test_dense_takes_functions_and_modules():
    x = batch(5, 3)
    fr.seed(1)
    by_name = nn.Dense(3, 4, activation="leaky_relu")
    for activation in (F.leaky_relu, nn.LeakyReLU(), lambda t: F.leaky_relu(t)):
        fr.seed(1)
        layer = nn.Dense(3, 4, activation=activation, init="he_normal")
        np.testing.assert_array_equal(layer(x).data, by_name(x).data)


def test_prelu_is_trained():
    layer = nn.Dense(3, 4, activation="prelu")
    assert sorted(layer.state_dict()) == ["activation.slope", "bias", "weight"]
    F.sum(layer(batch(5, 3))).backward()
    assert layer.activation.slope.grad.shape == (1,)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 3), ValueError, "Dense: in_features must be at least 1, got 0"),
        ((3, -1), ValueError, "Dense: out_features must be at least 1, got -1"),
        ((3.0, 1), TypeError, "Dense: in_features must be an integer, got 3.0"),
        ((True, 1), TypeError, "Dense: in_features must be an integer, got True"),
        ((2**40, 2**40), ValueError, "larger than this machine can address"),
        ((3, 1, "rellu"), ValueError, "Dense: unknown activation 'rellu'; did you mean 'relu'"),
        ((3, 1, 5), TypeError, "Dense: activation must be a name"),
        ((3, 1, nn.ReLU), TypeError, r"is the class ReLU; make one with ReLU\(\)"),
        (
            (3, 1, None, True, "float16"),
            TypeError,
            "dtype must be float32 or float64, got 'float16'",
        ),
        ((3, 1, None, True, "junk"), TypeError, "dtype must be float32 or float64, got 'junk'"),
        ((3, 1, None, True, None), TypeError, "dtype must be float32 or float64, got None"),
        ((3, 1, None, True, "float32", "he_norml"), ValueError, "did you mean 'he_normal'"),
        ((3, 1, None, True, "float32", 3), TypeError, "init must be a name or a function"),
        ((3, 1, None, True, "float32", lambda *a: np.zeros(2)), ValueError, r"gave shape \(2,\)"),
    ],
)
def test_dense_refuses(arguments, error, message):
    with pytest.raises(error, match=message):
        nn.Dense(*arguments)


def test_dense_names_both_widths():
    with pytest.raises(ValueError, match="x has 4 columns, W expects 3"):
        nn.Dense(3, 2)(batch(5, 4))


# -- activations as modules ---


@pytest.mark.parametrize(
    ("module", "function"),
    [
        (nn.Identity(), lambda x: x),
        (nn.ReLU(), F.relu),
        (nn.LeakyReLU(0.2), lambda x: F.leaky_relu(x, 0.2)),
        (nn.ELU(0.5), lambda x: F.elu(x, 0.5)),
        (nn.SELU(), F.selu),
        (nn.CELU(2.0), lambda x: F.celu(x, 2.0)),
        (nn.GELU(), F.gelu),
        (nn.GELU("tanh"), lambda x: F.gelu(x, "tanh")),
        (nn.SiLU(), F.silu),
        (nn.Mish(), F.mish),
        (nn.Softplus(2.0, 10.0), lambda x: F.softplus(x, 2.0, 10.0)),
        (nn.Softsign(), F.softsign),
        (nn.Sigmoid(), F.sigmoid),
        (nn.HardSigmoid(), F.hard_sigmoid),
        (nn.HardSwish(), F.hard_swish),
        (nn.Tanh(), F.tanh),
        (nn.Softmax(), F.softmax),
        (nn.Softmax(axis=0), lambda x: F.softmax(x, 0)),
        (nn.LogSoftmax(), F.log_softmax),
        (nn.PReLU(4, init=0.1), lambda x: F.leaky_relu(x, 0.1)),
    ],
)
def test_activation_modules_call_their_functions(module, function):
    x = Tensor(4 * batch(6, 4))
    np.testing.assert_array_equal(module(x).data, function(x).data)


def test_activation_arguments_are_checked():
    with pytest.raises(ValueError, match="GELU: approximate must be"):
        nn.GELU("exact")
    with pytest.raises(ValueError, match="PReLU: num_parameters must be at least 1"):
        nn.PReLU(0)
    assert repr(nn.LeakyReLU(0.2)).startswith("LeakyReLU(negative_slope=0.2)")
