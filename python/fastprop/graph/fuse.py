"""Rewrites that save passes over memory: several instructions become one fused kernel.

Each function takes the list and gives a new one; a pattern matches only where the values in
between have no other use, so nothing is computed twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from fastprop import _core
from fastprop.graph.fuse_elementwise import fuse_elementwise
from fastprop.graph.ir import Instruction, Value, consumers, instruction
from fastprop.graph.op import encode

LOSSES = (
    "mse",
    "mae",
    "huber",
    "log_cosh",
    "quantile",
    "hinge",
    "poisson_nll",
    "kl_div",
    "binary_cross_entropy",
    "binary_focal",
    "elastic_net",
    "focal",
    "cross_entropy",
    "cross_entropy_probs",
)
LEAST_ROW_BYTES = 384
"""Bytes of a row from which a layer of one column reads it where it lies: 100-1 takes 0.92 of the
time with 1,024 rows, 200-1 with 512 rows 0.85, 64-1 would take 1.15."""
_LONG_ROW_BYTES = 1024
_MOST_BYTES = 1 << 20
"""Of shorter rows: 8,192 rows of 100-1 would take 1.04."""
_GATHERED = {
    "dense": "dense_gathered",
    "dense_backward_weights": "dense_backward_weights_gathered",
}
_ONCE_EACH = (["dense"], ["dense", "dense_backward_weights"])
_IDENTITY = {"activation": 0.0, "p0": 0.0, "p1": 0.0}


def fuse(instructions: list[Instruction], kept: Iterable[Value]) -> list[Instruction]:
    """All rewrites, in the order in which one makes way for the next.

    Args:
        instructions: In dependency order.
        kept: Values that somebody outside reads: recorded outputs, stored rows.
    """
    kept_bases = {v.base for v in kept}
    rewrites = (
        *(fuse_bias, fuse_activation, fuse_backward_data, fuse_slopes),
        *(fuse_penalties, fuse_losses),
        *(name_products, fuse_elementwise, read_in_place),
    )
    for rewrite in rewrites:
        instructions = rewrite(instructions, kept_bases)
    return instructions


def _regions(instructions: Sequence[Instruction]) -> dict[Instruction, int]:
    """How much is overwritten before each: what is moved past that could read other values."""
    regions: dict[Instruction, int] = {}
    overwritten = 0
    for item in instructions:
        regions[item] = overwritten
        overwritten += item.overwrites
    return regions


def _single_use(value: Value, users: dict[Value, list[Instruction]], kept: set[Value]) -> bool:
    return value not in kept and len(users.get(value, ())) == 1


def _is_plain_product(item: Instruction | None) -> bool:
    """x @ W with a matrix W that does not vary with the batch."""
    return (
        item is not None
        and item.name == "matmul"
        and not item.attrs["transpose_a"]
        and not item.attrs["transpose_b"]
        and _is_matrix(item.inputs[1])
    )


def _is_matrix(value: Value | None) -> bool:
    return value is not None and len(value.shape) == 2 and not value.batched


def _producers(instructions: Sequence[Instruction]) -> dict[Value, Instruction]:
    return {out: item for item in instructions for out in item.outputs}


def _aliased(instructions: Sequence[Instruction]) -> set[Value]:
    """Values that are also read under another shape, which use counts do not see."""
    found: set[Value] = set()
    for item in instructions:
        for value in item.inputs:
            while value is not None and value.alias is not None:
                value = value.alias
                found.add(value)
    return found


def fuse_bias(instructions: list[Instruction], kept: set[Value]) -> list[Instruction]:
    """add(matmul(x, W), b) is dense(x, W, b)."""
    users, made_by = consumers(instructions), _producers(instructions)
    region = _regions(instructions)
    kept = kept | _aliased(instructions)
    replaced: dict[Instruction, Instruction | None] = {}
    for item in instructions:
        if item.name != "add":
            continue
        for product, bias in (item.inputs, item.inputs[::-1]):
            assert product is not None
            assert bias is not None
            source = made_by.get(product)
            fits = bias.shape == product.shape[-1:] and not bias.batched
            if not (fits and source and _is_plain_product(source)):
                continue
            if _single_use(product, users, kept) and region[source] == region[item]:
                replaced[source] = None
                replaced[item] = instruction(
                    "dense", [*source.inputs, bias], item.outputs, dict(_IDENTITY), own=source.own
                )
                break
    return _replace(instructions, replaced)


def fuse_activation(instructions: list[Instruction], kept: set[Value]) -> list[Instruction]:
    """activation(dense(x, W, b)) is one instruction; z is stored too if it is read again."""
    users, made_by = consumers(instructions), _producers(instructions)
    kept = kept | _aliased(instructions)
    replaced: dict[Instruction, Instruction | None] = {}
    for item in instructions:
        if item.name != "activation":
            continue
        z = item.inputs[0]
        assert z is not None
        source = made_by.get(z)
        if source is None or source in replaced:
            continue
        if _is_plain_product(source):
            inputs = [*source.inputs, None]
        elif source.name == "dense" and source.attrs["activation"] == 0:
            inputs = source.inputs
        else:
            continue
        outputs = [*item.outputs]
        if not _single_use(z, users, kept):
            outputs.append(z)
        attrs = {"activation": item.attrs["kind"], "p0": item.attrs["p0"], "p1": item.attrs["p1"]}
        replaced[source] = instruction("dense", inputs, outputs, attrs, own=source.own)
        replaced[item] = None
    return _replace(instructions, replaced)


def fuse_backward_data(instructions: list[Instruction], kept: set[Value]) -> list[Instruction]:
    """activation_backward(h, dz W^T) is one instruction, with f'(h) in its epilogue."""
    users, region = consumers(instructions), _regions(instructions)
    kept = kept | _aliased(instructions)
    replaced: dict[Instruction, Instruction | None] = {}
    for item in instructions:
        if item.name != "matmul" or item.attrs["transpose_a"] or not item.attrs["transpose_b"]:
            continue
        if not _is_matrix(item.inputs[1]):
            continue
        dx = item.outputs[0]
        user = users[dx][0] if _single_use(dx, users, kept) else None
        if user is not None and region[user] != region[item]:
            user = None
        if user is not None and user.name == "activation_backward" and user.inputs[1] is dx:
            attrs = {
                "activation": user.attrs["kind"],
                "p0": user.attrs["p0"],
                "p1": user.attrs["p1"],
            }
            h, outputs = user.inputs[0], user.outputs
            own = (*item.own, 2)
            replaced[item] = None
            replaced[user] = instruction(
                "dense_backward_data", [*item.inputs, h], outputs, attrs, own=own, inplace=(2,)
            )
        else:
            replaced[item] = instruction(
                "dense_backward_data", [*item.inputs, None], [dx], dict(_IDENTITY), own=item.own
            )
    return _replace(instructions, replaced)


