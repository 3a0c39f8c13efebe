"""Classes of unequal size: class weights, stratified splits, weighted sampling."""

from __future__ import annotations

import numpy as np
import pytest
from training import classes, network, weights_of

import fastprop as fp
from fastprop import data, losses
from fastprop.data import WeightedSampler, split_rows, train_test_split

SIZES = (70, 20, 9, 2)
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(4), SIZES))


def fitted(x, y, loss="cross_entropy", width=3, **options):
    model = network(x.shape[1], 8, width)
    trainer = fp.Trainer(model, loss, fp.optim.SGD(lr=0.1), seed=5)
    history = trainer.fit(x, y, **{"epochs": 2, "batch_size": 32, **options})
    return weights_of(model), history, trainer


# -- stratified splits ---


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.8])
def test_every_class_is_split_alike(fraction: float) -> None:
    train, test = split_rows(len(LABELS), fraction, 3, LABELS)
    assert len(test) == round(len(LABELS) * fraction)
    assert sorted([*train, *test]) == list(range(len(LABELS)))
    assert (np.diff(train) > 0).all()
    for label, size in enumerate(SIZES):
        held_out = int((LABELS[test] == label).sum())
        assert abs(held_out - size * fraction) < 1
        assert held_out < size
    again = split_rows(len(LABELS), fraction, 3, LABELS)
    np.testing.assert_array_equal(again[1], test)
    other = split_rows(len(LABELS), fraction, 4, LABELS)
    assert not np.array_equal(other[1], test)


def test_stratified_rows_are_random_within_a_class() -> None:
    labels = np.repeat([0, 1], 500)
    found = np.zeros(1000)
    for seed in range(200):
        found[split_rows(1000, 0.25, seed, labels)[1]] += 1
    assert abs(found.mean() - 50) < 1e-9
    assert abs(found.std() - np.sqrt(200 * 0.25 * 0.75)) < 0.6  # as of independent draws


def test_labels_may_be_text() -> None:
    text = np.array(["a", "b"])[np.arange(40) % 2]
    a_train, a_test, b_train, b_test = train_test_split(
        np.arange(40), text, test_size=0.25, stratify=text
    )
    assert (b_test == "a").sum() == (b_test == "b").sum() == 5
    np.testing.assert_array_equal(text[a_train], b_train)
    np.testing.assert_array_equal(text[a_test], b_test)


def test_splits_that_cannot_be_stratified() -> None:
    with pytest.raises(ValueError, match="class 7 has one row"):
        split_rows(5, 0.4, 0, np.array([1, 1, 7, 1, 1]))
    with pytest.raises(ValueError, match=r"one label for each of the 5 rows, got shape \(4,\)"):
        split_rows(5, 0.4, 0, np.ones(4))
    with pytest.raises(TypeError, match=r"all numbers or all words, got \['NoneType', 'str'\]"):
        train_test_split(np.ones(3), stratify=np.array(["a", None, "a"], object))
    with pytest.raises(TypeError, match="split_rows: seed must be an integer, got str"):
        train_test_split(np.ones(3), seed="a")
    with pytest.raises(ValueError, match="train_test_split: expects arrays of rows"):
        train_test_split(3)


