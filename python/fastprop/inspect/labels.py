"""Which layer and which phase of a step an instruction belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

from fastprop.graph.ir import Instruction, Value, consumers
from fastprop.registry import type_name

if TYPE_CHECKING:
    from fastprop.graph.program import Program
    from fastprop.nn import Module

_DATA, _OPTIMIZER = "data", "optimizer"


class Label(NamedTuple):
    """A layer such as ``"0 Dense 784→512"``, or another part of a step, and one of ``PHASES``."""

    layer: str
    phase: str


class Labels:
    """Names the instructions of one Program in the terms of one model.

    An instruction that reads a parameter, or makes or uses its gradient, belongs to the parameter's
    module; every other one to the module in whose ``forward`` it was recorded.

    Args:
        program: A training Program.
        model: The model that it trains.

    Attributes:
        all: The label of every instruction.
        layers: The layers among them: from the data through the model's modules to the loss.
    """

    def __init__(self, program: Program, model: Module) -> None:
        self._layers = {id(m): _layer_name(path, m) for path, m in model.named_modules()}
        self._owners = {
            id(p): self._layers[id(m)]
            for m in model.modules()
            for p in (*m._parameters.values(), *m._buffers.values())
        }
        self._packed = _packed_parameters([*program.prologue, *program.instructions])
        self._gradients = _gradients(program.instructions)
        self._readers = consumers(program.instructions)
        self.all = [self._label(item) for item in program.instructions]
        known = [_DATA, *self._layers.values(), "loss", "metrics", _OPTIMIZER]
        place = {layer: i for i, layer in enumerate(known)}
        labelled = dict.fromkeys(label.layer for label in self.all)
        self.layers = tuple(sorted(labelled, key=lambda layer: place.get(layer, len(known))))

    def _label(self, item: Instruction) -> Label:
        out = item.outputs[0]
        if item.name == "gather_rows":
            return Label(_DATA, "gather")
        if item.overwrites and not item.name.startswith("pack"):
            return Label(self._owner(out.parameter, _OPTIMIZER), "update")
        if item.name.startswith("pack"):
            return Label(self._owner(self._parameter_of(item), self._recorded(item)[0]), "pack")
        gradient_of = self._gradients.get(out.base)
        if gradient_of is not None:
            phase = "dW" if len(gradient_of.shape) > 1 else "db"
            return Label(self._owner(gradient_of, _OPTIMIZER), phase)
        layer, phase = self._recorded(item)
        read = next((p for p in map(self._parameter, item.inputs) if p is not None), None)
        return Label(layer if read is None else self._owner(read, layer), phase)

    def _recorded(self, item: Instruction) -> tuple[str, str]:
        """What the op was recorded for; for instructions that the planner added, its inputs."""
        values = [*item.outputs, *(v for v in item.inputs if v is not None)]
        scope = next((v.scope for v in values if v.scope is not None), None)
        if scope is None:
            return _OPTIMIZER if self._reads_gradient(item) else _DATA, "other"
        if scope.module is None:
            return scope.phase, scope.phase
        phase = "dx" if scope.phase == "backward" else "forward"
        return self._layers.get(id(scope.module), type_name(scope.module)), phase

    def _reads_gradient(self, item: Instruction) -> bool:
        return any(v is not None and v.base in self._gradients for v in item.inputs)

    def _parameter_of(self, packing: Instruction) -> Any:
        """The parameter that is packed, or for whose gradient rows are packed."""
        found = self._parameter(packing.inputs[0])
        if found is not None:
            return found
        for reader in self._readers.get(packing.outputs[0], ()):
            gradient_of = self._gradients.get(reader.outputs[0].base)
            if gradient_of is not None:
                return gradient_of
        return None

    def _parameter(self, value: Value | None) -> Any:
        if value is None:
            return None
        return value.base.parameter if value.base.parameter is not None else self._packed.get(value)

    def _owner(self, parameter: Any, otherwise: str) -> str:
        if parameter is None:
            return otherwise
        return self._owners.get(id(parameter), parameter.name or otherwise)


def _layer_name(path: str, module: Module) -> str:
    """``"0 Dense 784→512"``; the model itself is named by its type."""
    words = [path] if path else []
    words.append(type_name(module))
    if hasattr(module, "in_features") and hasattr(module, "out_features"):
        words.append(f"{module.in_features}→{module.out_features}")
    return " ".join(words)


def _packed_parameters(instructions: Sequence[Instruction]) -> dict[Value, Any]:
    """Packed copies of parameters."""
    found: dict[Value, Any] = {}
    for item in instructions:
        source = item.inputs[0] if item.name.startswith("pack") else None
        if source is not None and source.base.parameter is not None:
            found[item.outputs[0]] = source.base.parameter
    return found


def _gradients(instructions: Sequence[Instruction]) -> dict[Value, Any]:
    """The parameter whose gradient, or part of it, a value is."""
    made_by = {v.base: item for item in instructions if not item.overwrites for v in item.outputs}
    found: dict[Value, Any] = {}
    for update in instructions:
        parameter = update.outputs[0].parameter if update.overwrites else None
        if parameter is None or update.name.startswith("pack"):
            continue
        stack = [v for v in update.inputs if v is not None]
        while stack:
            value = stack.pop()
            shape = value.shape[1:] if value.parts else value.shape
            if value.base in found or value.batched or shape != parameter.shape:
                continue
            found[value.base] = parameter
            maker = made_by.get(value.base)
            # Parts of it: the terms of a shared weight, or the gradient before it was scaled.
            stack.extend(v for v in (maker.inputs if maker else ()) if _is_derivative(v))
    return found


def _is_derivative(value: Value | None) -> TypeGuard[Value]:
    if value is None:
        return False
    return value.parts or (value.scope is not None and value.scope.phase == "backward")