def fuse_slopes(instructions: list[Instruction], kept: set[Value]) -> list[Instruction]:
    """f'(z) is stored in the place of z where f and f' need the same exponential.

    Behind that f'(z) is a factor. Steps with gelu take 0.77 (17-100-100-1, 1,024 rows), 0.82
    (4-64-64-1), 0.90 (100-256-128-10) and 0.98 (784-512-512-10) of the time.
    """
    users = consumers(instructions)
    kept = kept | _aliased(instructions)
    found: dict[Instruction, list[Instruction]] = {}
    for item in instructions:
        if item.name != "dense" or len(item.outputs) < 2 or item.outputs[1] in kept:
            continue
        kind = item.attrs["activation"]
        y, z = item.outputs
        reader = users[z][0] if len(users.get(z, ())) == 1 else None
        if kind not in slope_kinds() or reader is None or reader.inputs[2:] != [z]:
            continue
        if reader.name != "dense_backward_data" or reader.attrs != item.attrs:
            continue
        slope = Value(z.shape, z.dtype, z.batched, scope=y.scope)
        attrs = {"kind": kind, "p0": item.attrs["p0"], "p1": item.attrs["p1"]}
        options: dict[str, Any] = {"own": reader.own, "inplace": reader.inplace, "key": reader.key}
        found[item] = [
            instruction("dense", item.inputs, [z], dict(_IDENTITY), own=item.own),
            instruction("activation_with_slope", [z], [y, slope], attrs, own=(0,), inplace=(0,)),
        ]
        given = {**_IDENTITY, "activation": float(_core.SLOPE)}
        inputs = [*reader.inputs[:2], slope]
        found[reader] = [instruction(reader.name, inputs, reader.outputs, given, **options)]
    return [new for item in instructions for new in found.get(item, [item])]


@cache
def slope_kinds() -> frozenset[float]:
    """Codes of the activations that :func:`fuse_slopes` is for."""
    names = ("gelu", "gelu_tanh", "silu", "mish")
    known = [name for name, _ in _core.activation_info()]
    return frozenset(float(known.index(name)) for name in names)


def fuse_penalties(instructions: list[Instruction], kept: set[Value]) -> list[Instruction]:
    """The gradient of a penalty is added to that of the loss in the pass that computes it."""
    users, made_by = consumers(instructions), _producers(instructions)
    kept, regions = kept | _aliased(instructions), _regions(instructions)
    replaced: dict[Instruction, Instruction | None] = {}
    for item in instructions:
        if item.name != "add":
            continue
        for position, penalty in enumerate(item.inputs):
            other = item.inputs[1 - position]
            assert penalty is not None
            assert other is not None
            source = made_by.get(penalty)
            if source is None or source.name != "elastic_net_backward" or source in replaced:
                continue
            same = penalty.shape == other.shape and regions[source] == regions[item]
            if not same or not _single_use(penalty, users, kept):
                continue
            weight, _, g_rows = source.inputs
            owned = (0 in source.own, 2 in source.own, 1 - position in item.own)
            replaced[source] = None
            replaced[item] = instruction(
                "elastic_net_add",
                [weight, g_rows, other],
                item.outputs,
                source.attrs,
                own=tuple(i for i, own in enumerate(owned) if own),
                inplace=(2,),
            )
            break
    return _replace(instructions, replaced)


