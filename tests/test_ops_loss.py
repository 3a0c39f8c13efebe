"""Losses by row: values, first, second and third derivatives, messages."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers import DTYPES, ORACLES, assert_close, gradcheck, torch, uniform

from fastprop import Tensor, grad, tensor
from fastprop import functional as F

ROWS, COLUMNS = 3, 2


def _mean(elements: np.ndarray, mean: bool) -> np.ndarray:
    flat = elements.reshape(len(elements), int(np.prod(elements.shape[1:])))
    return flat.mean(1) if mean else flat.sum(1)


def _huber(d: np.ndarray, delta: float) -> np.ndarray:
    return np.where(np.abs(d) < delta, 0.5 * d * d, delta * (np.abs(d) - 0.5 * delta))


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _stirling(t: np.ndarray) -> np.ndarray:
    safe = np.maximum(t, 1.0)
    value = safe * np.log(safe) - safe + 0.5 * np.log(2 * np.pi * safe)
    return np.where(t > 1, value, 0.0)


def _focal(p: np.ndarray, t: np.ndarray, gamma: float, on: float, off: float) -> np.ndarray:
    positive = on * t * np.exp(-gamma * _softplus(p)) * _softplus(-p)
    return positive + off * (1 - t) * np.exp(-gamma * _softplus(-p)) * _softplus(p)


def _pinball(d: np.ndarray, q: np.ndarray | float) -> np.ndarray:
    return np.maximum(q * d, (q - 1) * d)


# case: (function, options, elementwise reference, domains of prediction and target)
CASES = {
    "mse": (F.mse_rows, {}, lambda p, t: (p - t) ** 2, (-2, 2), (-2, 2)),
    "mae": (F.mae_rows, {}, lambda p, t: np.abs(p - t), (1, 2), (-2, 0.9)),
    "huber": (F.huber_rows, {"delta": 0.7}, lambda p, t: _huber(p - t, 0.7), (-2, 2), (-2, 2)),
    "log_cosh": (F.log_cosh_rows, {}, lambda p, t: np.log(np.cosh(p - t)), (-2, 2), (-2, 2)),
    "quantile": (
        F.quantile_rows,
        {"q": np.array([0.1, 0.75])},
        lambda p, t: _pinball(t - p, np.array([0.1, 0.75])),
        (0.95, 2),
        (-2, 0.9),
    ),
    "quantile below": (
        F.quantile_rows,
        {"q": 0.25},
        lambda p, t: _pinball(t - p, 0.25),
        (-2, 0.9),
        (0.95, 2),
    ),
    "kl_div": (F.kl_div_rows, {}, lambda p, t: t * (np.log(t) - p), (-3, -0.1), (0.1, 1)),
    "kl_div log": (
        F.kl_div_rows,
        {"log_target": True},
        lambda p, t: np.exp(t) * (t - p),
        (-3, 0),
        (-3, 0),
    ),
    "focal": (
        F.binary_focal_rows,
        {"alpha": 0.25},
        lambda p, t: _focal(p, t, 2, 0.25, 0.75),
        (-3, 3),
        (0, 1),
    ),
    "focal 1.5": (
        F.binary_focal_rows,
        {"gamma": 1.5},
        lambda p, t: _focal(p, t, 1.5, 1, 1),
        (-3, 3),
        (0, 1),
    ),
    "hinge": (F.hinge_rows, {}, lambda p, t: np.maximum(0, 1 - t * p), (-2, 2), (-2, 2)),
    "poisson_log": (F.poisson_nll_rows, {}, lambda p, t: np.exp(p) - t * p, (-2, 2), (0, 5)),
    "poisson_rate": (
        F.poisson_nll_rows,
        {"log_input": False, "full": True, "eps": 1e-3},
        lambda p, t: p - t * np.log(p + 1e-3) + _stirling(t),
        (0.5, 3),
        (1.5, 5),
    ),
    "bce": (
        F.binary_cross_entropy_rows,
        {},
        lambda p, t: t * _softplus(-p) + (1 - t) * _softplus(p),
        (-3, 3),
        (0, 1),
    ),
    "bce_weighted": (
        F.binary_cross_entropy_rows,
        {"pos_weight": np.array([0.5, 3.0])},
        lambda p, t: np.array([0.5, 3.0]) * t * _softplus(-p) + (1 - t) * _softplus(p),
        (-3, 3),
        (0, 1),
    ),
}


def _torch_rows(case: str, mean: bool = True):
    """The same loss by PyTorch."""
    if torch is None:
        return None
    functions, options = torch.nn.functional, CASES[case][1]
    calls = {
        "mse": lambda p, t: functions.mse_loss(p, t, reduction="none"),
        "mae": lambda p, t: torch.where(p > t, p - t, t - p),
        "huber": lambda p, t: functions.huber_loss(p, t, delta=0.7, reduction="none"),
        "log_cosh": lambda p, t: torch.log(torch.cosh(p - t)),
        "quantile": lambda p, t: (1 - torch.tensor([0.1, 0.75], dtype=torch.float64)) * (p - t),
        "quantile below": lambda p, t: 0.25 * (t - p),
        "kl_div": lambda p, t: functions.kl_div(p, t, reduction="none"),
        "kl_div log": lambda p, t: functions.kl_div(p, t, reduction="none", log_target=True),
        "focal": lambda p, t: _torch_focal(p, t, 2, 0.25, 0.75),
        "focal 1.5": lambda p, t: _torch_focal(p, t, 1.5, 1, 1),
        "hinge": lambda p, t: torch.relu(1 - t * p),
        "poisson_log": lambda p, t: functions.poisson_nll_loss(p, t, reduction="none"),
        "poisson_rate": lambda p, t: functions.poisson_nll_loss(p, t, reduction="none", **options),
        "bce": lambda p, t: functions.binary_cross_entropy_with_logits(p, t, reduction="none"),
        "bce_weighted": lambda p, t: functions.binary_cross_entropy_with_logits(
            p, t, reduction="none", pos_weight=torch.tensor(options["pos_weight"])
        ),
    }

    def rows(p, t):
        elements = calls[case](p, t).reshape(len(p), -1)
        return elements.mean(1) if mean else elements.sum(1)

    return rows


def _torch_focal(p, t, gamma, on, off):
    """As torchvision's sigmoid_focal_loss, but linear in targets between 0 and 1."""
    right, wrong = torch.sigmoid(p), torch.sigmoid(-p)
    positive = -on * t * wrong**gamma * torch.log(right)
    return positive - off * (1 - t) * right**gamma * torch.log(wrong)


