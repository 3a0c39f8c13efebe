"""Modules that change shapes only."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastprop import functional as F
from fastprop.graph.tensor import Tensor
from fastprop.nn.module import Module


class Flatten(Module):
    """Every sample as one row: ``[rows, a, b]`` to ``[rows, a * b]``, ``[rows]`` to ``[rows, 1]``.

    Raises:
        ValueError: The input is a scalar.
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, x: Any) -> Tensor:
        if not isinstance(x, Tensor):
            x = Tensor(x)
        if not x.shape:
            raise ValueError("Flatten: expects a batch, got a scalar")
        columns = int(np.prod(x.shape[1:], dtype=np.int64))
        return F.reshape(x, (x.shape[0], columns))
