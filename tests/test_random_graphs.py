"""Random graphs of 5 to 30 ops: eager, compiled, through a compiled function and in PyTorch they
give the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
from helpers import torch, uniform

import fastprop as fp
from fastprop import functional as F

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

# Values that no graph comes near to, so that nobody has to agree on which of two equal ones is
# larger.
RAMP = uniform((4, 4), -1.0, 1.0, seed=40)
MASK = uniform((4, 4), seed=41) > 0.3
ORDER = np.array([2, 0, 3, 1])


class Step(NamedTuple):
    """One op: how many operands, ours, PyTorch's. All values are [n, k] and stay near 1."""

    operands: int
    ours: Callable[..., Any]
    theirs: Callable[..., Any]


def _same(count: int, function: Callable[..., Any]) -> Step:
    return Step(count, function, function)


def _t(array: np.ndarray, like: Any) -> Any:
    return torch.from_numpy(np.ascontiguousarray(array[: like.shape[0], : like.shape[1]]))


def _n(array: np.ndarray, like: Any) -> np.ndarray:
    return np.ascontiguousarray(array[: like.shape[0], : like.shape[1]])


def _columns(x: Any) -> list[int]:
    return [int(i) for i in ORDER if i < x.shape[1]]


STEPS: dict[str, Step] = {
    "tanh": Step(1, F.tanh, lambda x: torch.tanh(x)),
    "sin": Step(1, F.sin, lambda x: torch.sin(x)),
    "sigmoid": Step(1, F.sigmoid, lambda x: torch.sigmoid(x)),
    "atan": Step(1, F.atan, lambda x: torch.atan(x)),
    "erf": Step(1, F.erf, lambda x: torch.erf(x)),
    "gelu": Step(1, F.gelu, lambda x: torch.nn.functional.gelu(x)),
    "silu": Step(1, F.silu, lambda x: torch.nn.functional.silu(x)),
    "softplus": Step(1, F.softplus, lambda x: torch.nn.functional.softplus(x)),
    "bell": Step(1, lambda x: F.exp(-x * x), lambda x: torch.exp(-x * x)),
    "log": Step(1, lambda x: F.log(1.5 + x * x), lambda x: torch.log(1.5 + x * x)),
    "root": Step(1, lambda x: 0.5 * F.sqrt(0.5 + x**2), lambda x: 0.5 * torch.sqrt(0.5 + x**2)),
    "half sum": _same(2, lambda x, y: 0.5 * (x + y)),
    "half difference": _same(2, lambda x, y: 0.5 * (x - y)),
    "half product": _same(2, lambda x, y: 0.5 * x * y),
    "ratio": _same(2, lambda x, y: x / (1.5 + y * y)),
    "blend": Step(
        2, lambda x, y: F.where(_n(MASK, x), x, y), lambda x, y: torch.where(_t(MASK, x), x, y)
    ),
    "larger": Step(
        1, lambda x: F.maximum(x, _n(RAMP, x)), lambda x: torch.maximum(x, _t(RAMP, x))
    ),
    "smaller": Step(
        1, lambda x: F.minimum(x, _n(RAMP, x)), lambda x: torch.minimum(x, _t(RAMP, x))
    ),
    "softmax": Step(1, lambda x: F.softmax(x, 1), lambda x: x.softmax(1)),
    "log_softmax": Step(1, lambda x: 0.3 * F.log_softmax(x, 1), lambda x: 0.3 * x.log_softmax(1)),
    "centered": Step(1, lambda x: x - x.mean(1, True), lambda x: x - x.mean(1, True)),
    "sum of rows": Step(
        1, lambda x: x + 0.2 * F.sum(x * x, 1, True), lambda x: x + 0.2 * (x * x).sum(1, True)
    ),
    "spread": Step(
        1, lambda x: x * F.var(x, 1, True), lambda x: x * x.var(1, correction=0, keepdim=True)
    ),
    "logsumexp": Step(
        1, lambda x: x - F.logsumexp(x, 1, True), lambda x: x - x.logsumexp(1, keepdim=True)
    ),
    "running": Step(1, lambda x: 0.25 * F.cumsum(x, 1), lambda x: 0.25 * x.cumsum(1)),
    "flipped": Step(1, lambda x: F.flip(x, 1), lambda x: x.flip(1)),
    "columns": Step(1, lambda x: x[:, _columns(x)], lambda x: x[:, _columns(x)]),
    "rotated": Step(
        1, lambda x: F.concatenate([x[:, 1:], x[:, :1]], 1),
        lambda x: torch.cat([x[:, 1:], x[:, :1]], 1),
    ),
    "shifted": Step(
        1, lambda x: F.pad(x, ((0, 0), (1, 0)))[:, :-1],
        lambda x: torch.nn.functional.pad(x, (1, 0))[:, :-1],
    ),
    "sorted": Step(
        1, lambda x: F.sort(x + _n(RAMP, x), 1)[0], lambda x: (x + _t(RAMP, x)).sort(1)[0]
    ),
    "stacked": Step(
        2, lambda x, y: F.stack([x, y], 2).mean(2), lambda x, y: torch.stack([x, y], 2).mean(2)
    ),
    "reshaped": Step(
        1, lambda x: F.reshape(F.unsqueeze(x, 1) * 0.7, x.shape), lambda x: (x[:, None] * 0.7)[:, 0]
    ),
}  # fmt: skip
PRODUCTS: dict[str, Step] = {  # the last operand is the weight
    "product": Step(1, lambda x, w: 0.5 * (x @ w), lambda x, w: 0.5 * (x @ w)),
    "layer": Step(
        1, lambda x, w: F.tanh(F.dense(x, w, w[0])), lambda x, w: torch.tanh(x @ w + w[0])
    ),
    "einsum": Step(
        1, lambda x, w: 0.5 * F.einsum("ni,ji->nj", x, w),
        lambda x, w: 0.5 * torch.einsum("ni,ji->nj", x, w),
    ),
    "triangle": Step(1, lambda x, w: 0.5 * (x @ F.tril(w)), lambda x, w: 0.5 * (x @ w.tril())),
}  # fmt: skip