def fuse_losses(instructions: list[Instruction], kept: set[Value]) -> list[Instruction]:
    """A loss and its gradient on the same operands are one pass."""
    made_by, region = _producers(instructions), _regions(instructions)
    forward = {
        (i.name, *map(id, i.inputs), encode(i.attrs.values())): i
        for i in instructions
        if i.name in LOSSES
    }
    replaced: dict[Instruction, Instruction | None] = {}
    for item in instructions:
        name = item.name.removesuffix("_backward")
        if name == item.name or name not in LOSSES:
            continue
        pred, target, g, *aux = item.inputs
        value = forward.get((name, *map(id, [pred, target, *aux]), encode(item.attrs.values())))
        if value is None or value in replaced or region[value] != region[item]:
            continue
        if _depends(g, value.outputs[0], made_by):
            continue
        outputs = [value.outputs[0], item.outputs[0]]
        replaced[value] = None
        replaced[item] = instruction(
            f"{name}_fused", item.inputs, outputs, item.attrs, own=item.own, inplace=(0,)
        )
    return _sorted(_replace(instructions, replaced))


def name_products(instructions: list[Instruction], kept: set[Value]) -> list[Instruction]:
    """x @ W is dense without a bias, x^T @ dz a gradient of weights: these have packed forms."""
    replaced: dict[Instruction, Instruction | None] = {}
    for item in instructions:
        if item.name != "matmul":
            continue
        if _is_plain_product(item):
            inputs = [*item.inputs, None]
            replaced[item] = instruction(
                "dense", inputs, item.outputs, dict(_IDENTITY), own=item.own
            )
        elif item.attrs["transpose_a"] and not item.attrs["transpose_b"]:
            a, b = item.inputs
            assert a is not None
            assert b is not None
            if a.batched and b.batched and len(a.shape) == len(b.shape) == 2:
                replaced[item] = instruction("dense_backward_weights", [a, b], item.outputs)
    return _replace(instructions, replaced)


def read_in_place(instructions: list[Instruction], kept: set[Value]) -> list[Instruction]:
    """A first layer of one column reads its rows where they lie, instead of a copy of them."""
    users = consumers(instructions)
    kept = kept | _aliased(instructions)
    replaced: dict[Instruction, Instruction | None] = {}
    for item in instructions:
        batch = item.outputs[0]
        if item.name != "gather_rows" or len(item.inputs) != 1 or batch in kept:
            continue
        readers = users.get(batch, [])
        row_bytes = batch.nbytes // max(batch.shape[0], 1)
        if (
            row_bytes < LEAST_ROW_BYTES
            or (row_bytes < _LONG_ROW_BYTES and batch.nbytes > _MOST_BYTES)
            or sorted(r.name for r in readers) not in _ONCE_EACH
            or not all(r.inputs[0] is batch and r.outputs[0].shape[-1] == 1 for r in readers)
        ):
            continue
        replaced[item] = None
        for reader in readers:
            replaced[reader] = instruction(
                _GATHERED[reader.name],
                [item.inputs[0], *reader.inputs[1:]],
                reader.outputs,
                reader.attrs,
                own=tuple(i for i in reader.own if i > 0),
                key=reader.key,
                when=reader.when,
            )
    return _replace(instructions, replaced)


def _replace(
    instructions: list[Instruction], replaced: dict[Instruction, Instruction | None]
) -> list[Instruction]:
    out = (replaced.get(item, item) for item in instructions)
    return [item for item in out if item is not None]


def _depends(value: Value | None, on: Value, made_by: dict[Value, Instruction]) -> bool:
    """True if computing `value` needs `on`."""
    stack, seen = [value], set()
    while stack:
        current = stack.pop()
        if current is None or current in seen:
            continue
        if current.base is on.base:
            return True
        seen.add(current)
        source = made_by.get(current.base)
        stack.extend(source.inputs if source else ())
    return False


def _sorted(instructions: list[Instruction]) -> list[Instruction]:
    """Dependency order again, otherwise as it was; what overwrites memory stays at the end."""
    made_by = {v.base: i for i in instructions if not i.overwrites for v in i.outputs}
    ordered: list[Instruction] = []
    done: set[Instruction] = set()
    for root in instructions:
        stack = [(root, False)]
        while stack:
            item, expanded = stack.pop()
            if expanded:
                ordered.append(item)
            elif item not in done:
                done.add(item)
                stack.append((item, True))
                needed = [made_by.get(v.base) for v in item.inputs if v is not None]
                stack.extend(
                    (n, False) for n in reversed(needed) if n is not None and n not in done
                )
    return ordered
