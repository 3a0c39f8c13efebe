"""Layers that learn from the data before training: :class:`fastprop.nn.Standardize`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastprop.data import Dataset
from fastprop.graph.op import grad_mode
from fastprop.graph.program import Program
from fastprop.graph.tensor import Tensor
from fastprop.graph.trace import tracing
from fastprop.nn import Module, Standardize
from fastprop.nn.standardize import capture, shapes_only
from fastprop.train.mixup import Mixup
from fastprop.train.programs import Programs
from fastprop.train.runs import Making, TracedProgram
from fastprop.train.steps import Look, mode, placeholders

if TYPE_CHECKING:
    from fastprop.train.streams import StreamData

_ROWS_AT_ONCE = 1 << 14
_BATCH = 512


def trace_unadapted(
    programs: Programs,
    where: str,
    data: Dataset | StreamData,
    batch: int,
    rows: int | None,
    mix: Mixup | None,
    *,
    making: Making | None = None,
) -> TracedProgram:
    """The Program of ``fit``, before :func:`adapt_layers`: after both, nothing can be refused.

    Raises:
        ValueError: The last batch is too short for what the step computes, or as for ``fit``.
    """
    if rows is not None:
        programs.optimizer.check_epoch(where, rows, batch)
    with shapes_only():
        several = rows is None or rows > batch
        traced = programs.training(where, data, batch, several=several, mix=mix, making=making)
    if rows is not None and (rows % batch or batch) < traced.program.least_rows:
        raise ValueError(
            f"{where}: {rows} rows in batches of {batch} leave a last batch of 1, which has no "
            "variance for BatchNorm; take another batch_size, or drop_last=True"
        )
    return traced


def adapt_layers(where: str, model: Module, data: Dataset | StreamData) -> None:
    """Adapt every Standardize that is not, to what reaches it of the data, in their order.

    Raises:
        ValueError: The data are a stream, which is not read once more for this.
    """
    waiting = [m for m in model.modules() if isinstance(m, Standardize) and not m.adapted]
    if waiting and not isinstance(data, Dataset):
        raise ValueError(
            f"{where}: the model has a Standardize that has not learned its statistics, and the "
            "data are a stream; call its adapt(x) with some of the rows first"
        )
    for _ in waiting:
        assert isinstance(data, Dataset)
        inputs = placeholders(Look.of(data.inputs).inputs, _BATCH, "x")
        with tracing(), grad_mode(False), mode(model, training=False), capture() as found:
            model(*inputs)
        if found.layer is None:
            return  # those that are left are not used
        found.layer.adapt_chunks(_chunks(found.input, inputs, data))


def _chunks(x: Tensor, inputs: list[Tensor], data: Dataset) -> Iterator[NDArray[Any]]:
    """The values that a symbolic Tensor takes on the data, some rows at a time."""
    source = next((i for i, placeholder in enumerate(inputs) if placeholder is x), None)
    program = Program(inputs, rows=[x]) if source is None else None
    # Each row once, whatever a sampler draws.
    rows = np.arange(len(data.inputs[0])) if data.rows is None else data.rows
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = np.ascontiguousarray(rows[start : start + _ROWS_AT_ONCE])
        if program is None:
            assert source is not None
            yield data.inputs[source][part]
        else:
            yield program.run(data.inputs, part, _BATCH).rows[0]
