"""Running sums, running products and orders along an axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from fastprop.graph import infer
from fastprop.graph.op import Op, Spec, apply, register
from fastprop.graph.ops_arrange import pad
from fastprop.graph.ops_elementwise import mul
from fastprop.graph.ops_index import _GATHER, narrow, other_axis, single_axis
from fastprop.graph.ops_pairs import logaddexp
from fastprop.graph.ops_shape import as_floating, reshape, swapped
from fastprop.graph.recipe import composed
from fastprop.graph.tensor import Tensor, TensorLike, as_tensor


def _infer_cumsum(name: str, specs: Sequence[Spec], attrs: infer.Attrs) -> Spec:
    (x,) = specs
    if x.batched and attrs["axis"] == 0:
        raise ValueError(f"{name}: the batch axis of {x.shape} cannot be summed along")
    return Spec(x.shape, infer.number_dtype(name, specs), x.batched)


def _infer_argsort(name: str, specs: Sequence[Spec], attrs: infer.Attrs) -> Spec:
    (x,) = specs
    infer.number_dtype(name, specs)
    return Spec(x.shape, infer.INT64, x.batched)


# The rules.                                     dx = vjp(dy, y, x)
_CUMSUM: Op = register(
    "cumsum",
    _infer_cumsum,
    lambda dy, y, x: apply(_CUMSUM, dy, axis=y.attrs["axis"], reverse=not y.attrs["reverse"]),
    rowwise=other_axis,
)
_ARGSORT = register("argsort", _infer_argsort, rowwise=True)


def cumsum(x: TensorLike, axis: int) -> Tensor:
    r"""Running sum along an axis, :math:`y_k = x_0 + … + x_k`, added one after the other.

    Raises:
        ValueError: `axis` is out of range.
    """
    x = as_tensor(x)
    return apply(_CUMSUM, x, axis=single_axis("cumsum", axis, x.ndim), reverse=False)


def _running(
    name: str, x: TensorLike, axis: int, combine: Callable[[Tensor, Tensor], Tensor], nothing: float
) -> Tensor:
    """Each element combined with all before it: with the one before, then two before, then four …

    So n elements take log2 n passes; nothing is divided, and derivatives are right at zeros, too.
    """
    y = as_tensor(x)
    along = single_axis(name, axis, y.ndim)
    n, distance = y.shape[along], 1
    if y.batched and along == 0:
        raise ValueError(f"{name}: the batch axis of {y.shape} cannot be combined along")
    while distance < n:
        widths = [(distance * (i == along), 0) for i in range(y.ndim)]
        y = combine(y, pad(narrow(y, along, 0, n - distance), widths, nothing))
        distance *= 2
    return y


def cumprod(x: TensorLike, axis: int) -> Tensor:
    r"""Running product along an axis, :math:`y_k = x_0 \cdots x_k`, multiplied in pairs of pairs.

    The derivatives are right where factors are zero, too, since nothing is divided.

    Raises:
        ValueError: `axis` is out of range, or the batch axis of a Program.
    """
    return _cumprod(x, axis)


@composed
def _cumprod(x: TensorLike, axis: int) -> Tensor:
    return _running("cumprod", x, axis, mul, 1.0)


def logcumsumexp(x: TensorLike, axis: int) -> Tensor:
    r"""Logarithms of running sums of exponentials, :math:`y_k = \log \sum_{i \le k} e^{x_i}`.

    Raises:
        ValueError: `axis` is out of range, or the batch axis of a Program.
    """
    return _logcumsumexp(x, axis)


@composed
def _logcumsumexp(x: TensorLike, axis: int) -> Tensor:
    return _running("logcumsumexp", as_floating(x), axis, logaddexp, -math.inf)


def diff(x: TensorLike, n: int = 1, axis: int = -1) -> Tensor:
    """Differences of neighbours along an axis, ``x[1:] - x[:-1]``, taken `n` times.

    Raises:
        ValueError: `axis` is out of range or the batch axis of a Program, or `n` is negative.
    """
    if n < 0:
        raise ValueError(f"diff: n must not be negative, got {n}")
    return _diff(x, n, axis)


@composed
def _diff(x: TensorLike, n: int, axis: int) -> Tensor:
    x = as_tensor(x)
    along = single_axis("diff", axis, x.ndim)
    for _ in range(n):
        m = max(x.shape[along] - 1, 0)
        x = narrow(x, along, x.shape[along] - m, m) - narrow(x, along, 0, m)
    return x


def argsort(x: TensorLike, axis: int = -1, descending: bool = False) -> Tensor:
    """Indices that sort `x` along an axis, int64. Equal elements stay in order, NaN is the largest.

    Raises:
        ValueError: `axis` is out of range.
    """
    return _argsort(x, axis, descending)


@composed
def _argsort(x: TensorLike, axis: int, descending: bool) -> Tensor:
    x = as_tensor(x)
    along = single_axis("argsort", axis, len(x.shape))
    if len(x.shape) == 1:
        rows = apply(_ARGSORT, reshape(x, (1, x.size)), descending=bool(descending))
        return reshape(rows, x.shape)
    order = apply(_ARGSORT, swapped(x, along), descending=descending is True or bool(descending))
    return swapped(order, along)


def sort(x: TensorLike, axis: int = -1, descending: bool = False) -> tuple[Tensor, Tensor]:
    """Sorted elements along an axis, and the indices that they had; see :func:`argsort`."""
    if not isinstance(x, Tensor):
        x = as_tensor(x)
    along = single_axis("argsort", axis, len(x.shape))
    order = _argsort(x, along, descending)
    return apply(_GATHER, x, order, axis=along), order


@composed
def _top(x: Tensor, k: int, axis: int, largest: bool) -> Tensor:
    return narrow(argsort(x, axis, descending=largest), axis, 0, k)


def topk(x: TensorLike, k: int, axis: int = -1, largest: bool = True) -> tuple[Tensor, Tensor]:
    """The `k` largest (or smallest) elements along an axis, in order, and their indices.

    Raises:
        ValueError: `axis` is out of range, or `k` is not from 0 to the axis's extent.
    """
    if not isinstance(x, Tensor):
        x = as_tensor(x)
    along = single_axis("topk", axis, len(x.shape))
    if not 0 <= k <= x.shape[along]:
        raise ValueError(f"topk: k must be from 0 to {x.shape[along]}, got {k}")
    chosen = _top(x, int(k), along, largest)
    return apply(_GATHER, x, chosen, axis=along), chosen
