"""What an op is: shape inference, a derivative rule, and a kernel of the same name in C++.

Every op runs through :func:`apply`. On Tensors that hold data it runs at once; on symbolic Tensors,
or on parameters while a Program is being traced, it only records a node. The derivative rules are
ops on Tensors themselves, so the same rule serves both, and every order.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastprop import _core
from fastprop.graph.scope import SCOPE
from fastprop.graph.trace import TRACE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastprop.graph.tensor import Tensor

Vjp = Callable[..., "Tensor | None"]
Infer = Callable[[str, Sequence["Spec"], dict[str, Any]], "Spec"]
Rowwise = bool | tuple[int, ...] | Callable[[dict[str, float]], bool | tuple[int, ...]]


class Spec(NamedTuple):
    """Shape and dtype of a value, and whether its first axis is the batch of a traced Program."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    batched: bool = False


class Op:
    """An operation: how its output looks, how it is differentiated, how the Team slices it.

    Attributes:
        name: The kernel's name in the C++ op table.
        infer: ``infer(name, specs, attrs) -> Spec``; raises ``ValueError`` or ``TypeError`` on bad
            operands.
        vjps: One function an input, ``vjp(dy, y, *inputs) -> dx`` in terms of ops; ``None`` in the
            place of a function, or as its result, where the derivative is zero. An op without any
            ends the graph.
        rowwise: True if index *i* of the output's first axis needs only index *i* of those inputs
            that share that axis, so that no thread reads what another one wrote; a tuple if that
            holds for the inputs at these positions only (a weight is always read whole); a function
            of the kernel's attributes if it depends on these.
        inplace: True if the kernel may write its output over its last input of the same shape.
        view: A NumPy function that gives the output without computing (``reshape``); no kernel.
    """

    __slots__ = ("attributes", "code", "infer", "inplace", "name", "rowwise", "view", "vjps")

    def __init__(
        self,
        name: str,
        infer: Infer,
        vjps: tuple[Vjp | None, ...] = (),
        rowwise: Rowwise = False,
        inplace: bool = False,
        view: Callable[..., np.ndarray[Any, Any]] | None = None,
        attributes: tuple[str, ...] = (),
        code: int = -1,
    ) -> None:
        self.name = name
        self.infer = infer
        self.vjps = vjps
        self.rowwise = rowwise
        self.inplace = inplace
        self.view = view
        self.attributes = attributes
        self.code = code


OPS: dict[str, Op] = {}


def register(
    name: str,
    infer: Infer,
    *vjps: Vjp | None,
    rowwise: Rowwise = False,
    inplace: bool = False,
    view: Callable[..., np.ndarray[Any, Any]] | None = None,
) -> Op:
    """Add an op to the table; unless it is a view, the C++ table must know the name."""
    if name in OPS:
        raise ValueError(f"register: op {name!r} exists already")
    if view is not None:
        op = Op(name, infer, vjps, True, inplace, view)
    else:
        code, attributes = _core.op_info(name)
        op = Op(name, infer, vjps, rowwise, inplace, None, tuple(attributes), code)
    OPS[name] = op
    return op


_grad_enabled: ContextVar[bool] = ContextVar("grad_enabled", default=True)


@contextmanager
def grad_mode(enabled: bool) -> Iterator[None]:
    """Record derivatives inside the block, or do not."""
    token = _grad_enabled.set(enabled)
    try:
        yield
    finally:
        _grad_enabled.reset(token)


def is_grad_enabled() -> bool:
    return _grad_enabled.get()


class Plan(NamedTuple):
    """What an op does with operands of certain shapes and dtypes, worked out once; C++ reads it.

    Attributes:
        out: The output.
        differentiable: Whether a derivative can be recorded.
        attributes: The kernel's attributes as the bytes of doubles.
        code: The kernel's number in the op table.
        view: The NumPy function that gives the output where there is no kernel.
    """

    out: Spec
    differentiable: bool
    attributes: bytes
    code: int
    view: Callable[..., np.ndarray[Any, Any]] | None


def kernel_attributes(op: Op, attrs: dict[str, Any]) -> dict[str, float]:
    """The kernel's attributes as numbers; its ``perm3`` is ``attrs["perm"][3]``."""
    return {
        name: float(attrs[name] if name in attrs else attrs[name[:-1]][int(name[-1])])
        for name in op.attributes
    }


def _plan(op: Op, specs: Sequence[Spec], attrs: dict[str, Any]) -> Plan:
    """Shape inference, with its errors."""
    out = op.infer(op.name, specs, attrs)
    values = kernel_attributes(op, attrs).values()
    encoded = struct.pack(f"{len(values)}d", *values)
    return Plan(out, bool(op.vjps) and out.dtype.kind == "f", encoded, op.code, op.view)


def bind_tensor(tensor_type: type[Tensor]) -> None:
    """Tell :func:`apply` the class of its results, which is defined in terms of it."""
    _core.bind_tensor(tensor_type, {}, _plan, _grad_enabled, TRACE, SCOPE)


apply: Callable[..., Tensor] = _core.apply
"""``apply(op, *inputs, **attrs)``: run `op` on Tensors that hold data, or record it on symbolic
ones. Shape inference and its errors come first, once for each combination of shapes, dtypes and
attributes (which must be hashable); see csrc/bindings/bind_eager.cpp."""

now: Callable[[], int] = _core.now
"""The next number of a clock that orders results, and changes of the leaves that they came from."""
