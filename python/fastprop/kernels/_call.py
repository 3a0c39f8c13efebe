"""From NumPy arrays to a call of a kernel: operands and `out` are checked, then the op runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastprop import _core
from fastprop.checks import as_array
from fastprop.graph.op import Infer, Spec, op_named

Array = NDArray[Any]


def operand(name: str, label: str, value: ArrayLike) -> Array:
    """An input as a contiguous float32 or float64 array; copied only if it is not contiguous."""
    array = as_array(f"{name}: {label}", value)
    if array.dtype not in (np.float32, np.float64):
        raise TypeError(f"{name}: {label} must be float32 or float64, got {array.dtype}")
    return np.require(array, requirements="C")


def operands(name: str, **values: ArrayLike) -> list[Array]:
    """Several inputs, by the names that messages give them; they must share one dtype."""
    arrays = [operand(name, label, value) for label, value in values.items()]
    for label, array in zip(values, arrays, strict=True):
        if array.dtype != arrays[0].dtype:
            first = next(iter(values))
            raise TypeError(
                f"{name}: {first} is {arrays[0].dtype} but {label} is {array.dtype}; convert one"
            )
    return arrays


def index_operand(name: str, label: str, value: ArrayLike) -> Array:
    """Labels or indices as contiguous int64."""
    array = as_array(f"{name}: {label}", value)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name}: {label} must be integers, got {array.dtype}")
    return np.require(array, dtype=np.int64, requirements="C")


def destination(name: str, label: str, array: Any, spec: Spec) -> Array:
    """The array that a kernel writes to: the caller's, if it is fit for it, else a new one.

    Raises:
        TypeError: Not an array, or of another dtype.
        ValueError: Of another shape, not contiguous, or read-only.
    """
    if array is None:
        return np.empty(spec.shape, spec.dtype)
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name}: {label} must be a NumPy array, got {type(array).__name__}")
    if array.dtype != spec.dtype:
        raise TypeError(f"{name}: {label} must be {spec.dtype}, got {array.dtype}")
    if array.shape != spec.shape:
        raise ValueError(f"{name}: {label} must have shape {spec.shape}, got {array.shape}")
    if not array.flags.c_contiguous:
        raise ValueError(f"{name}: {label} must be contiguous in row-major order")
    if not array.flags.writeable:
        raise ValueError(f"{name}: {label} is read-only")
    return array


def spec_of(array: Array) -> Spec:
    return Spec(array.shape, array.dtype)


def call(
    name: str,
    op: str,
    inputs: Sequence[Array],
    out: Any = None,
    *,
    attrs: dict[str, Any] | None = None,
    infer: Infer | None = None,
    in_place: bool = False,
) -> Array:
    """Run the op on arrays, as the function `name`.

    Args:
        name: The function that the user called; starts the messages.
        op: Name in the op table.
        inputs: Contiguous arrays.
        out: The array to write to, or ``None``.
        attrs: Attributes of the op.
        infer: Shape inference, where the op table has none of its own.
        in_place: `out` may be one of the inputs.
    """
    attrs = attrs or {}
    spec = (infer or op_named(op).infer)(name, [spec_of(a) for a in inputs], attrs)
    result = destination(name, "out", out, spec)
    if out is not None:
        check_overlap(name, "out", result, inputs, in_place)
    execute(op, inputs, [result], attrs)
    return result


def check_overlap(
    name: str, label: str, result: Array, inputs: Sequence[Array], in_place: bool = False
) -> None:
    """Refuses a destination that shares memory with an input, unless it may be that input."""
    for array in inputs:
        if np.may_share_memory(result, array):
            same = result.ctypes.data == array.ctypes.data and result.shape == array.shape
            if not (in_place and same):
                raise ValueError(f"{name}: {label} shares memory with an input")


def execute(
    op: str,
    inputs: Sequence[Array | None],
    outputs: Sequence[Array],
    attrs: dict[str, Any] | None = None,
    scalars: Sequence[float] | None = None,
) -> None:
    """Run the kernel; everything has been checked."""
    code, names = _core.op_info(op)
    values = [float((attrs or {})[n]) for n in names]
    _core.execute(code, list(inputs), list(outputs), values, scalars)
