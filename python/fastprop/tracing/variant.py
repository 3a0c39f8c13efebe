"""One Program of a compiled function, and what a call of it means for Tensors outside."""

from __future__ import annotations

from typing import Any

from fastprop import _core
from fastprop.graph.tensor import Tensor
from fastprop.tracing.capture import Capture
from fastprop.tracing.executable import Executable
from fastprop.tracing.history import History
from fastprop.tracing.structure import Leaf, putting_together
from fastprop.tracing.watched import Watched


class Variant:
    """A Program for arguments of one signature, while models and optimizers are as they were.

    Args:
        name: What errors call the function.
        capture: What it does.
        fingerprint: Of `capture`.
        rows: Of the batch that it was traced with; the Program takes up to as many.
        threads: Of the Program; ``None`` chooses.
        watched: What the function read besides its arguments.

    Attributes:
        program: The Program.
        capacity: Most rows of a batch.
        sizes: Numbers of rows for which the function is known to do the same.
    """

    def __init__(
        self,
        name: str,
        capture: Capture,
        fingerprint: tuple[Any, ...],
        rows: int,
        threads: int | None,
        watched: Watched,
    ) -> None:
        self.fingerprint = fingerprint
        self.capacity = rows
        self.sizes = {rows}
        self._executable = Executable(capture, threads)
        self.program = self._executable.program
        results = capture.results if capture.recorded else []
        self._history = History(name, capture, results, capture.trace.effects, threads, self._save)
        self._threads = threads
        self._name = name
        self._capture = capture
        trace = capture.trace
        numbers = dict.fromkeys(trace.numbers)
        settings = [(source, source.attributes(), source.slots) for source in numbers]
        self._looks = (list(trace.modes.values()), settings, watched.places)  # the same in a call
        self._call = self._new_call()

    def serves(self, rows: int) -> bool:
        """Whether it does what the function would do now with so many rows."""
        return self._call.serves(rows)

    def know(self, sizes: set[int]) -> None:
        """For these numbers of rows, too, the function is known to do the same."""
        self.sizes |= sizes
        for rows in sizes:
            self._call.add_size(rows)

    def also_serves(self, capture: Capture, rows: int, watched: Watched) -> None:
        """A new capture, with so many rows, has turned out to do the same."""
        self.sizes.add(rows)
        self._looks = (list(capture.trace.modes.values()), self._looks[1], watched.places)
        if self._call.valid:  # a new one: this one would keep what it has looked at before
            self._call = self._new_call()

    @property
    def call(self) -> _core.TracedCall:
        """What a call does: it runs the Program, and changes Tensors outside as the function does.

        Once somebody has differentiated the results, calls keep what that needs, and this is
        another one.
        """
        if not self._call.valid:
            history = self._history
            self._executable = (
                Executable(self._capture, self._threads, history.saved)
                if self._capture.trace.effects
                else history.saver
            )
            self.program = self._executable.program
            self._call = self._new_call()
        return self._call

    def _new_call(self) -> _core.TracedCall:
        capture, trace = self._capture, self._capture.trace
        positions = {id(t): i for i, t in enumerate(capture.wanted)}

        def found(tensor: Tensor) -> int | Tensor:
            return positions.get(id(tensor), tensor)

        left = ((i, p.grad) for i, p in enumerate(capture.placeholders))
        results = [found(t) for t in capture.results]
        single = isinstance(capture.structure, Leaf)
        call = _core.TracedCall(
            self._executable.run,
            self._history.connection if self._history else None,
            trace.numbers,
            [
                (g.tensor, g.cleared, g.used, None if g.left is None else found(g.left))
                for g in trace.gradients.values()
            ],
            [(i, found(gradient)) for i, gradient in left if gradient is not None],
            results[0] if single else results,
            putting_together(capture.structure),
            self._gradient_error,
            trace.streams > 0,
        )
        call.look(*self._looks)
        for rows in self.sizes:
            call.add_size(rows)
        return call

    def _save(self) -> None:
        """Somebody differentiates the results: calls by the old Program, which keep nothing for
        that, would be repeated by every backward pass."""
        self._call.valid = False

    def _gradient_error(self, tensor: Tensor) -> RuntimeError:
        """A gradient from before would have to be added to the one that an optimizer uses."""
        return RuntimeError(
            f"{self._name}: a parameter of shape {tensor.shape} has a gradient from "
            "before this call, and an optimizer of the function would use it; call "
            "zero_grad() first, in the function or before it"
        )
