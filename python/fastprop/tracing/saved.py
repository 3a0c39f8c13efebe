"""What a compiled function keeps for its derivatives, so that these need not compute it again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter

from fastprop.graph.tensor import Tensor
from fastprop.graph.trace import topological_order

_CHEAP = frozenset({"add", "sub", "mul", "neg", "square", "broadcast_to"})
"""Ops whose results are computed again from what is there: that costs less than to keep them."""


def worth_saving(derivatives: Sequence[Tensor], begun: int) -> list[Tensor]:
    """What derivatives read of the graph of a function.

    Args:
        derivatives: Symbolic Tensors.
        begun: When the first one was made. What is older belongs to the function.
    """
    nodes = [t for t in topological_order(derivatives) if t.symbolic]
    read = [x for t in nodes if t.time >= begun for x in t.inputs]
    read += [t for t in derivatives if t.time < begun]
    saved: list[Tensor] = []
    known: set[int] = set()

    def know(tensor: Tensor) -> None:
        if not tensor.symbolic or tensor.op is None or id(tensor) in known:
            return
        cheap = tensor.op.view or tensor.op.name in _CHEAP
        if cheap and all(_given(x) or id(x) in known for x in tensor.inputs):
            known.add(id(tensor))
        elif tensor.size and not tensor.op.view:
            known.add(id(tensor))
            saved.append(tensor)
        else:
            for x in tensor.inputs:
                know(x)
            known.add(id(tensor))

    for tensor in sorted((t for t in read if t.time < begun), key=attrgetter("time")):
        know(tensor)
    return saved


def _given(tensor: Tensor) -> bool:
    """Whether it is an argument, or holds data."""
    return not tensor.symbolic or tensor.op is None


def replacing(places: dict[int, Tensor]) -> Callable[[Tensor], Tensor]:
    """A function that gives a symbolic Tensor as it is computed from other Tensors.

    Args:
        places: What stands in the place of a Tensor, by its id.
    """
    made = dict(places)

    def replaced(tensor: Tensor) -> Tensor:
        stack = [tensor]
        while stack:
            node = stack[-1]
            if id(node) in made or not node.symbolic or node.op is None:
                made.setdefault(id(node), node)
                stack.pop()
                continue
            waiting = [x for x in node.inputs if id(x) not in made]
            stack.extend(waiting)
            if not waiting:
                made[id(node)] = _computed_from(node, tuple(made[id(x)] for x in node.inputs))
                stack.pop()
        return made[id(tensor)]

    return replaced


def _computed_from(node: Tensor, inputs: tuple[Tensor, ...]) -> Tensor:
    """The same node on other inputs."""
    if all(x is y for x, y in zip(inputs, node.inputs, strict=True)):
        return node
    copy = Tensor.__new__(Tensor)
    copy._set(None, node.spec, node.requires_grad)
    copy.op, copy.inputs, copy.attrs = node.op, inputs, node.attrs
    copy.time, copy.scope = node.time, node.scope
    return copy
