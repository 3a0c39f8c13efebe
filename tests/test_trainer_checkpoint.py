"""Checkpoints: a fit that was broken off goes on to the same bits; what cannot go on says why."""

from __future__ import annotations

import math
import shutil
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.training import classes, network, regression, weights_of

import fastprop as fp
from fastprop import functional as F
from fastprop import nn, optim, regularizers
from fastprop.data import WeightedSampler
from fastprop.optim import schedules
from fastprop.random import default_generator
from fastprop.saving.errors import SavedFileError
from fastprop.train import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau

X, Y = regression(70)
WEIGHT = np.random.default_rng(1).uniform(0.5, 2.0, 70)


class BreakOffError(Exception):
    """Stands for what ends a process."""


class BreakOff(fp.Callback):
    """Ends the training at a step, when the checkpoints of that step are there."""

    def __init__(self, step: int) -> None:
        self.step = step

    def steps_until_due(self, trainer):
        return self.step - trainer.optimizer.steps if trainer.optimizer.steps < self.step else None

    def on_save_point(self, trainer):
        if trainer.optimizer.steps >= self.step:
            raise BreakOffError


def everything(t: fp.Trainer) -> tuple:
    state = {key: [a.tobytes() for a in arrays] for key, arrays in t.optimizer.state.items()}
    history = {name: np.array(values).tobytes() for name, values in t.history.to_dict().items()}
    return weights_of(t.model), state, t.optimizer.steps, t.epoch, history, t.history.notes


def make(optimizer: Any = None, loss: Any = "mse", **options: Any) -> fp.Trainer:
    optimizer = optimizer or optim.Adam(lr=1e-2)
    return fp.Trainer(network(3, 8, 1), loss, optimizer, metrics=["mae"], **options)


def broken_off(
    path: Path, step: int, trainer: fp.Trainer, callbacks: Any = (), every: int = 1, **options: Any
) -> None:
    """Train until `step`, with a checkpoint that was written just then or before."""
    saving = ModelCheckpoint(path, every_steps=every)
    with pytest.raises(BreakOffError):
        trainer.fit(X, Y, callbacks=[saving, *callbacks, BreakOff(step)], **options)


# Batches of 16: 5 steps an epoch, the last one of 6 rows.
ARGUMENTS = {"epochs": 6, "batch_size": 16}
STEPS = [1, 3, 4, 5, 6, 9, 10, 14, 29, 30]


@pytest.mark.parametrize("step", STEPS)
def test_any_step_will_do(step: int, tmp_path: Path) -> None:
    whole = make()
    whole.fit(X, Y, **ARGUMENTS)
    path = tmp_path / "c"
    broken_off(path, step, make(), **ARGUMENTS)
    resumed = fp.Trainer.resume(path)
    assert resumed.optimizer.steps == step
    resumed.fit(X, Y, **ARGUMENTS)
    assert everything(resumed) == everything(whole)
    assert resumed.resume_point is None


WORKS: dict[str, tuple[Any, dict[str, Any]]] = {
    "momentum": (lambda: optim.SGD(lr=0.05, momentum=0.9, nesterov=True), {}),
    "schedule": (lambda: optim.AdamW(lr=schedules.Warmup(7, schedules.Cosine(0.02, 23))), {}),
    "split": (lambda: optim.Adam(), {"validation_split": 0.3}),
    "validation": (lambda: optim.Adam(), {"validation_data": (X[:9], Y[:9], WEIGHT[:9])}),
    "in order": (lambda: optim.Adam(), {"shuffle": False}),
    "drop_last": (lambda: optim.Adam(), {"drop_last": True}),
    "weights": (lambda: optim.Adam(), {"sample_weight": WEIGHT}),
    "average": (lambda: optim.EMA(optim.RAdam(lr=0.01), decay=0.9, start=4), {}),
    "second moments": (lambda: optim.NAdam(lr=0.01, decoupled_weight_decay=True), {}),
    "full batch": (lambda: optim.Rprop(), {"batch_size": None, "epochs": 20}),
    "sampler": (lambda: optim.Adam(), {"sampler": WeightedSampler(WEIGHT, samples=50)}),
    "mixup": (lambda: optim.Adam(), {"mixup": 0.4}),
    "one batch": (lambda: optim.Adam(), {"batch_size": None, "epochs": 20}),
}


