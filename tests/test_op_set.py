"""All functions on Tensors by one table: values, first and second derivatives, odd shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import DTYPES, assert_close, derivatives, torch, torch_derivatives, uniform
from op_cases import CASES, Case

import fastprop as fp
from fastprop import Tensor, _core
from fastprop import functional as F
from fastprop.graph.op import every_op

needs_torch = pytest.mark.skipif(torch is None, reason="PyTorch is not installed")


def _arrays(case: Case, dtype: Any = np.float64) -> list[np.ndarray]:
    return [uniform(s, *case.domain, dtype=dtype, seed=i + 1) for i, s in enumerate(case.shapes)]


@needs_torch
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [n for n, c in CASES.items() if c.torch is not None])
def test_values(name: str, dtype: str) -> None:
    case = CASES[name]
    arrays = _arrays(case, dtype)
    expected = case.torch(*[torch.from_numpy(a.astype(np.float64)) for a in arrays]).numpy()
    # Sums of at most 12 products of numbers below 8, a few roundings each.
    assert_close(case.ours(*map(Tensor, arrays)).data.astype(dtype), expected, ulps=16, scale=8.0)


@pytest.mark.parametrize("name", CASES)
def test_first_derivatives(name: str) -> None:
    fp.gradcheck(CASES[name].ours, _arrays(CASES[name]))


@pytest.mark.parametrize("name", CASES)
def test_second_derivatives(name: str) -> None:
    fp.gradgradcheck(CASES[name].ours, _arrays(CASES[name]))


@needs_torch
@pytest.mark.parametrize("name", [n for n, c in CASES.items() if c.torch is not None])
def test_derivatives_by_torch(name: str) -> None:
    case = CASES[name]
    arrays = _arrays(case)
    order = 1 if name in {"abs", "norm inf"} else 2
    for ours, theirs in zip(
        derivatives(case.ours, arrays, order),
        torch_derivatives(case.torch, arrays, order),
        strict=True,
    ):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11 * max(1.0, np.abs(b).max()))


def _value_and_gradients(function: Any, arrays: list[np.ndarray]) -> list[np.ndarray]:
    inputs = [Tensor(a, requires_grad=True) for a in arrays]
    y = function(*inputs)
    return [y.data, *[g.data for g in fp.grad((y * y).sum(), inputs)]]


# The index of this one does not vary with the batch, as which the first axis is taken.
FIXED = {"scatter_add"}


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if c.torch and n not in FIXED])
def test_compiled(name: str) -> None:
    case = CASES[name]
    compiled = fp.compile(lambda *operands: case.ours(*operands))
    for _ in range(2):
        for ours, eager in zip(
            _value_and_gradients(compiled, _arrays(case)),
            _value_and_gradients(case.ours, _arrays(case)),
            strict=True,
        ):
            # Fusion may order the operations differently: a few roundings.
            np.testing.assert_allclose(ours, eager, rtol=1e-13, atol=1e-13)


def _ops_behind(output: Tensor) -> set[str]:
    """Names of all ops that a Tensor was computed by."""
    names, known, stack = set(), {id(output)}, [output]
    while stack:
        tensor = stack.pop()
        if tensor.op is not None:
            names.add(tensor.op.name)
        new = [t for t in tensor.inputs if id(t) not in known]
        known |= {id(t) for t in new}
        stack += new
    return names


def test_every_op_with_a_derivative_is_in_the_table() -> None:
    seen: set[str] = set()
    for case in CASES.values():
        inputs = [Tensor(a, requires_grad=True) for a in _arrays(case)]
        before = _core.set_observer(lambda *_: None)  # functions of ops show these then
        y = case.ours(*inputs)
        _core.set_observer(before)
        u = Tensor(np.ones(y.shape), requires_grad=True)
        first = fp.grad(y, inputs, u, create_graph=True, allow_unused=True)
        for output in [y, *[g for g in first if g is not None]]:
            seen |= _ops_behind(output)
    # Losses and prelu have tables of their own; a cast changes precision; alias and after are aids.
    losses = ("mse", "mae", "huber", "hinge", "poisson_nll", "binary_cross", "cross_entropy",
              "log_cosh", "quantile", "kl_div", "binary_focal", "focal", "elastic_net")  # fmt: skip
    elsewhere = (*losses, "prelu", "cast", "alias", "after")
    missing = {op.name for op in every_op() if any(op.vjps) and op.name not in seen}
    missing = {name for name in missing if not name.startswith(elsewhere)}
    assert not missing


EXTENTS = [0, 1, 3, 7, 8, 9, 15, 16, 17, 31, 33]


@pytest.mark.levels
@pytest.mark.parametrize("dtype", [*DTYPES, "int64"])
@pytest.mark.parametrize("n", EXTENTS)
def test_odd_extents(n: int, dtype: str) -> None:
    """What moves elements, against NumPy, for every dtype."""
    x = (uniform((n, 3, n), -9, 9) * 10).astype(dtype)
    y = (uniform((n, 2, n), -9, 9) * 10).astype(dtype)
    index = np.random.default_rng(0).integers(-3, 3, (n, 2))
    pairs = [
        (F.flip(x, (0, 2)), np.flip(x, (0, 2))),
        (F.concatenate([x, y, x], 1), np.concatenate([x, y, x], 1)),
        (F.concatenate([x, x]), np.concatenate([x, x])),
        (F.stack([x, x], 1), np.stack([x, x], 1)),
        (F.pad(x, ((1, 2), (0, 0), (3, 0)), 7), np.pad(x, ((1, 2), (0, 0), (3, 0)),
                                                       constant_values=7)),
        (F.take(x, index, 1), np.take(x, index, 1)),
        (Tensor(x)[:, index, 1:], x[:, index, 1:]),
        (Tensor(x)[::-2, 1, ::3], x[::-2, 1, ::3]),
        (F.permute(x, 2, 0, 1), x.transpose(2, 0, 1)),
        (F.unsqueeze(x, 1), x[:, None]),
        (F.roll(x, (2, -1), (0, 1)), np.roll(x, (2, -1), (0, 1))),
        (F.roll(x, -5), np.roll(x, -5)),
        (F.tile(x, 2, 1, 3), np.tile(x, (2, 1, 3))),
        (F.tile(x, [2, 1, 1, 1]), np.tile(x, (2, 1, 1, 1))),
        (F.repeat(x, 3, 2), np.repeat(x, 3, 2)),
        (F.repeat(x, [0, 2, 1], 1), np.repeat(x, [0, 2, 1], 1)),
        (F.moveaxis(x, 0, 2), np.moveaxis(x, 0, 2)),
        (F.moveaxis(x, (2, 0), (0, 1)), np.moveaxis(x, (2, 0), (0, 1))),
        (F.swapaxes(x, 1, -1), np.swapaxes(x, 1, -1)),
        (F.flatten(x, 1), x.reshape(n, 3 * n)),
        (F.flatten(x, 0, -2), x.reshape(3 * n, n)),
        (F.diagonal(x, 1), np.diagonal(x, 1, 1, 2)),
        (F.diagonal(x, -2), np.diagonal(x, -2, 1, 2)),
        (F.diff(x, axis=0), np.diff(x, axis=0)),
        (F.diff(x, 3, 1), np.diff(x, 3, 1)),
        (F.masked_fill(x, x > 0, 3), np.where(x > 0, x.dtype.type(3), x)),
        (F.nan_to_num(x), x),
        (F.gather(x, 1, index[:, :, None] % 3 + np.zeros((1, 1, n), int)),
         np.take_along_axis(x, index[:, :, None] % 3 + np.zeros((1, 1, n), int), 1)),
    ]  # fmt: skip
    for i, (ours, theirs) in enumerate(pairs):
        assert ours.dtype == x.dtype
        np.testing.assert_array_equal(ours.data, theirs, err_msg=str(i))
    assert sum(p.size for p in F.split(x, 4, 2)) == x.size
    assert [p.shape for p in F.chunk(x, 2, 1)] == [(n, 2, n), (n, 1, n)]
    assert [p.shape for p in F.unbind(x, 1)] == [(n, n)] * 3
    for offset in (-2, 0, 1):
        row = np.arange(n).astype(dtype)
        np.testing.assert_array_equal(F.diag(row, offset).data, np.diag(row, offset))


@pytest.mark.levels
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", EXTENTS)
def test_odd_extents_of_sums_and_orders(n: int, dtype: str) -> None:
    x = uniform((n, 3, n), dtype=dtype)
    scale = max(1.0, float(n))
    for axis in range(3):
        assert_close(F.cumsum(x, axis).data, np.cumsum(x, axis, np.float64), ulps=2 * n + 1,
                     scale=scale)  # fmt: skip
        assert_close(F.cumprod(x, axis).data, np.cumprod(x, axis, np.float64), ulps=n + 1)
        assert_close(F.logcumsumexp(x, axis).data,
                     np.logaddexp.accumulate(x.astype(np.float64), axis), ulps=16,
                     scale=4.0)  # fmt: skip
        np.testing.assert_array_equal(F.argsort(x, axis).data, np.argsort(x, axis, kind="stable"))
        np.testing.assert_array_equal(F.sort(x, axis)[0].data, np.sort(x, axis))
    if n:
        for axis in (None, 0, (1, 2)):
            assert_close(F.median(x, axis).data, np.median(x, axis), ulps=4, scale=2.0)
            assert_close(F.quantile(x, [0.0, 0.3, 1.0], axis).data,
                         np.quantile(x.astype(np.float64), [0.0, 0.3, 1.0], axis), ulps=4,
                         scale=2.0)  # fmt: skip
        assert_close(F.prod(x, 2).data, np.prod(x.astype(np.float64), 2), ulps=2 * n)
        assert_close(F.logsumexp(x, 0).data, np.log(np.exp(x.astype(np.float64)).sum(0)), ulps=8,
                     scale=2.0)  # fmt: skip
        assert_close(
            F.var(x, (0, 2)).data, np.var(x.astype(np.float64), (0, 2)), ulps=16, scale=4.0
        )
        np.testing.assert_array_equal(F.argmax(x, 0).data, x.argmax(0))
        np.testing.assert_array_equal(F.argmin(x, 2).data, x.argmin(2))
        np.testing.assert_array_equal(F.argmin(x, None).item(), x.argmin())
    index = np.random.default_rng(1).integers(0, 5, (n, 3, n))
    expected = np.zeros((5, 3, n))
    np.add.at(expected, (index, *np.indices(index.shape)[1:]), x)
    ours = F.scatter_add(np.zeros((5, 3, n), dtype), 0, index, x)
    assert_close(ours.data, expected, ulps=2 * n + 1, scale=scale)
    assert F.matmul(x, np.swapaxes(x, 1, 2).copy()).shape == (n, 3, 3)
    assert_close(F.einsum("aib,ajb->aij", x, x).data,
                 np.einsum("aib,ajb->aij", x.astype(np.float64), x), ulps=2 * n + 1,
                 scale=4 * scale)  # fmt: skip
