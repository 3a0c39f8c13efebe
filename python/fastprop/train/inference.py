"""Programs that learn nothing: evaluation and prediction."""

from __future__ import annotations

from typing import Any, SupportsIndex

from numpy.typing import NDArray

from fastprop.data import Dataset
from fastprop.graph.program import RunResult
from fastprop.train.inputs import Reader, check_batch_size
from fastprop.train.objective import Objective
from fastprop.train.programs import Programs, evaluation_rows

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

    def evaluate(
        self, where: str, data: Dataset, batch_size: SupportsIndex | None = None
    ) -> dict[str, float]:
        """Loss and metrics on data that are checked already."""
        batch = evaluation_rows(len(data))
        if batch_size is not None:
            batch = check_batch_size(where, batch_size, len(data))
        traced = self._programs.evaluation(where, data, batch)
        order = len(data) if data.rows is None else data.rows
        result = _whole(traced.run(data.sources, order, batch, None, 0, self._seed))
        return self._objective.summarize(result.values, traced.columns, len(data), batch)

    def predict(
        self, where: str, x: Any, batch_size: SupportsIndex | None, finite: bool
    ) -> Array | tuple[Array, ...]:
        """The outputs for every row; a tuple where the model has several."""
        inputs, signature = self._reader.inputs(where, x, finite)
        rows = len(inputs[0])
        if batch_size is None:
            batch = evaluation_rows(rows)
        else:
            batch = check_batch_size(where, batch_size, rows)
        traced = self._programs.prediction(where, inputs, signature, batch)
        result = _whole(traced.run(inputs, rows, batch, None, 0, self._seed))
        return result.rows[0] if len(result.rows) == 1 else tuple(result.rows)


def _whole(result: RunResult) -> RunResult:
    if result.stopped == "interrupt":
        raise result.error or KeyboardInterrupt
    return result
