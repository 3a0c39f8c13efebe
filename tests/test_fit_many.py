"""fit_many: each training ends as it would alone, bit by bit."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from training import assert_same_training, classes, network, regression, small, twins, weights_of

import fastprop as fp
from fastprop import nn, optim

THREADS = [1, 2, 3]


# -- as alone --------------------------------------------------------------------------------------

_OPTIMIZERS = [
    lambda: optim.Adam(lr=0.02),
    lambda: optim.SGD(lr=0.05, momentum=0.9, nesterov=True),
    lambda: optim.AdamW(lr=optim.schedules.Cosine(0.02, steps=30)),
    lambda: optim.SGD(lr=lambda step: 0.1 / (1 + step)),
]


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("batch_size", [1, 32, 37, None])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_regressions(threads: int, shuffle: bool, batch_size: int | None, dtype: str) -> None:
    """Shapes, seeds, losses, activations and optimizers all differ; 70 rows make short batches."""
    x, y = regression(70, dtype)

    def make(i: int) -> fp.Trainer:
        widths = [3, *[4 + 3 * i] * (i % 3), 1]
        model = network(*widths, dtype=dtype, activation=["tanh", "relu"][i % 2], seed=i)
        return fp.Trainer(model, ["mse", "huber", "mae"][i % 3], _OPTIMIZERS[i % 4](), seed=i // 2)

    many, alone = twins(make, 9)
    options: dict[str, Any] = {"batch_size": batch_size, "shuffle": shuffle, "epochs": 4}
    histories = fp.fit_many(many, x, y, **options, threads=threads)
    for a, b, history in zip(many, alone, histories, strict=True):
        b.fit(x, y, **options)
        assert_same_training(a, b)
        assert history is a.history
        assert history.error is None
        assert all(seconds > 0 for seconds in history.seconds)


@pytest.mark.parametrize("threads", THREADS)
def test_classifiers_with_metrics_and_weights(threads: int) -> None:
    x, y = classes(90)
    weight = np.linspace(0, 2, 90)

    def make(i: int) -> fp.Trainer:
        return fp.Trainer(network(2, 6 + i, 3, seed=i), "cross_entropy", "adam", ["accuracy"])

    many, alone = twins(make, 5)
    fp.fit_many(many, x, y, epochs=3, sample_weight=weight, drop_last=True, threads=threads)
    for a, b in zip(many, alone, strict=True):
        b.fit(x, y, epochs=3, sample_weight=weight, drop_last=True)
        assert_same_training(a, b)


def test_each_with_its_own_data_epochs_and_batches() -> None:
    sets = [regression(30 + 11 * i, seed=i) for i in range(5)]
    epochs, batches = [3, 0, 7, 1, 2], [8, 5, None, 64, 16]
    many, alone = twins(small, 5)
    fp.fit_many(
        many,
        [x for x, _ in sets],
        [y for _, y in sets],
        epochs=epochs,
        batch_size=batches,
        threads=2,
    )
    for i, (a, b) in enumerate(zip(many, alone, strict=True)):
        b.fit(*sets[i], epochs=epochs[i], batch_size=batches[i])
        assert_same_training(a, b)
        assert len(a.history.epoch) == epochs[i]


def test_it_goes_on_where_it_ended() -> None:
    x, y = regression()
    many, alone = twins(small, 4)
    alone[0].fit(x, y)
    many[0].fit(x, y)  # one is ahead
    for _ in range(2):
        fp.fit_many(many, x, y, epochs=2, threads=2)
    for a, b in zip(many, alone, strict=True):
        b.fit(x, y, epochs=2)
        b.fit(x, y, epochs=2)
        assert_same_training(a, b)
    assert many[0].epoch == 5
    many[1].fit(x, y)
    alone[1].fit(x, y)
    assert_same_training(many[1], alone[1])
    np.testing.assert_array_equal(many[1].predict(x), alone[1].predict(x))


@pytest.mark.parametrize("threads", THREADS)
def test_validation(threads: int) -> None:
    x, y = regression(100)
    validations = [regression(20 + i, seed=9 + i) for i in range(4)]
    cases: list[tuple[dict[str, Any], Callable[[int], dict[str, Any]]]] = [
        ({"validation_data": validations[0]}, lambda i: {"validation_data": validations[0]}),
        ({"validation_data": validations}, lambda i: {"validation_data": validations[i]}),
        ({"validation_split": 0.3}, lambda i: {"validation_split": 0.3}),
    ]
    for for_many, for_one in cases:
        many, alone = twins(lambda i: small(i, metrics=["r2"]), 4)
        fp.fit_many(many, x, y, epochs=3, threads=threads, **for_many)
        for i, (a, b) in enumerate(zip(many, alone, strict=True)):
            b.fit(x, y, epochs=3, **for_one(i))
            assert_same_training(a, b)
            assert set(a.history) == {"loss", "r2", "val_loss", "val_r2"}


def test_models_with_several_inputs_and_outputs() -> None:
    class Two(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.a, self.b = nn.Dense(3, width), nn.Dense(2, width)
            self.top = nn.Dense(width, 1)

        def forward(self, a, b):
            return self.top(fp.tanh(self.a(a) + self.b(b)))

    def make(i: int) -> fp.Trainer:
        fp.seed(i)
        return fp.Trainer(Two(3 + i), "mse", "adam", seed=i)

    x, y = regression(50)
    second = np.cos(x[:, :2])
    many, alone = twins(make, 3)
    fp.fit_many(many, (x, second), y, epochs=2, threads=2)
    for a, b in zip(many, alone, strict=True):
        b.fit((x, second), y, epochs=2)
        assert_same_training(a, b)


@pytest.mark.parametrize("threads", [1, 2])
def test_layers_with_state_and_optimizers_in_python(threads: int) -> None:
    """Running statistics, statistics of the data, dropout; a rule that is Python, full batches."""

    def make(i: int) -> fp.Trainer:
        fp.seed(i)
        layers = [nn.Standardize(3), nn.Dense(3, 6), nn.BatchNorm(6), nn.Tanh(), nn.Dropout(0.2)]
        if i == 3:
            layers = layers[:2]
        optimizer = optim.LBFGS() if i == 3 else optim.Adam(lr=0.01)
        return fp.Trainer(nn.Sequential(*layers, nn.Dense(6, 1)), "mse", optimizer, seed=i)

    x, y = regression(60)
    many, alone = twins(make, 4)
    batches = [16, 30, None, None]
    fp.fit_many(many, 5 * x + 3, y, epochs=4, batch_size=batches, threads=threads)
    for a, b, batch in zip(many, alone, batches, strict=True):
        b.fit(5 * x + 3, y, epochs=4, batch_size=batch)
        assert weights_of(a.model) == weights_of(b.model)
        np.testing.assert_equal(a.history.to_dict(), b.history.to_dict())


def test_a_loss_without_targets() -> None:
    x, _ = regression(40)
    many, alone = twins(
        lambda i: fp.Trainer(network(3, 4, 3, seed=i), lambda out, _: (out**2).mean(), "sgd"), 3
    )
    fp.fit_many(many, x, epochs=2, threads=2)
    for a, b in zip(many, alone, strict=True):
        b.fit(x, epochs=2)
        assert_same_training(a, b)


# -- rows ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shuffle", [True, False])
def test_rows_are_as_copies_of_them(threads: int, shuffle: bool) -> None:
    """Row numbers in any order, repeated or not, and booleans; validation rows too."""
    x, y = regression(80)
    rng = np.random.default_rng(1)
    train = [
        rng.permutation(80)[:50],
        rng.integers(0, 80, 90).astype(np.uint16),  # a bootstrap sample
        x[:, 0] > 0,
        list(range(7)),
    ]
    validate = [np.flatnonzero(~np.isin(np.arange(80), rows)) for rows in train[:3]]
    validate[2] = np.flatnonzero(x[:, 0] <= 0)
    validate.append(np.array([79]))
    many, alone = twins(small, 4)
    options: dict[str, Any] = {"epochs": 3, "batch_size": 16, "shuffle": shuffle}
    fp.fit_many(many, x, y, rows=train, validation_rows=validate, threads=threads, **options)
    for a, b, rows, held_out in zip(many, alone, train, validate, strict=True):
        b.fit(x[rows], y[rows], validation_data=(x[held_out], y[held_out]), **options)
        assert_same_training(a, b)


def test_rows_with_weights_and_a_split() -> None:
    x, y = regression(80)
    weight = np.linspace(0.1, 2, 80)
    rows = [np.arange(i, 80, 3) for i in range(3)]
    many, alone = twins(small, 3)
    options: dict[str, Any] = {"epochs": 3, "batch_size": 8, "validation_split": 0.25}
    fp.fit_many(many, x, y, rows=np.stack([r[:26] for r in rows]), sample_weight=weight, **options)
    for a, b, own in zip(many, alone, rows, strict=True):
        own = own[:26]
        b.fit(x[own], y[own], sample_weight=weight[own], **options)
        assert_same_training(a, b)


@pytest.mark.parametrize("threads", [1, 2])
def test_unequal_classes(threads: int) -> None:
    """Class weights, samplers, stratified splits and mixup, of parts of shared data."""
    x, y = classes(90)
    rows = [np.arange(i, 90, 2 + i) for i in range(3)]
    sampler = fp.data.WeightedSampler(np.linspace(1, 2, 90), samples=40)
    cases: list[dict[str, Any]] = [
        {"class_weight": "balanced"},
        {"validation_split": 0.3, "stratify": True, "class_weight": {0: 2.0}},
        {"mixup": 0.3},
    ]
    for case in cases:
        many, alone = twins(
            lambda i: fp.Trainer(network(2, 4 + i, 3, seed=i), "cross_entropy", "adam", seed=i), 3
        )
        fp.fit_many(many, x, y, rows=rows, epochs=3, threads=threads, **case)
        for a, b, own in zip(many, alone, rows, strict=True):
            b.fit(x[own], y[own], epochs=3, **case)
            assert_same_training(a, b)
    many, alone = twins(lambda i: fp.Trainer(network(2, 4, 3, seed=i), "cross_entropy", "adam"), 2)
    fp.fit_many(many, x, y, epochs=3, sampler=sampler, threads=threads)
    for a, b in zip(many, alone, strict=True):
        b.fit(x, y, epochs=3, sampler=sampler)
        assert_same_training(a, b)


def test_data_are_neither_copied_nor_converted_for_each() -> None:
    """Of 20,000 rows of float64, 2.4 MB, there is one copy of float32, whoever asks for it."""
    x, y = regression(20_000, "float64")
    x = np.tile(x, (1, 5))
    trainers = [fp.Trainer(network(15, 4, 1, seed=i), "mse", "adam") for i in range(12)]
    rows = [np.arange(i, 20_000, 100) for i in range(12)]
    fp.fit_many(trainers[:1], x, y)
    tracemalloc.start()
    try:
        fp.fit_many(trainers, x, y, rows=rows, validation_rows=rows, threads=2)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * x.nbytes
    assert all("converted from float64" in " ".join(t.history.notes) for t in trainers[:1])


# -- what goes wrong on the way --------------------------------------------------------------------


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("validation", [False, True])
def test_one_that_diverges_harms_no_other(threads: int, validation: bool) -> None:
    """It ends as it would end alone, with the error in its history."""
    x, y = regression(60)

    def make(i: int) -> fp.Trainer:
        wild = optim.SGD(lr=lambda step: 1e30 if step == 12 else 0.01, momentum=0.9)
        optimizer = wild if i in (1, 4) else optim.SGD(lr=0.01, momentum=0.9)
        return fp.Trainer(network(3, 4, 1, seed=i), "mse", optimizer, seed=i)

    many, alone = twins(make, 6)
    options: dict[str, Any] = {"epochs": 5, "batch_size": 16}
    if validation:
        options["validation_split"] = 0.2
    histories = fp.fit_many(many, x, y, threads=threads, **options)
    for i, (a, b) in enumerate(zip(many, alone, strict=True)):
        if i in (1, 4):
            with pytest.raises(fp.NonFiniteError) as caught:
                b.fit(x, y, **options)
            assert str(histories[i].error) == str(caught.value)
            assert isinstance(histories[i].error, fp.NonFiniteError)
            assert 0 < len(histories[i].epoch) < 5
        else:
            b.fit(x, y, **options)
            assert histories[i].error is None
        assert_same_training(a, b)


def test_a_last_update_that_breaks_the_parameters() -> None:
    x, y = regression(40)
    optimizer = optim.SGD(lr=lambda step: 1e38 if step == 9 else 0.01)
    broken = fp.Trainer(network(3, 4, 1), "mse", optimizer)
    good = small(1)
    histories = fp.fit_many([broken, good], x * 100, y * 100, epochs=5, batch_size=20, threads=2)
    assert "not finite after the update" in str(histories[0].error)
    assert histories[1].error is None
    assert all(np.isfinite(p.data).all() for p in broken.model.parameters())


@pytest.mark.parametrize("threads", [1, 2])
def test_an_exception_of_a_callback_ends_all(threads: int) -> None:
    class Angry(fp.Callback):
        def on_epoch_end(self, trainer, epoch, logs):
            if epoch == 3:
                raise RuntimeError("enough")

    class Ends(fp.Callback):
        def __init__(self) -> None:
            self.ended: list[fp.Trainer] = []

        def on_train_end(self, trainer):
            self.ended.append(trainer)

    x, y = regression(64)
    trainers = [small(i) for i in range(5)]
    ends = Ends()
    with pytest.raises(RuntimeError, match="enough"):
        fp.fit_many(
            trainers, x, y, epochs=10**6, callbacks=[ends, (ends, Angry()), *[ends] * 3],
            threads=threads,
        )  # fmt: skip
    assert trainers[1] in ends.ended
    for trainer in trainers:
        assert trainer.fitting is None
        steps = trainer.optimizer.steps
        fresh = small(trainer.seed)
        for _ in range(steps // 2):  # all have done whole steps
            fresh.fit(x, y)
        if steps % 2 == 0:
            assert weights_of(fresh.model) == weights_of(trainer.model)
        assert np.isfinite(trainer.fit(x, y)["loss"][0])
