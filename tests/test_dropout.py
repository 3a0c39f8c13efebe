"""Dropout and noise: distributions, modes, and which random numbers a call gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import DTYPES, rng, uniform

import fastprop as fp
from fastprop import Parameter, Tensor, _core, nn, optim
from fastprop import functional as F
from fastprop.graph.op import grad_mode
from fastprop.graph.program import Program
from fastprop.graph.trace import tracing
from fastprop.random import DROPOUT


def _kept(x: np.ndarray, p: float) -> np.ndarray:
    return F.dropout(np.ones_like(x), p).data != 0


# -- Distributions ---------------------------------------------------------------------------------


@pytest.mark.levels
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 0.9, 1 / 3])
def test_share_and_scale(p: float, dtype: str) -> None:
    fp.seed(1)
    x = uniform((1000, 200), 0.5, 2.0, dtype=dtype)
    y = F.dropout(x, p).data
    dropped = y == 0
    deviation = (p * (1 - p) / x.size) ** 0.5
    assert abs(dropped.mean() - p) < 4 * deviation
    # Columns and rows alike: the mean of 1000 draws.
    for axis, n in ((0, 1000), (1, 200)):
        spread = (dropped.mean(axis).std() / (p * (1 - p) / n) ** 0.5) ** 2
        assert 0.6 < spread < 1.5
    np.testing.assert_allclose(y[~dropped], x[~dropped] / (1 - p), rtol=2e-7)


def test_neighbours_are_independent() -> None:
    """Also at the distances at which elements share Philox's words."""
    fp.seed(2)
    kept = _kept(np.empty((1, 1 << 20), np.float32), 0.5).ravel() * 2.0 - 1
    for distance in (1, 2, 4, 16, 31, 32, 33, 64, 128, 4096):
        correlation = np.mean(kept[:-distance] * kept[distance:])
        assert abs(correlation) < 4 / kept.size**0.5, distance


def test_a_probability_that_16_bits_cannot_tell() -> None:
    fp.seed(3)
    p = 1e-6
    dropped = sum(int((~_kept(np.empty((1, 1 << 22), np.float32), p)).sum()) for _ in range(8))
    assert abs(dropped - 8 * (1 << 22) * p) < 4 * (8 * (1 << 22) * p) ** 0.5


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [0.05, 0.3, 0.7])
def test_alpha_dropout_keeps_mean_and_variance(p: float, dtype: str) -> None:
    fp.seed(4)
    x = rng(0).normal(size=(1000, 500)).astype(dtype)
    y = F.alpha_dropout(x, p).data
    assert abs(y.mean()) < 0.01
    assert abs(y.var() - 1) < 0.02
    values, counts = np.unique(y, return_counts=True)
    assert abs(counts.max() / x.size - p) < 0.005  # all that was dropped is one number
    scale = 1 / np.sqrt((1 - p) * (1 + p * 1.7580993408473766**2))
    saturated = scale * -1.7580993408473766 * (1 - p)
    assert abs(values[counts.argmax()] - saturated) < 1e-5


@pytest.mark.parametrize("dtype", DTYPES)
def test_gaussian_noise(dtype: str) -> None:
    fp.seed(5)
    x = uniform((400, 500), dtype=dtype)
    noise = (F.gaussian_noise(x, 0.3).data.astype(np.float64) - x) / 0.3
    assert abs(noise.mean()) < 0.01
    assert abs(noise.std() - 1) < 0.01
    assert abs((noise**4).mean() - 3) < 0.1
    assert abs((np.abs(noise) > 1.959964).mean() - 0.05) < 0.003


# -- Derivatives -----------------------------------------------------------------------------------


@pytest.mark.parametrize("f", [F.dropout, F.alpha_dropout])
def test_backward_draws_the_same_mask(f: Callable[..., Tensor]) -> None:
    x = Tensor(uniform((31, 67), 1.0, 2.0), requires_grad=True)
    y = f(x, 0.4)
    F.dropout(x, 0.4)  # another draw in between
    y.sum().backward()
    scale = x.grad.data.max()
    np.testing.assert_array_equal(x.grad.data, np.where(x.grad.data == 0, 0, scale))
    moved = f(Tensor(x.data), 0.4).data if f is F.dropout else None
    dropped = y.data == y.data.min()
    np.testing.assert_array_equal(x.grad.data == 0, dropped)
    assert moved is None or not np.array_equal(moved == 0, dropped)


