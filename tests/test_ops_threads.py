"""The bits of a result do not depend on the number of threads, forward or backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import DTYPES, rng, uniform

from fastprop import _core
from fastprop import functional as F
from fastprop.graph import Tensor, grad, op

LABELS = rng(3).integers(0, 11, 37)

# name: (function on Tensors, shapes of its operands)
CASES: dict[str, tuple[Callable[..., Tensor], list[tuple[int, ...]]]] = {
    "dense": (lambda x, W, b: F.gelu(F.dense(x, W, b)), [(37, 19), (19, 23), (23,)]),
    "dense_3d": (lambda x, W: F.dense(x, W), [(5, 7, 19), (19, 3)]),
    "matmul": (lambda a, b: a @ b, [(3, 17, 9), (3, 9, 33)]),
    "softmax": (lambda x: F.softmax(x) * F.log_softmax(x), [(37, 11)]),
    "broadcast": (lambda x, y: F.exp(x * y) + F.maximum(x, y), [(37, 1, 5), (3, 1)]),
    "sum_rows": (lambda x: F.sum(x * x, 0), [(601, 13)]),
    "mean_columns": (lambda x: F.mean(x * x, 1), [(37, 301)]),
    "extremes": (lambda x: F.max(x, (0, 2)) - F.min(x, (0, 2)), [(9, 4, 5)]),
    "everything": (lambda x: F.mean(F.sin(x)), [(513, 7)]),
    "transpose": (lambda x: F.transpose(x * x, (2, 0, 1)), [(5, 6, 7)]),
    "prelu": (lambda x, slope: F.prelu(x, slope), [(37, 11), (11,)]),
    "cross_entropy": (lambda x: F.cross_entropy_rows(x, LABELS, label_smoothing=0.1), [(37, 11)]),
    "mse": (lambda x, y: F.mse_rows(x, y), [(37, 11), (37, 11)]),
}


class _Core:
    """The compiled core, with another number of threads for every op."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def __getattr__(self, name: str) -> Any:
        return getattr(_core, name)

    def run_op(self, code: int, inputs: Any, shape: Any, dtype: Any, attrs: Any, _: int) -> Any:
        return _core.run_op(code, inputs, shape, dtype, attrs, self.threads)


def _values(name: str, dtype: str) -> list[np.ndarray]:
    function, shapes = CASES[name]
    inputs = [
        Tensor(uniform(s, dtype=dtype, seed=i), requires_grad=True) for i, s in enumerate(shapes)
    ]
    y = function(*inputs)
    first = grad((y * y).sum(), inputs, create_graph=True)
    total = sum(((d * d).sum() for d in first[1:]), (first[0] * first[0]).sum())
    return [y.data, *(d.data for d in first), *(d.data for d in grad(total, inputs))]


@pytest.mark.levels
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_same_bits(name: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = _values(name, dtype)
    for threads in (2, 3, 7):
        monkeypatch.setattr(op, "_core", _Core(threads))
        for value, wanted in zip(_values(name, dtype), expected, strict=True):
            assert value.tobytes() == wanted.tobytes()
