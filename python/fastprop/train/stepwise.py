"""Training by optimizers whose rule is Python: one run of the Program for each evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprop.graph.program import Copies, Program, RunResult
from fastprop.optim.python_step import NonFiniteLoss, PythonOptimizer
from fastprop.train.objective import Columns
from fastprop.train.runs import TracedProgram


class _Interrupted(BaseException):
    """A run of the Program was interrupted; not for the optimizer to handle."""


class StepwiseProgram(TracedProgram):
    """A Program of loss and gradients, and the optimizer that takes its steps between runs.

    Args:
        program: The Program.
        columns: What its recorded numbers are.
        optimizer: Takes the steps.
        fixed_threads: True if the user chose the number of threads.
    """

    in_one_call = False

    def __init__(
        self,
        program: Program,
        columns: Columns | None,
        optimizer: PythonOptimizer,
        *,
        fixed_threads: bool,
    ) -> None:
        super().__init__(program, columns, fixed_threads=fixed_threads)
        self._optimizer = optimizer
        self._gradients = optimizer.gradients

    def changed_arrays(self) -> list[NDArray[Any]]:
        return [*super().changed_arrays(), *self._optimizer.changed_arrays()]

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
        """Steps of one epoch, one by one; recorded is what each first evaluation gave."""
        assert step_scalars is not None  # the learning rates
        rows = np.arange(order) if isinstance(order, int) else order
        optimizer = self._optimizer
        optimizer.gradients = self._gradients
        values: list[NDArray[np.float64]] = []
        copying: list[float | None] = [None]  # of the first evaluation, before anything changes
        for begin in range(0, len(rows), batch_size):
            results: list[RunResult] = []
            batch = rows[begin : begin + batch_size]
            step = optimizer.steps = first_step + len(values)

            def evaluate(
                results: list[RunResult] = results,
                batch: NDArray[np.int64] = batch,
                step: int = step,
            ) -> float:
                first = step == first_step and not results
                result = super(StepwiseProgram, self).run(
                    sources, batch, batch_size, None, step, seed, timed=timed,
                    copies=copies if first else None,
                )  # fmt: skip
                if first:
                    copying[0] = result.copy_seconds
                results.append(result)
                if result.stopped == "interrupt":
                    raise _Interrupted
                return float(result.values[0, 0])

            try:
                optimizer.advance(evaluate, float(step_scalars[len(values), 0]))
            except _Interrupted:
                error = results[-1].error
                return RunResult(np.array(values), [], len(values), "interrupt", error)
            except NonFiniteLoss:
                values.append(results[-1].values[0])
                return RunResult(
                    np.array(values), [], len(values) - 1, "nonfinite",
                    copy_seconds=copying[0], began_well=len(results) > 1,
                )  # fmt: skip
            values.append(results[0].values[0])
        return RunResult(np.array(values), [], len(values), "done", copy_seconds=copying[0])
