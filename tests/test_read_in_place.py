"""A first layer of one column reads its rows where they lie: the same bits as from a copy."""

from __future__ import annotations

import numpy as np
import pytest
from training import weights_of

import fastprop as fp
from fastprop import nn, optim
from fastprop.graph import fuse

ROWS = 75


def data(width: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(width)
    x = rng.uniform(-1, 1, (ROWS, width)).astype(dtype)
    return x, np.tanh(x.sum(1, keepdims=True)).astype(dtype)


def trained(width: int, dtype: str, threads: int, activation: str | None, batch: int):
    fp.seed(1)
    model = nn.Sequential(nn.Dense(width, 1, activation, dtype=dtype))
    trainer = fp.Trainer(model, "mse", optim.Adam(lr=1e-2), seed=2, threads=threads)
    x, y = data(width, dtype)
    trainer.fit(x, y, epochs=3, batch_size=batch)
    return trainer, weights_of(model), trainer.predict(x, batch_size=batch).tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("width", "batch"), [(256, 75), (257, 32), (300, 16), (333, 1), (999, 20)])
def test_the_bits_of_a_copy(width: int, batch: int, dtype: str, monkeypatch) -> None:
    for activation in (None, "gelu"):
        monkeypatch.setattr(fuse, "LEAST_ROW_BYTES", 1)
        found = [trained(width, dtype, threads, activation, batch) for threads in (1, 2, 3)]
        names = [item.name for item in found[0][0].program.instructions]
        assert {"dense_gathered", "dense_backward_weights_gathered"} <= set(names)
        assert names.count("gather_rows") == 1  # of the targets
        monkeypatch.setattr(fuse, "LEAST_ROW_BYTES", 1 << 30)
        copied, *rest = trained(width, dtype, 1, activation, batch)
        assert "dense_gathered" not in copied.program.describe()
        assert all(tuple(rest) == other[1:] for other in found)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_step_by_numpy(dtype: str) -> None:
    width, batch, lr = 517, 25, 0.01
    x, y = data(width, dtype)
    model = nn.Sequential(nn.Dense(width, 1, dtype=dtype))
    w, b = (p.data.astype(np.float64) for p in model.parameters())
    trainer = fp.Trainer(model, "mse", optim.SGD(lr=lr), threads=1)
    trainer.fit(x, y, epochs=1, batch_size=batch, shuffle=False)
    assert "dense_gathered" in trainer.program.describe()
    for i in range(0, ROWS, batch):
        rows = x[i : i + batch].astype(np.float64)
        dz = 2 / batch * (rows @ w + b - y[i : i + batch])
        w, b = w - lr * rows.T @ dz, b - lr * dz.sum(0)
    for ours, theirs in zip(model.parameters(), (w, b), strict=True):
        tolerance = 200 * np.finfo(dtype).eps
        np.testing.assert_allclose(ours.data, theirs, rtol=tolerance, atol=tolerance)


class Shared(nn.Module):
    """Its input is read by two layers, or by something else as well."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.a, self.b, self.how = nn.Dense(300, 1), nn.Dense(300, 1), how

    def forward(self, x):
        if self.how == "twice":
            return self.a(x) + self.b(x)
        return self.a(x) + x.sum(1, keepdims=True)


@pytest.mark.parametrize("how", ["twice", "sum"])
def test_what_others_read_is_copied(how: str) -> None:
    x, y = data(300, "float32")
    trainer = fp.Trainer(Shared(how), "mse", "sgd", threads=1)
    trainer.fit(x, y, epochs=1, batch_size=32)
    assert "gathered" not in trainer.program.describe()
