"""What an op is: shape inference, a derivative rule, and a kernel of the same name in C++.

Every op runs through :func:`apply`. On Tensors that hold data it runs at once; on symbolic Tensors,
or on parameters while a Program is being traced, it only records a node. The derivative rules are
ops on Tensors themselves, so the same rule serves both, and every order.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from contextlib import ContextDecorator
from contextvars import ContextVar, Token
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastprop import _core

if TYPE_CHECKING:
    from fastprop.graph.tensor import Tensor

Vjp = Callable[..., "Tensor | None"]
Joint = Callable[..., Sequence[Any]]
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
            ends the graph. Or one function for all inputs, ``vjp(dy, y, inputs, wanted)``, where
            these need one pass together; gives a sequence, with ``NotImplemented`` for what does
            not depend on an input, and anything for what is not wanted.
        rowwise: True if index *i* of the output's first axis needs only index *i* of those inputs
            that share that axis, so that no thread reads what another one wrote; a tuple if that
            holds for the inputs at these positions only (a weight is always read whole); a function
            of the kernel's attributes if it depends on these.
        inplace: True if the kernel may write its output over its last input of the same shape.
        view: True if the output is its input's memory under another shape (``reshape``); no
            kernel.
        derivations: Recipes of its derivatives (graph/recipe.py), or ``None``: its rules look at
            values, or belong to one result alone.
    """

    __slots__ = (
        "attributes",
        "code",
        "derivations",
        "infer",
        "inplace",
        "name",
        "rowwise",
        "view",
        "vjps",
    )

    def __init__(
        self,
        name: str,
        infer: Infer,
        vjps: tuple[Vjp | None, ...] | Joint = (),
        rowwise: Rowwise = False,
        inplace: bool = False,
        view: bool = False,
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
        self.derivations: dict[Any, Any] | None = None


OPS: dict[str, Op] = {}


def register(
    name: str,
    infer: Infer,
    *vjps: Vjp | None,
    rowwise: Rowwise = False,
    inplace: bool = False,
    view: bool = False,
) -> Op:
    """Add an op to the table; unless it is a view, the C++ table must know the name."""
    if name in OPS:
        raise ValueError(f"register: op {name!r} exists already")
    if view:
        op = Op(name, infer, vjps, True, inplace, view)
    else:
        code, attributes = _core.op_info(name)
        op = Op(name, infer, vjps, rowwise, inplace, False, tuple(attributes), code)
    op.derivations = {}
    OPS[name] = op
    return op


def every_op() -> list[Op]:
    """All ops in the order of the C++ table, views first. Loads the modules that define them: a
    program loads only those it uses."""
    import pkgutil
    from importlib import import_module

    from fastprop import graph

    for module in pkgutil.iter_modules(graph.__path__):
        if module.name.startswith("ops_"):
            import_module(f"fastprop.graph.{module.name}")
    return sorted(OPS.values(), key=lambda op: (op.code, op.name))


def op_named(name: str) -> Op:
    """The op of this name, whichever module defines it."""
    if name not in OPS:
        every_op()
    return OPS[name]


GRAD_ENABLED: ContextVar[bool] = ContextVar("grad_enabled", default=True)


class grad_mode(ContextDecorator):
    """Record derivatives inside the block (or the function that it decorates), or do not.

    Of a generator it is every step, and not what its caller does in between.
    """

    __slots__ = ("_enabled", "_tokens")

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled
        self._tokens: list[Token[bool]] = []  # a block may be entered inside itself

    def __enter__(self) -> None:
        self._tokens.append(GRAD_ENABLED.set(self._enabled))

    def __exit__(self, *error: object) -> None:
        GRAD_ENABLED.reset(self._tokens.pop())

    def __call__(self, function: Any) -> Any:
        import inspect  # which a program that only trains has no use for

        if not callable(function):
            raise TypeError(f"no_grad: decorates functions, got {type(function).__name__}")
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError("no_grad: cannot decorate an async function; use a block inside it")
        if inspect.isgeneratorfunction(function):
            return _stepwise(function, self._enabled)
        return super().__call__(function)


def _stepwise(function: Callable[..., Any], enabled: bool) -> Callable[..., Any]:
    """A generator function whose steps each run in the mode; what its caller does does not."""

    @wraps(function)
    def generate(*args: Any, **options: Any) -> Any:
        generator = function(*args, **options)
        step, value = generator.send, None
        while True:
            try:
                with grad_mode(enabled):
                    found = step(value)
            except StopIteration as end:
                return end.value
            try:
                step, value = generator.send, (yield found)
            except GeneratorExit:
                generator.close()
                raise
            except BaseException as error:
                step, value = generator.throw, error

    return generate


def is_grad_enabled() -> bool:
    return GRAD_ENABLED.get()


def kernel_attributes(op: Op, attrs: dict[str, Any]) -> dict[str, float]:
    """The kernel's attributes as numbers; its ``perm3`` is ``attrs["perm"][3]``."""
    return {
        name: float(attrs[name] if name in attrs else attrs[name[:-1]][int(name[-1])])
        for name in op.attributes
    }


def encode(numbers: Iterable[float]) -> bytes:
    """Attributes as the bytes of doubles, as C++ takes them; as a part of a key they tell -0.0 from
    0.0, which are equal, and find NaN again, which is not equal to itself.
    """
    values = tuple(numbers)
    return struct.pack(f"{len(values)}d", *values)


apply: Callable[..., Tensor] = _core.apply
"""``apply(op, *inputs, **attrs)``: run `op` on Tensors that hold data, or record it on symbolic
ones. Shape inference and its errors come first, once for each combination of shapes, dtypes and
attributes (which must be hashable); see csrc/bindings/bind_eager.cpp."""

now: Callable[[], int] = _core.now
"""The next number of a clock that orders results, and changes of the leaves that they came from."""
