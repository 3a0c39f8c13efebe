"""An eager step: the updates of all parameters, in one call of C++ where the rule is one op.

A step of Adam on six small arrays takes a third of what six calls take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from numpy.typing import NDArray

from fastprop.graph.effects import overwrite_each
from fastprop.graph.ir import kernel
from fastprop.graph.tensor import Tensor
from fastprop.registry import type_name

if TYPE_CHECKING:
    from fastprop.optim.optimizer import Optimizer


class Part(NamedTuple):
    """What the update of one parameter takes.

    Attributes:
        attributes: The op's attributes, by name.
        outputs: The parameter and its state.
        encoded: The attributes as the kernel has them. ("scalars", where a run's numbers begin, is
            0.)
    """

    attributes: dict[str, float]
    outputs: tuple[Tensor | NDArray[Any], ...]
    encoded: list[float]


def make_part(op: str, attributes: dict[str, float], parameter: Tensor, state: list[Any]) -> Part:
    """A part; an optimizer without an op of its own encodes nothing."""
    names = kernel(op)[1] if op else ()
    encoded = [attributes.get(name, 0.0) for name in names]
    return Part(attributes, (parameter, *state), encoded)


def step_now(optimizer: Optimizer, one_op: bool) -> None:
    """Update the parameters that have a gradient; `one_op`: each by the optimizer's op alone."""
    due = [i for i, p in enumerate(optimizer.parameters) if p.grad is not None]
    gradients = [_gradient(optimizer, i) for i in due]
    parts = optimizer._parts_now()
    numbers = _numbers(optimizer, due)
    if one_op:
        outputs = [parts[i].outputs for i in due]
        overwrite_each(optimizer.op, gradients, outputs, [parts[i].encoded for i in due], numbers)
    else:
        for i, gradient, row in zip(due, gradients, numbers, strict=True):
            optimizer._update(i, gradient, parts[i].attributes, row)
    optimizer._count(due)


def _gradient(optimizer: Optimizer, i: int) -> Tensor:
    parameter = optimizer.parameters[i]
    gradient = parameter.grad
    assert gradient is not None
    same = gradient.spec == parameter.spec
    if not same and (gradient.shape, gradient.dtype) != (parameter.shape, parameter.dtype):
        raise ValueError(
            f"{type_name(optimizer)}.step: parameter {i} is {parameter.dtype} {parameter.shape}, "
            f"its gradient {gradient.dtype} {gradient.shape}"
        )
    return gradient


def _numbers(optimizer: Optimizer, due: list[int]) -> list[list[float]]:
    """For each parameter the numbers of its step and group, which most parameters share."""
    rate = optimizer._rate_now()
    steps = {*map(optimizer._steps.__getitem__, due)}
    if len(optimizer.param_groups) == 1 and len(steps) == 1:
        (step,) = steps
        return [optimizer.step_scalars(step, 1, rate)[0].tolist()] * len(due)
    rows: dict[tuple[int, int], list[float]] = {}
    found = []
    for i in due:
        step, group = key = optimizer._steps[i], optimizer._group_of[i]
        if key not in rows:
            every = optimizer.step_scalars(step, 1, rate)[0].tolist()
            width = len(every) // len(optimizer.param_groups)
            rows[key] = every[width * group : width * (group + 1)]
        found.append(rows[key])
    return found
