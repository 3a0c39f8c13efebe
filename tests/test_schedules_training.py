"""Training with learning-rate schedules."""

from dataclasses import dataclass

import numpy as np
import pytest

import fastprop as fp
from fastprop import Parameter, Tensor, nn, optim
from fastprop.optim import schedules as S

SCHEDULE = S.Warmup(5, S.CosineRestarts(0.05, 7, 2, min_lr=0.001), start_factor=0.1)


def regression():
    """Data, and a model with its weights."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(90, 3))
    fp.seed(11)
    return x, np.sin(x[:, :2]), nn.Sequential(nn.Dense(3, 8, activation="tanh"), nn.Dense(8, 2))


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam, optim.AdamW])
def test_training_equals_setting_the_rate_by_hand(make):
    batches = [slice(i % 80, i % 80 + 10) for i in range(0, 400, 10)]

    def run(optimizer, prepare):
        x, y, model = regression()
        trainer = fp.Trainer(model, "mse", optimizer)
        losses = []
        for step, rows in enumerate(batches):
            prepare(optimizer, step)
            losses.append(trainer.train_step(x[rows], y[rows]))
        return losses, [p.data.copy() for p in model.parameters()]

    losses, weights = run(make(lr=SCHEDULE), lambda optimizer, step: None)
    by_hand = run(make(lr=0.1), lambda optimizer, step: setattr(optimizer, "lr", SCHEDULE(step)))
    assert losses == by_hand[0]
    for mine, other in zip(weights, by_hand[1], strict=True):
        np.testing.assert_array_equal(mine, other)
    assert losses != run(make(lr=0.05), lambda optimizer, step: None)[0]


def test_fit_equals_a_function_of_the_step():
    def run(lr):
        x, y, model = regression()
        history = fp.Trainer(model, "mse", optim.Adam(lr=lr)).fit(x, y, epochs=6, batch_size=20)
        return history["loss"], [p.data.copy() for p in model.parameters()]

    losses, weights = run(SCHEDULE)
    by_function = run(lambda step: SCHEDULE(step))
    assert losses == by_function[0]
    assert losses != run(0.05)[0]
    for mine, other in zip(weights, by_function[1], strict=True):
        np.testing.assert_array_equal(mine, other)


def test_an_eager_loop_follows_the_schedule():
    x = Parameter(np.zeros(1))
    optimizer = optim.SGD([x], lr=S.Step(1.0, 2, 0.5))
    found = []
    for _ in range(5):
        x.grad = Tensor(np.ones(1))
        optimizer.step()
        found.append(x.data[0])
    assert found == [-1.0, -2.0, -2.5, -3.0, -3.25]


def test_a_resumed_run_continues():
    def run(optimizer, parameter, steps):
        for _ in range(steps):
            parameter.grad = Tensor(np.cos(parameter.data))
            optimizer.step()

    whole, first = Parameter(np.arange(3.0)), Parameter(np.arange(3.0))
    run(optim.Adam([whole], lr=SCHEDULE), whole, 30)
    optimizer = optim.Adam([first], lr=SCHEDULE)
    run(optimizer, first, 13)
    saved = optimizer.state_dict()
    assert "lr" not in saved["hyper_parameters"]
    second = Parameter(first.data.copy())
    resumed = optim.Adam([second], lr=SCHEDULE)
    resumed.load_state_dict(saved)
    assert resumed.lr is SCHEDULE
    run(resumed, second, 17)
    np.testing.assert_array_equal(second.data, whole.data)


def test_rates_of_the_optimizer():
    optimizer = optim.SGD(lr=SCHEDULE)
    np.testing.assert_array_equal(
        optimizer.learning_rates(4, 300), SCHEDULE.rates(np.arange(4, 304))
    )
    np.testing.assert_array_equal(
        optimizer.step_scalars(4, 3)[:, 0], SCHEDULE.rates(np.arange(4, 7))
    )
    optimizer.lr = S.Constant(0.25)
    assert optimizer.step_scalars(4, 1)[0, 0] == 0.25
    assert repr(optim.Adam(lr=S.Cosine(1e-3, 1000, min_lr=1e-5))) == (
        "Adam(lr=Cosine(lr=0.001, steps=1000, min_lr=1e-05), betas=(0.9, 0.999), eps=1e-08, "
        "weight_decay=0.0, amsgrad=False)"
    )


def test_single_steps_ask_for_a_block_of_rates():
    calls = []

    @dataclass(frozen=True)
    class Counted(S.Schedule):
        def formula(self, steps):
            calls.append(len(steps))
            return np.full(steps.shape, 0.5)

    optimizer = optim.SGD(lr=Counted())
    for step in range(200):
        optimizer.step_scalars(step, 1)
    assert len(calls) == 1
