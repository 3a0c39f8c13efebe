"""The public functions on Tensors, each on small arrays, and PyTorch's counterpart of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import fastprop as fp
from fastprop import functional as F

Call = Callable[[], Any]
Maker = Callable[..., Any]

INDEX = np.array([0, 2, 1])
PLACES = np.array([[0], [1], [2], [3], [4], [5], [6], [7]])
LABELS = np.array([0, 2, 1, 7, 6, 5, 4, 3])
MASK = np.array([True, False, True, True, False, False, True, True])


class Operands(NamedTuple):
    """Those that have a derivative, [8, 8], [8] and [8, 1] of 0.5 to 0.9, and indices."""

    x: Any
    y: Any
    b: Any
    c: Any
    s: Any
    i: Any
    p: Any
    labels: Any
    mask: Any


def operands(make: Callable[[np.ndarray], Any], other: Callable[[np.ndarray], Any]) -> Operands:
    """The same numbers for a library, by what makes a leaf of it and what makes another array."""
    rng = np.random.default_rng(0)
    shapes = ((8, 8), (8, 8), (8,), (8,), (8, 1))
    leaves = [make(rng.uniform(0.5, 0.9, shape).astype(np.float32)) for shape in shapes]
    return Operands(*leaves, *map(other, (INDEX, PLACES, LABELS, MASK)))


# Both libraries under one spelling; o: Operands.
SAME: dict[str, Maker] = {
    "x + y": lambda o: o.x + o.y,
    "x + b": lambda o: o.x + o.b,
    "2 * x": lambda o: 2 * o.x,
    "x - y": lambda o: o.x - o.y,
    "1 - x": lambda o: 1 - o.x,
    "x * y": lambda o: o.x * o.y,
    "x / y": lambda o: o.x / o.y,
    "1 / x": lambda o: 1 / o.x,
    "x ** 2": lambda o: o.x**2,
    "x ** 3": lambda o: o.x**3,
    "x ** y": lambda o: o.x**o.y,
    "-x": lambda o: -o.x,
    "abs": lambda o: o.x.abs(),
    "exp": lambda o: o.x.exp(),
    "log": lambda o: o.x.log(),
    "sqrt": lambda o: o.x.sqrt(),
    "square": lambda o: o.x.square(),
    "sin": lambda o: o.x.sin(),
    "tanh": lambda o: o.x.tanh(),
    "relu": lambda o: o.x.relu(),
    "sigmoid": lambda o: o.x.sigmoid(),
    "x > y": lambda o: o.x > o.y,
    "x > 0.7": lambda o: o.x > 0.7,
    "clip": lambda o: o.x.clip(0.6, 0.8),
    "maximum": lambda o: o.x.maximum(o.y),
    "x @ y": lambda o: o.x @ o.y,
    "x @ b": lambda o: o.x @ o.b,
    "b @ x": lambda o: o.b @ o.x,
    "dot": lambda o: o.b.dot(o.c),
    "outer": lambda o: o.b.outer(o.c),
    "sum": lambda o: o.x.sum(),
    "sum(0)": lambda o: o.x.sum(0),
    "mean": lambda o: o.x.mean(),
    "mean(0)": lambda o: o.x.mean(0),
    "max": lambda o: o.x.max(),
    "prod": lambda o: o.x.prod(),
    "var(0)": lambda o: o.x.var(0),
    "std(0)": lambda o: o.x.std(0),
    "norm": lambda o: o.x.norm(),
    "logsumexp(1)": lambda o: o.x.logsumexp(1),
    "argmax": lambda o: o.x.argmax(-1),
    "softmax(1)": lambda o: o.x.softmax(1),
    "softmax(0)": lambda o: o.x.softmax(0),
    "log_softmax(1)": lambda o: o.x.log_softmax(1),
    "cumsum(0)": lambda o: o.x.cumsum(0),
    "x[0]": lambda o: o.x[0],
    "x[1:3]": lambda o: o.x[1:3],
    "x[:, 1]": lambda o: o.x[:, 1],
    "x[1, 2]": lambda o: o.x[1, 2],
    "x[:, None]": lambda o: o.x[:, None],
    "x[..., -1]": lambda o: o.x[..., -1],
    "x[index]": lambda o: o.x[o.i],
    "x[:, index]": lambda o: o.x[:, o.i],
    "x[index, index]": lambda o: o.x[o.i, o.i],
    "x[mask]": lambda o: o.x[o.mask],
    "reshape": lambda o: o.x.reshape(4, 16),
    "reshape(-1)": lambda o: o.x.reshape(-1),
    "x.T": lambda o: o.x.T,
    "permute": lambda o: o.x.permute(1, 0),
    "unsqueeze": lambda o: o.x.unsqueeze(0),
    "squeeze": lambda o: o.x.squeeze(),
    "expand": lambda o: o.b.expand(8, 8),
    "split": lambda o: o.x.split(4)[0],
    "tril": lambda o: o.x.tril(),
    "gather": lambda o: o.x.gather(1, o.p),
    "sort": lambda o: o.x.sort(-1)[0],
    "topk": lambda o: o.x.topk(3)[0],
    "detach": lambda o: o.x.detach(),
}

# fastprop's spelling and PyTorch's, whose modules come as t (torch) and f (torch.nn.functional).
DIFFERENT: dict[str, tuple[Maker, Maker]] = {
    "where": (lambda o: F.where(o.x, o.x, o.y), lambda o, t, f: t.where(o.x > 0, o.x, o.y)),
    "where(x > 0.7, x, 0)": (
        lambda o: F.where(o.x > 0.7, o.x, 0),
        lambda o, t, f: t.where(o.x > 0.7, o.x, 0),
    ),
    "min(1)": (lambda o: o.x.min(1), lambda o, t, f: o.x.amin(1)),
    "max(1)": (lambda o: o.x.max(1), lambda o, t, f: o.x.amax(1)),
    "norm(axis=1)": (lambda o: o.x.norm(axis=1), lambda o, t, f: o.x.norm(dim=1)),
    "take": (lambda o: o.x.take(INDEX, 0), lambda o, t, f: o.x.index_select(0, o.i)),
    "scatter_add": (
        lambda o: o.x.scatter_add(1, PLACES, o.s),
        lambda o, t, f: o.x.scatter_add(1, o.p, o.s),
    ),
    "concatenate": (lambda o: F.concatenate([o.x, o.y]), lambda o, t, f: t.cat([o.x, o.y])),
    "stack": (lambda o: F.stack([o.x, o.y]), lambda o, t, f: t.stack([o.x, o.y])),
    "flip": (lambda o: o.x.flip(0), lambda o, t, f: o.x.flip(0)),
    "pad": (lambda o: F.pad(o.x, 1), lambda o, t, f: f.pad(o.x, (1, 1, 1, 1))),
    "diagonal": (lambda o: F.diagonal(o.x), lambda o, t, f: o.x.diagonal()),
    "einsum": (
        lambda o: F.einsum("ij,jk->ik", o.x, o.y),
        lambda o, t, f: t.einsum("ij,jk->ik", o.x, o.y),
    ),
    "dense": (lambda o: F.dense(o.x, o.y, o.b), lambda o, t, f: f.linear(o.x, o.y, o.b)),
    "gelu": (lambda o: F.gelu(o.x), lambda o, t, f: f.gelu(o.x)),
    "softplus": (lambda o: F.softplus(o.x), lambda o, t, f: f.softplus(o.x)),
    "leaky_relu": (lambda o: F.leaky_relu(o.x), lambda o, t, f: f.leaky_relu(o.x)),
    "layer_norm": (
        lambda o: F.layer_norm(o.x, 8, o.b, o.c),
        lambda o, t, f: f.layer_norm(o.x, (8,), o.b, o.c),
    ),
    "batch_norm": (
        lambda o: F.batch_norm(o.x, None, None, o.b, o.c, True),
        lambda o, t, f: f.batch_norm(o.x, None, None, o.b, o.c, True),
    ),
    "normalize": (lambda o: F.normalize(o.x, o.b, o.c), lambda o, t, f: (o.x - o.b) / o.c),
    "rms_norm": (lambda o: F.rms_norm(o.x, 8, o.b), lambda o, t, f: f.rms_norm(o.x, (8,), o.b)),
    "dropout": (lambda o: F.dropout(o.x, 0.5), lambda o, t, f: f.dropout(o.x, 0.5)),
    "mse_rows": (lambda o: F.mse_rows(o.x, o.y), lambda o, t, f: f.mse_loss(o.x, o.y)),
    "mae_rows": (lambda o: F.mae_rows(o.x, o.y), lambda o, t, f: f.l1_loss(o.x, o.y)),
    "huber_rows": (lambda o: F.huber_rows(o.x, o.y), lambda o, t, f: f.huber_loss(o.x, o.y)),
    "binary_cross_entropy_rows": (
        lambda o: F.binary_cross_entropy_rows(o.x, o.y),
        lambda o, t, f: f.binary_cross_entropy_with_logits(o.x, o.y),
    ),
    "cross_entropy_rows": (
        lambda o: F.cross_entropy_rows(o.x, o.labels),
        lambda o, t, f: f.cross_entropy(o.x, o.labels),
    ),
    "logical_and": (
        lambda o: F.logical_and(o.x, o.y),
        lambda o, t, f: t.logical_and(o.x, o.y),
    ),
    "any": (lambda o: F.any(o.x, 1), lambda o, t, f: o.x.any(1)),
    "isfinite": (lambda o: F.isfinite(o.x), lambda o, t, f: t.isfinite(o.x)),
    "astype": (lambda o: o.x.astype("float64"), lambda o, t, f: o.x.double()),
}


class Calls(NamedTuple):
    """A library's, and what it differentiates by.

    Attributes:
        of_ops: Each function by its name: the op and its history.
        leaves: The operands that have a derivative.
    """

    of_ops: dict[str, Call]
    leaves: list[Any]


def own_calls() -> Calls:
    """fastprop's."""
    ours = operands(lambda a: fp.tensor(a, requires_grad=True), lambda a: a)
    ours = ours._replace(labels=fp.tensor(ours.labels))
    functions = {**SAME, **{name: function for name, (function, _) in DIFFERENT.items()}}
    return Calls({name: _bound(f, ours) for name, f in functions.items()}, list(ours[:5]))


