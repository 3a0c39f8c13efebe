"""Orders of a step that need less memory than the one with the fewest barriers.

That one leaves all dW to a phase behind all dx, so dz of all layers live at once. Here a step goes
down the layers once, dW and dx of a layer side by side (see order.py). On one thread, which waits
for nobody, that costs nothing. Several threads have to wait for each other once a layer, or once
for a few of them.
"""

from __future__ import annotations

from fastprop.graph.cost import affordable_barriers
from fastprop.graph.memory import Arena
from fastprop.graph.order import by_demand
from fastprop.graph.schedule import Schedule, Step

BARRIER_SHARE = 0.01
"""The share of a step's time that these barriers may take."""
CHECKPOINTED_SHARE = 0.04
"""The same where parts of the step are repeated to save memory: who pays a forward pass for memory
pays some barriers for it, too, at any size. 64 layers of 128, batch 512, in 11 segments on two
threads: 3.5 MB instead of 4.8 (17.1 without segments)."""
WORTH = 0.03
"""The share of the memory that they must save."""


def on_one_thread(step: Step) -> Schedule:
    """Every instruction is a phase of its own: memory is free again right after its last reader."""
    order = by_demand(step.instructions, step.depends, sorted(step.first))
    positions = [0] * len(order)
    for position, i in enumerate(order):
        positions[i] = position
    return step.arranged(order, positions)


def with_barriers(
    step: Step, fewest: Schedule, arena: Arena, capacity: int, threads: int
) -> Schedule:
    """What needs least memory among the orders whose barriers the step can afford.

    Args:
        step: What is to be ordered.
        fewest: The order with the fewest barriers.
        arena: Its memory.
        capacity: Rows of the batch.
        threads: Size of the team.
    """
    share = CHECKPOINTED_SHARE if _checkpointed(step) else BARRIER_SHARE
    budget = affordable_barriers(fewest, capacity, threads, share)
    if budget == 0:
        return fewest
    best = arena.split_phases(fewest)
    least = arena.peak_bytes(best)
    layers = Layers(step)
    # Fewer layers a barrier cannot be afforded; the search from there takes a step or two.
    size = max(1, layers.count // (budget + fewest.barriers + 1))
    while size < layers.count:
        most = fewest.barriers + budget
        affordable = [o for o in layers.grouped(size) if fewest.barriers <= o.barriers <= most]
        for found in affordable:
            found = arena.split_phases(arena.open_places(found, most - found.barriers))
            nbytes = arena.peak_bytes(found)
            if nbytes < (1 - WORTH) * least:
                best, least = found, nbytes
        if affordable:
            break
        size += 1
    return best


def _checkpointed(step: Step) -> bool:
    """Whether something is repeated, and so waits until memory is free again."""
    items = step.instructions
    return any(value is not None and value.awaited() for item in items for value in item.inputs)


class Layers:
    """The same order with barriers.

    Args:
        step: What is to be ordered.
    """

    def __init__(self, step: Step) -> None:
        self._step = step
        self._order = by_demand(step.instructions, step.depends, sorted(step.first))
        # In this order a barrier is needed about once a layer.
        self._phases = [0] * len(self._order)
        phase = 0
        for i in self._order:
            needed = step.depends[i].items()
            phase = max(phase, *(self._phases[j] + apart for j, apart in needed), 0)
            self._phases[i] = phase

    @property
    def count(self) -> int:
        """Phases if each layer has its own."""
        return max(self._phases, default=0) + 1

    def grouped(self, size: int) -> list[Schedule]:
        """With a barrier for every so many layers; and the same with each dW in the phase of its
        update, if that is a later one: the gradient is gone sooner, what it is made of later."""
        least = [phase // size for phase in self._phases]
        phases, _ = self._step.phases(least)
        later = self._later(phases)
        found = [self._arranged(phases)]
        if later != phases:
            found.append(self._arranged(self._step.phases(later)[0]))
        return found

    def _arranged(self, phases: list[int]) -> Schedule:
        return self._step.arranged(sorted(self._order, key=phases.__getitem__), phases)

    def _later(self, phases: list[int]) -> list[int]:
        """Phases in which nothing that has no axis of the batch is made before it is used."""
        first_use: dict[int, int] = {}
        later = list(phases)
        for i in reversed(self._order):
            out = self._step.instructions[i].outputs[0]
            if out.in_arena and not out.batched:
                later[i] = max(first_use.get(i, 0), phases[i])
            for j in self._step.depends[i]:
                first_use[j] = min(first_use.get(j, later[i]), later[i])
        return later
