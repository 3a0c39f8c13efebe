"""The order of a step, with as few barriers as its dependencies allow.

An instruction needs a barrier before it only if it reads what another thread's slice wrote, or
overwrites what another thread may still read. A *phase* is what lies between two barriers. Every
instruction goes into the earliest phase that it can: forward and dx of a stack of layers share one,
dW, updates and repacking the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fastprop.graph.ir import Instruction, Value


class Schedule(NamedTuple):
    """Instructions in order, and the phase of each.

    Attributes:
        guard: How many instructions come before the first one that overwrites memory; -1 if nobody
            asked.
        strips: The strip of each instruction, -1 if it is in none; empty if there are none.
    """

    instructions: list[Instruction]
    phases: list[int]
    guard: int = -1
    strips: Sequence[int] = ()

    @property
    def barriers(self) -> int:
        """Barriers in a step, with the one at its end."""
        return self.phases[-1] + 1 if self.phases else 1

    def in_strip(self, position: int) -> bool:
        """Whether a strip goes on behind an instruction."""
        here = self.strips[position : position + 2]
        return len(here) == 2 and here[0] == here[1] >= 0


class Strips(NamedTuple):
    """How a step goes by chunks.

    Attributes:
        chunks: Of the batch; 0 if nothing goes by chunks.
        scratch_bytes: Memory of each thread for one chunk.
    """

    chunks: int = 0
    scratch_bytes: int = 0


class Step(NamedTuple):
    """Instructions that are to be ordered.

    Attributes:
        instructions: In dependency order.
        depends: What each one has to wait for, and whether with a barrier in between.
        first: What a guarded value needs; it comes before anything is overwritten.
        guarded: Whether there is such a value.
    """

    instructions: list[Instruction]
    depends: list[dict[int, bool]]
    first: set[int]
    guarded: bool

    def phases(self, least: list[int]) -> tuple[list[int], int]:
        """The earliest phase of each, not before its `least` one; and the one in which the guarded
        value becomes known, before which nothing is overwritten."""
        phases = earliest_phases(self.depends, least)
        known = max((phases[i] for i in self.first), default=0)
        if known == 0:
            return phases, 0
        items = zip(self.instructions, least, strict=True)
        least = [known if item.overwrites and phase < known else phase for item, phase in items]
        return earliest_phases(self.depends, least), known

    def arranged(self, order: list[int], phases: list[int]) -> Schedule:
        """The Schedule of that order, given the phase of each instruction."""
        items = [self.instructions[i] for i in order]
        guard = -1
        if self.guarded:
            guard = next((i for i, item in enumerate(items) if item.overwrites), len(items))
        return Schedule(items, [phases[i] for i in order], guard)


def step(instructions: list[Instruction], guarded: Value | None = None) -> Step:
    """What has to be known to order instructions that are given in dependency order.

    Args:
        instructions: Of one step.
        guarded: A value that is known before anything is overwritten: the loss, whose look decides
            whether the parameters change. It costs no barrier: the thread that computes it, does so
            first, and the others ask whether it has when they come to their first update.

    Raises:
        ValueError: The guarded value needs something that is overwritten before.
    """
    depends = dependencies(instructions)
    first: set[int] = set()
    if guarded is not None:
        first = _needed_for(guarded, instructions, depends)
        if any(instructions[i].overwrites for i in first):
            raise ValueError(
                "Program: the loss needs a Parameter or Buffer that the same step has overwritten "
                "before, so a loss that is not finite could not be held back; use the value itself"
            )
    return Step(instructions, depends, first, guarded is not None)


def fewest_barriers(step: Step) -> Schedule:
    """Every instruction in the earliest phase that it can be in."""
    phases, known = step.phases([0] * len(step.instructions))
    users: list[list[int]] = [[] for _ in phases]
    for i, needed in enumerate(step.depends):
        for j in needed:
            users[j].append(i)
    members: list[tuple[list[int], list[int]]] = [
        ([], []) for _ in range(max(phases, default=-1) + 1)
    ]
    for i, phase in enumerate(phases):
        members[phase][phase == known and i not in step.first].append(i)
    order = [i for halves in members for half in halves for i in _chains(half, step.depends, users)]
    return step.arranged(order, phases)


def dependencies(instructions: list[Instruction]) -> list[dict[int, bool]]:
    """Which instructions must come before each one, and whether with a barrier in between."""
    written: dict[Value, tuple[int, int]] = {}  # by whom: position and slice key
    read: dict[Value, list[tuple[int, bool, int]]] = {}  # position, only its own slice?, slice key
    depends: list[dict[int, bool]] = []
    for i, item in enumerate(instructions):
        needed: dict[int, bool] = {}
        key = item.key

        reads, writes = item.reads(), item.writes()
        for value, own in reads:
            before = written.get(value)
            if before is not None:
                position, its_key = before
                apart = not (own and its_key == key)
                needed[position] = apart or needed.get(position, False)
        for operand in item.inputs:
            if operand is None or operand.alias is None:
                continue
            # With a barrier in between, so that the memory of what came before is free again.
            for value in operand.awaited():
                if value in written:
                    needed[written[value][0]] = True
        for value in writes:
            for position, own, its_key in read.get(value, ()):
                apart = not (own and its_key == key)
                needed[position] = apart or needed.get(position, False)
            before = written.get(value)
            if before is not None:
                position, its_key = before
                needed[position] = its_key != key or needed.get(position, False)
        for value, own in reads:
            read.setdefault(value, []).append((i, own, key))
        for value in writes:
            written[value] = (i, key)
            read[value] = []
        depends.append(needed)
    return depends


def earliest_phases(depends: list[dict[int, bool]], least: list[int]) -> list[int]:
    """The earliest phase of each instruction, not before its `least` one."""
    phases: list[int] = []
    for needed, phase in zip(depends, least, strict=True):
        for j, apart in needed.items():
            behind = phases[j] + apart
            if behind > phase:
                phase = behind
        phases.append(phase)
    return phases


def _needed_for(
    value: Value, instructions: list[Instruction], depends: list[dict[int, bool]]
) -> set[int]:
    """The instructions that compute a value, with all that they need."""
    stack = [i for i, item in enumerate(instructions) if value.base in item.writes()]
    found: set[int] = set()
    while stack:
        i = stack.pop()
        if i not in found:
            found.add(i)
            stack.extend(depends[i])
    return found


def _chains(
    members: list[int], depends: list[dict[int, bool]], users: list[list[int]]
) -> list[int]:
    """Part of a phase, depth first: what uses a value comes soon after it, while it is in cache."""
    waiting = dict.fromkeys(members, 0)
    for i in members:
        waiting[i] = sum(j in waiting for j in depends[i])
    order: list[int] = []
    stack = [i for i in reversed(members) if waiting[i] == 0]
    while stack:
        i = stack.pop()
        order.append(i)
        ready = []
        for j in users[i]:
            if j in waiting:
                waiting[j] -= 1
                if waiting[j] == 0:
                    ready.append(j)
        stack.extend(reversed(ready))
    return order
