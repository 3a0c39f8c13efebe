"""What happened in every epoch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, SupportsFloat

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from fastprop.train.errors import NonFiniteError


class History(Mapping[str, list[float]]):
    """A mapping from names (``loss``, ``val_loss``, ``accuracy``, …) to one number an epoch.

    Attributes:
        epoch: Numbers of the epochs, from 1; a second ``fit`` of the same Trainer goes on counting.
        seconds: Wall time of each epoch's training, without validation and callbacks.
        notes: What was done to the data on its way in, such as conversions.
        error: The :class:`NonFiniteError` that ended the training, without its traceback, or
            ``None``.
    """

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self.seconds: list[float] = []
        self.notes: list[str] = []
        self.error: NonFiniteError | None = None
        self._series: dict[str, list[float]] = {}

    def append(self, epoch: int, logs: Mapping[str, float], seconds: float = 0.0) -> None:
        """Add an epoch. A name that other epochs lack is NaN there.

        Raises:
            TypeError: Something in `logs` is no number.
        """
        for name, value in logs.items():
            # Asking for a protocol takes longer than all the rest of an epoch of a small network.
            if type(value) is not float and not isinstance(value, SupportsFloat):
                raise TypeError(
                    f"Trainer.fit: {name!r} among the numbers of epoch {epoch}, which a callback "
                    f"has put there, must be a number, got {value!r}"
                )
        before = len(self.epoch)
        self.epoch.append(epoch)
        self.seconds.append(seconds)
        for name, value in logs.items():
            series = self._series.get(name)
            if series is None:
                series = self._series[name] = [float("nan")] * before
            series.append(float(value))
        for series in self._series.values():
            if len(series) <= before:
                series.append(float("nan"))

    def __getitem__(self, name: str) -> list[float]:
        try:
            return self._series[name]
        except KeyError:
            known = ", ".join(self._series) or "nothing, no epoch has ended"
            raise KeyError(f"History: no series {name!r}; recorded are: {known}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._series)

    def __len__(self) -> int:
        return len(self._series)

    def __repr__(self) -> str:
        if not self.epoch:
            return "History(no epochs)"
        last = ", ".join(f"{name}={series[-1]:.4g}" for name, series in self._series.items())
        return f"History({len(self.epoch)} epochs; last: {last})"

    def to_dict(self) -> dict[str, list[float]]:
        """A plain dict of lists, ``epoch`` included; ready for JSON or a data frame."""
        return {
            "epoch": [float(e) for e in self.epoch],
            **{name: list(series) for name, series in self._series.items()},
        }

    def state_dict(self) -> dict[str, Any]:
        """All of it, for a checkpoint."""
        # Arrays, as a checkpoint of 10,000 epochs would take 40 ms longer with numbers one by one.
        series = {name: np.array(values) for name, values in self._series.items()}
        return {
            "epoch": np.array(self.epoch, dtype=np.int64),
            "seconds": np.array(self.seconds),
            "notes": list(self.notes),
            "series": series,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Become what :meth:`state_dict` was taken of."""
        epoch, seconds = np.asarray(state["epoch"]), np.asarray(state["seconds"])
        series = {str(name): np.asarray(values) for name, values in state["series"].items()}
        if any(a.shape != epoch.shape for a in (seconds, *series.values())) or epoch.ndim != 1:
            raise ValueError("History: the state has series of different lengths")
        self.epoch, self.seconds = epoch.tolist(), seconds.tolist()
        self.notes = [str(note) for note in state["notes"]]
        self._series = {name: values.tolist() for name, values in series.items()}

    def plot(self, path: str | os.PathLike[str]) -> Path:
        """Draw the learning curves into a picture file; see :func:`fastprop.inspect.plot_history`.

        Returns:
            The file's path.

        Raises:
            ImportError: matplotlib is not installed; the message says how to get it.
            ValueError: No epoch was recorded.
        """
        from fastprop.inspect.curves import plot_history

        return plot_history(self, path)
