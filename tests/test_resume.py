"""A fit that was broken off at a step goes on to the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.checkpoints import (
    ARGUMENTS,
    WEIGHT,
    BreakOff,
    BreakOffError,
    X,
    Y,
    broken_off,
    everything,
    make,
)
from tests.training import classes, network

import fastprop as fp
from fastprop import data, nn, optim, regularizers
from fastprop import functional as F
from fastprop.optim import schedules
from fastprop.train import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau

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
    "sampler": (lambda: optim.Adam(), {"sampler": data.WeightedSampler(WEIGHT, samples=50)}),
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


def test_layers_with_statistics_and_noise(tmp_path: Path) -> None:
    """Random numbers of a layer are functions of the step; statistics are Buffers."""

    def trainer() -> fp.Trainer:
        fp.seed(6)
        layers = nn.Standardize(3), nn.Dense(3, 16, "relu"), nn.BatchNorm(16), nn.Dropout(0.3)
        model = nn.Sequential(*layers, nn.GaussianNoise(0.1), nn.Dense(16, 1))
        return fp.Trainer(model, "mse", "adam", seed=8, checkpoint=2)

    options = {**ARGUMENTS, "validation_split": 0.2}
    whole = trainer()
    whole.fit(X, Y, **options)
    broken_off(tmp_path / "c", 13, trainer(), **options)
    resumed = fp.Trainer.resume(tmp_path / "c", threads=2)
    assert resumed.checkpoint == 2
    resumed.fit(X, Y, **options)
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


@pytest.mark.parametrize("step", [12, 13])
@pytest.mark.parametrize("epochs", [0, 1, 3, 4])
def test_fewer_epochs_than_are_done(epochs: int, step: int, tmp_path: Path) -> None:
    path = tmp_path / "c"
    broken_off(path, step, make(), **ARGUMENTS)
    resumed = fp.Trainer.resume(path)
    done = resumed.epoch
    options = {**ARGUMENTS, "epochs": epochs}
    assert resumed.fit(X, Y, **options).epoch == list(range(1, max(done, epochs) + 1))
    assert resumed.epoch == max(done, epochs)


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


# -- data that are read while they are used --------------------------------------------------------


def pieces():
    """In blocks of 25 rows, as a file would give them."""
    for begin in range(0, len(X), 25):
        yield X[begin : begin + 25], Y[begin : begin + 25, None]


def noisy(x: Any, y: Any, rng: Any) -> Any:
    return x + rng.normal(0, 0.1, x.shape), y


STREAMS = {
    "rows unknown": lambda: data.from_generator(pieces),
    "rows known": lambda: data.from_generator(pieces, rows=70, window_rows=32),
    "with noise": lambda: data.ArrayDataset(X, Y).map(noisy),
    "noisy stream": lambda: data.from_generator(pieces, window_rows=32).map(noisy),
}


@pytest.mark.parametrize("step", [3, 5, 8, 10])
@pytest.mark.parametrize("name", STREAMS)
def test_streams_go_on(name: str, step: int, tmp_path: Path) -> None:
    """Step 5 is the last one of an epoch, also where nobody knew how many there would be."""

    def fit(t: fp.Trainer, callbacks: Any = ()) -> None:
        t.fit(STREAMS[name](), epochs=4, batch_size=16, callbacks=callbacks)

    whole, other = make(), make()
    fit(whole)
    with pytest.raises(BreakOffError):
        fit(other, [ModelCheckpoint(tmp_path / "c", every_steps=1), BreakOff(step)])
    resumed = fp.Trainer.resume(tmp_path / "c")
    assert resumed.optimizer.steps == step
    fit(resumed)
    assert everything(resumed) == everything(whole)
