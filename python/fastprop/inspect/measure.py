"""Runs some steps with the stopwatch on, and leaves no trace of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastprop import _core
from fastprop.inspect.labels import Labels
from fastprop.inspect.limit import measure_limit, step_flops
from fastprop.inspect.report import InstructionTime, Limit, Memory, Report, Threads
from fastprop.inspect.turns import Turn, Turns
from fastprop.registry import type_name
from fastprop.train.errors import NonFiniteError

if TYPE_CHECKING:
    from fastprop.data import Dataset
    from fastprop.graph.program import Program, RunResult
    from fastprop.optim import Optimizer
    from fastprop.train.runs import TracedProgram
    from fastprop.train.trainer import Trainer

_RUNS = 7  # that are measured, at most; the median one is reported
# Of all of them, where the user leaves it open. Runs of a few milliseconds would not do: when
# threads wake up, Linux may leave two of them on one core for some 10 ms.
_LEAST_STEPS, _SECONDS = 5, 0.5

Profile = NDArray[np.float64]


class StepRunner:
    """Runs training steps on a Dataset as ``fit`` would, but for the short last batch.

    Args:
        where: Who asks; starts the messages.
        trainer: Whose model, optimizer and seed.
        traced: Its training Program.
        data: Rows to train on.
        batch: Rows of a step.
    """

    def __init__(
        self, where: str, trainer: Trainer, traced: TracedProgram, data: Dataset, batch: int
    ) -> None:
        self._where = where
        self._optimizer: Optimizer = trainer.optimizer
        self._seed = trainer.seed
        self._traced = traced
        self._sources = data.sources
        self._order = data.order(shuffle=True, seed=trainer.seed)
        self._rows = len(data) - len(data) % batch
        self._batch = batch

    @property
    def program(self) -> Program:
        return self._traced.program

    def settle(self) -> float:
        """Let the number of threads be chosen, as ``fit`` does; seconds of a step on them."""
        chooser = self._traced.chooser
        for _ in range(8):
            if not chooser.next()[1]:
                break
            steps = chooser.look_steps()
            self._run(steps)
        self._run(chooser.look_steps())  # the first run started threads and touched memory
        if chooser.step_seconds is None:
            raise RuntimeError(f"{self._where}: no step was done")
        return chooser.step_seconds

    def _run(self, steps: int) -> None:
        self._check(self._traced.run(*self._arguments(steps), **self._options(steps), timed=True))

    def profile(self, steps: int) -> Profile:
        """Seconds of a step, ``[threads, entries, 2]``; the last entry is of the whole run."""
        program = self.program
        found = program.empty_profile()
        self._check(program.run(*self._arguments(steps), **self._options(steps), profile=found))
        found *= 1e-9
        found[:, :-1] /= steps
        return found

    def _arguments(self, steps: int) -> tuple[list[NDArray[Any]], NDArray[np.int64]]:
        """Sources, and rows in the order in which epochs would visit them, full batches only."""
        count = steps * self._batch
        epochs = -(-count // self._rows)
        order = np.concatenate([self._order(e + 1)[: self._rows] for e in range(epochs)])
        return self._sources, order[:count]

    def _options(self, steps: int) -> dict[str, Any]:
        first = self._optimizer.steps
        return {
            "batch_size": self._batch,
            "step_scalars": self._optimizer.step_scalars(first, steps),
            "first_step": first,
            "seed": self._seed,
        }

    def _check(self, result: RunResult) -> None:
        if result.stopped == "interrupt":
            raise result.error or KeyboardInterrupt
        if result.stopped == "nonfinite":
            loss, step = float(result.values[-1, 0]), result.steps_done + 1
            raise NonFiniteError(
                f"{self._where}: the loss is {loss} in step {step} from here; "
                "the model is as before the call",
                1,
                step,
                loss,
            )


@contextmanager
def restored(program: Program) -> Iterator[None]:
    """Whatever runs of the Program change inside the block is put back after it."""
    arrays = program.changed_arrays()
    saved = [array.copy() for array in arrays]
    try:
        yield
    finally:
        for array, before in zip(arrays, saved, strict=True):
            np.copyto(array, before)


def measure(
    where: str,
    trainer: Trainer,
    traced: TracedProgram,
    data: Dataset,
    batch: int,
    steps: int | None,
) -> Report:
    """The report of a training step; see ``Trainer.report``."""
    program = traced.program
    dtype = str(trainer.optimizer.parameters[0].dtype)
    runner = StepRunner(where, trainer, traced, data, batch)
    with restored(program):
        step_seconds = runner.settle()
        total = steps or max(_LEAST_STEPS, int(_SECONDS / step_seconds))
        runs = min(_RUNS, total)
        count = -(-total // runs)
        turns = Turns(program.threads, patience=_SECONDS)

        def limit() -> Limit:
            return turns.take("limit", lambda: measure_limit(program, batch, dtype))

        # Right before and after the steps, because a shared machine has slow spells.
        before = limit()
        profiles = [turns.take("steps", lambda: runner.profile(count)) for _ in range(runs)]
        fastest = before.faster(limit())
    return _report(trainer, traced, profiles, fastest, turns.log, batch, count, dtype)


def _report(
    trainer: Trainer,
    traced: TracedProgram,
    profiles: list[Profile],
    limit: Limit,
    log: list[Turn],
    batch: int,
    steps: int,
    dtype: str,
) -> Report:
    program, optimizer = traced.program, trainer.optimizer
    profiles = sorted(profiles, key=_step_seconds)
    profile = profiles[(len(profiles) - 1) // 2]
    labels = Labels(program, trainer.model)
    work, wait = profile[..., 0], profile[..., 1]
    flops = step_flops(program, batch)
    items = tuple(
        InstructionTime(
            item.name, *label, flops[i], tuple(work[:, i].tolist()), tuple(wait[:, i].tolist())
        )
        for i, (item, label) in enumerate(zip(program.instructions, labels.all, strict=True))
    )
    state = sum(a.nbytes for arrays in optimizer.state.values() for a in arrays)
    return Report(
        title=f"{type_name(trainer.model)} trained by {type_name(optimizer)}",
        dtype=dtype,
        batch_size=batch,
        steps=steps,
        run_step_seconds=tuple(_step_seconds(p) for p in profiles),
        instructions=items,
        layers=labels.layers,
        end_seconds=tuple(work[:, -2].tolist()),
        end_wait_seconds=tuple(wait[:, -2].tolist()),
        run_start_seconds=tuple(profile[:, -1].sum(axis=-1).tolist()),
        limit=limit,
        threads=Threads(
            program.threads,
            _core.available_threads(),
            trainer.threads is not None,
            program.predicted_seconds(),
            traced.chooser.tried,
        ),
        memory=Memory(
            program.arena_bytes,
            sum(p.data.nbytes for p in optimizer.parameters),
            state,
            peak_resident_bytes(),
        ),
        barriers=program.barriers,
        parameters=sum(p.size for p in optimizer.parameters),
        turns=tuple(replace(turn, value=_seconds(turn.value)) for turn in log),
    )


def _seconds(found: Profile | Limit) -> float:
    return found.seconds if isinstance(found, Limit) else _step_seconds(found)


def _step_seconds(profile: Profile) -> float:
    return float(profile[:, :-1].sum()) / len(profile)


def peak_resident_bytes() -> int | None:
    """The most memory that this process ever held; ``None`` where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
