"""Elementwise ops: values in both dtypes, broadcasting, derivatives, messages."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers import DTYPES, ORACLES, assert_close, gradcheck, rng, torch, uniform

import fastprop as fp
from fastprop import Tensor, grad, tensor
from fastprop import functional as F


def _erf(x: np.ndarray) -> np.ndarray:
    return np.reshape([math.erf(v) for v in np.ravel(x)], np.shape(x))


# name: (NumPy's function, domain, highest derivative that is checked)
UNARY = {
    "neg": (np.negative, (-3, 3), 2),
    "exp": (np.exp, (-3, 3), 3),
    "log": (np.log, (0.3, 4), 3),
    "sqrt": (np.sqrt, (0.3, 4), 3),
    "rsqrt": (lambda x: 1 / np.sqrt(x), (0.3, 4), 3),
    "square": (np.square, (-3, 3), 3),
    "reciprocal": (lambda x: 1 / x, (0.5, 3), 3),
    "abs": (np.abs, (0.1, 3), 2),
    "sign": (np.sign, (0.1, 3), 2),
    "sin": (np.sin, (-4, 4), 3),
    "cos": (np.cos, (-4, 4), 3),
    "erf": (_erf, (-3, 3), 3),
    "log1p": (np.log1p, (-0.6, 3), 3),
    "expm1": (np.expm1, (-3, 3), 3),
    "tan": (np.tan, (-1.2, 1.2), 3),
    "asin": (np.arcsin, (-0.8, 0.8), 3),
    "acos": (np.arccos, (-0.8, 0.8), 3),
    "atan": (np.arctan, (-5, 5), 3),
    "sinh": (np.sinh, (-3, 3), 3),
    "cosh": (np.cosh, (-3, 3), 3),
    "asinh": (np.arcsinh, (-3, 3), 3),
    "acosh": (np.arccosh, (1.3, 4), 3),
    "atanh": (np.arctanh, (-0.8, 0.8), 3),
    "copy": (lambda x: x, (-3, 3), 2),
}
TORCH_NAMES = {"copy": "clone"}

BINARY = {
    "add": (np.add, 2),
    "sub": (np.subtract, 2),
    "mul": (np.multiply, 3),
    "div": (np.divide, 3),
    "pow": (np.power, 3),
    "maximum": (np.maximum, 2),
    "minimum": (np.minimum, 2),
}
COMPARISONS = {
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "equal": np.equal,
    "not_equal": np.not_equal,
}
SHAPES = [(), (1,), (7,), (33,), (5, 3), (2, 1, 19), (0, 3)]
BROADCASTS = [
    ((5, 3), (5, 3)),
    ((5, 3), (3,)),
    ((5, 3), (5, 1)),
    ((5, 3), ()),
    ((1, 4), (3, 1)),
    ((2, 1, 5), (3, 1)),
    ((17,), (1,)),
    ((4, 1, 2, 9), (3, 1, 9)),
    ((0, 3), (1, 3)),
]


@pytest.mark.levels
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", UNARY)
def test_unary_values(name: str, dtype: str) -> None:
    reference, (low, high), _ = UNARY[name]
    for seed, shape in enumerate(SHAPES):
        x = uniform(shape, low, high, dtype, seed)
        y = getattr(F, name)(x)
        assert y.dtype == x.dtype
        assert_close(
            y.data, reference(x.astype(np.float64)), ulps=4, scale=1.0, what=f"{name} {shape}"
        )


@pytest.mark.parametrize("oracle", ORACLES)
@pytest.mark.parametrize("name", UNARY)
def test_unary_derivatives(name: str, oracle: str) -> None:
    _, (low, high), order = UNARY[name]
    if (name, oracle) == ("abs", "torch"):
        order = 1  # the second takes PyTorch seconds at its first call
    other = getattr(torch, TORCH_NAMES.get(name, name), None)
    gradcheck(
        getattr(F, name), uniform((2, 3), low, high), order=order, oracle=oracle, torch_f=other
    )


@pytest.mark.levels
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BINARY)
def test_binary_values(name: str, dtype: str) -> None:
    reference, _ = BINARY[name]
    for seed, shapes in enumerate(BROADCASTS):
        x, y = (uniform(s, 0.3, 3, dtype, seed + 10 * i) for i, s in enumerate(shapes))
        z = getattr(F, name)(x, y)
        expected = reference(x.astype(np.float64), y.astype(np.float64))
        assert z.dtype == x.dtype
        assert_close(z.data, expected, ulps=6, scale=1.0, what=f"{name} {shapes}")


@pytest.mark.parametrize("oracle", ORACLES)
@pytest.mark.parametrize("shapes", [((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 1), (1, 2)), ((), (2,))])
@pytest.mark.parametrize("name", BINARY)
def test_binary_derivatives(name: str, shapes: tuple, oracle: str) -> None:
    _, order = BINARY[name]
    x, y = uniform(shapes[0], 0.5, 2), uniform(shapes[1], 0.5, 2, seed=5)
    other = getattr(torch, name, None)
    gradcheck(getattr(F, name), x, y, order=order, oracle=oracle, torch_f=other)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons(name: str, dtype: str) -> None:
    x = rng(0).integers(0, 3, (5, 3)).astype(dtype)
    y = rng(1).integers(0, 3, (3,)).astype(dtype)
    z = getattr(F, name)(x, y)
    assert z.dtype == dtype
    np.testing.assert_array_equal(z.data, COMPARISONS[name](x, y).astype(dtype))
    assert not getattr(F, name)(tensor(x, requires_grad=True), y).requires_grad


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_and_infinity(dtype: str) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0], dtype)
    with np.errstate(all="ignore"):
        for name in set(UNARY) - {"sign", "copy", "reciprocal", "rsqrt"}:
            reference = UNARY[name][0](x.astype(np.float64))
            np.testing.assert_allclose(getattr(F, name)(x).data, reference, rtol=1e-6, err_msg=name)
        for name in ("maximum", "minimum"):
            for a, b in ((x, x[::-1].copy()), (x, np.full_like(x, np.nan))):
                expected = getattr(np, name)(a, b)
                np.testing.assert_array_equal(getattr(F, name)(a, b).data, expected, err_msg=name)


@pytest.mark.parametrize("oracle", ORACLES)
def test_where(oracle: str) -> None:
    c = np.array([[True, False, True], [False, False, True]])
    x, y = uniform((2, 3)), uniform((3,), seed=1)
    np.testing.assert_array_equal(F.where(c, x, y).data, np.where(c, x, y))
    np.testing.assert_array_equal(F.where(tensor(c.astype(float)), 1.0, 0.0).data, c.astype(float))
    other = None if torch is None else (lambda a, b: torch.where(torch.from_numpy(c), a * a, b * b))
    gradcheck(lambda a, b: F.where(c, a * a, b * b), x, y, oracle=oracle, torch_f=other)


def test_where_lets_no_nan_through_the_other_branch() -> None:
    x = tensor(np.array([-1.0, 4.0]), requires_grad=True)
    safe = F.where(x > 0, x, 1.0)
    y = F.where(x > 0, F.sqrt(safe), 0.0).sum()
    np.testing.assert_array_equal(grad(y, x).data, [0.0, 0.25])


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 0.5, -1, -2.5])
def test_pow_with_a_number(exponent: float) -> None:
    x = uniform((4,), 0.5, 2)
    assert_close((tensor(x) ** exponent).data, x**exponent, ulps=4)
    gradcheck(lambda t: t**exponent, x, order=3, tolerance=1e-6)


def test_pow_at_zero_has_finite_derivatives() -> None:
    x = tensor(np.zeros(2), requires_grad=True)
    total, expected = (x**3).sum(), [0.0, 0.0, 6.0]
    for value in expected:
        d = grad(total, x, create_graph=True)
        np.testing.assert_array_equal(d.data, [value, value])
        total = d.sum()
    base = tensor(np.zeros(1), requires_grad=True)
    exponent = tensor(np.array([2.0]), requires_grad=True)
    np.testing.assert_array_equal(grad(F.pow(base, exponent).sum(), exponent).data, [0.0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_derivatives_of_powers_are_accurate(dtype: str) -> None:
    x, y = uniform((4000,), 1e-3, 50, dtype=dtype), uniform((4000,), -8, 8, dtype=dtype, seed=1)
    a, b = x.astype(np.longdouble), y.astype(np.longdouble)
    base, exponent = tensor(x, requires_grad=True), tensor(y, requires_grad=True)
    for found, wanted in zip(
        grad(F.pow(base, exponent).sum(), [base, exponent]),
        (b * a ** (b - 1), a**b * np.log(a)),
        strict=True,
    ):
        np.testing.assert_allclose(found.data, wanted, rtol=3 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
def test_derivatives_of_powers_at_the_ends(dtype: str) -> None:
    tiny, inf, nan = float(np.finfo(dtype).tiny), math.inf, math.nan
    cases = [  # base, exponent, derivative by the base, by the exponent
        (0.0, 0.0, 0.0, 0.0), (0.0, 1.0, 1.0, 0.0), (0.0, 2.0, 0.0, 0.0), (0.0, 0.5, inf, 0.0),
        (0.0, -1.0, -inf, -inf), (2.0, 0.0, 0.0, math.log(2)), (-2.0, 3.0, 12.0, nan),
        (-2.0, 0.5, nan, nan), (inf, 2.0, inf, inf), (nan, 2.0, nan, nan), (2.0, nan, nan, nan),
        (1 / tiny, 2.0, 2 / tiny, inf), (tiny, 1.0, 1.0, tiny * math.log(tiny)),
        (tiny, 2.5, 0.0, 0.0), (3.0, 2.0, 6.0, 9 * math.log(3)),
    ]  # fmt: skip
    table = np.array(cases, dtype)
    x, y = (tensor(c.copy(), requires_grad=True) for c in table[:, :2].T)
    for found, wanted in zip(grad(F.pow(x, y).sum(), [x, y]), table[:, 2:].T, strict=True):
        np.testing.assert_allclose(found.data, wanted, rtol=4 * np.finfo(dtype).eps, atol=tiny)


def test_derivatives_of_derivatives_of_powers() -> None:
    x, y = tensor([2.0, 1.5, 3.0], requires_grad=True), tensor([0.0, 1.0, 2.5], requires_grad=True)
    by_x, by_y = grad(F.pow(x, y).sum(), [x, y], create_graph=True)
    mixed = x.data ** (y.data - 1) * (1 + y.data * np.log(x.data))
    (found,) = grad(by_x.sum(), [y], retain_graph=True)
    np.testing.assert_allclose(found.data, mixed, rtol=1e-6)
    (found,) = grad(by_y.sum(), [x], retain_graph=True)
    np.testing.assert_allclose(found.data, mixed, rtol=1e-6)
    gradcheck(
        F.pow, uniform((3, 1), 0.5, 2), uniform((2,), 0.5, 2, seed=1), order=3, tolerance=1e-6
    )


def test_ties_share_the_derivative() -> None:
    x, y = (tensor(np.ones(3), requires_grad=True) for _ in range(2))
    for f in (F.maximum, F.minimum):
        for d in grad(f(x, y).sum(), [x, y]):
            np.testing.assert_array_equal(d.data, [0.5] * 3)


@pytest.mark.parametrize("array", [False, True], ids=["numbers", "Tensors"])
@pytest.mark.parametrize("compiled", [False, True])
def test_clip_at_a_bound_gives_the_derivative_to_what_is_clipped(array, compiled) -> None:
    """As PyTorch's clamp does: a weight that sits at its bound must not learn half as fast."""
    x = tensor(np.array([-2.0, -1.0, 0.0, 1.0, 2.0]), requires_grad=True)
    low, high = (tensor(np.full(5, v), requires_grad=True) for v in (-1.0, 1.0))

    def clipped(x: fp.Tensor, low: fp.Tensor, high: fp.Tensor) -> fp.Tensor:
        return F.clip(x, low, high) if array else F.clip(x, -1, 1)

    y = (fp.compile(clipped) if compiled else clipped)(x, low, high)
    np.testing.assert_array_equal(y.data, [-1, -1, 0, 1, 1])
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.data, [0, 1, 1, 1, 0])
    if array:
        np.testing.assert_array_equal(low.grad.data, [1, 0, 0, 0, 0])
        np.testing.assert_array_equal(high.grad.data, [0, 0, 0, 0, 1])


