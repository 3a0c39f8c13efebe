r"""Initial values of parameters.

Every function takes ``(shape, dtype, generator)`` and gives an array. Weights are ``[in, out]``
(with further axes in front: ``[…, in, out]``), so :math:`n_\text{in}` is the product of all extents
but the last, and :math:`n_\text{out}` that of all but the last but one. The generator is
:func:`fastprop.random.default_generator` unless another is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastprop.random import Generator, check_float_dtype, default_generator

Array = NDArray[Any]
Initializer = Callable[..., Array]
Mode = Literal["fan_in", "fan_out"]


def fans(where: str, shape: Sequence[int]) -> tuple[int, int]:
    """How many inputs an output of the layer sums over, and how many outputs an input reaches.

    Raises:
        ValueError: The shape has fewer than two axes, or an empty one.
    """
    shape = tuple(shape)
    if len(shape) < 2 or min(shape) < 1:
        raise ValueError(f"{where}: expects a weight's shape [..., in, out], got {shape}")
    field = math.prod(shape[:-2])
    return shape[-2] * field, shape[-1] * field


def zeros(
    shape: Sequence[int], dtype: DTypeLike = "float32", generator: Generator | None = None
) -> Array:
    """All 0."""
    return np.zeros(tuple(shape), check_float_dtype("zeros", dtype))


def ones(
    shape: Sequence[int], dtype: DTypeLike = "float32", generator: Generator | None = None
) -> Array:
    """All 1."""
    return np.ones(tuple(shape), check_float_dtype("ones", dtype))


def constant(
    shape: Sequence[int],
    dtype: DTypeLike = "float32",
    generator: Generator | None = None,
    *,
    value: float = 0.0,
) -> Array:
    """All `value`."""
    return np.full(tuple(shape), value, check_float_dtype("constant", dtype))


def uniform(
    shape: Sequence[int],
    dtype: DTypeLike = "float32",
    generator: Generator | None = None,
    *,
    lo: float = -0.05,
    hi: float = 0.05,
) -> Array:
    """Uniform on [lo, hi).

    Raises:
        ValueError: An end is not finite, or lo > hi.
    """
    if not lo <= hi:
        raise ValueError(f"uniform: expects lo <= hi, got {lo} and {hi}")
    return (generator or default_generator()).uniform(shape, lo, hi, dtype)


def normal(
    shape: Sequence[int],
    dtype: DTypeLike = "float32",
    generator: Generator | None = None,
    *,
    mean: float = 0.0,
    std: float = 0.05,
) -> Array:
    """Normal with the given mean and standard deviation.

    Raises:
        ValueError: A parameter is not finite, or std < 0.
    """
    if not std >= 0:
        raise ValueError(f"normal: expects std >= 0, got {std}")
    return (generator or default_generator()).normal(shape, mean, std, dtype)


def _uniform_std(
    shape: Sequence[int], std: float, dtype: DTypeLike, generator: Generator | None
) -> Array:
    # Uniform on [-a, a) has the standard deviation a / sqrt(3).
    bound = math.sqrt(3.0) * std
    return (generator or default_generator()).uniform(shape, -bound, bound, dtype)


def _check_gain(where: str, gain: float) -> float:
    if not (math.isfinite(gain) and gain > 0):
        raise ValueError(f"{where}: gain must be positive and finite, got {gain}")
    return gain


def _xavier_std(where: str, shape: Sequence[int], gain: float) -> float:
    fan_in, fan_out = fans(where, shape)
    return _check_gain(where, gain) * math.sqrt(2.0 / (fan_in + fan_out))


def _fan_std(where: str, shape: Sequence[int], gain: float, mode: Mode) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"{where}: mode must be 'fan_in' or 'fan_out', got {mode!r}")
    fan_in, fan_out = fans(where, shape)
    return _check_gain(where, gain) / math.sqrt(fan_in if mode == "fan_in" else fan_out)


def xavier_uniform(
    shape: Sequence[int],
    dtype: DTypeLike = "float32",
    generator: Generator | None = None,
    *,
    gain: float = 1.0,
) -> Array:
    r"""Uniform on :math:`\pm g \sqrt{6 / (n_\text{in} + n_\text{out})}`.

    Keeps the variance of values going forward and of gradients going back about the same where the
    activation is close to the identity around 0 (tanh): Glorot & Bengio, "Understanding the
    difficulty of training deep feedforward neural networks", AISTATS 2010.

    Raises:
        ValueError: The shape has fewer than two axes; the gain is not positive.
    """
    return _uniform_std(shape, _xavier_std("xavier_uniform", shape, gain), dtype, generator)


def xavier_normal(
    shape: Sequence[int],
    dtype: DTypeLike = "float32",
    generator: Generator | None = None,
    *,
    gain: float = 1.0,
) -> Array:
    r"""Normal with standard deviation :math:`g \sqrt{2 / (n_\text{in} + n_\text{out})}`.

    Glorot & Bengio 2010, as :func:`xavier_uniform`.
    """
    return normal(shape, dtype, generator, std=_xavier_std("xavier_normal", shape, gain))


def he_uniform(
    shape: Sequence[int],
    dtype: DTypeLike = "float32",
    generator: Generator | None = None,
    *,
    gain: float = math.sqrt(2.0),
    mode: Mode = "fan_in",
) -> Array:
    r"""Uniform on :math:`\pm g \sqrt{3 / n}`, :math:`n = n_\text{in}` (or :math:`n_\text{out}`).

    The gain :math:`\sqrt 2` makes up for ReLU, which drops half of the variance: He, Zhang, Ren &
    Sun, "Delving deep into rectifiers", ICCV 2015.

    Raises:
        ValueError: The shape has fewer than two axes; the gain is not positive; an unknown mode.
    """
    return _uniform_std(shape, _fan_std("he_uniform", shape, gain, mode), dtype, generator)


def he_normal(
    shape: Sequence[int],
    dtype: DTypeLike = "float32",
    generator: Generator | None = None,
    *,
    gain: float = math.sqrt(2.0),
    mode: Mode = "fan_in",
) -> Array:
    r"""Normal with standard deviation :math:`g / \sqrt n`; as :func:`he_uniform`."""
    return normal(shape, dtype, generator, std=_fan_std("he_normal", shape, gain, mode))


def lecun_uniform(
    shape: Sequence[int],
    dtype: DTypeLike = "float32",
    generator: Generator | None = None,
    *,
    gain: float = 1.0,
) -> Array:
    r"""Uniform on :math:`\pm g \sqrt{3 / n_\text{in}}`.

    Weighted sums of inputs with unit variance have unit variance: LeCun, Bottou, Orr & Müller,
    "Efficient BackProp", 1998. Self-normalizing networks (selu) want it: Klambauer et al., NeurIPS
    2017.

    Raises:
        ValueError: The shape has fewer than two axes; the gain is not positive.
    """
    return _uniform_std(shape, _fan_std("lecun_uniform", shape, gain, "fan_in"), dtype, generator)


def lecun_normal(
    shape: Sequence[int],
    dtype: DTypeLike = "float32",
    generator: Generator | None = None,
    *,
    gain: float = 1.0,
) -> Array:
    r"""Normal with standard deviation :math:`g / \sqrt{n_\text{in}}`; as :func:`lecun_uniform`."""
    return normal(shape, dtype, generator, std=_fan_std("lecun_normal", shape, gain, "fan_in"))


def orthogonal(
    shape: Sequence[int],
    dtype: DTypeLike = "float32",
    generator: Generator | None = None,
    *,
    gain: float = 1.0,
) -> Array:
    r"""Orthogonal columns, :math:`W^\top W = g^2 I`; or rows, where there are fewer of them.

    Uniformly distributed among all of them: the Q of a normal matrix's QR decomposition, with R's
    diagonal made positive. Saxe, McClelland & Ganguli, "Exact solutions to the nonlinear dynamics
    of learning in deep linear neural networks", ICLR 2014. The axes in front of the last count as
    one.

    Raises:
        ValueError: The shape has fewer than two axes; the gain is not positive.
    """
    fans("orthogonal", shape)
    _check_gain("orthogonal", gain)
    wanted = check_float_dtype("orthogonal", dtype)
    rows, columns = math.prod(shape[:-1]), shape[-1]
    tall = (max(rows, columns), min(rows, columns))
    q, r = np.linalg.qr(normal(tall, "float64", generator, std=1.0))
    q = gain * q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
    return np.ascontiguousarray((q if rows >= columns else q.T).reshape(tuple(shape)), wanted)


glorot_uniform = xavier_uniform
glorot_normal = xavier_normal
kaiming_uniform = he_uniform
kaiming_normal = he_normal

INITIALIZERS: dict[str, Initializer] = {
    "zeros": zeros,
    "ones": ones,
    "constant": constant,
    "uniform": uniform,
    "normal": normal,
    "xavier_uniform": xavier_uniform,
    "xavier_normal": xavier_normal,
    "glorot_uniform": glorot_uniform,
    "glorot_normal": glorot_normal,
    "he_uniform": he_uniform,
    "he_normal": he_normal,
    "kaiming_uniform": kaiming_uniform,
    "kaiming_normal": kaiming_normal,
    "lecun_uniform": lecun_uniform,
    "lecun_normal": lecun_normal,
    "orthogonal": orthogonal,
}
