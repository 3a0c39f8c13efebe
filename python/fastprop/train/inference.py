"""Programs that learn nothing: evaluation and prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from fastprop import _core
from fastprop.data.base import BaseDataset
from fastprop.data.dataset import Dataset
from fastprop.graph.changes import CHANGES
from fastprop.graph.program import RunResult
from fastprop.train.inputs import Reader, check_batch_size
from fastprop.train.objective import Objective
from fastprop.train.programs import Programs, evaluation_rows, single_rows
from fastprop.train.runs import Making, Run, Runs, TracedProgram, complete

if TYPE_CHECKING:
    from fastprop.train.streams import StreamData

Array = NDArray[Any]


class Inference:
    """Runs a model as it is.

    Args:
        objective: Its loss and metrics.
        programs: Its Programs.
        reader: Reads the user's arrays.
        seed: Of everything random in the model.
    """

    def __init__(self, objective: Objective, programs: Programs, reader: Reader, seed: int) -> None:
        self._objective = objective
        self._programs = programs
        self._reader = reader
        self._seed = seed
        self._predictor = _core.Predictor(CHANGES, seed)
        self._begun: tuple[_core.Form | None, int] = (None, -1)

    def evaluate(
        self, where: str, data: Dataset | StreamData, batch_size: SupportsIndex | None = None
    ) -> dict[str, float]:
        """Loss and metrics on data that are checked already."""
        return complete(self.evaluation(where, data, batch_size))

    def evaluation(
        self,
        where: str,
        data: Dataset | StreamData,
        batch_size: SupportsIndex | None = None,
        *,
        making: Making | None = None,
    ) -> Runs[dict[str, float]]:
        """What :meth:`evaluate` takes; `making` tells how Programs are made, if not as usual."""
        batch = self._batch(where, batch_size, data.count)
        traced = self._programs.evaluation(where, data, batch, making=making)
        if not isinstance(data, Dataset):
            from fastprop.train.streams import run_all

            result, rows = run_all(traced, data, batch, self._seed)
        else:
            order = len(data) if data.rows is None else data.rows
            run = Run(traced, data.sources, order, batch, None, 0, self._seed, timed=False)
            result = _whole((yield run))
            rows = len(data)
        return self._objective.summarize(result.values, traced.columns, rows, batch)

    def predict(
        self, where: str, x: Any, batch_size: SupportsIndex | None, finite: bool
    ) -> Array | tuple[Array, ...]:
        """The outputs for every row; a tuple where the model has several."""
        if batch_size is None and type(x) is np.ndarray:
            found = self._predictor.predict(x, bool(finite))
            if found is not None:
                return found
        if type(x) is not np.ndarray and isinstance(x, BaseDataset):  # a row takes microseconds
            from fastprop.data.array_dataset import ArrayDataset

            if not isinstance(x, ArrayDataset) or x.transforms:
                return self._predict_stream(where, x, batch_size, finite)
            x = x.x
        inputs, signature = self._reader.inputs(where, x, finite)
        rows = len(inputs[0])
        batch = self._batch(where, batch_size, rows)
        traced = self._programs.prediction(where, inputs, signature, batch)
        result = _whole(traced.run(inputs, rows, batch, None, 0, self._seed))
        if batch_size is None and type(x) is np.ndarray:
            self._remember(rows, traced)
        return _outputs(result)

    def _remember(self, rows: int, traced: TracedProgram) -> None:
        """Have C++ do the next call with an array like the one that was predicted."""
        form = self._reader.inputs_form
        if form is None or not self._programs.counted or traced.chooser.choosing:
            return
        begun = (form, CHANGES.latest)
        if begun != self._begun:
            self._predictor.begin(form, None)
            self._begun = begun
        least, most = single_rows(rows)
        if rows <= most:
            self._predictor.add(least, most, traced.program)

    def _predict_stream(
        self, where: str, dataset: Any, batch_size: SupportsIndex | None, finite: bool
    ) -> Array | tuple[Array, ...]:
        from fastprop.train.streams import open_inputs, run_all

        data = open_inputs(
            where, dataset, self._reader.inputs, self._programs, self._objective, finite
        )
        batch = self._batch(where, batch_size, data.count)
        traced = self._programs.prediction(where, data.inputs, data.signature, batch)
        return _outputs(run_all(traced, data, batch, self._seed)[0])

    def _batch(self, where: str, batch_size: SupportsIndex | None, rows: int | None) -> int:
        if batch_size is None:
            return evaluation_rows(rows)
        return check_batch_size(where, batch_size, rows)


def _outputs(result: RunResult) -> Array | tuple[Array, ...]:
    return result.rows[0] if len(result.rows) == 1 else tuple(result.rows)


def _whole(result: RunResult) -> RunResult:
    if result.stopped == "interrupt":
        raise result.error or KeyboardInterrupt
    return result
