"""Reverse-mode differentiation over the graph that Tensors remember.

The chain rule, node by node from the output back: each op's rule turns the derivative by its output
into derivatives by its inputs, and derivatives that arrive along several paths are added
(Rumelhart, Hinton & Williams, "Learning representations by back-propagating errors", Nature 1986).
Rules are ops themselves, so a derivative can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, overload

import numpy as np

from fastprop import _core
from fastprop.graph.hooks import call_hooks
from fastprop.graph.op import Op, grad_mode
from fastprop.graph.ops_elementwise import copy
from fastprop.graph.ops_reduction import broadcast_to
from fastprop.graph.ops_shape import cast
from fastprop.graph.scope import current_scope, differentiate, scoped
from fastprop.graph.tensor import Tensor, TensorLike, as_tensor
from fastprop.graph.trace import current_trace, no_value


@overload
def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor,
    grad_outputs: TensorLike | Sequence[TensorLike | None] | None = ...,
    *,
    create_graph: bool = ...,
    retain_graph: bool = ...,
    allow_unused: bool = ...,
) -> Tensor: ...


@overload
def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Sequence[Tensor],
    grad_outputs: TensorLike | Sequence[TensorLike | None] | None = ...,
    *,
    create_graph: bool = ...,
    retain_graph: bool = ...,
    allow_unused: bool = ...,
) -> list[Any]: ...


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: TensorLike | Sequence[TensorLike | None] | None = None,
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
        TypeError: An output is an integer Tensor, or a gradient has another dtype than its output.
    """
    outs, targets = _tensors("outputs", outputs), _tensors("inputs", inputs)
    if isinstance(grad_outputs, list | tuple):
        seeds: list[Any] = list(grad_outputs)
    else:
        seeds = [grad_outputs] if outs else []
        seeds += [None] * (len(outs) - 1)
    if len(seeds) != len(outs):
        raise ValueError(f"grad: {len(outs)} outputs but {len(seeds)} grad_outputs")
    with grad_mode(create_graph), scoped(current_scope()):
        given = [None if g is None else as_tensor(g, o) for o, g in zip(outs, seeds, strict=True)]
        start = [_seed("grad", o, g) for o, g in zip(outs, given, strict=True)]
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


def _tensors(label: str, given: Tensor | Sequence[Tensor]) -> list[Tensor]:
    one = isinstance(given, Tensor) or not isinstance(given, Iterable)
    several: list[Any] = [given] if one else list(given)
    for item in several:
        if not isinstance(item, Tensor):
            raise TypeError(f"grad: {label} must be Tensors, got {type(item).__name__}")
    return several


def gradients_within(
    name: str, outputs: Sequence[Tensor], inputs: Sequence[Tensor], gradients: Sequence[Tensor]
) -> list[Any]:
    """Derivatives by inputs that no path leads further back than: part of a pass that goes on.

    Returns:
        Tensors, ``None`` for zero, ``NotImplemented`` where the outputs do not depend on an input:
        what a rule for all inputs gives.
    """
    found = _accumulate(name, outputs, gradients, inputs, free=False, within=True)
    return [found.values.get(id(t), NotImplemented) for t in inputs]


NO_HISTORY = "no_history"
"""The attribute of a result of a compiled function that says why it cannot be differentiated."""


def _seed(name: str, output: Tensor, gradient: Tensor | None) -> Tensor:
    if name == "backward" and output.symbolic and current_trace() is None:
        raise no_value(output.shape)  # parameters would get gradients without a value
    if output.dtype.kind != "f":
        raise TypeError(f"{name}: an {output.dtype} Tensor has no derivative")
    if not output.requires_grad:
        raise RuntimeError(
            f"{name}: the output of shape {output.shape} "
            + output.attrs.get(NO_HISTORY, "does not depend on any Tensor that requires a gradient")
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
    if gradient.dtype != output.dtype:
        if gradient.dtype.kind == "f":
            raise TypeError(
                f"{name}: the gradient is {gradient.dtype}, the output {output.dtype}; convert one "
                "with astype"
            )
        gradient = cast(gradient, output.dtype)
    return gradient


class Derivatives(NamedTuple):
    """What a pass has found.

    Attributes:
        values: Derivatives by Tensors, by their id; ``None`` is zero.
        leaves: The leaves that were reached, in the order of the pass.
    """

    values: dict[int, Tensor | None]
    leaves: list[Tensor]


def _freed(dy: Tensor, y: Tensor, *inputs: Tensor) -> Tensor:
    raise AssertionError("the rule of a freed node is never called")


FREED = Op("freed", lambda name, specs, attrs: specs[0], (_freed,))
"""The op of a result whose history a backward pass has given back."""


def _accumulate(
    name: str,
    outputs: Sequence[Tensor],
    seeds: Sequence[Tensor],
    targets: Sequence[Tensor] | None,
    free: bool,
    within: bool = False,
) -> Derivatives:
    """One pass back: derivatives by the targets, or by all leaves; or `within` the targets only.

    Nodes are taken the latest first, so that everything that used one has been there before. The
    walk itself is in csrc/bindings/bind_backward.cpp, with ``accumulate_gradients``, which adds to
    ``grad`` of all leaves.
    """
    trace = current_trace()
    if free and trace is not None:  # symbolic Tensors keep their history, as results must not
        trace.freed.extend(outputs)
    found = _core.accumulate(name, list(outputs), list(seeds), targets, free, within)
    return Derivatives(*found)


def _freed_error(name: str, node: Tensor) -> RuntimeError:
    return RuntimeError(
        f"{name}: the graph behind a Tensor of shape {node.shape} was freed by an earlier backward "
        "pass; give that one retain_graph=True"
    )


def _changed_error(name: str, leaf: Tensor, node: Tensor) -> RuntimeError:
    assert node.op is not None
    return RuntimeError(
        f"{name}: a Tensor of shape {leaf.shape} was changed in place after {node.op.name} had "
        "used it; differentiate first, then change it"
    )


def _result(found: Derivatives, target: Tensor) -> Tensor | None:
    """The derivative by a target: zeros if every path to it is flat, ``None`` if there is none."""
    if id(target) not in found.values:
        return None
    d = found.values[id(target)]
    return _zeros(target) if d is None else d


def _zeros(like: Tensor) -> Tensor:
    return broadcast_to(Tensor(np.zeros((), like.dtype)), like)


_core.bind_backward(
    FREED, call_hooks, differentiate, _freed_error, _changed_error, _seed, _zeros, copy
)


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
