"""A learning rate that goes down when nothing gets better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fastprop.checks import integer, real_number
from fastprop.optim.schedules import Scaled, Schedule
from fastprop.train.callbacks import Callback, Logs
from fastprop.train.monitor import Monitor

if TYPE_CHECKING:
    from fastprop.optim import Optimizer
    from fastprop.optim.hyper import LearningRate
    from fastprop.train.trainer import Trainer


class ReduceLROnPlateau(Callback):
    """Multiplies the learning rate when a number of the epochs has stopped getting better.

    PyTorch's rules: after more than `patience` epochs in a row that are no better, the rate is
    multiplied by `factor`, and counting begins anew. The rate is the optimizer's, in all its
    groups; a schedule goes on as it would, but lower.

    Args:
        monitor: Which number; ``val_…`` want a validation in ``fit``.
        factor: Below 1.
        patience: How many epochs in a row may be no better.
        threshold: Better is what is better by more than this,
        threshold_mode: as a share of the best one (``"rel"``) or as it is (``"abs"``).
        cooldown: How many epochs after a reduction do not count.
        min_lr: The rate goes no lower.
        eps: A reduction by no more than this is left out.
        mode: ``"min"``, ``"max"``, or ``"auto"``: a metric says itself, a loss is to be small.

    Attributes:
        best: The best number so far, or NaN.
        reductions: How many there were.

    Raises:
        ValueError: A number out of its range, an unknown mode; in ``fit``: a number that is not
            recorded.
        TypeError: Not a number; in ``fit``: the optimizer's rate is a function of the step.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float = 0.0,
        eps: float = 1e-8,
        mode: str = "auto",
    ) -> None:
        where = "ReduceLROnPlateau"
        self._monitor = Monitor(where, monitor, mode)
        self.factor = real_number(where, "factor", factor, below=1.0)
        self.patience = integer(where, "patience", patience)
        self.threshold = real_number(where, "threshold", threshold)
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(
                f"{where}: threshold_mode must be 'rel' or 'abs', got {threshold_mode!r}"
            )
        self.threshold_mode = threshold_mode
        self.cooldown = integer(where, "cooldown", cooldown)
        self.min_lr = real_number(where, "min_lr", min_lr)
        self.eps = real_number(where, "eps", eps)
        self._begin()

    def _begin(self) -> None:
        self.best = math.nan
        self.reductions = 0
        self._bad = 0
        self._cooling = 0

    def check(self, trainer: Trainer, validates: bool) -> None:
        self._monitor.check(trainer, validates)
        for group in trainer.optimizer.param_groups:
            rate = group["lr"]
            if callable(rate) and not isinstance(rate, Schedule):
                raise TypeError(
                    "ReduceLROnPlateau: the optimizer's lr is a function of the step; give it a "
                    "number or a schedule"
                )

    def on_train_begin(self, trainer: Trainer) -> None:
        self._monitor.begin(trainer)
        self._begin()

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Logs) -> None:
        value = self._monitor.value(logs)
        if self._is_better(value):
            self.best, self._bad = value, 0
        else:
            self._bad += 1
        if self._cooling > 0:
            self._cooling -= 1
            self._bad = 0
        if self._bad > self.patience:
            self._reduce(trainer.optimizer)
            self._cooling, self._bad = self.cooldown, 0

    def _is_better(self, value: float) -> bool:
        by = self.threshold
        if self.threshold_mode == "rel" and not math.isnan(self.best):
            by *= self.best  # PyTorch's rule also where that is negative
        return self._monitor.better(value, self.best, by)

    def _reduce(self, optimizer: Optimizer) -> None:
        update = int(optimizer.updates(optimizer.steps, 1)[0])
        optimizer.lr = self._reduced(optimizer.lr, update)
        for group in optimizer.param_groups:
            if "lr" in group.own:
                group["lr"] = self._reduced(group["lr"], update)
        self.reductions += 1

    def _reduced(self, rate: LearningRate, step: int) -> LearningRate:
        old = rate(step) if callable(rate) else rate
        new = max(old * self.factor, self.min_lr)
        if old - new <= self.eps:
            return rate
        return Scaled(rate, new / old) if isinstance(rate, Schedule) else new

    def state_dict(self) -> dict[str, Any]:
        return {
            "best": self.best,
            "reductions": self.reductions,
            "bad": self._bad,
            "cooling": self._cooling,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best = float(state["best"])
        self.reductions = int(state["reductions"])
        self._bad, self._cooling = int(state["bad"]), int(state["cooling"])
