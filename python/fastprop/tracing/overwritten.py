"""What a traced function has overwritten, and so cannot be computed from once more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fastprop.graph.autodiff import topological_order
from fastprop.graph.tensor import Tensor
from fastprop.graph.trace import Effect
from fastprop.tracing.capture import address


def without_history(
    name: str, results: Iterable[Tensor], freed: Sequence[Tensor], effects: Sequence[Effect]
) -> dict[int, str]:
    """Results that nobody can differentiate when the function has returned, by id, and why.

    That is what eager Tensors refuse as well: what ``backward()`` has been through, and what was
    computed from a parameter that was updated afterwards.

    Args:
        name: Of the function.
        results: Its results.
        freed: What it has called ``backward()`` of.
        effects: What it overwrites.
    """
    gone = {id(t) for t in topological_order(freed) if _is_node(t)}
    last = _last_writes(effects)
    found: dict[int, str] = {}
    for result in results if gone or last else ():
        nodes = [t for t in topological_order([result]) if _is_node(t)]
        if any(id(t) in gone for t in nodes):
            found[id(result)] = (
                f"was differentiated inside of {name}, whose backward() gave its graph back; give "
                "that one retain_graph=True"
            )
        elif any(
            x.requires_grad and _read_before(last, t, x)
            for t in nodes
            for x in t.inputs
            if not x.symbolic
        ):
            found[id(result)] = (
                f"depends on a parameter that {name} changes after it has used it; differentiate "
                "inside of the function"
            )
    return found


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
