"""Datasets that are read while a model learns from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastprop.data import ArrayDataset, Dataset, StreamDataset, split
from fastprop.data.base import BaseDataset
from fastprop.data.batch import Batch
from fastprop.data.prefetch import Pool, Prefetch
from fastprop.data.reading import Reading
from fastprop.data.windows import Buffer, Convert, Window
from fastprop.graph.program import RunResult
from fastprop.registry import type_name
from fastprop.train.conversion import Conversion
from fastprop.train.feed import Chunk

if TYPE_CHECKING:
    from fastprop.train.objective import Objective
    from fastprop.train.programs import Programs
    from fastprop.train.runs import TracedProgram

Array = NDArray[Any]


class StreamData:
    """A dataset that is read while it is used, and some of its rows to trace Programs for.

    Args:
        where: Who reads; starts the messages.
        dataset: The dataset.
        form: Some of its rows as a Program takes them.
        conversion: What makes rows like them.

    Attributes:
        inputs: One array for each argument of ``forward``.
        targets: One array for each target of the loss.
        weight: One number a row, or ``None``.
        signature: A number for the dtypes and row shapes.
        count: Rows of an epoch; ``None`` where that is not known.
    """

    def __init__(
        self,
        where: str,
        dataset: ArrayDataset | StreamDataset,
        form: Dataset,
        conversion: Convert,
    ) -> None:
        self.where = where
        self.dataset = dataset
        self.conversion = conversion
        self.inputs, self.targets, self.weight = form.inputs, form.targets, form.weight
        self.signature = form.signature

    @property
    def count(self) -> int | None:
        return self.dataset.rows

    def check_fit(self, where: str, epochs: int | None, sampler: Any = None) -> None:
        """Rows that can be read once last for one epoch, and have no numbers to draw.

        Raises:
            ValueError: There would be several epochs; there is a sampler.
        """
        dataset = self.dataset
        several = epochs is None or epochs > 1
        if isinstance(dataset, StreamDataset) and not dataset.repeatable and several:
            count = "as many epochs as there is time for" if epochs is None else f"{epochs} epochs"
            raise ValueError(
                f"{where}: {count} of an iterator, which gives its rows once; give a list, or "
                "from_generator(function), or epochs=1"
            )
        if sampler is not None:
            raise ValueError(
                f"{where}: sampler draws rows by their numbers, which needs all of them in memory; "
                "for a dataset that is read while training give class_weight, or sample weights "
                "with the rows"
            )

    def weighed(self, where: str, class_weight: Any, programs: Programs, seed: int) -> StreamData:
        """With the weights of the classes; see :func:`weigh_stream`."""
        from fastprop.train.stream_weights import weigh_stream

        return weigh_stream(where, self, class_weight, programs, seed)


def open_stream(
    where: str,
    dataset: BaseDataset,
    checked: Callable[..., Dataset],
    programs: Programs,
    objective: Objective,
    finite: bool,
    notes: list[str] | None,
) -> StreamData:
    """A dataset made ready for use, after a look at its first rows.

    Args:
        where: Who asks; starts the messages.
        dataset: The dataset.
        checked: :meth:`Reader.dataset`.
        programs: Knows what the model gives.
        objective: Knows what the loss takes.
        finite: Look for NaN and infinity in all rows, as they go by.
        notes: A list to which a sentence is added where numbers are converted.

    Raises:
        ValueError: The first rows do not fit the model or the loss.
        TypeError: They are no numbers; `dataset` is no dataset.
    """
    if not isinstance(dataset, ArrayDataset | StreamDataset):
        raise TypeError(f"{where}: expects a dataset, got {type_name(dataset)}")
    head = _first_rows(dataset)
    weight = head.sample_weight
    if weight is not None and not weight.any():  # as may be for the first rows, not for all
        weight = np.ones_like(weight)
    form = checked(f"{where}: {dataset!r}", head.x, head.y, weight, finite, None)
    outputs = programs.outputs(where, form.inputs)
    for (name, array), made in zip(head.named, form.sources, strict=True):
        if notes is not None and array.dtype != made.dtype:
            notes.append(
                f"{where}: {name} is converted from {array.dtype} to {made.dtype} as it is read"
            )
    return StreamData(
        where, dataset, form, Conversion(where, objective, outputs, head, form, finite)
    )


class StreamFeed:
    """Reads ahead in a thread: the next window is filled while the present one is used.

    Args:
        data: What is read.
        reading: How it is read.
        last_epoch: The epoch with which the reading ahead ends.
    """

    def __init__(self, data: StreamData, reading: Reading, last_epoch: int) -> None:
        self._data = data
        self._reading = reading
        self._last_epoch = last_epoch
        self._rows = data.count
        if self._rows is not None and reading.drop_last:
            self._rows -= self._rows % reading.batch
        self._buffers: list[Buffer] = []
        self._pool: Pool[Buffer] | None = None
        self._ahead: Prefetch[tuple[Buffer, Window] | None] | None = None
        self._next = (-1, -1)  # epoch and step of what the thread gives next
        self._epoch = -1
        self._buffer: Buffer | None = None
        self._chunk: Chunk | None = None
        self._seen = 0  # rows of the epoch so far

    @property
    def rows(self) -> int | None:
        return self._rows

    @property
    def steps(self) -> int | None:
        return None if self._rows is None else -(-self._rows // self._reading.batch)

    @property
    def reading(self) -> bool:
        ahead, pool = self._ahead, self._pool
        return ahead is not None and pool is not None and ahead.alive and not pool.starved

    def at(self, epoch: int, step: int) -> Chunk | None:
        chunk = self._chunk
        if chunk is not None and self._epoch == epoch and 0 <= step - chunk.first < chunk.steps:
            return chunk
        if self._ahead is None or self._next != (epoch, step):
            self._restart(epoch, step)
        assert self._ahead is not None
        self._let_go()
        found = next(self._ahead)
        if found is None:
            self._epoch_ends(epoch, step)
            return None
        self._buffer, window = found
        return self._hold(epoch, window)

    def close(self) -> None:
        self._let_go()
        if self._ahead is not None:
            self._ahead.close()
            if not self._ahead.alive:  # one that hangs may still write to them
                for buffer in self._buffers:
                    self._data.dataset.spare.give_back(buffer)
            self._ahead, self._pool, self._buffers = None, None, []

    def _epoch_ends(self, epoch: int, step: int) -> None:
        if step == 0:
            raise ValueError(
                f"{self._data.where}: {self._data.dataset!r} gave no rows in epoch {epoch}"
            )
        if self._data.count is None and self._seen:  # nothing, where a fit goes on at the very end
            self._rows = self._seen
        self._next = (epoch + 1, 0)

    def _hold(self, epoch: int, window: Window) -> Chunk:
        batch = self._reading.batch
        steps = -(-len(window.order) // batch)
        self._chunk = Chunk(window.first, steps, window.rows.arrays, window.order, batch)
        self._epoch = epoch
        self._next = (epoch, window.first + steps)
        self._seen = window.first * batch + len(window.order)
        return self._chunk

    def _let_go(self) -> None:
        self._chunk = None
        if self._buffer is not None and self._pool is not None:
            self._pool.give_back(self._buffer)
        self._buffer = None

    def _restart(self, epoch: int, step: int) -> None:
        self.close()
        spare = self._data.dataset.spare
        self._buffers = [spare.take(), spare.take()]
        pool = self._pool = Pool([*self._buffers])

        def read() -> Iterator[tuple[Buffer, Window] | None]:
            first = step
            for number in range(epoch, max(epoch, self._last_epoch) + 1):
                yield from self._data.dataset.windows(
                    self._reading, number, first, pool, self._data.conversion
                )
                yield None
                first = 0

        self._ahead = Prefetch(read, pool.close)


def split_stream(
    where: str, dataset: ArrayDataset | StreamDataset, fraction: float, seed: int
) -> list[ArrayDataset | StreamDataset]:
    """Two parts of a dataset, the second with a random share of about `fraction` of the rows.

    Raises:
        ValueError: The rows can be read only once, or there is none for a part.
    """
    if isinstance(dataset, StreamDataset) and not dataset.repeatable:
        raise ValueError(
            f"{where}: validation_split reads the rows for each of its parts, and an iterator "
            "gives them once; give a list, from_generator(function), or validation_data"
        )
    try:
        parts = split(dataset, [1.0 - fraction, fraction], seed=seed)
    except ValueError as error:
        raise ValueError(f"{where}: validation_split {fraction}: {error}") from None
    for part in parts:
        if part.rows == 0:
            raise ValueError(
                f"{where}: validation_split {fraction} of {dataset.rows} rows leaves "
                f"{parts[0].rows} to train on and {parts[1].rows} to validate with"
            )
    return parts


def open_inputs(
    where: str,
    dataset: ArrayDataset | StreamDataset,
    checked: Callable[..., tuple[tuple[Array, ...], int]],
    programs: Programs,
    objective: Objective,
    finite: bool,
) -> StreamData:
    """The inputs of a dataset made ready for use; targets and weights are left out.

    Args:
        where: Who asks; starts the messages.
        dataset: The dataset.
        checked: :meth:`Reader.inputs`.
        programs: Knows what the model gives.
        objective: The loss, which is not asked.
        finite: Look for NaN and infinity in all rows, as they go by.

    Raises:
        ValueError: The first rows do not fit the model.
        TypeError: They are no numbers.
    """
    head = Batch(_first_rows(dataset).x)
    inputs, signature = checked(f"{where}: {dataset!r}", head.x, finite)
    form = Dataset(inputs, signature=signature)
    outputs = programs.outputs(where, inputs)
    convert = Conversion(where, objective, outputs, head, form, finite)
    return StreamData(where, dataset, form, lambda batch, place: convert(Batch(batch.x), place))


def _first_rows(dataset: ArrayDataset | StreamDataset) -> Batch:
    head = dataset.head()
    for transform in dataset.transforms:
        head = transform(head, (0, 1, 0))
    return head


def run_all(
    traced: TracedProgram, data: StreamData, batch: int, seed: int
) -> tuple[RunResult, int]:
    """All rows in order through a Program that learns nothing, as if it were one run.

    Returns:
        What it did, and the number of rows.

    Raises:
        ValueError: Rows that do not fit; the message says which.
        KeyboardInterrupt: Ctrl-C (or what another signal handler raised).
    """
    feed = StreamFeed(data, Reading(batch), 1)
    results: list[RunResult] = []
    step = 0
    try:
        while True:
            chunk = feed.at(1, step)
            if chunk is None:
                break
            result = traced.run(chunk.sources, chunk.order, batch, None, 0, seed)
            if result.stopped == "interrupt":
                raise result.error or KeyboardInterrupt
            results.append(result)
            step += chunk.steps
    finally:
        feed.close()
    assert feed.rows is not None
    rows = [np.concatenate(parts) for parts in zip(*(r.rows for r in results), strict=True)]
    values = np.concatenate([r.values for r in results])
    return RunResult(values, rows, step, "done"), feed.rows
