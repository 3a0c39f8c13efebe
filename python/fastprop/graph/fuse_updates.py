"""The gradient of a large weight goes from the product to the update without a place in memory.

``dW = xᵀ dz`` of a small batch does a few operations for each element that it writes, so to write
the gradient and to fetch it again is much of the work. An update that takes x and dz makes it tile
by tile, and updates the rows of a tile while their gradient is in cache. With the update dW took
0.73 of the time for 784 x 512 and 8 rows, 0.99 with 32; 0.70 and 0.88 for 1000 x 500 and
2000 x 1000 with 16. In return dx cannot take the place of such an x any more.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from fastprop.graph.ir import Instruction, Value, consumers, instruction

OF_PRODUCTS = frozenset(
    f"{rule}_update"
    for rule in (
        *("sgd", "adam", "adamw", "adamax", "nadam", "radam"),
        *("rmsprop", "adagrad", "adadelta", "lion", "rprop"),
    )
)
"""Updates that take x and dz as well as a gradient."""
LEAST_BYTES = 256 * 1024
"""Of a weight: a smaller gradient stays in cache anyway (128 x 128 with 128 rows: 1.00)."""
MOST_ROWS = 32
"""Of the batch. Steps of 784-512-512-10 with 128 rows took 1.02 of the time."""


def makes_gradient(item: Instruction) -> bool:
    """Whether it is an update that takes x and dz."""
    return item.name in OF_PRODUCTS and len(item.inputs) == 2


def fuse_updates(instructions: list[Instruction], kept: Iterable[Value]) -> list[Instruction]:
    """Let updates make the gradients that nobody else reads, where that pays.

    Args:
        instructions: Of one step.
        kept: Values that are read after the last instruction.
    """
    products = {
        item.outputs[0]: item
        for item in instructions
        if item.name == "dense_backward_weights" and _pays(item)
    }
    if not products:
        return instructions
    kept_bases = {v.base for v in kept}
    users = consumers(instructions)
    aliased = {v.base for v in users if v.alias is not None}

    def product_of(update: Instruction) -> Instruction | None:
        if update.name not in OF_PRODUCTS or len(update.inputs) != 1:
            return None
        (gradient,) = update.inputs
        product = None if gradient is None else products.get(gradient)
        if gradient is None or product is None or product.when != update.when:
            return None
        alone = len(users[gradient]) == 1 and gradient not in aliased | kept_bases
        return product if alone and update.outputs[0].shape == gradient.shape else None

    fused = {item: found for item in instructions if (found := product_of(item)) is not None}
    gone = set(fused.values())
    return [
        _fused(item, fused[item]) if item in fused else item
        for item in instructions
        if item not in gone
    ]


def _pays(product: Instruction) -> bool:
    x, dz = product.inputs
    assert x is not None
    assert dz is not None
    # What x and dz are has to last until the update; arrays outside may change until then.
    if not (x.base.in_arena and dz.base.in_arena):
        return False
    return product.outputs[0].nbytes >= LEAST_BYTES and math.prod(x.shape[:-1]) <= MOST_ROWS


def _fused(update: Instruction, product: Instruction) -> Instruction:
    return instruction(
        update.name,
        product.inputs,
        update.outputs,
        update.attrs,
        key=update.key,
        overwrites=update.overwrites,
        when=update.when,
    )
