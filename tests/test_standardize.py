"""Standardize: learns from data, by itself or in a Trainer, and is saved with the model."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import DTYPES, assert_close, rng, uniform

import fastprop as fp
from fastprop import Tensor, nn, optim


def _data(rows: int = 500, columns: int = 3, dtype: str = "float32") -> np.ndarray:
    scale = np.array([1e-3, 1.0, 1e4, 7.0])[:columns]
    return (rng(0).normal(2.0, 1.0, (rows, columns)) * scale).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(500, 3), (40000, 3), (2, 3), (20, 7, 3)])
def test_adapt_by_numpy(shape: tuple[int, ...], dtype: str) -> None:
    x = uniform(shape, dtype=dtype) * np.array([1, 50, 1e-4], dtype) + 3
    layer = nn.Standardize(3, dtype=dtype)
    assert not layer.adapted
    assert layer.adapt(x) is layer
    assert layer.adapted
    rows = x.reshape(-1, 3).astype(np.float64)
    # NumPy adds rows one after the other, here and there: a random walk of 40,000 roundings.
    assert_close(layer.mean.data, rows.mean(0), ulps=4 if dtype == "float32" else 200)
    assert_close(layer.std.data, rows.std(0), ulps=4 if dtype == "float32" else 2000)
    assert layer.count.data == len(rows)
    y = layer(x).data
    expected = (x - layer.mean.data.astype(np.float64)) / layer.std.data.astype(np.float64)
    assert_close(y, expected, ulps=8, scale=4.0)
    assert y.dtype == dtype


def test_a_constant_feature_is_only_centered() -> None:
    x = np.stack([np.full(7, 0.1), np.arange(7.0), np.zeros(7)], 1)
    layer = nn.Standardize(3, dtype="float64").adapt(x)
    np.testing.assert_array_equal(layer.std.data, [1, 2, 1])
    y = layer(x).data
    np.testing.assert_allclose(y[:, [0, 2]], 0, atol=1e-15)
    np.testing.assert_allclose(y.std(0), [0, 1, 0], atol=1e-15)


def test_adapting_anew_forgets() -> None:
    layer = nn.Standardize(3).adapt(_data())
    layer.adapt(Tensor(uniform((9, 3))))
    assert layer.count.data == 9


def test_integers_and_mapped_files(tmp_path) -> None:
    x = rng(1).integers(0, 255, (300, 3)).astype(np.uint8)
    np.save(tmp_path / "x.npy", x)
    layer = nn.Standardize(3).adapt(np.load(tmp_path / "x.npy", mmap_mode="r"))
    np.testing.assert_allclose(layer.mean.data, x.mean(0), rtol=1e-6)
    np.testing.assert_allclose(layer.std.data, x.std(0), rtol=1e-6)


@pytest.mark.parametrize("threads", [1, 2])
def test_fit_adapts_it_to_the_training_rows(threads: int) -> None:
    x, y = _data(), uniform((500, 1), dtype=np.float32)
    fp.seed(0)
    model = nn.Sequential(nn.Standardize(3), nn.Dense(3, 4), nn.Dense(4, 1))
    trainer = fp.Trainer(model, "mse", optim.Adam(), threads=threads)
    trainer.fit(x, y, epochs=1, verbose=False, validation_data=(x * 9, y))
    np.testing.assert_allclose(model[0].mean.data, x.mean(0, np.float64), rtol=1e-6)
    np.testing.assert_allclose(model[0].std.data, x.std(0, dtype=np.float64), rtol=1e-5)
    trainer.fit(x * 5, y, epochs=1, verbose=False)  # learned once
    np.testing.assert_allclose(model[0].mean.data, x.mean(0, np.float64), rtol=1e-6)
    np.testing.assert_allclose(trainer.predict(x[:7]), model.eval()(x[:7]).data, atol=1e-6)


def test_rows_that_are_held_out_are_not_seen() -> None:
    x = np.concatenate([_data(), np.full((1, 3), 1e6, np.float32)])
    y = uniform((501, 1), dtype=np.float32)
    model = nn.Sequential(nn.Standardize(3), nn.Dense(3, 1))
    trainer = fp.Trainer(model, "mse", optim.SGD(lr=0.0), seed=3)
    trainer.fit(x, y, validation_split=0.2, verbose=False)
    assert model[0].count.data == 401


def test_fit_leaves_alone_what_was_adapted() -> None:
    model = nn.Sequential(nn.Standardize(3).adapt(_data() + 100), nn.Dense(3, 1))
    before = model[0].state_dict()
    trainer = fp.Trainer(model, "mse", optim.SGD(lr=0.0))
    trainer.fit(_data(), uniform((500, 1), dtype=np.float32), verbose=False)
    for name, array in model[0].state_dict().items():
        np.testing.assert_array_equal(array, before[name])


class Two(nn.Module):
    """Two inputs, each standardized; and a layer in the middle; one that is never reached."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Standardize(5)
        self.middle = nn.Standardize(4)
        self.a, self.b = nn.Standardize(3), nn.Standardize(2)
        self.first, self.last = nn.Dense(5, 4, "tanh"), nn.Dense(4, 1)

    def forward(self, a, b):
        from fastprop import functional as F

        hidden = self.first(F.concatenate([self.a(a), self.b(b)], 1))
        return self.last(self.middle(hidden))


