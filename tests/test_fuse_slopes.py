"""gelu and its like keep their derivative in the place of z: the same bits, in as much memory."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from training import weights_of

import fastprop as fp
from fastprop import functional as F
from fastprop import nn
from fastprop.graph import fuse

KINDS = ["gelu", "gelu_tanh", "silu", "mish"]


def trained(activation: str, dtype: str, threads: int, sizes: tuple[int, ...]) -> fp.Trainer:
    fp.seed(1)
    pairs = list(pairwise(sizes))
    hidden = [nn.Dense(a, b, activation, dtype=dtype) for a, b in pairs[:-1]]
    model = nn.Sequential(*hidden, nn.Dense(*pairs[-1], dtype=dtype))
    trainer = fp.Trainer(model, "mse", "adam", seed=2, threads=threads)
    rng = np.random.default_rng(0)
    x = 3 * rng.standard_normal((75, sizes[0])).astype(dtype)
    trainer.fit(x, np.tanh(x[:, : sizes[-1]]), epochs=3, batch_size=20, verbose=False)
    return trainer


def names(trainer: fp.Trainer) -> list[str]:
    assert trainer.program is not None
    return [item.name for item in trainer.program.instructions]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [(5, 33, 17, 1), (7, 1, 130, 3)])
@pytest.mark.parametrize("activation", KINDS)
def test_the_bits_of_z(activation: str, sizes: tuple[int, ...], dtype: str, monkeypatch) -> None:
    found = [trained(activation, dtype, threads, sizes) for threads in (1, 2, 3)]
    assert names(found[0]).count("activation_with_slope") == len(sizes) - 2
    monkeypatch.setattr(fuse, "slope_kinds", frozenset)
    plain = trained(activation, dtype, 1, sizes)
    assert "activation_with_slope" not in names(plain)
    for trainer in found:
        assert weights_of(trainer.model) == weights_of(plain.model)
    assert found[0].program.arena_bytes <= plain.program.arena_bytes


@pytest.mark.parametrize("activation", ["relu", "tanh", "elu", "leaky_relu"])
def test_functions_whose_derivative_is_cheap_stay(activation: str) -> None:
    assert "activation_with_slope" not in names(trained(activation, "float32", 1, (5, 8, 8, 2)))


class ReadTwice(nn.Module):
    """Somebody else reads z, or the layer's gradient comes from more than one product."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.a, self.b, self.how = nn.Dense(4, 8), nn.Dense(8, 8), how

    def forward(self, x: fp.Tensor) -> fp.Tensor:
        z = self.a(x)
        y = F.gelu(z)
        return self.b(y) + (z if self.how == "z" else y)


@pytest.mark.parametrize("how", ["z", "y"])
def test_z_that_is_read_elsewhere_stays(how: str) -> None:
    fp.seed(3)
    trainer = fp.Trainer(ReadTwice(how), "mse", "sgd")
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((8, 4), np.float32), rng.standard_normal((8, 8), np.float32)
    model = trainer.model
    loss = ((model(fp.Tensor(x)) - y) ** 2).mean()
    loss.backward()
    expected = [p.data - 0.01 * p.grad.data for p in model.parameters()]
    trainer.optimizer.lr = 0.01
    trainer.fit(x, y, batch_size=8, verbose=False)
    assert "activation_with_slope" not in names(trainer)
    for p, wanted in zip(model.parameters(), expected, strict=True):
        np.testing.assert_allclose(p.data, wanted, rtol=1e-5, atol=1e-6)
