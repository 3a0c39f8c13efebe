"""What calls keep for the next call must never show: every change of model or data is noticed."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Callable

import numpy as np
import pytest
from training import classes, network, regression

import fastprop as fp
from fastprop import _core, nn, optim
from fastprop import functional as F

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)


def trained(loss: str = "mse", threads: int | None = None) -> fp.Trainer:
    """A Trainer that has seen a row, some rows and a step, so that it keeps something for each."""
    trainer = fp.Trainer(network(3, 5, 2), loss, optim.Adam(lr=0.01), threads=threads)
    y = np.zeros(4, np.int64) if loss == "cross_entropy" else np.zeros((4, 2), np.float32)
    for _ in range(2):
        trainer.predict(X[:1])
        trainer.predict(X)
        trainer.train_step(X[:4], y)
    return trainer


# -- _core.Form ------------------------------------------------------------------------------------


def fits(value: object, finite: bool = True) -> bool:
    return _core.Form(np.dtype(np.float32), (3,)).fits(value, finite)


def test_form_takes_what_needs_no_work() -> None:
    assert fits(X)
    assert fits(X[:1])
    assert fits(X[7:9])


class Subclass(np.ndarray):
    pass


@pytest.mark.parametrize(
    "value",
    [
        None,
        3.0,
        X.tolist(),
        X[:0],
        X[0],
        X[:, :2],
        X[:, None],
        X[::2],
        np.asfortranarray(X),
        X.astype(np.float64),
        X.astype(">f4"),
        X.view(Subclass),
        np.ma.masked_array(X),
        np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view(np.float32).reshape(X.shape),
    ],
    ids=lambda v: f"{type(v).__name__}{getattr(v, 'shape', '')}",
)
def test_form_leaves_the_rest_to_the_checks(value: object) -> None:
    assert not fits(value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_form_looks_at_the_numbers(bad: float, dtype: type) -> None:
    form = _core.Form(np.dtype(dtype), (3,))
    x = X.astype(dtype)
    x[-1, -1] = bad
    assert not form.fits(x, True)
    assert form.fits(x, False)


def test_form_of_labels() -> None:
    form = _core.Form(np.dtype(np.int64), (), 3)
    assert form.fits(np.array([0, 2, 1]), True)
    assert not form.fits(np.array([0, 3]), True)
    assert not form.fits(np.array([0, -1]), False)
    assert not form.fits(np.array([0, 1], np.int32), True)
    with pytest.raises(ValueError, match="labels must be int64"):
        _core.Form(np.dtype(np.int32), (), 3)
    with pytest.raises(ValueError, match="at most 8 axes"):
        _core.Form(np.dtype(np.float32), (1,) * 8)


# -- the same checks after a good call -------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "error", "match"),
    [
        (X[:, :2].copy(), ValueError, "x has 2 columns, the model takes 3"),
        (X[:0], ValueError, "x is empty"),
        (X[0], ValueError, "x has 1 axis"),
        (np.full((1, 3), np.nan, np.float32), ValueError, "x is nan at row 0, column 0"),
        (np.array([["a", "b", "c"]]), TypeError, "expected real numbers"),
        (X.astype(complex), TypeError, "expected real numbers"),
    ],
)
def test_bad_inputs(x: np.ndarray, error: type[Exception], match: str) -> None:
    trainer = trained()
    for _ in range(2):
        with pytest.raises(error, match=match):
            trainer.predict(x)
        assert trainer.predict(X[:1]).shape == (1, 2)


def test_inputs_that_have_to_be_converted() -> None:
    trainer = trained()
    expected = trainer.predict(X)
    for x in (X.astype(np.float64), X.tolist(), np.asfortranarray(X), X.astype(">f4")):
        np.testing.assert_array_equal(trainer.predict(x), expected)
        np.testing.assert_array_equal(trainer.predict(X), expected)


@pytest.mark.parametrize(
    ("y", "error", "match"),
    [
        (np.array([0, 1, 2, 0]), ValueError, r"y\[2\] is 2, expected a label in \[0, 2\)"),
        (np.array([0, 1, -1, 0]), ValueError, r"y\[2\] is -1"),
        (np.array([0, 1, 0]), ValueError, "x has 4 rows, y has 3"),
        (np.zeros(4), TypeError, "labels must be integers"),
        (None, ValueError, "needs targets"),
    ],
)
def test_bad_labels(y: np.ndarray, error: type[Exception], match: str) -> None:
    trainer = trained("cross_entropy")
    before = trainer.model.state_dict()
    with pytest.raises(error, match=match):
        trainer.train_step(X[:4], y)
    for name, value in trainer.model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("bad", [-0.5, np.nan])
def test_losses_that_look_at_values(bad: float) -> None:
    trainer = fp.Trainer(network(3, 1), "binary_cross_entropy", "sgd")
    y = np.full((4, 1), 0.5, np.float32)
    trainer.train_step(X[:4], y)
    y[2] = bad
    with pytest.raises(ValueError, match="y"):
        trainer.train_step(X[:4], y)


def test_sample_weights_between_steps_without() -> None:
    trainer, other = trained(), trained()
    y = np.ones((4, 2), np.float32)
    loss = trainer.train_step(X[:4], y, sample_weight=np.ones(4))
    assert loss == pytest.approx(other.train_step(X[:4], y), rel=1e-6)
    with pytest.raises(ValueError, match="sample_weight"):
        trainer.train_step(X[:4], y, sample_weight=np.array([1, 1, 1, -1.0]))


# -- changes of the model --------------------------------------------------------------------------


def fresh(model: nn.Module, x: np.ndarray) -> np.ndarray:
    with fp.no_grad():
        result: np.ndarray = model(x).numpy()
    return result


def append(model: nn.Sequential) -> None:
    model.append(nn.Tanh())


def replace_activation(model: nn.Sequential) -> None:
    setattr(model, "1", nn.Sigmoid())


def replace_in_the_table(model: nn.Sequential) -> None:
    model._modules["1"] = nn.Dense(5, 2, "sigmoid")


def replace_parameter(model: nn.Sequential) -> None:
    model[0].weight = nn.Parameter(np.ones((3, 5), np.float32))


def write_into_a_view(model: nn.Sequential) -> None:
    view = model[0].weight.data
    view[1:] = 7.0


def load(model: nn.Sequential) -> None:
    model.load_state_dict({k: v + 1 for k, v in model.state_dict().items()})


def use_in_another_trainer(model: nn.Sequential) -> None:
    replace_parameter(model)
    fp.Trainer(model, "mse", "sgd").train_step(X, np.ones((40, 2), np.float32))


@pytest.mark.parametrize(
    "change",
    [
        append,
        replace_activation,
        replace_in_the_table,
        replace_parameter,
        write_into_a_view,
        load,
        use_in_another_trainer,
    ],
)
@pytest.mark.parametrize("rows", [1, 7, 40])
def test_predictions_follow_the_model(change: Callable[[nn.Sequential], None], rows: int) -> None:
    trainer = trained()
    before = trainer.predict(X[:rows])
    change(trainer.model)
    found = trainer.predict(X[:rows])
    assert not np.array_equal(found, before)
    np.testing.assert_allclose(found, fresh(trainer.model, X[:rows]), rtol=1e-5, atol=1e-6)


def test_a_frozen_parameter_stays_and_thaws() -> None:
    trainer = trained()
    first = next(iter(trainer.model.parameters()))
    before = first.data.copy()
    y = np.ones((4, 2), np.float32)
    first.requires_grad = False
    trainer.train_step(X[:4], y)
    np.testing.assert_array_equal(first.data, before)
    first.requires_grad = True
    trainer.train_step(X[:4], y)
    assert not np.array_equal(first.data, before)


def test_hyper_parameters_between_steps() -> None:
    y = np.ones((4, 2), np.float32)
    found = []
    for early in (False, True):
        trainer = fp.Trainer(network(3, 2), "mse", optim.SGD(lr=0.1, momentum=0.5))
        trainer.train_step(X[:4], y)
        if early:
            trainer.train_step(X[:4], y)
        trainer.optimizer.lr = 0.01
        trainer.optimizer.momentum = 0.9
        if not early:
            trainer.train_step(X[:4], y)
        found.append(trainer.model.state_dict()["0.weight"])
    assert not np.array_equal(*found)


def test_modules_that_are_walked_their_own_way() -> None:
    class Chosen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Dense(3, 2), nn.Dense(3, 2)
            object.__setattr__(self, "which", "a")

        def parameters(self):
            return getattr(self, self.which).parameters()

        def forward(self, x):
            return getattr(self, self.which)(x)

    model = Chosen()
    trainer = fp.Trainer(model, "mse", "sgd")
    trainer.predict(X)
    object.__setattr__(model, "which", "b")
    np.testing.assert_allclose(trainer.predict(X), fresh(model, X), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_of_models(duplicate: Callable[[nn.Module], nn.Module]) -> None:
    model = network(3, 5, 2)
    other = duplicate(model)
    np.testing.assert_array_equal(fresh(other, X), fresh(model, X))
    next(iter(other.parameters())).data[...] = 0
    assert not np.array_equal(fresh(other, X), fresh(model, X))


# -- the same numbers, however they are asked for --------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
def test_rows_do_not_depend_on_the_program(threads: int) -> None:
    """One row, a few and many have Programs of their own; only the last one packs weights."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(1100, 19)).astype(np.float32)
    trainer = fp.Trainer(network(19, 33, 40, 7), "mse", "adam", threads=threads)
    whole = trainer.predict(x)
    np.testing.assert_array_equal(trainer.predict(x[:20]), whole[:20])
    np.testing.assert_array_equal(trainer.predict(x[:50], batch_size=7), whole[:50])
    for i in (0, 5):
        np.testing.assert_array_equal(trainer.predict(x[i : i + 1]), whole[i : i + 1])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("rows", [1, 5, 32])
