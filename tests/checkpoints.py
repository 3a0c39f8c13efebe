"""Trainings that are broken off at a step, and all that a Trainer is in a form to compare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.training import network, regression, weights_of

import fastprop as fp
from fastprop import optim
from fastprop.train import ModelCheckpoint

X, Y = regression(70)
WEIGHT = np.random.default_rng(1).uniform(0.5, 2.0, 70)


class BreakOffError(Exception):
    """Stands for what ends a process."""


class BreakOff(fp.Callback):
    """Ends the training at a step, when the checkpoints of that step are there."""

    def __init__(self, step: int) -> None:
        self.step = step

    def steps_until_due(self, trainer):
        return self.step - trainer.optimizer.steps if trainer.optimizer.steps < self.step else None

    def on_save_point(self, trainer):
        if trainer.optimizer.steps >= self.step:
            raise BreakOffError


def everything(t: fp.Trainer) -> tuple:
    state = {key: [a.tobytes() for a in arrays] for key, arrays in t.optimizer.state.items()}
    history = {name: np.array(values).tobytes() for name, values in t.history.to_dict().items()}
    return weights_of(t.model), state, t.optimizer.steps, t.epoch, history, t.history.notes


def make(optimizer: Any = None, loss: Any = "mse", **options: Any) -> fp.Trainer:
    optimizer = optimizer or optim.Adam(lr=1e-2)
    return fp.Trainer(network(3, 8, 1), loss, optimizer, metrics=["mae"], **options)


def broken_off(
    path: Path, step: int, trainer: fp.Trainer, callbacks: Any = (), every: int = 1, **options: Any
) -> None:
    """Train until `step`, with a checkpoint that was written just then or before."""
    saving = ModelCheckpoint(path, every_steps=every)
    with pytest.raises(BreakOffError):
        trainer.fit(X, Y, callbacks=[saving, *callbacks, BreakOff(step)], **options)


# Batches of 16: 5 steps an epoch, the last one of 6 rows.
ARGUMENTS = {"epochs": 6, "batch_size": 16}
