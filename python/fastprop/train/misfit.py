"""Which inputs a model takes, and why it does not take those that it got."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from fastprop.graph.tensor import Tensor
from fastprop.nn.module import Module


def shapes_of(tensors: Sequence[Tensor]) -> str:
    """Shapes of batched Tensors; the number of rows says nothing."""
    if not tensors:
        return "nothing"
    texts = [f"({', '.join(['N', *map(str, t.shape[1:])])})" for t in tensors]
    return texts[0] if len(texts) == 1 else ", ".join(texts)


def misfit(where: str, model: Module, inputs: Sequence[Tensor], error: Exception) -> str:
    """Why the model does not take its inputs, in terms of x where that can be told."""
    width = _width_of_first_layer(model)
    x = inputs[0]
    if len(inputs) == 1 and width is not None:
        if x.ndim == 1:
            return (
                f"{where}: x has 1 axis, the model takes rows of {width} columns; "
                "reshape x to (rows, columns)"
            )
        if x.shape[-1] != width:
            columns = "1 column" if x.shape[-1] == 1 else f"{x.shape[-1]} columns"
            return f"{where}: x has {columns}, the model takes {width}"
    return f"{where}: the model does not take x of shape {shapes_of(inputs)}: {error}"


def _width_of_first_layer(model: Module) -> int | None:
    """Columns that a model takes whose first module says so, as ``Dense`` does."""
    while not hasattr(model, "in_features"):
        first = next(iter(model.children()), None) if type(model).__name__ == "Sequential" else None
        if first is None:
            return None
        model = first
    width = model.in_features
    return int(width) if isinstance(width, int | np.integer) else None


def argument_range(model: Module) -> tuple[int, int | None]:
    """How many inputs ``forward`` takes at least and at most (``None``: any number)."""
    function = getattr(model.forward, "__func__", None)
    if not isinstance(function, FunctionType):
        return _argument_range(model.forward)
    known = _RANGES.get(function)
    if known is None:  # to look it up takes as long as 20 steps of a small network
        known = _RANGES[function] = _argument_range(model.forward)
    return known


_RANGES: WeakKeyDictionary[FunctionType, tuple[int, int | None]] = WeakKeyDictionary()


def _argument_range(forward: Any) -> tuple[int, int | None]:
    parameters = inspect.signature(forward).parameters.values()
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    least = sum(p.default is p.empty for p in positional)
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return least, None
    return least, len(positional)
