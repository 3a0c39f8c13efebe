"""The learning-rate range test."""

from __future__ import annotations

import numpy as np
import pytest
from tests.training import classes, network, regression, weights_of

import fastprop as fp
from fastprop import optim
from fastprop.train import LearningRateRange

X, Y = regression(300)


def trainer(optimizer=None, **options) -> fp.Trainer:
    return fp.Trainer(network(3, 16, 1), "mse", optimizer or optim.Adam(), **options)


def everything(t: fp.Trainer) -> tuple:
    state = [a.tobytes() for arrays in t.optimizer.state.values() for a in arrays]
    return weights_of(t.model), state, t.optimizer.steps, t.epoch, t.optimizer.lr, t.history


@pytest.mark.parametrize("batch_size", [16, None, 299, 1000])
def test_nothing_is_changed(batch_size) -> None:
    t = trainer()
    t.fit(X, Y, epochs=2)
    before = everything(t)
    t.find_lr(X, Y, batch_size=batch_size)
    assert everything(t) == before
    t.fit(X, Y)
    other = trainer()
    other.fit(X, Y, epochs=2)
    other.fit(X, Y)
    assert weights_of(t.model) == weights_of(other.model)


@pytest.mark.parametrize("shuffle_seed", [0, 5])
def test_losses_are_those_of_steps_with_these_rates(shuffle_seed) -> None:
    t = trainer(seed=shuffle_seed)
    found = t.find_lr(X, Y, batch_size=32, min_lr=1e-4, max_lr=1e-2, steps=25)
    rates = np.geomspace(1e-4, 1e-2, 25)
    np.testing.assert_allclose(found.rates, rates, rtol=1e-12)
    t.optimizer.lr = lambda step: rates[step]
    from fastprop.data import RowOrder

    order = RowOrder(300, shuffle=True, seed=shuffle_seed)
    rows = np.concatenate([order(epoch)[: 9 * 32] for epoch in (1, 2, 3)])
    losses = [
        t.train_step(X[rows[32 * i : 32 * i + 32]], Y[rows[32 * i : 32 * i + 32]])
        for i in range(25)
    ]
    np.testing.assert_array_equal(found.losses, losses)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_suggestion_trains_well(optimizer: str) -> None:
    """Better than a tenth and than a hundred times of it."""
    found = trainer(optimizer).find_lr(X, Y, max_lr=100.0, steps=200)
    assert found.suggestion is not None
    losses = []
    for factor in (1.0, 0.1, 100.0):
        t = trainer(optimizer)
        t.optimizer.lr = found.suggestion * factor
        try:
            losses.append(t.fit(X, Y, epochs=5)["loss"][-1])
        except fp.NonFiniteError:
            losses.append(np.inf)
    assert losses[0] == min(losses)


def test_it_ends_when_the_loss_explodes() -> None:
    found = trainer("sgd").find_lr(X, Y, min_lr=1e-3, max_lr=1e6, steps=120)
    assert found.exploded
    assert len(found.rates) == len(found.losses) < 120
    least = np.minimum.accumulate(found.losses)
    assert found.losses[-1] > 4 * found.losses[0]
    assert np.all(found.losses[:-1] - least[:-1] <= 4 * np.maximum(found.losses[0], least[:-1]))
    assert not trainer().find_lr(X, Y, max_lr=1e-3).exploded


def test_smoothing_and_suggestion() -> None:
    rates = np.geomspace(1e-5, 1.0, 101)
    place = np.log10(rates)
    losses = 1.0 - 1.0 / (1.0 + np.exp(-6 * (place + 2.5)))  # falls most steeply at 10^-2.5
    found = LearningRateRange(rates, losses, exploded=False)
    weights = 0.9 ** np.arange(101)[::-1]
    assert found.smoothed[-1] == pytest.approx(losses @ weights / weights.sum())
    assert found.smoothed[0] == pytest.approx(losses[0])
    assert found.suggestion == pytest.approx(10**-2.5, rel=0.1)
    assert "suggestion: 0.00" in repr(found)
    rising = LearningRateRange(rates, np.arange(101.0), exploded=False)
    assert rising.suggestion is None
    assert "suggestion: none" in repr(rising)


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_not_taken_for_a_fall(seed: int) -> None:
    """A flat loss: what its random ups and downs say about rates is chance."""
    rates = np.geomspace(1e-7, 1.0, 100)
    flat = 1.0 + 0.2 * np.random.default_rng(seed).standard_normal(100)
    assert LearningRateRange(rates, flat, exploded=False).suggestion is None
    exploding = flat + np.where(rates > 0.1, 100.0 * (rates - 0.1), 0.0)
    found = LearningRateRange(rates, exploding, exploded=True)
    assert found.suggestion is not None
    assert 3e-4 < found.suggestion < 0.03


def test_with_classes_and_weights() -> None:
    x, y = classes(120)
    t = fp.Trainer(network(2, 8, 3), "cross_entropy", "adam")
    weight = np.arange(120) % 2.0
    found = t.find_lr(x, y, sample_weight=weight, steps=30)
    assert len(found.losses) <= 30
    assert np.isfinite(found.losses).all()


def test_picture(tmp_path) -> None:
    pytest.importorskip("matplotlib")
    found = trainer("sgd").find_lr(X, Y, max_lr=1e3)
    for name in ("lr.png", "lr.svg"):
        path = found.plot(tmp_path / name)
        assert path.stat().st_size > 1000


BAD = [
    ({"min_lr": 0.0}, ValueError, "expects 0 < min_lr < max_lr"),
    ({"min_lr": 1.0, "max_lr": 0.1}, ValueError, "expects 0 < min_lr < max_lr, got 1.0 and 0.1"),
    ({"max_lr": float("nan")}, ValueError, "max_lr must be a finite number"),
    ({"max_lr": float("inf")}, ValueError, "max_lr must be a finite number"),
    ({"min_lr": "small"}, TypeError, "min_lr must be a number, got 'small'"),
    ({"steps": 3}, ValueError, "steps must be at least 5, got 3"),
    ({"steps": 10.0}, TypeError, "steps must be an integer"),
    ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
]


@pytest.mark.parametrize(("options", "kind", "message"), BAD)
def test_bad_arguments(options, kind, message) -> None:
    with pytest.raises(kind, match=f"Trainer.find_lr: .*{message}"):
        trainer().find_lr(X, Y, **options)


def test_a_loss_that_is_broken_from_the_start() -> None:
    t = trainer()
    before = everything(t)
    with pytest.raises(ValueError, match="the loss is not finite at the first rate"):
        t.find_lr(X, np.full(len(X), 1e30))
    assert everything(t) == before


def test_an_optimizer_in_python_takes_the_rates() -> None:
    """Gradient descent, which is what L-BFGS begins with: the first loss after a step tells."""
    x, y = X[:20], Y[:20]
    found = trainer(optim.LBFGS(lr=1.0, max_iter=1)).find_lr(x, y, batch_size=None, steps=20)
    by_hand = trainer(optim.LBFGS(lr=1.0, max_iter=1))
    losses = []
    for rate in found.rates:
        by_hand.optimizer.lr = rate
        losses.append(by_hand.train_step(x, y))
    np.testing.assert_allclose(found.losses[:5], losses[:5], rtol=1e-6)
    assert found.losses[3] == pytest.approx(found.losses[0], rel=1e-4)  # tiny rates, no progress
    with pytest.raises(ValueError, match=r"find_lr: LBFGS needs all rows in every step; batch_si"):
        trainer(optim.LBFGS()).find_lr(X, Y)
