"""Initial parameters: distributions, formulas, repeatability."""

import math

import numpy as np
import pytest

from fastprop import nn
from fastprop import random as fr
from fastprop.nn import init

SHAPE = (400, 300)
FAN_IN, FAN_OUT = SHAPE

# Standard deviation by the papers' formulas.
STD = {
    "xavier_uniform": math.sqrt(2 / (FAN_IN + FAN_OUT)),
    "xavier_normal": math.sqrt(2 / (FAN_IN + FAN_OUT)),
    "glorot_uniform": math.sqrt(2 / (FAN_IN + FAN_OUT)),
    "glorot_normal": math.sqrt(2 / (FAN_IN + FAN_OUT)),
    "he_uniform": math.sqrt(2 / FAN_IN),
    "he_normal": math.sqrt(2 / FAN_IN),
    "kaiming_uniform": math.sqrt(2 / FAN_IN),
    "kaiming_normal": math.sqrt(2 / FAN_IN),
    "lecun_uniform": math.sqrt(1 / FAN_IN),
    "lecun_normal": math.sqrt(1 / FAN_IN),
    "uniform": 0.1 / math.sqrt(12),
    "normal": 0.05,
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", STD)
def test_mean_deviation_and_range(name, dtype):
    values = init.INITIALIZERS[name](SHAPE, dtype, fr.Generator(1))
    assert values.shape == SHAPE
    assert values.dtype == dtype
    std, n = STD[name], values.size
    # Five standard errors; that of the mean is std / sqrt(n), that of a deviation std / sqrt(2 n)
    # for a normal distribution and less for a uniform one.
    assert abs(values.mean(dtype=np.float64)) < 5 * std / math.sqrt(n)
    assert abs(values.std(dtype=np.float64) / std - 1) < 5 * math.sqrt(0.5 / n)
    if name.endswith("uniform"):
        bound = math.sqrt(3) * std
        assert 0.999 * bound < np.abs(values).max() <= bound * (1 + 1e-6)
    else:
        inside = np.mean(np.abs(values) < std)
        assert abs(inside - math.erf(math.sqrt(0.5))) < 0.01
        assert np.abs(values).max() > 4 * std


def test_constants():
    np.testing.assert_array_equal(init.zeros((2, 3)), 0)
    np.testing.assert_array_equal(init.ones((2, 3), "float64"), 1)
    np.testing.assert_array_equal(init.constant((3,), value=0.5), 0.5)
    assert init.ones((2,), "float64").dtype == np.float64


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(5, 5), (9, 4), (4, 9), (3, 2, 4), (1, 6)])
def test_orthogonal(shape, dtype):
    w = init.orthogonal(shape, dtype, fr.Generator(0), gain=2.0)
    assert w.shape == shape
    assert w.dtype == dtype
    assert w.flags.c_contiguous
    w = w.astype(np.float64).reshape(-1, shape[-1])
    gram = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T
    np.testing.assert_allclose(
        gram, 4 * np.eye(len(gram)), atol=1e-5 if dtype == "float32" else 1e-12
    )


def test_orthogonal_is_uniformly_distributed():
    # Without the sign of R's diagonal, the first row of Q would have one sign.
    signs = [np.sign(init.orthogonal((3, 3), "float64", fr.Generator(s))[0, 0]) for s in range(200)]
    assert abs(np.mean(signs)) < 0.3


def test_gain_and_mode():
    one = init.xavier_normal(SHAPE, generator=fr.Generator(0))
    two = init.xavier_normal(SHAPE, generator=fr.Generator(0), gain=2.0)
    np.testing.assert_allclose(two, 2 * one, rtol=1e-6)
    by_out = init.he_normal(SHAPE, "float64", fr.Generator(0), mode="fan_out")
    by_in = init.he_normal(SHAPE, "float64", fr.Generator(0))
    np.testing.assert_allclose(by_out / by_in, math.sqrt(FAN_IN / FAN_OUT), rtol=1e-12)


def test_fans_of_more_axes():
    assert init.fans("test", (3, 5)) == (3, 5)
    assert init.fans("test", (2, 4, 3, 5)) == (24, 40)


