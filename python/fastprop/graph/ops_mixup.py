"""Mixup: a batch mixed with itself, shifted; the same for inputs and targets of a step."""

from __future__ import annotations

from collections.abc import Sequence

from fastprop.graph import infer
from fastprop.graph.op import Op, Spec, apply, register
from fastprop.graph.tensor import Tensor, TensorLike, as_tensor
from fastprop.graph.trace import is_tracing
from fastprop.random import MIXUP, current_step

PROGRAM = -1
"""In the place of a step: seed and step are those of the run."""


def _infer(name: str, specs: Sequence[Spec], attrs: infer.Attrs) -> Spec:
    (x,) = specs
    dtype = infer.float_dtype(name, specs)
    if not x.shape:
        raise ValueError(f"{name}: x must have a first axis of rows, got a scalar")
    return Spec(x.shape, dtype, x.batched)


def _vjp(dy: Tensor, y: Tensor, x: Tensor) -> Tensor:
    return apply(_MIXUP, dy, **{**y.attrs, "back": 1 - y.attrs["back"]})


_MIXUP: Op = register("mixup", _infer, _vjp)


def mixup(x: TensorLike, alpha: float, *, seed: int = 0, step: int = PROGRAM) -> Tensor:
    r"""Each row mixed with another one of the batch.

    .. math:: y_i = s\, x_i + (1 - s)\, x_{(i + b) \bmod n}, \quad s = \max(\lambda, 1 - \lambda),\
        \lambda \sim \mathrm{Beta}(\alpha, \alpha)

    One :math:`s` for all that is mixed in a step, and one shift :math:`b` from 1 to :math:`n - 1`,
    so that all pairs of rows are equally likely, whatever order the rows have.

    Args:
        x: ``[rows, ...]``, float32 or float64.
        alpha: :math:`\alpha`, positive.
        seed: Of the draw.
        step: Which draw; by default both are those of the Program's run.

    Raises:
        TypeError: `x` is not of a floating dtype.
        ValueError: `x` is a scalar.
    """
    as_in = None if is_tracing() else current_step()
    if step == PROGRAM and as_in is not None:
        seed, step = as_in.seed, as_in.number & 0xFFFFFFFF
    numbers = {"seed_lo": seed & 0xFFFFFFFF, "seed_hi": seed >> 32, "stream": MIXUP, "step": step}
    return apply(_MIXUP, as_tensor(x), **numbers, alpha=float(alpha), back=0)
