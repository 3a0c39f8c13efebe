"""Single steps: ``Trainer.train_step``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from fastprop import _core
from fastprop.data.dataset import Dataset
from fastprop.graph import anomaly
from fastprop.graph.changes import CHANGES
from fastprop.train.errors import NonFiniteError
from fastprop.train.inputs import Reader
from fastprop.train.programs import Programs
from fastprop.train.runs import TracedProgram

if TYPE_CHECKING:
    from fastprop.optim import Optimizer
    from fastprop.train.trainer import Trainer

_WHERE = "Trainer.train_step"


class SingleSteps:
    """Steps of a Trainer, each on the arrays of one call.

    It holds no Trainer, which so goes away with its last user.

    Args:
        optimizer: Of the Trainer.
        seed: Of whatever is random.
        reader: Reads the user's arrays.
        programs: The Trainer's Programs.
    """

    def __init__(self, optimizer: Optimizer, seed: int, reader: Reader, programs: Programs) -> None:
        self._optimizer = optimizer
        self._seed = seed
        self._reader = reader
        self._programs = programs
        self._stepper = _core.Stepper(CHANGES, seed)
        self._begun: Any = None

    def step(self, trainer: Trainer, x: Any, y: Any, sample_weight: Any) -> float:
        """See :meth:`Trainer.train_step`."""
        plain = sample_weight is None and type(x) is np.ndarray
        if plain:
            loss: float | None = self._stepper.step(trainer, x, y)
            if loss is not None:
                if not math.isfinite(loss):
                    self._fail(trainer, self._reader.dataset(_WHERE, x, y, None, True), loss)
                return loss
        optimizer = self._optimizer
        data = self._reader.dataset(_WHERE, x, y, sample_weight, True)
        rows = len(data)
        traced = self._programs.training(_WHERE, data, rows, several=False)
        trainer.program = traced.program
        done = optimizer.steps
        numbers = optimizer.step_scalars(done, 1)
        result = traced.run(data.sources, rows, rows, numbers, done, self._seed)
        optimizer.steps = done + result.steps_done
        _core.mark_changed(optimizer.parameters)
        if result.stopped == "interrupt":
            raise result.error or KeyboardInterrupt
        loss = result.values.item(0)
        if result.stopped != "done":
            self._fail(trainer, data, loss)
        if plain:
            self._remember(rows, traced)
        return loss

    def _remember(self, rows: int, traced: TracedProgram) -> None:
        """Have C++ do the next step on arrays that look like these."""
        forms = self._reader.dataset_forms
        counted = self._programs.counted and traced.in_one_call
        if forms is None or not counted or traced.chooser.choosing:
            return
        look = self._optimizer.attributes(), self._optimizer.slots
        begun = (forms, CHANGES.latest, look)
        if begun != self._begun:
            self._stepper.begin(*forms)
            self._stepper.steps_of(self._optimizer, *look)
            self._begun = begun
        self._stepper.add(rows, rows, traced.program)

    def _fail(self, trainer: Trainer, data: Dataset, loss: float) -> NoReturn:
        cause = None
        if anomaly.active() is not None:
            cause = self._programs.explain(data, data.sources, np.arange(len(data)), self._seed)
        why = "" if cause is None else f". {cause}"
        raise NonFiniteError(
            f"{_WHERE}: the loss is {loss}; the parameters are as before{why}",
            trainer.epoch + 1,
            1,
            loss,
        ) from cause
