"""Normalization layers against NumPy and PyTorch: eager, in Programs, over many steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import DTYPES, assert_close, rng, torch, uniform

import fastprop as fp
from fastprop import Tensor, nn, optim
from fastprop import functional as F

needs_torch = pytest.mark.skipif(torch is None, reason="PyTorch is not installed")

SHAPES = [(2, 1), (5, 3), (37, 19), (300, 64), (8, 6, 4), (3, 2, 5, 8)]


def _normalized(x: np.ndarray, axes: Any, eps: float) -> np.ndarray:
    x = x.astype(np.float64)
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def _by_numpy(name: str, x: np.ndarray, groups: int) -> np.ndarray:
    if name == "batch_norm":
        return _normalized(x, tuple(range(x.ndim - 1)), 1e-3)
    if name == "layer_norm":
        return _normalized(x, -1, 1e-3)
    if name == "rms_norm":
        wide = x.astype(np.float64)
        return wide / np.sqrt((wide**2).mean(-1, keepdims=True) + 1e-3)
    parts = x.reshape(len(x), -1, groups, x.shape[-1] // groups)
    return _normalized(parts, (1, 3), 1e-3).reshape(x.shape)


def _ours(name: str, x: Any, groups: int, w: Any, b: Any) -> Tensor:
    if name == "batch_norm":
        return F.batch_norm(x, weight=w, bias=b, training=True, eps=1e-3)
    if name == "layer_norm":
        return F.layer_norm(x, x.shape[-1], w, b, 1e-3)
    if name == "rms_norm":
        return F.rms_norm(x, x.shape[-1], w, 1e-3)
    return F.group_norm(x, groups, w, b, 1e-3)


@pytest.mark.levels
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["batch_norm", "layer_norm", "rms_norm", "group_norm"])
def test_values_by_numpy(name: str, shape: tuple[int, ...], dtype: str) -> None:
    x = (uniform(shape, dtype=np.float64) + 1).astype(dtype)
    columns = shape[-1]
    w, b = uniform((columns,), dtype=dtype, seed=1), uniform((columns,), dtype=dtype, seed=2)
    for groups in {1, columns, 2 if columns % 2 == 0 else 1}:
        expected = _by_numpy(name, x, groups)
        # The statistics and each element round a few times; xhat is below 10 here.
        plain = _ours(name, Tensor(x), groups, None, None).data
        assert_close(plain, expected, ulps=40, scale=4.0)
        affine = _ours(name, Tensor(x), groups, w, b).data
        moved = expected * w + (0 if name == "rms_norm" else b)
        assert_close(affine, moved, ulps=60, scale=8.0)


def test_one_of_weight_and_bias() -> None:
    x, w = uniform((4, 6)), uniform((6,), seed=1)
    whole = F.batch_norm(x, weight=w, bias=np.zeros(6), training=True)
    np.testing.assert_array_equal(F.batch_norm(x, weight=w, training=True).data, whole.data)
    for f in (lambda **k: F.layer_norm(x, 6, **k), lambda **k: F.group_norm(x, 3, **k)):
        ones = f(weight=np.ones(6), bias=w)
        np.testing.assert_array_equal(f(bias=w).data, ones.data)


def test_layer_norm_of_several_axes_and_of_one_vector() -> None:
    x = uniform((3, 4, 5))
    flat = F.layer_norm(x.reshape(3, 20), 20, np.arange(20.0), np.ones(20))
    both = F.layer_norm(x, (4, 5), np.arange(20.0).reshape(4, 5), np.ones((4, 5)))
    np.testing.assert_array_equal(both.data, flat.data.reshape(3, 4, 5))
    one = F.layer_norm(x[0, 0], 5)
    np.testing.assert_array_equal(one.data, F.layer_norm(x[0], 5).data[0])


# -- Modules over many steps, beside PyTorch -------------------------------------------------------


def _torch_network(norm: Callable[[int], Any]) -> Any:
    return torch.nn.Sequential(
        torch.nn.Linear(5, 8), norm(8), torch.nn.Tanh(), torch.nn.Linear(8, 6), norm(6),
        torch.nn.ReLU(), torch.nn.Linear(6, 2),
    ).double()  # fmt: skip


def _network(norm: Callable[[int], nn.Module], dtype: str = "float64") -> nn.Sequential:
    fp.seed(3)
    return nn.Sequential(
        nn.Dense(5, 8, dtype=dtype), norm(8), nn.Tanh(), nn.Dense(8, 6, dtype=dtype), norm(6),
        nn.ReLU(), nn.Dense(6, 2, dtype=dtype),
    )  # fmt: skip


def _copy_to_torch(model: nn.Module, theirs: Any) -> None:
    """Parameters and running statistics, whose names are the same; weights lie transposed."""
    arrays = {
        name: torch.from_numpy(np.array(a.T if a.ndim == 2 else a))
        for name, a in model.state_dict().items()
    }
    theirs.load_state_dict(arrays)


def _assert_same_state(model: nn.Module, theirs: Any) -> None:
    state = theirs.state_dict()
    assert list(state) == list(model.state_dict())
    for name, array in model.state_dict().items():
        other = state[name].numpy()
        np.testing.assert_allclose(
            array, other.T if array.ndim == 2 else other, rtol=1e-9, atol=1e-11, err_msg=name
        )


_F64 = {"dtype": "float64"}
NORMS: dict[str, tuple[Callable[[int], nn.Module], Callable[[int], Any]]] = {
    "batch": (lambda n: nn.BatchNorm(n, **_F64), lambda n: torch.nn.BatchNorm1d(n)),
    "batch, cumulative": (
        lambda n: nn.BatchNorm(n, momentum=None, **_F64),
        lambda n: torch.nn.BatchNorm1d(n, momentum=None),
    ),
    "batch, momentum 0.7, eps 0.1": (
        lambda n: nn.BatchNorm(n, 0.1, 0.7, **_F64),
        lambda n: torch.nn.BatchNorm1d(n, 0.1, 0.7),
    ),
    "batch, plain": (
        lambda n: nn.BatchNorm(n, affine=False, track_running_stats=False, **_F64),
        lambda n: torch.nn.BatchNorm1d(n, affine=False, track_running_stats=False),
    ),
    "layer": (lambda n: nn.LayerNorm(n, **_F64), lambda n: torch.nn.LayerNorm(n)),
    "layer, no bias": (
        lambda n: nn.LayerNorm(n, bias=False, **_F64),
        lambda n: torch.nn.LayerNorm(n, bias=False),
    ),
    "rms": (lambda n: nn.RMSNorm(n, **_F64), lambda n: torch.nn.RMSNorm(n)),
    "group": (lambda n: nn.GroupNorm(2, n, **_F64), lambda n: torch.nn.GroupNorm(2, n)),
}


@needs_torch
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", NORMS)
def test_training_beside_torch(name: str, threads: int) -> None:
    """Three epochs of nine steps, the last of each short; then evaluation."""
    ours, theirs = NORMS[name]
    model, other = _network(ours), _torch_network(theirs)
    _copy_to_torch(model, other)
    x, y = uniform((83, 5), seed=4) * 3 + 1, uniform((83, 2), seed=5)
    trainer = fp.Trainer(model, "mse", optim.SGD(lr=0.1, momentum=0.9), threads=threads)
    trainer.fit(x, y, epochs=3, batch_size=10, shuffle=False, verbose=False)
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        for start in range(0, 83, 10):
            rows = slice(start, start + 10)
            optimizer.zero_grad()
            pred = other(torch.from_numpy(x[rows]))
            torch.nn.functional.mse_loss(pred, torch.from_numpy(y[rows])).backward()
            optimizer.step()
    _assert_same_state(model, other)
    other.eval()
    expected = other(torch.from_numpy(x)).detach().numpy()
    if "plain" in name:  # the statistics of the batch, which Trainer.predict may cut otherwise
        np.testing.assert_allclose(model(x).data, expected, rtol=1e-9, atol=1e-11)
        return
    np.testing.assert_allclose(trainer.predict(x), expected, rtol=1e-9, atol=1e-11)
    model.eval()
    np.testing.assert_allclose(model(x).data, expected, rtol=1e-9, atol=1e-11)


@needs_torch
@pytest.mark.parametrize("name", NORMS)
def test_gradients_beside_torch(name: str) -> None:
    """By input and parameters, training and not."""
    ours, theirs = NORMS[name]
    model, other = _network(ours), _torch_network(theirs)
    x = uniform((7, 5), seed=4)
    for training in (True, False):
        _copy_to_torch(model, other)
        model.train(training)
        other.train(training)
        a, b = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        model.zero_grad()
        other.zero_grad()
        (model(a) ** 2).sum().backward()
        (other(b) ** 2).sum().backward()
        np.testing.assert_allclose(a.grad.data, b.grad.numpy(), rtol=1e-9, atol=1e-11)
        for (what, p), q in zip(model.named_parameters(), other.parameters(), strict=True):
            grad = q.grad.numpy()
            wanted = grad.T if p.ndim == 2 else grad
            np.testing.assert_allclose(p.grad.data, wanted, rtol=1e-8, atol=1e-10, err_msg=what)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "norm",
    [
        nn.BatchNorm, nn.LayerNorm, nn.RMSNorm,
        lambda n, dtype: nn.GroupNorm(2, n, dtype=dtype),
        lambda n, dtype: nn.BatchNorm(n, momentum=None, dtype=dtype),
    ],
)  # fmt: skip
def test_eager_steps_are_the_traced_ones_on_any_number_of_threads(norm: Any, dtype: str) -> None:
    x, y = uniform((27, 5), dtype=dtype), uniform((27, 2), dtype=dtype, seed=1)
    models = [_network(lambda n: norm(n, dtype=dtype), dtype) for _ in range(3)]
    for model, threads in zip(models[:2], (1, 2), strict=True):
        trainer = fp.Trainer(model, "mse", optim.SGD(lr=0.1), threads=threads)
        trainer.fit(x, y, epochs=2, batch_size=8, shuffle=False, verbose=False)
    optimizer = optim.SGD(models[2].parameters(), lr=0.1)
    for _ in range(2):
        for start in range(0, 27, 8):
            rows = slice(start, start + 8)
            optimizer.zero_grad()
            loss = F.mean(F.square(models[2](Tensor(x[rows])) - Tensor(y[rows])))
            loss.backward()
            optimizer.step()
    one, two, eager = (model.state_dict() for model in models)
    for name, array in one.items():
        assert array.tobytes() == two[name].tobytes(), name
        # The two of them may sum a loss and fuse a step differently.
        np.testing.assert_allclose(array, eager[name], rtol=1e-12 if dtype == "float64" else 2e-4,
                                   atol=1e-12 if dtype == "float64" else 2e-5)  # fmt: skip


# -- Modes and state -------------------------------------------------------------------------------


def test_running_statistics_by_hand() -> None:
    layer = nn.BatchNorm(2, momentum=0.25, dtype="float64")
    x = np.array([[1.0, 10.0], [3.0, 30.0]])
    layer(x)
    np.testing.assert_allclose(layer.running_mean.data, [0.5, 5.0])
    np.testing.assert_allclose(layer.running_var.data, [0.75 + 0.25 * 2, 0.75 + 0.25 * 200])
    layer(x * 3)
    np.testing.assert_allclose(layer.running_mean.data, [0.75 * 0.5 + 1.5, 0.75 * 5 + 15])
    assert layer.num_batches_tracked.data == 2
    before = layer.state_dict()
    layer.eval()(x)
    for name, array in layer.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    layer.reset_running_stats()
    np.testing.assert_array_equal(layer.running_mean.data, [0, 0])
    np.testing.assert_array_equal(layer.running_var.data, [1, 1])
    assert layer.num_batches_tracked.data == 0


def test_cumulative_statistics_are_means() -> None:
    layer = nn.BatchNorm(3, momentum=None, dtype="float64")
    batches = [uniform((n, 3), seed=n) for n in (4, 9, 2)]
    for batch in batches:
        layer(batch)
    np.testing.assert_allclose(layer.running_mean.data, np.mean([b.mean(0) for b in batches], 0))
    variances = [b.var(0, ddof=1) for b in batches]
    np.testing.assert_allclose(layer.running_var.data, np.mean(variances, 0))


def test_state_goes_through_a_state_dict() -> None:
    a, b = (_network(lambda n: nn.BatchNorm(n, dtype="float64")) for _ in range(2))
    x, y = uniform((40, 5), seed=4) * 2, uniform((40, 2), seed=5)
    fp.Trainer(a, "mse", "adam").fit(x, y, epochs=2, batch_size=8, verbose=False)
    assert not b.load_state_dict(a.state_dict()).missing
    assert a.eval()(x).data.tobytes() == b.eval()(x).data.tobytes()
    assert b[1].num_batches_tracked.data == 10


def test_a_program_sees_statistics_that_were_set_by_hand() -> None:
    model = nn.Sequential(nn.BatchNorm(2, eps=0, dtype="float64"))
    trainer = fp.Trainer(model, "mse", "sgd")
    x = uniform((5, 2))
    np.testing.assert_allclose(trainer.predict(x), x)
    model[0].running_mean.data = np.array([1.0, -1.0])
    model[0].running_var.data = np.array([4.0, 0.25])
    np.testing.assert_allclose(trainer.predict(x), (x - [1, -1]) / [2, 0.5])


def test_a_loss_that_is_not_finite_moves_no_statistics() -> None:
    model = nn.Sequential(nn.BatchNorm(2), nn.Dense(2, 1))
    trainer = fp.Trainer(model, "mse", "sgd")
    x = uniform((8, 2), dtype=np.float32)
    trainer.train_step(x, np.ones((8, 1), np.float32))
    before = model.state_dict()
    with pytest.raises(fp.NonFiniteError):
        trainer.train_step(x, np.full((8, 1), 3e38, np.float32))
    for name, array in model.state_dict().items():
        assert array.tobytes() == before[name].tobytes(), name


def test_large_means_do_not_spoil_a_variance() -> None:
    x = rng(0).normal(3e4, 1.0, (512, 4)).astype(np.float32)
    layer = nn.BatchNorm(4, momentum=1.0)
    layer(x)
    assert_close(layer.running_var.data, x.astype(np.float64).var(0, ddof=1), ulps=100)


def test_a_normalized_network_is_blind_to_the_scale_of_its_weights() -> None:
    model = _network(lambda n: nn.BatchNorm(n, eps=0, dtype="float64"))
    x = uniform((20, 5))
    before = model(x).data
    model[0].weight.data = model[0].weight.data * 1000
    np.testing.assert_allclose(model(x).data, before, rtol=1e-9)


# -- Compiled functions ----------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
def test_a_compiled_step_moves_the_statistics_as_an_eager_one(threads: int) -> None:
    models = [_network(lambda n: nn.BatchNorm(n, dtype="float64")) for _ in range(2)]
    optimizers = [optim.SGD(model.parameters(), lr=0.1) for model in models]

    def step(model: nn.Module, optimizer: Any, x: Any, y: Any) -> Tensor:
        optimizer.zero_grad()
        loss = F.mean(F.square(model(x) - y))
        loss.backward()
        optimizer.step()
        return loss

    compiled = fp.compile(lambda x, y: step(models[0], optimizers[0], x, y), threads=threads)
    for seed, rows in enumerate((8, 8, 5, 8)):
        x, y = uniform((rows, 5), seed=seed), uniform((rows, 2), seed=seed + 9)
        losses = compiled(x, y), step(models[1], optimizers[1], Tensor(x), Tensor(y))
        np.testing.assert_allclose(losses[0].item(), losses[1].item(), rtol=1e-12)
    ours, eager = (model.state_dict() for model in models)
    for name, array in ours.items():
        np.testing.assert_allclose(array, eager[name], rtol=1e-11, atol=1e-13, err_msg=name)
    for model in models:
        model.eval()
    predict = fp.compile(models[0], threads=threads)
    x = uniform((6, 5))
    np.testing.assert_allclose(predict(x).data, models[1](x).data, rtol=1e-11)