def test_fit_stratifies_its_split() -> None:
    x = np.random.default_rng(1).normal(size=(len(LABELS), 2)).astype("float32")
    train, held_out = split_rows(len(LABELS), 0.2, 5, LABELS)
    _, history, _ = fitted(x, LABELS, width=4, validation_split=0.2, stratify=True)
    _, by_hand, _ = fitted(
        x[train], LABELS[train], width=4, validation_data=(x[held_out], LABELS[held_out])
    )
    np.testing.assert_allclose(history["val_loss"], by_hand["val_loss"], rtol=1e-6)
    _, given, _ = fitted(x, LABELS, width=4, validation_split=0.2, stratify=LABELS[:, None])
    assert given["val_loss"] == history["val_loss"]
    one_hot = np.eye(4, dtype="float32")[LABELS]
    _, by_share, _ = fitted(x, one_hot, width=4, validation_split=0.2, stratify=True)
    np.testing.assert_allclose(by_share["val_loss"], history["val_loss"], rtol=1e-5)


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        (np.arange(12) % 3, {"stratify": True}, "stratify needs a validation_split"),
        (
            np.arange(12) % 3,
            {"stratify": np.zeros(3), "validation_split": 0.5},
            r"one class for each of the 12 rows; got an array of shape \(3,\)",
        ),
        (
            np.array([0] * 11 + [2]),
            {"stratify": True, "validation_split": 0.5},
            "validation_split 0.5: split_rows: class 2 has one row",
        ),
    ],
)
def test_fit_refuses_to_stratify(y, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        fitted(np.ones((12, 2), "float32"), y, **options)


def test_numbers_are_no_classes() -> None:
    x, y = np.ones((6, 2), "float32"), np.linspace(0, 1, 6)
    for options in ({"stratify": True, "validation_split": 0.5}, {"class_weight": "balanced"}):
        name = next(iter(options))
        with pytest.raises(ValueError, match=f"{name}: targets must be classes, got float32"):
            fitted(x, y, "mse", 1, **options)
    with pytest.raises(ValueError, match=r"must have a single 1 in each row, .* y\[0\] has not"):
        fitted(x, np.ones((6, 2)), "binary_cross_entropy", 2, class_weight="balanced")


# -- class weights ---


@pytest.mark.parametrize("weights", [{1: 3.0, 0: 0.5}, [0.5, 3.0, 1.0], np.array([0.5, 3, 1, 9])])
def test_class_weights_are_sample_weights(weights) -> None:
    x, y = classes(90)
    by_hand = np.array([0.5, 3.0, 1.0])[y]
    sample = np.random.default_rng(0).uniform(0, 2, 90)
    assert fitted(x, y, class_weight=weights)[0] == fitted(x, y, sample_weight=by_hand)[0]
    both = fitted(x, y, class_weight=weights, sample_weight=sample)[0]
    product = np.float32(by_hand) * np.float32(sample)
    assert both == fitted(x, y, sample_weight=product)[0]


def test_balanced_is_as_in_sklearn() -> None:
    x = np.random.default_rng(1).normal(size=(len(LABELS), 2)).astype("float32")
    by_hand = (len(LABELS) / (4 * np.array(SIZES)))[LABELS]
    balanced = fitted(x, LABELS, width=4, class_weight="balanced")[0]
    assert balanced == fitted(x, LABELS, width=4, sample_weight=by_hand)[0]
    utils = pytest.importorskip("sklearn.utils.class_weight")
    np.testing.assert_allclose(by_hand, utils.compute_sample_weight("balanced", LABELS))


@pytest.mark.parametrize(
    ("loss", "y"),
    [
        ("binary_cross_entropy", np.arange(30) % 3 == 0),
        ("binary_focal", (np.arange(30) % 3 == 0)[:, None].astype(float)),
        ("hinge", np.where(np.arange(30) % 3 == 0, 1, -1)),
    ],
)
def test_binary_targets_have_classes_too(loss, y) -> None:
    x = np.random.default_rng(0).normal(size=(30, 2)).astype("float32")
    by_hand = np.where(np.arange(30) % 3 == 0, 1.5, 0.75)
    assert (
        fitted(x, y, loss, 1, class_weight="balanced")[0]
        == (fitted(x, y, loss, 1, sample_weight=by_hand)[0])
    )


def test_validation_is_not_weighted_by_class() -> None:
    x, y = classes(90)
    y = np.where(np.arange(90) < 80, y % 2, y)  # few of class 2
    options = {"validation_split": 0.3, "epochs": 1, "batch_size": None}
    _, history, trainer = fitted(x, y, class_weight="balanced", **options)
    train, held_out = split_rows(90, 0.3, 5)
    assert history["val_loss"][0] == pytest.approx(
        trainer.evaluate(x[held_out], y[held_out])["loss"], rel=1e-6
    )
    counts = np.bincount(y[train], minlength=3)  # balanced are the rows that are trained on
    with np.errstate(divide="ignore"):
        by_class = len(train) / ((counts > 0).sum() * counts)
    by_hand = np.where(np.isfinite(by_class), by_class, 0)[y[train]]
    data_ = (x[held_out], y[held_out])
    options = {"validation_data": data_, "epochs": 1, "batch_size": None}
    _, other, _ = fitted(x[train], y[train], sample_weight=by_hand, **options)
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(other[name], history[name], rtol=1e-5)


def test_a_rare_class_is_found_with_weights_only() -> None:
    rng = np.random.default_rng(0)
    y = (rng.uniform(size=4000) < 0.02).astype(int)
    x = (rng.normal(size=(4000, 2)) + 1.5 * y[:, None]).astype("float32")
    recall = {}
    for name, options in {
        "plain": {},
        "class_weight": {"class_weight": "balanced"},
        "sampler": {"sampler": WeightedSampler.balanced(y)},
    }.items():
        _, _, trainer = fitted(x, y, width=2, epochs=5, **options)
        recall[name] = float((trainer.predict(x[y == 1]).argmax(1) == 1).mean())
    assert recall["plain"] < 0.3
    assert recall["class_weight"] > 0.7
    assert recall["sampler"] > 0.7


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ("balance", ValueError, "must be 'balanced', a dict or an array, got 'balance'"),
        ({3: 1.0}, ValueError, "names class 3, y holds 0, 1, 2"),
        ({1: -1.0}, ValueError, "of class 1 must be finite and not negative, got -1.0"),
        ({1: np.nan}, ValueError, "of class 1 must be finite and not negative, got nan"),
        ({1: "2"}, TypeError, "of class 1 must be a number, got '2'"),
        ([1.0, 2.0], ValueError, "has weights for 2 classes, y holds 0, 1, 2"),
        ([0, 0, 0], ValueError, "the weights of all classes are zero"),
        ([1, 1, 1e300], ValueError, "a weight is too large for float32"),
        (3.0, TypeError, "must be 'balanced', a dict or an array, got 3.0"),
    ],
)
def test_class_weights_are_checked(weights, error, message) -> None:
    x, y = classes(30)
    with pytest.raises(error, match=message):
        fitted(x, y, class_weight=weights)


