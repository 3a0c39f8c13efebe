"""Weights as the register tile reads them: packed once a run, and again by whoever updates them.

W stays row-major and the truth; the packed copies are this Program's cache. They cost one pass
over the slice that an update has just written, and save one pass over all weights in each product.
"""

from __future__ import annotations

from fastprop import _core
from fastprop.graph.ir import Instruction, Value, instruction

_PACKED = {"dense": "pack_weights", "dense_backward_data": "pack_weights_transposed"}


def pack_weights(instructions: list[Instruction]) -> tuple[list[Instruction], list[Instruction]]:
    """Use packed weights wherever W is a parameter or a constant.

    Returns:
        The instructions that pack, to run before the first step, and the instructions of a step.
    """
    prologue: dict[tuple[Value, str], Instruction] = {}
    step: list[Instruction] = []
    for item in instructions:
        packer = _PACKED.get(item.name)
        weights = item.inputs[1] if packer else None
        if packer is None or weights is None or weights.array is None:
            step.append(item)
            continue
        if (weights, packer) not in prologue:
            prologue[weights, packer] = _packing(weights, packer)
        packed = prologue[weights, packer].outputs[0]
        x, _, *rest = item.inputs
        attrs = dict(item.attrs)
        if item.name == "dense":
            attrs["n"] = weights.shape[1]
        own = tuple(i for i in item.own if i != 1)
        step.append(
            instruction(f"{item.name}_packed", [x, packed, *rest], item.outputs, attrs, own=own)
        )
    return list(prologue.values()), _repack_after_updates(step, prologue)


def pack_gradients(instructions: list[Instruction]) -> list[Instruction]:
    """dz in panels for dW: packed by rows, so still within the phase that made dz."""
    packed: dict[Value, Value] = {}
    out: list[Instruction] = []
    for item in instructions:
        dz = item.inputs[1] if item.name == "dense_backward_weights" else None
        if dz is None or len(dz.shape) != 2 or not dz.batched:
            out.append(item)
            continue
        if dz not in packed:
            packed[dz] = _panels(dz.shape[0], dz.shape[1], dz)
            out.append(instruction("pack_rows", [dz], [packed[dz]], own=(0,), key=dz.key))
        attrs = {"n": float(dz.shape[1])}
        out.append(
            instruction(
                "dense_backward_weights_packed", [item.inputs[0], packed[dz]], item.outputs, attrs
            )
        )
    return out


def _panels(k: int, n: int, like: Value) -> Value:
    width = _core.panel_width(like.dtype)
    return Value((-(-n // width) * width * k,), like.dtype)


def _packing(weights: Value, packer: str) -> Instruction:
    rows, columns = weights.shape
    k, n = (rows, columns) if packer == "pack_weights" else (columns, rows)
    packed = _panels(k, n, weights)
    packed.persistent = True
    return instruction(packer, [weights], [packed], own=(0,), key=weights.key, overwrites=True)


def _repack_after_updates(
    step: list[Instruction], prologue: dict[tuple[Value, str], Instruction]
) -> list[Instruction]:
    out: list[Instruction] = []
    for item in step:
        out.append(item)
        if item.overwrites:
            out.extend(p for (weights, _), p in prologue.items() if weights is item.outputs[0])
    return out
