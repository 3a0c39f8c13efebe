"""A graph as a Program, and the values that a run of it gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprop.graph.op import now
from fastprop.graph.program import Program
from fastprop.graph.tensor import Tensor, constant_array
from fastprop.graph.threads import ThreadChooser
from fastprop.graph.trace import Effect
from fastprop.tracing.capture import Graph

Array = NDArray[Any]


class Call(NamedTuple):
    """What a run computes from, beside parameters and other state.

    Attributes:
        leaves: The arrays among the arguments, as they were given.
        arrays: The same as contiguous arrays.
        rows: Of the batch.
        seed: Of whatever is random.
        number: Of the call, which makes random numbers new ones.
        saved: What it has kept for its derivatives.
    """

    leaves: Sequence[Any]
    arrays: Sequence[Array]
    rows: int
    seed: int
    number: int
    saved: Sequence[Array] = ()


class Executable:
    """A Program that gives what is wanted of a graph.

    Args:
        graph: What it computes.
        threads: Of the Program; ``None`` chooses.
        saved: Values that are given beside those that are wanted.
        effects: Whether it overwrites what the graph overwrites.

    Attributes:
        program: The Program.
    """

    def __init__(
        self,
        graph: Graph,
        threads: int | None,
        saved: Sequence[Tensor] = (),
        *,
        effects: bool = True,
    ) -> None:
        # A run records numbers, stores rows, and writes everything else into arrays of its own.
        self._scalars: list[Tensor] = []
        self._rows: list[Tensor] = []
        self._arrays: list[Tensor] = []
        for tensor in dict.fromkeys([*graph.wanted, *saved]):
            number = tensor.ndim == 0 and tensor.dtype.kind == "f"
            kind = self._scalars if number else self._rows if tensor.batched else self._arrays
            kind.append(tensor)
        given = [t for t in self._arrays if t.size]
        places = [Tensor.placeholder(t.shape, t.dtype) for t in given]
        overwritten = graph.trace.effects if effects else []
        self.program = Program(
            [*graph.placeholders, *places],
            self._scalars,
            self._rows,
            [*overwritten, *(_copy(t, place) for t, place in zip(given, places, strict=True))],
            step_numbers=graph.trace.width if effects else 0,
            threads=threads,
            packed=False,
        )
        self._chooser = ThreadChooser(self.program.threads, fixed=threads is not None)
        outputs = [o for e in overwritten for o in e.outputs]
        self._changed = list({id(o): o for o in outputs if isinstance(o, Tensor)}.values())

    def run(self, call: Call, numbers: NDArray[np.float64] | None = None) -> dict[int, Tensor]:
        """What the Program computes, by the id of the symbolic Tensor."""
        arrays = [np.empty(t.shape, t.dtype) for t in self._arrays]
        sources = [*call.arrays, *(array for array in arrays if array.size)]
        result = self._chooser.run(
            self.program, sources, call.rows, call.rows, numbers, call.number, call.seed
        )
        if result.stopped == "interrupt":
            raise result.error or KeyboardInterrupt
        for tensor in self._changed:
            tensor.mark_changed()
        values: dict[int, Tensor] = {}
        for i, tensor in enumerate(self._scalars):
            number = np.asarray(result.values[0, i], dtype=tensor.dtype)
            values[id(tensor)] = constant_array(number)
        for tensor, array in zip(self._rows, result.rows, strict=True):
            values[id(tensor)] = constant_array(array)
        for tensor, array in zip(self._arrays, arrays, strict=True):
            values[id(tensor)] = constant_array(array)
        return values


def _copy(tensor: Tensor, place: Tensor) -> Effect:
    return Effect("copy", (tensor,), (place,), {}, now())