# -- weighted sampling ---


def test_rows_come_as_often_as_their_weights_say() -> None:
    weights = np.array([0.0, 1.0, 2.0, 0.0, 5.0, 0.0])
    rows = np.arange(6)
    drawn = WeightedSampler(weights, samples=80_000)(1, rows, 7)
    share = np.bincount(drawn, minlength=6) / len(drawn)
    np.testing.assert_allclose(share, weights / 8, atol=4 * np.sqrt(0.25 / 80_000))
    assert share[0] == share[3] == share[5] == 0
    pairs = np.corrcoef(drawn[:-1], drawn[1:])[0, 1]
    assert abs(pairs) < 4 / np.sqrt(len(drawn))  # what comes next does not depend on what came


def test_draws_are_functions_of_seed_and_epoch() -> None:
    rows = np.arange(50)
    first, second = (WeightedSampler(np.linspace(0, 1, 50)) for _ in range(2))
    np.testing.assert_array_equal(first(3, rows, 1), second(3, rows, 1))
    first(4, rows, 1)
    np.testing.assert_array_equal(first(3, rows, 1), second(3, rows, 1))
    assert not np.array_equal(first(3, rows, 1), first(4, rows, 1))
    assert not np.array_equal(first(3, rows, 1), first(3, rows, 2))
    some = np.array([3, 10, 11])
    assert set(first(1, some, 0)) <= set(some)
    np.testing.assert_array_equal(first(3, rows, 1), second(3, rows, 1))


def test_balanced_draws_every_class_alike() -> None:
    sampler = WeightedSampler.balanced(LABELS[:, None], samples=40_000)
    drawn = LABELS[sampler(1, np.arange(len(LABELS)), 0)]
    np.testing.assert_allclose(np.bincount(drawn) / 40_000, 0.25, atol=0.01)


