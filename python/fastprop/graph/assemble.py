"""Values and instructions as the tuples of numbers that C++ takes."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprop.graph.ir import Instruction, Value, columns_of, kernel

_ARENA, _BUFFER, _SOURCE, _LOCAL = 1, 2, 3, 4

Operand = tuple[int, int, int, str, tuple[int, ...], bool]


@cache
def _dtype_name(dtype: np.dtype[Any]) -> str:
    return str(dtype)


class Assembler:
    """Turns values and instructions into the tuples that C++ takes."""

    def __init__(self) -> None:
        self.buffers: list[NDArray[Any]] = []
        self._numbers: dict[int, int] = {}
        self._operands: dict[Value, Operand] = {}

    def operand(self, value: Value | None) -> Operand | None:
        if value is None:
            return None
        known = self._operands.get(value)
        if known is None:
            known = self._operands[value] = self._operand(value)
        return known

    def _operand(self, value: Value) -> Operand:
        base = value.base
        place, index, offset = _LOCAL if base.local else _ARENA, 0, base.offset
        if base.source is not None:
            place, index, offset = _SOURCE, base.source, 0
        elif base.array is not None:
            place, index, offset = _BUFFER, self._buffer(base.array), 0
        return (place, index, offset, _dtype_name(value.dtype), value.shape, value.batched)

    def instruction(
        self, item: Instruction, barrier: bool, by_chunks: bool = False, strip: int = -1
    ) -> tuple[Any, ...]:
        code, _ = kernel(item.name)
        inputs = [self.operand(v) for v in item.inputs]
        outputs = [self.operand(v) for v in item.outputs]
        attrs = item.encoded_attrs()
        by_columns = columns_of(item.key) > 0
        return (code, inputs, outputs, attrs, barrier, item.when, by_chunks, strip, by_columns)

    def _buffer(self, array: NDArray[Any]) -> int:
        if id(array) not in self._numbers:
            self._numbers[id(array)] = len(self.buffers)
            self.buffers.append(array)
        return self._numbers[id(array)]