@pytest.mark.parametrize("name", [*sorted(set(STD) - {"uniform", "normal"}), "orthogonal"])
def test_weights_have_two_axes_and_a_positive_gain(name):
    function = init.INITIALIZERS[name]
    for shape in ((3,), (), (0, 3)):
        with pytest.raises(ValueError, match=r"expects a weight's shape \[..., in, out\]"):
            function(shape)
    for gain in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="gain must be positive"):
            function((2, 2), gain=gain)
    with pytest.raises(TypeError, match="dtype must be float32 or float64"):
        function((2, 2), "int64")


def test_other_parameters_are_checked():
    with pytest.raises(ValueError, match="mode must be 'fan_in' or 'fan_out', got 'in'"):
        init.he_uniform((2, 2), mode="in")
    with pytest.raises(ValueError, match="uniform: expects lo <= hi"):
        init.uniform((2,), lo=1.0, hi=0.0)
    with pytest.raises(ValueError, match="normal: expects std >= 0"):
        init.normal((2,), std=-1.0)
    with pytest.raises(ValueError, match="std must be finite"):
        init.normal((2,), std=math.inf)


# -- what Dense chooses ---


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        (None, "xavier_uniform"),
        ("identity", "xavier_uniform"),
        ("tanh", "xavier_uniform"),
        ("sigmoid", "xavier_uniform"),
        ("relu", "he_normal"),
        ("leaky_relu", "he_normal"),
        ("prelu", "he_normal"),
        ("gelu_tanh", "he_normal"),
        ("hard_swish", "he_normal"),
        ("selu", "lecun_normal"),
        (nn.ReLU(), "he_normal"),
        (nn.LeakyReLU(0.3), "he_normal"),
        (nn.SELU(), "lecun_normal"),
        (nn.Tanh(), "xavier_uniform"),
        (lambda x: x, "xavier_uniform"),
    ],
)
def test_dense_auto(activation, name):
    fr.seed(3)
    layer = nn.Dense(20, 30, activation=activation)
    expected = init.INITIALIZERS[name]((20, 30), "float32", fr.Generator(3))
    np.testing.assert_array_equal(layer.weight.data, expected)
    np.testing.assert_array_equal(layer.bias.data, 0)


def test_dense_takes_a_function():
    layer = nn.Dense(2, 3, dtype="float64", init=lambda shape, dtype, generator: np.full(shape, 2))
    np.testing.assert_array_equal(layer.weight.data, 2.0)
    assert layer.weight.dtype == np.float64


# -- the generator ---


def test_seed_repeats_and_draws_differ():
    fr.seed(7)
    a, b = nn.Dense(5, 5), nn.Dense(5, 5)
    fr.seed(7)
    c = nn.Dense(5, 5)
    np.testing.assert_array_equal(a.weight.data, c.weight.data)
    assert not np.array_equal(a.weight.data, b.weight.data)
    fr.seed(8)
    assert not np.array_equal(nn.Dense(5, 5).weight.data, c.weight.data)


def test_state_resumes():
    generator = fr.Generator(11)
    generator.uniform((3,))
    twin = fr.Generator()
    twin.state = generator.state
    assert generator.state == (11, 1)
    np.testing.assert_array_equal(generator.normal((4,)), twin.normal((4,)))


def test_high_bits_of_the_seed_count():
    low, high = fr.Generator(5).uniform((8,)), fr.Generator(5 + (1 << 63)).uniform((8,))
    assert not np.array_equal(low, high)
    fr.Generator(2**64 - 1).uniform((2,))


def test_draws_have_any_shape():
    generator = fr.Generator(0)
    assert generator.uniform(()).shape == ()
    assert generator.uniform((0, 3)).shape == (0, 3)
    assert generator.normal((2, 3, 4), 1.0, 0.0).tolist() == np.ones((2, 3, 4)).tolist()


@pytest.mark.parametrize(
    ("seed", "error"),
    [(-1, ValueError), (2**64, ValueError), (1.5, TypeError), ("1", TypeError), (True, TypeError)],
)
def test_bad_seeds(seed, error):
    before = fr.default_generator().state
    with pytest.raises(error, match="seed must be"):
        fr.seed(seed)
    with pytest.raises(error, match="Generator: seed must be"):
        fr.Generator(seed)
    assert fr.default_generator().state == before


def test_streams_do_not_run_out_silently():
    generator = fr.Generator(0)
    generator.state = (0, fr.STREAMS_PER_PURPOSE)
    with pytest.raises(RuntimeError, match="take another seed"):
        generator.uniform((1,))
    with pytest.raises(ValueError, match="counter must be in"):
        generator.state = (0, -1)
