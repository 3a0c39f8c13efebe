"""The progress bars of ``fit`` and ``fit_many``."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any, Protocol

_REFRESH_SECONDS = 0.1
_WIDEST = 120  # columns
_BAR_FORMAT = "{desc} {percentage:3.0f}%|{bar:16}| {elapsed}<{remaining}{postfix}"


class Watcher(Protocol):
    """What a ``fit`` tells its progress to."""

    def steps_done(self, epochs_done: int, step: int, steps: int) -> None:
        """So many steps of an epoch are done."""

    def epoch_done(self, epochs_done: float, logs: Mapping[str, float]) -> None:
        """An epoch is done, and recorded."""

    def close(self) -> None:
        """No more is to come."""


class Progress:
    """A bar over epochs that moves with the steps inside them, redrawn by the clock.

    Args:
        epochs: How many there will be.
        unit: What they are called.
    """

    def __init__(self, epochs: int, unit: str = "epoch") -> None:
        import shutil

        from tqdm import tqdm  # only when somebody looks

        size = shutil.get_terminal_size()
        self._epochs = epochs
        self._unit = unit
        self._shown = 0.0
        self._text = ""
        self._latest: tuple[float, Mapping[str, float]] = (0.0, {})
        self._bar: Any = tqdm(
            total=epochs,
            desc=f"{unit} 0/{epochs}",
            bar_format=_BAR_FORMAT,
            mininterval=0,
            maxinterval=float("inf"),
            ncols=min(size.columns, _WIDEST),
            nrows=size.lines,
            file=sys.stderr,
            leave=True,
        )

    @classmethod
    def wanted(cls, verbose: bool | None) -> bool:
        """True if asked for, or if nothing was said and a person is at the other end."""
        if verbose is not None:
            return verbose
        return sys.stderr is not None and sys.stderr.isatty()

    def steps_done(self, epochs_done: int, step: int, steps: int) -> None:
        if time.perf_counter() - self._shown >= _REFRESH_SECONDS:
            self._draw(epochs_done + step / steps, f", step {step}/{steps}{self._text}")

    def epoch_done(self, epochs_done: float, logs: Mapping[str, float]) -> None:
        self._latest = epochs_done, logs
        if time.perf_counter() - self._shown >= _REFRESH_SECONDS:
            self._draw_latest()

    def close(self) -> None:
        self._draw_latest()
        self._bar.close()

    def _draw_latest(self) -> None:
        epochs_done, logs = self._latest
        self._text = "".join(f", {name} {value:.4g}" for name, value in logs.items())
        self._draw(epochs_done, self._text)

    def _draw(self, position: float, text: str = "") -> None:
        bar = self._bar
        bar.n = min(position, float(self._epochs))
        bar.set_description_str(f"{self._unit} {int(position)}/{self._epochs}", refresh=False)
        bar.postfix = text.removeprefix(", ") or None
        bar.refresh()
        self._shown = time.perf_counter()
