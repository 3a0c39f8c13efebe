"""What counts as a callback: objects with our hooks, and scikit-learn's style."""

from __future__ import annotations

import numpy as np
import pytest
from tests.training import network, regression

import fastprop as fp
from fastprop import optim
from fastprop.train.callbacks import CallbackList

X, Y = regression(40)


def trainer(**options) -> fp.Trainer:
    return fp.Trainer(network(3, 4, 1), "mse", optim.Adam(lr=1e-2), **options)


class Plain:
    """No base class."""

    def __init__(self) -> None:
        self.epochs: list[int] = []

    def on_epoch_end(self, trainer, epoch, logs):
        self.epochs.append(epoch)
        return epoch == 2


@pytest.mark.parametrize("several", [True, False])
def test_any_object_with_a_hook(several: bool) -> None:
    plain = Plain()
    trainer().fit(X, Y, epochs=5, callbacks=[plain] if several else plain)
    assert plain.epochs == [1, 2]


def test_a_hook_may_be_an_attribute() -> None:
    callback = fp.Callback()
    callback.on_epoch_end = lambda trainer, epoch, logs: epoch == 3
    assert trainer().fit(X, Y, epochs=5, callbacks=(callback,)).epoch == [1, 2, 3]


def test_what_nobody_overrides_is_not_called() -> None:
    called = CallbackList(trainer(), [fp.Callback(), Plain()])
    assert called.watches_epochs
    assert not called.watches_steps
    assert called.steps_until_due() is None


def test_fitting_tells_what_goes_on() -> None:
    seen = []

    class Looks(fp.Callback):
        def on_epoch_end(self, trainer, epoch, logs):
            fitting = trainer.fitting
            seen.append((fitting.epochs, fitting.epochs_done, fitting.validates, fitting.failed))

    t = trainer()
    t.fit(X, Y, epochs=2, validation_split=0.5, callbacks=[Looks()])
    assert seen == [(2, 1, True, False), (2, 2, True, False)]
    assert t.fitting is None


# -- scikit-learn's style --------------------------------------------------------------------------


class Style:
    """The hooks of sklearn.callback.FitCallback; this one wants inputs, not targets."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.events: list = []

    def setup(self, estimator, context):
        self.events.append(("setup", context.task_name, context.max_subtasks))

    def on_fit_task_begin(self, estimator, context):
        self.events.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context, *, X=None, metadata=None, fitted_estimator=None):
        self.events.append(("end", context.task_name, context.task_id))
        self.x, self.metadata, self.fitted = X, metadata, fitted_estimator
        self.path = [c.task_name for c in (context.parent, context) if c is not None]
        self.uuid = context.root_uuid
        return context.task_name == "epoch" and context.task_id + 1 == self.stop_after

    def teardown(self, estimator, context):
        self.events.append(("teardown", context.task_name, context.task_id))


def test_tasks_are_epochs() -> None:
    style = Style()
    t = trainer()
    weight = np.arange(40) % 3.0
    t.fit(X, Y, epochs=2, callbacks=style, sample_weight=weight, validation_split=0.25)
    assert style.events == [
        ("setup", "fit", 2),
        ("begin", "fit", 0),
        ("begin", "epoch", 0),
        ("end", "epoch", 0),
        ("begin", "epoch", 1),
        ("end", "epoch", 1),
        ("end", "fit", 0),
        ("teardown", "fit", 0),
    ]
    train, _ = fp.data.split_rows(40, 0.25, 0)
    np.testing.assert_array_equal(style.x, X[train])
    np.testing.assert_array_equal(style.metadata["sample_weight"], weight[train])
    assert style.fitted is t
    first = style.uuid
    t.fit(X, Y, epochs=1, callbacks=style)
    assert style.uuid != first


def test_tasks_can_stop() -> None:
    style = Style(stop_after=2)
    history = trainer().fit(X, Y, epochs=5, callbacks=[style])
    assert history.epoch == [1, 2]
    assert style.events[-3:] == [("end", "epoch", 1), ("end", "fit", 0), ("teardown", "fit", 0)]


def test_teardown_follows_an_error() -> None:
    class Fails(fp.Callback):
        def on_epoch_end(self, trainer, epoch, logs):
            raise RuntimeError("mine")

    style = Style()
    with pytest.raises(RuntimeError, match="mine"):
        trainer().fit(X, Y, epochs=5, callbacks=[Fails(), style])
    assert style.events[-2:] == [("begin", "epoch", 0), ("teardown", "fit", 0)]


def test_few_hooks_will_do() -> None:
    class Only:
        seen = 0

        def on_fit_task_end(self, estimator, context):
            self.seen += 1
            self.tree = [task.task_name for task in (context.parent or context)]

    only = Only()
    trainer().fit(X, Y, epochs=2, callbacks=only)
    assert only.seen == 3
    assert only.tree == ["fit", "epoch", "epoch"]


def test_a_callback_of_scikit_learn() -> None:
    """Its ScoringMonitor, with a scorer for something that predicts numbers."""
    sklearn_callback = pytest.importorskip("sklearn.callback", reason="scikit-learn 1.9 has them")

    def score(estimator, x, y):
        return -float(np.mean((estimator.predict(x) - y) ** 2))

    monitor = sklearn_callback.ScoringMonitor(scoring={"score": score})
    t = trainer()
    t.fit(X, Y, epochs=3, callbacks=monitor)
    log = monitor.get_logs()
    scores = [row["score"] for row in log.data if row["task_name"] == "epoch"]
    assert len(scores) == 3
    assert scores[-1] > scores[0]
