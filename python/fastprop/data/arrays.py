"""Whatever users hold, as arrays that the kernels read; or an error that says what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastprop import _core
from fastprop.checks import as_array
from fastprop.registry import type_name

Array = NDArray[Any]

_FRAME_LIBRARIES = ("pandas", "polars", "modin", "cudf")


def to_array(
    name: str,
    value: Any,
    dtype: DTypeLike | None = None,
    notes: list[str] | None = None,
    *,
    keep_dtype: bool = False,
) -> Array:
    """`value` as a C-contiguous array in native byte order, copied only where that is needed.

    Args:
        name: What the value is called in messages, such as ``"Trainer.fit: x"``.
        value: A NumPy array (also read-only, strided or memory-mapped), a Tensor, a pandas or
            polars frame or series, an object with ``__dlpack__`` or ``__array__``, or nested lists.
        dtype: Wanted dtype; ``None`` keeps float32, float64 and int64, and turns other integers and
            booleans into int64, other floats into float32.
        notes: A list to which a sentence is added when the numbers had to be converted.
        keep_dtype: Leave the dtype and the memory layout as they are; only make it an array of
            numbers.

    Returns:
        An array of `dtype`. It shares memory with `value` where that has this dtype and is
        contiguous, so a memory-mapped file of the right dtype is never read as a whole.

    Raises:
        TypeError: Complex, object, string, date or structured data; masked elements; sparse
            arrays; ``None``.
        ValueError: Nested lists of uneven length.
    """
    array = _as_ndarray(name, value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} has dtype {array.dtype}, expected real numbers{_hint(array)}")
    if keep_dtype:
        return array
    wanted = np.dtype(dtype) if dtype is not None else _default_dtype(array.dtype)
    if array.dtype != wanted:
        note_conversion(name, array, wanted, notes)
        with np.errstate(
            over="ignore", invalid="ignore"
        ):  # the finite check reports what overflowed
            return np.ascontiguousarray(array, dtype=wanted).reshape(array.shape)
    if not array.flags.c_contiguous or not array.flags.aligned:
        return np.array(array, dtype=wanted, order="C")
    return array


def _default_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.kind == "f":
        return np.dtype(np.float64 if dtype == np.float64 else np.float32)
    return np.dtype(np.int64)


def _as_ndarray(name: str, value: Any) -> Array:
    if isinstance(value, np.ndarray):
        return as_array(name, value)
    if value is None:
        raise TypeError(f"{name} is None, expected an array")
    library = type(value).__module__.partition(".")[0]
    if library in _FRAME_LIBRARIES and hasattr(value, "to_numpy"):
        return _from_frame(name, value)
    if library == "scipy" and hasattr(value, "toarray"):
        raise TypeError(f"{name} is a sparse matrix; convert it with x.toarray()")
    if library != "fastprop" and hasattr(value, "__dlpack__"):
        return _from_dlpack(name, value)
    if isinstance(value, Mapping | Set | Iterator):
        raise TypeError(f"{name} is a {type_name(value)}, expected an array, a frame or a list")
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} cannot become an array: {error}") from None


def _from_frame(name: str, frame: Any) -> Array:
    """A frame or series through its own ``to_numpy``; columns that are not numbers are named."""
    columns = [str(column) for column in getattr(frame, "columns", [])]
    if columns:
        dtypes = list(getattr(frame, "dtypes", []))
        bad = [f"{c!r} ({d})" for c, d in zip(columns, dtypes, strict=False) if not _is_numeric(d)]
    elif not _is_numeric(frame.dtype):
        named = "" if frame.name is None else f" {frame.name!r}"
        raise TypeError(
            f"{name}: the series{named} ({frame.dtype}) is not numeric; encode it as numbers first"
        )
    else:
        bad = []
    if bad:
        raise TypeError(
            f"{name}: column{'s' if len(bad) > 1 else ''} {', '.join(bad[:5])}"
            f"{' …' if len(bad) > 5 else ''} of the data frame {'are' if len(bad) > 1 else 'is'} "
            f"not numeric; encode {'them' if len(bad) > 1 else 'it'} as numbers, or leave "
            f"{'them' if len(bad) > 1 else 'it'} out"
        )
    array = np.asarray(frame.to_numpy())
    if array.dtype.kind == "O":  # nullable columns, or numbers mixed with booleans
        array = np.asarray(_nullable_to_float(frame))
    return array


def _nullable_to_float(frame: Any) -> Array:
    """Columns that hold missing values as float64, with NaN for what is missing."""
    if type(frame).__module__.startswith("pandas"):
        return np.asarray(frame.to_numpy(dtype=np.float64, na_value=np.nan))
    return np.asarray(frame.to_numpy().astype(np.float64))


def _is_numeric(dtype: Any) -> bool:
    """Numeric or boolean, for pandas, polars and NumPy dtypes."""
    if hasattr(dtype, "is_numeric") and callable(dtype.is_numeric):  # polars
        return bool(dtype.is_numeric()) or str(dtype) == "Boolean"
    return getattr(dtype, "kind", "O") in "fiub"


def _from_dlpack(name: str, value: Any) -> Array:
    try:
        return np.from_dlpack(value)
    except (BufferError, TypeError, RuntimeError, ValueError) as error:
        raise TypeError(
            f"{name} is a {type(value).__module__}.{type(value).__name__} that NumPy cannot read "
            f"({error}); convert it to a NumPy array"
        ) from None


def _hint(array: Array) -> str:
    if array.dtype.kind == "O":
        return "; object arrays come from uneven lists or from columns that mix types"
    if array.dtype.kind in "SU":
        return "; encode text as numbers first"
    if array.dtype.kind == "c":
        return "; give real and imaginary parts as columns"
    return ""


def note_conversion(name: str, array: Array, dtype: np.dtype[Any], notes: list[str] | None) -> None:
    """Say that numbers are converted: in `notes`, and in the log ``fastprop``."""
    import logging  # 10 ms that most programs do not need

    logger = logging.getLogger("fastprop")
    size = array.size * dtype.itemsize
    text = f"{name} was converted from {array.dtype} to {dtype} ({size:,} bytes)"
    if notes is not None:
        notes.append(text)
    if isinstance(array.base, np.memmap) or _is_memory_mapped(array):
        # A converted copy of a file that does not fit into memory is what the user wanted to avoid.
        logger.warning("%s, all of it in memory; save the file as %s to stream it", text, dtype)
    else:
        logger.info("%s", text)


def _is_memory_mapped(array: Array) -> bool:
    import mmap

    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base, mmap.mmap)


def check_finite(name: str, array: Array, original: Any = None) -> None:
    """Raise ``ValueError`` that says where, if a floating array holds NaN or infinity.

    Memory-mapped files are streamed through, so that the check needs no memory.

    Args:
        name: What the array is called in the message.
        array: Anything; integers pass.
        original: What `array` was converted from, to tell an overflow from an infinity.
    """
    if array.dtype.kind != "f" or array.size == 0 or _core.all_finite(array):
        return
    index = np.unravel_index(_core.first_nonfinite(array), array.shape)
    raise ValueError(_nonfinite_message(name, array, index, original))


def _nonfinite_message(name: str, array: Array, index: tuple[Any, ...], original: Any) -> str:
    where = ", ".join(
        f"{axis} {int(i)}"
        for axis, i in zip(["row", "column", *["index"] * array.ndim], index, strict=False)
    )
    value = array[index]
    if isinstance(original, np.ndarray) and original.shape == array.shape:
        source = original[index]
        if np.isfinite(source):
            return f"{name}: {source!r} at {where} is too large for {array.dtype}"
    return (
        f"{name} is {value} at {where}, expected finite numbers "
        "(check_finite=False skips the check)"
    )
