"""Tensors of given shapes: constants, ranges, random numbers.

The dtype is float32 where NumPy's is float64: that is what parameters are, and the two do not mix.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from fastprop.graph.ops_elementwise import where
from fastprop.graph.ops_random import gaussian_noise
from fastprop.graph.ops_shape import cast, stop_gradient
from fastprop.graph.tensor import DTYPES, Tensor, TensorLike, as_tensor, constant_array, tensor
from fastprop.graph.trace import current_trace
from fastprop.random import default_generator

_CONSTANT_DOC = """A Tensor of {what}.

    Args:
        *shape: Extents, one by one or as a sequence.
        requires_grad: Whether derivatives by it are recorded.
        dtype: float32, float64 or int64.

    Raises:
        TypeError: An extent is no integer (a dtype goes by its name), or the dtype is another one.
        ValueError: An extent is negative.
    """


def _shape(name: str, shape: tuple[Any, ...]) -> tuple[int, ...]:
    """Extents given one by one, or as one sequence."""
    if len(shape) == 1 and isinstance(shape[0], Sequence | np.ndarray):
        shape = tuple(shape[0])
    for n in shape:
        if not isinstance(n, int | np.integer) or isinstance(n, bool):
            raise TypeError(
                f"{name}: extents must be integers, got {n!r}; a dtype goes by its name, dtype=…"
            )
        if n < 0:
            raise ValueError(f"{name}: extents must not be negative, got {n}")
    return tuple(map(int, shape))


def zeros(
    *shape: int | Sequence[int], requires_grad: bool = False, dtype: DTypeLike = np.float32
) -> Tensor:
    return tensor(np.zeros(_shape("zeros", shape), dtype), requires_grad, dtype)


def ones(
    *shape: int | Sequence[int], requires_grad: bool = False, dtype: DTypeLike = np.float32
) -> Tensor:
    return tensor(np.ones(_shape("ones", shape), dtype), requires_grad, dtype)


zeros.__doc__ = _CONSTANT_DOC.format(what="zeros")
ones.__doc__ = _CONSTANT_DOC.format(what="ones")


def full(
    shape: int | Sequence[int],
    value: float,
    requires_grad: bool = False,
    dtype: DTypeLike | None = None,
) -> Tensor:
    """A Tensor of one number, int64 of an integer and else float32 unless the dtype is given.

    Raises:
        TypeError: An extent is no integer, or the dtype is not float32, float64 or int64.
        ValueError: An extent is negative.
    """
    number = tensor(value, dtype=dtype)
    return tensor(np.full(_shape("full", (shape,)), number.data, number.dtype), requires_grad)


def zeros_like(x: TensorLike, dtype: DTypeLike | None = None) -> Tensor:
    """Zeros of the shape and dtype of `x`, or of another dtype."""
    return full_like(x, 0, dtype)


def ones_like(x: TensorLike, dtype: DTypeLike | None = None) -> Tensor:
    """Ones of the shape and dtype of `x`, or of another dtype."""
    return full_like(x, 1, dtype)


def full_like(x: TensorLike, value: float, dtype: DTypeLike | None = None) -> Tensor:
    """One number in the shape and dtype of `x`, or of another dtype.

    In a compiled function there are as many rows as `x` has in each call.
    """
    x = as_tensor(x)
    wanted = x.dtype if dtype is None else np.dtype(dtype)
    if wanted not in DTYPES:
        raise TypeError(f"full_like: dtype must be float32, float64 or int64, got {wanted}")
    if not x.symbolic:
        return constant_array(np.full(x.shape, value, wanted))
    return cast(where(0, stop_gradient(x), value), wanted)  # whatever x is, NaN too


def eye(n: int, m: int | None = None, dtype: DTypeLike = np.float32) -> Tensor:
    """The identity matrix ``[n, n]``, or ``[n, m]`` with ones where row and column are equal."""
    rows, columns = _shape("eye", (n, n if m is None else m))
    return tensor(np.eye(rows, columns), dtype=dtype)


def arange(
    start: float, stop: float | None = None, step: float = 1, dtype: DTypeLike | None = None
) -> Tensor:
    """Numbers from `start` (0 if `stop` is left out) up to `stop`, which is not among them.

    Args:
        start: The first number; with one argument, the end.
        stop: The end.
        step: The distance of neighbours.
        dtype: By default int64 of integers, else float32.

    Raises:
        ZeroDivisionError: `step` is 0.
    """
    first, end = (0, start) if stop is None else (start, stop)
    numbers = np.arange(first, end, step)
    return tensor(numbers, dtype=_default(numbers, dtype))


def linspace(start: float, stop: float, num: int, dtype: DTypeLike = np.float32) -> Tensor:
    """`num` numbers from `start` to `stop`, both among them, at equal distances.

    Raises:
        ValueError: `num` is negative.
    """
    return tensor(np.linspace(start, stop, num), dtype=dtype)


def _default(numbers: np.ndarray, dtype: DTypeLike | None) -> DTypeLike:
    if dtype is not None:
        return dtype
    return np.float32 if numbers.dtype.kind == "f" else np.int64


def rand(
    *shape: int | Sequence[int], requires_grad: bool = False, dtype: DTypeLike = np.float32
) -> Tensor:
    r"""Uniform random numbers on :math:`[0, 1)`, which :func:`fastprop.seed` decides about.

    Args:
        *shape: Extents, one by one or as a sequence.
        requires_grad: Whether derivatives by it are recorded.
        dtype: float32 or float64.

    Raises:
        TypeError: An extent is no integer, or the dtype is another one.
        ValueError: An extent is negative; in a compiled function, where the numbers would be the
            same in every call.
    """
    _refuse_in_trace("rand")
    return tensor(default_generator().uniform(_shape("rand", shape), dtype=dtype), requires_grad)


def randn(
    *shape: int | Sequence[int], requires_grad: bool = False, dtype: DTypeLike = np.float32
) -> Tensor:
    """Normal random numbers of mean 0 and variance 1; otherwise as :func:`rand`.

    In a compiled function :func:`randn_like` draws other ones in every call.
    """
    _refuse_in_trace("randn")
    return tensor(default_generator().normal(_shape("randn", shape), dtype=dtype), requires_grad)


def _refuse_in_trace(name: str) -> None:
    if current_trace() is not None:
        raise ValueError(
            f"{name}: a compiled function would draw once and for all; use randn_like of an "
            "argument, or give the numbers as an argument"
        )


def randn_like(x: TensorLike) -> Tensor:
    """Normal random numbers of mean 0 and variance 1 in the shape and dtype of `x`.

    In a compiled function every call draws other ones, and `x` must depend on its arguments.

    Raises:
        TypeError: `x` is not of a floating dtype.
        ValueError: A constant in a compiled function.
    """
    return gaussian_noise(zeros_like(x))
