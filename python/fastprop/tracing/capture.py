"""One call of a function on symbolic Tensors, and what it amounts to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from fastprop.graph.autodiff import topological_order
from fastprop.graph.effects import effect
from fastprop.graph.op import Spec, kernel_attributes
from fastprop.graph.parameter import Buffer, Parameter
from fastprop.graph.tensor import Tensor
from fastprop.graph.trace import Effect, no_value, tracing
from fastprop.tracing.structure import Structure, take_apart


class Argument(NamedTuple):
    """What an array among the arguments looks like.

    Attributes:
        spec: Its shape and dtype, and whether its first axis is the batch.
        requires_grad: Whether the function may differentiate by it without more ado.
    """

    spec: Spec
    requires_grad: bool


class Stored(NamedTuple):
    """A result that a Program leaves in an array: one that is neither a batch nor a number."""

    tensor: Tensor
    array: np.ndarray[Any, Any]


class Capture:
    """What a function did with symbolic arguments.

    Attributes:
        trace: Its effects, optimizers, gradients, and modes of modules.
        placeholders: The symbolic arguments.
        structure: Of its result.
        results: The Tensors in it.
        scalars: What a run has to record: results and gradients that are one floating number each.
        rows: Those with one row for each row of the batch.
        arrays: All others.
    """

    def __init__(self, function: Callable[[list[Tensor]], Any], args: Sequence[Argument]) -> None:
        self.placeholders = [_placeholder(a) for a in args]
        self.results: list[Tensor] = []
        self.scalars: list[Tensor] = []
        self.rows: list[Tensor] = []
        self.arrays: list[Stored] = []
        with tracing() as self.trace:
            result = function(self.placeholders)
            self.structure: Structure = take_apart(result, _is_tensor, self.results)
            for gradient in self.trace.gradients.values():
                gradient.left = gradient.tensor.grad
            left = [g.left for g in self.trace.gradients.values() if not g.used]
            left += [p.grad for p in self.placeholders]
            wanted = [t for t in (*self.results, *left) if t is not None and t.symbolic]
            for tensor in dict.fromkeys(wanted):
                self._sort(tensor)

    def _sort(self, tensor: Tensor) -> None:
        if tensor.batched:
            self.rows.append(tensor)
        elif tensor.ndim == 0 and tensor.dtype.kind == "f":
            self.scalars.append(tensor)
        else:
            stored = Stored(tensor, np.empty(tensor.shape, tensor.dtype))
            self.arrays.append(stored)
            if tensor.size:
                effect("copy", [tensor], [stored.array])

    @property
    def differentiable(self) -> list[Tensor]:
        """Results that depend on something that requires a gradient."""
        return [t for t in self.results if t.symbolic and t.requires_grad]

    def fingerprint(self) -> tuple[Any, ...]:
        """The same for two captures that compute the same, whatever their numbers of rows."""
        return _Print(self).lines()


def _placeholder(argument: Argument) -> Tensor:
    spec = argument.spec
    tensor = Tensor.placeholder(spec.shape, spec.dtype, batched=spec.batched)
    tensor.requires_grad = argument.requires_grad
    return tensor


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _address(array: np.ndarray[Any, Any]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


class _Print:
    """A capture written down so that two of the same meaning read the same."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        self._names: dict[int, Any] = {id(p): ("in", i) for i, p in enumerate(capture.placeholders)}
        self._results = {_address(s.array): i for i, s in enumerate(capture.arrays)}
        self._written = {
            _address(o if isinstance(o, np.ndarray) else o.data)
            for e in capture.trace.effects
            for o in e.outputs
        }

    def lines(self) -> tuple[Any, ...]:
        capture, effects = self._capture, self._capture.trace.effects
        wanted = [*capture.scalars, *capture.rows]
        needed = topological_order([*wanted, *(t for e in effects for t in e.inputs)])
        recorded: list[Tensor | Effect] = [t for t in needed if t.op is not None]
        lines: list[Any] = []
        for item in sorted([*recorded, *effects], key=attrgetter("time")):
            inputs = tuple(self._name(t) for t in item.inputs)
            if isinstance(item, Effect):
                made = tuple(map(self._output, item.outputs))
                lines.append((item.name, inputs, made, tuple(item.attrs.items())))
            else:
                assert item.op is not None
                attrs = () if item.op.view else kernel_attributes(item.op, item.attrs).values()
                lines.append((item.op.name, inputs, _look(item.spec), *attrs))
                self._names[id(item)] = len(lines)
        return (*lines, tuple(map(self._name, wanted)), tuple(map(id, capture.trace.numbers)))

    def _output(self, output: Tensor | np.ndarray[Any, Any]) -> Any:
        if isinstance(output, Tensor):
            return self._name(output)
        return ("result", self._results.get(_address(output), _address(output)))

    def _name(self, tensor: Tensor) -> Any:
        known = self._names.get(id(tensor))
        if known is None:
            known = self._names[id(tensor)] = self._leaf(tensor)
        return known

    def _leaf(self, tensor: Tensor) -> Any:
        if tensor.symbolic:
            raise no_value(tensor.shape)  # of another trace
        array = tensor.data
        if isinstance(tensor, Parameter | Buffer) or _address(array) in self._written:
            return ("state", _address(array), _look(tensor.spec))
        return ("constant", array.tobytes(), _look(tensor.spec))


def _look(spec: Spec) -> tuple[Any, ...]:
    shape = ("batch", *spec.shape[1:]) if spec.batched else spec.shape
    return (shape, spec.dtype.char)
