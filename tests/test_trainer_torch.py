"""The same loss trajectory as PyTorch from the same initial weights."""

from __future__ import annotations

import numpy as np
import pytest

import fastprop as fp
from fastprop import nn, optim

torch = pytest.importorskip("torch")

torch.set_num_threads(1)  # its threads and ours would wait for each other

STEPS, ROWS, BATCH = 200, 160, 16


def data(loss: str):
    rng = np.random.default_rng(7)
    x = rng.normal(size=(ROWS, 6))
    y = rng.integers(0, 4, ROWS) if loss == "cross_entropy" else np.sin(x[:, :4])
    return x, y


def fastprop_losses(loss: str, optimizer, model) -> np.ndarray:
    x, y = data(loss)
    found: list[float] = []

    class Record(fp.Callback):
        def on_steps_end(self, trainer, first_step, losses):
            found.extend(losses)

    trainer = fp.Trainer(model, loss, optimizer)
    trainer.fit(
        x, y, epochs=STEPS * BATCH // ROWS, batch_size=BATCH, shuffle=False, callbacks=[Record()]
    )
    return np.array(found)


def torch_losses(loss: str, make_optimizer, weights: list[np.ndarray]) -> np.ndarray:
    x, y = (torch.from_numpy(a) for a in data(loss))
    parameters = [torch.from_numpy(w.copy()).requires_grad_() for w in weights]
    optimizer = make_optimizer(parameters)
    function = (
        torch.nn.functional.cross_entropy
        if loss == "cross_entropy"
        else torch.nn.functional.mse_loss
    )
    found = []
    for step in range(STEPS):
        start = step * BATCH % ROWS
        h, target = x[start : start + BATCH], y[start : start + BATCH]
        for i in range(0, len(parameters), 2):
            h = h @ parameters[i] + parameters[i + 1]
            if i + 2 < len(parameters):
                h = torch.tanh(h)
        value = function(h, target)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        found.append(value.item())
    return np.array(found)


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("SGD", {"lr": 0.05, "momentum": 0.9}),
        ("SGD", {"lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 1e-3}),
        ("Adam", {"lr": 1e-2}),
        ("Adam", {"lr": 1e-2, "weight_decay": 1e-2}),
        ("AdamW", {"lr": 1e-2, "weight_decay": 0.1}),
    ],
)
def test_same_trajectory(loss: str, name: str, arguments: dict) -> None:
    fp.seed(11)
    model = nn.Sequential(
        nn.Dense(6, 20, "tanh", dtype="float64"),
        nn.Dense(20, 20, "tanh", dtype="float64"),
        nn.Dense(20, 4, dtype="float64"),
    )
    weights = list(model.state_dict().values())
    expected = torch_losses(loss, lambda p: getattr(torch.optim, name)(p, **arguments), weights)
    found = fastprop_losses(loss, getattr(optim, name)(**arguments), model)
    assert expected[-1] < expected[0]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
