r"""Batch, layer, RMS and group normalization.

All are :math:`y = \hat x w + b` with :math:`\hat x = (x - \mu) (\sigma^2 + \epsilon)^{-1/2}`; they
differ in what the mean and the variance are taken over. The statistics are an op of their own,
computed once for forward and backward. To derivatives they are no inputs but part of the function:
the rule for x is the whole derivative, through the statistics too, in one pass. The rules of these
passes differentiate the definition written in plain ops; only second derivatives need them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from fastprop.graph import infer
from fastprop.graph.autodiff import grad
from fastprop.graph.op import Op, Spec, Vjp, apply, grad_mode, is_grad_enabled, register
from fastprop.graph.ops_elementwise import rsqrt, square
from fastprop.graph.ops_index import part
from fastprop.graph.ops_reduction import mean
from fastprop.graph.ops_reduction import sum as reduce_sum
from fastprop.graph.ops_shape import alias, reshape
from fastprop.graph.tensor import Tensor

MOMENTS = 3


# -- Shapes --------------------------------------------------------------------------------------


def _infer_batch_moments(name: str, specs: Sequence[Spec], attrs: infer.Attrs) -> Spec:
    """x [..., C] → [C, 3]: mean, 1 / sqrt(variance + eps), variance with n - 1."""
    return Spec((specs[0].shape[-1], MOMENTS), infer.float_dtype(name, specs))


def _infer_layer_moments(name: str, specs: Sequence[Spec], attrs: infer.Attrs) -> Spec:
    """x [..., C] → [..., groups, 2]: mean, 1 / sqrt(variance + eps)."""
    (x,) = specs
    dtype = infer.float_dtype(name, specs)
    return Spec((*x.shape[:-1], attrs["groups"], 2), dtype, x.batched)


def _infer_like_x(name: str, specs: Sequence[Spec], attrs: infer.Attrs) -> Spec:
    return Spec(specs[0].shape, infer.float_dtype(name, specs), specs[0].batched)


def _infer_sums(name: str, specs: Sequence[Spec], attrs: infer.Attrs) -> Spec:
    """→ [C, 2]: dw and db."""
    return Spec((specs[0].shape[-1], 2), infer.float_dtype(name, specs))


# -- Derivatives of derivatives: the definition in plain ops ---------------------------------------

Definition = Callable[..., Tensor]


def _own(x: Tensor) -> Tensor:
    """`x` as a Tensor of its own that a derivative can be taken by."""
    own = alias(x)
    own._requires_grad = True
    return own


def _by_definition(definition: Definition, position: int) -> Vjp:
    """Rule for one input of an op that computes ``definition(attrs, *inputs)``."""

    def rule(c: Tensor, y: Tensor, *inputs: Tensor) -> Tensor | None:
        record = is_grad_enabled()
        with grad_mode(True):
            operands = [_own(x) for x in inputs]
            total = reduce_sum(_own(c) * definition(y.attrs, *operands))
        return grad(total, operands[position], create_graph=record, allow_unused=True)

    return rule


class _Normalized(NamedTuple):
    xhat: Tensor
    rstd: Tensor


def _over_batch(x: Tensor, eps: float) -> _Normalized:
    axes = tuple(range(x.ndim - 1))
    centered = x - mean(x, axes, keepdims=True)
    rstd = rsqrt(mean(square(centered), axes, keepdims=True) + eps)
    return _Normalized(centered * rstd, rstd)


def _grouped(x: Tensor, groups: int) -> Tensor:
    return reshape(x, (*x.shape[:-1], groups, x.shape[-1] // groups))


def _over_groups(x: Tensor, attrs: infer.Attrs) -> _Normalized:
    """In the shape [..., groups, columns of a group]."""
    x = _grouped(x, attrs["groups"])
    centered = x - mean(x, -1, keepdims=True) if attrs["centered"] else x
    rstd = rsqrt(mean(square(centered), -1, keepdims=True) + attrs["eps"])
    return _Normalized(centered * rstd, rstd)


def _batch_data(attrs: infer.Attrs, x: Tensor, m: Tensor, s: Tensor, dy: Tensor, dw: Tensor,
                db: Tensor, *w: Tensor) -> Tensor:  # fmt: skip
    """dw and db are sums of dy; here they are computed from it, so that nothing else is needed."""
    axes = tuple(range(x.ndim - 1))
    xhat, rstd = _over_batch(x, attrs["eps"])
    inner = dy - mean(dy, axes, keepdims=True) - xhat * mean(dy * xhat, axes, keepdims=True)
    return (rstd * w[0] if w else rstd) * inner


def _batch_weights(attrs: infer.Attrs, x: Tensor, m: Tensor, s: Tensor, dy: Tensor) -> Tensor:
    return _sums_of(dy, _over_batch(x, attrs["eps"]).xhat)


def _layer_data(attrs: infer.Attrs, x: Tensor, moments: Tensor, dy: Tensor, *w: Tensor) -> Tensor:
    xhat, rstd = _over_groups(x, attrs)
    d = _grouped(dy * w[0] if w else dy, attrs["groups"])
    inner = d - xhat * mean(d * xhat, -1, keepdims=True)
    if attrs["centered"]:
        inner = inner - mean(d, -1, keepdims=True)
    return reshape(rstd * inner, x.shape)


def _layer_weights(attrs: infer.Attrs, x: Tensor, moments: Tensor, dy: Tensor) -> Tensor:
    return _sums_of(dy, reshape(_over_groups(x, attrs).xhat, x.shape))


def _sums_of(dy: Tensor, xhat: Tensor) -> Tensor:
    """[C, 2]; a column is placed by multiplication with a constant."""
    axes = tuple(range(dy.ndim - 1))
    columns = [reshape(reduce_sum(v, axes), (dy.shape[-1], 1)) for v in (dy * xhat, dy)]
    first, second = (np.array([pair], dy.dtype) for pair in ([1, 0], [0, 1]))
    return columns[0] * first + columns[1] * second


# -- The rules -----------------------------------------------------------------------------------


def column(moments: Tensor, i: int) -> Tensor:
    """Column i of [C, k] as [C]."""
    columns = moments.shape[0]
    return reshape(part(moments, (0, i), (1, 1), (columns, 1)), (columns,))


# Eager rules compute these sums once for each input that asks; a Program computes them once.


def _batch_sums(dy: Tensor, y: Tensor, x: Tensor, m: Tensor, s: Tensor) -> Tensor:
    return apply(_BATCH_WEIGHTS, x, m, s, dy, eps=y.attrs["eps"])


def _layer_sums(dy: Tensor, y: Tensor, x: Tensor, moments: Tensor) -> Tensor:
    return apply(_LAYER_WEIGHTS, x, moments, dy, **y.attrs)


def _batch_dx(dy: Tensor, y: Tensor, x: Tensor, m: Tensor, s: Tensor, *wb: Tensor) -> Tensor:
    sums = _batch_sums(dy, y, x, m, s)
    dw, db = column(sums, 0), column(sums, 1)
    return apply(_BATCH_DATA, x, m, s, dy, dw, db, *wb[:1], eps=y.attrs["eps"])


def _batch_rule(i: int) -> Vjp:
    return lambda dy, y, x, m, s, *wb: column(_batch_sums(dy, y, x, m, s), i)


def _layer_rule(i: int) -> Vjp:
    return lambda dy, y, x, moments, *wb: column(_layer_sums(dy, y, x, moments), i)


def _total(x: Tensor) -> Tensor:
    """Of every column."""
    return reduce_sum(x, tuple(range(x.ndim - 1)))


BATCH_MOMENTS = register("batch_moments", _infer_batch_moments)
BATCH_NORM = register(
    "batch_norm",
    _infer_like_x,
    _batch_dx,
    None,
    None,
    _batch_rule(0),
    _batch_rule(1),
    rowwise=(0,),
    inplace=True,
)
_BATCH_WEIGHTS: Op = register(
    "batch_norm_backward_weights",
    _infer_sums,
    _by_definition(_batch_weights, 0),
    None,
    None,
    _by_definition(_batch_weights, 3),
)
_BATCH_DATA: Op = register(
    "batch_norm_backward_data",
    _infer_like_x,
    _by_definition(_batch_data, 0),
    None,
    None,
    _by_definition(_batch_data, 3),
    None,
    None,
    _by_definition(_batch_data, 6),
    rowwise=(0, 3),
    inplace=True,
)
NORMALIZE: Op = register(  # with statistics that do not come from x
    "normalize",
    _infer_like_x,
    lambda dy, y, x, m, s, *wb: dy * (s * wb[0] if wb else s),
    lambda dy, y, x, m, s, *wb: -_total(dy * (s * wb[0] if wb else s)),
    lambda dy, y, x, m, s, *wb: _total((dy * wb[0] if wb else dy) * (x - m)),
    lambda dy, y, x, m, s, *wb: _total(dy * apply(NORMALIZE, x, m, s)),
    lambda dy, y, x, m, s, *wb: _total(dy),
    rowwise=(0,),
    inplace=True,
)
LAYER_MOMENTS = register("layer_moments", _infer_layer_moments, rowwise=True)
LAYER_NORM = register(
    "layer_norm",
    _infer_like_x,
    lambda dy, y, x, moments, *wb: apply(_LAYER_DATA, x, moments, dy, *wb[:1], **y.attrs),
    None,
    _layer_rule(0),
    _layer_rule(1),
    rowwise=(0, 1),
    inplace=True,
)
_LAYER_WEIGHTS: Op = register(
    "layer_norm_backward_weights",
    _infer_sums,
    _by_definition(_layer_weights, 0),
    None,
    _by_definition(_layer_weights, 2),
)
_LAYER_DATA: Op = register(
    "layer_norm_backward_data",
    _infer_like_x,
    _by_definition(_layer_data, 0),
    None,
    _by_definition(_layer_data, 2),
    _by_definition(_layer_data, 3),
    rowwise=(0, 1, 2),
    inplace=True,
)
