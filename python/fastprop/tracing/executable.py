"""A graph as a Program, and the values that a run of it gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from fastprop import _core
from fastprop.graph.changes import CHANGES
from fastprop.graph.effects import SUPPRESSED
from fastprop.graph.op import Spec, now
from fastprop.graph.program import Program
from fastprop.graph.tensor import Tensor
from fastprop.graph.threads import ThreadChooser
from fastprop.graph.trace import Effect
from fastprop.random import default_generator
from fastprop.tracing.capture import Graph

Array = NDArray[Any]


class Call(NamedTuple):
    """What a run computes from, beside parameters and other state. C++ makes and reads these.

    Attributes:
        leaves: The arrays among the arguments, as they were given.
        arrays: The same as contiguous arrays.
        rows: Of the batch.
        seed: Of whatever is random.
        number: Makes random numbers new ones: of the call, or of a stream of the default generator.
    """

    leaves: tuple[Any, ...]
    arrays: tuple[Array, ...]
    rows: int
    seed: int
    number: int


_core.bind_compiled(Call, SUPPRESSED, CHANGES, lambda: default_generator().next_stream())


class Executable:
    """A Program that gives what is wanted of a graph.

    Args:
        graph: What it computes.
        threads: Of the Program; ``None`` chooses.
        saved: Values that are given beside those that are wanted.
        effects: Whether it overwrites what the graph overwrites.

    Attributes:
        program: The Program.
        run: What C++ runs; a run gives the values of ``graph.wanted``, in that order.
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
        outputs = [*scalars, *rows, *arrays]
        positions = {id(t): i for i, t in enumerate(outputs)}
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
        written = [o for e in overwritten for o in e.outputs]
        changed = list({id(o): o for o in written if isinstance(o, Tensor)}.values())
        self.run = _core.Executable(
            self.program,
            ThreadChooser(self.program.threads, fixed=threads is not None),
            [_core.share_spec(Spec(t.shape, t.dtype)) for t in outputs],
            len(scalars),
            len(rows),
            len(given),
            [positions[id(t)] for t in graph.wanted],
            [positions[id(t)] for t in saved],
            changed,
        )


def _copy(tensor: Tensor, place: Tensor) -> Effect:
    return Effect("copy", (tensor,), (place,), {}, now())
