"""What a training step cannot do without, and how fast this machine could do it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastprop import _core
from fastprop.graph.cost import product_flops
from fastprop.graph.ir import Instruction
from fastprop.inspect.report import Limit

if TYPE_CHECKING:
    from fastprop.graph.program import Program


def step_flops(program: Program, rows: int) -> list[float]:
    """Operations of each instruction's product in a step of `rows` rows."""
    return [_flops(item, rows / program.capacity) for item in program.instructions]


def measure_limit(program: Program, rows: int, dtype: str) -> Limit:
    """The limit of a step of `rows` rows on the Program's threads, by the machine's speed now."""
    footprint, moved = _update_bytes(program)
    peak, bandwidth = _core.machine_speed(dtype, program.threads, footprint)
    return Limit(sum(step_flops(program, rows)), moved, peak, bandwidth)


def _flops(item: Instruction, filled: float) -> float:
    values = [*item.inputs, *item.outputs]
    batched = any(v is not None and v.batched for v in values)
    return product_flops(item) * (filled if batched else 1.0)


def _update_bytes(program: Program) -> tuple[int, float]:
    """Bytes of the optimizer's arrays, and the bytes that it has to move in a step."""
    footprint = moved = 0
    for item in program.instructions:
        if item.overwrites and item.outputs[0].parameter is not None:
            gradient = item.inputs[0]
            read = 0 if gradient is None else gradient.nbytes
            written = sum(v.nbytes for v in item.outputs)
            footprint += read + written
            moved += read + 2 * written
    return footprint, float(moved)
