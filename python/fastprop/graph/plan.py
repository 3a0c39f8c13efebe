"""What an eager op does with operands of certain shapes and dtypes, worked out once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from fastprop import _core
from fastprop.graph import cost
from fastprop.graph.op import GRAD_ENABLED, Op, Spec, encode, kernel_attributes
from fastprop.graph.scope import SCOPE
from fastprop.graph.trace import TRACE

if TYPE_CHECKING:
    from fastprop.graph.tensor import Tensor

_NS_PER_THREAD = 15_000.0
"""Work that a thread more must find: to start and to meet takes a team a few microseconds."""


class Plan(NamedTuple):
    """What C++ looks up again by the op, the operands' Specs and the attributes.

    Attributes:
        out: The output.
        differentiable: Whether a derivative can be recorded.
        attributes: The kernel's attributes as the bytes of doubles.
        code: The kernel's number in the op table.
        view: Whether the output is the input's memory under another shape.
        threads: How many threads the work is worth.
        attrs: The attributes as the op's nodes have them: one dict for all, which nobody changes.
    """

    out: Spec
    differentiable: bool
    attributes: bytes
    code: int
    view: bool
    threads: int
    attrs: dict[str, Any]


def make_plan(op: Op, specs: Sequence[Spec], attrs: dict[str, Any]) -> Plan:
    """Shape inference, with its errors, and a guess at the work."""
    out = op.infer(op.name, specs, attrs)
    encoded = encode(kernel_attributes(op, attrs).values())
    differentiable = bool(op.vjps) and out.dtype.kind == "f"
    threads = _threads(op, specs, out, attrs)
    return Plan(out, differentiable, encoded, op.code, op.view, threads, attrs)


def _threads(op: Op, specs: Sequence[Spec], out: Spec, attrs: dict[str, Any]) -> int:
    moved = sum(math.prod(s.shape) * s.dtype.itemsize for s in (*specs, out))
    flops = cost.kernel_flops(op.name, specs[0].shape if specs else (), out.shape, attrs)
    rows = out.shape[0] if out.shape else 1
    return max(1, min(_most_threads(), int(cost.kernel_ns(moved, flops) / _NS_PER_THREAD), rows))


@cache
def _most_threads() -> int:
    return _core.available_threads()


def bind_tensor(tensor_type: type[Tensor]) -> None:
    """Tell :func:`apply` the class of its results, which is defined in terms of it."""
    _core.bind_tensor(tensor_type, Spec, {}, make_plan, GRAD_ENABLED, TRACE, SCOPE)
