"""Trainer.report names layers and phases as the user does."""

from __future__ import annotations

from training import classes, network

import fastprop as fp
from fastprop import nn
from fastprop.inspect.labels import Labels


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Dense(width, width, activation="tanh")
        self.outer = nn.Dense(width, width)

    def forward(self, x):
        return x + self.outer(self.inner(x))


def names(model: nn.Module, threads: int = 1, **options) -> dict[str, set[str]]:
    """The phases of every layer."""
    x, y = classes()
    trainer = fp.Trainer(model, "cross_entropy", "adam", threads=threads, **options)
    report = trainer.report(x, y, steps=1)
    found: dict[str, set[str]] = {}
    for entry in report.entries:
        found.setdefault(entry.layer, set()).add(entry.phase)
    return found


DENSE = {"forward", "dx", "dW", "db", "update"}


def test_layers_of_a_stack() -> None:
    model = nn.Sequential(
        nn.Dense(2, 16, "relu"), nn.Dense(16, 100), nn.Tanh(), nn.Dense(100, 100), nn.Dense(100, 3)
    )
    assert names(model, threads=2, metrics=["accuracy"]) == {
        "data": {"gather"},
        "0 Dense 2→16": DENSE - {"dx"},
        "1 Dense 16→100": DENSE,  # Tanh is fused into it, and so is its derivative into the next
        "3 Dense 100→100": DENSE | {"pack"},  # two threads share weights too large for a cache
        "4 Dense 100→3": DENSE,
        "loss": {"loss"},
        "metrics": {"metrics"},
        "threads": {"barrier wait", "end of step"},
    }


def test_modules_of_the_users_own_and_parts_that_are_not_fused() -> None:
    model = nn.Sequential(nn.Dense(2, 8), Residual(8), nn.PReLU(), nn.Softmax(), nn.Dense(8, 3))
    found = names(model)
    assert found["1.inner Dense 8→8"] == DENSE
    assert found["1.outer Dense 8→8"] == DENSE
    assert found["1 Residual"] == {"forward"}
    assert found["2 PReLU"] == {"forward", "dx", "db", "update"}
    assert found["3 Softmax"] == {"forward", "dx"}
    assert "other" not in set().union(*found.values())


def test_a_layer_used_twice() -> None:
    shared = nn.Dense(8, 8)
    found = names(nn.Sequential(nn.Dense(2, 8), shared, nn.Tanh(), shared, nn.Dense(8, 3)))
    assert found["1 Dense 8→8"] == DENSE
    assert "optimizer" not in found


def test_a_loss_of_the_users_own_with_parameters_of_its_own() -> None:
    """Operations on parameters outside of every module's forward are the loss's."""
    model = network(2, 8, 3)
    first = next(iter(model.parameters()))

    def loss(outputs, targets):
        return fp.losses.cross_entropy(outputs, targets) + 1e-3 * (first * first).sum()

    x, y = classes()
    report = fp.Trainer(model, loss, "adam", threads=1).report(x, y, steps=1)
    phases = {(e.layer, e.phase) for e in report.entries}
    assert ("0 Dense 2→8", "dW") in phases
    assert ("loss", "loss") in phases
    assert not any(phase == "other" for _, phase in phases)


def test_every_instruction_has_one_label() -> None:
    trainer = fp.Trainer(network(2, 16, 8, 3), "cross_entropy", "adam", threads=1)
    x, y = classes()
    trainer.fit(x, y, batch_size=32, verbose=False)
    labels = Labels(trainer.program, trainer.model).all
    assert len(labels) == trainer.program.num_instructions
    updates = [
        label for label, item in zip(labels, trainer.program.instructions, strict=True)
        if item.name == "adam_update"
    ]  # fmt: skip
    assert sorted({u.layer for u in updates}) == ["0 Dense 2→16", "1 Dense 16→8", "2 Dense 8→3"]
    assert {u.phase for u in updates} == {"update"}
