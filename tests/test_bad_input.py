"""What a Trainer refuses: each a clear exception, before any work."""

from __future__ import annotations

import numpy as np
import pytest

import fastprop as fp
from fastprop import functional as F
from fastprop import nn, optim

N = 20
X = np.random.default_rng(0).normal(size=(N, 4)).astype(np.float32)
Y = X[:, 0].copy()
LABELS = np.arange(N) % 3


def regressor() -> fp.Trainer:
    return fp.Trainer(nn.Sequential(nn.Dense(4, 5, "tanh"), nn.Dense(5, 1)), "mse", optim.Adam())


def classifier() -> fp.Trainer:
    return fp.Trainer(nn.Sequential(nn.Dense(4, 3)), "cross_entropy", optim.Adam())


def with_value(array: np.ndarray, index, value) -> np.ndarray:
    changed = np.array(array, dtype=float if array.dtype.kind == "f" else array.dtype)
    changed[index] = value
    return changed


def refuses(trainer: fp.Trainer, kind, message: str, *data, **options) -> None:
    before = [a.copy() for a in trainer.model.state_dict().values()]
    with pytest.raises(kind, match=message):
        trainer.fit(*data, **options)
    for a, b in zip(trainer.model.state_dict().values(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert trainer.optimizer.steps == 0
    assert trainer.epoch == 0


SHAPES = [
    (X[:, :3], Y, "Trainer.fit: x has 3 columns, the model takes 4"),
    (X[:, :1], Y, "Trainer.fit: x has 1 column, the model takes 4"),
    (X[:, 0], Y, r"Trainer.fit: x has 1 axis, the model takes rows of 4 columns"),
    (X[0, 0], Y, "Trainer.fit: x is a single number"),
    (X, Y[:-1], "Trainer.fit: x has 20 rows, y has 19"),
    (X[:-3], Y, "Trainer.fit: x has 17 rows, y has 20"),
    (X[:0], Y[:0], "Trainer.fit: x is empty"),
    (np.empty((0, 4)), [], "Trainer.fit: x is empty"),
    (X, np.zeros((N, 2)), r"Trainer.fit: mse: targets have shape \(20, 2\), expected \(20, 1\)"),
    (X, 3.0, "Trainer.fit: mse: targets must have one entry for each row"),
    (X, None, "Trainer.fit: the loss mse needs targets, and y is None"),
    (X, (Y, Y), "Trainer.fit: the loss mse takes one array of targets, got 2"),
    ((X, X), Y, "Trainer.fit: x holds 2 arrays, Sequential.forward takes 1"),
    ((), Y, "Trainer.fit: x"),
]


@pytest.mark.parametrize(("x", "y", "message"), SHAPES)
def test_shapes(x, y, message: str) -> None:
    refuses(regressor(), ValueError, message, x, y)


LABEL_CASES = [
    (with_value(LABELS, 7, 3), ValueError, r"Trainer.fit: cross_entropy: y\[7\] is 3.*\[0, 3\)"),
    (with_value(LABELS, 2, -1), ValueError, r"Trainer.fit: cross_entropy: y\[2\] is -1"),
    (LABELS.astype(float), TypeError, "Trainer.fit: cross_entropy: labels must be integers"),
    (np.array(["cat", "dog"] * 10), TypeError, "Trainer.fit: y has dtype <U3"),
    (np.zeros((N, 5)), ValueError, "Trainer.fit: cross_entropy: targets have shape"),
]


@pytest.mark.parametrize(("y", "kind", "message"), LABEL_CASES)
def test_labels(y, kind, message: str) -> None:
    refuses(classifier(), kind, message, X, y)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite(bad) -> None:
    refuses(regressor(), ValueError, r"Trainer.fit: x is -?(nan|inf) at row 5, column 2",
            with_value(X, (5, 2), bad), Y)  # fmt: skip
    refuses(regressor(), ValueError, r"Trainer.fit: y is -?(nan|inf) at row 9",
            X, with_value(Y, 9, bad))  # fmt: skip


def test_too_large_for_float32() -> None:
    refuses(regressor(), ValueError, "too large for float32", with_value(X, (1, 1), 1e200), Y)


def test_check_finite_can_be_skipped() -> None:
    trainer = regressor()
    with pytest.raises(fp.NonFiniteError, match="nan in epoch 1, step 1"):
        trainer.fit(with_value(X, (0, 0), np.nan), Y, check_finite=False, batch_size=None)
    assert np.isnan(trainer.predict(with_value(X, (0, 0), np.nan), check_finite=False)[0])
    assert np.isnan(trainer.evaluate(X, with_value(Y, 0, np.nan), check_finite=False)["loss"])


NOT_NUMBERS = [
    np.ones((N, 4), complex),
    np.full((N, 4), None, object),
    np.full((N, 4), "1.5"),
    np.zeros((N, 4), "datetime64[s]"),
    None,
]


@pytest.mark.parametrize("x", NOT_NUMBERS)
def test_not_numbers(x) -> None:
    refuses(regressor(), TypeError, "Trainer.fit: x", x, Y)
    if x is not None:
        refuses(regressor(), TypeError, "Trainer.fit: y", X, x[:, 0])


OPTIONS = [
    ({"batch_size": 0}, ValueError, "Trainer.fit: batch_size must be at least 1, got 0"),
    ({"batch_size": -3}, ValueError, "Trainer.fit: batch_size must be at least 1, got -3"),
    ({"batch_size": 2.5}, TypeError, "Trainer.fit: batch_size must be an integer, got 2.5"),
    ({"batch_size": True}, TypeError, "Trainer.fit: batch_size must be an integer, got True"),
    ({"batch_size": "32"}, TypeError, "Trainer.fit: batch_size must be an integer, got '32'"),
    ({"epochs": -1}, ValueError, "Trainer.fit: epochs must be at least 0, got -1"),
    ({"epochs": 1.5}, TypeError, "Trainer.fit: epochs must be an integer"),
    ({"validation_split": 1.0}, ValueError, "validation_split must be in \\[0, 1\\)"),
    ({"validation_split": -0.1}, ValueError, "validation_split must be in \\[0, 1\\)"),
    ({"validation_split": float("nan")}, ValueError, "validation_split"),
    ({"validation_split": "0.1"}, TypeError, "validation_split must be a number"),
    ({"validation_split": 0.01}, ValueError, "leaves 20 to train on and 0 to validate with"),
    ({"validation_data": X}, ValueError, r"validation_data must be \(x, y\)"),
    ({"validation_data": (X,)}, ValueError, r"validation_data must be \(x, y\)"),
    ({"validation_data": (X[:, :2], Y)}, ValueError, "validation_data: x has 2 columns"),
    ({"validation_data": (X, Y[:3])}, ValueError, "validation_data: x has 20 rows, y has 3"),
    (
        {"validation_data": (X, Y), "validation_split": 0.5},
        ValueError,
        "validation_data or validation_split, not both",
    ),
    ({"sample_weight": np.ones(3)}, ValueError, r"sample_weight has shape \(3,\)"),
    ({"sample_weight": -np.ones(N)}, ValueError, "sample_weight"),
    ({"sample_weight": np.zeros(N)}, ValueError, "sample_weight is zero for all"),
    ({"sample_weight": np.full(N, np.nan)}, ValueError, "sample_weight"),
    ({"sample_weight": ["a"] * N}, TypeError, "sample_weight"),
]


@pytest.mark.parametrize(("options", "kind", "message"), OPTIONS)
def test_options(options, kind, message: str) -> None:
    refuses(regressor(), kind, message, X, Y, **options)


def test_batch_size_beyond_the_data_is_one_batch() -> None:
    trainer = regressor()
    trainer.fit(X, Y, batch_size=10**9)
    assert trainer.optimizer.steps == 1


@pytest.mark.parametrize("method", ["evaluate", "predict", "train_step"])
def test_other_methods_name_themselves(method: str) -> None:
    trainer = regressor()
    data = (X[:, :3],) if method == "predict" else (X[:, :3], Y)
    with pytest.raises(ValueError, match=f"Trainer.{method}: x has 3 columns, the model takes 4"):
        getattr(trainer, method)(*data)
    with pytest.raises(ValueError, match=f"Trainer.{method}: x is nan at row 0, column 0"):
        getattr(trainer, method)(with_value(X, (0, 0), np.nan), *data[1:])


NAMES = [
    ({"loss": "mean_squared_error"}, "unknown loss 'mean_squared_error'.*mse"),
    ({"loss": "cross_entrpy"}, "did you mean 'cross_entropy'"),
    ({"metrics": ["acuracy"]}, "unknown metric 'acuracy'; did you mean 'accuracy'"),
    ({"optimizer": "adm"}, "unknown optimizer 'adm'; did you mean 'adam'.*sgd"),
    ({"metrics": ["mae", "mae"]}, "two metrics called 'mae'"),
    ({"threads": 0}, "threads must be at least 1"),
    ({"seed": -1}, "seed"),
]


@pytest.mark.parametrize(("options", "message"), NAMES)
def test_unknown_names(options, message: str) -> None:
    arguments = {"loss": "mse", "optimizer": optim.Adam(), **options}
    with pytest.raises(ValueError, match=f"Trainer: .*{message}"):
        fp.Trainer(nn.Dense(4, 1), **arguments)


TYPES = [
    ({"model": print}, "model must be an nn.Module"),
    ({"loss": 3}, "loss must be"),
    ({"optimizer": optim.Adam}, "optimizer must be"),
    ({"optimizer": None}, "optimizer must be"),
    ({"metrics": [3]}, "metric must be"),
    ({"threads": 1.5}, "threads must be an integer"),
    ({"seed": "a"}, "seed"),
]


@pytest.mark.parametrize(("options", "message"), TYPES)
def test_wrong_types(options, message: str) -> None:
    arguments = {"model": nn.Dense(4, 1), "loss": "mse", "optimizer": optim.Adam(), **options}
    with pytest.raises(TypeError, match=f"Trainer: {message}"):
        fp.Trainer(**arguments)


def test_model_without_parameters() -> None:
    with pytest.raises(
        ValueError, match=r"^Trainer: the model Sequential has no parameters to train"
    ):
        fp.Trainer(nn.Sequential(nn.ReLU()), "mse", optim.Adam())


class Broken(nn.Module):
    """Whose forward does what it should not."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.layer = nn.Dense(4, 1)
        self.how = how

    def forward(self, x):
        y = self.layer(x)
        if self.how == "number":
            return 1.0
        if self.how == "scalar":
            return F.mean(y)
        if self.how == "shapes":
            return y + F.sum(x, 1)
        return y


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("number", TypeError, "Trainer.fit: Broken.forward must give a Tensor"),
        ("scalar", ValueError, "Trainer.fit: Broken.forward gave an output of shape .* one row"),
        ("shapes", ValueError, r"Trainer.fit: the model does not take x of shape \(N, 4\): add"),
    ],
)
def test_broken_models(how: str, kind, message: str) -> None:
    refuses(fp.Trainer(Broken(how), "mse", optim.Adam()), kind, message, X, Y)


def test_loss_that_depends_on_nothing() -> None:
    trainer = fp.Trainer(nn.Dense(4, 1), lambda p, t: F.mean(t), optim.Adam())
    refuses(trainer, ValueError, "the loss does not depend on any parameter", X, Y)


def test_loss_that_gives_no_scalar() -> None:
    trainer = fp.Trainer(nn.Dense(4, 1), lambda p, t: p - t, optim.Adam())
    refuses(trainer, ValueError, "Trainer.fit: .*must give a scalar", X, Y)


def test_loss_that_takes_no_weights() -> None:
    trainer = fp.Trainer(nn.Dense(4, 1), lambda p, t: F.mean(p - t), optim.Adam())
    refuses(trainer, ValueError, "takes no sample weights", X, Y, sample_weight=np.ones(N))


def test_metric_that_does_not_fit() -> None:
    trainer = fp.Trainer(nn.Dense(4, 3), "cross_entropy", optim.Adam(), metrics=["r2"])
    refuses(trainer, ValueError, "Trainer.fit: loss or metrics do not take outputs", X, LABELS)


def test_optimizer_of_another_model() -> None:
    other = nn.Dense(4, 1)
    trainer = fp.Trainer(nn.Dense(4, 1), "mse", optim.Adam(other.parameters()))
    refuses(trainer, ValueError, "the loss does not depend on any parameter of the optimizer", X, Y)
