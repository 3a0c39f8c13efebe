"""EarlyStopping, BestWeights, TerminateOnNaN: what they watch, when they end, what comes back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.training import classes, network, regression, weights_of

import fastprop as fp
from fastprop import nn, optim
from fastprop.train import BestWeights, EarlyStopping, TerminateOnNaN
from fastprop.train.monitor import Monitor

X, Y = regression(80)


def trainer(**options) -> fp.Trainer:
    return fp.Trainer(network(3, 8, 1), "mse", optim.Adam(lr=1e-2), metrics=["mae"], **options)


class Planned(fp.Callback):
    """Puts chosen numbers into the logs, and keeps the weights of every epoch."""

    def __init__(self, numbers, name: str = "score") -> None:
        self.numbers, self.name = numbers, name
        self.weights: list[bytes] = []

    def on_epoch_end(self, trainer, epoch, logs):
        logs[self.name] = self.numbers[epoch - 1]
        self.weights.append(weights_of(trainer.model))


INF, NAN = math.inf, math.nan

# numbers of the epochs, options, epoch that is the best one, epoch that is the last one
CASES = [
    ([3, 2, 1, 1, 1, 0], {"patience": 2}, 3, 5),
    ([3, 2, 1, 1, 1, 0], {"patience": 3}, 6, 6),
    ([3, 4, 0], {"patience": 1}, 1, 2),
    ([3, 4, 0], {"patience": 0}, 1, 2),
    ([3, 2.95, 2.92, 2.85, 2.5], {"patience": 2, "min_delta": 0.1}, 1, 3),
    ([3, 2.95, 2.85, 2.84, 2.83], {"patience": 2, "min_delta": 0.1}, 3, 5),
    ([1, 2, 3, 2, 2], {"patience": 2, "mode": "max"}, 3, 5),
    ([1, 2, 3, 3, 4], {"patience": 9, "mode": "max"}, 5, 5),
    ([NAN, 2, NAN, NAN, 1], {"patience": 2}, 2, 4),
    ([NAN, NAN, 1, 2, 2], {"patience": 3}, 3, 5),
    ([INF, 5, INF, INF, INF], {"patience": 3}, 2, 5),
    ([INF, INF, INF], {"patience": 2}, 1, 3),
    ([-INF, 1, 2], {"patience": 1, "mode": "max"}, 3, 3),
]


@pytest.mark.parametrize(("numbers", "options", "best", "last"), CASES)
@pytest.mark.parametrize("restore", [True, False])
def test_the_rule(numbers, options, best, last, restore) -> None:
    planned = Planned(numbers)
    stopping = EarlyStopping("score", restore_best_weights=restore, **options)
    t = trainer()
    history = t.fit(X, Y, epochs=len(numbers), callbacks=[planned, stopping])
    assert history.epoch[-1] == last
    assert stopping.best_epoch == best
    assert stopping.best == numbers[best - 1] or math.isnan(numbers[best - 1])
    ended_by_it = last < len(numbers) or stopping.stopped_epoch
    assert stopping.stopped_epoch == (last if ended_by_it else 0)
    kept = best if restore else last
    assert weights_of(t.model) == planned.weights[kept - 1]


def test_a_second_fit_begins_anew() -> None:
    stopping = EarlyStopping("loss", patience=1, min_delta=1e9)
    t = trainer()
    assert t.fit(X, Y, epochs=9, callbacks=stopping).epoch == [1, 2]
    assert t.fit(X, Y, epochs=9, callbacks=stopping).epoch == [3, 4]
    assert (stopping.best_epoch, stopping.stopped_epoch) == (3, 4)


def test_overfitting_ends_with_the_best_validation_loss() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(60, 3)).astype(np.float32)
    y = rng.normal(size=(60, 1)).astype(np.float32)  # nothing to be learned
    t = fp.Trainer(network(3, 64, 1), "mse", optim.Adam(lr=3e-2))
    stopping = EarlyStopping(patience=5)
    history = t.fit(x, y, epochs=200, validation_split=0.5, callbacks=[stopping])
    assert len(history.epoch) < 200
    assert min(history["val_loss"]) == stopping.best
    train, held_out = fp.data.split_rows(60, 0.5, seed=0)
    found = t.evaluate(x[held_out], y[held_out])["loss"]
    assert found == pytest.approx(stopping.best, rel=1e-6)
    assert len(train) == 30


def test_validation_data_of_its_own() -> None:
    stopping = EarlyStopping(patience=3, validation_data=(X[:20], Y[:20]))
    history = trainer().fit(X[20:], Y[20:], epochs=3, callbacks=stopping)
    assert sorted(history) == ["loss", "mae", "val_loss", "val_mae"]
    assert stopping.best == min(history["val_loss"])


def test_metrics_say_in_which_direction_they_are_good() -> None:
    x, y = classes(90)
    t = fp.Trainer(
        network(2, 8, 3), "cross_entropy", "adam", metrics=["accuracy", "top_2_accuracy"]
    )

    def sign(name: str, mode: str = "auto") -> bool:
        monitor = Monitor("here", name, mode)
        monitor.begin(t)
        return monitor.better(2.0, 1.0)

    assert sign("val_accuracy")
    assert sign("top_2_accuracy")
    assert not sign("val_loss")
    assert not sign("accuracy", "min")
    stopping = EarlyStopping("accuracy", patience=50)
    history = t.fit(x, y, epochs=5, callbacks=stopping)
    assert stopping.best == max(history["accuracy"])


def test_weights_stay_after_an_error() -> None:
    class Fails(fp.Callback):
        def on_epoch_end(self, trainer, epoch, logs):
            self.weights = weights_of(trainer.model)
            if epoch == 3:
                raise RuntimeError("mine")

    fails = Fails()
    t = trainer()
    with pytest.raises(RuntimeError, match="mine"):
        t.fit(X, Y, epochs=5, callbacks=[BestWeights("loss", "max"), fails])
    assert weights_of(t.model) == fails.weights


BAD = [
    (lambda: EarlyStopping(patience=-1), ValueError, "EarlyStopping: patience must be at least 0"),
    (lambda: EarlyStopping(patience=1.5), TypeError, "patience must be an integer, got 1.5"),
    (
        lambda: EarlyStopping(min_delta=-0.1),
        ValueError,
        "min_delta must be a finite number, not negative",
    ),
    (lambda: EarlyStopping(min_delta=math.nan), ValueError, "min_delta must be"),
    (lambda: EarlyStopping(min_delta="much"), TypeError, "min_delta must be a number"),
    (lambda: EarlyStopping(mode="least"), ValueError, "mode must be 'auto', 'min' or 'max'"),
    (lambda: EarlyStopping(monitor=3), TypeError, "monitor must be a string"),
    (lambda: EarlyStopping(validation_data=X), ValueError, "validation_data must be"),
]


@pytest.mark.parametrize(("make", "kind", "message"), BAD)
def test_bad_arguments(make, kind, message) -> None:
    with pytest.raises(kind, match=message):
        make()


def test_numbers_that_are_not_there() -> None:
    t = trainer()
    before = weights_of(t.model)
    with pytest.raises(ValueError, match=r"'val_mae' is not recorded without a validation; give"):
        t.fit(X, Y, callbacks=[EarlyStopping("val_mae")])
    assert weights_of(t.model) == before
    with pytest.raises(ValueError, match=r"no 'acc' among the numbers of the epoch: loss, mae"):
        t.fit(X, Y, callbacks=[EarlyStopping("acc")])


# -- a loss that is no number ----------------------------------------------------------------------


def explosive() -> fp.Trainer:
    fp.seed(0)
    model = nn.Sequential(nn.Dense(3, 8, "tanh"), nn.Dense(8, 1))
    return fp.Trainer(model, "mse", optim.SGD(lr=lambda t: 1e30 if t == 10 else 0.01))


def test_terminate_on_nan() -> None:
    loud, quiet = explosive(), explosive()
    with pytest.raises(fp.NonFiniteError) as caught:
        loud.fit(X, Y, epochs=9, batch_size=16)
    terminate = TerminateOnNaN()
    history = quiet.fit(X, Y, epochs=9, batch_size=16, callbacks=[terminate])
    assert history.epoch == [1, 2]
    assert quiet.history is history
    assert weights_of(quiet.model) == weights_of(loud.model)
    assert str(terminate.error) == str(caught.value)
    assert history.notes == [str(caught.value)]
    assert quiet.optimizer.steps == 10
    quiet.optimizer.lr = 0.01
    quiet.fit(X, Y, callbacks=[terminate])
    assert terminate.error is None


def test_an_error_that_nobody_takes_goes_on() -> None:
    class Looks(fp.Callback):
        def on_nonfinite(self, trainer, error):
            self.error = error

    looks = Looks()
    with pytest.raises(fp.NonFiniteError):
        explosive().fit(X, Y, epochs=9, batch_size=16, callbacks=[looks])
    assert isinstance(looks.error, fp.NonFiniteError)


def test_terminate_with_best_weights() -> None:
    """It is an end like another, so the best epoch comes back."""
    planned = Planned([1.0, 2.0])
    t = explosive()
    t.fit(
        X, Y, epochs=9, batch_size=16, callbacks=[planned, BestWeights("score"), TerminateOnNaN()]
    )
    assert weights_of(t.model) == planned.weights[0]


def test_its_own_validation_set_is_looked_at_before_the_first_step() -> None:
    for wrong, message in [
        ((X[:, :-1], Y), "EarlyStopping: validation_data: x has"),
        ((X, Y[:-1]), "EarlyStopping: validation_data: x has"),
        ((X * np.nan, Y), "EarlyStopping: validation_data: x is nan"),
    ]:
        made = trainer()
        with pytest.raises(ValueError, match=message):
            made.fit(X, Y, callbacks=[EarlyStopping(validation_data=wrong)])
        assert made.optimizer.steps == 0
