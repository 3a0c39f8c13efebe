"""Weights as the register tile reads them: packed once a run, and again by whoever updates them.

W stays row-major and the truth; the packed copies are this Program's cache. They cost one pass
over the slice that an update has just written, and save one pass over all weights in each product.
Weights that fit in a first-level cache, and those that meet a few rows only, are read where they
lie: a step of 4-64-64-1 took 4 % less so.
"""

from __future__ import annotations

from fastprop import _core
from fastprop.graph.ir import Instruction, Value, columns_of, instruction

_PACKED = {"dense": "pack_weights", "dense_backward_data": "pack_weights_transposed"}
# Bytes of W, and rows of the batch, from which a packed copy pays.
_LEAST_BYTES = 32 * 1024
_LEAST_ROWS = 8
# Inputs of a layer, and bytes of dz, from which dW is a product large enough to pay for packing dz.
_LEAST_INPUTS = 24
_LEAST_GRADIENT_BYTES = 16 * 1024
# Threads from which on the share of dW that one makes is too small to pack all of dz for it alone:
# 784-512-512-10 gained 1.5 % on four, 4.5 % on eight, nothing on two (where the copy was a quarter
# of what lived).
GRADIENT_THREADS = 4


def pack(
    instructions: list[Instruction], capacity: int, threads: int, *, weights: bool
) -> tuple[list[Instruction], list[Instruction]]:
    """What several threads share is packed once for all of them.

    Args:
        instructions: Of one step.
        capacity: Rows of the batch.
        threads: Size of the team.
        weights: Whether packed weights are kept from step to step.

    Returns:
        The instructions that pack weights, to run before the first step, and those of a step.
    """
    prologue: list[Instruction] = []
    if weights:
        prologue, instructions = pack_weights(instructions, capacity)
    return prologue, instructions if threads < GRADIENT_THREADS else pack_gradients(instructions)


def pack_weights(
    instructions: list[Instruction], capacity: int
) -> tuple[list[Instruction], list[Instruction]]:
    """Use packed weights where W is a parameter or a constant, and large enough.

    Args:
        instructions: Of one step.
        capacity: Rows of the batch.

    Returns:
        The instructions that pack, to run before the first step, and the instructions of a step.
    """
    prologue: dict[tuple[Value, str], Instruction] = {}
    step: list[Instruction] = []
    for item in instructions:
        packer = _PACKED.get(item.name)
        weights = item.inputs[1] if packer else None
        if (
            packer is None
            or weights is None
            or columns_of(item.key)  # a thread packs what it alone needs
            or not _weights_pay(weights, capacity)
        ):
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
            instruction(
                f"{item.name}_packed",
                [x, packed, *rest],
                item.outputs,
                attrs,
                own=own,
                inplace=item.inplace,
            )
        )
    return list(prologue.values()), _repack_after_updates(step, prologue)


def _weights_pay(weights: Value, capacity: int) -> bool:
    return weights.array is not None and capacity >= _LEAST_ROWS and weights.nbytes > _LEAST_BYTES


def pack_gradients(instructions: list[Instruction]) -> list[Instruction]:
    """dz in panels for dW: sliced as dz was, so still within the phase that made it."""
    packed: dict[Value, Value] = {}
    keys = {value: item.key for item in instructions for value in item.writes()}
    out: list[Instruction] = []
    for item in instructions:
        dz = item.inputs[1] if item.name == "dense_backward_weights" else None
        if dz is None or not _gradient_pays(dz, item.outputs[0].shape[0]):
            out.append(item)
            continue
        if dz not in packed:
            packed[dz] = _panels(dz.shape[0], dz.shape[1], dz)
            out.append(
                instruction("pack_rows", [dz], [packed[dz]], own=(0,), key=_slices(dz, keys))
            )
        attrs = {"n": float(dz.shape[1])}
        out.append(
            instruction(
                "dense_backward_weights_packed", [item.inputs[0], packed[dz]], item.outputs, attrs
            )
        )
    return out


def _slices(dz: Value, keys: dict[Value, int]) -> int:
    """How dz is packed: as it was written, if that is by columns that fill whole panels."""
    columns = columns_of(keys.get(dz.base, dz.key))
    whole = columns % _core.panel_width(dz.dtype) == 0
    return keys[dz.base] if whole and columns == dz.shape[-1] else dz.key


def _gradient_pays(dz: Value, inputs: int) -> bool:
    return (
        len(dz.shape) == 2
        and dz.batched
        and inputs >= _LEAST_INPUTS
        and dz.nbytes >= _LEAST_GRADIENT_BYTES
    )


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
    wanted = {p.outputs[0] for p in prologue.values()}  # by the next step, or what follows in this
    for item in reversed(step):
        if item.overwrites:
            packers = [p for (weights, _), p in prologue.items() if weights in item.outputs]
            # A second change of the weights, such as MaxNorm's, makes the first copy worthless.
            out += [p for p in reversed(packers) if p.outputs[0] in wanted]
            wanted.difference_update(p.outputs[0] for p in packers)
        wanted.update(v for v in item.inputs if v is not None and v.persistent)
        out.append(item)
    return out[::-1]