def torch_calls(torch: Any) -> Calls:
    """PyTorch's."""
    theirs = operands(lambda a: torch.tensor(a, requires_grad=True), torch.tensor)
    calls = {name: _bound(function, theirs) for name, function in SAME.items()}
    for name, (_, function) in DIFFERENT.items():
        calls[name] = _bound(function, theirs, torch, torch.nn.functional)
    return Calls(calls, list(theirs[:5]))


def _bound(function: Maker, *arguments: Any) -> Call:
    return lambda: function(*arguments)


def backward_call(call: Call, leaves: list[Any]) -> Call | None:
    """The same and a pass back from its result; None where that has no derivative.

    Both libraries spell this the same way. The leaves have no gradients before, as after
    ``zero_grad``.
    """
    result = call()
    if not result.requires_grad:
        return None
    return _pass_back(call, result.detach(), leaves)


def empty_pass(leaves: list[Any]) -> Call:
    """A backward pass without an op: what one costs whatever was computed."""
    return _pass_back(lambda: leaves[0], leaves[0].detach(), leaves)


def _pass_back(call: Call, seed: Any, leaves: list[Any]) -> Call:
    x, y, b, c, s = leaves

    def run() -> None:
        x.grad = y.grad = b.grad = c.grad = s.grad = None
        call().backward(seed)

    return run
