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
    """

    leaves: Sequence[Any]
    arrays: Sequence[Array]
    rows: int
    seed: int
    number: int


class Values(NamedTuple):
    """What a run has given.

    Attributes:
        wanted: By the id of the symbolic Tensor.
        saved: Arrays for derivatives, if it was asked for them.
    """

    wanted: dict[int, Tensor]
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
        scalars: list[Tensor] = []
        rows: list[Tensor] = []
        arrays: list[Tensor] = []
        for tensor in dict.fromkeys([*graph.wanted, *saved]):
            number = tensor.ndim == 0 and tensor.dtype.kind == "f"
            (scalars if number else rows if tensor.batched else arrays).append(tensor)
        arrays.sort(key=lambda t: not t.size)  # those without memory come last: no run takes them
        given = [t for t in arrays if t.size]
        places = [Tensor.placeholder(t.shape, t.dtype) for t in given]
        self._scalars = [t.dtype for t in scalars]
        self._looks = [(t.shape, t.dtype) for t in arrays]
        self._given = len(given)
        positions = {id(t): i for i, t in enumerate([*scalars, *rows, *arrays])}
        self._wanted = [(id(t), positions[id(t)]) for t in dict.fromkeys(graph.wanted)]
        self._saved = [positions[id(t)] for t in saved]
        overwritten = graph.trace.effects if effects else []
        self.program = Program(
            [*graph.placeholders, *places],
            scalars,
            rows,
            [*overwritten, *(_copy(t, place) for t, place in zip(given, places, strict=True))],
            step_numbers=graph.trace.width if effects else 0,
            threads=threads,
            packed=False,
        )
        self._chooser = ThreadChooser(self.program.threads, fixed=threads is not None)
        outputs = [o for e in overwritten for o in e.outputs]
        self._changed = list({id(o): o for o in outputs if isinstance(o, Tensor)}.values())

    def run(
        self, call: Call, more: Sequence[Array] = (), numbers: NDArray[np.float64] | None = None
    ) -> Values:
        """What the Program computes.

        Args:
            call: What from.
            more: Arrays that the graph takes beside those of the call.
            numbers: Of the optimizers' steps.
        """
        program, chooser = self.program, self._chooser
        arrays = [np.empty(shape, dtype) for shape, dtype in self._looks]
        sources = [*call.arrays, *more, *arrays[: self._given]]
        rows = call.rows
        if chooser.choosing:
            result = chooser.run(program, sources, rows, rows, numbers, call.number, call.seed)
        else:
            result = program.run(sources, rows, rows, numbers, call.number, call.seed)
        if result.stopped == "interrupt":
            raise result.error or KeyboardInterrupt
        for tensor in self._changed:
            tensor.mark_changed()
        found = [np.asarray(result.values[0, i], dtype=d) for i, d in enumerate(self._scalars)]
        found += result.rows
        found += arrays
        wanted = {name: constant_array(found[i]) for name, i in self._wanted}
        return Values(wanted, [found[i] for i in self._saved])


def _copy(tensor: Tensor, place: Tensor) -> Effect:
    return Effect("copy", (tensor,), (place,), {}, now())
