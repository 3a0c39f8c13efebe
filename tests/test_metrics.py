"""Metrics against scikit-learn, over batches of any size."""

import math

import numpy as np
import pytest

from fastprop import Tensor, metrics
from fastprop import functional as F
from fastprop.graph.program import Program

ROWS, CLASSES = 50, 6


def in_batches(metric, pred, target, size):
    """The metric as a Trainer makes it: sums of batches, added up in float64."""
    total = None
    for i in range(0, len(pred), size):
        sums = metric.sums(Tensor(pred[i : i + size]), Tensor(target[i : i + size]))
        assert all(s.size == 1 and s.dtype == np.float64 for s in sums)
        values = np.array([s.item() for s in sums])
        total = values if total is None else total + values
    return metric.finalize(total)


def classes(dtype=np.float32):
    rng = np.random.default_rng(0)
    return rng.normal(size=(ROWS, CLASSES)).astype(dtype), rng.integers(0, CLASSES, size=ROWS)


def values(columns, dtype=np.float32):
    rng = np.random.default_rng(1)
    shape = (ROWS, columns) if columns else (ROWS,)
    target = (rng.normal(size=shape) * 3 + 1).astype(dtype)
    return (target + rng.normal(size=shape)).astype(dtype), target


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 7, 50])
def test_accuracies_like_sklearn(size, dtype):
    sk = pytest.importorskip("sklearn.metrics")
    scores, labels = classes(dtype)
    accuracy = in_batches(metrics.get("accuracy"), scores, labels, size)
    assert accuracy == sk.accuracy_score(labels, scores.argmax(axis=1))
    for k in (1, 2, 3):
        got = in_batches(metrics.get(f"top_{k}_accuracy"), scores, labels, size)
        want = sk.top_k_accuracy_score(labels, scores, k=k, labels=np.arange(CLASSES))
        assert got == pytest.approx(want, abs=1e-12)
    assert in_batches(metrics.TopKAccuracy(CLASSES), scores, labels, size) == 1.0


def test_labels_in_any_form():
    scores, labels = classes()
    accuracy = metrics.Accuracy()
    want = np.mean(scores.argmax(axis=1) == labels)
    one_hot = np.eye(CLASSES)[labels]
    forms = (labels, labels[:, None], one_hot, one_hot.astype(int), one_hot.astype(np.float32))
    for target in forms:
        assert accuracy(scores, target) == pytest.approx(want, abs=1e-12)
    assert metrics.TopKAccuracy(2)(scores, one_hot) == metrics.TopKAccuracy(2)(scores, labels)


def test_equal_scores_go_to_the_lower_index():
    assert metrics.Accuracy()(np.zeros((4, 3), np.float32), np.array([0, 1, 2, 0])) == 0.5


@pytest.mark.parametrize("shape", [(ROWS,), (ROWS, 1)], ids=str)
def test_a_single_logit(shape):
    rng = np.random.default_rng(2)
    logits, target = rng.normal(size=shape), rng.integers(0, 2, size=shape)
    want = np.mean((logits > 0) == (target > 0))
    for name in ("accuracy", "binary_accuracy"):
        metric = metrics.get(name)
        assert metric(logits, target) == pytest.approx(want, abs=1e-12)
        assert metric(logits, target.reshape(-1)) == pytest.approx(want, abs=1e-12)
        assert metric(logits, 2.0 * target - 1) == pytest.approx(want, abs=1e-12)


def test_several_yes_or_no_outputs():
    rng = np.random.default_rng(3)
    probabilities, target = rng.uniform(size=(ROWS, 3)), rng.integers(0, 2, size=(ROWS, 3))
    metric = metrics.BinaryAccuracy(threshold=0.5)
    want = np.mean((probabilities > 0.5) == (target > 0))
    assert in_batches(metric, probabilities, target, 7) == pytest.approx(want, abs=1e-12)


@pytest.mark.parametrize("size", [1, 7, 50])
@pytest.mark.parametrize("columns", [0, 1, 3])
@pytest.mark.parametrize("name", ["mae", "mse", "rmse", "r2"])
def test_errors_like_sklearn(name, columns, size):
    sk = pytest.importorskip("sklearn.metrics")
    pred, target = values(columns, np.float64)
    want = {
        "mae": sk.mean_absolute_error,
        "mse": sk.mean_squared_error,
        "rmse": lambda t, p: math.sqrt(sk.mean_squared_error(t, p)),
        "r2": sk.r2_score,
    }[name](target, pred)
    assert in_batches(metrics.get(name), pred, target, size) == pytest.approx(want, rel=1e-10)


def test_r2_far_from_zero_in_float32():
    sk = pytest.importorskip("sklearn.metrics")
    pred, target = values(2)
    pred, target = pred + np.float32(2000), target + np.float32(2000)
    want = sk.r2_score(target.astype(np.float64), pred.astype(np.float64))
    assert in_batches(metrics.R2(), pred, target, 16) == pytest.approx(want, rel=1e-6)


def test_r2_of_constant_outputs():
    r2 = metrics.R2()
    constant = np.full((4, 1), 0.1)
    assert r2(constant, constant) == 1.0
    assert r2(constant + 1, constant) == 0.0
    both = np.concatenate([constant, np.arange(4.0)[:, None]], axis=1)
    assert r2(both, both) == 1.0
    assert math.isnan(r2(constant[:1], constant[:1]))


def test_counts_are_exact_in_float32():
    accuracy = metrics.Accuracy()
    total = accuracy.finalize(np.array([2.0**25 + 1, 2.0**26]))
    assert total == (2**25 + 1) / 2**26
    assert math.isnan(accuracy.finalize(np.zeros(2)))