@pytest.mark.levels
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mean", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_values(case: str, mean: bool, dtype: str) -> None:
    function, options, reference, p_range, t_range = CASES[case]
    options = {k: v.astype(dtype) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    for shape in ((1, 2), (5, 2), (37, 2), (3, 7, 2), (0, 2)):
        p, t = uniform(shape, *p_range, dtype), uniform(shape, *t_range, dtype, seed=1)
        rows = function(p, t, mean=mean, **options)
        assert rows.dtype == dtype
        expected = _mean(reference(p.astype(np.float64), t.astype(np.float64)), mean)
        assert_close(
            rows.data, expected, ulps=16, scale=np.prod(shape[1:]) * 4.0, what=f"{case} {shape}"
        )


@pytest.mark.parametrize("oracle", ORACLES)
@pytest.mark.parametrize("mean", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_derivatives(case: str, mean: bool, oracle: str) -> None:
    """By prediction and target, mixed ones too, through functions of both."""
    function, options, _, p_range, t_range = CASES[case]
    p, t = uniform((ROWS, COLUMNS), *p_range), uniform((ROWS, COLUMNS), *t_range, seed=1)
    if case == "huber":
        t = np.where(np.abs(np.abs(p - t) - 0.7) < 0.05, t + 0.2, t)
    if case == "hinge":
        t = np.where(np.abs(1 - p * t) < 0.05, t + 0.2, t)
    other = _torch_rows(case, mean)
    # PyTorch offers no derivative by the target of BCE beyond the first, nor a third of some.
    order = 2 if oracle == "torch" else 3
    gradcheck(
        lambda a, b: function(a, b, mean=mean, **options) ** 2,
        p,
        t,
        order=order,
        oracle=oracle,
        torch_f=None if other is None else lambda a, b: other(a, b) ** 2,
        tolerance=2e-5 if oracle == "differences" else 1e-9,
    )


@pytest.mark.parametrize("function", [F.mse_rows, F.binary_cross_entropy_rows])
def test_one_axis(function) -> None:
    p, t = uniform((4,)), uniform((4,), 0, 1, seed=1)
    gradcheck(lambda a: function(a, t) ** 2, p, order=2)
    np.testing.assert_allclose(
        function(p, t).data, function(p[:, None], t[:, None]).data, rtol=1e-15
    )


@pytest.mark.parametrize("oracle", ORACLES)
def test_elastic_net(oracle: str) -> None:
    for shape in ((1,), (7,), (5, 3), (3, 70), (2, 3, 4), (0, 3)):
        w = uniform(shape)
        expected = _mean(0.3 * np.abs(w) + 0.7 * w**2, False)
        assert_close(F.elastic_net_rows(w, 0.3, 0.7).data, expected, ulps=16, scale=8.0)
    gradcheck(
        lambda a: F.elastic_net_rows(a, 0.3, 0.7) ** 2,
        np.where(np.abs(w := uniform((3, 2))) < 0.1, 0.2, w),
        order=3,
        oracle=oracle,
        torch_f=lambda a: (0.3 * a.abs() + 0.7 * a * a).sum(1) ** 2,
        tolerance=2e-5 if oracle == "differences" else 1e-11,
    )
    zero = tensor(np.zeros((2, 2)), requires_grad=True)
    np.testing.assert_array_equal(grad(F.elastic_net_rows(zero, 1.0).sum(), zero).data, 0)


def test_logits_far_out() -> None:
    for dtype in DTYPES:
        p = tensor(np.array([[-800.0], [800.0], [0.0]], dtype), requires_grad=True)
        t = np.array([[0.0], [1.0], [1.0]], dtype)
        rows = F.binary_cross_entropy_rows(p, t)
        np.testing.assert_allclose(rows.data, [0, 0, math.log(2)], rtol=1e-6)
        np.testing.assert_allclose(grad(rows.sum(), p).data, [[0], [0], [-0.5]], rtol=1e-6)
        np.testing.assert_allclose(F.binary_cross_entropy_rows(-p, t).data[:2], [800, 800])


@pytest.mark.parametrize("oracle", ORACLES)
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("var_shape", [(3, 2), (3, 1), (1,)])
def test_gaussian_nll(var_shape: tuple, full: bool, oracle: str) -> None:
    p, t, v = uniform((3, 2)), uniform((3, 2), seed=1), uniform(var_shape, 0.5, 2, seed=2)
    elements = 0.5 * (np.log(v) + (p - t) ** 2 / v) + (0.5 * math.log(2 * math.pi) if full else 0)
    for mean in (True, False):
        rows = F.gaussian_nll_rows(p, t, v, full=full, mean=mean)
        np.testing.assert_allclose(rows.data, _mean(elements, mean), rtol=1e-13)

    def theirs(a, b, c):
        e = 0.5 * (torch.log(c) + (a - b) ** 2 / c) + (0.5 * math.log(2 * math.pi) if full else 0)
        return e.mean(1)

    gradcheck(
        lambda a, b, c: F.gaussian_nll_rows(a, b, c, full=full),
        p,
        t,
        v,
        order=2,
        oracle=oracle,
        torch_f=theirs,
        tolerance=1e-6 if oracle == "differences" else None,
    )


def test_gaussian_nll_clamps_the_variance_but_not_its_derivative() -> None:
    v = tensor(np.array([[1e-9]]), requires_grad=True)
    rows = F.gaussian_nll_rows(np.zeros((1, 1)), np.ones((1, 1)), v, eps=0.1)
    np.testing.assert_allclose(rows.data, [0.5 * (math.log(0.1) + 10)])
    np.testing.assert_allclose(grad(rows.sum(), v).data, [[0.5 * (10 - 100)]])


def test_labels_of_other_integer_dtypes() -> None:
    x = uniform((3, 4), dtype="float32")
    expected = F.cross_entropy_rows(x, np.array([0, 1, 2])).data
    for labels in ([0, 1, 2], np.array([0, 1, 2], np.uint8), np.array([0, 1, 2], np.int32)):
        np.testing.assert_array_equal(F.cross_entropy_rows(x, labels).data, expected)


def test_extreme_logits_are_finite() -> None:
    x = tensor(
        np.array([[1e30, 0.0, -1e30], [-1e30, -1e30, -1e30]], np.float32), requires_grad=True
    )
    rows = F.cross_entropy_rows(x, np.array([0, 1]))
    np.testing.assert_allclose(rows.data, [0, math.log(3)], rtol=1e-6)
    np.testing.assert_allclose(
        grad(rows.sum(), x).data, [[0, 0, 0], [1 / 3, -2 / 3, 1 / 3]], atol=1e-6
    )


def test_derivative_without_a_rule_is_an_error() -> None:
    x = tensor(np.ones((2, 2)), requires_grad=True)
    w = tensor(np.ones(2), requires_grad=True)
    t = np.ones((2, 2))
    with pytest.raises(RuntimeError, match="no derivative by pos_weight"):
        F.binary_cross_entropy_rows(x, t, pos_weight=w).sum().backward()
    with pytest.raises(RuntimeError, match="no derivative by class_weight"):
        F.cross_entropy_rows(x, t, class_weight=w).sum().backward()


def test_batched() -> None:
    p = Tensor.placeholder((8, 3), "float32", batched=True)
    t = Tensor.placeholder((8, 3), "float32", batched=True)
    labels = Tensor.placeholder((8,), "int64", batched=True)
    for rows in (
        F.mse_rows(p, t),
        F.cross_entropy_rows(p, labels),
        F.gaussian_nll_rows(p, t, F.exp(p)),
    ):
        assert rows.spec == ((8,), np.dtype("float32"), True)
    p.requires_grad = True
    for rows in (F.mse_rows(p, t), F.cross_entropy_rows(p, labels), F.huber_rows(p, t)):
        d = grad(rows.mean(), p, create_graph=True)
        assert d.spec == p.spec
        assert grad((d * d).sum(), p).spec == p.spec


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: F.mse_rows(np.ones((3, 1)), np.ones(3)),
            ValueError,
            r"mse: pred has shape \(3, 1\), target has \(3,\)",
        ),
        (
            lambda: F.mse_rows(np.float64(1), np.float64(1)),
            ValueError,
            "mse: pred must have a first axis",
        ),
        (
            lambda: F.mae_rows(np.ones(3), np.ones(3, np.float32)),
            TypeError,
            "mae: operands have different dtypes",
        ),
        (
            lambda: F.huber_rows(np.ones(3), np.ones(3), delta=0),
            ValueError,
            "huber: delta must be positive",
        ),
        (
            lambda: F.cross_entropy_rows(np.ones((3, 2)), np.array([0, 1, 2])),
            ValueError,
            "cross_entropy: labels must be from 0 to 1, got 0 to 2",
        ),
        (
            lambda: F.cross_entropy_rows(np.ones((3, 2)), np.array([0, 1])),
            ValueError,
            "cross_entropy: expects one label a row",
        ),
        (
            lambda: F.cross_entropy_rows(np.ones(3), np.array([0, 1, 0])),
            ValueError,
            "cross_entropy: expects scores",
        ),
        (
            lambda: F.cross_entropy_rows(np.ones((3, 2)), np.ones((3, 2)), np.ones(3)),
            ValueError,
            "class_weight must have shape",
        ),
        (
            lambda: F.cross_entropy_rows(np.ones((3, 2)), np.array([0, 1, 0]), label_smoothing=2),
            ValueError,
            "label_smoothing",
        ),
        (
            lambda: F.binary_cross_entropy_rows(np.ones((3, 2)), np.ones((3, 2)), np.ones(3)),
            ValueError,
            "pos_weight must have 1 element or 2",
        ),
        (
            lambda: F.gaussian_nll_rows(np.ones((3, 2)), np.ones((3, 2)), np.ones((4, 2))),
            ValueError,
            "do not broadcast",
        ),
        (
            lambda: F.gaussian_nll_rows(np.ones(2), np.ones(2), np.ones((3, 2))),
            ValueError,
            "does not broadcast",
        ),
    ],
)
def test_messages(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()
