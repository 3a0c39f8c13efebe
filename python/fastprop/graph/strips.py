"""Steps of many narrow rows run on one chunk of the batch after the other, and stay in cache.

With 10,000 rows of 20 columns every array is 800 KB, and a step is bound by memory. So the batch is
divided into chunks small enough for the caches of a core, whatever the number of threads. A
*strip* is a run of instructions that need nothing of other rows: a thread runs it on one of its
chunks after the other. What is written and read inside one strip lies in memory of the thread, as
much as one chunk needs. Sums over the batch, dW and db above all, become one sum a chunk; these
parts are added up in order behind the next barrier. So bits do not depend on threads, but they are
not those of one sum over all rows.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence

from fastprop import _core
from fastprop.graph.ir import BATCH, Instruction, Value, consumers, instruction
from fastprop.graph.memory import align, replaceable
from fastprop.graph.schedule import Schedule, Strips, dependencies

LEAST_BYTES = 4 * 2**20
"""Bytes of narrow arrays that a step writes from which strips pay. On one thread 4-64-64-1 took
0.80 of the time with 4,096 rows, 0.99 with 1,024; 20-50-50-10 with 2,048 rows 1.07."""
ROW_BYTES = 256
"""Bytes of a row up to which an array is narrow."""
WEIGHT_BYTES = 16 * 1024
"""Bytes of other operands up to which reading them again for every chunk costs little."""
LOCAL_BYTES = 768 * 1024
"""What a chunk's values may take. Chunks of few rows cost calls: a step of 10,000 rows took 18.9
ms with 300 KB a chunk, 17.9 with 600 and 17.5 with 990, on two threads 10.8, 10.0 and 10.7 (Zen 3,
which has 512 KB of second-level cache)."""
CHUNK_ROWS = (128, 512)
"""Least and most rows of a chunk."""
CHUNKS = 16
"""The number of chunks is a multiple of it, so that up to as many threads get the same share."""

_PARTS = {"dense_backward_weights": "dense_backward_weights_parts", "sum": "sum_parts"}


def pays(instructions: Sequence[Instruction]) -> bool:
    """Whether a step of many rows has enough narrow arrays."""
    written = [v for item in instructions if _is_narrow(item) for v in item.outputs]
    return sum(v.nbytes for v in written) >= LEAST_BYTES


def sums_by_chunks(instructions: list[Instruction], kept: Iterable[Value]) -> list[Instruction]:
    """Make sums over the rows of narrow arrays sums of parts, one a chunk.

    Several that are added share their parts: each adds to what is there. How many chunks there are
    is known later, see :func:`plan_strips`.
    """
    sums = _sums(instructions, {v.base for v in kept})
    made_by = {item: total for total in sums for item in total.items}
    last = {total.adds[-1] if total.adds else total.items[-1]: total for total in sums}
    dropped = {add for total in sums for add in total.adds}
    out: list[Instruction] = []
    for item in instructions:
        if item in made_by:
            out.append(made_by[item].part(item))
        elif item not in dropped:
            out.append(item)
        if item in last:
            out.extend(last[item].finish())
    return out


class _Sum:
    """Products and sums over the batch that are added, and what else is added to them.

    Attributes:
        value: What it comes to.
        items: The instructions that go over the batch.
        others: Values that are added.
        adds: The additions.
    """

    def __init__(self, value: Value) -> None:
        self.value = value
        self.items: list[Instruction] = []
        self.others: list[Value] = []
        self.adds: list[Instruction] = []
        self._parts: Value | None = None

    def take(self, other: _Sum) -> None:
        self.items += other.items
        self.others += other.others
        self.adds += other.adds

    def part(self, item: Instruction) -> Instruction:
        """What makes the parts of one of the items, on top of those before."""
        shape = self.items[0].outputs[0].shape
        parts = Value((1, *shape), self.value.dtype, parts=True, scope=item.outputs[0].scope)
        before = [] if self._parts is None else [self._parts]
        inputs = [*item.inputs, *before]
        self._parts = parts
        own = tuple(range(len(inputs)))
        return instruction(
            _PARTS[item.name], inputs, [parts], own=own, key=BATCH, inplace=own[len(item.inputs) :]
        )

    def finish(self) -> list[Instruction]:
        """Add up the parts, and what else there is."""
        assert self._parts is not None
        total = self._like() if self.others else self.value
        out = [instruction("sum", [self._parts], [total], {"axes": 1.0})]
        for i, other in enumerate(self.others):
            value = self.value if i + 1 == len(self.others) else self._like()
            out.append(instruction("add", [total, other], [value], own=(0, 1), inplace=(0, 1)))
            total = value
        return out

    def _like(self) -> Value:
        return Value(self.value.shape, self.value.dtype, scope=self.value.scope)


def _sums(instructions: Sequence[Instruction], kept: set[Value]) -> list[_Sum]:
    """The sums over the batch, with the additions of one to another."""
    users = consumers(instructions)
    aliased = {v.base for v in users if v.alias is not None}
    position = {item: i for i, item in enumerate(instructions)}
    sums: dict[Value, _Sum] = {}

    def terms(item: Instruction) -> list[tuple[Value, _Sum | None]]:
        """What is added, and the sums that nobody else reads."""
        alone = [v for v in item.inputs if v in sums and len(users[v]) == 1 and v not in kept]
        return [
            (v, sums[v] if v in alone and v not in aliased else None)
            for v in item.inputs
            if v is not None
        ]

    for item in instructions:
        out = item.outputs[0]
        if item.when >= 0 or item.overwrites:
            continue
        if _is_sum(item):
            sums[out] = _Sum(out)
            sums[out].items.append(item)
        elif item.name == "add":
            added = terms(item)
            if all(s is None for _, s in added):
                continue
            if any(v.shape != out.shape or not v.base.in_arena for v, _ in added):
                continue
            sums[out] = _Sum(out)
            for value, known in added:
                if known is None:
                    sums[out].others.append(value)
                else:
                    sums[out].take(known)
                    del sums[value]
            sums[out].adds.append(item)
    for total in sums.values():
        total.items.sort(key=position.__getitem__)
    return list(sums.values())


def _is_sum(item: Instruction) -> bool:
    """A sum over the rows of narrow arrays, and over nothing else."""
    if item.outputs[0].batched or item.outputs[0].dtype.kind != "f":
        return False
    if item.name == "sum" and item.attrs["axes"] != 1:
        return False
    values = item.inputs
    return item.name in _PARTS and all(v is not None and _is_narrow_array(v) for v in values)


def _is_narrow_array(value: Value) -> bool:
    return value.batched and _row_bytes(value) <= ROW_BYTES


def _row_bytes(value: Value) -> int:
    return math.prod(value.shape[1:]) * value.dtype.itemsize


def _is_narrow(item: Instruction) -> bool:
    """Whether it goes over narrow rows, and over little else."""
    if item.key != BATCH:
        return False
    values = [v for v in (*item.inputs, *item.outputs) if v is not None and v.base.source is None]
    return all(
        _row_bytes(v) <= ROW_BYTES if v.batched else v.base.parts or v.nbytes <= WEIGHT_BYTES
        for v in values
    )


def plan_strips(order: Schedule, kept: Iterable[Value], capacity: int) -> tuple[Schedule, Strips]:
    """Gather what can go by chunks into strips, and place what is local to them.

    Args:
        order: Instructions, of which :func:`sums_by_chunks` has changed some.
        kept: Values that are read after the last instruction.
        capacity: Rows of the batch.
    """
    order = _gathered(order)
    order = order._replace(strips=_numbers(order))
    locals_ = _locals(order, {v.base for v in kept})
    chunks = _chunks(order.instructions, locals_, capacity)
    for item in order.instructions:
        for value in item.outputs:
            if value.parts:
                value.shape = (chunks, *value.shape[1:])
    scratch_bytes = _place_locals(order.instructions, locals_, chunk_rows(capacity, chunks))
    return order, Strips(chunks, scratch_bytes)


def chunk_rows(capacity: int, chunks: int) -> int:
    """Most rows of a chunk; ``rows_of_chunk`` in C++."""
    unit = 4 if capacity >= 16 * chunks else 1
    units = -(-capacity // unit)
    return unit * -(-units // chunks)


def _gathered(order: Schedule) -> Schedule:
    """Within a phase, and on each side of the guard: what can be in a strip comes together."""
    depends = dependencies(order.instructions)
    guard = order.guard
    segment = [(phase, guard >= 0 and i >= guard) for i, phase in enumerate(order.phases)]
    narrow = [_is_narrow(item) for item in order.instructions]
    users: list[list[int]] = [[] for _ in order.instructions]
    waiting = [0] * len(users)
    for i, needed in enumerate(depends):
        for j in needed:
            if segment[j] == segment[i]:
                users[j].append(i)
                waiting[i] += 1
    ready: tuple[list[int], list[int]] = ([], [])
    new: list[int] = []
    begin = 0
    while begin < len(segment):
        end = begin
        while end < len(segment) and segment[end] == segment[begin]:
            if waiting[end] == 0:
                heapq.heappush(ready[narrow[end]], end)
            end += 1
        kind = False
        while ready[0] or ready[1]:
            kind = kind if ready[kind] else not kind
            i = heapq.heappop(ready[kind])
            new.append(i)
            for j in users[i]:
                waiting[j] -= 1
                if waiting[j] == 0:
                    heapq.heappush(ready[narrow[j]], j)
        begin = end
    return order._replace(instructions=[order.instructions[i] for i in new])


def _numbers(order: Schedule) -> list[int]:
    """The strip of each instruction, numbered in order; -1 if it is in none."""
    numbers: list[int] = []
    strip = -1
    before: tuple[bool, int, bool] | None = None
    for i, (item, phase) in enumerate(zip(order.instructions, order.phases, strict=True)):
        here = (_is_narrow(item), phase, 0 <= order.guard <= i)
        strip += here[0] and here != before
        numbers.append(strip if here[0] else -1)
        before = here
    return numbers


def _locals(order: Schedule, kept: set[Value]) -> set[Value]:
    """Values that are written and read inside one strip, every row by whoever has it."""
    strips: dict[Value, set[int]] = {}
    for item, number in zip(order.instructions, order.strips, strict=True):
        for i, value in enumerate(item.inputs):
            if value is None:
                continue
            own = value.batched and i in item.own
            strips.setdefault(value.base, set()).add(number if own else -1)
            for awaited in value.awaited():
                strips.setdefault(awaited, set()).add(-1)
        for value in item.outputs:
            strips.setdefault(value.base, set()).add(number if value.batched else -1)
    return {
        value
        for value, found in strips.items()
        if len(found) == 1
        and -1 not in found
        and value.in_arena
        and value not in kept
        and not value.persistent
    }


def _chunks(instructions: Sequence[Instruction], locals_: set[Value], capacity: int) -> int:
    """So many that the local values of one fit the cache."""
    last = _last_uses(instructions)
    live = most = 0
    for position, item in enumerate(instructions):
        live += sum(_row_bytes(v) for v in item.writes() if v in locals_)
        most = max(most, live)
        touched = {v for v, _ in item.reads()} | set(item.writes())
        live -= sum(_row_bytes(v) for v in touched if v in locals_ and last[v] == position)
    least, largest = CHUNK_ROWS
    rows = min(max(LOCAL_BYTES // max(most, 1), least), largest)
    return CHUNKS * -(-capacity // (rows * CHUNKS))


def _place_locals(instructions: Sequence[Instruction], locals_: set[Value], rows: int) -> int:
    """Give local values their places, for so many rows; return the bytes.

    A thread alone uses them, so memory is free again right behind the last reader.
    """
    last = _last_uses(instructions)
    buffers: list[list[Value]] = []
    owner: dict[Value, list[Value]] = {}
    starts: dict[Value, int] = {}
    for position, item in enumerate(instructions):
        dying = [v for v in replaceable(item) if v in locals_ and last[v] == position]
        for value in item.writes():
            if value not in locals_ or value in owner:
                continue
            if dying and value is item.outputs[-1]:
                buffer = owner[dying[0]]
            else:
                buffer = []
                buffers.append(buffer)
            buffer.append(value)
            owner[value] = buffer
            starts[value] = position
    wishes = [
        (align(_row_bytes(b[0]) * rows), starts[b[0]], max(last[v] for v in b) + 1) for b in buffers
    ]
    total = 0
    for offset, wish, buffer in zip(_core.place_buffers(wishes), wishes, buffers, strict=True):
        total = max(total, offset + wish[0])
        for value in buffer:
            value.local, value.offset = True, offset
    return total


def _last_uses(instructions: Sequence[Instruction]) -> dict[Value, int]:
    last: dict[Value, int] = {}
    for position, item in enumerate(instructions):
        for value in item.writes():
            last[value] = position
        for value, _ in item.reads():
            last[value] = position
    return last
