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
from dataclasses import dataclass
from itertools import count
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastprop import _core

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastprop.graph.tensor import Tensor

Vjp = Callable[..., "Tensor | None"]
Infer = Callable[[str, Sequence["Spec"], dict[str, Any]], "Spec"]
_new = object.__new__

Rowwise = bool | tuple[int, ...] | Callable[[dict[str, float]], bool | tuple[int, ...]]


class Spec(NamedTuple):
    """Shape and dtype of a value, and whether its first axis is the batch of a traced Program."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    batched: bool = False


@dataclass(frozen=True, eq=False)
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

    name: str
    infer: Infer
    vjps: tuple[Vjp | None, ...] = ()
    rowwise: Rowwise = False
    inplace: bool = False
    view: Callable[..., np.ndarray[Any, Any]] | None = None
    attributes: tuple[str, ...] = ()
    code: int = -1


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


def is_grad_enabled() -> bool:
    return _grad_enabled.get()


class Plan(NamedTuple):
    """What an op does with operands of certain shapes and dtypes, worked out once.

    Attributes:
        out: The output.
        differentiable: Whether a derivative can be recorded.
        attributes: The kernel's attributes as the bytes of doubles.
    """

    out: Spec
    differentiable: bool
    attributes: bytes


_MAX_PLANS = 4096
_plans: dict[tuple[Any, ...], Plan] = {}
_spec_of = attrgetter("spec")
_data_of = attrgetter("_data")
_no_attrs: dict[str, Any] = {}
_tensor_type: Any = None
_next_time = count(1).__next__


def bind_tensor(tensor_type: type[Tensor]) -> None:
    """Tell :func:`apply` the class of its results, which is defined in terms of it."""
    global _tensor_type
    _tensor_type = tensor_type


def now() -> int:
    """The next number of a clock that orders nodes, and changes of the leaves they read."""
    return _next_time()


def _plan(op: Op, specs: Sequence[Spec], attrs: dict[str, Any]) -> Plan:
    out = op.infer(op.name, specs, attrs)
    values = [float(attrs[name]) for name in op.attributes]
    encoded = struct.pack(f"{len(values)}d", *values)
    return Plan(out, bool(op.vjps) and out.dtype.kind == "f", encoded)


def apply(op: Op, *inputs: Tensor, **attrs: Any) -> Tensor:
    """Run `op` on Tensors that hold data, or record it on symbolic ones.

    Shape inference and its errors come first, once for each combination of shapes, dtypes and
    attributes (which must be hashable).
    """
    key = (op, *map(_spec_of, inputs), *attrs.items())
    plan = _plans.get(key)
    if plan is None:
        plan = _plan(op, [t.spec for t in inputs], attrs)
        if len(_plans) >= _MAX_PLANS:
            _plans.clear()
        _plans[key] = plan
    out, differentiable, encoded = plan
    symbolic = out.batched  # a constant broadcast to the batch is known when the Program runs
    requires_grad = False
    for t in inputs:
        if t.requires_grad:
            requires_grad = True
        if t._data is None:
            symbolic = True
    if requires_grad:
        symbolic = symbolic or _tracing.get()
        requires_grad = differentiable and _grad_enabled.get()
    y: Tensor = _new(_tensor_type)
    if symbolic:
        y._data = None
    elif op.view is not None:
        y._data = op.view(*[t.data for t in inputs], **attrs)
    else:
        arrays = tuple(map(_data_of, inputs))
        y._data = _core.run_op(op.code, arrays, out[0], out[1], encoded, 1)
    y.spec = out
    y.shape = out[0]
    y.dtype = out[1]
    if requires_grad or symbolic:
        y.op, y.inputs, y.attrs = op, inputs, attrs
    else:
        y.op, y.inputs, y.attrs = None, (), _no_attrs
    y.requires_grad = requires_grad
    y.grad = y.hooks = None
    y.time = _next_time()
    return y
