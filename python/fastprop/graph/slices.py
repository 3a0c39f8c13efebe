"""Which products are sliced by columns of the output instead of rows of the batch.

A thread that multiplies its rows of the batch needs all of W in the order of the register tile, so
either everybody packs all of it, or copies are kept that cores fetch from each other. A thread that
makes its columns of the output needs its columns of W alone (of dx: its rows, which it has updated
itself), packs those, and multiplies twice as many rows by them. In return everybody reads all rows,
and waits before and behind it. 784-512-512-10 with batch 128 took 0.97 of the time on two cores
that share a cache, and 3.3 MB of memory instead of 6; 100-256-128-10 would take 1.03 to 1.05.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastprop.graph.cost import gain_by_columns
from fastprop.graph.ir import Instruction, Value, columns_key

_OWN_BY_COLUMNS = {"dense": (1, 2), "dense_backward_data": (2,)}
"""The inputs of which a thread reads its own columns only: W and b, and the activation h."""


def slice_by_columns(
    instructions: list[Instruction], kept: Iterable[Value], capacity: int, threads: int
) -> list[Instruction]:
    """Slice products by columns where that pays.

    Args:
        instructions: Of one step.
        kept: Values that are read after the last instruction: with no barrier in between, so each
            thread its own rows.
        capacity: Rows of the batch.
        threads: Size of the team.
    """
    kept_bases = {v.base for v in kept}

    def pays(item: Instruction) -> bool:
        return (
            item.name in _OWN_BY_COLUMNS
            and kept_bases.isdisjoint(item.writes())
            and gain_by_columns(item, capacity, threads) > 0
        )

    return [_by_columns(item) if pays(item) else item for item in instructions]


def _by_columns(item: Instruction) -> Instruction:
    return Instruction(
        item.name,
        item.inputs,
        item.outputs,
        item.attrs,
        own=_OWN_BY_COLUMNS[item.name],
        key=columns_key(item.outputs[0].shape[-1]),
        overwrites=item.overwrites,
        inplace=item.inplace,
        when=item.when,
    )
