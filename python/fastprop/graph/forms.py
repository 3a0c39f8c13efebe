"""Programs of one form differ in nothing but the arrays that they read and write.

Planning a step takes as long as hundreds of steps of a small network. So where many Programs are
made for models of the same structure, the first one is planned, and the others take over its plan
with their own arrays.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from threading import Lock
from typing import Any, Generic, NamedTuple, TypeVar

from numpy.typing import NDArray

from fastprop import _core
from fastprop.graph.ir import Instruction, Value

P = TypeVar("P")

_MOST_CONSTANT_BYTES = 1 << 16  # that a plan keeps alive


class Form(NamedTuple):
    """Lowered instructions, without their arrays.

    Attributes:
        key: Equal for instructions that differ in their arrays alone.
        arrays: Those, in the order in which they come up.
    """

    key: Hashable
    arrays: list[NDArray[Any]]


class Planned:
    """What Programs of one form share.

    Args:
        template: The C++ Program without its memory.
        buffers: What that works on: numbers of arrays of the form, and constants.
        changed: Numbers of the arrays that a run changes.
        capacity: Of the Program, like all that follow.
        threads: Size of the team.
        arena_bytes: Memory for all values.
        least_rows: Smallest number of rows in a step.
        step_numbers: How many numbers a step reads anew.
        check_loss: It stops at a loss that is not finite.
        packed: It keeps weights packed.

    Attributes:
        step_seconds: Time of a step, once somebody has measured it.
    """

    def __init__(
        self,
        template: _core.Template,
        buffers: Sequence[int | NDArray[Any]],
        changed: Sequence[int],
        *,
        capacity: int,
        threads: int,
        arena_bytes: int,
        least_rows: int,
        step_numbers: int,
        check_loss: bool,
        packed: bool,
    ) -> None:
        self._template = template
        self._buffers = buffers
        self._changed = changed
        self.capacity = capacity
        self.threads = threads
        self.arena_bytes = arena_bytes
        self.least_rows = least_rows
        self.step_numbers = step_numbers
        self.check_loss = check_loss
        self.packed = packed
        self.step_seconds: float | None = None

    def program(self, arrays: Sequence[NDArray[Any]]) -> _core.Program | None:
        """The C++ Program on these arrays of the form; ``None`` if two of them share memory."""
        return self._template.program(
            [arrays[b] if isinstance(b, int) else b for b in self._buffers]
        )

    def changed_arrays(self, arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Which of these a run changes."""
        return [arrays[i] for i in self._changed]


class Plans(Generic[P]):
    """What is known by a key; those that were not asked for longest are forgotten.

    Args:
        most: How many are kept; ``None`` for all.
    """

    def __init__(self, most: int | None = None) -> None:
        self._known: OrderedDict[Hashable, P] = OrderedDict()
        self._most = most
        self._lock = Lock()

    def find(self, key: Hashable) -> P | None:
        with self._lock:
            found = self._known.get(key)
            if found is not None:
                self._known.move_to_end(key)
            return found

    def add(self, key: Hashable, plan: P) -> None:
        with self._lock:
            self._known[key] = plan
            if self._most is not None and len(self._known) > self._most:
                self._known.popitem(last=False)

    def __len__(self) -> int:
        return len(self._known)


def numbered(
    buffers: Sequence[NDArray[Any]], changed: Sequence[NDArray[Any]], arrays: Sequence[NDArray[Any]]
) -> tuple[list[int | NDArray[Any]], list[int]] | None:
    """Buffers and changed ones as numbers of `arrays`; what is none of them is a constant.

    Returns:
        ``None`` if that does not serve others: a constant that is changed or large, or two of the
        arrays in one place.
    """
    # Where an array lies takes longer to ask than to remember, and most come up three times.
    known = {id(array): _place(array) for array in arrays}
    every = [known[id(array)] for array in arrays]
    places = [place for place in every if place[1]]
    numbers = {place: i for i, place in enumerate(every)}
    used = [numbers.get(known.get(id(b)) or _place(b), b) for b in buffers]
    written = [numbers.get(known.get(id(a)) or _place(a), -1) for a in changed]
    constant = sum(b.nbytes for b in used if not isinstance(b, int))
    if len(set(places)) < len(places) or -1 in written or constant > _MOST_CONSTANT_BYTES:
        return None
    return used, written


def _place(array: NDArray[Any]) -> tuple[int, int]:
    return array.__array_interface__["data"][0], array.nbytes


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
