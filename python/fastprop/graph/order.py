"""The order of instructions in which little has to be kept at a time.

What is wanted is done one after the other, from the lowest level up, and whatever it needs just
before. For a stack of layers that is: forward; then for every layer from the top its dW, its dx,
which may take the place of the activation that nobody needs any more, and its update, behind which
the gradient is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fastprop.graph.ir import Instruction, Value


def by_demand(
    instructions: Sequence[Instruction],
    depends: Sequence[Iterable[int]],
    first: Iterable[int],
) -> list[int]:
    """Positions in that order.

    Args:
        instructions: In dependency order.
        depends: For each of them, those before it that it has to wait for.
        first: Instructions that come first, with all that they need.
    """
    levels, heights = _levels(instructions), _heights(depends)

    # Rows are gathered when they are needed. Of two that become possible at once, the one on which
    # less depends comes first: dW, which ends in an update, before dx.
    ranks = [
        (not needed, level, height)
        for needed, level, height in zip(depends, levels, heights, strict=True)
    ]

    roots = sorted((i for i, h in enumerate(heights) if h == 0), key=levels.__getitem__)
    order: list[int] = []
    done = [False] * len(levels)
    for root in [*first, *roots]:
        stack = [(root, False)]
        while stack:
            i, ready = stack.pop()
            if done[i]:
                continue
            if ready:
                done[i] = True
                order.append(i)
                continue
            stack.append((i, True))
            needed = [j for j in depends[i] if not done[j]]
            if len(needed) > 1:
                needed.sort(key=ranks.__getitem__, reverse=True)
            stack += [(j, False) for j in needed]
    return order


def _levels(instructions: Sequence[Instruction]) -> list[tuple[int, int]]:
    """How many batched values, and how many of any kind, have to be computed for each one, one
    after the other.

    Batched ones count first: the gradients of a layer have one level with their updates, however
    many steps these take, and the layer below the next one.
    """
    made: dict[Value, tuple[int, int]] = {}
    levels: list[tuple[int, int]] = []
    for item in instructions:
        batched = total = 0
        for value, _ in item.reads():
            below = made.get(value)
            if below is not None:
                if below[0] > batched:
                    batched = below[0]
                if below[1] > total:
                    total = below[1]
        level = (batched + item.outputs[0].batched, total + 1)
        levels.append(level)
        for value in item.writes():
            made[value] = level
    return levels


def _heights(depends: Sequence[Iterable[int]]) -> list[int]:
    """How many have to come after each one, one after the other."""
    heights = [0] * len(depends)
    for i in range(len(heights) - 1, -1, -1):
        height = heights[i] + 1
        for j in depends[i]:
            if heights[j] < height:
                heights[j] = height
    return heights
