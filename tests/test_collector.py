"""The garbage collector waits while a step is planned, and is as it was afterwards."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import fastprop as fp
from fastprop import nn
from fastprop.graph.collector import collector_paused

X, Y = np.ones((8, 3), np.float32), np.ones((8, 2), np.float32)


class Looking(nn.Module):
    """A layer that notes whether the collector is at work when its forward pass is recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Dense(3, 2)
        self.seen: list[bool] = []

    def forward(self, x: fp.Tensor) -> fp.Tensor:
        self.seen.append(gc.isenabled())
        return self.layer(x)


class Failing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Dense(3, 2)

    def forward(self, x: fp.Tensor) -> fp.Tensor:
        raise ValueError("not today")


@pytest.fixture(autouse=True)
def collector():
    """On before each test, and after it."""
    gc.enable()
    yield
    gc.enable()


def test_it_waits_while_a_step_is_traced():
    model = Looking()
    fp.Trainer(model, "mse", "sgd").fit(X, Y, verbose=False)
    assert model.seen
    assert not any(model.seen)
    assert gc.isenabled()


def test_who_has_switched_it_off_finds_it_off():
    gc.disable()
    fp.Trainer(Looking(), "mse", "sgd").fit(X, Y, verbose=False)
    assert not gc.isenabled()


def test_it_goes_on_after_an_error():
    with pytest.raises(ValueError, match="not today"):
        fp.Trainer(Failing(), "mse", "sgd").fit(X, Y, verbose=False)
    assert gc.isenabled()


def test_blocks_inside_each_other():
    with collector_paused():
        with collector_paused():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_compiled_functions_go_on_with_it():
    assert fp.compile(lambda x: x * 2.0)(X).sum().item() == 48.0
    assert gc.isenabled()
