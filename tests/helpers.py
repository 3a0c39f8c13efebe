"""What several test files need: random operands, tolerances, and derivatives to compare with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastprop import Tensor, grad

try:
    import torch
except ImportError:  # the suite is complete without; PyTorch is one more witness
    torch = None

ORACLES = ["differences"] + (["torch"] if torch is not None else [])
"""What derivatives are compared with: central differences, and PyTorch's where it is installed."""

DTYPES = ["float32", "float64"]
EPSILON = {np.dtype(np.float32): 1.2e-7, np.dtype(np.float64): 2.2e-16}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def uniform(
    shape: Sequence[int],
    low: float = -2.0,
    high: float = 2.0,
    dtype: Any = np.float64,
    seed: int = 0,
) -> np.ndarray:
    return rng(seed).uniform(low, high, tuple(shape)).astype(dtype)


def assert_close(
    actual: Any, expected: Any, ulps: float = 8, scale: float | None = None, what: str = ""
) -> None:
    """Equal up to `ulps` units of the dtype of `actual`, relative to the values and to `scale`."""
    actual = np.asarray(actual)
    expected = np.asarray(expected, dtype=np.float64)
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, wanted {expected.shape}"
    unit = EPSILON[actual.dtype] * ulps
    absolute = unit * scale if scale is not None else 0.0
    np.testing.assert_allclose(
        actual.astype(np.float64), expected, rtol=unit, atol=absolute, err_msg=what
    )


def away_from(values: np.ndarray, kinks: Sequence[float], gap: float = 0.05) -> np.ndarray:
    """The values, moved out of the neighbourhood of points where a derivative jumps."""
    moved = values.copy()
    for kink in kinks:
        near = np.abs(moved - kink) < gap
        moved[near] = kink + np.where(moved[near] < kink, -2 * gap, 2 * gap)
    return moved


def cotangents(shape: Sequence[int], count: int, seed: int = 7) -> list[np.ndarray]:
    """Fixed random weights that turn arrays into numbers."""
    generator = rng(seed)
    return [generator.uniform(0.5, 1.5, tuple(shape)) for _ in range(count)]


def derivatives(
    f: Callable[..., Tensor], arrays: Sequence[np.ndarray], order: int
) -> list[list[Any]]:
    """Gradients of s_1 = <w, f(x)>, s_2 = sum_i <v_i, ds_1/dx_i>, …, with mixed derivatives."""
    inputs = [Tensor(a, requires_grad=True) for a in arrays]
    y = f(*inputs)
    total = (y * cotangents(y.shape, 1)[0].astype(y.dtype)).sum()
    found = []
    for level in range(order):
        grads = grad(total, inputs, create_graph=level + 1 < order, allow_unused=True)
        found.append(
            [np.zeros(a.shape) if g is None else g.data for g, a in zip(grads, arrays, strict=True)]
        )
        if level + 1 < order:
            total = _next_total(grads, inputs)
    return found


def _next_total(grads: Sequence[Any], inputs: Sequence[Tensor]) -> Tensor:
    total = None
    for i, (g, x) in enumerate(zip(grads, inputs, strict=True)):
        weight = cotangents(x.shape, 1, seed=11 + i)[0].astype(x.dtype)
        # The second term keeps a derivative that is constant connected to the inputs.
        term = (x * 0.0).sum() if g is None else (g * weight).sum() + (x * 0.0).sum()
        total = term if total is None else total + term
    assert total is not None
    return total


def torch_derivatives(
    f: Callable[..., Any], arrays: Sequence[np.ndarray], order: int
) -> list[list[np.ndarray]]:
    """The same by PyTorch, in float64."""
    inputs = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in arrays]
    y = f(*inputs)
    total = (y * torch.from_numpy(cotangents(y.shape, 1)[0])).sum()
    found = []
    for level in range(order):
        total = total + sum((x * 0.0).sum() for x in inputs)
        grads = torch.autograd.grad(total, inputs, create_graph=True)
        found.append([g.detach().numpy() for g in grads])
        total = sum(
            (g * torch.from_numpy(cotangents(x.shape, 1, seed=11 + i)[0])).sum()
            for i, (g, x) in enumerate(zip(grads, inputs, strict=True))
        )
        assert level + 1 <= order
    return found


def _scalar(f: Callable[..., Tensor], arrays: Sequence[np.ndarray], level: int) -> float:
    """s_1, s_2, … of :func:`derivatives`, whose gradients those are (level 0 is s_1)."""
    if level == 0:
        y = f(*[Tensor(a) for a in arrays]).data
        return float((y * cotangents(y.shape, 1)[0]).sum())
    grads = derivatives(f, arrays, level)[level - 1]
    weights = [cotangents(g.shape, 1, seed=11 + i)[0] for i, g in enumerate(grads)]
    return float(sum((g * w).sum() for g, w in zip(grads, weights, strict=True)))


def difference(
    f: Callable[..., Tensor],
    arrays: Sequence[np.ndarray],
    level: int,
    position: int,
    direction: np.ndarray,
    step: float = 1e-5,
) -> float:
    """Slope of s_(level + 1) along a direction of one operand, by a central difference."""
    values = []
    for sign in (1, -1):
        moved = [a + sign * step * direction if i == position else a for i, a in enumerate(arrays)]
        values.append(_scalar(f, moved, level))
    return (values[0] - values[1]) / (2 * step)


def gradcheck(
    f: Callable[..., Tensor],
    *arrays: np.ndarray,
    order: int = 2,
    oracle: str = "differences",
    torch_f: Callable[..., Any] | None = None,
    tolerance: float | None = None,
) -> None:
    """Compare the first derivatives, the second, … up to `order` with the oracle's, in float64.

    Args:
        f: A function on Tensors.
        arrays: Its arguments, float64; keep them small and away from kinks.
        order: Highest derivative.
        oracle: "differences" or "torch".
        torch_f: The same function on PyTorch's tensors.
        tolerance: Relative to the largest derivative; a sensible one by default.
    """
    actual = derivatives(f, arrays, order)
    if oracle == "torch":
        expected, allowed = torch_derivatives(torch_f, arrays, order), 1e-11
    else:
        expected, allowed = None, 2e-7
    allowed = allowed if tolerance is None else tolerance
    for level, grads in enumerate(actual):
        scale = max(1.0, *(float(np.abs(g).max(initial=0.0)) for g in grads))
        for i, g in enumerate(grads):
            what = f"order {level + 1}, operand {i}"
            if expected is not None:
                np.testing.assert_allclose(
                    g, expected[level][i], rtol=allowed, atol=allowed * scale, err_msg=what
                )
                continue
            for direction in cotangents(g.shape, 2, seed=23):
                direction *= rng(i).choice([-1.0, 1.0], g.shape)
                wanted = difference(f, arrays, level, i, direction)
                found, size = float((g * direction).sum()), max(1, g.size) ** 0.5
                assert abs(found - wanted) <= allowed * (scale * size + abs(wanted)), (
                    f"{what}: slope {found}, by differences {wanted}"
                )
