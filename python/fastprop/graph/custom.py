"""custom_op: ops whose kernels are functions of the user on NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprop import _core
from fastprop.graph.ir import kernel
from fastprop.graph.op import Op, Spec, is_grad_enabled, now
from fastprop.graph.scope import current_scope
from fastprop.graph.tensor import Tensor, TensorLike, as_tensor
from fastprop.graph.trace import is_tracing

Array = NDArray[Any]
Forward = Callable[..., Any]
Backward = Callable[..., Any]

_functions: list[Callable[..., Any]] = []
"""What host_call and host_update call, by slot; a Program refers to it as long as it lives."""

_updates: set[int] = set()


def _call(slot: int, inputs: list[Array], outputs: list[Array], numbers: list[float]) -> None:
    if slot in _updates:
        _functions[slot](inputs, outputs, numbers)
    else:
        outputs[0][...] = _functions[slot](inputs)


def update_slot(function: Callable[[list[Array], list[Array], list[float]], None]) -> int:
    """The slot of a function for the op ``host_update``: it gets inputs, what it is to overwrite,
    and the step's numbers."""
    slot = len(_functions)
    _functions.append(function)
    _updates.add(slot)
    return slot


class CustomOp:
    """An op made by :func:`custom_op`; call it on Tensors.

    Attributes:
        name: What errors and reports call it.
    """

    def __init__(
        self, forward: Forward, backward: Backward | CustomOp | None, name: str | None
    ) -> None:
        self.name = str(name or getattr(forward, "__name__", "custom_op"))
        self._forward = forward
        self._backward = backward
        self._slots: dict[Any, int] = {}

    def __call__(self, *inputs: TensorLike, **options: Any) -> Tensor:
        """The op on Tensors; options are handed to its functions as they are."""
        like = next((x for x in inputs if isinstance(x, Tensor)), None)
        tensors = [as_tensor(x, like) for x in inputs]
        floating = {t.dtype for t in tensors if t.dtype.kind == "f"}
        if len(floating) > 1:
            names = " and ".join(sorted(map(str, floating)))
            raise TypeError(f"{self.name}: operands have different dtypes, {names}")
        function = partial(_on_arrays, self.name, partial(self._forward, **options))
        rules = tuple(self._rule(i, len(tensors), options) for i in range(len(tensors)))
        key = ("forward", tuple(sorted(options.items())))
        return self._apply(function, tensors, rules, key)

    def _apply(
        self,
        function: Callable[[list[Array]], Array],
        tensors: list[Tensor],
        rules: tuple[Callable[..., Tensor | None] | None, ...],
        key: Any,
    ) -> Tensor:
        symbolic = any(t.symbolic for t in tensors)
        differentiable = any(t.requires_grad for t in tensors)
        if symbolic or (is_tracing() and any(type(t) is not Tensor for t in tensors)):
            value, spec = None, _specification(self.name, function, [t.spec for t in tensors])
        else:
            value = function([t.data for t in tensors])
            spec = Spec(value.shape, value.dtype)
        result = Tensor.__new__(Tensor)
        differentiable = differentiable and spec.dtype.kind == "f" and is_grad_enabled()
        result._set(value, spec, differentiable)
        if differentiable or value is None:
            if value is None and key not in self._slots:  # eager nodes call no slot
                self._slots[key] = len(_functions)
                _functions.append(function)
            code, attributes = kernel("host_call")
            result.op = Op("host_call", _known, rules, attributes=attributes, code=code)
            result.inputs, result.attrs = tuple(tensors), {"slot": self._slots.get(key, -1)}
            result.time, result.scope = now(), current_scope() if value is None else None
        return result

    def _rule(
        self, position: int, count: int, options: dict[str, Any]
    ) -> Callable[..., Tensor | None]:
        def rule(dy: Tensor, y: Tensor, *inputs: Tensor) -> Tensor | None:
            if inputs[position].dtype.kind != "f":
                return None
            if self._backward is None:
                raise RuntimeError(f"{self.name}: was made without a backward function")
            if isinstance(self._backward, CustomOp):
                return self._backward(dy, y, *inputs, **options)
            function = partial(
                _gradient, self.name, partial(self._backward, **options), position, count
            )
            key = ("backward", position, count, tuple(sorted(options.items())))
            refuse = partial(_no_second, self.name)
            return self._apply(function, [dy, y, *inputs], (refuse,) * (count + 2), key)

        return rule

    def __repr__(self) -> str:
        return f"<custom_op {self.name}>"


