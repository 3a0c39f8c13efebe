"""Training by the clock. The clock of these tests is their own: it goes on by the step."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.training import network, regression, weights_of

import fastprop as fp
from fastprop import optim
from fastprop.optim import schedules
from fastprop.train import pace

X, Y = regression(96)
STEP = 0.001  # seconds that a step takes on the test's clock


class Clock(fp.Callback):
    """Stands for time.perf_counter: every step of the optimizer takes as long as the others."""

    def __init__(self, optimizer, monkeypatch, step_seconds: float = STEP) -> None:
        self.optimizer, self.step_seconds = optimizer, step_seconds
        self.rates: list[float] = []
        monkeypatch.setattr(pace, "perf_counter", self.now)

    def now(self) -> float:
        return self.optimizer.steps * self.step_seconds

    def steps_until_due(self, trainer):
        return 1

    def on_steps_end(self, trainer, first_step, losses):
        assert len(losses) == 1


class Recorded(optim.SGD):
    """Keeps the rates that it is given. (A Program asks for some when it is made.)"""

    def _scalars(self, group, steps, rates):
        self.given = [*getattr(self, "given", []), *rates.tolist()]
        return super()._scalars(group, steps, rates)

    @property
    def used(self):
        return self.given[-self.steps :]


def fit(monkeypatch, lr, **options):
    optimizer = Recorded(lr=lr)
    t = fp.Trainer(network(3, 8, 1), "mse", optimizer)
    clock = Clock(optimizer, monkeypatch)
    options.setdefault("callbacks", [])
    options["callbacks"] = [*options["callbacks"], clock]
    history = t.fit(X, Y, batch_size=8, **options)  # 12 steps an epoch
    return t, history


def test_it_ends_when_the_time_is_up(monkeypatch) -> None:
    t, history = fit(monkeypatch, 0.01, max_seconds=30 * STEP)
    assert t.optimizer.steps == 30
    assert history.epoch == [1, 2, 3]  # the third one has 6 of 12 steps
    assert history.notes == ["the time was up in epoch 3, after step 6 of 12"]
    assert t.fitting is None


def test_a_part_of_an_epoch_counts_its_own_rows(monkeypatch) -> None:
    t, history = fit(monkeypatch, 0.0, max_seconds=5 * STEP, shuffle=False)
    assert t.optimizer.steps == 5
    assert history["loss"][0] == pytest.approx(t.evaluate(X[:40], Y[:40])["loss"], rel=1e-5)


def test_epochs_may_come_first(monkeypatch) -> None:
    t, history = fit(monkeypatch, 0.01, max_seconds=1.0, epochs=2)
    assert t.optimizer.steps == 24
    assert history.epoch == [1, 2]
    assert history.notes == []


def test_a_schedule_is_stretched_over_the_time(monkeypatch) -> None:
    cosine = schedules.Cosine(0.1, steps=1000)
    t, _ = fit(monkeypatch, cosine, max_seconds=40 * STEP)
    expected = cosine.rates(np.arange(40) * 1000 // 40)
    np.testing.assert_allclose(t.optimizer.used, expected, rtol=0, atol=0.1 * 4e-3)
    assert t.optimizer.used[-1] < 0.001


def test_planned_epochs_stretch_every_schedule(monkeypatch) -> None:
    """10 epochs of 12 steps are planned, there is time for 60 steps: two at a time."""
    schedule = schedules.Step(0.1, step_size=30)
    t, _ = fit(monkeypatch, schedule, epochs=10, max_seconds=60 * STEP)
    assert len(t.optimizer.used) == 60
    exact = schedule.rates(np.arange(60) * 2)
    assert np.mean(t.optimizer.used == exact) > 0.9  # all but where rounding meets an edge
    assert t.optimizer.used[0] == 0.1
    assert t.optimizer.used[-1] == pytest.approx(0.1**4)


@pytest.mark.parametrize("epochs", [2**63, 10**30])
@pytest.mark.parametrize("lr", [0.1, schedules.Cosine(0.1, 60)])
def test_more_epochs_than_there_are_numbers_for(epochs, lr, monkeypatch) -> None:
    t, history = fit(monkeypatch, lr, epochs=epochs, max_seconds=30 * STEP)
    assert t.optimizer.steps == 30
    assert len(history.epoch) == 3
    if isinstance(lr, schedules.Cosine):  # all of it is gone through
        assert t.optimizer.used[0] == 0.1
        assert t.optimizer.used[-1] < 0.002


def test_a_fast_machine_follows_the_steps(monkeypatch) -> None:
    schedule = schedules.Cosine(0.1, steps=24)
    t, _ = fit(monkeypatch, schedule, epochs=2, max_seconds=1000.0)
    np.testing.assert_array_equal(t.optimizer.used, schedule.rates(np.arange(24)))


@pytest.mark.parametrize("lr", [0.01, schedules.Exponential(0.01, 0.99), lambda step: 0.01])
def test_rates_without_an_end_are_left_alone(lr, monkeypatch) -> None:
    optimizer = Recorded(lr=lr)
    assert pace.Pace(1.0, optimizer, None).tempo(0.1)(optimizer.lr, 5, 3) is None


def test_rates_of_groups_go_by_the_clock_too(monkeypatch) -> None:
    model = network(3, 8, 1)
    cosine = schedules.Cosine(0.1, steps=1000)
    groups = [
        {"params": model[0].parameters()},
        {"params": model[1].parameters(), "lr": cosine},
    ]
    optimizer = Recorded(groups, lr=0.01)
    clock = Clock(optimizer, monkeypatch)
    t = fp.Trainer(model, "mse", optimizer)
    t.fit(X, Y, batch_size=8, max_seconds=40 * STEP, callbacks=[clock])
    plain, stretched = np.reshape(optimizer.given[-80:], (40, 2)).T
    assert np.all(plain == 0.01)
    expected = cosine.rates(np.arange(40) * 1000 // 40)
    np.testing.assert_allclose(stretched, expected, rtol=0, atol=0.1 * 4e-3)


def test_a_schedule_counts_updates_of_several_batches(monkeypatch) -> None:
    """12 batches an epoch are 3 updates; the machine is fast, so the schedule follows those."""
    inner = Recorded(lr=schedules.Cosine(0.1, steps=6))
    optimizer = optim.Accumulate(inner, 4)
    clock = Clock(optimizer, monkeypatch)
    t = fp.Trainer(network(3, 8, 1), "mse", optimizer)
    t.fit(X, Y, batch_size=8, epochs=2, max_seconds=1000.0, callbacks=[clock])
    expected = np.repeat(inner.lr.rates(np.arange(6)), 4)
    np.testing.assert_array_equal(inner.given[-24:], expected)


def test_a_run_that_goes_on_follows_the_schedule_from_there(monkeypatch, tmp_path) -> None:
    path, schedule = tmp_path / "c", schedules.Cosine(0.1, steps=24)
    options = {"epochs": 2, "max_seconds": 1000.0}

    class BreakOff(fp.Callback):
        def on_save_point(self, trainer):
            if trainer.optimizer.steps == 15:
                raise InterruptedError

    callbacks = [fp.train.ModelCheckpoint(path, every_steps=15), BreakOff()]
    with pytest.raises(InterruptedError):
        fit(monkeypatch, schedule, callbacks=callbacks, **options)
    optimizer = Recorded(lr=schedule)
    t = fp.Trainer.resume(path, optimizer=optimizer)
    clock = Clock(optimizer, monkeypatch)
    t.fit(X, Y, batch_size=8, callbacks=[clock], **options)
    assert optimizer.steps == 24
    np.testing.assert_array_equal(optimizer.given[-9:], schedule.rates(np.arange(15, 24)))


LENGTHS = [
    (schedules.Cosine(0.1, 50), 50),
    (schedules.Polynomial(0.1, 60), 60),
    (schedules.OneCycle(0.1, 70), 70),
    (schedules.Warmup(10, then=schedules.Cosine(0.1, 50)), 60),
    (schedules.Sequential([0.1, schedules.Cosine(0.1, 50)], [20]), 70),
    (schedules.Warmup(10, then=0.1), None),
    (schedules.Step(0.1, 10), None),
    (schedules.InverseSqrt(0.1), None),
]


@pytest.mark.parametrize(("schedule", "length"), LENGTHS)
def test_lengths_of_schedules(schedule, length) -> None:
    assert schedule.length == length
    if length is not None:
        after = schedule.rates(np.arange(length, length + 20))
        assert np.all(after == after[0])


def test_the_best_model_comes_back(monkeypatch) -> None:
    class Keeps(fp.Callback):
        def __init__(self):
            self.weights, self.losses = [], []

        def on_epoch_end(self, trainer, epoch, logs):
            self.weights.append(weights_of(trainer.model))
            self.losses.append(logs["val_loss"])

    keeps = Keeps()
    lr = lambda step: 0.05 if step < 36 else 0.4  # noqa: E731
    t, history = fit(
        monkeypatch, lr, max_seconds=64 * STEP, callbacks=[keeps], validation_data=(X[:9], Y[:9])
    )
    best = int(np.argmin(keeps.losses))
    assert weights_of(t.model) == keeps.weights[best]
    assert best < len(history.epoch) - 1
    assert t.evaluate(X[:9], Y[:9])["loss"] == history["val_loss"][best]


def test_time_is_kept_for_the_validation(monkeypatch) -> None:
    optimizer = optim.SGD()
    monkeypatch.setattr(pace, "perf_counter", lambda: 0.0)
    kept = pace.Pace(10.0, optimizer, None)
    assert kept.left == 10.0
    kept.reserve(2.0)
    assert kept.left == 8.0
    kept.reserve(100.0)
    assert kept.left == 5.0


def test_it_takes_about_as_long_as_was_said() -> None:
    """With the clock on the wall; only that it ends is sure, and that it used the time."""
    t = fp.Trainer(network(3, 8, 1), "mse", "adam")
    history = t.fit(X, Y, max_seconds=0.2)
    assert sum(history.seconds) > 0.0
    assert t.optimizer.steps > 3


BAD = [
    (0.0, ValueError, "max_seconds must be a finite number above 0, got 0.0"),
    (-1, ValueError, "above 0"),
    (math.nan, ValueError, "above 0"),
    (math.inf, ValueError, "finite"),
    (10**400, ValueError, "max_seconds must be a finite number above 0, got 1000"),
    (-(10**400), ValueError, "above 0, got -1000"),
    ("long", TypeError, "max_seconds must be a number, got 'long'"),
    (True, TypeError, "must be a number"),
]


@pytest.mark.parametrize(("seconds", "kind", "message"), BAD)
def test_bad_times(seconds, kind, message) -> None:
    t = fp.Trainer(network(3, 8, 1), "mse", "adam")
    with pytest.raises(kind, match=message):
        t.fit(X, Y, max_seconds=seconds)


def test_one_epoch_if_nothing_is_said() -> None:
    t = fp.Trainer(network(3, 8, 1), "mse", "adam")
    assert t.fit(X, Y).epoch == [1]
    assert t.fit(X, Y, epochs=0).epoch == []
