"""The bits of a result do not depend on the number of threads, forward or backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from helpers import DTYPES, rng, uniform

from fastprop import Tensor, _core, grad
from fastprop import functional as F

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
    "slices": (lambda x: x[::-2, 1:] * F.pad(x, ((0, 0), (1, 0)))[1:20, :-2], [(37, 11)]),
    "concatenate": (lambda x, y: F.concatenate([x * x, y, x], 0), [(7, 5), (3, 5)]),
    "concatenate_columns": (lambda x, y: F.concatenate([x * x, y], 1), [(17, 5), (17, 2)]),
    "take": (lambda x: F.take(x * x, LABELS, 0), [(11, 5)]),
    "take_columns": (lambda x: F.take(x * x, LABELS, 1), [(13, 11)]),
    "gather": (lambda x: F.gather(x * x, 0, LABELS[:, None] + np.zeros((1, 3), int)), [(11, 3)]),
    "scatter_add": (
        lambda x, y: F.scatter_add(x, 0, LABELS[:, None] + np.zeros((1, 3), int), y * y),
        [(11, 3), (37, 3)],
    ),
    "cumsum": (lambda x: F.cumsum(x * x, 0) + F.cumsum(x, 1), [(37, 11)]),
    "sort": (lambda x: F.sort(x, 0)[0] * F.sort(x, 1, True)[0], [(37, 11)]),
    "prelu": (lambda x, slope: F.prelu(x, slope), [(37, 11), (11,)]),
    "cross_entropy": (lambda x: F.cross_entropy_rows(x, LABELS, label_smoothing=0.1), [(37, 11)]),
    "mse": (lambda x, y: F.mse_rows(x, y), [(37, 11), (37, 11)]),
}


@contextmanager
def eager_threads(threads: int) -> Iterator[None]:
    before = _core.set_eager_threads(threads)
    try:
        yield
    finally:
        _core.set_eager_threads(before)


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
def test_same_bits(name: str, dtype: str) -> None:
    expected = _values(name, dtype)
    for threads in (2, 3, 7):
        with eager_threads(threads):
            for value, wanted in zip(_values(name, dtype), expected, strict=True):
                assert value.tobytes() == wanted.tobytes()
