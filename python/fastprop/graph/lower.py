"""From symbolic Tensors and effects to instructions; equal computations are made once."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprop.graph.ir import ALONE, Instruction, Value, instruction
from fastprop.graph.op import Op, encode, kernel_attributes
from fastprop.graph.ops_shape import AFTER
from fastprop.graph.parameter import Buffer, Parameter
from fastprop.graph.tensor import Tensor
from fastprop.graph.trace import Effect, topological_order

HOST = "host_call"
HOST_UPDATE = "host_update"

_time = attrgetter("time")


class Lowering:
    """Instructions in the order in which they were recorded, and the Value of every Tensor.

    What is overwritten in between is read before or after, as it was recorded.

    Args:
        inputs: Placeholders.
        outputs: What is asked for; what nobody needs is left out.
        effects: What is overwritten.

    Attributes:
        instructions: In that order.
        values: The Value of every Tensor, by its id.
        given: Values that are computed where the array of a run lies that takes them.
    """

    def __init__(
        self, inputs: Sequence[Tensor], outputs: Sequence[Tensor], effects: Sequence[Effect] = ()
    ) -> None:
        self.instructions: list[Instruction] = []
        self.values: dict[int, Value] = {}
        self.given: list[Value] = []
        self._known: dict[tuple[Any, ...], Value] = {}
        self._versions: dict[Value, int] = {}  # how often it was overwritten so far
        self._sources = {id(t): i for i, t in enumerate(inputs)}
        needed = topological_order([*outputs, *(t for e in effects for t in e.inputs)])
        recorded: list[Tensor | Effect] = [t for t in needed if t.op is not None and t.symbolic]
        for item in sorted([*recorded, *effects], key=_time):
            if isinstance(item, Effect):
                self._overwrite(item)
            else:
                self.values[id(item)] = self._lower(item)

    def value(self, tensor: Tensor) -> Value:
        known = self.values.get(id(tensor))
        if known is None:
            source = self._sources.get(id(tensor))
            known = self._leaf(tensor) if source is None else self._source(tensor, source)
            self.values[id(tensor)] = known
        return known

    def _overwrite(self, effect: Effect) -> None:
        inputs = [self.value(t) for t in effect.inputs]
        outputs = [
            self.value(o) if isinstance(o, Tensor) else self._array(o) for o in effect.outputs
        ]
        if effect.name == "copy" and self._give(inputs[0], outputs[0]):
            return
        alone = effect.name == HOST_UPDATE
        same = tuple(i for i, v in enumerate(inputs) if v.shape == outputs[0].shape)
        own, key = ((), ALONE) if alone else (same, outputs[0].key)
        self.instructions.append(
            instruction(
                effect.name,
                inputs,
                outputs,
                effect.attrs,
                own=own,
                key=key,
                overwrites=True,
                when=effect.when,
            )
        )
        for value in outputs:
            self._versions[value.base] = self._versions.get(value.base, 0) + 1

    def _give(self, value: Value, place: Value) -> bool:
        """Compute a value where the array lies into which it would be copied, if that can be."""
        own = value.in_arena and not value.batched and value not in self._versions
        if place.source is None or not own:
            return False
        value.source = place.source
        self.given.append(value)
        return True

    def _lower(self, tensor: Tensor) -> Value:
        assert tensor.op is not None
        inputs = [self.value(t) for t in tensor.inputs]
        if tensor.op.view:
            view = Value(
                tensor.shape, tensor.dtype, tensor.batched, alias=inputs[0], scope=tensor.scope
            )
            if tensor.op is AFTER:
                view.waits = tuple(inputs[1:])
            return view
        attrs = kernel_attributes(tensor.op, tensor.attrs)
        # The spec is part of the identity: broadcast_to and cast have no other attribute.
        versions = (self._versions.get(v.base, 0) for v in inputs)
        when = -1 if tensor.scope is None else tensor.scope.when
        numbers = encode(attrs.values())
        identity = (tensor.op.name, when, tensor.spec, *map(id, inputs), *versions, numbers)
        known = self._known.get(identity)
        if known is not None:
            return known
        out = Value(tensor.shape, tensor.dtype, tensor.batched, scope=tensor.scope)
        own = own_inputs(tensor.op, inputs, out, attrs)
        key = ALONE if tensor.op.name == HOST else out.key
        self.instructions.append(
            instruction(
                tensor.op.name,
                inputs,
                [out],
                attrs,
                own=own,
                key=key,
                when=when,
                inplace=tuple(range(len(inputs))) if tensor.op.inplace else (),
            )
        )
        self._known[identity] = out
        return out

    def _source(self, tensor: Tensor, source: int) -> Value:
        """Rows picked from an array of the run, or that array itself if it is no batch."""
        rows = Value(tensor.shape, tensor.dtype, tensor.batched, source=source)
        if not tensor.batched:
            return rows
        out = Value(tensor.shape, tensor.dtype, True)
        self.instructions.append(instruction("gather_rows", [rows], [out]))
        return out

    def _leaf(self, tensor: Tensor) -> Value:
        if tensor.symbolic:
            raise RuntimeError(
                f"Program: a symbolic Tensor of shape {tensor.shape} is not one of the inputs; "
                "it leaked out of another traced function"
            )
        return self._array(tensor.data, tensor if isinstance(tensor, Parameter | Buffer) else None)

    def _array(self, array: NDArray[Any], parameter: Parameter | Buffer | None = None) -> Value:
        # One array, one Value: a parameter that appears under two Tensors is still one parameter.
        identity = ("array", array.__array_interface__["data"][0], array.shape, array.dtype)
        known = self._known.get(identity) if array.size else None
        if known is not None:
            return known
        if not array.flags.c_contiguous:
            array = np.ascontiguousarray(array)
        value = Value(array.shape, array.dtype, array=array, parameter=parameter)
        self._known[identity] = value
        return value


def own_inputs(
    op: Op, inputs: Sequence[Value], out: Value, attrs: dict[str, float]
) -> tuple[int, ...]:
    """Inputs of which a thread needs only the rows that it computes."""
    rowwise = op.rowwise
    if rowwise.__class__ is not bool and callable(rowwise):
        rowwise = rowwise(attrs)
    if rowwise is False or attrs.get("transpose_a"):
        return ()
    positions = range(len(inputs)) if rowwise is True else rowwise
    return tuple([i for i in positions if i < len(inputs) and _shares_rows(inputs[i], out)])


def _shares_rows(value: Value, out: Value) -> bool:
    if value.batched or out.batched:
        return value.batched and out.batched
    return len(value.shape) == len(out.shape) and value.key == out.key
