"""Layers with state and with random numbers: saved, rebuilt from the file alone, and resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from helpers import uniform
from training import weights_of

import fastprop as fp
from fastprop import nn, optim

X, Y = uniform((50, 4)) * 5 + 3, uniform((50, 1), seed=1)


def _every_layer() -> nn.Sequential:
    fp.seed(0)
    return nn.Sequential(
        nn.Standardize(4), nn.Dense(4, 16), nn.BatchNorm(16, momentum=None), nn.ReLU(),
        nn.Dropout(0.3), nn.Dense(16, 8), nn.LayerNorm(8, bias=False), nn.GaussianNoise(0.1),
        nn.Dense(8, 8), nn.BatchNorm(8, affine=False, track_running_stats=False),
        nn.GroupNorm(2, 8, affine=False), nn.AlphaDropout(0.2), nn.RMSNorm((8,), eps=1e-3),
        nn.Dense(8, 1),
    )  # fmt: skip


def _trainer() -> fp.Trainer:
    return fp.Trainer(_every_layer(), "mse", optim.Adam(lr=1e-2), seed=1)


def test_a_model_is_rebuilt_from_its_file(tmp_path: Path) -> None:
    trainer = _trainer()
    trainer.fit(X, Y, epochs=2, batch_size=10, verbose=False)
    fp.save(trainer.model, tmp_path / "model.safetensors")
    loaded = fp.load(tmp_path / "model.safetensors")
    assert repr(loaded) == repr(trainer.model)
    assert weights_of(loaded) == weights_of(trainer.model)
    x = X.astype(np.float32)
    np.testing.assert_array_equal(loaded.eval()(x).data, trainer.model.eval()(x).data)


class StopAfter(fp.Callback):
    """An interruption in the middle of an epoch."""

    def on_steps_end(self, trainer: fp.Trainer, first_step: int, losses: Any) -> None:
        if trainer.optimizer.steps > 10:
            raise KeyboardInterrupt


def test_a_run_goes_on_with_its_random_numbers_and_statistics(tmp_path: Path) -> None:
    whole = _trainer()
    whole.fit(X, Y, epochs=3, batch_size=8, verbose=False)
    path = tmp_path / "run.safetensors"
    try:
        keep = fp.train.ModelCheckpoint(path, every_steps=5)
        _trainer().fit(X, Y, epochs=3, batch_size=8, verbose=False, callbacks=[keep, StopAfter()])
    except KeyboardInterrupt:
        pass
    resumed = fp.Trainer.resume(path)
    assert resumed.optimizer.steps == 10  # of 21, in the middle of the second epoch
    resumed.fit(X, Y, epochs=3, batch_size=8, verbose=False)
    assert weights_of(resumed.model) == weights_of(whole.model)
