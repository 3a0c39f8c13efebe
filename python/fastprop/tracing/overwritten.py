"""What a traced function has overwritten, and so cannot be computed from once more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fastprop.graph.tensor import Tensor
from fastprop.graph.trace import Effect, topological_order
from fastprop.tracing.capture import address


def freed_within(results: Iterable[Tensor], freed: Sequence[Tensor]) -> list[Tensor]:
    """Results whose graph the function has given back, as ``backward()`` does it.

    Args:
        results: Of the function.
        freed: What it has called ``backward()`` of.
    """
    gone = {id(t) for t in topological_order(freed) if _is_node(t)}
    if not gone:
        return []
    return [r for r in results if any(id(t) in gone for t in topological_order([r]))]


def outdated(results: Sequence[Tensor], effects: Sequence[Effect]) -> list[Tensor]:
    """Results that were computed from a parameter which the function has changed afterwards.

    Args:
        results: Of the function.
        effects: What it overwrites.
    """
    last = _last_writes(effects) if results else {}
    if not last:
        return []

    def is_late(result: Tensor) -> bool:
        reads = (
            (node, x) for node in topological_order([result]) if _is_node(node) for x in node.inputs
        )
        return any(
            _read_before(last, node, x) for node, x in reads if x.requires_grad and not x.symbolic
        )

    return [r for r in results if is_late(r)]


def refuse_overwritten(
    name: str, reads: Sequence[Tensor], results: Sequence[Tensor], effects: Sequence[Effect]
) -> None:
    """Check that all that a derivative reads is still what the function has read.

    Args:
        name: Of the function.
        reads: What the derivative reads, beside arguments.
        results: Of the function, that are differentiated.
        effects: What the function overwrites.

    Raises:
        RuntimeError: It is not.
    """
    last = _last_writes(effects)
    written = [t for t in reads if address(t.data) in last]
    nodes = topological_order(results) if written else []
    for tensor in written:
        readers = (n for n in nodes if any(x is tensor for x in n.inputs))
        if any(_read_before(last, n, tensor) for n in readers):
            raise RuntimeError(
                f"backward: {name} overwrites a {type(tensor).__name__} of shape {tensor.shape} "
                "after it has used it, and the derivative of its result needs the value from "
                "before; differentiate inside of the function"
            )


def _last_writes(effects: Sequence[Effect]) -> dict[int, int]:
    """By address, when what lies there is overwritten the last time."""
    arrays = [(o.data if isinstance(o, Tensor) else o, e.time) for e in effects for o in e.outputs]
    return {address(array): time for array, time in arrays}


def _read_before(last: dict[int, int], node: Tensor, leaf: Tensor) -> bool:
    return last.get(address(leaf.data), 0) > node.time


def _is_node(tensor: Tensor) -> bool:
    return tensor.symbolic and tensor.op is not None and tensor.requires_grad
