"""From symbolic Tensors to instructions, one each; equal computations are made once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastprop.graph.autodiff import topological_order
from fastprop.graph.ir import Instruction, Value, instruction
from fastprop.graph.op import Op, kernel_attributes
from fastprop.graph.parameter import Parameter
from fastprop.graph.tensor import Tensor


class Lowering:
    """Instructions in the order of their dependencies, and the Value of every Tensor."""

    def __init__(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        self.instructions: list[Instruction] = []
        self.values: dict[int, Value] = {}
        self._known: dict[tuple[Any, ...], Value] = {}
        self._sources = {id(t): i for i, t in enumerate(inputs)}
        for tensor in topological_order(outputs):
            if id(tensor) not in self.values:
                self.values[id(tensor)] = self._lower(tensor)

    def value(self, tensor: Tensor) -> Value:
        return self.values[id(tensor)]

    def _lower(self, tensor: Tensor) -> Value:
        if id(tensor) in self._sources:
            return self._gather(tensor, self._sources[id(tensor)])
        if tensor.op is None:
            return self._leaf(tensor)
        inputs = [self.value(t) for t in tensor.inputs]
        if tensor.op.view is not None:
            return Value(
                tensor.shape, tensor.dtype, tensor.batched, alias=inputs[0], scope=tensor.scope
            )
        attrs = kernel_attributes(tensor.op, tensor.attrs)
        # The spec is part of the identity: broadcast_to and cast have no other attribute.
        identity = (tensor.op.name, tensor.spec, *map(id, inputs), *attrs.values())
        known = self._known.get(identity)
        if known is not None:
            return known
        out = Value(tensor.shape, tensor.dtype, tensor.batched, scope=tensor.scope)
        own = own_inputs(tensor.op, inputs, out, attrs)
        self.instructions.append(
            instruction(tensor.op.name, inputs, [out], attrs, own=own, inplace=tensor.op.inplace)
        )
        self._known[identity] = out
        return out

    def _gather(self, tensor: Tensor, source: int) -> Value:
        out = Value(tensor.shape, tensor.dtype, True)
        rows = Value(tensor.shape, tensor.dtype, False, source=source)
        self.instructions.append(instruction("gather_rows", [rows], [out]))
        return out

    def _leaf(self, tensor: Tensor) -> Value:
        if tensor.symbolic:
            raise RuntimeError(
                f"Program: a symbolic Tensor of shape {tensor.shape} is not one of the inputs; "
                "it leaked out of another traced function"
            )
        array = tensor.data
        # One array, one Value: a parameter that appears under two Tensors is still one parameter.
        identity = ("array", array.__array_interface__["data"][0], array.shape, array.dtype.str)
        if array.size and identity in self._known:
            return self._known[identity]
        value = Value(
            tensor.shape,
            tensor.dtype,
            array=np.ascontiguousarray(array),
            parameter=tensor if isinstance(tensor, Parameter) else None,
        )
        self._known[identity] = value
        return value


def own_inputs(
    op: Op, inputs: Sequence[Value], out: Value, attrs: dict[str, float]
) -> tuple[int, ...]:
    """Inputs of which a thread needs only the rows that it computes."""
    rowwise = op.rowwise(attrs) if callable(op.rowwise) else op.rowwise
    if rowwise is False or attrs.get("transpose_a"):
        return ()
    positions = range(len(inputs)) if rowwise is True else rowwise
    return tuple(i for i in positions if i < len(inputs) and _shares_rows(inputs[i], out))


def _shares_rows(value: Value, out: Value) -> bool:
    if value.batched or out.batched:
        return value.batched and out.batched
    return len(value.shape) == len(out.shape) and value.key == out.key
