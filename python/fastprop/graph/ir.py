"""The instructions of a Program while they are arranged: values, and who reads and writes them."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastprop import _core
from fastprop.graph.op import encode

if TYPE_CHECKING:
    from fastprop.graph.parameter import Buffer, Parameter
    from fastprop.graph.scope import Scope

BATCH = -1
"""Slice key of batched values; other values are keyed by the extent of their first axis."""

ALONE = -2
"""Slice key of an instruction that one thread does for all."""

PARTS = -3
"""Slice key of values that hold one result for each chunk of the batch."""


def columns_key(columns: int) -> int:
    """Slice key of an instruction that is sliced along the last axis of its outputs."""
    return PARTS - columns


def columns_of(key: int) -> int:
    """The extent of that axis; 0 if an instruction is sliced along the first one."""
    return max(PARTS - key, 0)


class Value:
    """A contiguous array inside a Program.

    Attributes:
        shape: Extents; the first one is the capacity if `batched`.
        array: Memory outside the arena (parameter, optimizer state, constant), else None.
        source: Number of the run-time source that it is, else None.
        alias: The value whose memory it shares under another shape, else None.
        parameter: The Parameter or Buffer whose memory it is, if any.
        persistent: Keeps its place in the arena from step to step (packed weights).
        parts: The first axis is that of the chunks of the batch.
        local: Its memory is the thread's, for the rows of one chunk.
        scope: For which module and part of the step it was recorded, if that is known.
        offset: Bytes from the start of the arena, or of the local memory, once planned.
        waits: Of an alias: values that have to be there before anybody reads it.
    """

    __slots__ = (
        "alias",
        "array",
        "batched",
        "dtype",
        "local",
        "offset",
        "parameter",
        "parts",
        "persistent",
        "scope",
        "shape",
        "source",
        "waits",
    )

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        batched: bool = False,
        array: NDArray[Any] | None = None,
        source: int | None = None,
        alias: Value | None = None,
        parameter: Parameter | Buffer | None = None,
        persistent: bool = False,
        scope: Scope | None = None,
        parts: bool = False,
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.batched = batched
        self.array = array
        self.source = source
        self.alias = alias
        self.parameter = parameter
        self.persistent = persistent
        self.scope = scope
        self.parts = parts
        self.local = False
        self.offset = -1
        self.waits: tuple[Value, ...] = ()

    @property
    def base(self) -> Value:
        value = self
        while value.alias is not None:
            value = value.alias
        return value

    def awaited(self) -> list[Value]:
        """What has to be there before this value is read, beside the value itself."""
        found = list(self.waits)
        value = self
        while value.alias is not None:
            value = value.alias
            found += value.waits
        return [v.base for v in found]

    @property
    def in_arena(self) -> bool:
        outside = self.array is not None or self.source is not None or self.alias is not None
        return not (outside or self.local)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def key(self) -> int:
        """Two instructions with one key give each thread the same indices of the first axis."""
        if self.batched or self.parts:
            return BATCH if self.batched else PARTS
        return self.shape[0] if self.shape else 1


@cache
def kernel(name: str) -> tuple[int, tuple[str, ...]]:
    """Code and attribute names of an op in the C++ table."""
    code, attributes = _core.op_info(name)
    return code, tuple(attributes)


class Instruction:
    """One call of a kernel.

    Attributes:
        name: Op in the C++ table.
        own: Positions of the inputs of which a thread reads its own slice only.
        key: How it is sliced; by default as its first output, else see :func:`columns_key`.
        overwrites: It writes memory that held something before (updates, repacking).
        inplace: Positions of the inputs whose place the last output may take, if it has their size.
        when: Which of the step's numbers must not be 0, else it is left out; -1: none.
    """

    __slots__ = (
        "attrs",
        "inplace",
        "inputs",
        "key",
        "name",
        "outputs",
        "overwrites",
        "own",
        "read",
        "when",
        "written",
    )

    def __init__(
        self,
        name: str,
        inputs: list[Value | None],
        outputs: list[Value],
        attrs: dict[str, float],
        own: tuple[int, ...] = (),
        key: int = 0,
        overwrites: bool = False,
        inplace: tuple[int, ...] = (),
        when: int = -1,
    ) -> None:
        self.name = name
        self.inputs = inputs
        self.outputs = outputs
        self.attrs = attrs
        self.own = own
        self.key = key
        self.overwrites = overwrites
        self.inplace = inplace
        self.when = when
        self.read: list[tuple[Value, bool]] | None = None
        self.written: list[Value] | None = None

    # Planning asks many times.

    def reads(self) -> list[tuple[Value, bool]]:
        """Base values that it reads, and whether only its own slice of them."""
        if self.read is None:
            self.read = [
                (v.base, i in self.own) for i, v in enumerate(self.inputs) if v is not None
            ]
        return self.read

    def writes(self) -> list[Value]:
        """Base values that it writes."""
        if self.written is None:
            self.written = [value.base for value in self.outputs]
        return self.written

    def settings(self) -> tuple[Hashable, ...]:
        """All that it is beside its operands."""
        return (
            self.name,
            encode(self.attrs.values()),
            self.own,
            self.key,
            self.overwrites,
            self.inplace,
            self.when,
        )

    def encoded_attrs(self) -> list[float]:
        return [float(self.attrs[name]) for name in kernel(self.name)[1]]


def instruction(
    name: str,
    inputs: Sequence[Value | None],
    outputs: Sequence[Value],
    attrs: dict[str, float] | None = None,
    **options: Any,
) -> Instruction:
    """An Instruction that is sliced as its first output unless a key is given."""
    options.setdefault("key", outputs[0].key)
    return Instruction(name, list(inputs), list(outputs), attrs or {}, **options)


def consumers(instructions: Sequence[Instruction]) -> dict[Value, list[Instruction]]:
    """Who reads each value (not its aliases)."""
    found: dict[Value, list[Instruction]] = {}
    for item in instructions:
        for value in item.inputs:
            if value is not None:
                found.setdefault(value, []).append(item)
    return found
