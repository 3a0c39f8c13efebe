"""What a Trainer in a file needs to go on, and what it says if that is not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.checkpoints import (
    ARGUMENTS,
    WEIGHT,
    X,
    Y,
    broken_off,
    everything,
    make,
)
from tests.training import network

import fastprop as fp
from fastprop import functional as F
from fastprop import nn, optim
from fastprop.random import default_generator
from fastprop.saving.errors import SavedFileError
from fastprop.train import EarlyStopping, ModelCheckpoint

# -- Trainer.save ----------------------------------------------------------------------------------


def test_save_and_resume(tmp_path: Path) -> None:
    t = make(seed=9)
    t.fit(X, Y, **ARGUMENTS)
    t.save(tmp_path / "c")
    resumed = fp.Trainer.resume(tmp_path / "c")
    assert resumed.resume_point is None
    assert everything(resumed) == everything(t)
    assert repr(resumed) == repr(t)
    assert resumed.history.seconds == t.history.seconds
    for trainer in (t, resumed):
        trainer.fit(X, Y, **ARGUMENTS)
    assert everything(resumed) == everything(t)
    np.testing.assert_array_equal(
        fp.Trainer(fp.load(tmp_path / "c"), "mse", "sgd").predict(X),
        fp.Trainer.resume(tmp_path / "c").predict(X),
    )


def test_random_numbers_go_on(tmp_path: Path) -> None:
    t = make()
    fp.seed(77)
    nn.Dense(3, 3)
    t.save(tmp_path / "c")
    expected = nn.Dense(2, 2).state_dict()["weight"]
    fp.seed(5)
    fp.Trainer.resume(tmp_path / "c")
    np.testing.assert_array_equal(nn.Dense(2, 2).state_dict()["weight"], expected)
    assert default_generator().seed == 77


def test_an_optimizer_of_some_parameters(tmp_path: Path) -> None:
    model = network(3, 8, 1)
    optimizer = optim.Adam([*model[1].parameters()][::-1], lr=1e-2)
    t = fp.Trainer(model, "mse", optimizer)
    t.fit(X, Y)
    t.save(tmp_path / "c")
    resumed = fp.Trainer.resume(tmp_path / "c")
    for trainer in (t, resumed):
        trainer.fit(X, Y)
    assert everything(resumed) == everything(t)


def test_save_while_fit_goes_on(tmp_path: Path) -> None:
    class Saves(fp.Callback):
        def on_epoch_end(self, trainer, epoch, logs):
            trainer.save(tmp_path / "c")

    with pytest.raises(RuntimeError, match=r"save: fit is going on; give it a train\.Model"):
        make().fit(X, Y, callbacks=[Saves()])


# -- what has to be passed again -------------------------------------------------------------------


def own_loss(pred: Any, target: Any) -> Any:
    return F.mean(F.square(pred - target))


def own_metric(pred: Any, target: Any) -> Any:
    return F.mean(F.abs(pred - target), 1)


@pytest.mark.parametrize(
    ("options", "message", "again"),
    [
        ({"loss": own_loss}, r"the loss\.function is the function own_loss.*pass loss=", "loss"),
        (
            {"optimizer": optim.SGD(lr=lambda step: 0.1 / (1 + step), momentum=0.5)},
            r"the optimizer\.lr is the function .*<lambda>.*: pass optimizer=",
            "optimizer",
        ),
        ({"metrics": [own_metric]}, r"metrics\.function is the function own_metric", "metrics"),
        ({"model": network(3, 2, 1, activation=lambda x: F.tanh(x))}, "pass model=", "model"),
    ],
)
def test_functions_have_to_be_passed_again(options, message, again, tmp_path: Path) -> None:
    given = {"model": network(3, 8, 1), "loss": "mse", "optimizer": optim.Adam(), **options}
    t = fp.Trainer(**given)
    t.fit(X, Y)
    t.save(tmp_path / "c")
    with pytest.raises(SavedFileError, match=message):
        fp.Trainer.resume(tmp_path / "c")
    other = {
        "loss": own_loss,
        "optimizer": optim.SGD(lr=lambda step: 0.1 / (1 + step), momentum=0.5),
        "metrics": [own_metric],
        "model": network(3, 2, 1, activation=lambda x: F.tanh(x), seed=5),
    }
    resumed = fp.Trainer.resume(tmp_path / "c", **{again: other[again]})
    for trainer in (t, resumed):
        trainer.fit(X, Y)
    assert everything(resumed) == everything(t)


def test_bad_things_passed(tmp_path: Path) -> None:
    make().save(tmp_path / "c")
    with pytest.raises(TypeError, match=r"Trainer.resume: optimizer must be an Optimizer, got str"):
        fp.Trainer.resume(tmp_path / "c", optimizer="adam")
    with pytest.raises(SavedFileError, match=r"cannot be resumed: SGD\.load_state_dict: this is"):
        fp.Trainer.resume(tmp_path / "c", optimizer=optim.SGD())
    with pytest.raises(SavedFileError, match="does not fit"):
        fp.Trainer.resume(tmp_path / "c", model=network(3, 9, 1))
    fp.save(network(3, 8, 1), tmp_path / "m")
    with pytest.raises(SavedFileError, match=r"holds a model, no training; fastprop\.load"):
        fp.Trainer.resume(tmp_path / "m")
    with pytest.raises(FileNotFoundError):
        fp.Trainer.resume(tmp_path / "nothing")


# -- other arguments -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 8}, "batch_size 8 instead of 16"),
        ({"shuffle": False}, "shuffle False instead of True"),
        ({"drop_last": True}, "drop_last True instead of False"),
        ({"sample_weight": WEIGHT}, "weights True instead of False"),
        ({"validation_split": 0.5}, "rows 35 instead of 70, validation rows 35 instead of 0"),
    ],
)
def test_other_arguments_are_refused(change, message, tmp_path: Path) -> None:
    broken_off(tmp_path / "c", 13, make(), **ARGUMENTS)
    t = fp.Trainer.resume(tmp_path / "c")
    before = everything(t)
    with pytest.raises(ValueError, match=rf"goes on with the fit in .*: {message}.*resume_point"):
        t.fit(X, Y, **{**ARGUMENTS, **change})
    assert everything(t) == before
    t.resume_point = None
    assert len(t.fit(X, Y, **{**ARGUMENTS, **change}).epoch) == 6


def test_other_data_are_noticed(tmp_path: Path) -> None:
    broken_off(tmp_path / "c", 13, make(), **ARGUMENTS)
    t = fp.Trainer.resume(tmp_path / "c")
    with pytest.warns(UserWarning, match="but with other data than that had"):
        t.fit(X + 1, Y, **ARGUMENTS)


def test_a_callback_that_is_left_out(tmp_path: Path) -> None:
    stopping = EarlyStopping("loss", patience=2)
    broken_off(tmp_path / "c", 13, make(), [stopping], **ARGUMENTS)
    t = fp.Trainer.resume(tmp_path / "c")
    with pytest.warns(UserWarning, match="goes on without the EarlyStopping that the fit had"):
        t.fit(X, Y, callbacks=[ModelCheckpoint(tmp_path / "d")], **ARGUMENTS)


def test_callbacks_of_the_user_have_memory(tmp_path: Path) -> None:
    class Counts(fp.Callback):
        def __init__(self) -> None:
            self.epochs: list[int] = []
            self.means = np.zeros(0)

        def on_epoch_end(self, trainer, epoch, logs):
            self.epochs.append(epoch)
            self.means = np.append(self.means, logs["loss"])

        def state_dict(self):
            return {"epochs": self.epochs, "means": self.means}

        def load_state_dict(self, state):
            self.epochs, self.means = list(state["epochs"]), state["means"]

    counts = Counts()
    broken_off(tmp_path / "c", 13, make(), [Counts()], **ARGUMENTS)
    t = fp.Trainer.resume(tmp_path / "c")
    history = t.fit(X, Y, callbacks=[counts], **ARGUMENTS)
    assert counts.epochs == [1, 2, 3, 4, 5, 6]
    np.testing.assert_array_equal(counts.means, history["loss"])


def test_callbacks_of_one_class_keep_their_own_memory(tmp_path: Path) -> None:
    """Also where one of them has none: the best checkpoint is not replaced by a worse one."""

    def callbacks() -> list[ModelCheckpoint]:
        latest = ModelCheckpoint(tmp_path / "latest", every_steps=1)
        best = ModelCheckpoint(tmp_path / "best", monitor="loss", save_best_only=True)
        return [latest, best]

    class Look(fp.Callback):
        def on_steps_end(self, trainer, first_step, losses):
            seen.append([callback._best for callback in going_on])
            return True

    broken_off(tmp_path / "c", 12, make(), callbacks(), **ARGUMENTS)
    before = fp.Trainer.resume(tmp_path / "latest")
    best = min(before.history["loss"])
    seen: list[list[float]] = []
    going_on = callbacks()
    t = fp.Trainer.resume(tmp_path / "latest")
    # The one that wrote "c" comes first, as it did.
    first = ModelCheckpoint(tmp_path / "c", every_steps=1)
    t.fit(X, Y, callbacks=[first, *going_on, Look()], **ARGUMENTS)
    np.testing.assert_array_equal(seen[0], [np.nan, best])