def test_steps_are_those_of_fit(threads: int, rows: int) -> None:
    x, y = classes(4 * rows)
    found = []
    for single in (False, True):
        trainer = fp.Trainer(network(2, 17, 3), "cross_entropy", "adam", threads=threads)
        if single:
            losses = [
                trainer.train_step(x[i : i + rows], y[i : i + rows])
                for i in range(0, 4 * rows, rows)
            ]
        else:
            seen: list[float] = []
            trainer.fit(x, y, batch_size=rows, shuffle=False, callbacks=Losses(seen))
            losses = seen
        found.append((losses, trainer.model.state_dict()))
    assert found[0][0] == found[1][0]
    for name, value in found[0][1].items():
        np.testing.assert_array_equal(value, found[1][1][name])


class Losses(fp.Callback):
    def __init__(self, seen: list[float]) -> None:
        self.seen = seen

    def on_steps_end(self, trainer, first_step, losses):
        self.seen.extend(losses.tolist())


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("several_phases", [False, True])
def test_a_bad_loss_changes_nothing(threads: int, several_phases: bool) -> None:
    def loss(pred: fp.Tensor, target: fp.Tensor) -> fp.Tensor:
        rows = F.mean(F.log(F.abs(pred - target) * 0 + target), 1)
        if several_phases:
            rows = rows - F.mean(rows) + F.mean(rows * F.mean(rows))
        return F.mean(rows) + F.mean((pred - target) ** 2)

    x, _ = regression(24)
    trainer = fp.Trainer(network(3, 4, 2), loss, optim.Adam(), threads=threads)
    y = np.ones((24, 2), np.float32)
    trainer.train_step(x, y)
    optimizer = trainer.optimizer
    arrays = [p.data for p in optimizer.parameters]
    arrays += [a for group in optimizer.state.values() for a in group]
    before = [a.copy() for a in arrays]
    y[5] = -1
    for _ in range(3):
        with pytest.raises(fp.NonFiniteError, match=r"the loss is nan; the parameters are as"):
            trainer.train_step(x, y)
    for array, saved in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, saved)
    assert optimizer.steps == 1
    assert np.isfinite(trainer.train_step(x, np.ones((24, 2), np.float32)))