def test_noise_passes_the_gradient_on() -> None:
    x = Tensor(uniform((3, 4)), requires_grad=True)
    (F.gaussian_noise(x, 2.0) * 3).sum().backward()
    np.testing.assert_array_equal(x.grad.data, np.full((3, 4), 3.0))


# -- Which numbers a call gets ---------------------------------------------------------------------


def test_eager_draws_go_on_and_start_over_with_the_seed() -> None:
    x = np.ones((50, 50), np.float32)
    fp.seed(11)
    first, second = F.dropout(x).data, F.dropout(x).data
    assert not np.array_equal(first, second)
    fp.seed(11)
    np.testing.assert_array_equal(F.dropout(x).data, first)
    fp.seed(12)
    assert not np.array_equal(F.dropout(x).data, first)
    fp.seed(1 << 63)
    high = F.dropout(x).data
    fp.seed(0)
    assert not np.array_equal(F.dropout(x).data, high)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_program_draws_from_seed_call_and_step(threads: int, dtype: str) -> None:
    """Two calls are two streams; numbers by (seed, stream, step, index) as the kernel gives them
    alone."""
    x = Tensor.placeholder((6, 9), dtype, batched=True)
    with tracing(), grad_mode(False):
        rows = [F.dropout(x, 0.3), F.dropout(x, 0.3), F.gaussian_noise(x, 0.5)]
    program = Program([x], rows=rows, threads=threads)
    data = uniform((10, 9), 1.0, 2.0, dtype=dtype)
    found = program.run([data], 10, 6, None, 40, (5 << 32) + 6).rows
    code, names = _core.op_info("dropout_mask")
    for call in range(2):
        wanted = []
        for step, part in enumerate((data[:6], data[6:])):
            values = {
                "seed_lo": 6, "seed_hi": 5, "stream": DROPOUT + call, "step": 40 + step, "p": 0.3
            }  # fmt: skip
            mask = np.empty(part.shape, np.uint8)
            _core.execute(code, [part], [mask], [float(values[n]) for n in names])
            wanted.append(np.where(mask, part * part.dtype.type(1 / 0.7), 0))
        np.testing.assert_array_equal(found[call], np.concatenate(wanted))
    assert not np.array_equal(found[0], found[1])
    again = program.run([data], 10, 6, None, 41, (5 << 32) + 6).rows
    assert not np.array_equal(again[0], found[0])
    np.testing.assert_array_equal(
        again[0][:4] == 0, found[0][6:] == 0
    )  # step 41 was the second one before


def _network() -> nn.Sequential:
    fp.seed(6)
    return nn.Sequential(
        nn.GaussianNoise(0.1), nn.Dense(4, 33, "selu"), nn.AlphaDropout(0.2), nn.Dense(33, 20),
        nn.Dropout(0.4), nn.Dense(20, 1),
    )  # fmt: skip


def test_training_does_not_depend_on_threads_and_resumes() -> None:
    x, y = uniform((50, 4), dtype=np.float32), uniform((50, 1), dtype=np.float32, seed=1)
    states = []
    for threads in (1, 2, 3):
        trainer = fp.Trainer(_network(), "mse", optim.Adam(lr=0.01), threads=threads, seed=9)
        if threads == 3:  # in two calls
            trainer.fit(x, y, epochs=1, batch_size=16, shuffle=False, verbose=False)
        epochs = 2 if threads < 3 else 1
        trainer.fit(x, y, epochs=epochs, batch_size=16, shuffle=False, verbose=False)
        states.append(b"".join(a.tobytes() for a in trainer.model.state_dict().values()))
    assert states[0] == states[1] == states[2]
    other = fp.Trainer(_network(), "mse", optim.Adam(lr=0.01), seed=10)
    other.fit(x, y, epochs=2, batch_size=16, shuffle=False, verbose=False)
    assert b"".join(a.tobytes() for a in other.model.state_dict().values()) != states[0]


