"""One Program of a compiled function, and what a call of it means for Tensors outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastprop.graph.changes import CHANGES
from fastprop.graph.tensor import Tensor
from fastprop.graph.trace import Gradient, StepNumbers
from fastprop.tracing.capture import Capture
from fastprop.tracing.executable import Call, Executable, Values
from fastprop.tracing.history import History
from fastprop.tracing.structure import Leaf, put_together
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
        self._watched = watched
        self.capacity = rows
        self.sizes = {rows}
        self._executable = Executable(capture, threads)
        self.program = self._executable.program
        results = capture.results if capture.recorded else []
        self._history = History(name, capture, results, capture.trace.effects, threads, saves=True)
        self._threads = threads
        self._saving = False
        self._name = name
        self._capture = capture
        self._single = capture.results[0] if isinstance(capture.structure, Leaf) else None
        left = ((i, p.grad) for i, p in enumerate(capture.placeholders))
        self._gradients = [(i, gradient) for i, gradient in left if gradient is not None]
        self._look()

    def _look(self) -> None:
        """Remember what has to be the same in a call."""
        self._changes = CHANGES.latest
        self._modes = list(self._capture.trace.modes.values())
        numbers = dict.fromkeys(self._capture.trace.numbers)
        self._settings = [(source, source.attributes(), source.slots) for source in numbers]

    def serves(self, rows: int) -> bool:
        """Whether it does what the function would do now with so many rows."""
        if rows not in self.sizes or self._changes != CHANGES.latest:
            return False
        for module, mode in self._modes:
            if module.training is not mode:
                return False
        if not self._watched.same():
            return False
        return not self._settings or all(
            s.attributes() == values and s.slots == slots for s, values, slots in self._settings
        )

    def also_serves(self, capture: Capture, rows: int, watched: Watched) -> None:
        """A new capture, with so many rows, has turned out to do the same."""
        self.sizes.add(rows)
        self._watched = watched
        self._changes = CHANGES.latest
        self._modes = list(capture.trace.modes.values())

    def run(self, call: Call) -> Any:
        """Run the Program, and do what the function does to Tensors outside it."""
        capture = self._capture
        history = self._history
        if history.saved and not self._saving:
            self._save()
        values, saved = self._run(call)
        for i, gradient in self._gradients:
            leaf = call.leaves[i]
            if isinstance(leaf, Tensor):
                _add_gradient(leaf, values[id(gradient)])
        if history:
            history.connect(values, call, saved)
        if self._single is not None:
            return values.get(id(self._single), self._single)
        results = (values.get(id(t), t) for t in capture.results)
        return put_together(capture.structure, results)

    def _run(self, call: Call) -> Values:
        """Run the Program, with what its optimizers need and with what becomes of gradients."""
        trace = self._capture.trace
        if not (trace.gradients or trace.numbers):
            return self._executable.run(call)
        gradients = trace.gradients.values()
        for gradient in gradients:
            self._check(gradient)
        numbers, counts = _row_of_numbers(trace.numbers)
        values = self._executable.run(call, (), numbers)
        for source, count in counts.items():
            source.steps += count
        for gradient in gradients:
            _settle(gradient, values.wanted)
        return values

    def _save(self) -> None:
        """Somebody differentiates the results: from now on a call keeps what that needs."""
        self._saving = True
        history = self._history
        self._executable = (
            Executable(self._capture, self._threads, history.saved)
            if self._capture.trace.effects
            else history.saver
        )
        self.program = self._executable.program

    def _check(self, gradient: Gradient) -> None:
        """A gradient from before would have to be added to the one that an optimizer uses."""
        if gradient.used and not gradient.cleared and gradient.tensor.grad is not None:
            raise RuntimeError(
                f"{self._name}: a parameter of shape {gradient.tensor.shape} has a gradient from "
                "before this call, and an optimizer of the function would use it; call "
                "zero_grad() first, in the function or before it"
            )


def _row_of_numbers(
    sources: Sequence[StepNumbers],
) -> tuple[np.ndarray[Any, np.dtype[np.float64]] | None, dict[StepNumbers, int]]:
    """What the optimizers give for the next step of each, and how many steps those are."""
    counts: dict[StepNumbers, int] = {}
    parts = []
    for source in sources:
        done = counts.get(source, 0)
        parts.append(source.step_scalars(source.steps + done, 1))
        counts[source] = done + 1
    if len(parts) == 1:
        return parts[0], counts
    return (np.concatenate(parts, axis=1) if parts else None), counts


def _settle(gradient: Gradient, values: dict[int, Tensor]) -> None:
    """What the function does to the ``grad`` of a Tensor that lives on."""
    if gradient.cleared or gradient.left is None:
        gradient.tensor.grad = None
    if gradient.left is not None and not gradient.used:
        _add_gradient(gradient.tensor, values.get(id(gradient.left), gradient.left))


def _add_gradient(tensor: Tensor, value: Tensor) -> None:
    tensor.grad = value if tensor.grad is None else tensor.grad + value
