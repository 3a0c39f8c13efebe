"""Trainer: runs Programs over data."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from fastprop import optim
from fastprop.data import ArrayDataset, Dataset
from fastprop.data.base import BaseDataset
from fastprop.graph import anomaly
from fastprop.graph.storage import flatten
from fastprop.nn import Module
from fastprop.optim import Optimizer
from fastprop.random import check_seed
from fastprop.registry import type_name
from fastprop.train.adapt import adapt_layers, trace_unadapted
from fastprop.train.balance import sample_rows, weigh_classes
from fastprop.train.callbacks import Callback, CallbackList, check_callbacks
from fastprop.train.errors import NonFiniteError
from fastprop.train.history import History
from fastprop.train.inputs import (
    Reader,
    check_batch_size,
    check_epochs,
    check_fraction,
    check_steps,
    check_threads,
)
from fastprop.train.loop import EpochRunner
from fastprop.train.mixup import check_mixup
from fastprop.train.objective import Objective
from fastprop.train.programs import Programs, evaluation_rows
from fastprop.train.progress import Progress
from fastprop.train.regularization import Regularization
from fastprop.train.streams import StreamData, open_inputs, refuse_options, run_all

if TYPE_CHECKING:
    from fastprop.graph.program import Program
    from fastprop.inspect import Report

Array = NDArray[Any]


class Trainer:
    r"""Trains a model on arrays: a whole epoch of steps in one call of C++.

    Args:
        model: A module. Its ``forward`` may take and return several Tensors.
        loss: A name (``"cross_entropy"``, ``"mse"``, …), one of :mod:`fastprop.losses`, or a
            function ``(outputs, targets) -> scalar Tensor``; a list of them for several outputs.
        optimizer: One of :mod:`fastprop.optim`, or its name. Without parameters of its own it takes
            the model's.
        metrics: Names of :mod:`fastprop.metrics`, or objects like those.
        seed: Of the order of rows and of everything random in the model; the same seed gives the
            same weights, bit by bit, whatever the number of threads.
        threads: Threads of a run; ``None`` takes as many as pay for this model, at most what the
            process may use (``FASTPROP_NUM_THREADS``, ``OMP_NUM_THREADS``, CPU affinity, the
            cgroup's quota).
        penalty: Added to the loss, one or a list: :class:`regularizers.L2` and the like.
        constraint: What holds after every update, such as :class:`regularizers.MaxNorm`.

    Attributes:
        epoch: Epochs trained so far; a second ``fit`` goes on counting.
        history: :class:`History` of the latest ``fit``, also if that ended in an error.
        regularization: The lists of penalties and constraints.
        program: The latest training Program, or ``None``; has ``threads``, ``arena_bytes``, ….

    Inputs are arrays, frames or anything with ``__dlpack__``, one row a sample, converted once to
    the model's dtype; a tuple of them for a model with several inputs, and the same for targets.
    Parameters that the loss does not depend on are left as they are.

    Raises:
        TypeError: Something that is no module, no optimizer or no loss.
        ValueError: Unknown names; the message lists the known ones.
    """

    def __init__(
        self,
        model: Module,
        loss: Any,
        optimizer: Optimizer | str,
        metrics: Sequence[Any] = (),
        seed: SupportsIndex = 0,
        threads: int | None = None,
        penalty: Any = None,
        constraint: Any = None,
    ) -> None:
        if not isinstance(model, Module):
            raise TypeError(f"Trainer: model must be an nn.Module, got {type_name(model)}")
        self.model = model
        self.optimizer = optim.get(optimizer, "Trainer")
        self.seed = check_seed("Trainer", seed)
        self.threads = check_threads("Trainer", threads)
        self.epoch = 0
        self.history = History()
        self.program: Program | None = None
        self._objective = Objective("Trainer", loss, metrics)
        parameters = list(model.parameters())
        flatten(parameters)
        if not self.optimizer.parameters:
            self.optimizer.bind(parameters)
        self.regularization = Regularization("Trainer", model, penalty, constraint)
        self._programs = Programs(
            model, self._objective, self.optimizer, self.regularization, self.threads
        )
        self._reader = Reader(model, self._objective, self._programs)
        self._runner: EpochRunner | None = None

    @property
    def loss(self) -> Any:
        return self._objective.loss

    @property
    def metrics(self) -> list[Any]:
        return self._objective.metrics

    # -- training -------------------------------------------------------------------------------

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        epochs: int = 1,
        batch_size: int | None = 32,
        validation_data: Any = None,
        validation_split: float = 0.0,
        stratify: Any = False,
        sample_weight: Any = None,
        class_weight: Any = None,
        sampler: Any = None,
        mixup: float = 0.0,
        shuffle: bool = True,
        drop_last: bool = False,
        callbacks: Sequence[Callback] | Callback = (),
        verbose: bool | None = None,
        check_finite: bool = True,
    ) -> History:
        """Train for some epochs; a second call goes on where the first one ended.

        Args:
            x: Inputs ``[rows, …]``, or a tuple of arrays for a model with several.
            y: Targets: class numbers ``[rows]`` or what the loss takes; 1-d numbers fit an output
                of one column. May be left out if the loss is a function that needs none (it gets
                ``None``).
            epochs: How often every row is used.
            batch_size: Rows of a step; 1 for stochastic, ``None`` for full-batch gradient descent.
                More rows than there are make one batch.
            validation_data: ``(x, y)`` or ``(x, y, sample_weight)`` to evaluate after every epoch.
            validation_split: Or a random share of the rows, which is then not trained on.
            stratify: Split every class alike: True for those of `y`, or the class of each row.
            sample_weight: A weight of 0 or more for each row.
            class_weight: Weights of the classes of `y`: ``"balanced"`` (all count alike), a dict or
                an array by class. They multiply the sample weights, but not in the validation.
            sampler: Chooses the rows of an epoch: :class:`data.WeightedSampler`, or a function
                ``(epoch, rows, seed) -> rows``; by default each row is taken once.
            mixup: Above 0, steps are on rows and targets mixed in pairs, with shares of the
                distribution Beta(mixup, mixup) (Zhang et al., ICLR 2018).
            shuffle: Take the rows in a new order in every epoch; a sampler has its own.
            drop_last: Leave out the last batch if it is short; else it is a step like any other.
            callbacks: :class:`Callback` objects.
            verbose: Progress bar; ``None`` shows one on a terminal only.
            check_finite: Look for NaN and infinity in all data first.

        Returns:
            The epochs' losses and metrics. Those of training are the means over the steps as they
            went, ``val_…`` are taken after the epoch.

        Raises:
            ValueError: Data that do not fit the model, the loss or each other; nothing was done
                then.
            TypeError: Data that are not real numbers, or not integers where class numbers are
                meant.
            NonFiniteError: The loss became NaN or infinite; the last good parameters are kept.
            KeyboardInterrupt: Ctrl-C. The model is as after the latest whole step.
        """
        where = "Trainer.fit"
        epochs = check_epochs(where, epochs)
        fraction = check_fraction(where, validation_split)
        mix = check_mixup(where, mixup, self.loss)
        called = CallbackList(self, check_callbacks(where, callbacks))
        history = History()
        data = self._reader.source(where, x, y, sample_weight, check_finite, history.notes)
        data, held_out = self._reader.split(
            where, data, validation_data, fraction, self.seed, check_finite, history.notes, stratify
        )
        if isinstance(data, StreamData):
            refuse_options(where, stratify=stratify, class_weight=class_weight, sampler=sampler)
        else:
            data = weigh_classes(where, data, class_weight, self._programs)
            data = sample_rows(where, data, sampler, self.seed)
        count = data.count
        batch = check_batch_size(where, batch_size, count)
        if drop_last and batch_size is not None and count is not None and count < int(batch_size):
            raise ValueError(
                f"{where}: drop_last leaves no batch, with {count} rows and batch_size {batch_size}"
            )
        if self.optimizer.full_batch and (count is None or batch < count):
            total = "an unknown number of" if count is None else count
            raise ValueError(
                f"{where}: {type_name(self.optimizer)} wants all rows in every step; batch_size is "
                f"{batch} of {total} rows, write batch_size=None"
            )
        rows = count
        if drop_last and count is not None:
            rows = count - count % batch
        traced = trace_unadapted(self._programs, where, data, batch, rows, mix)
        adapt_layers(where, self.model, data)
        self.history = history
        self.program = traced.program
        progress = Progress(epochs) if Progress.wanted(verbose) else None
        self._runner = EpochRunner(
            traced,
            data,
            batch_size=batch,
            drop_last=drop_last,
            shuffle=shuffle,
            seed=self.seed,
            last_epoch=self.epoch + epochs,
            optimizer=self.optimizer,
            callbacks=called,
            progress=progress,
            explain=lambda sources, rows: self._programs.explain(data, sources, rows),
        )
        try:
            called.train_begin()
            self._epochs(self._runner, traced.columns, batch, epochs, held_out, called, progress)
        finally:
            self._runner.close()
            self._runner = None
            if progress is not None:
                progress.close()
            called.train_end()
        return history

    def _epochs(
        self,
        runner: EpochRunner,
        columns: Any,
        batch: int,
        epochs: int,
        held_out: Dataset | StreamData | None,
        called: CallbackList,
        progress: Progress | None,
    ) -> None:
        for done in range(epochs):
            if runner.stop_requested:
                break
            started = time.perf_counter()
            values = runner.run(self.epoch + 1, done)
            if values is None:
                break
            seconds = time.perf_counter() - started
            self.epoch += 1
            logs = self._objective.summarize(values, columns, runner.rows, batch)
            if held_out is not None:
                found = self._evaluate("Trainer.fit", held_out, None)
                logs.update({f"val_{name}": value for name, value in found.items()})
            if called.watches_epochs:
                called.epoch_end(self.epoch, logs)
            self.history.append(self.epoch, logs, seconds)
            if progress is not None:
                progress.epoch_done(done + 1, logs)
        runner.check_parameters(self.epoch)

    def stop(self) -> None:
        """End the present ``fit`` after the run that is going on; may be called from anywhere."""
        if self._runner is not None:
            self._runner.stop_requested = True

    def train_step(self, x: Any, y: Any = None, *, sample_weight: Any = None) -> float:
        """One step on one batch; returns its loss, taken before the update.

        Raises:
            ValueError: As for :meth:`fit`.
            TypeError: As for :meth:`fit`.
            NonFiniteError: The loss is NaN or infinite; the parameters are as before the call.
        """
        where = "Trainer.train_step"
        data = self._reader.dataset(where, x, y, sample_weight, True)
        rows = len(data)
        traced = self._programs.training(where, data, rows, several=False)
        self.program = traced.program
        optimizer = self.optimizer
        step = optimizer.steps
        result = traced.run(
            data.sources,
            rows,
            rows,
            optimizer.step_scalars(step, 1),
            step,
            self.seed,
        )
        optimizer.steps = step + result.steps_done
        if result.stopped == "done":
            return result.values.item(0)
        if result.stopped == "interrupt":
            raise result.error or KeyboardInterrupt
        loss = result.values.item(0)
        active = anomaly.active() is not None
        cause = self._programs.explain(data, data.sources, np.arange(rows)) if active else None
        why = "" if cause is None else f". {cause}"
        raise NonFiniteError(
            f"{where}: the loss is {loss}; the parameters are as before{why}",
            self.epoch + 1,
            1,
            loss,
        ) from cause

    def report(
        self,
        x: Any,
        y: Any = None,
        *,
        batch_size: int | None = 32,
        sample_weight: Any = None,
        steps: int | None = None,
    ) -> Report:
        """Where the time of a training step goes: ``print(trainer.report(x, y))``.

        Some steps are done on the data and timed instruction by instruction, then all that they
        changed is put back: model, optimizer and history are as before, bit by bit.

        Args:
            x: Inputs, as for :meth:`fit`.
            y: Targets.
            batch_size: Rows of a step; ``None`` for all.
            sample_weight: Weights of the rows.
            steps: How many steps to time, in up to 7 runs of which the median one is reported;
                ``None`` takes about half a second.

        Returns:
            A :class:`fastprop.inspect.Report`; ``str`` of it is a table.

        Raises:
            ValueError: As for :meth:`fit`.
            TypeError: As for :meth:`fit`.
            NonFiniteError: The loss became NaN or infinite.
        """
        from fastprop.inspect.measure import measure

        where = "Trainer.report"
        count = check_steps(where, steps)
        data = self._reader.dataset(where, x, y, sample_weight, True, [])
        batch = check_batch_size(where, batch_size, len(data))
        traced = self._programs.training(where, data, batch, several=True)
        return measure(where, self, traced, data, batch, count)

    # -- using ----------------------------------------------------------------------------------

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        *,
        sample_weight: Any = None,
        check_finite: bool = True,
    ) -> dict[str, float]:
        """Loss and metrics of the model as it is, ``{"loss": …, "accuracy": …}``.

        Args:
            x: Inputs.
            y: Targets.
            batch_size: Rows that are computed at once; ``None`` chooses.
            sample_weight: Weights of the rows in the loss; metrics count all rows alike.
            check_finite: Look for NaN and infinity in the data first.

        Raises:
            ValueError: As for :meth:`fit`.
            TypeError: As for :meth:`fit`.
        """
        where = "Trainer.evaluate"
        data = self._reader.source(where, x, y, sample_weight, check_finite)
        return self._evaluate(where, data, batch_size)

    def _evaluate(
        self, where: str, data: Dataset | StreamData, batch_size: int | None
    ) -> dict[str, float]:
        batch = evaluation_rows(data.count)
        if batch_size is not None:
            batch = check_batch_size(where, batch_size, data.count)
        traced = self._programs.evaluation(where, data, batch)
        if isinstance(data, StreamData):
            result, rows = run_all(traced, data, batch, self.seed)
            return self._objective.summarize(result.values, traced.columns, rows, batch)
        order = len(data) if data.rows is None else data.rows
        result = traced.run(data.sources, order, batch, None, 0, self.seed)
        if result.stopped == "interrupt":
            raise result.error or KeyboardInterrupt
        return self._objective.summarize(result.values, traced.columns, len(data), batch)

    def predict(
        self, x: Any, batch_size: int | None = None, *, check_finite: bool = True
    ) -> Array | tuple[Array, ...]:
        """The model's outputs for every row of `x`; a tuple where the model has several outputs.

        Args:
            x: Inputs.
            batch_size: Rows that are computed at once; ``None`` chooses.
            check_finite: Look for NaN and infinity in the data first.

        Raises:
            ValueError: As for :meth:`fit`.
            TypeError: As for :meth:`fit`.
        """
        where = "Trainer.predict"
        if type(x) is not np.ndarray and isinstance(x, BaseDataset):  # a row takes microseconds
            return self._predict_dataset(where, x, batch_size, check_finite)
        inputs, signature = self._reader.inputs(where, x, check_finite)
        rows = len(inputs[0])
        if batch_size is None:
            batch = evaluation_rows(rows)
        else:
            batch = check_batch_size(where, batch_size, rows)
        traced = self._programs.prediction(where, inputs, signature, batch)
        result = traced.run(inputs, rows, batch, None, 0, self.seed)
        if result.stopped == "interrupt":
            raise result.error or KeyboardInterrupt
        return result.rows[0] if len(result.rows) == 1 else tuple(result.rows)

    def _predict_dataset(
        self, where: str, dataset: Any, batch_size: int | None, finite: bool
    ) -> Array | tuple[Array, ...]:
        if isinstance(dataset, ArrayDataset) and not dataset.transforms:
            return self.predict(dataset.x, batch_size, check_finite=finite)
        data = open_inputs(
            where, dataset, self._reader.inputs, self._programs, self._objective, finite
        )
        batch = evaluation_rows(data.count)
        if batch_size is not None:
            batch = check_batch_size(where, batch_size, data.count)
        traced = self._programs.prediction(where, data.inputs, data.signature, batch)
        result, _ = run_all(traced, data, batch, self.seed)
        return result.rows[0] if len(result.rows) == 1 else tuple(result.rows)

    def __repr__(self) -> str:
        names = [m.name for m in self.metrics]
        return (
            f"Trainer({type_name(self.model)}, loss={self.loss.name!r}, "
            f"optimizer={self.optimizer!r}, metrics={names}, seed={self.seed}, "
            f"threads={self.threads})"
        )