Node = tuple[str, tuple[int, ...]]
"""An op, and which of the values before it are its operands."""


@st.composite
def graphs(draw: Any) -> tuple[int, int, list[Node]]:
    """Rows, columns, ops; every op's first operand is one of the last three values."""
    rows, columns = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    nodes: list[Node] = []
    for k in range(draw(st.integers(5, 30))):
        name = draw(st.sampled_from([*STEPS, *PRODUCTS]))
        count = (STEPS.get(name) or PRODUCTS[name]).operands
        recent = draw(st.integers(max(0, k - 2), k))
        others = [draw(st.integers(0, k)) for _ in range(count - 1)]
        nodes.append((name, (recent, *others)))
    return rows, columns, nodes


def _run(nodes: Sequence[Node], x: Any, w: Any, ours: bool) -> Any:
    values = [x]
    for name, operands in nodes:
        step = STEPS.get(name) or PRODUCTS[name]
        weights = [w] if name in PRODUCTS else []
        function = step.ours if ours else step.theirs
        values.append(function(*[values[i] for i in operands], *weights))
    return values[-1]


def _results(run: Any, x: Any, w: Any, derive: Any, weights: Any) -> Any:
    """A number, its derivatives by x and w, and those of a combination of these."""
    c, u, v = weights
    y = run(x, w)
    loss = (y * c).sum() + 0.5 * ((x * x).sum() + (w * w).sum())
    first = derive(loss, [x, w])
    second = derive((first[0] * u).sum() + (first[1] * v).sum(), [x, w])
    return [loss, *first, *second]


@settings(derandomize=True, database=None, deadline=None, max_examples=80)
@given(graphs())
def test_all_ways_give_the_same(graph: tuple[int, int, list[Node]]) -> None:
    rows, columns, nodes = graph
    x, w = uniform((rows, columns), -1, 1, seed=1), uniform((columns, columns), -1, 1, seed=2)
    weights = [uniform(s, 0.5, 1.5, seed=3) for s in (x.shape, x.shape, w.shape)]

    def derive(y: fp.Tensor, by: list[fp.Tensor]) -> Any:
        return fp.grad(y, by, create_graph=True)

    def run(a: fp.Tensor, b: fp.Tensor) -> Any:
        return _run(nodes, a, b, True)

    def step(a: fp.Tensor, b: fp.Tensor, run: Any = run) -> Any:
        return _results(run, a, b, derive, weights)

    def leaves() -> list[fp.Tensor]:
        return [fp.tensor(a, requires_grad=True) for a in (x, w)]

    eager = [np.asarray(t.data) for t in step(*leaves())]
    compiled = [np.asarray(t.data) for t in fp.compile(step)(*leaves())]
    through = [np.asarray(t.data) for t in step(*leaves(), fp.compile(run))]
    for a, b, c in zip(eager, compiled, through, strict=True):
        _close(b, a, "compiled and eager")
        _close(c, a, "through a compiled function and eager")
    if torch is None:
        return
    tx, tw = (torch.tensor(a, requires_grad=True) for a in (x, w))
    theirs = _results(
        lambda a, b: _run(nodes, a, b, False), tx, tw,
        lambda y, by: torch.autograd.grad(y, by, create_graph=True),
        [torch.from_numpy(a) for a in weights],
    )  # fmt: skip
    for a, t in zip(eager, theirs, strict=True):
        _close(a, t.detach().numpy(), "eager and PyTorch")


def _close(found: np.ndarray, expected: np.ndarray, what: str) -> None:
    # 30 ops multiply a rounding of 1e-16 by their slopes, of which some are near 2.
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10 * scale, err_msg=what)
