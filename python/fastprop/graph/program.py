"""Program: a whole training step, lowered from symbolic Tensors to instructions over one arena."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprop import _core
from fastprop.graph import cost
from fastprop.graph.assemble import Assembler
from fastprop.graph.collector import collector_paused
from fastprop.graph.forms import Planned, Plans, form_of, numbered
from fastprop.graph.ir import BATCH, Instruction
from fastprop.graph.planning import Lowered, StepPlan, plan_step
from fastprop.graph.schedule import Schedule
from fastprop.graph.tensor import Tensor
from fastprop.graph.trace import Effect

_STOPS: tuple[Literal["done", "nonfinite", "interrupt"], ...] = ("done", "nonfinite", "interrupt")
_NONFINITE = 1

Outcome = tuple[NDArray[np.float64], list[Any], int, int, Any, float]
Copies = Sequence[tuple[NDArray[Any], NDArray[Any]]]


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
        copy_seconds: That the copies took; ``None`` if they were not made.
        began_well: The step that its loss broke off had a finite one first. Only steps that ask for
            their loss several times can.
    """

    values: NDArray[np.float64]
    rows: list[NDArray[Any]]
    steps_done: int
    stopped: Literal["done", "nonfinite", "interrupt"]
    error: BaseException | None = None
    seconds: float = 0.0
    copy_seconds: float | None = None
    began_well: bool = False

    @classmethod
    def of(cls, outcome: Outcome, seconds: float) -> RunResult:
        """What the C++ Program returned."""
        values, rows, steps, stop, error, copying = outcome
        if stop:
            values = values[: steps + (stop == _NONFINITE)]
        copy_seconds = None if copying < 0 else copying
        return cls(values, rows, steps, _STOPS[stop], error, seconds, copy_seconds)


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
        step_numbers: As given.
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
        plans: Plans[Planned] | None = None,
    ) -> None:
        self.capacity = _common_capacity(inputs)
        self.step_numbers = step_numbers
        _check_outputs(scalars, rows)
        self._check_loss = check_loss
        self._packed = packed
        self._wanted_threads = threads
        self.planned: Planned | None = None
        self._lower: Callable[[], Lowered]
        with collector_paused():
            self._lowered = Lowered.of(inputs, scalars, rows, effects)
            self.least_rows = self._lowered.least_rows
            if plans is None:
                self._make()
            else:
                self._make_in_form(plans, len(scalars))

    def _make_in_form(self, plans: Plans[Planned], scalars: int) -> None:
        """Make it as another one of the same form was planned, if there was one."""
        options = (self.capacity, self._wanted_threads, self._check_loss, self._packed, scalars)
        form = form_of(self._lowered.instructions, self._lowered.outputs, options)
        known = plans.find(form.key)
        if known is None or not self._take_over(known, form.arrays):
            self._make()
            self.planned = self.share(form.arrays)
            if self.planned is not None:
                plans.add(form.key, self.planned)

    @classmethod
    def of_plan(
        cls,
        planned: Planned,
        arrays: Sequence[NDArray[Any]],
        lower: Callable[[], Lowered],
    ) -> Program | None:
        """The Program of a step that was planned before, on other arrays.

        Args:
            planned: What :meth:`share` gave.
            arrays: As for :meth:`share`.
            lower: Gives the instructions, if somebody asks for them.

        Returns:
            ``None`` if two of the arrays share memory.
        """
        program = cls.__new__(cls)
        program.capacity, program.least_rows = planned.capacity, planned.least_rows
        program.step_numbers = planned.step_numbers
        program._check_loss, program._packed = planned.check_loss, planned.packed
        program._wanted_threads = planned.threads
        program._lower = lower
        return program if program._take_over(planned, arrays) else None

    def _take_over(self, planned: Planned, arrays: Sequence[NDArray[Any]]) -> bool:
        program = planned.program(arrays)
        if program is None:
            return False
        self._program, self.planned = program, planned
        self.arena_bytes, self.threads = planned.arena_bytes, planned.threads
        self._changed = planned.changed_arrays(arrays)
        return True

    def share(self, arrays: Sequence[NDArray[Any]]) -> Planned | None:
        """What others take over; ``None`` if this one's plan does not serve them.

        Args:
            arrays: What differs between them, in an order that they have in common.
        """
        found = numbered(self._buffers, self.changed_arrays(), arrays)
        template = self._program.template()
        if found is None or template is None:
            return None
        return Planned(
            template,
            *found,
            capacity=self.capacity,
            threads=self.threads,
            arena_bytes=self.arena_bytes,
            least_rows=self.least_rows,
            step_numbers=self.step_numbers,
            check_loss=self._check_loss,
            packed=self._packed,
        )

    def _make(self) -> None:
        self.threads = self._plan.threads
        self.arena_bytes = self._plan.arena_bytes + self.threads * self._plan.strips.scratch_bytes
        self._buffers = self._build()

    # What takes over the plan of another rarely wants its own.

    @cached_property
    def _lowered(self) -> Lowered:
        return self._lower()

    @cached_property
    def _plan(self) -> StepPlan:
        return plan_step(
            self._lowered,
            self.capacity,
            self._wanted_threads,
            packed=self._packed,
            check_loss=self._check_loss,
        )

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
        assembler = Assembler()
        before = [assembler.instruction(p, i == 0) for i, p in enumerate(self.prologue)]
        step = []
        phase = 0
        strips = self._plan.strips
        for i, item in enumerate(self._schedule.instructions):
            barrier = self._schedule.phases[i] != phase
            by_chunks = strips.chunks > 0 and item.key == BATCH
            strip = self._schedule.strips[i] if by_chunks else -1
            step.append(assembler.instruction(item, barrier, by_chunks, strip))
            phase = self._schedule.phases[i]
        scalars = [assembler.operand(v) for v in self._lowered.recorded]
        rows = [assembler.operand(v) for v in self._lowered.stored]
        self._program = _core.Program(
            self.arena_bytes, self.capacity, assembler.buffers, before, step, scalars, rows,
            self._schedule.guard, strips.chunks, strips.scratch_bytes,
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
        copies: Copies | None = None,
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
            copies: Pairs (from, to) of arrays of equal size, copied in the first step, behind the
                look at its loss and before its updates; not if that loss is not finite.

        Raises:
            ValueError: Something does not fit; raised before any work.
        """
        self._check_run(order, epoch_rows, batch_size, step_scalars)
        started = time.perf_counter()
        outcome = self._program.run(
            sources, order, batch_size, step_scalars, first_step, seed, self.threads, profile,
            epoch_rows, copies,
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
        copies: Copies | None = None,
    ) -> None:
        """Let a pool do what :meth:`run` does, on one of its threads.

        The pool gives back `tag`, what :meth:`RunResult.of` takes, and the seconds that it took.
        """
        self._check_run(order, epoch_rows, batch_size, step_scalars)
        pool.submit(
            self._program, sources, order, batch_size, step_scalars, first_step, seed, epoch_rows,
            tag, copies,
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
        if self.step_numbers and (
            step_scalars is None or step_scalars.shape[-1] != self.step_numbers
        ):
            got = "none" if step_scalars is None else f"shape {step_scalars.shape}"
            raise ValueError(
                f"Program.run: step_scalars: expects {self.step_numbers} numbers a step, got {got}"
            )
        count = epoch_rows or (order if isinstance(order, int) else len(order))
        if self.least_rows > 1 and (count % batch_size or batch_size) < self.least_rows:
            raise ValueError(
                f"Program.run: {count} rows in batches of {batch_size} leave a batch of 1, which "
                "has no variance"
            )

    def changed_arrays(self) -> list[NDArray[Any]]:
        """The memory outside the arena that a run writes: parameters and optimizer state."""
        return list(self._changed)

    @cached_property
    def _changed(self) -> list[NDArray[Any]]:
        written = [v.array for item in self._lowered.instructions for v in item.writes()]
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
        """The instructions, one a line, with a rule where the threads wait for each other.

        Those of a strip, which a thread runs on one chunk of the batch after the other, are
        indented under a line that says so.
        """
        from fastprop.graph.describe import describe

        return describe(self._plan)


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
