"""What an op is: shape inference, a derivative rule, and a kernel of the same name in C++.

Every op runs through :func:`apply`. On Tensors that hold data it runs at once; on symbolic Tensors,
or on parameters while a Program is being traced, it only records a node. The derivative rules are
ops on Tensors themselves, so the same rule serves both, and every order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastprop import _core

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastprop.graph.tensor import Tensor

Vjp = Callable[..., "Tensor | None"]
Infer = Callable[[str, Sequence["Spec"], dict[str, Any]], "Spec"]


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
            holds for the inputs at these positions only (a weight is always read whole).
        inplace: True if the kernel may write its output over its last input of the same shape.
        view: A NumPy function that gives the output without computing (``reshape``); no kernel.
    """

    __slots__ = ("attributes", "code", "infer", "inplace", "name", "rowwise", "view", "vjps")

    def __init__(
        self,
        name: str,
        infer: Infer,
        vjps: tuple[Vjp | None, ...] = (),
        rowwise: bool | tuple[int, ...] = False,
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
    rowwise: bool | tuple[int, ...] = False,
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


def encode_attributes(op: Op, attrs: dict[str, Any]) -> list[float]:
    """The op's attributes as the doubles that C++ reads, in the table's order."""
    return [float(attrs[name]) for name in op.attributes]


_grad_enabled: ContextVar[bool] = ContextVar("grad_enabled", default=True)
_tracing: ContextVar[bool] = ContextVar("tracing", default=False)


@contextmanager
def grad_mode(enabled: bool) -> Iterator[None]:
    """Record derivatives inside the block, or do not."""
    token = _grad_enabled.set(enabled)
    try:
        yield
    finally:
        _grad_enabled.reset(token)


@contextmanager
def tracing() -> Iterator[None]:
    """Inside the block, ops on parameters are recorded instead of run."""
    token = _tracing.set(True)
    try:
        yield
    finally:
        _tracing.reset(token)


def is_tracing() -> bool:
    return _tracing.get()


def is_grad_enabled() -> bool:
    return _grad_enabled.get()


def apply(op: Op, *inputs: Tensor, **attrs: Any) -> Tensor:
    """Run `op` on Tensors that hold data, or record it on symbolic ones."""
    from fastprop.graph.tensor import Tensor

    out = op.infer(op.name, [t.spec for t in inputs], attrs)
    requires_grad = bool(
        op.vjps
        and _grad_enabled.get()
        and out.dtype.kind == "f"
        and any(t.requires_grad for t in inputs)
    )
    # What varies with the batch (a constant broadcast to it) is known when the Program runs.
    symbolic = out.batched or any(t.symbolic for t in inputs)
    if symbolic or (_tracing.get() and any(t.requires_grad for t in inputs)):
        return Tensor._from_op(None, out, op, inputs, attrs, requires_grad)
    return Tensor._from_op(run(op, inputs, out, attrs), out, op, inputs, attrs, requires_grad)


def run(op: Op, inputs: Sequence[Tensor], out: Spec, attrs: dict[str, Any]) -> np.ndarray[Any, Any]:
    arrays = [t.data for t in inputs]
    if op.view is not None:
        return op.view(*arrays, **attrs)
    result = np.empty(out.shape, out.dtype)
    _core.execute(op.code, arrays, [result], encode_attributes(op, attrs))
    return result