def test_layers_anywhere_in_a_model() -> None:
    a, b = _data(), uniform((500, 2), 5, 9, dtype=np.float32)
    fp.seed(0)
    model = Two()
    # No step changes a parameter, so that the hidden values can be computed afterwards.
    trainer = fp.Trainer(model, "mse", optim.SGD(lr=0.0))
    trainer.fit((a, b), uniform((500, 1), dtype=np.float32), verbose=False)
    np.testing.assert_allclose(model.a.mean.data, a.mean(0, np.float64), rtol=1e-6)
    np.testing.assert_allclose(model.b.mean.data, b.mean(0, np.float64), rtol=1e-6)
    joined = np.concatenate([model.a(a).data, model.b(b).data], 1)
    hidden = model.first(joined).data
    np.testing.assert_allclose(model.middle.mean.data, hidden.mean(0), atol=1e-6)
    np.testing.assert_allclose(model.middle.std.data, hidden.std(0), rtol=1e-5)
    assert not model.unused.adapted


def test_it_is_saved_with_the_model() -> None:
    x = _data()
    model = nn.Sequential(nn.Standardize(3).adapt(x), nn.Dense(3, 2))
    copy = nn.Sequential(nn.Standardize(3), nn.Dense(3, 2))
    copy.load_state_dict(model.state_dict())
    assert copy[0].adapted
    assert copy(x).data.tobytes() == model(x).data.tobytes()


def test_standardizing_makes_badly_scaled_data_learnable() -> None:
    x = _data(columns=4)
    y = (x / [1e-3, 1.0, 1e4, 7.0]).sum(1, keepdims=True).astype(np.float32)
    losses = []
    for standardize in (True, False):
        fp.seed(0)
        layers = [nn.Standardize(4)] if standardize else []
        model = nn.Sequential(*layers, nn.Dense(4, 1))
        trainer = fp.Trainer(model, "mse", optim.Adam(lr=0.1))
        losses.append(trainer.fit(x, y, epochs=30, verbose=False)["loss"][-1])
    assert losses[0] < 1e-3 < losses[1]


# -- Bad input -------------------------------------------------------------------------------------


def test_it_must_have_seen_data() -> None:
    model = nn.Sequential(nn.Standardize(3), nn.Dense(3, 1))
    with pytest.raises(RuntimeError, match=r"Standardize: it has not seen any data; call adapt"):
        model(_data())
    trainer = fp.Trainer(model, "mse", "sgd")
    for call in (
        lambda: trainer.predict(_data()),
        lambda: trainer.evaluate(_data(), np.zeros((500, 1), np.float32)),
        lambda: trainer.train_step(_data(), np.zeros((500, 1), np.float32)),
    ):
        with pytest.raises(RuntimeError, match="it has not seen any data"):
            call()
    model[0].adapt(_data())
    assert trainer.predict(_data()).shape == (500, 1)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.ones((5, 2)), ValueError, r"expects \[rows, 3\], got shape \(5, 2\)"),
        (np.ones(3), ValueError, r"expects \[rows, 3\], got shape \(3,\)"),
        (np.ones((0, 3)), ValueError, "there are no rows"),
        (np.array([[1, 2, np.nan]] * 2), ValueError, "have a NaN or infinity"),
        (np.array([[1, 2, np.inf]] * 2), ValueError, "have a NaN or infinity"),
        (np.array([["a", "b", "c"]]), TypeError, "expects real numbers"),
        (np.ones((2, 3), complex), TypeError, "expects real numbers"),
    ],
)
def test_bad_data(x: np.ndarray, error: type[Exception], message: str) -> None:
    layer = nn.Standardize(3)
    with pytest.raises(error, match=f"Standardize.adapt: .*{message}"):
        layer.adapt(x)
    assert not layer.adapted
    np.testing.assert_array_equal(layer.std.data, np.ones(3))


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="Standardize: in_features must be at least 1"):
        nn.Standardize(0)
    with pytest.raises(TypeError, match="dtype must be float32 or float64"):
        nn.Standardize(3, dtype="int64")
    with pytest.raises(ValueError, match="normalize: mean has shape"):
        nn.Standardize(3).adapt(_data())(np.ones((2, 4), np.float32))
