"""The number of an epoch that a callback goes by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastprop.train.trainer import Trainer


class Monitor:
    """Reads a number from an epoch's logs and says whether it is better than another.

    Args:
        where: Whose it is; starts the messages.
        name: ``"val_loss"``, ``"accuracy"``, …
        mode: ``"min"``, ``"max"``, or ``"auto"``: a metric says itself, a loss is to be small.

    Raises:
        TypeError: A name that is no string.
        ValueError: An unknown mode.
    """

    def __init__(self, where: str, name: str, mode: str = "auto") -> None:
        if not isinstance(name, str):
            raise TypeError(f"{where}: monitor must be a string such as 'val_loss', got {name!r}")
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"{where}: mode must be 'auto', 'min' or 'max', got {mode!r}")
        self.name = name
        self.mode = mode
        self._where = where
        self._sign = 1.0 if mode == "max" else -1.0

    def begin(self, trainer: Trainer) -> None:
        """Look at what the epochs of this ``fit`` will record."""
        if self.mode == "auto":
            found = self._metrics(trainer)
            higher = bool(found) and getattr(found[0], "higher_is_better", False)
            self._sign = 1.0 if higher else -1.0

    def _metrics(self, trainer: Trainer) -> list[Any]:
        name = self.name.removeprefix("val_")
        return [m for m in trainer.metrics if m.name == name]

    def check(self, trainer: Trainer, validated: bool) -> None:
        """Refuse a number that will not be recorded.

        Args:
            trainer: Who is going to train.
            validated: True if there will be a validation.

        Raises:
            ValueError: The number is one of a validation, and there is none.
        """
        name = self.name.removeprefix("val_")
        known = bool(self._metrics(trainer)) or name == "loss"
        if name != self.name and known and not validated:
            raise ValueError(
                f"{self._where}: {self.name!r} is not recorded without a validation; give fit "
                "validation_data or validation_split"
            )

    def value(self, logs: Mapping[str, float]) -> float:
        """The number of an epoch.

        Raises:
            ValueError: It is not there; the message lists what is.
        """
        if self.name not in logs:
            raise ValueError(
                f"{self._where}: no {self.name!r} among the numbers of the epoch: {', '.join(logs)}"
            )
        return float(logs[self.name])

    def better(self, value: float, best: float, by: float = 0.0) -> bool:
        """Whether `value` is better than `best` by more than `by`.

        NaN never is, and everything else is better than NaN.
        """
        if math.isnan(value):
            return False
        return math.isnan(best) or self._sign * (value - best) > by
