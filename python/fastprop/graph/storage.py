"""One flat aligned buffer for all parameters of a model, one for each kind of optimizer state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from fastprop import _core
from fastprop.graph.parameter import Parameter


def flat_views(like: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """Zeroed arrays of the same shapes and dtypes, one behind the other in one buffer.

    Each begins on a cache line.
    """
    return _core.flat_views(like)


def flatten(parameters: Sequence[Parameter]) -> None:
    """Move parameters into one buffer; those that are in one already stay where they are."""
    moving = [p for p in dict.fromkeys(parameters) if not p.stored]
    for parameter, view in zip(moving, flat_views([p.data for p in moving]), strict=True):
        parameter.move_to(view)
