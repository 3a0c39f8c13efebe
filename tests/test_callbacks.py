"""Callbacks, history, progress bar."""

from __future__ import annotations

import io
import json
import sys

import numpy as np
import pytest

import fastprop as fp
from fastprop import nn, optim
from fastprop.train.progress import Progress


def trainer(**options) -> fp.Trainer:
    fp.seed(0)
    model = nn.Sequential(nn.Dense(3, 8, "tanh"), nn.Dense(8, 1))
    return fp.Trainer(model, "mse", optim.Adam(lr=1e-2), metrics=["mae"], **options)


X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
Y = X[:, 0] * X[:, 1]


class Recorder(fp.Callback):
    def __init__(self) -> None:
        self.events: list = []

    def on_train_begin(self, trainer):
        self.events.append("begin")

    def on_epoch_end(self, trainer, epoch, logs):
        self.events.append((epoch, sorted(logs)))

    def on_train_end(self, trainer):
        self.events.append("end")


def test_order_of_calls() -> None:
    recorder = Recorder()
    trainer().fit(X, Y, epochs=2, callbacks=[recorder], validation_split=0.5)
    names = ["loss", "mae", "val_loss", "val_mae"]
    assert recorder.events == ["begin", (1, names), (2, names), "end"]


def test_one_callback_needs_no_list() -> None:
    recorder = Recorder()
    trainer().fit(X, Y, callbacks=recorder)
    assert len(recorder.events) == 3


class StopAt(fp.Callback):
    def __init__(self, epoch: int, how: str) -> None:
        self.epoch, self.how = epoch, how

    def on_epoch_end(self, trainer, epoch, logs):
        if epoch == self.epoch:
            if self.how == "return":
                return True
            trainer.stop()
        return None


@pytest.mark.parametrize("how", ["return", "stop"])
def test_stopping(how: str) -> None:
    t = trainer()
    history = t.fit(X, Y, epochs=10, callbacks=[StopAt(3, how)])
    assert history.epoch == [1, 2, 3]
    assert len(t.fit(X, Y, epochs=2).epoch) == 2


def test_stopping_before_the_first_epoch() -> None:
    class Never(fp.Callback):
        def on_train_begin(self, trainer):
            return True

    assert trainer().fit(X, Y, epochs=3, callbacks=[Never()]).epoch == []


def test_stopping_between_steps() -> None:
    class FewSteps(fp.Callback):
        def on_steps_end(self, trainer, first_step, losses):
            return True

    t = trainer()
    history = t.fit(X, Y, epochs=5, batch_size=1, callbacks=[FewSteps()])
    assert len(history.epoch) <= 1
    assert 0 < t.optimizer.steps <= 40


def test_end_is_called_after_an_error() -> None:
    class Fails(Recorder):
        def on_epoch_end(self, trainer, epoch, logs):
            raise RuntimeError("mine")

    fails = Fails()
    t = trainer()
    with pytest.raises(RuntimeError, match="mine"):
        t.fit(X, Y, callbacks=[fails])
    assert fails.events == ["begin", "end"]
    t.fit(X, Y)


def test_a_callback_may_add_numbers_and_evaluate() -> None:
    class Extra(fp.Callback):
        def on_epoch_end(self, trainer, epoch, logs):
            logs["train_mae"] = trainer.evaluate(X, Y)["mae"]

    history = trainer().fit(X, Y, epochs=2, callbacks=[Extra()])
    assert len(history["train_mae"]) == 2


def test_a_callback_may_change_the_learning_rate() -> None:
    class Freeze(fp.Callback):
        def on_epoch_end(self, trainer, epoch, logs):
            trainer.optimizer.lr = 0.0

    t = trainer()
    history = t.fit(X, Y, epochs=3, callbacks=[Freeze()], batch_size=None)
    assert history["loss"][1] == pytest.approx(history["loss"][2], rel=1e-6)
    assert history["loss"][0] != history["loss"][1]


@pytest.mark.parametrize("bad", [[Recorder], ["early"], [print]])
def test_no_callbacks(bad) -> None:
    with pytest.raises(TypeError, match=r"Trainer.fit: callbacks must be .*got"):
        trainer().fit(X, Y, callbacks=bad)


# -- history ---------------------------------------------------------------------------------------


def test_history_is_a_mapping() -> None:
    history = trainer().fit(X, Y, epochs=2)
    assert list(history) == ["loss", "mae"]
    assert len(history) == 2
    assert "loss" in history
    assert dict(history) == {name: history[name] for name in ("loss", "mae")}
    assert len(history.seconds) == 2
    assert json.loads(json.dumps(history.to_dict()))["epoch"] == [1.0, 2.0]
    with pytest.raises(KeyError, match=r"no series 'acc'; recorded are: loss, mae"):
        history["acc"]
    assert "2 epochs; last: loss=" in repr(history)


def test_history_fills_gaps() -> None:
    history = fp.History()
    history.append(1, {"loss": 1.0})
    history.append(2, {"loss": 0.5, "lr": 0.1})
    history.append(3, {"loss": 0.25})
    np.testing.assert_array_equal(history["lr"], [np.nan, 0.1, np.nan])


# -- progress --------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("terminal", "verbose", "shown"),
    [(True, None, True), (True, False, False), (False, None, False), (False, True, True)],
)
def test_progress_is_for_people(terminal, verbose, shown, monkeypatch) -> None:
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("COLUMNS", "120")
    trainer().fit(X, Y, epochs=3, verbose=verbose, validation_split=0.5)
    text = stream.getvalue()
    assert bool(text) == shown
    if shown:
        assert "epoch 3/3 100%" in text
        assert "val_mae" in text


def test_progress_without_standard_error(monkeypatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    trainer().fit(X, Y)


def test_progress_is_drawn_by_the_clock(monkeypatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    trainer().fit(X, Y, epochs=300, batch_size=None)
    assert stream.getvalue().count("epoch ") < 60


def test_progress_moves_inside_an_epoch(monkeypatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    bar = Progress(2)
    bar._shown = 0.0
    bar.steps_done(1, 5, 10)
    assert " 75%" in stream.getvalue()
    assert "step 5/10" in stream.getvalue()
    bar.epoch_done(2, {"loss": 0.5})
    bar.close()
    assert "loss 0.5" in stream.getvalue()


def test_progress_shows_where_it_stopped(monkeypatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    trainer().fit(X, Y, epochs=10, callbacks=[StopAt(4, "return")])
    assert "epoch 4/10" in stream.getvalue()
