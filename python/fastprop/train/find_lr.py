"""The learning-rate range test (Smith, WACV 2017)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastprop.checks import integer, real_number

if TYPE_CHECKING:
    from pathlib import Path

    from fastprop.data import Dataset
    from fastprop.train.runs import TracedProgram
    from fastprop.train.trainer import Trainer

_RUN_STEPS = 10  # between two looks at the loss
_SMOOTHING = 0.9
_EXPLODED = 4.0  # so many times the first loss above the least one
_LEAST_STEPS = 5
_CERTAIN = 4.0  # standard errors: of a hundred lines through noise none falls that steeply


class LearningRateRange:
    r"""What a range test has found.

    Attributes:
        rates: Learning rates of the steps, float64 ``[steps]``.
        losses: Loss of each step, before its update.
        smoothed: Their exponential moving average, :math:`0.9` of the one before and :math:`0.1` of
            the new one, corrected for its start.
        suggestion: The rate at which the loss falls most steeply over the logarithm of the rate, by
            lines through a decade each. Where no line falls by more than the noise of the losses
            explains: a tenth of the last rate before the loss exploded; ``None`` if it did not. A
            good first guess: for a constant rate, or for the highest of a schedule.
        exploded: True if the test ended before its last rate.
    """

    def __init__(
        self, rates: NDArray[np.float64], losses: NDArray[np.float64], *, exploded: bool
    ) -> None:
        self.rates = rates
        self.losses = losses
        self.smoothed = _smooth(losses)
        self.suggestion = _steepest(rates, losses, self.smoothed)
        if self.suggestion is None and exploded:
            self.suggestion = _last_calm(rates, self.smoothed) / 10.0
        self.exploded = exploded

    def plot(self, path: str | os.PathLike[str]) -> Path:
        """Draw the loss over the rate into a picture file.

        Returns:
            The file's path.

        Raises:
            ImportError: matplotlib is not installed; the message says how to get it.
            OSError: The file cannot be written.
        """
        from fastprop.inspect.lr_picture import draw

        return draw(self, path)

    def __repr__(self) -> str:
        found = "none" if self.suggestion is None else f"{self.suggestion:.2g}"
        return (
            f"LearningRateRange({len(self.rates)} rates from {self.rates[0]:.2g} to "
            f"{self.rates[-1]:.2g}; suggestion: {found})"
        )


def _smooth(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    smoothed = np.empty(len(losses))
    average = 0.0
    for i, loss in enumerate(losses.tolist()):
        average = _SMOOTHING * average + (1.0 - _SMOOTHING) * loss
        smoothed[i] = average / (1.0 - _SMOOTHING ** (i + 1))
    return smoothed


def _steepest(
    rates: NDArray[np.float64], losses: NDArray[np.float64], smoothed: NDArray[np.float64]
) -> float | None:
    """The middle of the decade over which a line through the losses falls most steeply.

    A slope between neighbours would be that of the noise. Behind the least loss it would be chance.
    """
    until = int(np.argmin(smoothed)) + 1
    if until < _LEAST_STEPS:
        return None
    x = np.log10(rates[:until])
    width = min(max(_LEAST_STEPS, int(1.0 / (x[1] - x[0]))), until)
    windows = np.lib.stride_tricks.sliding_window_view(losses[:until], width)
    offsets = (x[1] - x[0]) * (np.arange(width) - (width - 1) / 2.0)
    slopes = windows @ offsets / (offsets @ offsets)
    apart = windows - windows.mean(axis=1, keepdims=True) - slopes[:, None] * offsets
    errors = np.sqrt((apart**2).sum(axis=1) / (width - 2) / (offsets @ offsets))
    certain = slopes < -_CERTAIN * errors
    if not certain.any():
        return None
    at = int(np.argmin(np.where(certain, slopes, np.inf)))
    return float(10.0 ** x[at : at + width].mean())


def _last_calm(rates: NDArray[np.float64], smoothed: NDArray[np.float64]) -> float:
    """The last rate whose smoothed loss is one of the lower half."""
    return float(rates[np.flatnonzero(smoothed <= np.median(smoothed))[-1]])


def range_test(
    where: str,
    trainer: Trainer,
    traced: TracedProgram,
    data: Dataset,
    batch: int,
    ends: tuple[Any, Any],
    steps: int,
) -> LearningRateRange:
    """The range test; see ``Trainer.find_lr``."""
    from fastprop.inspect.measure import restored  # not needed to train

    low = real_number(where, "min_lr", ends[0])
    high = real_number(where, "max_lr", ends[1])
    if not 0.0 < low < high:
        raise ValueError(f"{where}: expects 0 < min_lr < max_lr, got {low} and {high}")
    steps = integer(where, "steps", steps, least=_LEAST_STEPS)
    rates = np.geomspace(low, high, steps)
    optimizer, order = trainer.optimizer, _order(trainer, data, batch, steps)
    losses: list[float] = []
    exploded = False
    with restored(traced.program):
        while len(losses) < steps and not exploded:
            first = len(losses)
            count = min(_RUN_STEPS, steps - first)
            step = optimizer.steps + first
            numbers = optimizer.step_scalars(step, count, rates[first : first + count])
            rows = order[first * batch : (first + count) * batch]
            result = traced.run(data.sources, rows, batch, numbers, step, trainer.seed)
            if result.stopped == "interrupt":
                raise result.error or KeyboardInterrupt
            losses += result.values[: result.steps_done, 0].tolist()
            exploded = result.stopped == "nonfinite" or _explosion(losses) < len(losses)
    if len(losses) < 2:
        raise ValueError(f"{where}: the loss is not finite at the first rate, {low:g}")
    done = min(len(losses), _explosion(losses) + 1)
    losses = losses[:done]
    return LearningRateRange(rates[:done], np.array(losses), exploded=exploded and done < steps)


def _explosion(losses: list[float]) -> int:
    """The first step whose loss is far above the first and the least; their count if none is."""
    values = np.array(losses)
    least = np.minimum.accumulate(values)
    unit = np.maximum(abs(values[0]), np.abs(least))
    far = values - least > _EXPLODED * unit
    return int(far.argmax()) if far.any() else len(losses)


def _order(trainer: Trainer, data: Dataset, batch: int, steps: int) -> NDArray[np.int64]:
    """Rows as the next epochs would take them, without short batches."""
    order = data.order(shuffle=True, seed=trainer.seed)
    rows = len(data) - len(data) % batch
    epochs = -(-steps * batch // rows)
    parts = [order(trainer.epoch + 1 + e)[:rows] for e in range(epochs)]
    return np.concatenate(parts)[: steps * batch]