@pytest.mark.parametrize("threads", [(1, 2), (2, 1)])
@pytest.mark.parametrize("name", WORKS)
def test_all_that_a_fit_may_have(name: str, threads: tuple[int, int], tmp_path: Path) -> None:
    """On another number of threads too."""
    optimizer, options = WORKS[name]
    options = {**ARGUMENTS, **options}
    callbacks = lambda: [EarlyStopping("loss", patience=3), ReduceLROnPlateau("mae", patience=1)]  # noqa: E731
    if name == "schedule":
        callbacks = lambda: [EarlyStopping("loss", patience=3, min_delta=1e-3)]  # noqa: E731
    whole = make(optimizer(), seed=4)
    whole.fit(X, Y, callbacks=callbacks(), **options)
    path = tmp_path / "c"
    broken_off(path, 13, make(optimizer(), seed=4, threads=threads[0]), callbacks(), 3, **options)
    resumed = fp.Trainer.resume(path, threads=threads[1])
    assert resumed.optimizer.steps == 12
    assert repr(resumed.optimizer.lr) == repr(optimizer().lr) or name != "schedule"
    resumed.fit(X, Y, callbacks=callbacks(), **options)
    assert everything(resumed) == everything(whole)


def test_groups_penalties_and_constraints(tmp_path: Path) -> None:
    def trainer() -> fp.Trainer:
        model = network(3, 8, 8, 1)
        groups = [
            {"params": [model[1].weight, model[0].weight], "weight_decay": 0.1},
            {"params": [*model[2].parameters()], "lr": schedules.Cosine(0.02, 20), "momentum": 0.5},
            {"params": [model[0].bias]},
        ]
        return fp.Trainer(
            *(model, "mse", optim.SGD(groups, lr=schedules.Step(0.05, 4))),
            penalty=[regularizers.L2(1e-3, of=model[0]), regularizers.L1(1e-4)],
            constraint=regularizers.MaxNorm(0.8, of=model[1]),
        )

    whole = trainer()
    whole.fit(X, Y, **ARGUMENTS)
    broken_off(tmp_path / "c", 13, trainer(), **ARGUMENTS)
    resumed = fp.Trainer.resume(tmp_path / "c")
    resumed.fit(X, Y, **ARGUMENTS)
    assert everything(resumed) == everything(whole)
    assert repr(resumed.regularization.penalties) == repr(whole.regularization.penalties)


def test_several_outputs_and_class_weights(tmp_path: Path) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.labels, self.values = nn.Dense(2, 3), nn.Dense(2, 1)

        def forward(self, x: Any) -> Any:
            return self.labels(x), self.values(x)

    def trainer() -> fp.Trainer:
        fp.seed(2)
        losses = [fp.losses.Loss("cross_entropy", label_smoothing=0.1), "mae"]
        return fp.Trainer(Two(), losses, "adam")

    x, labels = classes(60)
    options = {"epochs": 3, "batch_size": 8}
    whole = trainer()
    whole.fit(x, (labels, x[:, :1]), **options)
    callbacks = [ModelCheckpoint(tmp_path / "c", every_steps=1), BreakOff(11)]
    with pytest.raises(BreakOffError):
        trainer().fit(x, (labels, x[:, :1]), callbacks=callbacks, **options)
    resumed = fp.Trainer.resume(tmp_path / "c", classes=[Two])
    resumed.fit(x, (labels, x[:, :1]), **options)
    assert everything(resumed) == everything(whole)


def test_labels_and_a_buffer(tmp_path: Path) -> None:
    class Counting(nn.Module):
        """Adds up the means of its inputs."""

        def __init__(self) -> None:
            super().__init__()
            self.seen = nn.Buffer(np.zeros(2, np.float32))
            self.dense = nn.Dense(2, 3)

        def forward(self, x: Any) -> Any:
            if self.training:
                self.seen.assign(self.seen + F.mean(x, 0))
            return self.dense(x)

    def trainer() -> fp.Trainer:
        fp.seed(1)
        return fp.Trainer(Counting(), "cross_entropy", "adam", metrics=["accuracy"])

    x, y = classes(60)
    whole = trainer()
    whole.fit(x, y, epochs=3, batch_size=8)
    path = tmp_path / "c"
    with pytest.raises(BreakOffError):
        trainer().fit(
            *(x, y),
            epochs=3,
            batch_size=8,
            callbacks=[ModelCheckpoint(path, every_steps=1), BreakOff(11)],
        )
    resumed = fp.Trainer.resume(path, classes=[Counting])
    resumed.fit(x, y, epochs=3, batch_size=8)
    assert everything(resumed) == everything(whole)
    assert np.any(resumed.model.seen.data)


