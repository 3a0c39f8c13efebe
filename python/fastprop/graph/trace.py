"""What a trace records beside the graph: what is overwritten, and what changes from step to step.

While a Program is being traced, ops on symbolic Tensors only record nodes. An op that overwrites
an array (the update of a parameter, running statistics) has no output that anybody asks for, so the
trace keeps a list of those, in order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fastprop.graph.user_line import user_line

if TYPE_CHECKING:
    from fastprop.graph.tensor import Tensor
    from fastprop.nn import Module


class TraceError(RuntimeError):
    """A function cannot be traced: it depends on what is known only when a Program runs."""


class Effect(NamedTuple):
    """An op that overwrites arrays.

    Attributes:
        name: Op in the C++ table.
        inputs: What it reads.
        outputs: Parameters, Buffers or plain arrays that it writes; may be read as well.
        attrs: The kernel's attributes.
        time: When it was recorded.
        when: Which of the step's numbers must not be 0 for it to be done; -1 for always.
    """

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor | NDArray[Any], ...]
    attrs: dict[str, float]
    time: int
    when: int = -1


class StepNumbers(Protocol):
    """Something whose kernels read numbers that are other ones in every step: an optimizer."""

    @property
    def steps(self) -> int:
        """Steps done so far."""
        ...

    @steps.setter
    def steps(self, value: int) -> None: ...

    def step_scalars(self, first_step: int, count: int) -> NDArray[np.float64]:
        """The numbers of some steps, float64 ``[count, k]``."""
        ...

    def attributes(self) -> Any:
        """What a trace takes for constant; compared to notice a change."""
        ...

    @property
    def slots(self) -> Any:
        """Who reads which of a step's numbers; likewise."""
        ...


class Gradient:
    """What becomes of a Tensor's gradient in a traced function.

    Attributes:
        tensor: The Tensor; no symbolic one.
        before: Its gradient when the function was traced, which it gets back.
        cleared: The function forgets the gradient before it adds to it.
        used: An optimizer of the function uses it, so nobody else needs it.
        left: What the function leaves, symbolic.
    """

    __slots__ = ("before", "cleared", "left", "tensor", "used")

    def __init__(self, tensor: Tensor, cleared: bool) -> None:
        self.tensor = tensor
        self.before = tensor.grad
        self.cleared = cleared
        self.used = False
        self.left: Tensor | None = None


class Trace:
    """The record of one traced function.

    Attributes:
        effects: What it overwrites, in order.
        numbers: Whose numbers a row of step numbers holds, one behind the other.
        width: How many they are.
        modes: By the id of each module that was called: the module, and whether it was in
            training mode then.
        gradients: By their id, the Tensors whose gradient the function adds to or forgets.
        freed: Of what a backward pass has given back the graph.
        last_segment: What the backward pass through the latest checkpointed segment has given.
        as_eager: Whether a batch of one row has to be what eager ops make of one row. A Trainer's
            last batch may have one, and stays a batch.
    """

    def __init__(self, as_eager: bool = False) -> None:
        self.as_eager = as_eager
        self.effects: list[Effect] = []
        self.numbers: list[StepNumbers] = []
        self.width = 0
        self.modes: dict[int, tuple[Module, bool]] = {}
        self.gradients: dict[int, Gradient] = {}
        self.freed: list[Tensor] = []
        self.last_segment: list[Tensor] = []
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

    def watch_gradient(self, tensor: Tensor, *, cleared: bool = False) -> Gradient:
        """Set the gradient of a Tensor aside, so that the function gives it one of its own."""
        if id(tensor) not in self.gradients:
            self.gradients[id(tensor)] = Gradient(tensor, cleared)
            tensor.grad = None
        return self.gradients[id(tensor)]

    def return_gradients(self) -> None:
        """All Tensors get back the gradients that they had."""
        for gradient in self.gradients.values():
            gradient.left, gradient.tensor.grad = gradient.tensor.grad, gradient.before


def no_value(shape: tuple[int, ...]) -> TraceError:
    """The error of somebody who asks a symbolic Tensor for its value."""
    where = user_line()
    if is_tracing():
        return TraceError(
            f"the value of a Tensor of shape {shape} is asked for while the function is being "
            f"traced into a Program ({where}). It is traced once; values exist only when the "
            "Program runs. Choose between values with fastprop.where; return what is wanted "
            "outside; or run the function without compile if its steps depend on its data"
        )
    return TraceError(
        f"a symbolic Tensor of shape {shape} leaked out of a function while that was being traced "
        f"into a Program, and has no value; return it from the function instead ({where})"
    )


def assigned_in_trace(name: str) -> TraceError:
    """The error of somebody who writes into a Parameter or Buffer while a function is traced."""
    return TraceError(
        f"{name}.data = …: while a function is traced into a Program this would happen once, and "
        f"not in every run ({user_line()}); write `with fastprop.no_grad(): parameter -= step`, or "
        "buffer.assign(value)"
    )


TRACE: ContextVar[Trace | None] = ContextVar("trace", default=None)


def current_trace() -> Trace | None:
    """The trace that is being recorded, or ``None``."""
    return TRACE.get()


def is_tracing() -> bool:
    return TRACE.get() is not None


def topological_order(outputs: Sequence[Tensor], ends: Sequence[Tensor] = ()) -> list[Tensor]:
    """Every Tensor that the outputs were computed from, inputs before the ops that use them.

    What holds data was computed before the trace, and ends the search; so do `ends`, which are left
    out.
    """
    order: list[Tensor] = []
    seen = {id(tensor) for tensor in ends}
    stack: list[tuple[Tensor, bool]] = [(t, False) for t in reversed(outputs)]
    while stack:
        tensor, expanded = stack.pop()
        if expanded:
            order.append(tensor)
        elif id(tensor) not in seen:
            seen.add(id(tensor))
            stack.append((tensor, True))
            if tensor.symbolic:
                stack.extend((t, False) for t in reversed(tensor.inputs))
    return order


def forget_gradient(tensor: Tensor) -> None:
    """What `zero_grad` does to a parameter."""
    trace = TRACE.get()
    if trace is not None:
        trace.watch_gradient(tensor, cleared=True)
    tensor._grad = None  # None needs no check, and a step clears all parameters


@contextmanager
def tracing(*, as_eager: bool = False) -> Iterator[Trace]:
    """Inside the block, ops on parameters and Buffers are recorded instead of run.

    After it all Tensors have the gradients that they had before.
    """
    trace = Trace(as_eager)
    token = TRACE.set(trace)
    try:
        yield trace
    finally:
        trace.return_gradients()
        TRACE.reset(token)