def test_clip_hides_no_nan() -> None:
    x = tensor(np.array([np.nan, 0.5, 3.0]))
    np.testing.assert_array_equal(F.clip(x, 0, 1).data, [np.nan, 0.5, 1])
    bound = np.array([0.0, np.nan, np.nan])
    np.testing.assert_array_equal(F.clip(x, bound).data, [np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(F.clip(x, None, bound).data, [np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(F.clip(x, [-1, np.nan, 3]).data, [np.nan, np.nan, 3])
    np.testing.assert_array_equal(F.clip(x, 2, 1).data, [np.nan, 1, 1])  # max goes last
    with pytest.raises(ValueError, match="clip: a bound is NaN"):
        F.clip(x, math.nan)


def test_operators() -> None:
    a, b = uniform((3,), 0.5, 2), uniform((3,), 0.5, 2, seed=1)
    x, y = tensor(a), tensor(b)
    pairs = [
        (x + y, a + b), (x - y, a - b), (x * y, a * b), (x / y, a / b), (x**y, a**b), (-x, -a),
        (2 + x, 2 + a), (2 - x, 2 - a), (2 * x, 2 * a), (2 / x, 2 / a), (2**x, 2**a),
        (x + 1, a + 1),
        (x > y, a > b), (x >= y, a >= b), (x < y, a < b), (x <= y, a <= b), (x < 1, a < 1),
        (b + x, b + a), (b * x, b * a), (b - x, b - a),
    ]  # fmt: skip
    for ours, theirs in pairs:
        assert isinstance(ours, Tensor)
        assert_close(ours.data, np.asarray(theirs, float), ulps=4)


def test_numbers_take_the_dtype_of_the_tensor() -> None:
    x = tensor(np.ones(2, np.float32))
    for y in (
        x * 2,
        2 * x,
        x + 1.5,
        x / np.float64(3),
        x > 0,
        F.maximum(0.0, x),
        F.where(x > 0, 1, 0),
    ):
        assert y.dtype == np.float32


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: F.add(np.ones((2, 3)), np.ones((2, 4))),
            ValueError,
            r"add: shapes .* do not broadcast",
        ),
        (
            lambda: F.mul(np.ones(2), np.ones(2, np.float32)),
            TypeError,
            "mul: operands have different",
        ),
        (lambda: F.matmul(np.ones((2, 2), int), 1), ValueError, "matmul: operands need an axis"),
        (lambda: F.add(np.ones(2, complex), 1.0), TypeError, "real numbers"),
        (lambda: F.add("a", 1.0), TypeError, "real numbers"),
    ],
)
def test_messages(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()


def test_results_do_not_depend_on_where_an_element_is() -> None:
    """The end of an array goes through the same code as its body."""
    for dtype in DTYPES:
        x = uniform((41,), 0.3, 3, dtype)
        for name in UNARY:
            whole = getattr(F, name)(x).data
            for start in range(1, 40, 7):
                part = getattr(F, name)(x[start:].copy()).data
                np.testing.assert_array_equal(part, whole[start:], err_msg=name)


@pytest.mark.parametrize("compiled", [False, True])
def test_an_attribute_of_minus_zero_is_not_that_of_zero(compiled: bool) -> None:
    """They are equal, but not to the kernel: plans and instructions are found by attributes."""

    def both(x):
        return F.leaky_relu(x, 0.0), F.leaky_relu(x, -0.0), F.leaky_relu(x, 0.0)

    function = fp.compile(both) if compiled else both
    results = function(fp.tensor([[-1.0, 2.0]]))
    assert [np.signbit(r.data[0, 0]) for r in results] == [True, False, True]
