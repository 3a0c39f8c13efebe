"""Programs of one form differ in nothing but the arrays that they read and write.

Planning a step takes as long as hundreds of steps of a small network. So where many Programs are
made for models of the same structure, the first one is planned, and the others take over its plan
with their own arrays.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from fastprop import _core
from fastprop.graph.ir import Instruction, Value


class Form(NamedTuple):
    """Lowered instructions, without their arrays.

    Attributes:
        key: Equal for instructions that differ in their arrays alone.
        arrays: Those, in the order in which they come up.
    """

    key: Hashable
    arrays: list[NDArray[Any]]


class Planned:
    """What is known of a form.

    Attributes:
        program: The C++ Program of the first of that form.
        buffers: Which of the form's arrays its buffers are.
        arena_bytes: Memory for all values.
        threads: Size of the team.
        step_seconds: Time of a step, once somebody has measured it.
    """

    def __init__(
        self, program: _core.Program, buffers: list[int], arena_bytes: int, threads: int
    ) -> None:
        self.program = program
        self.buffers = buffers
        self.arena_bytes = arena_bytes
        self.threads = threads
        self.step_seconds: float | None = None


class Plans:
    """The forms that were planned so far."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Planned] = {}

    def find(self, form: Form) -> Planned | None:
        return self._known.get(form.key)

    def add(
        self,
        form: Form,
        program: _core.Program,
        buffers: Sequence[NDArray[Any]],
        arena_bytes: int,
        threads: int,
    ) -> Planned | None:
        """Remember how a form was planned; ``None`` if that does not serve others."""
        numbers = {id(array): i for i, array in enumerate(form.arrays)}
        if any(id(array) not in numbers for array in buffers):  # it came in while planning
            return None
        used = [numbers[id(array)] for array in buffers]
        planned = self._known[form.key] = Planned(program, used, arena_bytes, threads)
        return planned


def form_of(
    instructions: Sequence[Instruction], outputs: Sequence[Value], options: Hashable
) -> Form:
    """The form of a lowered step.

    Args:
        instructions: All of them, in order.
        outputs: What is asked for.
        options: What else decides how it is planned.
    """
    numbers: dict[Value, int] = {}
    values: list[Hashable] = []
    arrays: list[NDArray[Any]] = []

    def number(value: Value | None) -> int:
        if value is None:
            return -1
        known = numbers.get(value)
        if known is None:
            alias, waits = number(value.alias), tuple(map(number, value.waits))
            known = numbers[value] = len(numbers)
            state = value.array is not None, value.parameter is not None
            look = value.shape, value.dtype, value.batched, value.source
            values.append((*look, alias, waits, *state))
            if value.array is not None:
                arrays.append(value.array)
        return known

    items = [
        (tuple(map(number, item.inputs)), tuple(map(number, item.outputs)), *item.settings())
        for item in instructions
    ]
    asked = tuple(map(number, outputs))
    return Form((tuple(items), tuple(values), asked, options), arrays)
