"""A place in the arena for every value, by liveness.

Memory is free again once its last reader is done; within one phase only for a value that every
thread slices in the same way, since there is no barrier between the two.
"""

from __future__ import annotations

from bisect import insort
from typing import NamedTuple

from fastprop.graph.ir import Instruction, Value
from fastprop.graph.schedule import Schedule

ALIGNMENT = 64


def align(nbytes: int) -> int:
    return max(ALIGNMENT, -(-nbytes // ALIGNMENT) * ALIGNMENT)


class _Freed(NamedTuple):
    offset: int
    nbytes: int
    key: int
    sliced: bool  # in this phase every thread touched its own slice only


class Arena:
    """Free blocks, and blocks that become free at the next barrier."""

    def __init__(self, start: int) -> None:
        self.bytes = start
        self._free: list[tuple[int, int]] = []  # (offset, size), by offset
        self._pending: list[_Freed] = []

    def barrier(self) -> None:
        for block in self._pending:
            self._release(block.offset, align(block.nbytes))
        self._pending.clear()

    def free(self, block: _Freed) -> None:
        self._pending.append(block)

    def allocate(self, nbytes: int, key: int) -> int:
        # As many bytes in as many rows: a thread's slice of both is the same memory.
        for i, block in enumerate(self._pending):
            if block.sliced and block.nbytes == nbytes and block.key == key:
                del self._pending[i]
                return block.offset
        size = align(nbytes)
        best = min((b for b in self._free if b[1] >= size), key=lambda b: b[1], default=None)
        if best is None:
            offset = self.bytes
            self.bytes += size
            return offset
        self._free.remove(best)
        if best[1] > size:
            insort(self._free, (best[0] + size, best[1] - size))
        return best[0]

    def _release(self, offset: int, size: int) -> None:
        insort(self._free, (offset, size))
        merged: list[tuple[int, int]] = []
        for block in self._free:
            if merged and merged[-1][0] + merged[-1][1] == block[0]:
                merged[-1] = (merged[-1][0], merged[-1][1] + block[1])
            else:
                merged.append(block)
        self._free = merged


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
    last = _last_uses(schedule.instructions)
    for value in kept:
        last[value.base] = len(schedule.instructions)
    arena = Arena(top)
    phase = 0
    touched: dict[Value, bool] = {}
    for position, (item, item_phase) in enumerate(
        zip(schedule.instructions, schedule.phases, strict=True)
    ):
        if item_phase != phase:
            arena.barrier()
            touched.clear()
            phase = item_phase
        reads, writes = item.reads(), item.writes()
        for value, own in [*reads, *((v, True) for v in writes)]:
            sliced = own and item.key == value.key
            touched[value] = touched.get(value, True) and sliced
        taken = _in_place(item, position, last, touched)
        for value in writes:
            if value.in_arena and value.offset < 0 and value is not taken:
                value.offset = arena.allocate(value.nbytes, value.key)
        for value in {v: None for v, _ in reads} | dict.fromkeys(writes):
            if value.in_arena and not value.persistent and last.get(value, position) == position:
                if taken is not None and value.offset == taken.offset and value is not taken:
                    continue
                arena.free(_Freed(value.offset, value.nbytes, value.key, touched[value]))
    return arena.bytes


def _last_uses(instructions: list[Instruction]) -> dict[Value, int]:
    last: dict[Value, int] = {}
    for position, item in enumerate(instructions):
        for value, _ in item.reads():
            last[value] = position
    return last


def _in_place(
    item: Instruction, position: int, last: dict[Value, int], touched: dict[Value, bool]
) -> Value | None:
    """Let the output take the place of an input that nobody reads any more; return that output."""
    out = item.outputs[0]
    if not item.inplace or not out.in_arena or out.persistent or len(item.outputs) != 1:
        return None
    for value in item.inputs:
        if value is None:
            continue
        base = value.base
        dying = base.in_arena and not base.persistent and last.get(base) == position
        if (
            dying
            and touched[base]
            and value.nbytes == base.nbytes == out.nbytes
            and base.key == out.key
        ):
            out.offset = base.offset
            return out
    return None
