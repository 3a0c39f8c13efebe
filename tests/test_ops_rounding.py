"""Rounding, remainders, angles, lengths and sums of logarithms, against NumPy and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import DTYPES, assert_close, torch, uniform

import fastprop as fp
from fastprop import Tensor
from fastprop import functional as F

EDGES = [0.0, -0.0, 0.5, -0.5, 1.5, 2.5, -2.5, 7.0, -7.0, 1e30, np.inf, -np.inf, np.nan]
ROUNDED = {"floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "round": np.round}
DIVIDED = {"remainder": np.remainder, "fmod": np.fmod, "floor_divide": np.floor_divide}
PAIRS = {"atan2": np.arctan2, "hypot": np.hypot, "logaddexp": np.logaddexp}


@pytest.mark.levels
@pytest.mark.parametrize("n", [0, 1, 3, 7, 8, 9, 17, 33])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ROUNDED)
def test_rounded_as_numpy_does(name: str, dtype: str, n: int) -> None:
    x = uniform((n, 3), -9, 9, dtype)
    for values in (x, np.round(2 * x) / 2, np.array(EDGES, dtype)):
        ours = getattr(F, name)(values).data
        assert ours.dtype == dtype
        np.testing.assert_array_equal(ours, ROUNDED[name](values))
        np.testing.assert_array_equal(np.signbit(ours), np.signbit(ROUNDED[name](values)))


def test_integers_stay_and_decimals_count() -> None:
    whole = fp.tensor([3, -4])
    for name in ROUNDED:
        assert getattr(F, name)(whole).tolist() == [3, -4]
        assert getattr(whole, name)().dtype == np.int64
    x = uniform((50,), -900, 900)
    for decimals in (2, 1, 0, -2):
        np.testing.assert_array_equal(fp.tensor(x).round(decimals).data, x.round(decimals))
        np.testing.assert_array_equal(round(fp.tensor(x), decimals).data, x.round(decimals))
    with pytest.raises(TypeError, match="round: of integers decimals must not be negative"):
        F.round(whole, -1)


def test_a_step_has_derivative_zero_and_a_straight_through_estimator_one() -> None:
    x = Tensor(uniform((4,)), requires_grad=True)
    for step in (*(getattr(F, name) for name in ROUNDED), lambda x: x // 0.3):
        np.testing.assert_array_equal(fp.grad(step(x).sum(), x).data, np.zeros(4))
    (x * (x + F.stop_gradient(F.round(x) - x))).sum().backward()
    np.testing.assert_allclose(x.grad.data, x.data + np.round(x.data))


@pytest.mark.levels
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", DIVIDED)
def test_divided_as_numpy_does(name: str, dtype: str) -> None:
    ours, theirs = getattr(F, name), DIVIDED[name]
    spread = 10.0 ** uniform((41,), -6, 6, seed=1)
    x = (uniform((37, 41), -9, 9) * spread).astype(dtype)
    for y in (uniform((41,), 0.1, 3, dtype), uniform((37, 1), -3, -0.1, dtype), np.array(3, dtype)):
        np.testing.assert_array_equal(ours(x, y).data, theirs(x, y))
    with np.errstate(all="ignore"):
        a, b = np.meshgrid(np.array(EDGES, dtype), np.array(EDGES, dtype))
        np.testing.assert_array_equal(ours(a, b).data, theirs(a, b))
    one, tenth = np.array([1.0, 0.1], dtype)
    np.testing.assert_array_equal(ours(one, tenth).data, theirs(one, tenth))


@pytest.mark.parametrize("name", DIVIDED)
def test_integers_are_divided_as_numpy_does(name: str) -> None:
    a, b = np.meshgrid(np.arange(-9, 10), [-4, -3, -1, 1, 2, 7])
    ours = getattr(F, name)(a, b)
    assert ours.dtype == np.int64
    np.testing.assert_array_equal(ours.data, DIVIDED[name](a, b))
    low = np.iinfo(np.int64).min
    assert getattr(F, name)(np.array(low), np.array(-1)).item() == (low if "div" in name else 0)
    for zero in (0, np.array([1, 0]), fp.tensor([0, 1])):
        with pytest.raises(ZeroDivisionError, match=f"^{name}: integers cannot be divided by zero"):
            getattr(F, name)(fp.tensor([3, 4]), zero)


def test_operators() -> None:
    x = uniform((5,), -4, 4)
    t = fp.tensor(x)
    for ours, theirs in (
        (t % 1.5, x % 1.5), (t // 1.5, x // 1.5), (7 % t, 7 % x), (7 // t, 7 // x),
        (x % t, x % x), (x // fp.tensor(np.abs(x)), np.sign(x)),
    ):  # fmt: skip
        np.testing.assert_array_equal(ours.data, theirs)
    for ours, theirs in ((divmod(t, 2), divmod(x, 2)), (divmod(2, t), divmod(2, x))):
        np.testing.assert_array_equal(np.stack([o.data for o in ours]), np.stack(theirs))


@pytest.mark.parametrize("name", ["remainder", "fmod"])
def test_derivatives_of_remainders_by_both(name: str) -> None:
    x, y = uniform((6, 7), -9, 9), uniform((7,), 0.7, 1.9, seed=1) * [1, -1, 1, -1, 1, -1, 1]
    fp.gradcheck(getattr(F, name), (x, y))
    fp.gradgradcheck(getattr(F, name), (x, y))
    # Where the quotient is rounded up to an integer it is not yet there: 1 // 0.1 is 9.
    d = fp.Tensor(np.array([0.1]), requires_grad=True)
    getattr(F, name)(1.0, d).backward(np.ones(1))
    assert d.grad.item() == -9


@pytest.mark.levels
@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 17, 200])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", PAIRS)
def test_pairs_as_numpy_does(name: str, dtype: str, n: int) -> None:
    spread = 10.0 ** uniform((2, n), -18, 18, seed=2) if name != "logaddexp" else 1.0
    x, y = (uniform((2, n), -40, 40, seed=1) * spread).astype(dtype)
    exact = PAIRS[name](x.astype(np.longdouble), y.astype(np.longdouble))
    # 2.2 ulp of atan and two roundings; a sum of logarithms may cancel.
    ours = getattr(F, name)(x, y).data
    assert ours.dtype == dtype
    assert_close(ours, exact, ulps=3.2, scale=0.5 if name == "logaddexp" else None)
    for other in (x[:1], np.array(0.7, dtype)) if n else ():
        want = PAIRS[name](x.astype(np.longdouble), other.astype(np.longdouble))
        assert_close(getattr(F, name)(x, other).data, want, ulps=3.2, scale=0.5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", PAIRS)
def test_pairs_of_special_numbers(name: str, dtype: str) -> None:
    a, b = np.meshgrid(np.array(EDGES, dtype), np.array(EDGES, dtype))
    with np.errstate(all="ignore"):
        expected = PAIRS[name](a, b)
    ours = getattr(F, name)(a, b).data
    np.testing.assert_allclose(ours, expected, rtol=4e-7)
    zero = expected == 0
    np.testing.assert_array_equal(np.signbit(ours[zero]), np.signbit(expected[zero]))


@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
@pytest.mark.parametrize("name", PAIRS)
def test_derivatives_of_pairs_in_all_quadrants(name: str, signs: tuple[int, int]) -> None:
    x, y = (s * uniform((3,), 0.3, 2.0, seed=i) for i, s in enumerate(signs))
    fp.gradcheck(getattr(F, name), (x, y))
    fp.gradgradcheck(getattr(F, name), (x, y))


def test_derivatives_where_there_is_none() -> None:
    """At the origin, and where both probabilities are zero: 0. Large numbers do not overflow."""
    for name in ("atan2", "hypot"):
        x, y = (Tensor(np.array(v), requires_grad=True) for v in ([0.0, 3e200], [0.0, 4e200]))
        getattr(F, name)(x, y).sum().backward()
        want = {"atan2": (4 / 25e200, -3 / 25e200), "hypot": (0.6, 0.8)}[name]
        for found, expected in zip((x.grad, y.grad), want, strict=True):
            np.testing.assert_allclose(found.data, [0, expected], rtol=1e-15)
    x, y = (
        Tensor(np.array(v), requires_grad=True)
        for v in ([-np.inf, -np.inf, 0.5, 900.0], [-np.inf, 1.0, 0.5, -900.0])
    )
    (second,) = fp.grad(
        fp.grad(F.logaddexp(x, y).sum(), x, create_graph=True).sum(), [x], retain_graph=True
    )
    F.logaddexp(x, y).sum().backward()
    np.testing.assert_allclose(x.grad.data, [0, 0, 0.5, 1], rtol=4e-16)
    np.testing.assert_allclose(y.grad.data, [0, 1, 0.5, 0], rtol=4e-16)
    np.testing.assert_allclose(second.data, [0, 0, 0.25, 0], rtol=4e-16)


@pytest.mark.skipif(torch is None, reason="PyTorch is not installed")
@pytest.mark.parametrize("name", ["remainder", "fmod", "atan2", "hypot", "logaddexp"])
def test_derivatives_by_torch(name: str) -> None:
    x, y = uniform((40,), -5, 5), uniform((40,), -5, 5, seed=1)
    ours: list[Any] = [Tensor(v, requires_grad=True) for v in (x, y)]
    theirs = [torch.tensor(v, requires_grad=True) for v in (x, y)]
    weights = uniform((40,), seed=2)
    (getattr(F, name)(*ours) * weights).sum().backward()
    (getattr(torch, name)(*theirs) * torch.from_numpy(weights)).sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.grad.data, b.grad.numpy(), rtol=1e-12, atol=1e-14)


def test_of_integers_and_of_two_dtypes() -> None:
    assert F.atan2(fp.tensor([1]), 1).dtype == np.float32
    assert F.hypot(np.array([3]), 4).tolist() == [5.0]
    for name in (*PAIRS, *DIVIDED):
        with pytest.raises(TypeError, match=f"{name}: operands have different dtypes"):
            getattr(F, name)(np.ones(2, np.float32), np.ones(2))
        with pytest.raises(ValueError, match=f"{name}: shapes .* do not broadcast"):
            getattr(F, name)(np.ones(2), np.ones(3))


def test_in_a_program_integers_by_zero_are_zero() -> None:
    divide = fp.compile(lambda a, b: F.stack([a // b, a % b]))
    a, b = np.array([[7, -7, 5]]), np.array([[2, 2, 0]])
    np.testing.assert_array_equal(divide(a, b).data[:, 0], [[3, -4, 0], [1, 1, 0]])


def test_exact_powers_and_logarithms() -> None:
    x = uniform((300,), 1e-3, 50)
    for name in ("log2", "log10", "exp2"):
        for dtype in DTYPES:
            given = x.astype(dtype)
            exact = getattr(np, name)(given.astype(np.longdouble))
            assert_close(getattr(F, name)(given).data, exact, ulps=2.5, scale=0.1)
    wide = np.array([-800.0, -30.0, 0.0, 30.0, 800.0])
    expected = -np.logaddexp(0, -wide)
    np.testing.assert_allclose(F.log_sigmoid(wide).data, expected, rtol=1e-15)
