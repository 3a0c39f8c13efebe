"""What ``fit`` does with streams beside reading: a split for validation, weights of classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.data_sets import ROWS, Blocks, jitter, lengths, pieces, same, trained
from tests.training import classes, network, regression, weights_of

import fastprop as fp
from fastprop import data


def unequal() -> tuple[np.ndarray, np.ndarray]:
    """Class 2 is rare, and comes in the second half only."""
    x, y = classes(ROWS)
    y = np.where(y == 2, 0, y)
    y[600::50] = 2
    return x, y


def classified(*given, **options):
    return trained(*given, model=network(2, 8, 3), loss="cross_entropy", **options)


# -- a part for validation -------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("mapped", [False, True])
def test_a_split_is_that_of_data_split(known: bool, mapped: bool) -> None:
    x, y = regression(ROWS)
    stream = Blocks(x, y, lengths("uneven"), known=known, window_rows=96)
    if mapped:
        stream = stream.map(jitter)
    train, held_out = data.split(stream, [0.8, 0.2], seed=3)
    found = trained(stream, validation_split=0.2)
    same(found, trained(train, validation_data=held_out))
    assert len(found[1]["val_loss"]) == 3
    counts = [sum(len(b.y) for b in part.batches(32)) for part in (train, held_out)]
    assert sum(counts) == ROWS
    assert 0.15 < counts[1] / ROWS < 0.25


def test_arrays_with_transforms_are_split_like_arrays() -> None:
    x, y = regression(ROWS)
    found = trained(data.ArrayDataset(x, y).map(jitter), validation_split=0.25)
    assert found[2].history["val_loss"]
    generated = data.from_generator(lambda: iter(pieces(x, y)))
    assert len(trained(generated, validation_split=0.25)[1]["val_loss"]) == 3


def test_splits_that_cannot_be() -> None:
    x, y = regression(ROWS)
    once = data.from_iterable(iter(pieces(x, y)))
    with pytest.raises(ValueError, match="validation_split reads the rows for each of its parts"):
        trained(once, validation_split=0.2)
    assert sum(len(b.y) for b in once.batches(32)) == ROWS  # nothing was read
    few = Blocks(x, y, [3])
    with pytest.raises(ValueError, match=r"validation_split 0\.001 of 3 rows leaves 3 to train on"):
        trained(few, validation_split=0.001)
    with pytest.raises(ValueError, match="divided at random, row by row"):
        trained(Blocks(x, y, [ROWS]), validation_split=0.2, stratify=True)
    with pytest.raises(ValueError, match="stratify needs a validation_split"):
        trained(Blocks(x, y, [ROWS]), stratify=True)
    with pytest.raises(ValueError, match=r"sampler draws rows by their numbers.*class_weight"):
        trained(Blocks(x, y, [ROWS]), sampler=data.WeightedSampler(np.ones(ROWS)))


# -- weights of classes ----------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    "weights", ["balanced", {0: 1.0, 1: 0.5, 2: 7.0}, {2: 7}, [1, 0.5, 7.0], np.array([1, 2, 3])]
)
@pytest.mark.parametrize("sampled", [False, True])
def test_class_weights_are_those_of_arrays(known: bool, weights, sampled: bool) -> None:
    x, y = unequal()
    stream = Blocks(x, y, lengths("uneven"), known=known, window_rows=96)
    sample_weight = None
    if sampled:
        sample_weight = np.random.default_rng(0).uniform(0.5, 2, ROWS)
        rows = data.ArrayDataset(x, y, sample_weight)
        stream = rows.stream(window_rows=96)
    options = {"class_weight": weights, "shuffle": False}
    wanted = classified(x, y, sample_weight=sample_weight, **options)
    same(classified(stream, **options), wanted)
    assert wanted[0] != classified(x, y, sample_weight=sample_weight, shuffle=False)[0]


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "hinge"])
def test_of_other_kinds_of_targets(loss: str) -> None:
    x, y = classes(ROWS)
    y = np.where(y == 0, -1.0 if loss == "hinge" else 0.0, 1.0)
    stream = Blocks(x, y, lengths("even"), window_rows=100)
    options = {"loss": loss, "shuffle": False, "class_weight": "balanced"}
    same(
        trained(stream, model=network(2, 8, 1), **options),
        trained(x, y, model=network(2, 8, 1), **options),
    )


def test_balanced_counts_the_rows_that_are_trained_on() -> None:
    x, y = unequal()
    stream = Blocks(x, y, lengths("even"), window_rows=100)
    train, held_out = data.split(stream, [0.7, 0.3], seed=3)
    labels = np.concatenate([b.y for b in train.batches(100)])
    counts = np.bincount(labels)
    by_hand = {k: len(labels) / (3 * n) for k, n in enumerate(counts)}
    same(
        classified(stream, validation_split=0.3, class_weight="balanced"),
        classified(train, validation_data=held_out, class_weight=by_hand),
    )


def test_of_transformed_targets() -> None:
    x, y = unequal()
    dataset = data.ArrayDataset(x, 2 - y).map(lambda x, y: (x, 2 - y))
    options = {"shuffle": False, "class_weight": "balanced"}
    assert classified(dataset, **options)[0] == classified(x, y, **options)[0]


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ("balance", ValueError, "must be 'balanced', a dict or an array, got 'balance'"),
        ({1: -1.0}, ValueError, "of class 1 must be finite and not negative, got -1.0"),
        ({1: np.nan}, ValueError, "of class 1 must be finite and not negative, got nan"),
        ({1: "2"}, TypeError, "of class 1 must be a number, got '2'"),
        ({"one": 2}, ValueError, "names class 'one'; classes are whole numbers"),
        ({}, ValueError, "class_weight is empty"),
        ([], ValueError, "class_weight is empty"),
        ([0, 0, 0], ValueError, "the weights of all classes are zero"),
        ([1, 1, 1e300], ValueError, "a weight is too large for float32"),
        (
            [1.0, 2.0],
            ValueError,
            r"no weight for class 2, of row 0; a dict.*\(counted in block 6, from row 0 on\)",
        ),
        (3.0, TypeError, "must be 'balanced', a dict or an array, got 3.0"),
    ],
)
def test_class_weights_are_checked(weights, error, message) -> None:
    x, y = unequal()
    stream = Blocks(x, y, lengths("even"), window_rows=100)
    with pytest.raises(error, match=message):
        classified(stream, class_weight=weights, shuffle=False)


def test_what_balanced_cannot_count() -> None:
    x, y = unequal()
    once = data.from_iterable(iter(pieces(x, y)))
    with pytest.raises(ValueError, match="counts the rows of every class first, and an iterator"):
        classified(once, class_weight="balanced", epochs=1)
    weighted = classified(once, class_weight={2: 30.0}, epochs=1, shuffle=False)
    options = {"class_weight": {2: 30.0}, "epochs": 1, "shuffle": False}
    assert weighted[0] == classified(x, y, **options)[0]

    def growing(epoch):
        return iter(pieces(x, np.where(y == 2, 0, y) if epoch == 1 else y))

    with pytest.raises(ValueError, match="class 2, of row 40; the classes of the first epoch"):
        classified(data.from_generator(growing), class_weight="balanced")


@pytest.mark.parametrize("step", [2, 4, 26, 30, 60])
def test_a_resumed_fit_has_the_same_bits(tmp_path: Path, step: int) -> None:
    x, y = unequal()
    options = {"epochs": 3, "validation_split": 0.2, "class_weight": "balanced"}

    def stream():
        return Blocks(x, y, lengths("uneven"), known=step % 4 == 0, window_rows=96).map(jitter)

    wanted = classified(stream(), **options)
    path = tmp_path / "fit.safetensors"

    class FailAt(fp.Callback):
        def on_steps_end(self, trainer, first_step, losses) -> None:
            if first_step + len(losses) >= step:
                raise RuntimeError("the lights went out")

    saving = fp.train.ModelCheckpoint(path, every_steps=1)
    with pytest.raises(RuntimeError, match="the lights went out"):
        classified(stream(), callbacks=[saving, FailAt()], **options)
    resumed = fp.Trainer.resume(path)
    history = resumed.fit(stream(), **options)
    assert weights_of(resumed.model) == wanted[0]
    assert history["val_loss"] == wanted[1]["val_loss"]