def custom_op(
    forward: Forward,
    backward: Backward | CustomOp | None = None,
    *,
    name: str | None = None,
) -> CustomOp:
    """An op from two functions on NumPy arrays; works eagerly, compiled and in a Trainer.

    Args:
        forward: ``forward(*arrays, **options) -> array``. The arrays are read-only and valid during
            the call only. It must depend on nothing else. In a Program its result has to have the
            same shape each time, but for the rows of a batch; to learn it, the function is called
            on arrays of ones while it is traced.
        backward: ``backward(dy, y, *arrays, **options)`` gives the derivative of the loss by each
            input, from that by the output: a tuple of arrays, or one array if there is one input;
            ``None`` for zero. Called once for each input that a derivative is wanted by. For higher
            derivatives of an op with one input give a custom op instead of a function.
        name: What errors call it; the function's name if left out.

    Returns:
        A :class:`CustomOp`, to call on Tensors, arrays and numbers.

    Raises:
        TypeError: `forward` or `backward` cannot be called. From a call: the function returns
            something else than an array of float32, float64 or int64.
        ValueError: From a derivative: a gradient has not its input's shape.

    A function's exception ends the run of a Program after the present step, and is raised from it.

    >>> cube = fp.custom_op(lambda x: x**3, lambda dy, y, x: dy * 3 * x**2, name="cube")
    >>> fp.gradcheck(cube, fp.tensor(np.arange(3.0), requires_grad=True))
    True
    """
    if not callable(forward):
        raise TypeError(f"custom_op: forward must be a function, got {type(forward).__name__}")
    if backward is not None and not callable(backward):
        raise TypeError(f"custom_op: backward must be a function, got {type(backward).__name__}")
    return CustomOp(forward, backward, name)


def _known(name: str, specs: Sequence[Spec], attrs: dict[str, Any]) -> Spec:
    raise AssertionError("the result of a custom op is known when it is made")


def _no_second(name: str, dy: Tensor, y: Tensor, *inputs: Tensor) -> Tensor:
    raise RuntimeError(
        f"{name}: its backward is a function on arrays, which has no derivative; give a custom op "
        "as backward for derivatives of higher order"
    )


def _on_arrays(name: str, function: Forward, arrays: list[Array]) -> Array:
    return _checked(name, function(*(_read_only(a) for a in arrays)), arrays)


def _read_only(array: Array) -> Array:
    view = array.view()
    view.flags.writeable = False
    return view


def _checked(name: str, value: Any, inputs: Sequence[Array]) -> Array:
    """What a function returned, as a contiguous array of a dtype that Tensors have."""
    array = np.asarray(value)
    if array.dtype.kind == "f":
        floating = [a.dtype for a in inputs if a.dtype.kind == "f"]
        return np.require(array, dtype=floating[0] if floating else None, requirements="C")
    if array.dtype.kind in "iub":
        return np.require(array, dtype=np.int64, requirements="C")
    raise TypeError(f"{name}: must return an array of numbers, got dtype {array.dtype}")


def _gradient(
    name: str, function: Backward, position: int, count: int, arrays: list[Array]
) -> Array:
    """The derivative by one input."""
    found = function(*(_read_only(a) for a in arrays))
    if not isinstance(found, tuple | list):
        found = (found,)
    if len(found) != count:
        raise ValueError(
            f"{name}: backward gave {len(found)} gradients, expected one for each of {count} inputs"
        )
    x = arrays[2 + position]
    if found[position] is None:
        return np.zeros_like(x)
    gradient = _checked(f"{name}: backward", found[position], [x])
    if gradient.shape != x.shape:
        raise ValueError(
            f"{name}: backward gave a gradient of shape {gradient.shape} for input {position} of "
            f"shape {x.shape}"
        )
    return gradient


def _specification(
    name: str, function: Callable[[list[Array]], Array], specs: Sequence[Spec]
) -> Spec:
    """How the result looks, found by trying: with the batch as it is, and with a row more."""

    def result(more: int) -> Array:
        shapes = [(s.shape[0] + more, *s.shape[1:]) if s.batched else s.shape for s in specs]
        ones = [np.ones(shape, s.dtype) for shape, s in zip(shapes, specs, strict=True)]
        with np.errstate(all="ignore"):
            return function(ones)

    value = result(0)
    if not any(s.batched for s in specs):
        return Spec(value.shape, value.dtype)
    rows = next(s.shape[0] for s in specs if s.batched)
    other = result(1)
    if other.shape == value.shape:
        return Spec(value.shape, value.dtype)
    if value.shape[:1] == (rows,) and other.shape == (rows + 1, *value.shape[1:]):
        return Spec(value.shape, value.dtype, True)
    raise ValueError(
        f"{name}: gives shape {value.shape} for {rows} rows and {other.shape} for {rows + 1}; the "
        "batch must be the first axis of the result, or none"
    )


_core.set_host_function(_call)
