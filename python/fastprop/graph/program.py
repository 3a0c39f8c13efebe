"""Program: a whole training step, lowered from symbolic Tensors to instructions over one arena."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprop import _core
from fastprop.graph import cost
from fastprop.graph.fuse import fuse
from fastprop.graph.ir import Instruction, Value, kernel
from fastprop.graph.lower import Lowering
from fastprop.graph.memory import plan, split_phases
from fastprop.graph.packing import pack_gradients, pack_weights
from fastprop.graph.schedule import schedule
from fastprop.graph.tensor import Tensor
from fastprop.graph.trace import Effect

_ARENA, _BUFFER, _SOURCE = 1, 2, 3
_STOPS: tuple[Literal["done", "nonfinite", "interrupt"], ...] = ("done", "nonfinite", "interrupt")
_NONFINITE = 1

Operand = tuple[int, int, int, str, tuple[int, ...], bool]


class RunResult(NamedTuple):
    """What a run did.

    Attributes:
        values: The recorded outputs, float64 [steps, scalars]: those of every complete step, and
            the loss of the one that did not become complete because of it.
        rows: The per-row outputs, [rows, …] each.
        steps_done: Complete steps.
        stopped: Why it ended.
        error: The exception that a signal handler raised, if it was interrupted.
    """

    values: NDArray[np.float64]
    rows: list[NDArray[Any]]
    steps_done: int
    stopped: Literal["done", "nonfinite", "interrupt"]
    error: BaseException | None = None


class Program:
    """Computes outputs, and overwrites parameters and other state, from arrays.

    Args:
        inputs: Placeholders. Where the first axis is the batch, its extent is the capacity, and
            steps take their rows from an array; an array for any other is read as it is.
        scalars: 0-d outputs that every step records.
        rows: Outputs whose first axis is the batch, given for every row.
        effects: What is overwritten, as a Trace recorded it.
        step_numbers: How many numbers the effects read anew in every step.
        threads: Size of the team; None lets the cost model choose. Results do not depend on it.
        check_loss: Stop at a step whose first scalar is NaN or infinite, before its updates.
        packed: Keep weights packed from step to step, where several threads share them. Pays from
            the second step of a run on.

    Attributes:
        capacity: Largest number of rows in a step.
        threads: Size of the team.
        arena_bytes: Memory for all values, packed weights included.
        num_instructions: Instructions in a step.
        barriers: Times that the threads wait for each other in a step.
        least_rows: Smallest number of rows in a step: 2 for the variance of a batch, else 1.
        prologue: The instructions that pack weights at the start of a run.

    Raises:
        ValueError: Placeholders of different capacity, an output of the wrong kind.
        RuntimeError: A symbolic Tensor that is not among the inputs.
    """

    def __init__(
        self,
        inputs: Sequence[Tensor],
        scalars: Sequence[Tensor] = (),
        rows: Sequence[Tensor] = (),
        effects: Sequence[Effect] = (),
        step_numbers: int = 0,
        threads: int | None = None,
        check_loss: bool = False,
        packed: bool = True,
    ) -> None:
        self.capacity = _common_capacity(inputs)
        self._step_numbers = step_numbers
        _check_outputs(scalars, rows)

        lowered = Lowering(inputs, [*scalars, *rows], effects)
        recorded = [lowered.value(t) for t in scalars]
        stored = [lowered.value(t) for t in rows]
        self.least_rows = 2 if any(map(_needs_two_rows, lowered.instructions)) else 1
        items = fuse(lowered.instructions, [*recorded, *stored])
        prologue: list[Instruction] = []
        # One thread alone packs blocks as it goes: in cache, and with no copy to keep up to date.
        # Steps took 5 to 7 % less so; on two threads, which would pack all twice, 0 to 3 % more.
        if packed and (threads or _core.available_threads()) > 1:
            prologue, items = pack_weights(items, self.capacity)
        self._schedule = schedule(pack_gradients(items), recorded[0] if check_loss else None)
        # Recorded scalars keep a place of their own: rank 0 reads them while others go on.
        for value in recorded:
            value.base.persistent = value.base.in_arena
        persistent = [v for p in prologue for v in p.outputs]
        persistent += list(dict.fromkeys(v.base for v in recorded if v.base.in_arena))
        self._schedule = split_phases(self._schedule, [*recorded, *stored])
        self.arena_bytes = plan(self._schedule, persistent, [*recorded, *stored])
        self.threads = threads or cost.choose_threads(self._schedule, self.capacity)
        self.prologue = prologue
        self._build(prologue, recorded, stored)

    @property
    def instructions(self) -> list[Instruction]:
        """The instructions of a step, in order."""
        return self._schedule.instructions

    @property
    def num_instructions(self) -> int:
        return len(self._schedule.instructions)

    @property
    def barriers(self) -> int:
        return self._schedule.barriers

    def _build(
        self, prologue: list[Instruction], recorded: list[Value], stored: list[Value]
    ) -> None:
        assembler = _Assembler()
        before = [assembler.instruction(p, i == 0) for i, p in enumerate(prologue)]
        step = []
        phase = 0
        for item, item_phase in zip(
            self._schedule.instructions, self._schedule.phases, strict=True
        ):
            step.append(assembler.instruction(item, item_phase != phase))
            phase = item_phase
        scalars = [assembler.operand(v) for v in recorded]
        rows = [assembler.operand(v) for v in stored]
        self._program = _core.Program(
            self.arena_bytes, self.capacity, assembler.buffers, before, step, scalars, rows,
            self._schedule.guard,
        )  # fmt: skip

    def run(
        self,
        sources: Sequence[NDArray[Any]],
        order: NDArray[np.int64] | int,
        batch_size: int,
        step_scalars: NDArray[np.float64] | None = None,
        first_step: int = 0,
        seed: int = 0,
        profile: NDArray[np.float64] | None = None,
    ) -> RunResult:
        """Run ``ceil(rows / batch_size)`` steps; the GIL is released meanwhile.

        Args:
            sources: One contiguous array for each placeholder, of its dtype: [N, …] with its row
                shape where that is a batch, else of its shape.
            order: Rows in the order in which they are visited, or how many of the first ones; the
                last batch may be short.
            batch_size: Rows of a step, at most the capacity.
            step_scalars: The optimizer's numbers for each step, float64 [steps, k].
            first_step: Number of the first of these steps.
            seed: Seed of whatever is random in the Program.
            profile: An :meth:`empty_profile`, to which nanoseconds are added.

        Raises:
            ValueError: Something does not fit; raised before any work.
        """
        if self._step_numbers and (
            step_scalars is None or step_scalars.shape[-1] != self._step_numbers
        ):
            got = "none" if step_scalars is None else f"shape {step_scalars.shape}"
            raise ValueError(
                f"Program.run: step_scalars: wants {self._step_numbers} numbers a step, got {got}"
            )
        count = order if isinstance(order, int) else len(order)
        if self.least_rows > 1 and (count % batch_size or batch_size) < self.least_rows:
            raise ValueError(
                f"Program.run: {count} rows in batches of {batch_size} leave a batch of 1, which "
                "has no variance"
            )
        values, rows, steps, stop, error = self._program.run(
            sources, order, batch_size, step_scalars, first_step, seed, self.threads, profile
        )
        if stop:
            values = values[: steps + (stop == _NONFINITE)]
        return RunResult(values, rows, steps, _STOPS[stop], error)

    def changed_arrays(self) -> list[NDArray[Any]]:
        """The memory outside the arena that a run writes: parameters and optimizer state."""
        written = [v.array for item in self.instructions for v in item.writes()]
        found = {id(array): array for array in written if array is not None}
        return list(found.values())

    def predicted_seconds(self) -> dict[int, float]:
        """What the cost model says of a step on 1, 2, … threads."""
        times = cost.predicted_ns(self._schedule, self.capacity)
        return {threads: 1e-9 * ns for threads, ns in times.items()}

    def empty_profile(self) -> NDArray[np.float64]:
        """Zeros [threads, entries, 2] for :meth:`run` to add nanoseconds of work and of waiting to.

        The entries are the instructions in order, each with the wait at the barrier before it, then
        the step's end (outputs are stored, scalars recorded), then the packing of weights at the
        start of a run. All entries of a thread add up to its time.
        """
        return np.zeros((self.threads, self.num_instructions + 2, 2))

    def describe(self) -> str:
        """The instructions, one a line, with a rule where the threads wait for each other."""
        lines = []
        phase = 0
        for item, item_phase in zip(
            self._schedule.instructions, self._schedule.phases, strict=True
        ):
            if item_phase != phase:
                lines.append("---- barrier ----")
                phase = item_phase
            operands = ", ".join("-" if v is None else _shape_text(v) for v in item.inputs)
            results = ", ".join(_shape_text(v) for v in item.outputs)
            lines.append(f"{item.name}({operands}) -> {results}")
        return "\n".join(lines)


def _shape_text(value: Value) -> str:
    extents = ["batch" if value.batched and i == 0 else str(n) for i, n in enumerate(value.shape)]
    return f"[{', '.join(extents)}]"


@cache
def _dtype_name(dtype: np.dtype[Any]) -> str:
    return str(dtype)


class _Assembler:
    """Turns values and instructions into the tuples that C++ takes."""

    def __init__(self) -> None:
        self.buffers: list[NDArray[Any]] = []
        self._numbers: dict[int, int] = {}
        self._operands: dict[Value, Operand] = {}

    def operand(self, value: Value | None) -> Operand | None:
        if value is None:
            return None
        known = self._operands.get(value)
        if known is None:
            known = self._operands[value] = self._operand(value)
        return known

    def _operand(self, value: Value) -> Operand:
        base = value.base
        place, index, offset = _ARENA, 0, base.offset
        if base.source is not None:
            place, index, offset = _SOURCE, base.source, 0
        elif base.array is not None:
            place, index, offset = _BUFFER, self._buffer(base.array), 0
        return (place, index, offset, _dtype_name(value.dtype), value.shape, value.batched)

    def instruction(self, item: Instruction, barrier: bool) -> tuple[Any, ...]:
        code, _ = kernel(item.name)
        inputs = [self.operand(v) for v in item.inputs]
        outputs = [self.operand(v) for v in item.outputs]
        return (code, inputs, outputs, item.encoded_attrs(), barrier)

    def _buffer(self, array: NDArray[Any]) -> int:
        if id(array) not in self._numbers:
            self._numbers[id(array)] = len(self.buffers)
            self.buffers.append(array)
        return self._numbers[id(array)]


def _needs_two_rows(item: Instruction) -> bool:
    """Whether it takes the variance of columns that have one value a row."""
    x = item.inputs[0] if item.name == "batch_moments" else None
    return x is not None and x.batched and math.prod(x.shape[1:-1]) == 1


def _common_capacity(inputs: Sequence[Tensor]) -> int:
    if any(not tensor.symbolic or tensor.op is not None for tensor in inputs):
        raise ValueError("Program: inputs must be placeholders")
    capacities = {t.shape[0] for t in inputs if t.batched}
    if len(capacities) > 1:
        raise ValueError(f"Program: placeholders differ in capacity, {sorted(capacities)}")
    return capacities.pop() if capacities else 1


def _check_outputs(scalars: Sequence[Tensor], rows: Sequence[Tensor]) -> None:
    for tensor in scalars:
        if tensor.size != 1 or tensor.batched or tensor.dtype.kind != "f":
            raise ValueError(
                f"Program: a recorded output must be a scalar, got shape {tensor.shape}"
            )
    for tensor in rows:
        if not tensor.batched:
            raise ValueError(
                f"Program: an output of shape {tensor.shape} does not vary with the batch; "
                "every output must have one row for each row of the input"
            )
