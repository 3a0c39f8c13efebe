"""Losses of classes by row: cross-entropy and focal; values, derivatives, extreme logits."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import DTYPES, ORACLES, assert_close, gradcheck, rng, torch, uniform

from fastprop import Tensor, grad, tensor
from fastprop import functional as F

ROWS, COLUMNS = 3, 2


def _cross_entropy(x: np.ndarray, q: np.ndarray, w: np.ndarray | None, s: float) -> np.ndarray:
    x = x.astype(np.float64)
    d = x - x.max(1, keepdims=True)
    log_softmax = d - np.log(np.exp(d).sum(1, keepdims=True))
    q = (1 - s) * q + s / x.shape[1]
    return -(q * (1 if w is None else w) * log_softmax).sum(1)


@pytest.mark.levels
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (33, 10), (7, 130), (0, 4)])
def test_cross_entropy_values(shape: tuple, weighted: bool, smoothing: float, dtype: str) -> None:
    x = uniform(shape, -9, 9, dtype)
    labels = rng(1).integers(0, shape[1], shape[0])
    w = uniform(shape[1:], 0.2, 2, dtype, seed=2) if weighted else None
    probabilities = np.eye(shape[1], dtype=dtype)[labels] * np.asarray(0.8, dtype) + np.asarray(
        0.01, dtype
    )
    for target, q in ((labels, np.eye(shape[1])[labels]), (probabilities, probabilities)):
        rows = F.cross_entropy_rows(x, target, w, smoothing)
        assert rows.dtype == dtype
        assert_close(rows.data, _cross_entropy(x, q, w, smoothing), ulps=16, scale=20.0)


@pytest.mark.parametrize("oracle", ORACLES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("by_label", [False, True])
def test_cross_entropy_derivatives(
    by_label: bool, weighted: bool, smoothing: float, oracle: str
) -> None:
    x, labels = uniform((3, 4)), np.array([2, 0, 3])
    w = uniform((4,), 0.2, 2, seed=2) if weighted else None
    probabilities = uniform((3, 4), 0.1, 0.4, seed=3)

    def theirs(a, *t):
        q = t[0] if t else torch.from_numpy(np.eye(4)[labels])
        q = (1 - smoothing) * q + smoothing / 4
        q = q if w is None else q * torch.from_numpy(w)
        return -((q * torch.log_softmax(a, 1)).sum(1) ** 2)

    def ours(a: Tensor, *t: Tensor) -> Tensor:
        return -(F.cross_entropy_rows(a, t[0] if t else labels, w, smoothing) ** 2)

    gradcheck(
        ours,
        *([x] if by_label else [x, probabilities]),
        order=3,
        oracle=oracle,
        torch_f=theirs,
        tolerance=2e-5 if oracle == "differences" else 1e-10,
    )


def _focal_rows(x: np.ndarray, q: np.ndarray, w: np.ndarray | None, gamma: float) -> np.ndarray:
    d = x.astype(np.float64) - x.max(1, keepdims=True)
    log_p = d - np.log(np.exp(d).sum(1, keepdims=True))
    return -(q * (1 if w is None else w) * (-np.expm1(log_p)) ** gamma * log_p).sum(1)


@pytest.mark.levels
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(1, 2), (5, 3), (33, 10), (7, 64), (7, 65), (5, 130), (0, 4)])
def test_focal_values(shape: tuple, weighted: bool, gamma: float, dtype: str) -> None:
    x = uniform(shape, -4, 4, dtype)
    labels = rng(1).integers(0, shape[1], shape[0])
    w = uniform(shape[1:], 0.2, 2, dtype, seed=2) if weighted else None
    one_hot = np.eye(shape[1], dtype=dtype)[labels]
    for target, q in ((labels, one_hot), (0.9 * one_hot + np.asarray(0.02, dtype),) * 2):
        rows = F.focal_rows(x, target.astype(target.dtype if target is labels else dtype), w, gamma)
        assert rows.dtype == dtype
        assert_close(rows.data, _focal_rows(x, q, w, gamma), ulps=32, scale=20.0)


@pytest.mark.parametrize("oracle", ORACLES)
@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("by_label", [False, True])
def test_focal_derivatives(by_label: bool, weighted: bool, gamma: float, oracle: str) -> None:
    x, labels = uniform((3, 4)), np.array([2, 0, 3])
    w = uniform((4,), 0.2, 2, seed=2) if weighted else None
    probabilities = uniform((3, 4), 0.1, 0.4, seed=3)

    def theirs(a, *t):
        q = t[0] if t else torch.from_numpy(np.eye(4)[labels])
        q = q if w is None else q * torch.from_numpy(w)
        log_p = torch.log_softmax(a, 1)
        return -((q * (1 - log_p.exp()) ** gamma * log_p).sum(1) ** 2)

    def ours(a: Tensor, *t: Tensor) -> Tensor:
        return -(F.focal_rows(a, t[0] if t else labels, w, gamma) ** 2)

    gradcheck(
        ours,
        *([x] if by_label else [x, probabilities]),
        order=3,
        oracle=oracle,
        torch_f=theirs,
        tolerance=2e-5 if oracle == "differences" else 1e-9,
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [3, 100])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_of_extreme_logits(gamma: float, classes: int, dtype: str) -> None:
    """A certain and right row costs nothing, a certain and wrong one as much as cross-entropy."""
    x = np.zeros((2, classes), dtype)
    x[:, 0] = 2000
    logits = tensor(x, requires_grad=True)
    rows = F.focal_rows(logits, np.array([0, 1]), None, gamma)
    np.testing.assert_array_equal(rows.data, [0, 2000])
    expected = np.zeros((2, classes), dtype)
    expected[1, :2] = 1, -1
    np.testing.assert_array_equal(grad(rows.sum(), logits).data, expected)
