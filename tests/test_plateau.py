"""ReduceLROnPlateau: PyTorch's rules."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.training import network, regression

import fastprop as fp
from fastprop import optim
from fastprop.optim import schedules
from fastprop.train import ReduceLROnPlateau

X, Y = regression(20)


class Numbers(fp.Callback):
    """Puts chosen numbers into the logs, and notes the rates of the epochs."""

    def __init__(self, numbers) -> None:
        self.numbers = numbers
        self.rates: list[float] = []

    def on_epoch_end(self, trainer, epoch, logs):
        logs["score"] = self.numbers[epoch - 1]
        steps = trainer.optimizer.steps
        self.rates.append(trainer.optimizer.learning_rates(steps - 1, 1)[0])


def rates_of(numbers, lr=0.1, **options) -> list[float]:
    """The rate of each epoch."""
    given = Numbers(numbers)
    t = fp.Trainer(network(3, 4, 1), "mse", optim.SGD(lr=lr))
    reduce = ReduceLROnPlateau("score", **options)
    t.fit(X, Y, epochs=len(numbers), batch_size=None, callbacks=[given, reduce])
    return given.rates


RNG = np.random.default_rng(0)
WALKS = [
    np.abs(np.cumsum(RNG.normal(size=60)) + 5).tolist(),
    (1 / (1 + np.arange(60)) + 0.02 * RNG.normal(size=60)).tolist(),
    [1.0] * 60,
    [math.nan, 1.0, math.nan, 0.5, math.inf, *[0.5] * 20],
    (-np.arange(60.0)).tolist(),
]
OPTIONS = [
    {"patience": 2},
    {"patience": 0, "factor": 0.5, "cooldown": 3},
    {"patience": 3, "threshold": 0.1, "threshold_mode": "abs", "factor": 0.7},
    {"patience": 1, "threshold": 0.05, "mode": "max", "factor": 0.3},
    {"patience": 1, "threshold": 0.05, "mode": "max", "threshold_mode": "abs", "min_lr": 1e-3},
    {"patience": 0, "factor": 0.1, "eps": 1e-4},
    {"patience": 0, "factor": 0.0, "min_lr": 0.01},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("numbers", WALKS)
def test_rates_are_those_of_pytorch(numbers, options) -> None:
    torch = pytest.importorskip("torch", reason="compared with PyTorch's ReduceLROnPlateau")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    reduce = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **{"mode": "min", **options})
    expected = []
    for number in numbers:
        expected.append(optimizer.param_groups[0]["lr"])
        reduce.step(number)
    assert rates_of(numbers, **{"mode": "min", **options}) == expected


# patience, cooldown, epochs (from 0) from which on the rate is lower, for a number that never
# changes: the first one is the best, the reduction follows the epoch with one bad too many.
FLAT = [(0, 0, [2, 3, 4, 5, 6, 7]), (2, 0, [4, 7]), (1, 2, [3, 7]), (5, 0, [7])]


@pytest.mark.parametrize(("patience", "cooldown", "drops"), FLAT)
def test_counting(patience, cooldown, drops) -> None:
    rates = rates_of([1.0] * 8, factor=0.5, patience=patience, cooldown=cooldown)
    found = [i for i in range(1, 8) if rates[i] < rates[i - 1]]
    assert found == drops
    assert rates[-1] == 0.1 * 0.5 ** len(drops)


def test_a_schedule_goes_on_lower() -> None:
    cosine = schedules.Cosine(0.1, steps=10)
    rates = rates_of([1.0] * 6, lr=cosine, factor=0.5, patience=1)
    scale = np.array([1, 1, 1, 0.5, 0.5, 0.25])  # an epoch has one step
    np.testing.assert_allclose(rates, scale * cosine.rates(np.arange(6)), rtol=1e-15)


def test_scaled() -> None:
    scaled = schedules.Scaled(schedules.Cosine(0.1, steps=10), 0.5)
    np.testing.assert_array_equal(
        scaled.rates(np.arange(20)), 0.5 * scaled.then.rates(np.arange(20))
    )
    assert scaled.length == 10
    assert schedules.Scaled(0.1, 2.0)(3) == 0.2
    with pytest.raises(ValueError, match="Scaled: factor must be a finite number, not negative"):
        schedules.Scaled(0.1, -1.0)
    with pytest.raises(TypeError, match="Scaled: then must be a Schedule"):
        schedules.Scaled(lambda step: 0.1, 1.0)


def test_groups_have_rates_of_their_own() -> None:
    model = network(3, 4, 1)
    cosine = schedules.Cosine(0.2, steps=10)
    groups = [
        {"params": [*model[0].parameters()]},
        {"params": [model[1].weight], "lr": 0.05},
        {"params": [model[1].bias], "lr": cosine},
    ]
    t = fp.Trainer(model, "mse", optim.SGD(groups, lr=0.1))
    reduce = ReduceLROnPlateau("score", patience=0, factor=0.5, min_lr=0.02)
    t.fit(X, Y, epochs=3, batch_size=None, callbacks=[Numbers([1.0] * 3), reduce])
    first, second, third = (group["lr"] for group in t.optimizer.param_groups)
    assert (first, second) == (0.025, 0.02)
    np.testing.assert_allclose(third.rates([0, 4]), 0.25 * cosine.rates([0, 4]), rtol=1e-15)


def test_what_it_tells() -> None:
    reduce = ReduceLROnPlateau("loss", patience=0, threshold=0.9)
    t = fp.Trainer(network(3, 4, 1), "mse", optim.SGD(lr=1e-3))
    history = t.fit(X, Y, epochs=4, callbacks=[reduce])
    assert reduce.best == history["loss"][0]
    assert reduce.reductions == 3
    assert t.optimizer.lr == pytest.approx(1e-6)
    t.fit(X, Y, epochs=1, callbacks=[reduce])
    assert reduce.reductions == 0


BAD = [
    ({"factor": 1.0}, ValueError, r"factor must be in \[0, 1\), got 1.0"),
    ({"factor": -0.1}, ValueError, "factor must be in"),
    ({"patience": -1}, ValueError, "patience must be at least 0"),
    ({"threshold": math.nan}, ValueError, "threshold must be a finite number"),
    ({"threshold_mode": "both"}, ValueError, "threshold_mode must be 'rel' or 'abs', got 'both'"),
    ({"cooldown": 1.5}, TypeError, "cooldown must be an integer"),
    ({"min_lr": "low"}, TypeError, "min_lr must be a number"),
    ({"mode": "least"}, ValueError, "mode must be"),
]


@pytest.mark.parametrize(("options", "kind", "message"), BAD)
def test_bad_arguments(options, kind, message) -> None:
    with pytest.raises(kind, match=f"ReduceLROnPlateau: {message}"):
        ReduceLROnPlateau(**options)


def test_a_function_of_the_step_cannot_be_scaled() -> None:
    with pytest.raises(TypeError, match="lr is a function of the step; give it a number or a"):
        rates_of([1.0], lr=lambda step: 0.1)
    t = fp.Trainer(network(3, 4, 1), "mse", "sgd")
    with pytest.raises(ValueError, match="'val_loss' is not recorded"):
        t.fit(X, Y, callbacks=[ReduceLROnPlateau()])


def test_the_schedule_of_an_optimizer_that_accumulates_counts_updates() -> None:
    """Batch 6 is update 2, where this schedule is not yet at its end."""
    optimizer = optim.Accumulate(optim.SGD(lr=schedules.Polynomial(0.1, steps=4)), 3)
    t = fp.Trainer(network(3, 4, 1), "mse", optimizer)
    callbacks = [Numbers([1.0, 1.0]), ReduceLROnPlateau("score", patience=0, factor=0.5)]
    t.fit(X[:12], Y[:12], batch_size=4, epochs=2, callbacks=callbacks)
    assert optimizer.steps == 6
    assert optimizer.lr == schedules.Scaled(schedules.Polynomial(0.1, steps=4), 0.5)