# -- Modes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [nn.Dropout(0.5), nn.AlphaDropout(0.5), nn.GaussianNoise(1.0)])
def test_evaluation_is_the_identity(layer: nn.Module) -> None:
    x = Tensor(uniform((5, 6)))
    assert not np.array_equal(layer(x).data, x.data)
    assert layer.eval()(x) is x
    assert not np.array_equal(layer.train()(x).data, x.data)
    trainer = fp.Trainer(nn.Sequential(layer, nn.Dense(6, 1, dtype="float64")), "mse", "sgd")
    plain = trainer.model[1](x).data
    np.testing.assert_allclose(trainer.predict(x.data), plain, rtol=1e-14)


def test_nothing_to_do() -> None:
    x = Tensor(uniform((2, 3)))
    assert F.dropout(x, 0) is x
    assert F.alpha_dropout(x, 0.0) is x
    assert F.gaussian_noise(x, 0) is x
    assert F.dropout(x, 0.3, training=False) is x
    assert F.dropout(np.ones((0, 3)), 0.3).shape == (0, 3)
    assert F.dropout(np.ones(()), 0.3).shape == ()


def test_dropped_values_may_be_anything() -> None:
    y = F.dropout(np.full((100, 100), np.inf), 0.5).data
    assert set(np.unique(y)) == {0.0, np.inf}


# -- Bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [-0.1, 1, 1.5, float("nan")])
@pytest.mark.parametrize("f", [nn.Dropout, nn.AlphaDropout])
def test_bad_probability(f: Callable[[float], Any], p: float) -> None:
    with pytest.raises(ValueError, match=r"Dropout: p must be in \[0, 1\)"):
        f(p)
    function = F.dropout if f is nn.Dropout else F.alpha_dropout
    with pytest.raises(ValueError, match=r"p must be in \[0, 1\)"):
        function(np.ones(3), p)


@pytest.mark.parametrize("std", [-1, float("inf"), float("nan")])
def test_bad_deviation(std: float) -> None:
    with pytest.raises(
        ValueError, match=r"GaussianNoise: std must be a finite number, not negative"
    ):
        nn.GaussianNoise(std)
    with pytest.raises(ValueError, match="gaussian_noise: std must not be negative nor infinite"):
        F.gaussian_noise(np.ones(3), std)


def test_bad_types() -> None:
    for bad in ("half", None, True, 1j):
        with pytest.raises(TypeError, match="p must be a number"):
            nn.Dropout(bad)
    with pytest.raises(TypeError, match="dropout: expects float32 or float64"):
        F.dropout(np.ones(3, int))


def test_a_constant_would_be_drawn_once_for_all_steps() -> None:
    with (
        tracing(),
        pytest.raises(ValueError, match=r"dropout: .* is a constant"),
    ):
        F.dropout(np.ones((3, 4)))
    with tracing():
        assert F.dropout(Parameter(np.ones((3, 4)))).symbolic


@pytest.mark.parametrize("threads", [1, 2])
def test_a_compiled_function_draws_anew_in_every_call(threads: int) -> None:
    def twice(x: Tensor) -> tuple[Tensor, Tensor]:
        return F.dropout(x, 0.4), F.gaussian_noise(x, 1.0)

    x = np.ones((40, 30), np.float32)
    calls = [fp.compile(twice, threads=threads, seed=seed) for seed in (3, 3, 4)]
    first, again, other = ([[t.data for t in call(x)] for _ in range(2)] for call in calls)
    for number in range(2):
        for i in range(2):
            np.testing.assert_array_equal(first[number][i], again[number][i])
            assert not np.array_equal(first[number][i], other[number][i])
    assert not np.array_equal(first[0][0], first[1][0])
    assert not np.array_equal(first[0][1], first[1][1])
    assert abs((first[0][0] == 0).mean() - 0.4) < 0.06
