"""The order of a step, with as few barriers as its dependencies allow.

An instruction needs a barrier before it only if it reads what another thread's slice wrote, or
overwrites what another thread may still read. A *phase* is what lies between two barriers. Every
instruction goes into the earliest phase that it can: forward and dx of a stack of layers share one,
dW, updates and repacking the next.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastprop.graph.ir import Instruction, Value


@dataclass(frozen=True)
class Schedule:
    """Instructions in order, and the phase of each."""

    instructions: list[Instruction]
    phases: list[int]

    @property
    def barriers(self) -> int:
        """Barriers in a step, with the one at its end."""
        return self.phases[-1] + 1 if self.phases else 1


@dataclass(slots=True)
class _Access:
    index: int
    own: bool
    key: int


def schedule(instructions: list[Instruction]) -> Schedule:
    """Order instructions that are given in dependency order."""
    depends, phases = _dependencies(instructions)
    users: list[list[int]] = [[] for _ in instructions]
    for i, needed in enumerate(depends):
        for j in needed:
            users[j].append(i)
    order = [
        i
        for phase in range(max(phases, default=0) + 1)
        for i in _chains(phase, phases, depends, users)
    ]
    return Schedule([instructions[i] for i in order], [phases[i] for i in order])


def _dependencies(instructions: list[Instruction]) -> tuple[list[set[int]], list[int]]:
    """Which instructions must come before each one, and the earliest phase of each."""
    written: dict[Value, _Access] = {}
    read: dict[Value, list[_Access]] = {}
    depends: list[set[int]] = []
    phases: list[int] = []
    for i, item in enumerate(instructions):
        needed: set[int] = set()
        phase = 0

        def after(
            earlier: _Access, own: bool, item: Instruction = item, needed: set[int] = needed
        ) -> int:
            needed.add(earlier.index)
            apart = not (own and earlier.own and earlier.key == item.key)
            return phases[earlier.index] + apart

        for value, own in item.reads():
            if value in written:
                phase = max(phase, after(written[value], own))
        for value in item.writes():
            for access in read.get(value, ()):
                phase = max(phase, after(access, True))
            if value in written:
                phase = max(phase, after(written[value], True))
        for value, own in item.reads():
            read.setdefault(value, []).append(_Access(i, own, item.key))
        for value in item.writes():
            written[value] = _Access(i, True, item.key)
            read[value] = []
        depends.append(needed)
        phases.append(phase)
    return depends, phases


def _chains(
    phase: int, phases: list[int], depends: list[set[int]], users: list[list[int]]
) -> list[int]:
    """One phase, depth first: what uses a value comes soon after it, while it is in cache."""
    waiting = {
        i: sum(phases[j] == phase for j in depends[i]) for i, p in enumerate(phases) if p == phase
    }
    order: list[int] = []
    stack = [i for i in reversed(waiting) if waiting[i] == 0]
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