def test_broken_off_again_and_again(tmp_path: Path) -> None:
    whole = make()
    whole.fit(X, Y, **ARGUMENTS)
    path = tmp_path / "c"
    broken_off(path, 2, make(), **ARGUMENTS)
    for step in (4, 5, 11, 12, 25):
        broken_off(path, step, fp.Trainer.resume(path), **ARGUMENTS)
    resumed = fp.Trainer.resume(path)
    resumed.fit(X, Y, **ARGUMENTS)
    assert everything(resumed) == everything(whole)


def test_a_second_fit_is_broken_off(tmp_path: Path) -> None:
    whole, other = make(), make()
    path = tmp_path / "c"
    for t in (whole, other):
        t.fit(X, Y, epochs=2, batch_size=8)
    whole.fit(X, Y, **ARGUMENTS)
    broken_off(path, 25, other, **ARGUMENTS)
    resumed = fp.Trainer.resume(path)
    assert resumed.epoch == 3
    resumed.fit(X, Y, **ARGUMENTS)
    assert everything(resumed) == everything(whole)


def test_a_fit_that_was_done_is_not_done_again(tmp_path: Path) -> None:
    path = tmp_path / "c"
    t = make()
    stopping = lambda: EarlyStopping("loss", patience=1, min_delta=1.0)  # noqa: E731
    t.fit(X, Y, callbacks=[ModelCheckpoint(path), stopping()], **ARGUMENTS)
    assert t.epoch == 2
    resumed = fp.Trainer.resume(path)
    resumed.fit(X, Y, callbacks=[stopping()], **ARGUMENTS)
    assert everything(resumed) == everything(t)
    resumed.fit(X, Y, **ARGUMENTS)  # a new one
    assert resumed.epoch == 8


def test_more_epochs_than_at_first(tmp_path: Path) -> None:
    path = tmp_path / "c"
    whole = make()
    whole.fit(X, Y, epochs=8, batch_size=16)
    broken_off(path, 13, make(), **ARGUMENTS)
    resumed = fp.Trainer.resume(path)
    assert resumed.fit(X, Y, epochs=8, batch_size=16).epoch == list(range(1, 9))
    assert everything(resumed) == everything(whole)


def test_steps_by_hand_before(tmp_path: Path) -> None:
    path = tmp_path / "c"
    whole, other = make(), make()
    for t in (whole, other):
        t.train_step(X[:5], Y[:5])
        t.train_step(X[5:9], Y[5:9])
    whole.fit(X, Y, **ARGUMENTS)
    broken_off(path, 9, other, **ARGUMENTS)
    resumed = fp.Trainer.resume(path)
    resumed.fit(X, Y, **ARGUMENTS)
    assert everything(resumed) == everything(whole)


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


# -- when it saves ---------------------------------------------------------------------------------


def saved_steps(monkeypatch: pytest.MonkeyPatch, **options: Any) -> list[int]:
    """The steps at which a fit of 30 steps saves."""
    from fastprop.train import model_checkpoint

    found: list[int] = []
    t = make()

    class Writer:
        def __init__(self, path: Any) -> None: ...
        def prepare(self, snapshot: Any) -> None: ...
        def submit(self, snapshot: Any) -> None:
            found.append(t.optimizer.steps)

        def failure(self) -> None: ...
        def finish(self) -> None: ...

    monkeypatch.setattr(model_checkpoint, "BackgroundWriter", Writer)
    callbacks = [*options.pop("callbacks", []), ModelCheckpoint("c", **options)]
    t.fit(X, Y, callbacks=callbacks, **ARGUMENTS)
    return found


def test_by_steps(monkeypatch) -> None:
    assert saved_steps(monkeypatch, every_steps=7) == [7, 14, 21, 28]
    assert saved_steps(monkeypatch, every_steps=10) == [10, 20, 30]
    assert saved_steps(monkeypatch, every_steps=100) == []


