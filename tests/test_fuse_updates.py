"""Updates that make the gradient of a large weight themselves: when, and that no bit changes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import fastprop as fp
from fastprop import nn, optim
from fastprop.graph import fuse_updates
from fastprop.inspect.limit import product_flops

RULES = {
    "sgd": lambda: optim.SGD(lr=0.01, momentum=0.9, weight_decay=0.01),
    "adam": lambda: optim.Adam(lr=0.01),
    "amsgrad": lambda: optim.Adam(lr=0.01, amsgrad=True, weight_decay=0.1),
    "adamw": lambda: optim.AdamW(lr=0.01, weight_decay=0.1),
    "adamax": lambda: optim.Adamax(lr=0.01),
    "nadam": lambda: optim.NAdam(lr=0.01),
    "radam": lambda: optim.RAdam(lr=0.01),
    "rmsprop": lambda: optim.RMSprop(lr=0.001, momentum=0.5, centered=True),
    "adagrad": lambda: optim.Adagrad(lr=0.01),
    "adadelta": lambda: optim.Adadelta(lr=0.5),
    "lion": lambda: optim.Lion(lr=0.001),
}


def network(dtype: str = "float32") -> nn.Module:
    return nn.Sequential(
        nn.Dense(301, 310, "relu", dtype=dtype),
        nn.Dense(310, 450, "tanh", dtype=dtype),
        nn.Dense(450, 3, dtype=dtype),
    )


def trained(
    optimizer: optim.Optimizer,
    *,
    batch: int = 20,
    threads: int = 1,
    dtype: str = "float32",
    **options: object,
) -> fp.Trainer:
    fp.seed(5)
    run = fp.Trainer(network(dtype), "mse", optimizer, threads=threads, seed=1, **options)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2 * batch + 1, 301)).astype(dtype)
    y = rng.standard_normal((2 * batch + 1, 3)).astype(dtype)
    run.fit(x, y, epochs=2, batch_size=batch, verbose=False)
    return run


def count(run: fp.Trainer) -> int:
    assert run.program is not None
    return sum(map(fuse_updates.makes_gradient, run.program.instructions))


def arrays(run: fp.Trainer) -> list[bytes]:
    state = [array for kind in run.optimizer.state.values() for array in kind]
    return [array.tobytes() for array in [*(p.data for p in run.model.parameters()), *state]]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_bits_are_those_of_a_gradient_in_memory(
    monkeypatch: pytest.MonkeyPatch, rule: str, threads: int
) -> None:
    fused = trained(RULES[rule](), threads=threads)
    assert count(fused) == 2
    monkeypatch.setattr(fuse_updates, "LEAST_BYTES", 1 << 60)
    plain = trained(RULES[rule]())
    assert count(plain) == 0
    assert arrays(fused) == arrays(plain)


@pytest.mark.parametrize("batch", [1, 2, 12, 13, 32])
def test_bits_for_every_kind_of_product(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    fused = trained(optim.Adam(lr=0.01), batch=batch, dtype="float64", threads=2)
    assert count(fused) == 2
    monkeypatch.setattr(fuse_updates, "LEAST_BYTES", 1 << 60)
    plain = trained(optim.Adam(lr=0.01), batch=batch, dtype="float64")
    assert count(plain) == 0
    assert arrays(fused) == arrays(plain)


def test_the_gradient_takes_no_memory() -> None:
    program = trained(optim.Adam(lr=0.01), threads=1).program
    assert program is not None
    assert program.arena_bytes < 310 * 450 * 4
    assert sum(map(product_flops, program.instructions)) == 2 * 20 * (
        3 * (301 * 310 + 310 * 450 + 450 * 3) - 301 * 310
    )


@pytest.mark.parametrize(("batch", "expected"), [(32, 2), (33, 0)])
def test_batches_are_small(batch: int, expected: int) -> None:
    assert count(trained(optim.Adam(lr=0.01), batch=batch)) == expected


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (lambda: optim.Adam(lr=0.01), {"clip": fp.gradients.ClipNorm(1.0)}),
        (lambda: optim.Adam(lr=0.01), {"clip": fp.gradients.ClipValue(0.1)}),
        (lambda: optim.Adam(lr=0.01), {"penalty": fp.regularizers.L2(0.1)}),
        (lambda: optim.Accumulate(optim.Adam(lr=0.01), 3), {}),
        (lambda: optim.LAMB(lr=0.01), {}),
    ],
)
def test_who_else_reads_the_gradient_keeps_it(
    make: Callable[[], optim.Optimizer], options: dict[str, object]
) -> None:
    assert count(trained(make(), **options)) == 0


def test_a_weight_that_is_used_twice_keeps_its_gradient() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Dense(300, 300, "relu")
            self.last = nn.Dense(300, 1)

        def forward(self, x: fp.Tensor) -> fp.Tensor:
            return self.last(self.layer(self.layer(x)))

    run = fp.Trainer(Twice(), "mse", optim.Adam(lr=0.01), threads=1)
    x = np.random.default_rng(0).standard_normal((40, 300)).astype(np.float32)
    run.fit(x, x[:, :1], batch_size=20, verbose=False)
    assert count(run) == 0


def test_a_loss_that_is_not_finite_changes_nothing() -> None:
    run = trained(optim.SGD(lr=0.01))
    before = arrays(run)
    x, y = np.ones((20, 301), np.float32), np.full((20, 3), 1e30, np.float32)
    with pytest.raises(fp.NonFiniteError):
        run.fit(x, y, batch_size=20, verbose=False)
    assert arrays(run) == before
