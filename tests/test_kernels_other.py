"""Reductions, rows by index and optimizer steps as NumPy functions."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import DTYPES, assert_close, torch, uniform

from fastprop import kernels


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["sum", "mean", "max", "min"])
def test_reductions(name: str, dtype: str) -> None:
    x = uniform((4, 5, 6), dtype=dtype)
    for axis in (None, 0, (0, 2), -1):
        for keepdims in (False, True):
            expected = getattr(np, name)(x.astype(np.float64), axis=axis, keepdims=keepdims)
            y = getattr(kernels, name)(x, axis, keepdims)
            assert_close(y, expected, ulps=8, scale=float(np.abs(x).sum()))
            out = np.empty_like(y)
            assert getattr(kernels, name)(x, axis, keepdims, out=out) is out
            np.testing.assert_array_equal(out, y)
    np.testing.assert_array_equal(kernels.argmax(x), x.argmax(-1))


@pytest.mark.parametrize("dtype", [*DTYPES, "int64", "int32", "uint8", "bool"])
def test_gather_rows(dtype: str) -> None:
    source = (uniform((6, 3)) * 10).astype(dtype)
    for index in ([5, 0, 0], np.array([2, 1], np.int32), np.array([], np.int64)):
        np.testing.assert_array_equal(
            kernels.gather_rows(source, index), source[np.asarray(index, np.int64)]
        )
    for index in ([6], [-1]):
        with pytest.raises(ValueError, match="gather_rows: index must be from 0 to 5"):
            kernels.gather_rows(source, index)
    with pytest.raises(TypeError, match="gather_rows: index must be integers"):
        kernels.gather_rows(source, [0.0])


def _sgd(g, w, buf, first, lr, momentum, dampening, weight_decay, nesterov):
    """Reference, float64."""
    g = g + weight_decay * w
    buf = momentum * buf + (1.0 if first else 1 - dampening) * g
    return w - lr * (g + momentum * buf if nesterov else buf), buf


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [(), (1,), (37,), (5, 9)])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"weight_decay": 0.1},
        {"momentum": 0.9},
        {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01},
        {"momentum": 0.8, "nesterov": True},
    ],
)
def test_sgd(options: dict, size: tuple, dtype: str) -> None:
    filled = {"momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False, **options}
    w = uniform(size, dtype=dtype)
    buf = np.zeros_like(w)
    expected, moment = w.astype(np.float64), buf.astype(np.float64)
    for step in range(4):
        g = uniform(size, dtype=dtype, seed=step + 1)
        kernels.sgd_update(
            g, w, buf if filled["momentum"] else None, lr=0.1, first_step=step == 0, **options
        )
        expected, moment = _sgd(g, expected, moment, step == 0, 0.1, **filled)
    assert_close(w, expected, ulps=16, scale=1.0)


def _adam(g, w, m, v, t, lr, betas, eps, weight_decay, decoupled):
    if decoupled:
        w = w - lr * weight_decay * w
    else:
        g = g + weight_decay * w
    m = betas[0] * m + (1 - betas[0]) * g
    v = betas[1] * v + (1 - betas[1]) * g * g
    step = m / (1 - betas[0] ** t) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
    return w - lr * step, m, v


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("name", ["adam_update", "adamw_update"])
def test_adam(name: str, weight_decay: float, dtype: str) -> None:
    for size in ((1,), (5, 9)):
        w = uniform(size, dtype=dtype)
        m, v = np.zeros_like(w), np.zeros_like(w)
        expected = [a.astype(np.float64) for a in (w, m, v)]
        for step in range(1, 6):
            g = uniform(size, dtype=dtype, seed=step)
            getattr(kernels, name)(g, w, m, v, step, lr=0.05, weight_decay=weight_decay)
            settings = (0.05, (0.9, 0.999), 1e-8, weight_decay, name == "adamw_update")
            expected = _adam(g.astype(np.float64), *expected, step, *settings)
        for got, wanted in zip((w, m, v), expected, strict=True):
            assert_close(got, wanted, ulps=64, scale=1.0)


@pytest.mark.parametrize("name", ["Adam", "AdamW"] if torch is not None else [])
def test_adam_is_pytorchs(name: str) -> None:
    w = uniform((11,))
    parameter = torch.nn.Parameter(torch.tensor(w))
    optimizer = getattr(torch.optim, name)(
        [parameter], lr=0.03, weight_decay=0.02, betas=(0.8, 0.95)
    )
    m, v = np.zeros_like(w), np.zeros_like(w)
    for step in range(1, 8):
        g = uniform((11,), seed=step)
        parameter.grad = torch.tensor(g)
        optimizer.step()
        update = getattr(kernels, f"{name.lower()}_update")
        update(g, w, m, v, step, lr=0.03, weight_decay=0.02, betas=(0.8, 0.95))
    np.testing.assert_allclose(w, parameter.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda a: kernels.sgd_update(a, np.ones(3), lr=0.1),
            ValueError,
            r"sgd_update: w must have shape \(4,\)",
        ),
        (
            lambda a: kernels.sgd_update(a, np.ones(4, np.float32), lr=0.1),
            TypeError,
            "sgd_update: w must be float64, got float32",
        ),
        (
            lambda a: kernels.sgd_update(a, np.ones(4), momentum=0.9, lr=0.1),
            TypeError,
            "sgd_update: buf must be a NumPy array",
        ),
        (
            lambda a: kernels.sgd_update(a, np.ones(8)[::2], lr=0.1),
            ValueError,
            "sgd_update: w must be contiguous",
        ),
        (
            lambda a: kernels.sgd_update(a, a, lr=0.1),
            ValueError,
            "sgd_update: w shares memory with an input",
        ),
        (
            lambda a: kernels.adam_update(a, np.ones(4), np.ones(4), np.ones(4), 0),
            ValueError,
            "adam_update: step must be 1 or more",
        ),
        (
            lambda a: kernels.adamw_update(a, np.ones(4), np.ones(4), None, 1),
            TypeError,
            "adamw_update: v must be a NumPy array",
        ),
        (lambda a: kernels.sum(a, 1), ValueError, "sum: axis 1 is out of range"),
        (
            lambda a: kernels.sum(a, 0, out=np.ones(1)),
            ValueError,
            r"sum: out must have shape \(\), got \(1,\)",
        ),
        (lambda a: kernels.mean(np.ones((0, 2)), 0), ValueError, "mean: axis 0 .* is empty"),
    ],
)
def test_messages(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call(np.ones(4))


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_is_changed_when_a_call_is_refused(dtype: str) -> None:
    w, m = np.ones(4, dtype), np.ones(4, dtype)
    with pytest.raises(ValueError, match="v must have shape"):
        kernels.adam_update(np.ones(4, dtype), w, m, np.ones(3, dtype), 1)
    np.testing.assert_array_equal(w, 1)
    np.testing.assert_array_equal(m, 1)
