"""What a Program overwrites: in order, whatever the number of threads."""

from __future__ import annotations

import numpy as np
import pytest

import fastprop as fp
from fastprop import functional as F
from fastprop import nn
from fastprop.graph.effects import assign
from fastprop.graph.parameter import Buffer, Parameter
from fastprop.graph.program import Program
from fastprop.graph.tensor import Tensor
from fastprop.graph.trace import tracing


class RunningMean(nn.Module):
    """Gives its input, and remembers a moving average of its columns."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mean = Buffer(np.zeros(width, np.float32))
        self.scale = Parameter(np.ones(width, np.float32))

    def forward(self, x):
        if self.training:
            self.mean.assign(self.mean * 0.5 + F.mean(x, axis=0) * 0.5)
        return x * self.scale


def placeholder(*shape: int, batched: bool = True, dtype: str = "float32") -> Tensor:
    return Tensor.placeholder(shape, dtype, batched=batched)


def test_a_buffer_is_state() -> None:
    module = RunningMean(3)
    assert list(module.state_dict()) == ["scale", "mean"]
    assert [name for name, _ in module.named_buffers()] == ["mean"]
    assert [name for name, _ in module.named_parameters()] == ["scale"]
    module.load_state_dict({"scale": np.zeros(3), "mean": np.arange(3.0)})
    np.testing.assert_array_equal(module.mean.data, [0, 1, 2])
    module.mean = Buffer(np.ones(3, np.float32))
    assert next(module.buffers()) is module.mean
    del module.mean
    assert not list(module.buffers())


def test_a_buffer_is_assigned_at_once() -> None:
    module = RunningMean(2)
    module(fp.tensor([[2.0, 4.0], [4.0, 8.0]]))
    np.testing.assert_array_equal(module.mean.data, [1.5, 3.0])
    where = module.mean.data
    module.mean.assign(fp.tensor([1.0, 2.0]))
    assert module.mean.data is where


@pytest.mark.parametrize("threads", [1, 2])
def test_a_buffer_is_assigned_in_every_step(threads: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 3)).astype(np.float32)
    eager, traced = RunningMean(3), RunningMean(3)
    for start in range(0, 50, 8):
        eager(fp.tensor(x[start : start + 8]))
    trainer = fp.Trainer(traced, "mse", "sgd", threads=threads)
    trainer.fit(x, x, batch_size=8, shuffle=False)
    np.testing.assert_array_equal(traced.mean.data, eager.mean.data)
    trainer.evaluate(x, x)
    np.testing.assert_array_equal(traced.mean.data, eager.mean.data)


@pytest.mark.parametrize("threads", [1, 2])
def test_reads_come_before_or_after_as_they_were_written(threads: int) -> None:
    state = Buffer(np.arange(64, dtype=np.float32))
    x = placeholder(4, 64)
    with tracing() as trace:
        before = F.sum(state * 2.0)
        product_before = F.matmul(x, F.reshape(state, (64, 1)))
        state.assign(state + 1.0)
        after = F.sum(state * 2.0)
        state.assign(state * state)
        last = F.sum(state * 2.0)
    program = Program(
        [x], [before, after, last], [product_before], effects=trace.effects, threads=threads
    )
    ones = np.ones((4, 64), np.float32)
    first = np.arange(64.0)
    result = program.run([ones], 4, 4)
    second = (first + 1) ** 2
    wanted = [2 * first.sum(), 2 * (first + 1).sum(), 2 * second.sum()]
    np.testing.assert_allclose(result.values[0], wanted)
    np.testing.assert_array_equal(result.rows[0], np.full((4, 1), first.sum()))
    np.testing.assert_array_equal(state.data, second)


def test_an_overwritten_weight_is_not_fused_across() -> None:
    """The product reads W before it changes, although the bias is added afterwards."""
    w = Parameter(np.ones((3, 2), np.float32))
    b = Parameter(np.zeros(2, np.float32))
    x = placeholder(2, 3)
    with tracing() as trace:
        product = F.matmul(x, w)
        assign(w, w * 5.0)
        y = product + b
    program = Program([x], rows=[y], effects=trace.effects)
    result = program.run([np.ones((2, 3), np.float32)], 2, 2)
    np.testing.assert_array_equal(result.rows[0], np.full((2, 2), 3.0))
    np.testing.assert_array_equal(w.data, np.full((3, 2), 5.0))


def test_sources_that_are_no_batch_are_read_as_they_are() -> None:
    a, b = placeholder(3, 2, batched=False), placeholder(2, 4, batched=False)
    program = Program([a, b], [F.sum(F.matmul(a, b))])
    x, y = np.ones((3, 2), np.float32), np.full((2, 4), 2.0, np.float32)
    assert program.run([x, y], 1, 1).values[0, 0] == 48.0
    assert program.run([2 * x, y], 1, 1).values[0, 0] == 96.0
    with pytest.raises(ValueError, match="source 0 differs in dtype or shape"):
        program.run([np.ones((4, 2), np.float32), y], 1, 1)


def test_a_loss_that_needs_what_the_step_overwrote_cannot_be_held_back() -> None:
    state = Buffer(np.ones(3, np.float32))
    x = placeholder(4, 3)
    with tracing() as trace:
        state.assign(state * 2.0)
        loss = F.sum(x * state)
    with pytest.raises(ValueError, match="has overwritten before"):
        Program([x], [loss], effects=trace.effects, check_loss=True)


def test_assign_refuses_what_does_not_fit() -> None:
    state = Buffer(np.ones(3, np.float32))
    with pytest.raises(ValueError, match=r"assign: expects shape \(3,\), got \(4,\)"):
        state.assign(fp.tensor(np.ones(4, np.float32)))
    with pytest.raises(TypeError, match="assign: expects float32, got float64"):
        state.assign(fp.tensor(np.ones(3)))
    with pytest.raises(ValueError, match="varies with the batch"), tracing():
        state.assign(placeholder(3))
    np.testing.assert_array_equal(state.data, np.ones(3))
