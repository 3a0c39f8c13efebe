"""Reverse-mode differentiation over the graph that Tensors remember.

The chain rule, node by node from the output back: each op's rule turns the derivative by its output
into derivatives by its inputs, and derivatives that arrive along several paths are added
(Rumelhart, Hinton & Williams, "Learning representations by back-propagating errors", Nature 1986).
Rules are ops themselves, so a derivative can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike

from fastprop.graph.op import grad_mode
from fastprop.graph.ops_reduction import broadcast_to
from fastprop.graph.scope import current_scope, differentiate, scoped
from fastprop.graph.tensor import Tensor, as_tensor


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
    allow_unused: bool = ...,
) -> Tensor: ...


@overload
def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = ...,
    *,
    create_graph: bool = ...,
    allow_unused: bool = ...,
) -> list[Any]: ...


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    *,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> Any:
    r"""Derivatives of the outputs' sum by each input.

    .. math:: \frac{d}{dx} \sum_k \langle g_k, y_k \rangle

    Args:
        outputs: One Tensor or several.
        inputs: One Tensor or several; a single one gives a single result, not a list.
        grad_outputs: The :math:`g_k`; may be left out where an output is a scalar (1 then).
        create_graph: Record the derivative itself, so that it can be differentiated again.
        allow_unused: Give ``None``, not an error, for an input that the outputs do not depend on.

    Raises:
        ValueError: An output is not a scalar and has no gradient; a gradient has another shape.
        RuntimeError: The outputs do not depend on an input.
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
        found = _accumulate(outs, start, targets)
        results: list[Tensor | None] = [_result(found, t) for t in targets]
    if not allow_unused:
        for i, result in enumerate(results):
            if result is None:
                raise RuntimeError(
                    f"grad: the outputs do not depend on input {i} of shape {targets[i].shape}; "
                    "pass allow_unused=True to get None"
                )
    return results[0] if isinstance(inputs, Tensor) else results


def backward(output: Tensor, gradient: Tensor | ArrayLike | None = None) -> None:
    """Add the derivatives of `output` to ``grad`` of every leaf that requires one."""
    seed = None if gradient is None else as_tensor(gradient, like=output)
    with grad_mode(False), scoped(current_scope()):
        leaves = [t for t in topological_order([output]) if t.op is None and t.requires_grad]
        found = _accumulate([output], [_seed("backward", output, seed)], leaves)
        for leaf in leaves:
            d = _result(found, leaf)
            if d is not None:
                leaf.grad = d if leaf.grad is None else leaf.grad + d


def _seed(name: str, output: Tensor, gradient: Tensor | None) -> Tensor:
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
        return Tensor(np.ones(output.shape, output.dtype))
    if gradient.shape != output.shape:
        raise ValueError(
            f"{name}: gradient has shape {gradient.shape}, the output has {output.shape}"
        )
    return gradient


def _accumulate(
    outputs: Sequence[Tensor], seeds: Sequence[Tensor], targets: Sequence[Tensor]
) -> dict[int, Tensor | None]:
    """Derivatives by every Tensor on a path from the targets, by its id; ``None`` is zero."""
    order = topological_order(outputs)
    wanted = {id(t) for t in targets}
    for node in order:
        if node.requires_grad and any(id(x) in wanted and x.requires_grad for x in node.inputs):
            wanted.add(id(node))
    derivative: dict[int, Tensor | None] = {}
    for output, seed in zip(outputs, seeds, strict=True):
        _add(derivative, output, seed)
    for node in reversed(order):
        if node.op is None or id(node) not in derivative or not node.requires_grad:
            continue
        dy = derivative[id(node)]
        if node.scope is not None:
            differentiate(node.scope)
        for x, vjp in zip(node.inputs, node.op.vjps, strict=False):
            if x.requires_grad and id(x) in wanted:
                d = None if dy is None or vjp is None else vjp(dy, node, *node.inputs)
                _add(derivative, x, d)
    return derivative


def _add(derivative: dict[int, Tensor | None], tensor: Tensor, value: Tensor | None) -> None:
    known = derivative.get(id(tensor))
    derivative[id(tensor)] = value if known is None else known if value is None else known + value


def _result(found: dict[int, Tensor | None], target: Tensor) -> Tensor | None:
    """The derivative by a target: zeros if every path to it is flat, ``None`` if there is none."""
    if id(target) not in found:
        return None
    d = found[id(target)]
    return broadcast_to(Tensor(np.zeros((), target.dtype)), target) if d is None else d
