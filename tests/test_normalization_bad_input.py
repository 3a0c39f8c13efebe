"""What normalization refuses: batches of one, numbers out of range, shapes that do not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import uniform

import fastprop as fp
from fastprop import Tensor, nn
from fastprop import functional as F


def test_a_batch_of_one_has_no_variance() -> None:
    layer = nn.BatchNorm(3)
    with pytest.raises(ValueError, match=r"batch_norm: training needs more than 1 value"):
        layer(np.ones((1, 3), np.float32))
    assert layer.num_batches_tracked.data == 0
    assert layer(np.ones((1, 2, 3), np.float32)).shape == (1, 2, 3)  # two values a feature
    layer.eval()
    assert layer(np.ones((1, 3), np.float32)).shape == (1, 3)


def test_a_trainer_refuses_a_last_batch_of_one() -> None:
    model = nn.Sequential(nn.Dense(3, 4), nn.BatchNorm(4), nn.Dense(4, 1))
    trainer = fp.Trainer(model, "mse", "sgd")
    x, y = uniform((33, 3), dtype=np.float32), uniform((33, 1), dtype=np.float32)
    before = model.state_dict()
    with pytest.raises(ValueError, match=r"Trainer\.fit: 33 rows in batches of 16 leave a last"):
        trainer.fit(x, y, batch_size=16, verbose=False)
    with pytest.raises(ValueError, match=r"batch_norm: training needs more than 1 value"):
        trainer.train_step(x[:1], y[:1])
    trainer.train_step(x[:2], y[:2])
    with pytest.raises(ValueError, match=r"leave a batch of 1"):
        trainer.train_step(x[:1], y[:1])
    model.load_state_dict(before)
    trainer.fit(x, y, batch_size=16, drop_last=True, verbose=False)
    trainer.fit(x, y, batch_size=15, verbose=False)
    assert trainer.predict(x[:1]).shape == (1, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.BatchNorm(0), "BatchNorm: num_features must be at least 1"),
        (
            lambda: nn.BatchNorm(3, eps=-1),
            r"BatchNorm: eps must be a finite number, not negative, got -1",
        ),
        (lambda: nn.BatchNorm(3, eps=float("nan")), "BatchNorm: eps must be a finite number"),
        (lambda: nn.BatchNorm(3, momentum=1.5), r"momentum must be in \[0, 1\], got 1.5"),
        (lambda: nn.BatchNorm(3, momentum=-0.1), "momentum must be a finite number"),
        (lambda: nn.LayerNorm(()), "normalized_shape must have at least one axis"),
        (lambda: nn.LayerNorm((3, 0)), "normalized_shape must be at least 1"),
        (lambda: nn.RMSNorm(3, eps=-1e-3), "RMSNorm: eps must be a finite number"),
        (lambda: nn.GroupNorm(4, 6), "GroupNorm: 4 groups do not divide 6 channels"),
        (lambda: F.group_norm(np.ones((2, 6)), 4), "group_norm: 4 groups do not divide 6"),
        (lambda: nn.BatchNorm(3)(np.ones((4, 2), np.float32)), "running_mean has shape"),
        (lambda: nn.BatchNorm(3)(np.ones(3, np.float32)), r"expects \[rows, ..., features\]"),
        (lambda: nn.LayerNorm(3)(np.ones((4, 2), np.float32)), "as its last axes"),
        (lambda: nn.GroupNorm(1, 3)(np.ones((4, 2), np.float32)), "weight has shape"),
        (
            lambda: F.batch_norm(np.ones((4, 2)), running_mean=Tensor(np.ones(2))),
            "running_mean and running_var come together",
        ),
        (
            lambda: F.batch_norm(
                np.ones((4, 2)), Tensor(np.ones(2)), Tensor(np.ones(2)), None, None, True, None
            ),
            "momentum=None needs num_batches_tracked",
        ),
        (lambda: F.normalize(np.ones((2, 2)), np.ones(3), np.ones(2)), "normalize: mean has shape"),
        (lambda: F.layer_norm(np.ones((2, 3)), 3, np.ones(2)), "layer_norm: weight has shape"),
    ],
)
def test_bad_values(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.BatchNorm(2.5), "num_features must be an integer"),
        (lambda: nn.BatchNorm(3, eps="small"), "BatchNorm: eps must be a number, got 'small'"),
        (lambda: nn.BatchNorm(3, dtype="int32"), "dtype must be float32 or float64"),
        (lambda: F.layer_norm(np.ones((2, 3), int), 3), "layer_norm: expects float32 or float64"),
        (lambda: nn.BatchNorm(2)(Tensor(np.ones((3, 2)))), "different dtypes"),
        (
            lambda: F.batch_norm(np.ones((4, 2)), [0, 0], [1, 1], training=True),
            "running_mean and running_var must be Tensors",
        ),
    ],
)
def test_bad_types(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()
