"""Trainer: what it learns, reports and keeps."""

from __future__ import annotations

import numpy as np
import pytest
from training import classes, network, regression, weights_of

import fastprop as fp
from fastprop import optim


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_regression(dtype: str) -> None:
    x, y = regression(dtype=dtype)
    trainer = fp.Trainer(
        network(3, 32, 1, dtype=dtype), "mse", optim.Adam(lr=1e-2), metrics=["mae", "r2"]
    )
    history = trainer.fit(x, y, epochs=60, batch_size=16)
    assert history["loss"][-1] < 0.02 < history["loss"][0]
    assert history["r2"][-1] > 0.95
    assert history.epoch == list(range(1, 61))
    prediction = trainer.predict(x)
    assert prediction.shape == (200, 1)
    assert prediction.dtype == dtype
    found = trainer.evaluate(x, y)
    assert set(found) == {"loss", "mae", "r2"}
    np.testing.assert_allclose(found["loss"], np.mean((prediction[:, 0] - y) ** 2), rtol=1e-5)
    np.testing.assert_allclose(found["mae"], np.mean(abs(prediction[:, 0] - y)), rtol=1e-5)


def test_classification() -> None:
    x, y = classes()
    trainer = fp.Trainer(network(2, 16, 3), "cross_entropy", optim.Adam(lr=1e-2), ["accuracy"])
    history = trainer.fit(x, y, epochs=20, batch_size=32, validation_data=classes(100, seed=1))
    assert list(history) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert history["val_accuracy"][-1] > 0.95
    assert trainer.evaluate(x, y)["accuracy"] == np.mean(trainer.predict(x).argmax(1) == y)


