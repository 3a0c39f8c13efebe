"""One flat aligned buffer for all parameters of a model, one for each kind of optimizer state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprop.graph.parameter import Parameter

ALIGNMENT = 64


def aligned_zeros(nbytes: int) -> NDArray[np.uint8]:
    """Zeroed bytes that start on a cache line."""
    raw = np.zeros(nbytes + ALIGNMENT, np.uint8)
    start = -raw.__array_interface__["data"][0] % ALIGNMENT
    return raw[start : start + nbytes]


def flat_views(like: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """Zeroed arrays of the same shapes and dtypes, one behind the other in one buffer."""
    sizes = [-(-a.nbytes // ALIGNMENT) * ALIGNMENT for a in like]
    flat = aligned_zeros(sum(sizes))
    views = []
    start = 0
    for array, size in zip(like, sizes, strict=True):
        views.append(flat[start : start + array.nbytes].view(array.dtype).reshape(array.shape))
        start += size
    return views


def flatten(parameters: Sequence[Parameter]) -> None:
    """Move parameters into one buffer; those that are in one already stay where they are."""
    moving = [p for p in dict.fromkeys(parameters) if not p.stored]
    for parameter, view in zip(moving, flat_views([p.data for p in moving]), strict=True):
        parameter.move_to(view)
