"""Losses as NumPy functions: value and gradient, weights, reductions."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import DTYPES, uniform

from fastprop import functional as F
from fastprop import grad, kernels, tensor

CASES = {
    "mse": (F.mse_rows, {}),
    "mae": (F.mae_rows, {}),
    "huber": (F.huber_rows, {"delta": 0.6}),
    "log_cosh": (F.log_cosh_rows, {}),
    "quantile": (F.quantile_rows, {"q": 0.3}),
    "hinge": (F.hinge_rows, {}),
    "poisson_nll": (F.poisson_nll_rows, {"full": True}),
    "binary_cross_entropy": (F.binary_cross_entropy_rows, {"pos_weight": 2.0}),
    "binary_focal": (F.binary_focal_rows, {"gamma": 1.5, "alpha": None}),
}
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def _expected(rows, pred, weight, reduction: str, divisor: float):
    """Value and gradient from the rows' losses."""
    total = (rows * tensor(weight)).sum() / divisor
    value = rows.data * weight if reduction == "none" else total.item()
    return value, grad(total, pred).data


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", CASES)
def test_elementwise_losses(name: str, reduction: str, weighted: bool, dtype: str) -> None:
    rows_of, options = CASES[name]
    for shape in ((1,), (9,), (7, 3), (4, 2, 5)):
        p, t = uniform(shape, dtype=dtype), uniform(shape, 0, 3, dtype, seed=1)
        weight = uniform(shape[:1], 0.1, 2, dtype, seed=2) if weighted else np.ones(shape[0], dtype)
        pred = tensor(p, requires_grad=True)
        rows = rows_of(pred, t, mean=reduction != "sum", **options)
        divisor = float(weight.sum()) if reduction == "mean" else 1.0
        expected = _expected(rows, pred, weight, reduction, divisor)
        kwargs = {"sample_weight": weight if weighted else None, "reduction": reduction, **options}
        value, dpred = getattr(kernels, name)(p, t, **kwargs)
        for got, wanted in ((value, expected[0]), (dpred, expected[1])):
            np.testing.assert_allclose(got, wanted, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
        np.testing.assert_array_equal(getattr(kernels, f"{name}_forward")(p, t, **kwargs), value)
        np.testing.assert_array_equal(getattr(kernels, f"{name}_backward")(p, t, **kwargs), dpred)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_kl_div_is_a_sum_over_the_row(reduction: str, dtype: str) -> None:
    p, t = uniform((5, 3), -3, 0, dtype), uniform((5, 3), 0.1, 1, dtype, seed=1)
    weight = uniform((5,), 0.1, 2, dtype, seed=2)
    pred = tensor(p, requires_grad=True)
    divisor = float(weight.sum()) if reduction == "mean" else 1.0
    expected = _expected(F.kl_div_rows(pred, t), pred, weight, reduction, divisor)
    value, dpred = kernels.kl_div(p, t, sample_weight=weight, reduction=reduction)
    np.testing.assert_allclose(value, expected[0], rtol=TOLERANCE[dtype])
    np.testing.assert_allclose(dpred, expected[1], rtol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("class_weight", [None, [0.5, 1.0, 2.0, 0.0]])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_focal(reduction: str, class_weight, dtype: str) -> None:
    x, labels = uniform((9, 4), -4, 4, dtype), np.arange(9) % 3
    weight = uniform((9,), 0.1, 2, dtype, seed=2)
    w = None if class_weight is None else np.array(class_weight, dtype)
    pred = tensor(x, requires_grad=True)
    rows = F.focal_rows(pred, labels, w, 1.5)
    divisor = float(weight.sum()) if reduction == "mean" else 1.0
    expected = _expected(rows, pred, weight, reduction, divisor)
    kwargs = {"class_weight": class_weight, "gamma": 1.5, "sample_weight": weight}
    value, dpred = kernels.focal(x, labels, reduction=reduction, **kwargs)
    for got, wanted in ((value, expected[0]), (dpred, expected[1])):
        np.testing.assert_allclose(got, wanted, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    forward = kernels.focal_forward(x, labels, reduction=reduction, **kwargs)
    np.testing.assert_array_equal(forward, value)
    backward = kernels.focal_backward(x, labels, reduction=reduction, **kwargs)
    np.testing.assert_array_equal(backward, dpred)


def test_new_options_are_checked() -> None:
    x, labels = np.ones((3, 2)), np.array([0, 1, 2])
    for call, message in (
        (lambda: kernels.quantile(x, x, q=1.5), "quantile: q must be between 0 and 1, got 1.5"),
        (
            lambda: kernels.binary_focal(x, x, gamma=-1),
            "gamma must be a finite number, not negative",
        ),
        (lambda: kernels.binary_focal(x, x, alpha=2.0), "alpha must be in"),
        (lambda: kernels.focal(x, labels), "focal: labels must be from 0 to 1, got 0 to 2"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="focal: target must be integer labels, got float64"):
        kernels.focal(x, x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("by_label", [False, True])
@pytest.mark.parametrize("class_weight", [None, [0.5, 1.0, 2.0, 0.0]])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy(reduction: str, class_weight, by_label: bool, dtype: str) -> None:
    x, labels = uniform((9, 4), -4, 4, dtype), np.arange(9) % 3
    target = labels if by_label else uniform((9, 4), 0, 0.5, dtype, seed=1)
    weight = uniform((9,), 0.1, 2, dtype, seed=2)
    w = None if class_weight is None else np.array(class_weight, dtype)
    pred = tensor(x, requires_grad=True)
    rows = F.cross_entropy_rows(pred, target, w, 0.1)
    counted = weight if w is None or not by_label else weight * w[labels]
    divisor = float(counted.sum()) if reduction == "mean" else 1.0
    expected = _expected(rows, pred, weight, reduction, divisor)
    kwargs = {"class_weight": class_weight, "label_smoothing": 0.1, "sample_weight": weight}
    value, dpred = kernels.cross_entropy(x, target, reduction=reduction, **kwargs)
    for got, wanted in ((value, expected[0]), (dpred, expected[1])):
        np.testing.assert_allclose(got, wanted, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    forward = kernels.cross_entropy_forward(x, target, reduction=reduction, **kwargs)
    backward = kernels.cross_entropy_backward(x, target, reduction=reduction, **kwargs)
    np.testing.assert_array_equal(forward, value)
    np.testing.assert_array_equal(backward, dpred)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("var_shape", [(5, 3), (5, 1)])
def test_gaussian_nll(var_shape: tuple, dtype: str) -> None:
    p, t = uniform((5, 3), dtype=dtype), uniform((5, 3), dtype=dtype, seed=1)
    v = uniform(var_shape, 0.3, 2, dtype, seed=2)
    pred, var = tensor(p, requires_grad=True), tensor(v, requires_grad=True)
    total = F.gaussian_nll_rows(pred, t, var, full=True).mean()
    dpred, dvar = grad(total, [pred, var])
    got = kernels.gaussian_nll(p, t, v, full=True)
    for g, wanted in zip(got, (total.item(), dpred.data, dvar.data), strict=True):
        np.testing.assert_allclose(g, wanted, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_out() -> None:
    p, t, out = uniform((4, 2)), uniform((4, 2), seed=1), np.empty((4, 2))
    _, dpred = kernels.mse(p, t, out=out)
    assert dpred is out
    assert kernels.mse_backward(p, t, out=out) is out
    with pytest.raises(ValueError, match=r"mse: out must have shape \(4, 2\)"):
        kernels.mse(p, t, out=np.empty(8))
    with pytest.raises(ValueError, match="mse: out shares memory with an input"):
        kernels.mse(p, t, out=p)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: kernels.mse(np.ones((3, 1)), np.ones(3)),
            ValueError,
            r"mse: pred has shape \(3, 1\), target has \(3,\)",
        ),
        (
            lambda: kernels.mse(np.ones(3), np.ones(3, np.float32)),
            TypeError,
            "mse: pred is float64 but target is float32",
        ),
        (
            lambda: kernels.mse(np.ones(3), np.ones(3), reduction="avg"),
            ValueError,
            "mse: reduction must be one of mean, sum, none, got 'avg'",
        ),
        (
            lambda: kernels.mse(np.ones(3), np.ones(3), sample_weight=np.ones(2)),
            ValueError,
            "mse: sample_weight must have shape",
        ),
        (
            lambda: kernels.mse(np.ones(3), np.ones(3), sample_weight=[1, -1, 1]),
            ValueError,
            "mse: sample_weight must be finite and not",
        ),
        (
            lambda: kernels.mse(np.ones(3), np.ones(3), sample_weight=np.zeros(3)),
            ValueError,
            "mse: the mean of no rows",
        ),
        (
            lambda: kernels.mse(np.ones(3), np.ones(3), delta=1),
            TypeError,
            "mse: unexpected argument 'delta'",
        ),
        (
            lambda: kernels.huber_forward(np.ones(3), np.ones(3), delta=0),
            ValueError,
            "huber_forward: delta must be positive",
        ),
        (
            lambda: kernels.cross_entropy(np.ones((3, 2)), [0, 1, 2]),
            ValueError,
            "cross_entropy: labels must be from 0 to 1, got 0 to 2",
        ),
        (
            lambda: kernels.cross_entropy(np.ones((3, 2)), [0, 1]),
            ValueError,
            "cross_entropy: expects one label a row",
        ),
        (
            lambda: kernels.cross_entropy(np.ones(3), [0, 1, 2]),
            ValueError,
            "cross_entropy: pred must have the shape",
        ),
        (
            lambda: kernels.cross_entropy(np.ones((3, 2)), [0, 1, 1], label_smoothing=-1),
            ValueError,
            "cross_entropy: label_smoothing",
        ),
        (
            lambda: kernels.cross_entropy(np.ones((3, 2)), [0, 1, 1], class_weight=[1]),
            ValueError,
            "cross_entropy: class_weight must have",
        ),
        (
            lambda: kernels.gaussian_nll(np.ones((3, 2)), np.ones((3, 2)), np.ones(3)),
            ValueError,
            "gaussian_nll: pred .* do not fit",
        ),
    ],
)
def test_messages(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()
