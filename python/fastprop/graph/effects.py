"""Ops that overwrite arrays: run at once, or recorded while a Program is being traced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from numpy.typing import NDArray

from fastprop import _core
from fastprop.graph.ir import kernel
from fastprop.graph.op import now
from fastprop.graph.scope import current_scope
from fastprop.graph.tensor import Tensor
from fastprop.graph.trace import Effect, current_trace

SUPPRESSED: ContextVar[bool] = ContextVar("suppressed", default=False)


@contextmanager
def without_effects() -> Iterator[None]:
    """Inside the block nothing is overwritten: it repeats what was done before."""
    token = SUPPRESSED.set(True)
    try:
        yield
    finally:
        SUPPRESSED.reset(token)


def effects_suppressed() -> bool:
    """Whether this is such a repetition."""
    return SUPPRESSED.get()


Numbers = Sequence[float] | int
"""What changes from step to step: the numbers themselves, or where a run's row of them begins."""


def effect(
    name: str,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor | NDArray[Any]],
    attrs: dict[str, float] | None = None,
    numbers: Numbers = (),
) -> None:
    """Overwrite arrays with a kernel of the op table.

    The kernel does its slice of axis 0 of the first output. Of inputs of that output's shape it may
    read its own slice only, of others all.

    Args:
        name: Op in the C++ table.
        inputs: What the kernel reads.
        outputs: What it writes: Parameters, Buffers, or arrays that never move.
        attrs: The kernel's attributes; ``scalars`` is set here where the kernel has it.
        numbers: What it reads from the step's numbers.
    """
    if SUPPRESSED.get():
        return
    trace = current_trace()
    if trace is not None:
        attrs = dict(attrs or {})
        if isinstance(numbers, int):
            attrs["scalars"] = float(numbers)
        scope = current_scope()
        when = -1 if scope is None else scope.when
        trace.effects.append(Effect(name, tuple(inputs), tuple(outputs), attrs, now(), when))
    else:
        assert not isinstance(numbers, int)
        _core.overwrite(kernel(name)[0], inputs, outputs, attrs or {}, numbers)
        return
    for output in outputs:
        if isinstance(output, Tensor):
            output.mark_changed()


def overwrite_each(
    name: str,
    inputs: list[Tensor],
    outputs: list[tuple[Tensor | NDArray[Any], ...]],
    attrs: list[list[float]],
    numbers: list[list[float]],
) -> None:
    """Many effects of one kernel of one input, at once and in one call; never while tracing.

    Args:
        name: Op in the C++ table.
        inputs: What is read in each.
        outputs: What is written in each.
        attrs: Attributes of each, in the kernel's order.
        numbers: The step's numbers for each.
    """
    if not SUPPRESSED.get():
        _core.overwrite_each(kernel(name)[0], inputs, outputs, attrs, numbers)


def assign(target: Tensor, value: Tensor) -> None:
    """Copy `value` into `target`, a Tensor of the same shape and dtype.

    Raises:
        ValueError: The shapes differ, or `value` varies with the batch.
        TypeError: The dtypes differ.
    """
    if value.shape != target.shape or value.batched:
        batch = ", which varies with the batch" if value.batched else ""
        raise ValueError(f"assign: expects shape {target.shape}, got {value.shape}{batch}")
    if value.dtype != target.dtype:
        raise TypeError(f"assign: expects {target.dtype}, got {value.dtype}")
    effect("copy", [value], [target])