def test_an_epoch_takes_what_the_sampler_gives() -> None:
    """Training on a sample is training on those rows in that order."""
    x, y = classes(60)
    sampler = WeightedSampler(np.linspace(0, 1, 60), samples=100)
    assert sampler.samples == 100
    drawn = sampler(1, np.arange(60), 5)
    weights, history, _ = fitted(x, y, sampler=sampler, epochs=1)
    by_hand, other, _ = fitted(x[drawn], y[drawn], shuffle=False, epochs=1)
    assert weights == by_hand
    assert history["loss"] == other["loss"]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_second_fit_goes_on_with_the_next_epochs(threads: int) -> None:
    x, y = classes(60)
    ends = []
    for epochs in ([4], [1, 3], [2, 2]):
        model = network(2, 8, 3)
        trainer = fp.Trainer(model, "cross_entropy", fp.optim.Adam(lr=0.01), threads=threads)
        for count in epochs:
            trainer.fit(x, y, epochs=count, batch_size=16, sampler=WeightedSampler(1.0 + y))
        ends.append(weights_of(model))
    assert ends[0] == ends[1] == ends[2]


def test_held_out_rows_are_not_drawn() -> None:
    x, y = classes(60)
    seen = []

    def sampler(epoch, rows, seed):
        drawn = WeightedSampler(np.ones(60))(epoch, rows, seed)
        seen.append((rows, drawn))
        return drawn

    fitted(x, y, sampler=sampler, validation_split=0.25, stratify=True)
    train, held_out = split_rows(60, 0.25, 5, y)
    for rows, drawn in seen:
        np.testing.assert_array_equal(rows, train)
        assert len(drawn) == 45
        assert not set(drawn) & set(held_out)


@pytest.mark.parametrize(
    ("sampler", "error", "message"),
    [
        (3, TypeError, r"sampler must be a function \(epoch, rows, seed\) -> rows"),
        (lambda e, r, s: r / 2, TypeError, "must give a 1-d array of row numbers, got float64"),
        (lambda e, r, s: r[:0], ValueError, "gave 0 rows in epoch 1, expected at least 1"),
        (lambda e, r, s: r[e:], ValueError, "gave 58 rows in epoch 2, expected 59 as in the first"),
        (lambda e, r, s: r + 1, ValueError, "gave row 60 in epoch 1, which is not one of the 60"),
        (lambda e, r, s: r - 1, ValueError, "gave row -1 in epoch 1"),
        (WeightedSampler(np.ones(10)), ValueError, "10 weights, but row 59 is among the rows"),
        (WeightedSampler([1] + [0] * 59), None, ""),
    ],
)
def test_samplers_are_checked(sampler, error, message) -> None:
    x, y = classes(60)
    if error is None:
        fitted(x, y, sampler=sampler)
        return
    with pytest.raises(error, match=message):
        fitted(x, y, sampler=sampler)


@pytest.mark.parametrize(
    ("weights", "samples", "error", "message"),
    [
        ([1.0, -1.0], None, ValueError, r"weights\[1\] is -1.0"),
        ([1.0, np.inf], None, ValueError, r"weights\[1\] is inf"),
        ([0, 0], None, ValueError, "all 2 weights are zero"),
        ([], None, ValueError, "one weight for each row, got none"),
        (np.ones((2, 2)), None, ValueError, r"one weight for each row, got shape \(2, 2\)"),
        (["a"], None, TypeError, "weights must be numbers"),
        ([1.0], 0, ValueError, "samples must be at least 1"),
        ([1.0], 1.5, TypeError, "integer"),
    ],
)
def test_sampler_weights_are_checked(weights, samples, error, message) -> None:
    with pytest.raises(error, match=message):
        WeightedSampler(weights, samples)


def test_nothing_left_to_draw_is_an_error() -> None:
    sampler = WeightedSampler([1.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="the weights of all 2 rows to draw from are zero"):
        sampler(1, np.array([1, 2]), 0)
    huge = WeightedSampler([1e308, 1e308])
    with pytest.raises(ValueError, match="sum of the weights is too large"):
        huge(1, np.array([0, 1]), 0)
    with pytest.raises(ValueError, match="one label for each row"):
        WeightedSampler.balanced(np.ones((2, 2)))


def test_the_public_names() -> None:
    assert data.WeightedSampler is WeightedSampler
    assert repr(WeightedSampler([1.0, 2.0], 5)) == "WeightedSampler(2 weights, samples=5)"
    assert losses.get("focal").takes_classes
