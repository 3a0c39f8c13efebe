"""A lowered step planned: fused, packed, ordered, and with a place for every value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from fastprop import _core
from fastprop.graph.arrange import on_one_thread, with_barriers
from fastprop.graph.cost import choose_threads
from fastprop.graph.fuse import fuse
from fastprop.graph.ir import Instruction, Value
from fastprop.graph.lower import Lowering
from fastprop.graph.memory import Arena
from fastprop.graph.packing import pack
from fastprop.graph.schedule import Schedule, Strips, fewest_barriers, step
from fastprop.graph.slices import slice_by_columns
from fastprop.graph.tensor import Tensor
from fastprop.graph.trace import Effect

STRIP_ROWS = 1024
"""Rows of the batch from which strips pay (strips.py)."""


class Lowered(NamedTuple):
    """A step before it is planned.

    Attributes:
        instructions: In the order of recording.
        recorded: The Values of the scalars.
        stored: Those of the per-row outputs.
        given: Those that are written to arrays of the run.
    """

    instructions: list[Instruction]
    recorded: list[Value]
    stored: list[Value]
    given: list[Value]

    @classmethod
    def of(
        cls,
        inputs: Sequence[Tensor],
        scalars: Sequence[Tensor],
        rows: Sequence[Tensor],
        effects: Sequence[Effect],
    ) -> Lowered:
        """That of what a :class:`Program` is made of."""
        found = Lowering(inputs, [*scalars, *rows], effects)
        recorded, stored = ([found.value(t) for t in tensors] for tensors in (scalars, rows))
        return cls(found.instructions, recorded, stored, found.given)

    @property
    def outputs(self) -> list[Value]:
        return [*self.recorded, *self.stored, *self.given]

    @property
    def least_rows(self) -> int:
        """Smallest number of rows in a step: 2 for the variance of a batch, else 1."""
        return 2 if any(map(_needs_two_rows, self.instructions)) else 1


class StepPlan(NamedTuple):
    """How a step is done.

    Attributes:
        prologue: The instructions that pack weights at the start of a run.
        schedule: Those of a step.
        arena_bytes: Memory for all values that the threads share.
        threads: Size of the team.
        strips: What goes by chunks of the batch.
    """

    prologue: list[Instruction]
    schedule: Schedule
    arena_bytes: int
    threads: int
    strips: Strips


def plan_step(
    lowered: Lowered, capacity: int, threads: int | None, *, packed: bool, check_loss: bool
) -> StepPlan:
    """Plan a step; see :class:`Program` for the arguments."""
    recorded, outputs = lowered.recorded, lowered.outputs
    items = fuse(lowered.instructions, outputs)
    by_chunks = False
    if capacity >= STRIP_ROWS:
        from fastprop.graph.strips import pays, plan_strips, sums_by_chunks

        by_chunks = pays(items)
        if by_chunks:
            items = sums_by_chunks(items, outputs)
    guarded = recorded[0] if check_loss else None
    # Recorded scalars keep a place of their own: rank 0 reads them while others go on.
    for value in recorded:
        value.base.persistent = value.base.in_arena
    persistent = list(dict.fromkeys(v.base for v in recorded if v.base.in_arena))
    team = threads or _core.available_threads()
    prologue: list[Instruction] = []
    given = None
    if team > 1:
        sliced = items if by_chunks else slice_by_columns(items, outputs, capacity, team)
        prologue, shared = pack(sliced, capacity, team, weights=packed)
        given = step(shared, guarded)
        order = fewest_barriers(given)
        team = threads or choose_threads(order, capacity)
    if team == 1:
        # One thread alone packs blocks as it goes: in cache, and with no copy to keep up to date.
        # Steps took 5 to 7 % less so; on two threads, which would pack all twice, 0 to 3 % more.
        if given is None or given.instructions != items:
            prologue, given = [], step(items, guarded)
        order = fewest_barriers(given) if by_chunks else on_one_thread(given)
    strips = Strips()
    if by_chunks:
        order, strips = plan_strips(order, outputs, capacity)
    arena = Arena(order.instructions, outputs)
    if by_chunks:
        order = arena.split_phases(order)
    elif team > 1 and given is not None:
        order = with_barriers(given, order, arena, capacity, team)
    persistent = [v for p in prologue for v in p.outputs] + persistent
    return StepPlan(prologue, order, arena.place(order, persistent), team, strips)


def _needs_two_rows(item: Instruction) -> bool:
    """Whether it takes the variance of columns that have one value a row."""
    x = item.inputs[0] if item.name == "batch_moments" else None
    return x is not None and x.batched and math.prod(x.shape[1:-1]) == 1
