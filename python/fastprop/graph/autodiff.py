"""Reverse-mode differentiation over the graph that Tensors remember.

The chain rule, node by node from the output back: each op's rule turns the derivative by its output
into derivatives by its inputs, and derivatives that arrive along several paths are added
(Rumelhart, Hinton & Williams, "Learning representations by back-propagating errors", Nature 1986).
Rules are ops themselves, so a derivative can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike

from fastprop.graph.hooks import call_hooks
from fastprop.graph.op import Op, grad_mode
from fastprop.graph.ops_elementwise import copy
from fastprop.graph.ops_reduction import broadcast_to
from fastprop.graph.scope import current_scope, differentiate, scoped
from fastprop.graph.tensor import Tensor, as_tensor
from fastprop.graph.trace import current_trace

_time = attrgetter("time")


def topological_order(outputs: Sequence[Tensor]) -> list[Tensor]:
    """Every Tensor that the outputs were computed from, inputs before the ops that use them."""
    order: list[Tensor] = []
    seen: set[int] = set()
    stack: list[tuple[Tensor, bool]] = [(t, False) for t in reversed(outputs)]
    while stack:
        tensor, expanded = stack.pop()
        if expanded:
            order.append(tensor)
        elif id(tensor) not in seen:
            seen.add(id(tensor))
            stack.append((tensor, True))
            stack.extend((t, False) for t in reversed(tensor.inputs))
    return order


@overload
def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor,
    grad_outputs: Tensor | Sequence[Tensor | None] | None = ...,
    *,
    create_graph: bool = ...,
    retain_graph: bool = ...,
    allow_unused: bool = ...,
) -> Tensor: ...


@overload
def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = ...,
    *,
    create_graph: bool = ...,
    retain_graph: bool = ...,
    allow_unused: bool = ...,
) -> list[Any]: ...


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    *,
    create_graph: bool = False,
    retain_graph: bool = True,
    allow_unused: bool = False,
) -> Any:
    r"""Derivatives of the outputs' sum by each input.

    .. math:: \frac{d}{dx} \sum_k \langle g_k, y_k \rangle

    Args:
        outputs: One Tensor or several.
        inputs: One Tensor or several; a single one gives a single result, not a list.
        grad_outputs: The :math:`g_k`; may be left out where an output is a scalar (1 then).
        create_graph: Record the derivative itself, so that it can be differentiated again.
        retain_graph: Keep what another pass through the same graph would need.
        allow_unused: Give ``None``, not an error, for an input that the outputs do not depend on.

    Raises:
        ValueError: An output is not a scalar and has no gradient; a gradient has another shape.
        RuntimeError: The outputs do not depend on an input, a part of the graph was freed by
            ``backward``, or data that it needs was changed since.
        TypeError: An output is an integer Tensor.
    """
    outs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    targets = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if grad_outputs is None or isinstance(grad_outputs, Tensor):
        seeds: list[Tensor | None] = [grad_outputs] + [None] * (len(outs) - 1)
    else:
        seeds = list(grad_outputs)
    if len(seeds) != len(outs):
        raise ValueError(f"grad: {len(outs)} outputs but {len(seeds)} grad_outputs")
    with grad_mode(create_graph), scoped(current_scope()):
        start = [_seed("grad", o, g) for o, g in zip(outs, seeds, strict=True)]
        found = _accumulate("grad", outs, start, targets, free=not retain_graph)
        results: list[Tensor | None] = [_result(found, t) for t in targets]
    if not allow_unused:
        for i, result in enumerate(results):
            if result is None:
                raise RuntimeError(
                    f"grad: the outputs do not depend on input {i} of shape {targets[i].shape}; "
                    "pass allow_unused=True to get None"
                )
    return results[0] if isinstance(inputs, Tensor) else results


def gradients_within(
    output: Tensor, inputs: Sequence[Tensor], gradient: Tensor
) -> list[Tensor | None]:
    """Derivatives by inputs that no path leads further back than: part of a pass that goes on.

    Returns:
        ``None`` where the output does not depend on an input.
    """
    found = _accumulate("checkpoint", [output], [gradient], inputs, free=False, within=True)
    return [found.values.get(id(t)) for t in inputs]


def backward(
    output: Tensor,
    gradient: Tensor | ArrayLike | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> None:
    """Add the derivatives of `output` to ``grad`` of every leaf that requires one."""
    free = not (create_graph if retain_graph is None else retain_graph)
    seed = None if gradient is None else as_tensor(gradient, like=output)
    with grad_mode(create_graph), scoped(current_scope()):
        start = _seed("backward", output, seed)
        found = _accumulate("backward", [output], [start], None, free)
        # Two leaves may get one array (both terms of a sum do), which one of them may then change.
        taken = {_memory(start)} if gradient is not None else set()
        trace = current_trace()
        for leaf in found.leaves:
            if trace is not None and not leaf.symbolic:
                trace.watch_gradient(leaf)
            d = _result(found, leaf)
            if d is None:
                continue
            if leaf.grad is not None:
                leaf.grad = leaf.grad + d
                continue
            leaf.grad = copy(d) if _memory(d) in taken else d
            taken.add(_memory(d))


def _memory(tensor: Tensor) -> int:
    """What owns the data; a symbolic Tensor has memory of its own."""
    array = tensor._data
    if array is None:
        return id(tensor)
    return id(array if array.base is None else array.base)


def _seed(name: str, output: Tensor, gradient: Tensor | None) -> Tensor:
    if output.dtype.kind != "f":
        raise TypeError(f"{name}: an {output.dtype} Tensor has no derivative")
    if not output.requires_grad:
        raise RuntimeError(
            f"{name}: the output of shape {output.shape} does not depend on any Tensor that "
            "requires a gradient"
        )
    if gradient is None:
        if output.size != 1 or output.batched:
            raise ValueError(
                f"{name}: an output of shape {output.shape} is not a scalar; give its gradient, "
                "or sum it first"
            )
        seed = Tensor.__new__(Tensor)
        seed._set(np.ones(output.shape, output.dtype), output.spec, False)
        return seed
    if gradient.shape != output.shape:
        raise ValueError(
            f"{name}: gradient has shape {gradient.shape}, the output has {output.shape}"
        )
    return gradient


class Derivatives:
    """Derivatives by Tensors, by their id, while a pass goes on; ``None`` is zero.

    Attributes:
        values: The derivatives.
        leaves: The leaves that were reached, in the order of the pass.
    """

    def __init__(self) -> None:
        self.values: dict[int, Tensor | None] = {}
        self.leaves: list[Tensor] = []

    def add(self, tensor: Tensor, value: Tensor | None) -> None:
        key = id(tensor)
        if key not in self.values:
            self.values[key] = value
            if tensor.op is None:
                self.leaves.append(tensor)
        elif value is not None:
            known = self.values[key]
            self.values[key] = value if known is None else known + value


def _freed(dy: Tensor, y: Tensor, *inputs: Tensor) -> Tensor:
    raise AssertionError("the rule of a freed node is never called")


FREED = Op("freed", lambda name, specs, attrs: specs[0], (_freed,))
"""The op of a result whose history a backward pass has given back."""


def _nodes(outputs: Sequence[Tensor], ends: set[int]) -> list[Tensor]:
    """Results of ops that derivatives go through, the latest first: users before what they use.

    Nothing behind a Tensor whose id is in `ends`, nor that itself.
    """
    found = (t for t in outputs if id(t) not in ends)
    seen = {id(t): t for t in found if t.op is not None and t.requires_grad}
    stack = list(seen.values())
    while stack:
        for x in stack.pop().inputs:
            if x.requires_grad and x.op is not None and id(x) not in seen and id(x) not in ends:
                seen[id(x)] = x
                stack.append(x)
    return sorted(seen.values(), key=_time, reverse=True)


def _on_a_path(nodes: Sequence[Tensor], targets: Sequence[Tensor]) -> set[int]:
    """The targets, and every node that was computed from one."""
    wanted = {id(t) for t in targets}
    for node in reversed(nodes):
        if any(id(x) in wanted and x.requires_grad for x in node.inputs):
            wanted.add(id(node))
    return wanted


def _accumulate(
    name: str,
    outputs: Sequence[Tensor],
    seeds: Sequence[Tensor],
    targets: Sequence[Tensor] | None,
    free: bool,
    within: bool = False,
) -> Derivatives:
    """One pass back: derivatives by the targets, or by all leaves; or `within` the targets only."""
    kept = {id(t) for t in targets or ()}
    nodes = _nodes(outputs, kept if within else set())
    wanted = None if targets is None else _on_a_path(nodes, targets)
    found = Derivatives()
    add, values = found.add, found.values
    for output, seed in zip(outputs, seeds, strict=True):
        add(output, seed)
    for node in nodes:
        key, op, inputs = id(node), node.op, node.inputs
        if key not in values or op is None or (wanted is not None and key not in wanted):
            continue
        if op is FREED:
            raise _freed_error(name, node)
        if node.hooks:
            _call_hooks(found, node)
        dy = values[key] if key in kept else values.pop(key)
        if node.scope is not None:
            differentiate(node.scope)
        # An op may have more rules than inputs, if some of these may be left out.
        for x, vjp in zip(inputs, op.vjps):  # noqa: B905
            if x.requires_grad and (wanted is None or id(x) in wanted):
                if x.op is None and x.time > node.time:
                    raise RuntimeError(
                        f"{name}: a Tensor of shape {x.shape} was changed in place after "
                        f"{op.name} had used it; differentiate first, then change it"
                    )
                add(x, None if dy is None or vjp is None else vjp(dy, node, *inputs))
        if free and node._data is not None:
            node.op, node.inputs, node.attrs = FREED, (), {}
    for leaf in found.leaves:
        if leaf.hooks:
            _call_hooks(found, leaf)
    if any(id(t) not in values for t in targets or ()):
        for node in nodes:
            if node.op is FREED:  # what was there cannot be told
                raise _freed_error(name, node)
    return found


def _freed_error(name: str, node: Tensor) -> RuntimeError:
    return RuntimeError(
        f"{name}: the graph behind a Tensor of shape {node.shape} was freed by an earlier backward "
        "pass; give that one retain_graph=True"
    )


def _call_hooks(found: Derivatives, tensor: Tensor) -> None:
    """The derivative by a Tensor, now that it is complete, as its hooks leave it."""
    dy = found.values[id(tensor)]
    if dy is not None:
        found.values[id(tensor)] = call_hooks(tensor, dy)


def _result(found: Derivatives, target: Tensor) -> Tensor | None:
    """The derivative by a target: zeros if every path to it is flat, ``None`` if there is none."""
    if id(target) not in found.values:
        return None
    d = found.values[id(target)]
    return broadcast_to(Tensor(np.zeros((), target.dtype)), target) if d is None else d


def depends_on_others(output: Tensor, places: Sequence[Tensor]) -> bool:
    """Whether an output was computed from something else, too, that requires a gradient."""
    if any(x.requires_grad for t in places for x in t.inputs):
        return True  # a place that is connected to what is differentiated by further out
    seen = {id(t) for t in places}
    stack = [output]
    while stack:
        t = stack.pop()
        if t.requires_grad and id(t) not in seen:
            if not t.inputs:
                return True
            seen.add(id(t))
            stack.extend(t.inputs)
    return False
