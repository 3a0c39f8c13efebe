"""A planned step as text."""

from __future__ import annotations

from fastprop.graph.ir import Instruction, Value, columns_of
from fastprop.graph.planning import StepPlan


def describe(plan: StepPlan) -> str:
    """See :meth:`Program.describe`."""
    schedule = plan.schedule
    strips = schedule.strips or [-1] * len(schedule.instructions)
    lines = []
    phase, strip = 0, -1
    for item, item_phase, item_strip in zip(
        schedule.instructions, schedule.phases, strips, strict=True
    ):
        if item_phase != phase and plan.threads > 1:
            lines.append("---- barrier ----")
            phase = item_phase
        if item_strip not in (-1, strip):
            lines.append(f"chunk by chunk, {plan.strips.chunks} of them:")
        strip = item_strip
        lines.append(f"{'' if strip < 0 else '  '}{_instruction_text(item)}")
    return "\n".join(lines)


def _instruction_text(item: Instruction) -> str:
    operands = ", ".join("-" if v is None else _shape_text(v) for v in item.inputs)
    results = ", ".join(_shape_text(v) for v in item.outputs)
    by_columns = ", by columns" if columns_of(item.key) else ""
    return f"{item.name}({operands}) -> {results}{by_columns}"


def _shape_text(value: Value) -> str:
    extents = ["batch" if value.batched and i == 0 else str(n) for i, n in enumerate(value.shape)]
    return f"[{', '.join(extents)}]"
