"""A place in the arena for every value, by liveness.

Memory is free again after the barrier that follows its last reader. Within one phase it is only for
a value that every thread slices in the same way, since there is no barrier between the two.

Values that share their memory by that rule, or in place, form a *buffer*. Buffers are placed from
the largest to the smallest, each into the tightest gap among those that live when it does. That
comes to the bytes that are live in the fullest phase, give or take some per cent; placed in the
order of the program they took 1.2 times as much.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fastprop import _core
from fastprop.graph.ir import Instruction, Value
from fastprop.graph.schedule import Schedule

ALIGNMENT = 64
SPLIT_BYTES = 16 * 2**20
"""A step is searched for barriers that each save much memory from this size on."""
SPLIT_GAIN = 0.03
"""The share of the arena that a barrier must save."""
SPLIT_TRIES = 16
"""Places that are tried for one barrier."""


def align(nbytes: int) -> int:
    return max(ALIGNMENT, -(-nbytes // ALIGNMENT) * ALIGNMENT)


class Arena:
    """The memory of a step, in whatever order its instructions are.

    Which values share memory is worked out in C++ (csrc/program/arena_plan.cpp).

    Args:
        instructions: Of the step.
        kept: Values that are read after the last instruction (recorded outputs, stored rows).
    """

    def __init__(self, instructions: Sequence[Instruction], kept: Iterable[Value]) -> None:
        self._positions = {item: i for i, item in enumerate(instructions)}
        self._values: list[Value] = []
        numbers: dict[Value, int] = {}
        looks: list[tuple[int, int, int, bool]] = []

        def number(value: Value) -> int:
            known = numbers.get(value)
            if known is None:
                known = numbers[value] = len(looks)
                self._values.append(value)
                shape = value.shape
                placed = value.in_arena and not value.persistent
                looks.append((value.nbytes, value.key, shape[-1] if shape else 0, placed))
            return known

        items = []
        for item in instructions:
            reads = [(number(value), own) for value, own in item.reads()]
            writes = [number(value) for value in item.writes()]
            last = -1 if item.outputs[-1].alias is not None else writes[-1]
            taken = [number(value) for value in replaceable(item)] if item.inplace else []
            items.append((item.key, reads, writes, last, taken))
        read_behind = [numbers[v.base] for v in kept if v.base in numbers]
        self._plan = _core.ArenaPlan(looks, items, read_behind)

    def place(self, schedule: Schedule, persistent: Iterable[Value]) -> int:
        """Set the offset of every arena value; return the bytes of the arena.

        Args:
            schedule: The instructions in order.
            persistent: Values that keep their memory from step to step (packed weights).
        """
        top = 0
        for value in persistent:
            value.offset = top
            top += align(value.nbytes)
        total = top
        for size, _, _, offset, values in self._plan.placed(*self._order(schedule)):
            for number in values:
                self._values[number].offset = top + offset
            total = max(total, top + offset + size)
        return total

    def peak_bytes(self, schedule: Schedule) -> int:
        """What is live at the fullest moment; the arena is little more."""
        return self._plan.peak_bytes(*self._order(schedule))

    def split_phases(self, schedule: Schedule) -> Schedule:
        """Add barriers to a large program where each saves much memory.

        Without one, gradients of weights of different shapes that follow each other in a phase
        cannot share memory, nor take that of activations which are not needed any more.
        """
        if self._written_bytes() < SPLIT_BYTES:
            return schedule
        order, phases = self._order(schedule)
        total = self._plan.total_bytes(order, phases)
        while total >= SPLIT_BYTES:
            best, bytes_of_best = phases, total
            for position in self._large_deaths(schedule, phases, int(SPLIT_GAIN * total)):
                later = [p + (i > position) for i, p in enumerate(phases)]
                nbytes = self._plan.total_bytes(order, later)
                if nbytes < bytes_of_best:
                    best, bytes_of_best = later, nbytes
            if bytes_of_best > (1 - SPLIT_GAIN) * total:
                break
            phases, total = best, bytes_of_best
        return schedule._replace(phases=phases)

    def open_places(self, schedule: Schedule, most: int) -> Schedule:
        """Add up to `most` barriers where an output could then take the place of an input.

        In a phase in which others read more of the input than their slices, such as dW does of the
        activation that dx overwrites, it cannot.
        """
        found = self._plan.places_behind_barriers(*self._order(schedule))
        cuts = {at for _, at in sorted((-nbytes, at) for at, nbytes in found)[:most]}
        added = 0
        later = []
        for position, phase in enumerate(schedule.phases):
            added += position in cuts
            later.append(phase + added)
        return schedule._replace(phases=later)

    def _order(self, schedule: Schedule) -> tuple[list[int], list[int]]:
        return [self._positions[item] for item in schedule.instructions], schedule.phases

    def _written_bytes(self) -> int:
        written = {v for item in self._positions for v in item.writes() if v.in_arena}
        return sum(align(value.nbytes) for value in written)

    def _large_deaths(self, schedule: Schedule, phases: list[int], least: int) -> list[int]:
        """The `SPLIT_TRIES` best positions, not at a barrier already, by which `least` bytes have
        died since the one before.
        """
        dying = self._plan.dying_bytes(self._order(schedule)[0], phases)
        found = []
        died = 0
        for i, phase in enumerate(phases[:-1]):
            died += dying[i]
            if phases[i + 1] != phase:
                died = 0
            elif died >= least and not schedule.in_strip(i):
                found.append((died, i))
                died = 0
        return [i for _, i in sorted(found, reverse=True)[:SPLIT_TRIES]]


def replaceable(item: Instruction) -> list[Value]:
    """Inputs whose place the last output may take once nobody reads them any more."""
    out = item.outputs[-1]
    if not out.in_arena or out.persistent:
        return []
    found = []
    for i in item.inplace:
        value = item.inputs[i]
        if value is None:
            continue
        base = value.base
        alike = value.nbytes == base.nbytes == out.nbytes and base.key == out.key
        if alike and base.in_arena and not base.persistent:
            found.append(base)
    return found
