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
from fastprop.graph.ir import BATCH, PARTS, Instruction, Value, columns_of
from fastprop.graph.schedule import Schedule

ALIGNMENT = 64
SPLIT_BYTES = 16 * 2**20
"""A step is searched for barriers that each save much memory from this size on."""
SPLIT_GAIN = 0.03
"""The share of the arena that a barrier must save."""
SPLIT_TRIES = 16
"""Places that are tried for one barrier: a try takes 10 ms for 500 instructions."""


def align(nbytes: int) -> int:
    return max(ALIGNMENT, -(-nbytes // ALIGNMENT) * ALIGNMENT)


class Buffer:
    """Memory that one value after the other uses.

    Attributes:
        size: Bytes, aligned.
        start: Position of the instruction that writes it first.
        end: Position of the first instruction that may use its memory for something else.
    """

    __slots__ = ("end", "offset", "size", "start", "values")

    def __init__(self, size: int, start: int, end: int) -> None:
        self.size = size
        self.values: list[Value] = []
        self.start = start
        self.end = end
        self.offset = 0


def plan(schedule: Schedule, persistent: list[Value], kept: list[Value]) -> int:
    """Set the offset of every arena value; return the bytes of the arena.

    Args:
        schedule: Instructions in order.
        persistent: Values that keep their memory from step to step (packed weights).
        kept: Values that are read after the last instruction (recorded outputs, stored rows).
    """
    top = 0
    for value in persistent:
        value.offset = top
        top += align(value.nbytes)
    buffers = _buffers(schedule, kept)
    total = top + place(buffers)
    for buffer in buffers:
        for value in buffer.values:
            value.offset = top + buffer.offset
    return total


def peak_bytes(schedule: Schedule, kept: list[Value]) -> int:
    """What is live at the fullest moment; the arena is little more."""
    change: dict[int, int] = {}
    for buffer in _buffers(schedule, kept):
        change[buffer.start] = change.get(buffer.start, 0) + buffer.size
        change[buffer.end] = change.get(buffer.end, 0) - buffer.size
    most = live = 0
    for position in sorted(change):
        live += change[position]
        most = max(most, live)
    return most


def split_phases(schedule: Schedule, kept: list[Value]) -> Schedule:
    """Add barriers to a large program where each saves much memory.

    Without one, gradients of weights of different shapes that follow each other in a phase cannot
    share memory, nor take that of activations which are not needed any more.
    """
    written = {v for item in schedule.instructions for v in item.writes() if v.in_arena}
    if sum(align(value.nbytes) for value in written) < SPLIT_BYTES:
        return schedule
    total = place(_buffers(schedule, kept))
    while total >= SPLIT_BYTES:
        best, bytes_of_best = schedule, total
        for position in _large_deaths(schedule, kept, int(SPLIT_GAIN * total)):
            phases = schedule.phases
            later = [p + (i > position) for i, p in enumerate(phases)]
            candidate = schedule._replace(phases=later)
            nbytes = place(_buffers(candidate, kept))
            if nbytes < bytes_of_best:
                best, bytes_of_best = candidate, nbytes
        if bytes_of_best > (1 - SPLIT_GAIN) * total:
            break
        schedule, total = best, bytes_of_best
    return schedule


def open_places(schedule: Schedule, kept: list[Value], most: int) -> Schedule:
    """Add up to `most` barriers where an output could then take the place of an input.

    In a phase in which others read more of the input than their slices, such as dW does of the
    activation that dx overwrites, it cannot.
    """
    instructions, phases = schedule.instructions, schedule.phases
    last = last_uses(instructions, kept)
    touched: dict[Value, int | None] = {}
    found: list[tuple[int, int]] = []
    phase = 0
    for position, (item, item_phase) in enumerate(zip(instructions, phases, strict=True)):
        if item_phase != phase:
            touched.clear()
            phase = item_phase
        alone: dict[Value, int | None] = {}
        _touch(alone, item)
        _touch(touched, item)
        if in_place(item, position, last, touched) is None:
            taken = in_place(item, position, last, alone)
            if taken is not None:
                found.append((-taken.nbytes, position))
    cuts = {position for _, position in sorted(found)[:most]}
    added = 0
    later = []
    for position, phase in enumerate(phases):
        added += position in cuts
        later.append(phase + added)
    return schedule._replace(phases=later)


def _large_deaths(schedule: Schedule, kept: list[Value], least: int) -> list[int]:
    """The `SPLIT_TRIES` best positions, not at a barrier already, by which `least` bytes have died
    since the one before.
    """
    last = last_uses(schedule.instructions, kept)
    dying = [0] * len(schedule.instructions)
    for value, position in last.items():
        if value.in_arena and not value.persistent and position < len(dying):
            dying[position] += value.nbytes
    found = []
    died = 0
    for i, phase in enumerate(schedule.phases[:-1]):
        died += dying[i]
        if schedule.phases[i + 1] != phase:
            died = 0
        elif died >= least and not schedule.in_strip(i):
            found.append((died, i))
            died = 0
    return [i for _, i in sorted(found, reverse=True)[:SPLIT_TRIES]]


def _buffers(schedule: Schedule, kept: list[Value]) -> list[Buffer]:
    """Which values share memory, and from when to when."""
    instructions, phases = schedule.instructions, schedule.phases
    last = last_uses(instructions, kept)
    buffers: list[Buffer] = []
    owner: dict[Value, Buffer] = {}
    dead: list[tuple[Value, int, Buffer]] = []  # in this phase, sliced so by all who touched them
    touched: dict[Value, int | None] = {}  # in this phase: see _touch()
    ending: list[Buffer] = []
    phase = 0
    for position, (item, item_phase) in enumerate(zip(instructions, phases, strict=True)):
        if item_phase != phase:
            for buffer in ending:
                buffer.end = position
            ending.clear()
            dead.clear()
            touched.clear()
            phase = item_phase
        reads, writes = item.reads(), item.writes()
        _touch(touched, item)
        taken = in_place(item, position, last, touched)
        for value in writes:
            if not value.in_arena or value.persistent or value in owner:
                continue
            if taken is not None and value is item.outputs[-1]:
                shared: Buffer | None = owner[taken]
            else:
                shared = _take(dead, item.key, value, ending)
            buffer = shared or Buffer(align(value.nbytes), position, len(instructions))
            if shared is None:
                buffers.append(buffer)
            buffer.values.append(value)
            owner[value] = buffer
        for value in dict.fromkeys([*(v for v, _ in reads), *writes]):
            if value in owner and value is not taken and last.get(value, position) == position:
                ending.append(owner[value])
                key = touched[value]
                if key is not None:
                    dead.append((value, key, owner[value]))
    return buffers


def _touch(touched: dict[Value, int | None], item: Instruction) -> None:
    """Note for what an instruction reads and writes the slice key of all who did so, if they have
    one and every thread keeps to its own slice; else None."""
    for value, own in [*item.reads(), *((v, True) for v in item.writes())]:
        columns = columns_of(item.key)
        fits = (
            columns == value.shape[-1]
            if columns
            else item.key == value.key or (item.key, value.key) == (BATCH, PARTS)
        )
        alike = own and fits and touched.get(value, item.key) == item.key
        touched[value] = item.key if alike else None


def _take(
    dead: list[tuple[Value, int, Buffer]], key: int, value: Value, ending: list[Buffer]
) -> Buffer | None:
    """A buffer whose dead value lies as `value` does: a thread's slice is the same memory."""
    for i, (other, other_key, buffer) in enumerate(dead):
        alike = other.nbytes == value.nbytes and other.key == value.key
        if alike and other_key == key:
            del dead[i]
            ending.remove(buffer)
            return buffer
    return None


def place(buffers: list[Buffer]) -> int:
    """Set offsets, the largest buffer first; return the bytes."""
    offsets = _core.place_buffers([(b.size, b.start, b.end) for b in buffers])
    total = 0
    for buffer, offset in zip(buffers, offsets, strict=True):
        buffer.offset = offset
        total = max(total, offset + buffer.size)
    return total


def last_uses(instructions: Sequence[Instruction], kept: Iterable[Value]) -> dict[Value, int]:
    last: dict[Value, int] = {}
    for position, item in enumerate(instructions):
        for value in item.writes():
            last[value] = position
        for value, _ in item.reads():
            last[value] = position
    for value in kept:
        last[value.base] = len(instructions)
    return last


def in_place(
    item: Instruction, position: int, last: dict[Value, int], touched: dict[Value, int | None]
) -> Value | None:
    """An input that nobody reads any more and whose place the last output may take."""
    out = item.outputs[-1]
    if not out.in_arena or out.persistent:
        return None
    for i in item.inplace:
        value = item.inputs[i]
        if value is None:
            continue
        base = value.base
        dying = base.in_arena and not base.persistent and last.get(base) == position
        if (
            dying
            and touched[base] is not None
            and value.nbytes == base.nbytes == out.nbytes
            and base.key == out.key
        ):
            return base
    return None
