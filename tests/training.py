"""Small data and models for the tests of training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

import fastprop as fp
from fastprop import nn, optim


def regression(rows: int = 200, dtype="float32", seed: int = 0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (rows, 3)).astype(dtype)
    y = (np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2]).astype(dtype)
    return x, y


def classes(rows: int = 300, seed: int = 0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, rows)
    centers = np.array([[0.0, 2.0], [2.0, -1.0], [-2.0, -1.0]])
    x = centers[y] + rng.normal(0, 0.5, (rows, 2))
    return x.astype(np.float32), y


def network(*widths: int, dtype="float32", activation="tanh", seed: int = 0) -> nn.Sequential:
    fp.seed(seed)
    layers = [nn.Dense(i, o, activation, dtype=dtype) for i, o in pairwise(widths[:-1])]
    return nn.Sequential(*layers, nn.Dense(widths[-2], widths[-1], dtype=dtype))


def training_step(model: nn.Module, optimizer: optim.Optimizer):
    """A step of training as one writes it without a Trainer."""

    def step(x, y):
        loss = ((model(x) - y) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


def weights(*models: nn.Module) -> list[np.ndarray]:
    """Copies of all parameters."""
    return [p.data.copy() for m in models for p in m.parameters()]


def assert_same(a: list[np.ndarray], b: list[np.ndarray]) -> None:
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


def weights_of(model: nn.Module) -> bytes:
    return b"".join(a.tobytes() for a in model.state_dict().values())


def assert_same_training(one: fp.Trainer, other: fp.Trainer) -> None:
    """Weights, optimizer and history; but for the time that it took."""
    assert weights_of(one.model) == weights_of(other.model)
    assert one.epoch == other.epoch
    assert one.optimizer.steps == other.optimizer.steps
    for name in one.optimizer.state_names:
        for a, b in zip(one.optimizer.state[name], other.optimizer.state[name], strict=True):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_equal(one.history.to_dict(), other.history.to_dict())


def twins(make: Callable[[int], fp.Trainer], count: int) -> tuple[list[fp.Trainer], ...]:
    return [make(i) for i in range(count)], [make(i) for i in range(count)]


def small(seed: int, lr: float = 0.01, metrics: Sequence[Any] = ()) -> fp.Trainer:
    model = network(3, 5 + seed % 4, 1, seed=seed)
    return fp.Trainer(model, "mse", optim.Adam(lr=lr), metrics=metrics, seed=seed)
