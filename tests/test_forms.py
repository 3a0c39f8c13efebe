"""Programs of one form share a plan: what differs is never taken over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from training import regression, weights_of

import fastprop as fp
from fastprop import nn, optim
from fastprop.graph.forms import Plans
from fastprop.graph.program import Program
from fastprop.graph.tensor import Tensor
from fastprop.graph.trace import tracing
from fastprop.train import many
from fastprop.train import programs as programs_of_trainers
from fastprop.train.steps import Recipe

X, Y = regression(50)


def model(width: int = 6, activation: Any = "relu", seed: int = 0, **options: Any) -> nn.Module:
    fp.seed(seed)
    return nn.Sequential(nn.Dense(3, width, activation, **options), nn.Dense(width, 1))


class Scaled(nn.Module):
    """With a constant that is no parameter."""

    def __init__(self, scale: float, seed: int = 0) -> None:
        super().__init__()
        fp.seed(seed)
        self.layer = nn.Dense(3, 1)
        self.scale = fp.tensor(np.array([scale, 1.0, 2.0], np.float32))

    def forward(self, x):
        return self.layer(x * self.scale)


class Tied(nn.Module):
    """One square layer used twice, or two."""

    def __init__(self, tied: bool, seed: int = 0) -> None:
        super().__init__()
        fp.seed(seed)
        self.a = nn.Dense(3, 3, "tanh")
        self.b = self.a if tied else nn.Dense(3, 3, "tanh")
        self.top = nn.Dense(3, 1)

    def forward(self, x):
        return self.top(self.b(self.a(x)))


def trainer(net: nn.Module, loss: Any = "mse", optimizer: Any = None) -> fp.Trainer:
    return fp.Trainer(net, loss, optimizer or optim.Adam(lr=0.01))


def frozen(seed: int) -> fp.Trainer:
    made = trainer(model(seed=seed))
    next(iter(made.model.parameters())).requires_grad = False
    return made


VARIANTS: dict[str, Callable[[int], fp.Trainer]] = {
    "plain": lambda i: trainer(model(seed=i)),
    "wider": lambda i: trainer(model(7, seed=i)),
    "tanh": lambda i: trainer(model(6, "tanh", seed=i)),
    "no bias": lambda i: trainer(model(seed=i, bias=False)),
    "slope": lambda i: trainer(model(6, nn.LeakyReLU(0.1), seed=i)),
    "other slope": lambda i: trainer(model(6, nn.LeakyReLU(0.2), seed=i)),
    "frozen": frozen,
    "huber": lambda i: trainer(model(seed=i), fp.losses.Loss("huber", delta=0.1)),
    "other huber": lambda i: trainer(model(seed=i), fp.losses.Loss("huber", delta=0.3)),
    "sgd": lambda i: trainer(model(seed=i), "mse", optim.SGD(lr=0.1)),
    "momentum": lambda i: trainer(model(seed=i), "mse", optim.SGD(lr=0.1, momentum=0.9)),
    "decay": lambda i: trainer(model(seed=i), "mse", optim.Adam(lr=0.01, weight_decay=0.1)),
    "constant": lambda i: trainer(Scaled(2.0, i)),
    "other constant": lambda i: trainer(Scaled(-1.0, i)),
    "tied": lambda i: trainer(Tied(True, i)),
    "not tied": lambda i: trainer(Tied(False, i)),
}
OWN = ("constant", "other constant", "tied", "not tied")  # classes of the user's
SAME_PLAN = {"constant": "other constant"}  # only numbers in an array differ


@pytest.mark.parametrize("structures", [True, False], ids=["structures", "forms"])
def test_all_side_by_side(monkeypatch, structures: bool) -> None:
    """Two of each variant, in turns: each as alone, with as many plans as there are forms."""
    forms: Plans[Any] = Plans()
    steps: Plans[Any] = Plans()
    monkeypatch.setattr(many, "Plans", lambda: forms)
    monkeypatch.setattr(programs_of_trainers, "_STEPS", steps)
    if not structures:
        monkeypatch.setattr(Recipe, "structure", lambda self: None)
    makers = [make for _ in range(2) for make in VARIANTS.values()]
    together = [make(i) for i, make in enumerate(makers)]
    fp.fit_many(together, X, Y, epochs=3, batch_size=16, threads=2)
    for i, make in enumerate(makers):
        alone = make(i)
        alone.fit(X, Y, epochs=3, batch_size=16)
        name = list(VARIANTS)[i % len(VARIANTS)]
        assert weights_of(together[i].model) == weights_of(alone.model), name
        assert together[i].history["loss"] == alone.history["loss"], name
    assert len(forms) == len(OWN if structures else VARIANTS) - len(SAME_PLAN)
    if structures:  # each on one thread, and the last ones once more alone
        assert len(steps) >= len(VARIANTS) - len(OWN)
    else:
        assert not len(steps)


def programs(plans: Plans | None, count: int = 2) -> list[tuple[Program, Any]]:
    found = []
    for seed in range(count):
        net = model(seed=seed)
        with tracing():
            x = Tensor.placeholder((8, 3), np.dtype(np.float32), batched=True, name="x")
            y = net(x)
        found.append((Program([x], rows=[y], threads=1, plans=plans), net))
    return found


def test_what_a_program_says_of_itself() -> None:
    """One that took over a plan describes itself as one that was planned, and owns its arrays."""
    for (shared, net), (own, _) in zip(programs(Plans()), programs(None), strict=True):
        result = shared.run([X], len(X), 8)
        np.testing.assert_array_equal(result.rows[0], own.run([X], len(X), 8).rows[0])
        assert shared.describe() == own.describe()
        assert shared.arena_bytes == own.arena_bytes
        assert shared.num_instructions == own.num_instructions
        assert shared.barriers == own.barriers
        read = [v.parameter for item in shared.instructions for v in item.inputs if v is not None]
        assert {id(p) for p in read if p is not None} == {id(p) for p in net.parameters()}


def place(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def test_training_changes_its_own_arrays_alone() -> None:
    makers = [trainer(model(seed=i)) for i in range(3)]
    fp.fit_many(makers, X, Y, threads=1)
    for one in makers:
        assert one.program is not None
        state = [a for arrays in one.optimizer.state.values() for a in arrays]
        own = [*(p.data for p in one.model.parameters()), *state]
        assert {place(a) for a in one.program.changed_arrays()} == {place(a) for a in own}


def test_a_report_of_a_trainer_that_shared_a_plan() -> None:
    trainers = [trainer(model(seed=i)) for i in range(2)]
    for one in trainers:
        one.threads = 1
    fp.fit_many(trainers, X, Y)
    assert "Dense" in str(trainers[1].report(X, Y, steps=20))


def test_other_sizes_are_refused() -> None:
    (first, _), _ = programs(None)
    template = first._program.template()
    assert template is not None
    arrays = first.changed_arrays()
    with pytest.raises(ValueError, match=r"Template\.program: expects 4 buffers, got 0"):
        template.program(arrays)
    with pytest.raises(ValueError, match=r"Template\.program: buffer 0 has 4 bytes"):
        template.program([np.zeros(1, np.float32)] * 4)
