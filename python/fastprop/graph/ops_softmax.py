"""Softmax and its logarithm. The kernels normalize the last axis; another one is moved there."""

from __future__ import annotations

from collections.abc import Sequence

from fastprop.graph import infer
from fastprop.graph.op import Op, Spec, apply, register
from fastprop.graph.ops_elementwise import exp
from fastprop.graph.ops_index import single_axis
from fastprop.graph.ops_reduction import sum as reduce_sum
from fastprop.graph.ops_shape import as_floating, reshape, swapped
from fastprop.graph.recipe import composed
from fastprop.graph.tensor import Tensor, TensorLike


def _infer(name: str, specs: Sequence[Spec], attrs: infer.Attrs) -> Spec:
    out = infer.softmax_like(name, specs, attrs)
    if len(out.shape) < 2:
        raise ValueError(f"{name}: expects two or more axes, got shape {out.shape}")
    return out


def _total(x: Tensor) -> Tensor:
    return reduce_sum(x, -1, keepdims=True)


_SOFTMAX = register(
    "softmax", _infer, lambda dy, y, x: apply(_SOFTMAX_BACKWARD, y, dy), rowwise=True
)
_SOFTMAX_BACKWARD: Op = register(  # dx = y (dy - sum(y dy))
    "softmax_backward",
    _infer,
    lambda g, dx, y, dy: g * (dy - _total(y * dy)) - dy * _total(g * y),
    lambda g, dx, y, dy: apply(_SOFTMAX_BACKWARD, y, g),
    rowwise=True,
)
_LOG_SOFTMAX = register(
    "log_softmax", _infer, lambda dy, y, x: apply(_LOG_SOFTMAX_BACKWARD, y, dy), rowwise=True
)
_LOG_SOFTMAX_BACKWARD: Op = register(  # dx = dy - exp(y) sum(dy)
    "log_softmax_backward",
    _infer,
    lambda g, dx, y, dy: -g * exp(y) * _total(dy),
    lambda g, dx, y, dy: g - _total(g * exp(y)),
    rowwise=True,
)


def _along(op: Op, x: TensorLike, axis: int) -> Tensor:
    x = as_floating(x)
    last = single_axis(op.name, axis, len(x.shape))
    if x.batched and last == 0:
        raise ValueError(
            f"{op.name}: axis {axis} of {x.shape} is the batch, which cannot be normalized"
        )
    if last == len(x.shape) - 1 and last > 0:
        return apply(op, x)
    if last == 0 and len(x.shape) == 1:
        return reshape(apply(op, reshape(x, (1, *x.shape))), x.shape)
    return swapped(apply(op, swapped(x, last)), last)


def softmax(x: TensorLike, axis: int = -1) -> Tensor:
    r"""Exponentials that sum to one, :math:`y_i = e^{x_i} / \sum_j e^{x_j}`, without overflow.

    Args:
        x: Tensor of float32 or float64 with at least one axis.
        axis: The axis along which the result sums to one.

    Raises:
        ValueError: `axis` is out of range, or the batch axis of a Program.
    """
    return _softmax(x, axis)


@composed
def _softmax(x: TensorLike, axis: int) -> Tensor:
    return _along(_SOFTMAX, x, axis)


def log_softmax(x: TensorLike, axis: int = -1) -> Tensor:
    r"""Logarithm of :func:`softmax`, :math:`y_i = x_i - \log \sum_j e^{x_j}`, exact far out."""
    return _log_softmax(x, axis)


@composed
def _log_softmax(x: TensorLike, axis: int) -> Tensor:
    return _along(_LOG_SOFTMAX, x, axis)