def test_by_epochs(monkeypatch) -> None:
    assert saved_steps(monkeypatch) == [5, 10, 15, 20, 25, 30]
    assert saved_steps(monkeypatch, every_epochs=4) == [20]
    assert saved_steps(monkeypatch, every_epochs=2, every_steps=7) == [7, 10, 14, 20, 21, 28, 30]


def test_by_the_clock(monkeypatch) -> None:
    from fastprop.train import model_checkpoint

    now = [0.0]

    class Ticks(fp.Callback):
        def steps_until_due(self, trainer):
            return 1

        def on_steps_end(self, trainer, first_step, losses):
            now[0] += 1.0

    monkeypatch.setattr(model_checkpoint, "perf_counter", lambda: now[0])
    found = saved_steps(monkeypatch, every_seconds=8, callbacks=[Ticks()])
    assert found == [8, 16, 24]


def test_best_only(monkeypatch) -> None:
    class Planned(fp.Callback):
        def on_epoch_end(self, trainer, epoch, logs):
            logs["score"] = [3.0, math.nan, 2.0, 2.5, 2.0, 1.0][epoch - 1]

    options = {"monitor": "score", "save_best_only": True, "callbacks": [Planned()]}
    assert saved_steps(monkeypatch, **options) == [5, 15, 30]
    options["callbacks"] = [Planned()]
    assert saved_steps(monkeypatch, mode="max", **options) == [5]


def test_best_only_goes_on(tmp_path: Path) -> None:
    """The best number so far is in the file."""
    path = tmp_path / "c"
    saving = lambda: ModelCheckpoint(path, monitor="loss", mode="max", save_best_only=True)  # noqa: E731
    make().fit(X, Y, callbacks=[saving()], **ARGUMENTS)
    first = path.read_bytes()
    t = fp.Trainer.resume(path)
    assert t.epoch == 1
    t.fit(X, Y, callbacks=[saving()], **ARGUMENTS)
    assert path.read_bytes() == first


BAD = [
    ({"every_steps": 0}, ValueError, "every_steps must be at least 1, got 0"),
    ({"every_steps": 1.5}, TypeError, "every_steps must be an integer"),
    ({"every_seconds": -1}, ValueError, "every_seconds must be finite, from 0 on"),
    ({"every_seconds": "often"}, TypeError, "every_seconds must be a number"),
    ({"every_epochs": 0}, ValueError, "every_epochs must be at least 1"),
    ({"mode": "least"}, ValueError, "mode must be"),
    ({"every_steps": 5, "save_best_only": True}, ValueError, "goes by epochs, not by steps"),
]


@pytest.mark.parametrize(("options", "kind", "message"), BAD)
def test_bad_arguments(options, kind, message) -> None:
    with pytest.raises(kind, match=message):
        ModelCheckpoint("c", **{"save_best_only": "mode" in options, **options})


def test_bad_paths(tmp_path: Path) -> None:
    t = make()
    before = everything(t)
    with pytest.raises(FileNotFoundError, match=r"ModelCheckpoint: the folder .*no does not exist"):
        t.fit(X, Y, callbacks=[ModelCheckpoint(tmp_path / "no" / "c")])
    with pytest.raises(IsADirectoryError, match="is a folder"):
        t.fit(X, Y, callbacks=[ModelCheckpoint(tmp_path)])
    with pytest.raises(TypeError):
        ModelCheckpoint(5)
    assert everything(t) == before


def test_threads_end(tmp_path: Path) -> None:
    before = threading.active_count()
    make().fit(X, Y, callbacks=[ModelCheckpoint(tmp_path / "c", every_steps=3)], **ARGUMENTS)
    broken_off(tmp_path / "c", 7, make(), **ARGUMENTS)
    assert threading.active_count() == before


def test_bits_do_not_depend_on_checkpoints(tmp_path: Path) -> None:
    whole, other = make(), make()
    whole.fit(X, Y, **ARGUMENTS)
    other.fit(X, Y, callbacks=[ModelCheckpoint(tmp_path / "c", every_steps=1)], **ARGUMENTS)
    assert everything(other) == everything(whole)


def test_a_copy_of_the_file_will_do(tmp_path: Path) -> None:
    broken_off(tmp_path / "c", 13, make(), **ARGUMENTS)
    shutil.copy(tmp_path / "c", tmp_path / "d")
    assert fp.Trainer.resume(tmp_path / "d").optimizer.steps == 13
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fp.Trainer.resume(tmp_path / "d").fit(X, Y, **ARGUMENTS)
