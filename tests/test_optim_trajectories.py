"""A hundred steps of every optimizer, against its rule in NumPy and against PyTorch and optax."""

import inspect

import numpy as np
import pytest
from optim_cases import (
    RATES,
    SETTINGS,
    STEPS,
    make,
    oracle,
    parameters_of,
    problem,
    trajectory,
)

from fastprop import optim

TORCHS = [key for key, (name, _) in SETTINGS.items() if name not in ("Lion", "LAMB")]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("setting", SETTINGS)
def test_like_the_rule_in_numpy(setting, rate):
    x, y, weights = problem()
    parameters = parameters_of(weights)
    optimizer = make(setting, parameters, rate)
    losses = trajectory(optimizer, parameters, x, y, STEPS)
    expected, others = oracle(make(setting, rate=rate), weights, x, y, STEPS)
    np.testing.assert_allclose(losses, expected, rtol=1e-9)
    for mine, other in zip(parameters, others, strict=True):
        np.testing.assert_allclose(mine.data, other, rtol=1e-8, atol=1e-10)
    assert optimizer.steps == STEPS
    assert losses[-1] < losses[0]


@pytest.fixture
def torch():
    """PyTorch with float64 as its default: NAdam keeps a number of that dtype."""
    torch = pytest.importorskip("torch")
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)  # more spin on a busy machine, for arrays of twenty numbers
    yield torch
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("setting", TORCHS)
def test_like_torch(torch, setting, rate):
    name, options = SETTINGS[setting]
    x, y, weights = problem()
    parameters = parameters_of(weights)
    optimizer = make(setting, parameters, rate)
    losses = trajectory(optimizer, parameters, x, y, STEPS)

    theirs = [torch.tensor(w, requires_grad=True) for w in weights]
    other = getattr(torch.optim, name)(theirs, **options)
    tx, ty = torch.tensor(x), torch.tensor(y)
    expected = []
    for step in range(STEPS):
        other.param_groups[0]["lr"] = float(optimizer.learning_rates(step, 1)[0])
        other.zero_grad()
        W1, b1, W2, b2 = theirs
        loss = ((torch.tanh(tx @ W1 + b1) @ W2 + b2 - ty) ** 2).mean()
        loss.backward()
        other.step()
        expected.append(loss.item())
    np.testing.assert_allclose(losses, expected, rtol=1e-9)
    for mine, their in zip(parameters, theirs, strict=True):
        np.testing.assert_allclose(mine.data, their.detach().numpy(), rtol=1e-8, atol=1e-10)


def test_defaults_and_order_of_arguments_are_torchs(torch):
    for name in dict.fromkeys(SETTINGS[key][0] for key in TORCHS):
        mine = getattr(optim, name)()
        theirs = getattr(torch.optim, name)([torch.zeros(1, requires_grad=True)]).defaults
        for key in set(mine.hyper_parameters) - {"decay_bias_and_norm"}:
            assert getattr(mine, key) == theirs[key], (name, key)
        order = inspect.signature(getattr(torch.optim, name)).parameters
        names = [*inspect.signature(getattr(optim, name)).parameters]
        assert [key for key in names if key != "decay_bias_and_norm"] == [
            key for key in order if key in names
        ]


@pytest.mark.parametrize("setting", ["lion", "lion decay", "lamb", "lamb all"])
def test_like_optax(setting):
    """What PyTorch has not."""
    jax = pytest.importorskip("jax")
    optax = pytest.importorskip("optax")
    mine = make(setting)
    options = {"b1": mine.betas[0], "b2": mine.betas[1], "weight_decay": mine.weight_decay}
    with jax.enable_x64(True):
        if setting.startswith("lion"):
            check_like_optax(setting, optax.lion(mine.lr, **options))
        else:
            check_like_optax(setting, optax.lamb(mine.lr, eps=mine.eps, **options))


def check_like_optax(setting, theirs):
    """One step after the other, each from the same gradients."""
    import jax.numpy as jnp
    import optax

    x, y, weights = problem()
    parameters = parameters_of(weights)
    mine = make(setting, parameters)
    others = [jnp.asarray(w) for w in weights]
    state = theirs.init(others)
    for _ in range(STEPS):
        trajectory(mine, parameters, x, y, 1)
        gradients = [jnp.asarray(p.grad.numpy()) for p in parameters]
        moves, state = theirs.update(gradients, state, others)
        others = optax.apply_updates(others, moves)
        for p, other in zip(parameters, others, strict=True):
            np.testing.assert_allclose(p.data, np.asarray(other), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("setting", SETTINGS)
def test_float32(setting):
    """Float32 steps from the same weights stay near: twenty of them, before signs may differ."""
    runs = []
    for dtype in (np.float32, np.float64):
        x, y, weights = problem(dtype)
        parameters = parameters_of(weights)
        optimizer = make(setting, parameters)
        runs.append(trajectory(optimizer, parameters, x, y, 20))
        assert all(p.dtype == dtype for p in parameters)
        assert all(a.dtype == dtype for arrays in optimizer.state.values() for a in arrays)
    np.testing.assert_allclose(runs[0], runs[1], rtol=1e-4)
