"""A graph as a Program, and the values that a run of it gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprop.graph.program import Program
from fastprop.graph.tensor import Tensor, constant_array
from fastprop.graph.threads import ThreadChooser
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
    """

    leaves: Sequence[Any]
    arrays: Sequence[Array]
    rows: int
    seed: int
    number: int


class Executable:
    """A Program that gives what is wanted of a graph.

    Args:
        graph: What it computes.
        threads: Of the Program; ``None`` chooses.

    Attributes:
        program: The Program.
    """

    def __init__(self, graph: Graph, threads: int | None) -> None:
        self.program = Program(
            graph.placeholders,
            graph.scalars,
            graph.rows,
            effects=graph.trace.effects,
            step_numbers=graph.trace.width,
            threads=threads,
            packed=False,
        )
        self._graph = graph
        self._chooser = ThreadChooser(self.program.threads, fixed=threads is not None)
        outputs = [o for e in graph.trace.effects for o in e.outputs]
        self._changed = list({id(o): o for o in outputs if isinstance(o, Tensor)}.values())

    def run(self, call: Call, numbers: NDArray[np.float64] | None = None) -> dict[int, Tensor]:
        """What the Program computes, by the id of the symbolic Tensor."""
        result = self._chooser.run(
            self.program, call.arrays, call.rows, call.rows, numbers, call.number, call.seed
        )
        if result.stopped == "interrupt":
            raise result.error or KeyboardInterrupt
        for tensor in self._changed:
            tensor.mark_changed()
        graph = self._graph
        values: dict[int, Tensor] = {}
        for i, tensor in enumerate(graph.scalars):
            number = np.asarray(result.values[0, i], dtype=tensor.dtype)
            values[id(tensor)] = constant_array(number)
        for tensor, array in zip(graph.rows, result.rows, strict=True):
            values[id(tensor)] = constant_array(array)
        for stored in graph.arrays:
            values[id(stored.tensor)] = constant_array(stored.array.copy())
        return values
