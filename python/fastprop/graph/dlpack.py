"""Arrays of other libraries as Tensors, without a copy."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastprop.graph.tensor import DTYPES, Tensor


def from_dlpack(source: Any) -> Tensor:
    """A Tensor that shares the memory of another library's array (any with ``__dlpack__``).

    Raises:
        TypeError: `source` has no ``__dlpack__``, or a dtype that Tensors do not have.
        ValueError: Its elements are not contiguous in row-major order.
    """
    if not hasattr(source, "__dlpack__"):
        raise TypeError(f"from_dlpack: expects an object with __dlpack__, got {type(source)}")
    array = np.from_dlpack(source)
    if array.dtype not in DTYPES:
        raise TypeError(
            f"from_dlpack: dtype must be float32, float64 or int64, got {array.dtype}; convert it "
            "there, or here with fp.tensor, which copies"
        )
    if not array.flags.c_contiguous:
        raise ValueError(
            f"from_dlpack: expects contiguous elements, got shape {array.shape} with strides "
            f"{array.strides}; make them so there, or use fp.tensor, which copies"
        )
    return Tensor(array)