def test_calls_like_the_latest_take_no_python(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = trained(threads=1)
    y = np.zeros((4, 2), np.float32)
    row, many = trainer.predict(X[:1]), trainer.predict(X)
    start = trainer.optimizer.steps

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("Python was asked")

    monkeypatch.setattr("fastprop.graph.program.Program.run", refuse)
    np.testing.assert_array_equal(trainer.predict(X[:1]), row)
    np.testing.assert_array_equal(trainer.predict(X), many)
    assert trainer.train_step(X[:4], y) > trainer.train_step(X[:4], y)
    assert trainer.optimizer.steps == start + 2
    assert not np.array_equal(trainer.predict(X), many)
    for bad in (np.full((4, 3), np.nan, np.float32), X[:4, :2]):
        with pytest.raises(ValueError, match="x"):
            trainer.train_step(bad, y)
        with pytest.raises(ValueError, match="x"):
            trainer.predict(bad)
    trainer.optimizer.lr = 0.5
    for call in (lambda: trainer.train_step(X[:3], y[:3]), lambda: trainer.predict(X[:3].tolist())):
        with pytest.raises(AssertionError, match="Python was asked"):
            call()


def test_a_trainer_goes_with_its_last_user() -> None:
    trainer = trained(threads=1)
    gone = weakref.ref(trainer)
    gc.disable()
    try:
        del trainer
        assert gone() is None
    finally:
        gc.enable()
