"""What a trace records beside the graph: what is overwritten, and what changes from step to step.

While a Program is being traced, ops on symbolic Tensors only record nodes. An op that overwrites
an array (the update of a parameter, running statistics) has no output that anybody asks for, so the
trace keeps a list of those, in order.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fastprop.graph.tensor import Tensor
    from fastprop.nn import Module


class Effect(NamedTuple):
    """An op that overwrites arrays.

    Attributes:
        name: Op in the C++ table.
        inputs: What it reads.
        outputs: Parameters, Buffers or plain arrays that it writes; may be read as well.
        attrs: The kernel's attributes.
        time: When it was recorded.
    """

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor | NDArray[Any], ...]
    attrs: dict[str, float]
    time: int


class StepNumbers(Protocol):
    """Something whose kernels read numbers that are other ones in every step: an optimizer."""

    @property
    def steps(self) -> int:
        """Steps done so far."""
        ...

    def step_scalars(self, first_step: int, count: int) -> NDArray[np.float64]:
        """The numbers of some steps, float64 ``[count, k]``."""
        ...


class Trace:
    """The record of one traced function.

    Attributes:
        effects: What it overwrites, in order.
        numbers: Whose numbers a row of step numbers holds, one behind the other.
        width: How many they are.
        modes: By the id of each module that was called: the module, and whether it was in
            training mode then.
    """

    def __init__(self) -> None:
        self.effects: list[Effect] = []
        self.numbers: list[StepNumbers] = []
        self.width = 0
        self.modes: dict[int, tuple[Module, bool]] = {}
        self.streams = 0

    def next_stream(self) -> int:
        """A number that tells this place from all others that draw random numbers in a step."""
        self.streams += 1
        return self.streams - 1

    def step_numbers(self, source: StepNumbers) -> int:
        """Where in the row of a step's numbers those of another step of `source` begin."""
        first = self.width
        self.numbers.append(source)
        self.width += source.step_scalars(source.steps, 1).shape[1]
        return first


TRACE: ContextVar[Trace | None] = ContextVar("trace", default=None)


def current_trace() -> Trace | None:
    """The trace that is being recorded, or ``None``."""
    return TRACE.get()


def is_tracing() -> bool:
    return TRACE.get() is not None


@contextmanager
def tracing() -> Iterator[Trace]:
    """Inside the block, ops on parameters and Buffers are recorded instead of run."""
    trace = Trace()
    token = TRACE.set(trace)
    try:
        yield trace
    finally:
        TRACE.reset(token)
