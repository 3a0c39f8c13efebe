"""Training as a generator of runs: whoever drives it does them, one training or many at a time."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, ClassVar, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastprop import _core
from fastprop.graph.forms import Planned, Plans
from fastprop.graph.program import Copies, Program, RunResult
from fastprop.graph.threads import ThreadChooser
from fastprop.train.objective import Columns

T = TypeVar("T")


class Making(NamedTuple):
    """How Programs are made.

    Attributes:
        threads: Of each; ``None`` lets it choose.
        plans: Where they find what those of the same form were planned like.
    """

    threads: int | None
    plans: Plans[Planned] | None = None


class TracedProgram:
    """A Program, what its recorded numbers are, and the threads that it runs on.

    Args:
        program: The Program.
        columns: What its recorded numbers are.
        fixed_threads: True if the user chose the number of threads.

    Attributes:
        in_one_call: True if a run is one call of C++, whatever its steps.
    """

    in_one_call: ClassVar[bool] = True

    def __init__(
        self,
        program: Program,
        columns: Columns | None = None,
        *,
        fixed_threads: bool = False,
    ) -> None:
        self.program = program
        self.columns = columns or Columns(False, ())
        self.chooser = ThreadChooser(program.threads, fixed=fixed_threads)
        if program.planned is not None and program.planned.step_seconds is not None:
            self.chooser.know(program.planned.step_seconds)

    def changed_arrays(self) -> list[NDArray[Any]]:
        """All memory outside the arena that a run overwrites."""
        return self.program.changed_arrays()

    def run(
        self,
        sources: Sequence[NDArray[Any]],
        order: NDArray[np.int64] | int,
        batch_size: int,
        step_scalars: NDArray[np.float64] | None,
        first_step: int,
        seed: int,
        *,
        epoch_rows: int = 0,
        copies: Copies | None = None,
        timed: bool = False,
    ) -> RunResult:
        """:meth:`ThreadChooser.run` of the Program."""
        args = (sources, order, batch_size, step_scalars, first_step, seed)
        return self.chooser.run(
            self.program, *args, timed=timed, epoch_rows=epoch_rows, copies=copies
        )


class Run(NamedTuple):
    """A run of a Program that is still to be done; see :meth:`Program.run`."""

    traced: TracedProgram
    sources: Sequence[NDArray[Any]]
    order: NDArray[np.int64] | int
    batch_size: int
    step_scalars: NDArray[np.float64] | None
    first_step: int
    seed: int
    epoch_rows: int = 0
    copies: Copies | None = None
    timed: bool = True

    def execute(self) -> RunResult:
        """Do it here and now."""
        return self.traced.run(
            self.sources,
            self.order,
            self.batch_size,
            self.step_scalars,
            self.first_step,
            self.seed,
            epoch_rows=self.epoch_rows,
            copies=self.copies,
            timed=self.timed,
        )

    def submit(self, pool: _core.RunPool, tag: object) -> None:
        """Have it done by a pool; :meth:`ended` takes what that gives back."""
        self.traced.program.submit(
            pool,
            tag,
            self.sources,
            self.order,
            self.batch_size,
            self.step_scalars,
            self.first_step,
            self.seed,
            self.epoch_rows,
            self.copies,
        )

    def ended(self, outcome: Any, seconds: float) -> RunResult:
        """The result of a run that a pool has done."""
        result = RunResult.of(outcome, seconds)
        chooser, planned = self.traced.chooser, self.traced.program.planned
        chooser.took(1, result.steps_done, seconds)
        if planned is not None:
            planned.step_seconds = chooser.step_seconds
        return result


Runs: TypeAlias = Generator[Run, RunResult, T]
"""Yields runs, is sent their results, and returns what comes of them."""


def complete(runs: Runs[T]) -> T:
    """Do the runs one after the other."""
    try:
        run = next(runs)
        while True:
            run = runs.send(run.execute())
    except StopIteration as end:
        value: T = end.value
        return value
    finally:
        runs.close()
