"""What lies below the mask of a NumPy array is no number of the user's: no door lets it in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastprop as fp
from fastprop import data, nn, optim

ROWS = 24
_RNG = np.random.default_rng(0)
X = _RNG.normal(size=(ROWS, 3)).astype(np.float32)
Y = _RNG.normal(size=(ROWS, 1)).astype(np.float32)
LABELS = np.arange(ROWS) % 4


def masked(array: np.ndarray) -> Any:
    mask = np.zeros(array.shape, bool)
    mask[1] = True
    return np.ma.masked_array(array, mask)


def trainer(loss: str = "mse") -> fp.Trainer:
    return fp.Trainer(
        nn.Dense(3, 1 if loss == "mse" else 4), loss=loss, optimizer=optim.SGD(lr=0.1)
    )


TRAINING: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "fit x": ("Trainer.fit: x", lambda t: t.fit(masked(X), Y)),
    "fit y": ("Trainer.fit: y", lambda t: t.fit(X, masked(Y))),
    "fit x of several": ("Trainer.fit: x", lambda t: t.fit((masked(X),), Y)),
    "fit weights": (
        "Trainer.fit: sample_weight",
        lambda t: t.fit(X, Y, sample_weight=masked(np.ones(ROWS))),
    ),
    "validation x": (
        "Trainer.fit: validation_data: x",
        lambda t: t.fit(X, Y, validation_data=(masked(X), Y)),
    ),
    "validation y": (
        "Trainer.fit: validation_data: y",
        lambda t: t.fit(X, Y, validation_data=(X, masked(Y))),
    ),
    "predict": ("Trainer.predict: x", lambda t: t.predict(masked(X))),
    "evaluate x": ("Trainer.evaluate: x", lambda t: t.evaluate(masked(X), Y)),
    "evaluate y": ("Trainer.evaluate: y", lambda t: t.evaluate(X, masked(Y))),
    "train_step x": ("Trainer.train_step: x", lambda t: t.train_step(masked(X), Y)),
    "train_step y": ("Trainer.train_step: y", lambda t: t.train_step(X, masked(Y))),
}


@pytest.mark.parametrize("warm", [False, True], ids=["first call", "later call"])
@pytest.mark.parametrize("case", TRAINING)
def test_training(case: str, warm: bool) -> None:
    """Also after calls with plain arrays, whose form is remembered."""
    name, call = TRAINING[case]
    trained = trainer()
    if warm:
        trained.fit(X, Y)
        trained.predict(X)
        trained.evaluate(X, Y)
        trained.train_step(X, Y)
    before = trained.model.weight.data.copy()
    with pytest.raises(TypeError, match=rf"^{name} has masked elements \(\d+ of \d+\), expected"):
        call(trained)
    np.testing.assert_array_equal(trained.model.weight.data, before)


CLASSES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "labels": ("Trainer.fit: y", lambda t: t.fit(X, masked(LABELS))),
    "class_weight": (
        "Trainer.fit: class_weight",
        lambda t: t.fit(X, LABELS, class_weight=masked(np.ones(4))),
    ),
    "stratify": (
        "Trainer.fit: stratify",
        lambda t: t.fit(X, LABELS, validation_split=0.25, stratify=masked(LABELS)),
    ),
}


@pytest.mark.parametrize("case", CLASSES)
def test_training_of_classes(case: str) -> None:
    name, call = CLASSES[case]
    with pytest.raises(TypeError, match=f"^{name} has masked elements"):
        call(trainer("cross_entropy"))


def assign(value: Any) -> None:
    nn.Parameter(X).data = value


ELSEWHERE: dict[str, tuple[str, Callable[[], Any]]] = {
    "Tensor": ("Tensor: the array", lambda: fp.tensor(masked(X))),
    "op": ("Tensor: the array", lambda: fp.tensor(X) + masked(X)),
    "Parameter": ("Parameter: the array", lambda: nn.Parameter(masked(X))),
    "Buffer": ("Buffer: the array", lambda: nn.Buffer(masked(X))),
    "assignment": ("Parameter.data: the array", lambda: assign(masked(X))),
    "module": ("Dense: the array", lambda: nn.Dense(3, 1)(masked(X))),
    "compiled": ("compile: the array", lambda: fp.compile(lambda x: x * 2)(masked(X))),
    "state": (
        "Dense.load_state_dict: 'bias': the array",
        lambda: nn.Dense(3, 2).load_state_dict(
            {"weight": X[:3, :2], "bias": masked(np.ones(2, np.float32))}
        ),
    ),
    "labels": ("cross_entropy: target", lambda: fp.losses.cross_entropy(X, masked(LABELS % 3))),
    "kernel": ("relu_forward: x", lambda: fp.kernels.relu_forward(masked(X))),
    "dataset": ("ArrayDataset: x", lambda: data.ArrayDataset(masked(X), Y)),
    "iterable": ("from_iterable: item 0: x", lambda: data.from_iterable([(masked(X), Y)]).head()),
    "sampler": ("WeightedSampler: weights", lambda: data.WeightedSampler(masked(np.ones(ROWS)))),
    "split": (
        r"train_test_split: arrays\[1\]",
        lambda: data.train_test_split(X, masked(Y), test_size=0.5),
    ),
}


@pytest.mark.parametrize("case", ELSEWHERE)
def test_elsewhere(case: str) -> None:
    name, call = ELSEWHERE[case]
    with pytest.raises(TypeError, match=f"^{name} has masked elements"):
        call()


def test_arrays_whose_mask_is_empty() -> None:
    """`genfromtxt(usemask=True)` gives such arrays, whether values are missing or not."""
    plain, other = trainer(), trainer()
    other.model.load_state_dict(plain.model.state_dict())
    plain.fit(X, Y, epochs=2)
    other.fit(np.ma.masked_array(X), np.ma.masked_array(Y, np.zeros(Y.shape, bool)), epochs=2)
    np.testing.assert_array_equal(other.model.weight.data, plain.model.weight.data)
    np.testing.assert_array_equal(other.predict(np.ma.masked_array(X)), plain.predict(X))
