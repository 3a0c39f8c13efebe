"""Trainer: runs Programs over data."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeVar

from numpy.typing import NDArray

from fastprop import optim
from fastprop.data.dataset import Dataset
from fastprop.graph.storage import flatten
from fastprop.nn import Module
from fastprop.optim import Optimizer
from fastprop.random import check_seed
from fastprop.registry import type_name
from fastprop.train.balance import sample_rows, weigh_classes
from fastprop.train.callbacks import check_callbacks
from fastprop.train.diagnostics import Diagnostics
from fastprop.train.fitting import Fit
from fastprop.train.history import History
from fastprop.train.inference import Inference
from fastprop.train.inputs import (
    Reader,
    check_batch_size,
    check_fraction,
    check_full_batch,
    check_threads,
)
from fastprop.train.mixup import check_mixup
from fastprop.train.objective import Objective
from fastprop.train.pace import check_length
from fastprop.train.programs import Programs
from fastprop.train.progress import Progress
from fastprop.train.regularization import Regularization
from fastprop.train.runs import complete

if TYPE_CHECKING:
    from fastprop.graph.program import Program
    from fastprop.train.checkpoint import ResumePoint
    from fastprop.train.single_step import SingleSteps

Array = NDArray[Any]
T = TypeVar("T", bound="Trainer")


class Trainer(Diagnostics):
    r"""Trains a model on arrays: a whole epoch of steps in one call of C++.

    Args:
        model: A module. Its ``forward`` may take and return several Tensors.
        loss: A name (``"cross_entropy"``, ``"mse"``, …), one of :mod:`fastprop.losses`, or a
            function ``(outputs, targets) -> scalar Tensor``; a list of them for several outputs.
        optimizer: One of :mod:`fastprop.optim`, or its name. Without parameters of its own it takes
            the model's.
        metrics: Names of :mod:`fastprop.metrics`, or objects like those; a list of them for each
            of several outputs.
        seed: Of the order of rows and of everything random in the model; the same seed gives the
            same weights, bit by bit, whatever the number of threads.
        threads: Threads of a run; ``None`` takes as many as pay for this model, at most what the
            process may use (``FASTPROP_NUM_THREADS``, ``OMP_NUM_THREADS``, CPU affinity, the
            cgroup's quota).
        penalty: Added to the loss, one or a list: :class:`regularizers.L2` and the like.
        constraint: What holds after every update, such as :class:`regularizers.MaxNorm`.
        clip: Largest global norm of the gradients, or one or more of :mod:`fastprop.gradients`.
        checkpoint: Segments of a Sequential whose values are computed again in the backward pass,
            a number or ``"auto"``: less memory, the same bits. See :func:`checkpoint_sequential`.

    Attributes:
        epoch: Epochs trained so far; a second ``fit`` goes on counting.
        history: :class:`History` of the latest ``fit``, also if that ended in an error.
        regularization: The lists of penalties and constraints.
        program: The latest training Program, or ``None``; has ``threads``, ``arena_bytes``, ….
        fitting: The ``fit`` that goes on at present, or ``None``.
        resume_point: Where the next ``fit`` goes on, of a Trainer that :meth:`resume` gave; set it
            to ``None`` to begin anew.

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
        clip: Any = None,
        checkpoint: int | str | None = None,
    ) -> None:
        if not isinstance(model, Module):
            raise TypeError(f"Trainer: model must be an nn.Module, got {type_name(model)}")
        self.model = model
        self.optimizer = optim.get(optimizer, "Trainer")
        self.seed = check_seed("Trainer", seed)
        self.threads = check_threads("Trainer", threads)
        self.checkpoint = checkpoint
        call = None
        if checkpoint is not None:
            from fastprop.nn.segments import in_segments

            call = in_segments("Trainer: checkpoint", model, checkpoint)
        self.epoch = 0
        self.history = History()
        self.program: Program | None = None
        self.objective = Objective("Trainer", loss, metrics)
        parameters = list(model.parameters())
        if not parameters:
            raise ValueError(f"Trainer: the model {type_name(model)} has no parameters to train")
        flatten(parameters)
        if not self.optimizer.parameters:
            self.optimizer.bind(parameters)
        self.regularization = Regularization("Trainer", model, penalty, constraint, clip)
        self.regularization.check_optimizer("Trainer", self.optimizer)
        self._programs = Programs(
            model, self.objective, self.optimizer, self.regularization, self.threads, call
        )
        self._reader = Reader(model, self.objective, self._programs)
        self.inference = Inference(self.objective, self._programs, self._reader, self.seed)
        self._single: SingleSteps | None = None
        self.fitting: Fit | None = None
        self.resume_point: ResumePoint | None = None

    @classmethod
    def resume(
        cls: type[T],
        path: str | os.PathLike[str],
        *,
        model: Module | None = None,
        loss: Any = None,
        optimizer: Optimizer | None = None,
        metrics: Sequence[Any] | None = None,
        threads: int | None = None,
        penalty: Any = None,
        constraint: Any = None,
        clip: Any = None,
        classes: Sequence[type] = (),
    ) -> T:
        """The Trainer in a file that :class:`fastprop.train.ModelCheckpoint` or :meth:`save` wrote.

        A ``fit`` with the same arguments then goes on where that one was, in the middle of an epoch
        too, and ends with the same weights, bit for bit, as if it had never ended. ``epochs``
        counts from the beginning of that ``fit``, and may be another number.

        The default generator (:func:`fastprop.seed`) is as it was then, too.

        Args:
            path: The file.
            model: A model of the same structure, where the file does not say how to make one.
            loss: The loss, where that is a function of yours; its name is in the error otherwise.
            optimizer: Likewise, if something in it is a function, such as its learning rate.
            metrics: Likewise.
            threads: As for :class:`Trainer`; weights do not depend on it.
            penalty: Where a penalty is a function of yours: all of them.
            constraint: Likewise.
            clip: Likewise.
            classes: Classes of yours that are needed to make these.

        Raises:
            SavedFileError: The file is damaged, of another kind, newer than this version, or lacks
                something that has to be passed; the message says what.
            OSError: It cannot be read.
        """
        from fastprop.train.checkpoint import resume

        again = {"loss": loss, "metrics": metrics, "penalty": penalty, "constraint": constraint}
        return resume(cls, path, model, optimizer, {**again, "clip": clip}, threads, classes)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write model, optimizer, loss, metrics and history to a file for :meth:`resume`.

        While ``fit`` is going on, that is what :class:`fastprop.train.ModelCheckpoint` is for.

        Raises:
            RuntimeError: ``fit`` is going on.
            OSError: The file cannot be written; what was there before is kept.
        """
        if self.fitting is not None:
            raise RuntimeError("Trainer.save: fit is going on; give it a train.ModelCheckpoint")
        from fastprop.train.checkpoint import Photographer, write_snapshot

        write_snapshot(path, Photographer(self).take())

    @property
    def loss(self) -> Any:
        return self.objective.loss

    @property
    def metrics(self) -> list[Any]:
        return self.objective.metrics

    # -- training -------------------------------------------------------------------------------

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        epochs: int | None = None,
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
        callbacks: Any = (),
        max_seconds: float | None = None,
        verbose: bool | None = None,
        check_finite: bool = True,
    ) -> History:
        """Train for some epochs; a second call goes on where the first one ended.

        Args:
            x: Inputs ``[rows, …]``, or a tuple of arrays for a model with several.
            y: Targets: class numbers ``[rows]`` or what the loss takes; 1-d numbers fit an output
                of one column. May be left out if the loss is a function that needs none (it gets
                ``None``).
            epochs: How often every row is used; 1 if left out, or with `max_seconds` as often as
                there is time.
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
            callbacks: :class:`Callback` objects, or others with hooks like theirs.
            max_seconds: End when so much time is gone, validation included, in the middle of an
                epoch if need be. Schedules go by the clock then (:class:`fastprop.train.Pace`), and
                with a validation the model of the best epoch is put back at the end.
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
        epochs, seconds = check_length(where, epochs, max_seconds)
        fraction = check_fraction(where, validation_split)
        called = check_callbacks(where, callbacks)
        check_mixup(where, mixup, self.loss)
        history = History()
        data = self._reader.source(where, x, y, sample_weight, check_finite, history.notes)
        data, held_out = self._reader.split(
            where, data, validation_data, fraction, self.seed, check_finite, history.notes, stratify
        )
        if isinstance(data, Dataset):
            data = weigh_classes(where, data, class_weight, self._programs)
            data = sample_rows(where, data, sampler, self.seed)
        else:
            data.check_fit(where, epochs, sampler)
            data = data.weighed(where, class_weight, self._programs, self.seed)
        if held_out is not None and not isinstance(held_out, Dataset):
            held_out.check_fit(f"{where}: validation_data", epochs)
        count = data.count
        batch = check_batch_size(where, batch_size, count, drop_last)
        check_full_batch(where, self.optimizer, batch, count)
        fit = Fit(
            self,
            where,
            data,
            held_out,
            history,
            called,
            epochs=epochs,
            batch_size=batch,
            mixup=mixup,
            shuffle=shuffle,
            drop_last=drop_last,
            max_seconds=seconds,
            progress=Progress(epochs) if epochs and Progress.wanted(verbose) else None,
        )
        return complete(fit.runs())

    def stop(self) -> None:
        """End the present ``fit`` after the run that is going on; may be called from anywhere."""
        if self.fitting is not None:
            self.fitting.stop()

    def train_step(self, x: Any, y: Any = None, *, sample_weight: Any = None) -> float:
        """One step on one batch; returns its loss, taken before the update.

        Raises:
            ValueError: As for :meth:`fit`.
            TypeError: As for :meth:`fit`.
            NonFiniteError: The loss is NaN or infinite; the parameters are as before the call.
        """
        if self._single is None:
            from fastprop.train.single_step import SingleSteps

            self._single = SingleSteps(self.optimizer, self.seed, self._reader, self._programs)
        return self._single.step(self, x, y, sample_weight)

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
        return self.inference.evaluate(where, data, batch_size)

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
        return self.inference.predict("Trainer.predict", x, batch_size, check_finite)

    def __repr__(self) -> str:
        names = [m.name for m in self.metrics]
        return (
            f"Trainer({type_name(self.model)}, loss={self.loss.name!r}, "
            f"optimizer={self.optimizer!r}, metrics={names}, seed={self.seed}, "
            f"threads={self.threads})"
        )