@pytest.mark.parametrize("batch_size", [1, 7, 50, 1000, None])
def test_batch_sizes(batch_size) -> None:
    x, y = regression(50)
    trainer = fp.Trainer(network(3, 8, 1), "mse", optim.SGD(lr=0.01))
    history = trainer.fit(x, y, epochs=3, batch_size=batch_size)
    steps = 3 * -(-50 // min(batch_size or 50, 50))
    assert trainer.optimizer.steps == steps
    assert history["loss"][-1] < history["loss"][0]


def test_short_last_batch_is_trained() -> None:
    """One step of 4 rows, one of 3: exactly what two train_steps do."""
    x, y = regression(7)
    one, two = network(3, 8, 1), network(3, 8, 1)
    fitted = fp.Trainer(one, "mse", optim.Adam(lr=0.01))
    history = fitted.fit(x, y, epochs=1, batch_size=4, shuffle=False)
    stepped = fp.Trainer(two, "mse", optim.Adam(lr=0.01))
    losses = [stepped.train_step(x[:4], y[:4]), stepped.train_step(x[4:], y[4:])]
    assert weights_of(one) == weights_of(two)
    np.testing.assert_allclose(history["loss"], (4 * losses[0] + 3 * losses[1]) / 7, rtol=1e-12)


def test_drop_last() -> None:
    x, y = regression(7)
    trainer = fp.Trainer(network(3, 8, 1), "mse", optim.SGD(lr=0.01))
    trainer.fit(x, y, batch_size=3, drop_last=True)
    assert trainer.optimizer.steps == 2
    with pytest.raises(ValueError, match="drop_last leaves no batch"):
        trainer.fit(x, y, batch_size=8, drop_last=True)


@pytest.mark.levels
def test_bits_do_not_depend_on_threads() -> None:
    x, y = classes(515)
    found = set()
    for threads in (1, 2, 3):
        model = network(2, 37, 19, 3, activation="relu")
        trainer = fp.Trainer(model, "cross_entropy", optim.Adam(lr=1e-2), ["accuracy"], 1, threads)
        history = trainer.fit(x, y, epochs=3, batch_size=64, validation_split=0.1)
        found.add((weights_of(model), repr(history.to_dict())))
    assert len(found) == 1


def test_bits_do_not_depend_on_how_an_epoch_is_cut() -> None:
    x, y = regression(100)

    class Watch(fp.Callback):
        def __init__(self) -> None:
            self.losses: list[float] = []

        def on_steps_end(self, trainer, first_step, losses):
            assert first_step == len(self.losses)
            self.losses.extend(losses)

    watch = Watch()
    cut, whole = network(3, 8, 1), network(3, 8, 1)
    trainer = fp.Trainer(cut, "mse", optim.Adam(lr=1e-2))
    a = trainer.fit(x, y, epochs=2, batch_size=5, callbacks=[watch])
    other = fp.Trainer(whole, "mse", optim.Adam(lr=1e-2))
    other.fit(x, y, epochs=0)
    b = other.fit(x, y, epochs=2, batch_size=5)
    assert weights_of(cut) == weights_of(whole)
    assert a.to_dict() == b.to_dict()
    assert len(watch.losses) == 40
    np.testing.assert_allclose(np.mean(watch.losses[:20]), a["loss"][0], rtol=1e-12)


def test_two_fits_are_one_long_fit() -> None:
    x, y = regression(60)
    one, two = network(3, 8, 1), network(3, 8, 1)
    long = fp.Trainer(one, "mse", optim.Adam(lr=1e-2), seed=5)
    long.fit(x, y, epochs=4)
    short = fp.Trainer(two, "mse", optim.Adam(lr=1e-2), seed=5)
    short.fit(x, y, epochs=1)
    history = short.fit(x, y, epochs=3)
    assert history.epoch == [2, 3, 4]
    assert short.epoch == 4
    assert weights_of(one) == weights_of(two)


def test_seed_decides_the_order() -> None:
    x, y = regression(60)
    found = []
    for seed in (0, 0, 1):
        model = network(3, 8, 1)
        fp.Trainer(model, "mse", optim.SGD(lr=0.1), seed=seed).fit(x, y, epochs=2)
        found.append(weights_of(model))
    assert found[0] == found[1] != found[2]


def test_no_epochs_changes_nothing() -> None:
    x, y = regression(20)
    model = network(3, 8, 1)
    before = weights_of(model)
    history = fp.Trainer(model, "mse", optim.Adam()).fit(x, y, epochs=0)
    assert history.epoch == []
    assert weights_of(model) == before
    assert "no epochs" in repr(history)


def test_learning_rate_may_be_a_function_of_the_step() -> None:
    x, y = regression(20)
    one, two = network(3, 8, 1), network(3, 8, 1)
    fp.Trainer(one, "mse", optim.SGD(lr=lambda step: 0.1)).fit(x, y, batch_size=4)
    fp.Trainer(two, "mse", optim.SGD(lr=0.1)).fit(x, y, batch_size=4)
    assert weights_of(one) == weights_of(two)


def test_hyper_parameters_may_change_between_fits() -> None:
    x, y = regression(20)
    optimizer = optim.SGD(lr=0.1, momentum=0.9)
    model = network(3, 8, 1)
    trainer = fp.Trainer(model, "mse", optimizer)
    trainer.fit(x, y)
    optimizer.lr = 0.0
    before = weights_of(model)
    trainer.fit(x, y)
    assert weights_of(model) == before
    optimizer.lr, optimizer.weight_decay = 0.1, 1.0
    trainer.fit(x, y, epochs=200, batch_size=None)
    assert sum(float(np.abs(a).sum()) for a in model.state_dict().values()) < 1.0


def test_assigned_parameters_are_used() -> None:
    x, y = regression(20)
    model = network(3, 8, 1)
    trainer = fp.Trainer(model, "mse", optim.SGD(lr=0.1))
    trainer.fit(x, y)
    before = trainer.predict(x)
    for parameter in model.parameters():
        parameter.data = parameter.data * 0
    assert np.all(trainer.predict(x) == 0)
    assert np.any(before != 0)
    np.testing.assert_allclose(trainer.train_step(x, y), np.mean(y**2), rtol=1e-6)


# -- validation, weights, metrics ------------------------------------------------------------------


def test_validation_split_is_held_out() -> None:
    x, y = regression(40)
    y[:] = np.arange(40)
    trainer = fp.Trainer(network(3, 4, 1), "mse", optim.SGD(lr=0.0), seed=3)
    history = trainer.fit(x, y, epochs=1, validation_split=0.25, batch_size=8)
    _, held_out = fp.data.split_rows(40, 0.25, 3)
    prediction = trainer.predict(x)[:, 0]
    np.testing.assert_allclose(
        history["val_loss"][0], np.mean((prediction - y)[held_out] ** 2), rtol=1e-5
    )
    rest = np.setdiff1d(np.arange(40), held_out)
    np.testing.assert_allclose(history["loss"][0], np.mean((prediction - y)[rest] ** 2), rtol=1e-5)


def test_sample_weights() -> None:
    x, y = regression(30)
    weight = np.random.default_rng(0).uniform(0, 2, 30)
    trainer = fp.Trainer(network(3, 8, 1), "mse", optim.SGD(lr=0.0), metrics=["mae"])
    history = trainer.fit(x, y, sample_weight=weight, batch_size=7, validation_data=(x, y, weight))
    errors = (trainer.predict(x)[:, 0] - y) ** 2
    expected = float(np.average(errors, weights=weight))
    np.testing.assert_allclose(history["loss"][0], expected, rtol=1e-5)
    np.testing.assert_allclose(history["val_loss"][0], expected, rtol=1e-5)
    np.testing.assert_allclose(
        trainer.evaluate(x, y, sample_weight=weight)["loss"], expected, rtol=1e-5
    )


def test_rows_without_weight_do_not_matter() -> None:
    x, y = regression(30)
    weight = np.ones(30)
    weight[20:] = 0
    one, two = network(3, 8, 1), network(3, 8, 1)
    fp.Trainer(one, "mse", optim.SGD(lr=0.1)).fit(
        x, y, sample_weight=weight, batch_size=None, shuffle=False, epochs=5
    )
    fp.Trainer(two, "mse", optim.SGD(lr=0.1)).fit(
        x[:20], y[:20], batch_size=None, shuffle=False, epochs=5
    )
    for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("batch_size", [None, 1, 7, 64])
def test_evaluate_and_predict_do_not_depend_on_the_batch_size(batch_size) -> None:
    x, y = classes(65)
    trainer = fp.Trainer(network(2, 8, 3), "cross_entropy", optim.Adam(), ["accuracy"])
    whole = trainer.evaluate(x, y, batch_size=65)
    found = trainer.evaluate(x, y, batch_size=batch_size)
    np.testing.assert_allclose(found["loss"], whole["loss"], rtol=1e-6)
    assert found["accuracy"] == whole["accuracy"]
    np.testing.assert_array_equal(trainer.predict(x, batch_size), trainer.predict(x, 65))


def test_many_rows_are_predicted_in_order() -> None:
    x, _ = regression(1700)
    trainer = fp.Trainer(network(3, 8, 1), "mse", optim.Adam())
    parts = np.concatenate([trainer.predict(x[i : i + 1]) for i in range(0, 1700, 100)])
    np.testing.assert_array_equal(trainer.predict(x)[::100], parts)


# -- data of all kinds -----------------------------------------------------------------------------


@pytest.mark.parametrize("convert", [np.float64, np.float16, np.int32, np.asfortranarray])
def test_inputs_of_all_kinds(convert) -> None:
    x = np.round(4 * regression(40)[0])
    y = np.random.default_rng(0).integers(0, 3, 40).astype(np.uint8)
    same, other = network(3, 8, 3), network(3, 8, 3)
    fp.Trainer(same, "cross_entropy", optim.SGD(lr=0.1)).fit(x, y, epochs=2)
    source = convert(x) if convert is np.asfortranarray else x.astype(convert)
    history = fp.Trainer(other, "cross_entropy", optim.SGD(lr=0.1)).fit(source, y, epochs=2)
    assert weights_of(same) == weights_of(other)
    assert any("y was converted from uint8 to int64" in note for note in history.notes)


def test_data_are_neither_changed_nor_kept_writable() -> None:
    x, y = regression(40)
    x.flags.writeable = y.flags.writeable = False
    copies = x.copy(), y.copy()
    fp.Trainer(network(3, 8, 1), "mse", optim.Adam()).fit(x, y, epochs=2)
    np.testing.assert_array_equal(x, copies[0])
    np.testing.assert_array_equal(y, copies[1])


def test_memory_mapped_files(tmp_path) -> None:
    x, y = regression(64)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    mapped = [np.load(tmp_path / name, mmap_mode="r") for name in ("x.npy", "y.npy")]
    one, two = network(3, 8, 1), network(3, 8, 1)
    history = fp.Trainer(one, "mse", optim.Adam()).fit(*mapped, epochs=2)
    fp.Trainer(two, "mse", optim.Adam()).fit(x, y, epochs=2)
    assert history.notes == []
    assert weights_of(one) == weights_of(two)


def test_frames() -> None:
    pd = pytest.importorskip("pandas")
    x, y = regression(40)
    one, two = network(3, 8, 1), network(3, 8, 1)
    frame = pd.DataFrame(x, columns=["a", "b", "c"])
    fp.Trainer(one, "mse", optim.Adam()).fit(frame, pd.Series(y), epochs=2)
    fp.Trainer(two, "mse", optim.Adam()).fit(x, y, epochs=2)
    assert weights_of(one) == weights_of(two)


def test_targets_of_one_column() -> None:
    x, y = regression(40)
    one, two = network(3, 8, 1), network(3, 8, 1)
    fp.Trainer(one, "mse", optim.Adam()).fit(x, y, epochs=2)
    fp.Trainer(two, "mse", optim.Adam()).fit(x, y[:, None], epochs=2)
    assert weights_of(one) == weights_of(two)


# -- models ----------------------------------------------------------------------------------------


def test_two_trainers_on_one_model() -> None:
    x, y = regression(20)
    model = network(3, 8, 1)
    first = fp.Trainer(model, "mse", optim.SGD(lr=0.1))
    second = fp.Trainer(model, "mae", optim.SGD(lr=0.1))
    first.fit(x, y)
    second.fit(x, y)
    np.testing.assert_array_equal(first.predict(x), second.predict(x))


def test_repr_and_attributes() -> None:
    trainer = fp.Trainer(network(3, 8, 1), "mse", "adam", metrics="mae", threads=1)
    assert "loss='mse'" in repr(trainer)
    assert trainer.program is None
    x, y = regression(20)
    trainer.fit(x, y)
    assert trainer.program is not None
    assert trainer.program.threads == 1


def test_programs_are_kept() -> None:
    x, y = regression(64)
    trainer = fp.Trainer(network(3, 8, 1), "mse", optim.SGD(lr=0.01))
    trainer.train_step(x[:32], y[:32])
    program = trainer.program
    for rows in (32, 31, 17):
        trainer.train_step(x[:rows], y[:rows])
        assert trainer.program is program
    trainer.train_step(x, y)
    assert trainer.program is not program
    trainer.train_step(x[:32], y[:32])
    assert trainer.program.capacity == 32
