"""Layers with state and with random numbers: saved, rebuilt from a file, resumed, checkpointed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
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


class Segments(nn.Module):
    """Two segments, each computed again in the backward pass if wanted."""

    def __init__(self, again: bool) -> None:
        super().__init__()
        fp.seed(2)
        self.again = again
        self.parts = nn.ModuleList(
            nn.Sequential(nn.Dense(4, 4), nn.BatchNorm(4), nn.Dropout(0.3), nn.Tanh())
            for _ in range(2)
        )

    def forward(self, x: Any) -> Any:
        for part in self.parts:
            x = fp.checkpoint(part, x) if self.again else part(x)
        return x


@pytest.mark.parametrize("traced", [False, True])
def test_a_segment_that_is_computed_again_draws_the_same_and_moves_once(traced: bool) -> None:
    x = X.astype(np.float32)
    states = []
    for again in (False, True):
        model = Segments(again)
        if traced:
            trainer = fp.Trainer(model, "mse", optim.SGD(lr=0.1), seed=3)
            trainer.fit(x, x, epochs=2, batch_size=16, verbose=False)
        else:
            fp.seed(9)
            (model(fp.Tensor(x)) ** 2).sum().backward()
            states.append([p.grad.data.tobytes() for p in model.parameters()])
        assert model.parts[0][1].num_batches_tracked.data == (8 if traced else 1)
        states.append(weights_of(model))
    assert states[: len(states) // 2] == states[len(states) // 2 :]
