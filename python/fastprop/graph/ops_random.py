"""Dropout and noise.

While a Program is being traced, every call gets a stream of its own, and seed and step are those of
the run; so a step's numbers depend on (seed, call, step, index) alone. An eager call takes the next
stream of the default generator (:func:`fastprop.seed`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastprop import _core
from fastprop.graph import infer
from fastprop.graph.op import Op, Spec, apply, register
from fastprop.graph.recipe import composed
from fastprop.graph.tensor import Tensor, TensorLike, as_tensor
from fastprop.graph.trace import TRACE, current_trace
from fastprop.random import DROPOUT, NOISE, current_step, default_generator


def _infer(name: str, specs: Sequence[Spec], attrs: infer.Attrs) -> Spec:
    """x and, in an eager call, the four numbers that name its stream."""
    x = specs[0]
    return Spec(x.shape, infer.float_dtype(name, [x]), x.batched)


def _infer_mask(name: str, specs: Sequence[Spec], attrs: infer.Attrs) -> Spec:
    return _infer(name, specs, attrs)._replace(dtype=np.dtype(np.uint8))


def _infer_masked(name: str, specs: Sequence[Spec], attrs: infer.Attrs) -> Spec:
    return specs[1]


def _dropout_vjp(dy: Tensor, y: Tensor, mask: Tensor, x: Tensor) -> Tensor:
    return apply(_DROPOUT, mask, dy, scale=y.attrs["scale"], shift=0.0, fill=0.0)


_MASK = register("dropout_mask", _infer_mask, rowwise=(0,))
_DROPOUT: Op = register("dropout", _infer_masked, None, _dropout_vjp, rowwise=True, inplace=True)
_NOISE = register("gaussian_noise", _infer, lambda dy, y, *inputs: dy, rowwise=(0,), inplace=True)

_PROGRAM = -1
"""In the place of a step: seed and step are those of the run."""

_OF_KEY = {"seed_lo": 0, "seed_hi": 0, "stream": 0, "step": _PROGRAM}
"""Attributes of a call whose numbers are an operand."""


def _key(purpose: int) -> Tensor:
    """The random numbers of an eager call: an operand, as other attributes in every call would be
    planned anew in every call."""
    step = current_step()
    if step is None:
        seed, stream = default_generator().next_stream()
        return _integers(seed & 0xFFFFFFFF, seed >> 32, stream, 0)
    stream = purpose + step.next_stream()
    return _integers(step.seed & 0xFFFFFFFF, step.seed >> 32, stream, step.number & 0xFFFFFFFF)


_integers: Callable[..., Tensor] = _core.integers


def _stream(where: str, x: Tensor, purpose: int) -> tuple[list[Tensor], dict[str, Any]]:
    """Which random numbers a call gets: a further operand, and attributes."""
    trace = current_trace()
    if trace is None:
        return [_key(purpose)], _OF_KEY
    if not (x.symbolic or x.requires_grad):
        raise ValueError(
            f"{where}: the input of shape {x.shape} is a constant, which a traced function would "
            "change once and for all; give it as an input"
        )
    return [], {**_OF_KEY, "stream": purpose + trace.next_stream()}


def _probability(where: str, p: float) -> float:
    if not 0 <= p < 1:
        raise ValueError(f"{where}: p must be in [0, 1), got {p}")
    return float(p)


def dropout(x: TensorLike, p: float = 0.5, training: bool = True) -> Tensor:
    r"""Each element zero with probability `p`, else scaled so that the mean stays.

    .. math:: y_i = m_i x_i / (1 - p), \qquad P(m_i = 1) = 1 - p

    Args:
        x: float32 or float64.
        p: Probability of being dropped, in [0, 1).
        training: Otherwise gives `x` itself.

    Raises:
        ValueError: `p` is out of range; a constant while a Program is being traced.
        TypeError: `x` is not of a floating dtype.

    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting",
    JMLR 2014.
    """
    if not isinstance(x, Tensor):
        x = as_tensor(x)
    # A look here saves a call, which counts beside a small kernel.
    if type(p) is not float or not 0 <= p < 1:
        p = _probability("dropout", p)
    if not training or p == 0:
        return x
    if x.dtype.kind != "f":
        infer.float_dtype("dropout", [x.spec])
    if TRACE.get() is None:
        return _dropped(x, p, _key(DROPOUT))
    _, numbers = _stream("dropout", x, DROPOUT)
    return _scaled(x, apply(_MASK, x, **numbers, p=p), p)


@composed
def _dropped(x: Tensor, p: float, key: Tensor) -> Tensor:
    return _scaled(x, apply(_MASK, x, key, **_OF_KEY, p=p), p)


def _scaled(x: Tensor, mask: Tensor, p: float) -> Tensor:
    return apply(_DROPOUT, mask, x, scale=1 / (1 - p), shift=0.0, fill=0.0)


def _mask(where: str, x: Tensor, p: float) -> Tensor:
    """1 for the elements that are kept, as uint8."""
    infer.float_dtype(where, [x.spec])
    key, numbers = _stream(where, x, DROPOUT)
    return apply(_MASK, x, *key, **numbers, p=p)


_SATURATION = -1.7580993408473766
"""What selu tends to at minus infinity: -lambda alpha."""


def alpha_dropout(x: TensorLike, p: float = 0.5, training: bool = True) -> Tensor:
    r"""Dropout for selu: keeps mean 0 and variance 1 of its input.

    .. math:: y_i = a\,(m_i x_i + (1 - m_i)\,\alpha') + b, \qquad \alpha' = -\lambda \alpha,\
        a = \bigl((1 - p)(1 + p \alpha'^2)\bigr)^{-1/2},\ b = -a p \alpha'

    Arguments and errors as for :func:`dropout`.

    Klambauer et al., "Self-normalizing neural networks", NeurIPS 2017.
    """
    x, p = as_tensor(x), _probability("alpha_dropout", p)
    if not training or p == 0:
        return x
    a = 1 / math.sqrt((1 - p) * (1 + p * _SATURATION**2))
    b = -a * p * _SATURATION
    mask = _mask("alpha_dropout", x, p)
    return apply(_DROPOUT, mask, x, scale=a, shift=b, fill=a * _SATURATION + b)


def gaussian_noise(x: TensorLike, std: float = 1.0, training: bool = True) -> Tensor:
    r"""`x` with normal noise, :math:`y_i = x_i + \sigma z_i`.

    Args:
        x: float32 or float64.
        std: :math:`\sigma`.
        training: Otherwise gives `x` itself.

    Raises:
        ValueError: `std` is negative or not finite; a constant while a Program is being traced.
        TypeError: `x` is not of a floating dtype.
    """
    x = as_tensor(x)
    if not 0 <= std < math.inf:
        raise ValueError(f"gaussian_noise: std must not be negative nor infinite, got {std}")
    if not training or std == 0:
        return x
    key, numbers = _stream("gaussian_noise", x, NOISE)
    return apply(_NOISE, x, *key, **numbers, std=float(std))