def test_row_counts_survive_nan():
    pred = np.array([[np.nan], [1.0]])
    sums = metrics.MSE().sums(Tensor(pred), Tensor(np.zeros((2, 1))))
    assert sums[1].item() == 2


def test_symbolic_sums():
    pred = Tensor.placeholder((32, CLASSES), "float32", batched=True)
    labels = Tensor.placeholder((32,), "int64", batched=True)
    floats = Tensor.placeholder((32, CLASSES), "float32", batched=True)
    for name, target in (
        ("accuracy", labels),
        ("accuracy", floats),
        ("top_2_accuracy", labels),
        ("binary_accuracy", floats),
        ("mae", floats),
        ("r2", floats),
    ):
        sums = metrics.get(name).sums(pred, target)
        assert all(s.symbolic and s.size == 1 and not s.batched for s in sums)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_in_a_program_with_a_short_last_batch(threads):
    names = ["accuracy", "top_2_accuracy", "mae", "rmse", "r2"]
    scores, labels = classes()
    _, target = values(CLASSES)
    kinds = [labels if "accuracy" in name else target for name in names]
    pred = Tensor.placeholder((16, CLASSES), "float32", batched=True)
    y = Tensor.placeholder((16,), "int64", batched=True)
    t = Tensor.placeholder((16, CLASSES), "float32", batched=True)
    groups = [
        metrics.get(n).sums(pred, y if k is labels else t)
        for n, k in zip(names, kinds, strict=True)
    ]
    program = Program([pred, y, t], scalars=[s for g in groups for s in g], threads=threads)
    result = program.run([scores, labels, target], np.arange(ROWS), batch_size=16)
    sums = result.values.sum(axis=0)
    for name, kind, group in zip(names, kinds, groups, strict=True):
        mine, sums = sums[: len(group)], sums[len(group) :]
        want = metrics.get(name)(scores, kind)
        assert metrics.get(name).finalize(mine) == pytest.approx(want, rel=1e-6)


# -- names and the user's own ---


def test_names():
    assert metrics.get("top_k_accuracy").name == "top_5_accuracy"
    assert metrics.get("top_3_accuracy").k == 3
    assert metrics.get(metrics.R2()).name == "r2"
    assert [m.name for m in metrics.get_all(["accuracy", metrics.MAE()])] == ["accuracy", "mae"]
    assert [m.name for m in metrics.get_all("mse")] == ["mse"]
    assert metrics.get_all(None) == []


def test_functions_and_subclasses():
    def bias(pred, target):
        return F.mean(pred - target, 1)

    class Largest(metrics.Metric):
        name = "largest"

        def rows(self, pred, target):
            return F.max(F.abs(pred - target), 1)

    pred, target = values(3, np.float64)
    found = metrics.get(bias)
    assert found.name == "bias"
    assert in_batches(found, pred, target, 8) == pytest.approx(np.mean(pred - target))
    want = np.abs(pred - target).max(axis=1).mean()
    assert in_batches(Largest(), pred, target, 8) == pytest.approx(want)
    with pytest.raises(ValueError, match=r"one number for each row, got shape \(50, 3\)"):
        metrics.get(lambda p, t: p - t).sums(Tensor(pred), Tensor(target))


@pytest.mark.parametrize(
    ("metric", "error", "message"),
    [
        (
            "acuracy",
            ValueError,
            r"Trainer: unknown metric 'acuracy'; did you mean 'accuracy'\? Known: acc",
        ),
        ("top_0_accuracy", ValueError, "unknown metric 'top_0_accuracy'; did you mean"),
        (3, TypeError, "Trainer: metric must be a name"),
        (metrics.R2, TypeError, r"is the class R2; make one with R2\(\)"),
    ],
)
def test_unknown_metrics(metric, error, message):
    with pytest.raises(error, match=message):
        metrics.get(metric, where="Trainer")


def test_two_of_a_name():
    with pytest.raises(ValueError, match="two metrics called 'mae'"):
        metrics.get_all(["mae", metrics.MAE()])


@pytest.mark.parametrize(
    ("name", "pred", "target", "error", "message"),
    [
        (
            "accuracy",
            np.zeros((3, 4)),
            np.array([0, 1, 4]),
            ValueError,
            r"accuracy: target\[2\] is 4",
        ),
        ("accuracy", np.zeros((3, 4)), np.array([0.0, 1, 2]), TypeError, "labels must be integers"),
        ("accuracy", np.zeros((3, 4)), np.array([0, 1]), ValueError, r"targets have shape \(2,\)"),
        ("accuracy", np.zeros((3, 4, 2)), np.array([0, 1, 2]), ValueError, r"\[rows, classes\]"),
        (
            "top_5_accuracy",
            np.zeros((3, 4)),
            np.array([0, 1, 2]),
            ValueError,
            "k is 5, .* 4 classes",
        ),
        ("mse", np.zeros((3, 4)), np.zeros((3, 1)), ValueError, "mse: targets have shape"),
        ("r2", np.zeros((3, 4)), np.zeros((3,)), ValueError, "r2: targets have shape"),
    ],
)
def test_what_does_not_fit(name, pred, target, error, message):
    with pytest.raises(error, match=message):
        metrics.get(name)(pred, target)


def test_k_is_checked():
    with pytest.raises(ValueError, match="TopKAccuracy: k must be at least 1"):
        metrics.TopKAccuracy(0)
    with pytest.raises(TypeError, match="TopKAccuracy: k must be an integer"):
        metrics.TopKAccuracy(2.5)
    with pytest.raises(ValueError, match="threshold must be finite"):
        metrics.BinaryAccuracy(math.nan)
