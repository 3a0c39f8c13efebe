"""Every function on Tensors over many shapes and both dtypes: values, first and second derivatives,
against PyTorch in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
from helpers import DTYPES, EPSILON, derivatives, torch, torch_derivatives, uniform

from fastprop import Tensor
from fastprop import functional as F

pytestmark = pytest.mark.skipif(torch is None, reason="PyTorch is not installed")

Shape = tuple[int, ...]
SHAPES: list[Shape] = [(), (7,), (33,), (2, 1, 5), (0,), (2, 0, 3)]
PAIRS: list[list[Shape]] = [
    [(3, 4), (3, 4)], [(3, 4), (4,)], [(3, 1), (1, 4)], [(), (5,)], [(2, 1, 3), (4, 1)],
    [(0, 3), (3,)], [(1,), (0,)], [(2, 3, 1, 2), (3, 2, 1)],
]  # fmt: skip


def times_x(f: Callable[..., Any]) -> Callable[..., Any]:
    """Keeps functions that are straight lines, or planes, connected in their second derivatives."""
    return lambda x, *others: f(x, *others) * x


def squared(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *x: f(*x) ** 2


class Check(NamedTuple):
    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    operands: list[list[Shape]]
    domain: tuple[float, float] = (-2.0, 2.0)


def nn(name: str) -> Callable[..., Any]:
    return getattr(torch.nn.functional, name)


def _unary() -> Iterator[tuple[str, Check]]:
    inside, above, positive = (-0.8, 0.8), (1.2, 3.0), (0.4, 2.0)
    domains: dict[str, Any] = {
        "neg": 0, "exp": 0, "log": positive, "log1p": (-0.6, 2.0), "expm1": 0, "sqrt": positive,
        "rsqrt": positive, "square": 0, "reciprocal": positive, "sin": 0, "cos": 0,
        "tan": (-1.2, 1.2), "asin": inside, "acos": inside, "atan": 0, "sinh": 0, "cosh": 0,
        "tanh": 0, "asinh": 0, "acosh": above, "atanh": inside, "erf": 0, "sigmoid": 0,
    }  # fmt: skip
    for name, domain in domains.items():
        check = Check(getattr(F, name), getattr(torch, name), [[s] for s in SHAPES])
        yield name, check._replace(domain=domain) if domain else check
    for name in ("silu", "mish", "softplus", "softsign", "celu", "elu", "selu", "gelu"):
        yield name, Check(getattr(F, name), nn(name), [[s] for s in SHAPES])
    yield (
        "gelu tanh",
        Check(F.gelu_tanh, lambda x: nn("gelu")(x, approximate="tanh"), [[s] for s in SHAPES]),
    )
    ramp = lambda x: (x / 6 + 0.5).clamp(0, 1)  # noqa: E731
    for name, theirs in {
        "relu": torch.relu, "leaky_relu": nn("leaky_relu"), "hard_sigmoid": ramp,
        "hard_swish": lambda x: x * ramp(x),
    }.items():  # fmt: skip
        ours = times_x(getattr(F, name))
        yield name, Check(ours, times_x(theirs), [[s] for s in SHAPES], (0.2, 2.0))
    yield (
        "abs",
        Check(lambda x: F.abs(x) * x, lambda x: x.abs() * x, [[s] for s in SHAPES], (0.2, 2.0)),
    )
    yield (
        "sign",
        Check(lambda x: F.sign(x) * x * x, lambda x: x.sign() * x * x, [[s] for s in SHAPES]),
    )
    yield (
        "clip",
        Check(
            lambda x: F.clip(x, -1.0, 0.7) * x,
            lambda x: x.clamp(-1.0, 0.7) * x,
            [[s] for s in SHAPES],
        ),
    )
    yield "prelu", Check(
        lambda x, a: F.prelu(x, a), lambda x, a: nn("prelu")(x, a),
        [[(5, 3), (3,)], [(5, 3), (1,)], [(2, 3, 4), (3,)], [(0, 3), (3,)]],
    )  # fmt: skip


def _binary() -> Iterator[tuple[str, Check]]:
    for name in ("add", "sub", "mul", "div", "pow", "maximum", "minimum"):
        ours, theirs = times_x(getattr(F, name)), times_x(getattr(torch, name))
        yield name, Check(ours, theirs, PAIRS, (0.4, 2.0))
    yield "where", Check(
        lambda x, y: F.where(x > y, x * y, y * y), lambda x, y: torch.where(x > y, x * y, y * y),
        PAIRS,
    )  # fmt: skip


def _axes(shape: Shape) -> list[int]:
    return list(range(len(shape)))


def _along(ours: Callable[..., Any], theirs: Callable[..., Any], **options: Any) -> Check:
    """A function of an axis, along each; the operands are multiplied to make them curved."""

    def run(f: Callable[..., Any], join: Callable[..., Any]) -> Callable[..., Any]:
        def every(x: Any) -> Any:
            parts = [join(f(x * x * x, axis)) for axis in _axes(tuple(x.shape))]
            total = parts[0]
            for part in parts[1:]:
                total = total + part
            return total

        return every

    weight = lambda n: np.arange(1.0, n + 1)  # noqa: E731

    def ours_join(y: Tensor) -> Tensor:
        return (F.reshape(y, (y.size,)) * weight(y.size).astype(y.dtype)).sum()

    def theirs_join(y: Any) -> Any:
        return (y.reshape(-1) * torch.from_numpy(weight(y.numel()))).sum()

    shapes = options.pop("shapes", [(7,), (3, 4), (2, 1, 5), (9, 17), (2, 3, 2, 2)])
    return Check(run(ours, ours_join), run(theirs, theirs_join), [[s] for s in shapes], **options)


EMPTY = [(0,), (0, 3), (2, 0, 3)]
MORE = [(7,), (3, 4), (2, 1, 5), (9, 17), *EMPTY]


def _reductions() -> Iterator[tuple[str, Check]]:
    yield "sum", _along(F.sum, lambda x, a: x.sum(a), shapes=MORE)
    yield "sum kept", _along(lambda x, a: F.sum(x, a, True), lambda x, a: x.sum(a, True))
    yield "mean", _along(F.mean, lambda x, a: x.mean(a))
    yield "max", _along(F.max, lambda x, a: x.amax(a))
    yield "min", _along(F.min, lambda x, a: x.amin(a))
    yield "prod", _along(F.prod, lambda x, a: x.prod(a), shapes=[(5,), (3, 4), (2, 1, 3)])
    yield "var", _along(F.var, lambda x, a: x.var(a, correction=0))
    yield (
        "var 1",
        _along(
            lambda x, a: F.var(x, a, ddof=1),
            lambda x, a: x.var(a),
            shapes=[(7,), (3, 4), (2, 5, 3)],
        ),
    )
    yield (
        "std",
        _along(F.std, lambda x, a: x.std(a, correction=0), shapes=[(7,), (3, 4), (2, 5, 3)]),
    )
    yield "norm", _along(lambda x, a: F.norm(x, 2, a), lambda x, a: x.norm(2, a))
    yield "norm 3", _along(lambda x, a: F.norm(x, 3, a), lambda x, a: x.norm(3, a))
    yield "logsumexp", _along(F.logsumexp, lambda x, a: x.logsumexp(a))
    yield "softmax", _along(F.softmax, lambda x, a: x.softmax(a), shapes=[*MORE[:4], (0, 3)])
    yield "log_softmax", _along(F.log_softmax, lambda x, a: x.log_softmax(a))
    yield "cumsum", _along(F.cumsum, lambda x, a: x.cumsum(a), shapes=MORE)
    yield "sort", _along(lambda x, a: F.sort(x, a)[0], lambda x, a: x.sort(a)[0], shapes=MORE)
    yield "topk", _along(lambda x, a: F.topk(x, 1, a)[0], lambda x, a: x.topk(1, a)[0])
    yield "flip", _along(F.flip, lambda x, a: x.flip(a), shapes=MORE)
    yield "unsqueeze", _along(F.unsqueeze, lambda x, a: x.unsqueeze(a), shapes=MORE)
    yield "split", _along(lambda x, a: F.split(x, 1, a)[0], lambda x, a: x.split(1, a)[0])
    yield "concatenate", _along(
        lambda x, a: F.concatenate([x, x * x], a), lambda x, a: torch.cat([x, x * x], a),
        shapes=MORE,
    )  # fmt: skip
    yield (
        "stack",
        _along(
            lambda x, a: F.stack([x, x * x], a),
            lambda x, a: torch.stack([x, x * x], a),
            shapes=MORE,
        ),
    )
    yield (
        "all sums",
        Check(lambda x: F.sum(x * x * x), lambda x: (x * x * x).sum(), [[s] for s in SHAPES]),
    )
    yield (
        "slice",
        _along(
            lambda x, a: x[(slice(None),) * a + (slice(None, None, 2),)],
            lambda x, a: x[(slice(None),) * a + (slice(None, None, 2),)],
            shapes=MORE,
        ),
    )
    yield (
        "take",
        _along(
            lambda x, a: F.take(x, [0, -1, 0], a),
            lambda x, a: x.index_select(a, torch.tensor([0, x.shape[a] - 1, 0])),
        ),
    )


def _products() -> Iterator[tuple[str, Check]]:
    yield "matmul", Check(
        lambda a, b: a @ b, lambda a, b: a @ b,
        [[(3,), (3,)], [(2, 3), (3,)], [(3,), (3, 2)], [(2, 3), (3, 4)], [(17, 9), (9, 33)],
         [(5, 2, 3), (3, 4)], [(5, 2, 3), (5, 3, 2)], [(2, 1, 2, 3), (4, 3, 2)], [(0, 3), (3, 2)],
         [(2, 0), (0, 3)], [(3,), (2, 3, 2)], [(1, 1), (1, 1)]],
    )  # fmt: skip
    yield "dense", Check(
        F.dense, lambda x, w, b: x @ w + b,
        [[(2, 3), (3, 4), (4,)], [(3,), (3, 4), (4,)], [(2, 5, 3), (3, 2), (2,)],
         [(0, 3), (3, 4), (4,)], [(17, 33), (33, 9), (9,)]],
    )  # fmt: skip
    yield "dot", Check(F.dot, torch.dot, [[(5,), (5,)], [(1,), (1,)], [(0,), (0,)]])
    yield "outer", Check(F.outer, torch.outer, [[(2,), (3,)], [(1,), (5,)], [(0,), (3,)]])
    for text, operands in {
        "ij,jk->ik": [(2, 3), (3, 4)], "ij->ji": [(2, 3)], "ii->i": [(3, 3)],
        "i,j->ij": [(2,), (3,)], "bij,bkj->bik": [(2, 3, 4), (2, 2, 4)],
        "ijk,k->ij": [(2, 3, 4), (4,)], "ij,ij->": [(2, 3)] * 2,
        "...i,i->...": [(2, 3, 4), (4,)], "abc,cd,de->abe": [(2, 3, 2), (2, 3), (3, 2)],
    }.items():  # fmt: skip
        ours, theirs = (partial(f, text) for f in (F.einsum, torch.einsum))
        yield f"einsum {text}", Check(squared(ours), squared(theirs), [operands])


def _arrangements() -> Iterator[tuple[str, Check]]:
    yield "transpose", Check(
        lambda x: F.transpose(x) ** 3, lambda x: x.permute(*reversed(range(x.ndim))) ** 3,
        [[s] for s in SHAPES if s],
    )  # fmt: skip
    yield "reshape", Check(
        lambda x: F.reshape(x, (x.size, 1)) ** 3, lambda x: x.reshape(x.numel(), 1) ** 3,
        [[s] for s in SHAPES],
    )  # fmt: skip
    yield "expand", Check(
        lambda x: F.expand(x, 3, *x.shape) ** 3, lambda x: x.expand(3, *x.shape) ** 3,
        [[s] for s in SHAPES],
    )  # fmt: skip
    yield (
        "pad",
        Check(
            lambda x: F.pad(x, ((1, 2),) * x.ndim, 0.5) ** 3,
            lambda x: nn("pad")(x, (1, 2) * x.ndim, value=0.5) ** 3,
            [[s] for s in SHAPES if s],
        ),
    )
    yield (
        "squeeze",
        Check(lambda x: F.squeeze(x) ** 3, lambda x: x.squeeze() ** 3, [[s] for s in SHAPES]),
    )
    for name in ("tril", "triu"):
        ours, theirs = (partial(getattr(m, name), diagonal=1) for m in (F, torch))
        shapes: list[Shape] = [(3, 3), (2, 4), (2, 4, 3), (0, 3), (1, 1)]
        yield name, Check(squared(ours), squared(theirs), [[s] for s in shapes])
    yield (
        "mask",
        Check(lambda x: x[x > 0] ** 3, lambda x: x[x > 0] ** 3, [[s] for s in SHAPES if s]),
    )
    yield (
        "diagonal",
        Check(
            lambda x: F.diagonal(x) ** 3,
            lambda x: x.diagonal(0, -2, -1) ** 3,
            [[(3, 3)], [(2, 4, 4)]],
        ),
    )
    rows = np.array([[1, 0, 1], [0, 0, 1]])
    yield "gather", Check(
        lambda x: F.gather(x, 0, rows) ** 3, lambda x: x.gather(0, torch.from_numpy(rows)) ** 3,
        [[(2, 3)], [(5, 3)]],
    )  # fmt: skip
    yield (
        "scatter_add",
        Check(
            lambda x, y: F.scatter_add(x, 0, rows, y) ** 3,
            lambda x, y: x.scatter_add(0, torch.from_numpy(rows), y) ** 3,
            [[(2, 3), (2, 3)], [(4, 3), (2, 3)]],
        ),
    )


CHECKS: dict[str, Check] = {}
if torch is not None:
    for family in (_unary, _binary, _reductions, _products, _arrangements):
        CHECKS.update(family())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CHECKS)
def test_against_torch(name: str, dtype: str) -> None:
    check = CHECKS[name]
    for shapes in check.operands:
        arrays = [uniform(s, *check.domain, dtype=dtype, seed=i + 3) for i, s in enumerate(shapes)]
        wide = [a.astype(np.float64) for a in arrays]
        y = check.ours(*map(Tensor, arrays))
        expected = check.theirs(*map(torch.from_numpy, wide)).numpy()
        assert y.dtype == dtype
        assert y.shape == expected.shape, f"{shapes}"
        # A few dozen roundings, each relative to the largest number that takes part.
        unit = 200 * EPSILON[np.dtype(dtype)]
        _close(y.data, expected, unit, f"value, {shapes}")
        found = derivatives(check.ours, arrays, 2)
        wanted = torch_derivatives(check.theirs, wide, 2)
        for order in (0, 1):
            for i, (a, b) in enumerate(zip(found[order], wanted[order], strict=True)):
                _close(a, b, unit * 4 ** (order + 1), f"derivative {order + 1} by {i}, {shapes}")


def _close(found: np.ndarray, expected: np.ndarray, unit: float, what: str) -> None:
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    np.testing.assert_allclose(found, expected, rtol=unit, atol=unit * scale, err_msg=what)
