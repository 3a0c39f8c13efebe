"""Sequential models in segments whose values are computed again in the backward pass."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import partial
from typing import Any

from fastprop.graph.checkpoint import checkpoint
from fastprop.nn.containers import Sequential
from fastprop.nn.module import Module
from fastprop.registry import type_name


def checkpoint_sequential(model: Module, segments: int | str, x: Any) -> Any:
    """The output of a Sequential, checkpointed segment by segment.

    Args:
        model: Modules one after the other.
        segments: How many; ``"auto"`` makes :math:`\\sqrt{2 n}` of :math:`n` modules, with which
            the values that live at once come to the least: those between the segments that are
            still to be repeated, and those within the one that is. So later segments are shorter.
        x: The input.

    Raises:
        TypeError: The model is no Sequential, or `segments` no number.
        ValueError: `segments` is not from 1 to the number of modules.
    """
    count = check_segments("checkpoint_sequential", model, segments)
    layers = list(model.children())
    end = 0
    for size in _sizes(len(layers), count):
        end += size
        x = checkpoint(_run, layers[end - size : end], x)
    return x


def _sizes(modules: int, count: int) -> list[int]:
    """Modules of each segment: while one is repeated, its values live beside the inputs of the
    segments before it.
    """
    sizes = [1] * count
    for _ in range(modules - count):
        shortest = min(range(count), key=lambda i: i + sizes[i])
        sizes[shortest] += 1
    return sizes


def in_segments(where: str, model: Module, segments: int | str) -> Callable[[Any], Any]:
    """:func:`checkpoint_sequential` of this model, whose arguments are checked now."""
    return partial(checkpoint_sequential, model, check_segments(where, model, segments))


def _run(layers: list[Module], x: Any) -> Any:
    for layer in layers:
        x = layer(x)
    return x


def check_segments(where: str, model: Module, segments: int | str) -> int:
    """The number of segments of a model; for the errors see :func:`checkpoint_sequential`."""
    if not isinstance(model, Sequential) or type(model).forward is not Sequential.forward:
        raise TypeError(
            f"{where}: segments are those of an nn.Sequential, got {type_name(model)}; call "
            "fastprop.checkpoint in its forward instead"
        )
    if segments == "auto":
        return max(1, min(len(model), round(math.sqrt(2 * len(model)))))
    if isinstance(segments, str | bool):
        raise TypeError(f"{where}: segments must be a number or 'auto', got {segments!r}")
    try:
        count = operator.index(segments)
    except TypeError:
        raise TypeError(f"{where}: segments must be a number or 'auto', got {segments!r}") from None
    if not 1 <= count <= len(model):
        raise ValueError(
            f"{where}: segments must be from 1 to {len(model)}, the modules of the model, "
            f"got {count}"
        )
    return count
