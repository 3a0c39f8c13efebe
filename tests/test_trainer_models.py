"""Trainer: models and losses of the user's own."""

from __future__ import annotations

import numpy as np
import pytest
from training import classes, network, regression

import fastprop as fp
from fastprop import functional as F
from fastprop import nn, optim


class Residual(nn.Module):
    """A skip connection, and one layer used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Dense(3, 8, "tanh")
        self.shared = nn.Dense(8, 8, "tanh")
        self.last = nn.Dense(8, 1)
        self.unused = nn.Dense(2, 2)

    def forward(self, x):
        h = self.first(x)
        h = h + self.shared(h)
        h = h + self.shared(h)
        return self.last(h)


def test_skip_connections_and_shared_layers() -> None:
    fp.seed(0)
    model = Residual()
    unused = model.unused.weight.data.copy()
    x, y = regression(100)
    history = fp.Trainer(model, "mse", optim.Adam(lr=1e-2)).fit(x, y, epochs=30, batch_size=10)
    assert history["loss"][-1] < 0.1 * history["loss"][0]
    np.testing.assert_array_equal(model.unused.weight.data, unused)


def test_traced_and_eager_training_agree() -> None:
    x, y = regression(24, dtype="float64")
    model = network(3, 8, 1, dtype="float64")
    eager = network(3, 8, 1, dtype="float64")
    losses = []
    trainer = fp.Trainer(model, "mse", optim.SGD(lr=0.05, momentum=0.9))
    optimizer = optim.SGD(eager.parameters(), lr=0.05, momentum=0.9)
    for _ in range(20):
        loss = fp.losses.mse(eager(fp.tensor(x)), fp.tensor(y[:, None]))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append((trainer.train_step(x, y), loss.item()))
    np.testing.assert_allclose(*np.transpose(losses), rtol=1e-12)


class TwoInTwoOut(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Dense(3, 6, "tanh")
        self.b = nn.Dense(2, 6, "tanh")
        self.value = nn.Dense(6, 1)
        self.label = nn.Dense(6, 3)

    def forward(self, x, z):
        h = self.a(x) + self.b(z)
        return self.value(h), self.label(h)


def both_losses(outputs, targets):
    value, label = outputs
    return fp.losses.mse(value, targets[0]) + fp.losses.cross_entropy(label, targets[1])


def test_several_inputs_and_outputs() -> None:
    fp.seed(0)
    x, y = regression(90)
    z, label = classes(90)
    model = TwoInTwoOut()
    trainer = fp.Trainer(model, both_losses, optim.Adam(lr=1e-2))
    history = trainer.fit((x, z), (y, label), epochs=40, batch_size=16, validation_split=0.2)
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    value, scores = trainer.predict((x, z))
    assert value.shape == (90, 1)
    assert scores.shape == (90, 3)
    as_lists = trainer.evaluate([x, z], [y, label])
    assert as_lists == trainer.evaluate((x, z), (y, label))
    with pytest.raises(ValueError, match=r"x holds 1 array, TwoInTwoOut\.forward takes 2"):
        trainer.predict(x)


class MeanAndVariance(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Dense(3, 16, "tanh")
        self.mean = nn.Dense(16, 1)
        self.spread = nn.Dense(16, 1, "softplus")

    def forward(self, x):
        h = self.body(x)
        return self.mean(h), self.spread(h) + 1e-3


def test_gaussian_nll_takes_mean_and_variance() -> None:
    fp.seed(0)
    x, y = regression(200)
    trainer = fp.Trainer(MeanAndVariance(), "gaussian_nll", optim.Adam(lr=1e-2))
    history = trainer.fit(x, y, epochs=30, batch_size=20)
    assert history["loss"][-1] < history["loss"][0] - 0.5


def test_loss_without_targets() -> None:
    """Pull all outputs to 3."""
    x, _ = regression(50)
    trainer = fp.Trainer(
        network(3, 8, 1), lambda out, _: F.mean(F.square(out - 3.0)), optim.Adam(lr=0.05)
    )
    trainer.fit(x, epochs=60)
    np.testing.assert_allclose(trainer.predict(x), 3.0, atol=0.2)


def test_module_modes_are_restored() -> None:
    x, y = regression(20)
    model = network(3, 8, 1)
    model[0].eval()
    fp.Trainer(model, "mse", optim.Adam()).fit(x, y, validation_split=0.5)
    assert model.training
    assert not model[0].training


class Scale(nn.Module):
    """Doubles in training only."""

    def forward(self, x):
        return x * 2.0 if self.training else x


def test_training_mode_is_traced() -> None:
    x, y = regression(20)
    model = nn.Sequential(nn.Dense(3, 1), Scale())
    trainer = fp.Trainer(model, "mse", optim.SGD(lr=0.0))
    history = trainer.fit(x, y, batch_size=None, validation_data=(x, y))
    out = trainer.predict(x)[:, 0]
    np.testing.assert_allclose(history["loss"][0], np.mean((2 * out - y) ** 2), rtol=1e-5)
    np.testing.assert_allclose(history["val_loss"][0], np.mean((out - y) ** 2), rtol=1e-5)
