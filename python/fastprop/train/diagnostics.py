"""What a Trainer tells about a training without doing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from fastprop.train.inputs import Reader, check_batch_size, check_full_batch, check_steps
from fastprop.train.programs import Programs

if TYPE_CHECKING:
    from fastprop.inspect import Report
    from fastprop.train.find_lr import LearningRateRange
    from fastprop.train.trainer import Trainer


class Diagnostics:
    """The part of :class:`fastprop.Trainer` that does steps and puts back all they changed."""

    _reader: Reader
    _programs: Programs

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
        return measure(where, cast("Trainer", self), traced, data, batch, count)

    def find_lr(
        self,
        x: Any,
        y: Any = None,
        *,
        batch_size: int | None = 32,
        sample_weight: Any = None,
        min_lr: float = 1e-7,
        max_lr: float = 10.0,
        steps: int = 100,
    ) -> LearningRateRange:
        """Which learning rates make the loss fall: a learning-rate range test.

        Some steps are done with a rate that grows from `min_lr` to `max_lr`, each by the same
        factor, until the loss explodes; then all that they changed is put back.

        Args:
            x: Inputs, as for :meth:`fit`.
            y: Targets.
            batch_size: Rows of a step; ``None`` for all.
            sample_weight: Weights of the rows.
            min_lr: First rate, above 0.
            max_lr: Last rate, above the first.
            steps: How many steps, at least 5.

        Returns:
            A :class:`fastprop.train.LearningRateRange`: rates, losses, a suggestion, a picture.

        Raises:
            ValueError: As for :meth:`fit`; rates or steps out of their range.
            TypeError: As for :meth:`fit`.

        Smith, "Cyclical learning rates for training neural networks", WACV 2017, section 3.3.
        """
        from fastprop.train.find_lr import range_test

        where = "Trainer.find_lr"
        data = self._reader.dataset(where, x, y, sample_weight, True, [])
        batch = check_batch_size(where, batch_size, len(data))
        trainer = cast("Trainer", self)
        check_full_batch(where, trainer.optimizer, batch, len(data))
        traced = self._programs.training(where, data, batch, several=True)
        return range_test(where, trainer, traced, data, batch, (min_lr, max_lr), steps)
