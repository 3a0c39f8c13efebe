"""One call of a function on symbolic Tensors, and what it amounts to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from types import GeneratorType
from typing import Any, NamedTuple

import numpy as np

from fastprop.graph.op import Spec, encode, is_grad_enabled, kernel_attributes
from fastprop.graph.parameter import Buffer, Parameter
from fastprop.graph.tensor import Tensor
from fastprop.graph.trace import (
    Effect,
    Trace,
    TraceError,
    no_value,
    topological_order,
    tracing,
)
from fastprop.tracing.structure import Structure, constants, look, take_apart


class Argument(NamedTuple):
    """What an array among the arguments looks like.

    Attributes:
        spec: Its shape and dtype, and whether its first axis is the batch.
        requires_grad: Whether the function may differentiate by it without more ado.
    """

    spec: Spec
    requires_grad: bool


class Graph:
    """Symbolic arguments, and what is computed from them.

    Attributes:
        trace: What was recorded beside the graph.
        placeholders: The symbolic arguments.
        wanted: What a run has to give, once each.
    """

    trace: Trace

    def __init__(self, placeholders: list[Tensor]) -> None:
        self.placeholders = placeholders
        self.wanted: list[Tensor] = []

    def want(self, tensors: Iterable[Tensor | None]) -> None:
        """Have a run give the values of these, where they are not known yet."""
        self.wanted = [*dict.fromkeys(t for t in tensors if t is not None and t.symbolic)]


class Capture(Graph):
    """What a function did with symbolic arguments.

    Attributes:
        structure: Of its result.
        results: The Tensors in it.
        recorded: Whether derivatives were.
        read: By their ids all Tensors that a run reads; known with the fingerprint.
    """

    read: dict[int, Any]

    def __init__(self, function: Callable[[list[Tensor]], Any], args: Sequence[Argument]) -> None:
        super().__init__([_placeholder(a) for a in args])
        self.results: list[Tensor] = []
        self.recorded = is_grad_enabled()
        with tracing(as_eager=True) as self.trace:
            result = function(self.placeholders)
            self.structure: Structure = take_apart(result, _is_tensor, self.results)
            for constant in constants(self.structure):
                _refuse_hidden(constant.value)
            for gradient in self.trace.gradients.values():
                gradient.left = gradient.tensor.grad
            left = [g.left for g in self.trace.gradients.values() if not g.used]
            left += [p.grad for p in self.placeholders]
            self.want([*self.results, *left])

    def fingerprint(self) -> tuple[Any, ...]:
        """The same for two captures that compute the same, whatever their numbers of rows."""
        written = _Print(self)
        lines = written.lines()
        self.read = written.read()
        return lines


def _placeholder(argument: Argument) -> Tensor:
    spec = argument.spec
    tensor = Tensor.placeholder(spec.shape, spec.dtype, batched=spec.batched)
    tensor.requires_grad = argument.requires_grad
    return tensor


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _refuse_hidden(value: Any) -> None:
    """Tensors in what is no container have no value outside of the trace."""
    held = value if isinstance(value, set | frozenset) else getattr(value, "__dict__", {}).values()
    if isinstance(value, GeneratorType) or any(_is_tensor(t) and t.symbolic for t in held):
        raise TraceError(
            f"compile: the function returns a {type(value).__name__} that holds Tensors, which "
            "have values only when the Program runs; return them in tuples, lists, dicts or "
            "dataclasses"
        )


def address(array: np.ndarray[Any, Any]) -> int:
    """Where the data lie."""
    pointer: int = array.__array_interface__["data"][0]
    return pointer


class _Print:
    """A capture written down so that two of the same meaning read the same."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        self._names: dict[int, Any] = {id(p): ("in", i) for i, p in enumerate(capture.placeholders)}
        self._addresses: dict[int, int] = {}
        outputs = (o for e in capture.trace.effects for o in e.outputs)
        self._written = {self._address(o._data if isinstance(o, Tensor) else o) for o in outputs}

    def lines(self) -> tuple[Any, ...]:
        capture, effects = self._capture, self._capture.trace.effects
        wanted = capture.wanted
        needed = topological_order([*wanted, *(t for e in effects for t in e.inputs)])
        recorded: list[Tensor | Effect] = [t for t in needed if t.op is not None and t.symbolic]
        lines: list[Any] = []
        for item in sorted([*recorded, *effects], key=attrgetter("time")):
            inputs = tuple(self._name(t) for t in item.inputs)
            if isinstance(item, Effect):
                made = tuple(map(self._output, item.outputs))
                lines.append((item.name, inputs, made, encode(item.attrs.values())))
            else:
                assert item.op is not None
                attrs = {} if item.op.view else kernel_attributes(item.op, item.attrs)
                lines.append((item.op.name, inputs, _look(item), encode(attrs.values())))
                self._names[id(item)] = len(lines)
        numbers = tuple(map(id, capture.trace.numbers))
        return (*lines, tuple(map(self._name, wanted)), numbers, look(capture.structure))

    def read(self) -> dict[int, Any]:
        """The names of all Tensors that were written down."""
        return self._names

    def _output(self, output: Tensor | np.ndarray[Any, Any]) -> Any:
        return self._name(output) if isinstance(output, Tensor) else self._address(output)

    def _name(self, tensor: Tensor) -> Any:
        known = self._names.get(id(tensor))
        if known is None:
            known = self._names[id(tensor)] = self._leaf(tensor)
        return known

    def _leaf(self, tensor: Tensor) -> Any:
        if tensor.symbolic:
            raise no_value(tensor.shape)  # of another trace
        place = self._address(tensor._data)
        if isinstance(tensor, Parameter | Buffer) or place in self._written:
            return ("state", place, _look(tensor))
        return ("constant", tensor.data.tobytes(), _look(tensor))

    def _address(self, array: np.ndarray[Any, Any] | None) -> int:
        """:func:`address`, which takes 1 µs, once for each array."""
        assert array is not None
        known = self._addresses.get(id(array))
        if known is None:
            known = self._addresses[id(array)] = address(array)
        return known


def _look(tensor: Tensor) -> tuple[Any, ...]:
    shape, dtype, batched = tensor.spec
    return (("batch", *shape[1:]) if batched else shape, dtype.char, tensor.requires_grad)
