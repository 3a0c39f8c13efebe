"""Rows by index, and counts of right answers."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import DTYPES, rng, uniform

from fastprop import functional as F
from fastprop import tensor


@pytest.mark.parametrize("dtype", [*DTYPES, "int64"])
@pytest.mark.parametrize("shape", [(6,), (6, 3), (6, 2, 5), (6, 0)])
def test_gather_rows(shape: tuple, dtype: str) -> None:
    source = (uniform(shape) * 10).astype(dtype)
    for index in ([0, 5, 5, 2], list(range(6)), []):
        rows = F.gather_rows(source, np.array(index, np.int64))
        assert rows.dtype == dtype
        np.testing.assert_array_equal(rows.data, source[np.array(index, np.int64)])


def test_gather_rows_messages_and_derivative() -> None:
    source = tensor(np.ones((3, 2)), requires_grad=True)
    for index in ([3], [-1]):
        with pytest.raises(ValueError, match="gather_rows: index must be from 0 to 2"):
            F.gather_rows(source, np.array(index))
    with pytest.raises(ValueError, match="gather_rows: index must be int64"):
        F.gather_rows(source, np.array([0.0]))
    F.gather_rows(source, np.array([0, 2, 0])).sum().backward()
    np.testing.assert_array_equal(source.grad.data, [[2, 2], [0, 0], [1, 1]])


def _top_k(scores: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return (order == labels[:, None]).any(1).astype(scores.dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (9, 3), (40, 10), (5, 100), (0, 3)])
def test_top_k_correct(shape: tuple, dtype: str) -> None:
    scores = np.round(uniform(shape, -3, 3, dtype))  # with ties
    labels = rng(1).integers(0, shape[1], shape[0])
    for k in {1, min(3, shape[1]), shape[1]}:
        hits = F.top_k_correct(scores, labels, k)
        np.testing.assert_array_equal(hits.data, _top_k(scores, labels, k))
    np.testing.assert_array_equal(
        F.top_k_correct(scores, labels).data, F.argmax(scores, 1).data == labels
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4,), (7, 1), (5, 3)])
def test_binary_correct(shape: tuple, dtype: str) -> None:
    scores, target = uniform(shape, dtype=dtype), (uniform(shape, seed=1) > 0).astype(dtype)
    for threshold in (0.0, 0.5):
        hits = ((scores > threshold) == (target > 0.5)).reshape(shape[0], -1).mean(1)
        result = F.binary_correct(scores, target, threshold)
        np.testing.assert_allclose(result.data, hits, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: F.top_k_correct(np.ones((3, 2)), np.zeros(3, int), 3),
            ValueError,
            "top_k_correct: k must be from 1 to 2",
        ),
        (
            lambda: F.top_k_correct(np.ones((3, 2)), np.zeros(2, int)),
            ValueError,
            "top_k_correct: expects one label a row",
        ),
        (
            lambda: F.top_k_correct(np.ones((3, 2)), np.zeros(3)),
            TypeError,
            "top_k_correct: labels must be int64",
        ),
        (
            lambda: F.binary_correct(np.ones(3), np.ones(2)),
            ValueError,
            "binary_correct: operands must have one shape",
        ),
    ],
)
def test_messages(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()
