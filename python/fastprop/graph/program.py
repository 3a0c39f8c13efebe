"""Program: a whole training step, lowered from symbolic Tensors to instructions over one arena."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import cache, cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprop import _core
from fastprop.graph import cost
from fastprop.graph.arrange import on_one_thread, with_barriers
from fastprop.graph.forms import Planned, Plans, form_of
from fastprop.graph.fuse import fuse
from fastprop.graph.ir import Instruction, Value, kernel
from fastprop.graph.lower import Lowering
from fastprop.graph.memory import plan
from fastprop.graph.packing import pack
from fastprop.graph.schedule import Schedule, fewest_barriers, step
from fastprop.graph.tensor import Tensor
from fastprop.graph.trace import Effect

_ARENA, _BUFFER, _SOURCE = 1, 2, 3
_STOPS: tuple[Literal["done", "nonfinite", "interrupt"], ...] = ("done", "nonfinite", "interrupt")
_NONFINITE = 1

Operand = tuple[int, int, int, str, tuple[int, ...], bool]
Outcome = tuple[NDArray[np.float64], list[Any], int, int, Any]


class RunResult(NamedTuple):
    """What a run did.

    Attributes:
        values: The recorded outputs, float64 [steps, scalars]: those of every complete step, and
            the loss of the one that did not become complete because of it.
        rows: The per-row outputs, [rows, …] each.
        steps_done: Complete steps.
        stopped: Why it ended.
        error: The exception that a signal handler raised, if it was interrupted.
        seconds: Wall time.
    """

    values: NDArray[np.float64]
    rows: list[NDArray[Any]]
    steps_done: int
    stopped: Literal["done", "nonfinite", "interrupt"]
    error: BaseException | None = None
    seconds: float = 0.0

    @classmethod
    def of(cls, outcome: Outcome, seconds: float) -> RunResult:
        """What the C++ Program returned."""
        values, rows, steps, stop, error = outcome
        if stop:
            values = values[: steps + (stop == _NONFINITE)]
        return cls(values, rows, steps, _STOPS[stop], error, seconds)


class _Plan(NamedTuple):
    """How a step is done."""

    prologue: list[Instruction]
    schedule: Schedule
    arena_bytes: int
    threads: int


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
        plans: Where Programs of the same form find and leave what they were planned like.

    Attributes:
        capacity: Largest number of rows in a step.
        threads: Size of the team.
        arena_bytes: Memory for all values, packed weights included.
        num_instructions: Instructions in a step.
        barriers: Times that the threads wait for each other in a step; 0 if it was planned for one.
        least_rows: Smallest number of rows in a step: 2 for the variance of a batch, else 1.
        planned: What it shares with others of its form, if it does.

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
        plans: Plans | None = None,
    ) -> None:
        self.capacity = _common_capacity(inputs)
        self._step_numbers = step_numbers
        _check_outputs(scalars, rows)

        lowered = Lowering(inputs, [*scalars, *rows], effects)
        self._lowered = lowered.instructions
        self._recorded = [lowered.value(t) for t in scalars]
        self._stored = [lowered.value(t) for t in rows]
        self._check_loss = check_loss
        self.least_rows = 2 if any(map(_needs_two_rows, lowered.instructions)) else 1
        self._packed = packed
        self._threads = threads
        self.planned: Planned | None = None
        if plans is not None:
            options = (self.capacity, threads, check_loss, packed, len(scalars))
            form = form_of(self._lowered, [*self._recorded, *self._stored], options)
            known = self.planned = plans.find(form)
            if known is not None:
                self.arena_bytes, self.threads = known.arena_bytes, known.threads
                self._program = known.program.rebound([form.arrays[i] for i in known.buffers])
                return
        self.arena_bytes, self.threads = self._plan.arena_bytes, self._plan.threads
        buffers = self._build()
        if plans is not None:
            self.planned = plans.add(form, self._program, buffers, self.arena_bytes, self.threads)

    @cached_property
    def _plan(self) -> _Plan:
        """Made when it is wanted: what takes over the plan of another rarely wants its own."""
        recorded, outputs = self._recorded, [*self._recorded, *self._stored]
        items = fuse(self._lowered, outputs)
        guarded = recorded[0] if self._check_loss else None
        # Recorded scalars keep a place of their own: rank 0 reads them while others go on.
        for value in recorded:
            value.base.persistent = value.base.in_arena
        persistent = list(dict.fromkeys(v.base for v in recorded if v.base.in_arena))
        threads = self._threads or _core.available_threads()
        if threads > 1:
            prologue, packed = pack(items, self.capacity, threads, weights=self._packed)
            given = step(packed, guarded)
            order = fewest_barriers(given)
            threads = self._threads or cost.choose_threads(order, self.capacity)
        if threads > 1:
            order = with_barriers(given, order, outputs, self.capacity, threads)
        else:
            # One thread alone packs blocks as it goes: in cache, and with no copy to keep up to
            # date. Steps took 5 to 7 % less so; on two threads, which would pack all twice, 0 to
            # 3 % more.
            prologue, order = [], on_one_thread(step(items, guarded), self.capacity)
        persistent = [v for p in prologue for v in p.outputs] + persistent
        return _Plan(prologue, order, plan(order, persistent, outputs), threads)

    @property
    def _schedule(self) -> Schedule:
        return self._plan.schedule

    @property
    def prologue(self) -> list[Instruction]:
        """The instructions that pack weights at the start of a run."""
        return self._plan.prologue

    @property
    def instructions(self) -> list[Instruction]:
        """The instructions of a step, in order."""
        return self._schedule.instructions

    @property
    def num_instructions(self) -> int:
        return len(self._schedule.instructions)

    @property
    def barriers(self) -> int:
        return self._schedule.barriers if self._plan.threads > 1 else 0

    def _build(self) -> list[NDArray[Any]]:
        """Make the C++ Program; returns the arrays that it works on."""
        assembler = _Assembler()
        before = [assembler.instruction(p, i == 0) for i, p in enumerate(self.prologue)]
        step = []
        phase = 0
        for item, item_phase in zip(
            self._schedule.instructions, self._schedule.phases, strict=True
        ):
            step.append(assembler.instruction(item, item_phase != phase))
            phase = item_phase
        scalars = [assembler.operand(v) for v in self._recorded]
        rows = [assembler.operand(v) for v in self._stored]
        self._program = _core.Program(
            self.arena_bytes, self.capacity, assembler.buffers, before, step, scalars, rows,
            self._schedule.guard,
        )  # fmt: skip
        return assembler.buffers

    def run(
        self,
        sources: Sequence[NDArray[Any]],
        order: NDArray[np.int64] | int,
        batch_size: int,
        step_scalars: NDArray[np.float64] | None = None,
        first_step: int = 0,
        seed: int = 0,
        profile: NDArray[np.float64] | None = None,
        epoch_rows: int = 0,
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
            epoch_rows: If not 0, `order` is several epochs of so many rows, each of which ends
                with a batch of its own, short or not.

        Raises:
            ValueError: Something does not fit; raised before any work.
        """
        self._check_run(order, epoch_rows, batch_size, step_scalars)
        started = time.perf_counter()
        outcome = self._program.run(
            sources, order, batch_size, step_scalars, first_step, seed, self.threads, profile,
            epoch_rows,
        )  # fmt: skip
        return RunResult.of(outcome, time.perf_counter() - started)

    def submit(
        self,
        pool: _core.RunPool,
        tag: object,
        sources: Sequence[NDArray[Any]],
        order: NDArray[np.int64] | int,
        batch_size: int,
        step_scalars: NDArray[np.float64] | None = None,
        first_step: int = 0,
        seed: int = 0,
        epoch_rows: int = 0,
    ) -> None:
        """Let a pool do what :meth:`run` does, on one of its threads.

        The pool gives back `tag`, what :meth:`RunResult.of` takes, and the seconds that it took.
        """
        self._check_run(order, epoch_rows, batch_size, step_scalars)
        pool.submit(
            self._program, sources, order, batch_size, step_scalars, first_step, seed, epoch_rows,
            tag,
        )  # fmt: skip

    def latest(self) -> tuple[int, int]:
        """How many runs have come to an end, and the complete steps of the latest one."""
        return self._program.latest()

    def _check_run(
        self,
        order: NDArray[np.int64] | int,
        epoch_rows: int,
        batch_size: int,
        step_scalars: NDArray[np.float64] | None,
    ) -> None:
        if self._step_numbers and (
            step_scalars is None or step_scalars.shape[-1] != self._step_numbers
        ):
            got = "none" if step_scalars is None else f"shape {step_scalars.shape}"
            raise ValueError(
                f"Program.run: step_scalars: wants {self._step_numbers} numbers a step, got {got}"
            )
        count = epoch_rows or (order if isinstance(order, int) else len(order))
        if self.least_rows > 1 and (count % batch_size or batch_size) < self.least_rows:
            raise ValueError(
                f"Program.run: {count} rows in batches of {batch_size} leave a batch of 1, which "
                "has no variance"
            )

    def changed_arrays(self) -> list[NDArray[Any]]:
        """The memory outside the arena that a run writes: parameters and optimizer state."""
        written = [v.array for item in self._lowered for v in item.writes()]
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
            if item_phase != phase and self._plan.threads > 1:
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
        return (code, inputs, outputs, item.encoded_attrs(), barrier, item.when)

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
