"""Operators and methods of Tensors: functions of :mod:`fastprop.functional` under their names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import FunctionType
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from fastprop import functional

if TYPE_CHECKING:
    from fastprop.graph.tensor import Axis, Tensor, TensorLike

_F: Any = functional  # what is asked of it is made of Tensors, and loaded when it is asked for


class TensorMethods:
    """What a Tensor can be asked to compute."""

    __slots__ = ()

    # -- arithmetic -------------------------------------------------------------------------------

    def __add__(self, other: TensorLike) -> Tensor:
        return _F.add(self, other)

    def __radd__(self, other: TensorLike) -> Tensor:
        return _F.add(other, self)

    def __sub__(self, other: TensorLike) -> Tensor:
        return _F.sub(self, other)

    def __rsub__(self, other: TensorLike) -> Tensor:
        return _F.sub(other, self)

    def __mul__(self, other: TensorLike) -> Tensor:
        return _F.mul(self, other)

    def __rmul__(self, other: TensorLike) -> Tensor:
        return _F.mul(other, self)

    def __truediv__(self, other: TensorLike) -> Tensor:
        return _F.div(self, other)

    def __rtruediv__(self, other: TensorLike) -> Tensor:
        return _F.div(other, self)

    def __pow__(self, other: TensorLike) -> Tensor:
        return _F.pow(self, other)

    def __rpow__(self, other: TensorLike) -> Tensor:
        return _F.pow(other, self)

    def __matmul__(self, other: TensorLike) -> Tensor:
        return _F.matmul(self, other)

    def __rmatmul__(self, other: TensorLike) -> Tensor:
        return _F.matmul(other, self)

    def __neg__(self) -> Tensor:
        return _F.neg(self)

    def __pos__(self) -> Tensor:
        return self  # type: ignore[return-value]

    def __abs__(self) -> Tensor:
        return _F.abs(self)

    # -- comparison: 1 where it holds, else 0 ------------------------------------------------------

    def __gt__(self, other: Any) -> Tensor:
        return _F.greater(self, other)

    def __ge__(self, other: Any) -> Tensor:
        return _F.greater_equal(self, other)

    def __lt__(self, other: Any) -> Tensor:
        return _F.less(self, other)

    def __le__(self, other: Any) -> Tensor:
        return _F.less_equal(self, other)

    def __eq__(self, other: Any) -> Any:
        if isinstance(other, _COMPARABLE):
            return _F.equal(self, other)
        return NotImplemented

    def __ne__(self, other: Any) -> Any:
        if isinstance(other, _COMPARABLE):
            return _F.not_equal(self, other)
        return NotImplemented

    __hash__ = object.__hash__

    # -- masks ------------------------------------------------------------------------------------

    def __and__(self, other: TensorLike) -> Tensor:
        return _F.logical_and(_mask("&", self), _mask("&", other))

    def __rand__(self, other: TensorLike) -> Tensor:
        return _F.logical_and(_mask("&", other), _mask("&", self))

    def __or__(self, other: TensorLike) -> Tensor:
        return _F.logical_or(_mask("|", self), _mask("|", other))

    def __ror__(self, other: TensorLike) -> Tensor:
        return _F.logical_or(_mask("|", other), _mask("|", self))

    def __xor__(self, other: TensorLike) -> Tensor:
        return _F.logical_xor(_mask("^", self), _mask("^", other))

    def __rxor__(self, other: TensorLike) -> Tensor:
        return _F.logical_xor(_mask("^", other), _mask("^", self))

    def __invert__(self) -> Tensor:
        return _F.logical_not(_mask("~", self))

    def any(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return _F.any(self, axis, keepdims)

    def all(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return _F.all(self, axis, keepdims)

    # -- parts ------------------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Tensor:
        return _F.getitem(self, key)

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        raise TypeError(
            "Tensor[…] = …: a Tensor is a value and cannot be assigned to in part, since its "
            "derivatives would be wrong; make a new one with where, scatter_add or concatenate, or "
            "write into the NumPy array `tensor.data` of one that is not a result"
        )

    def __contains__(self, value: TensorLike) -> bool:
        return bool((self == value).any())

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))  # type: ignore[arg-type]

    # -- functions as methods ----------------------------------------------------------------------

    def exp(self) -> Tensor:
        return _F.exp(self)

    def log(self) -> Tensor:
        return _F.log(self)

    def sqrt(self) -> Tensor:
        return _F.sqrt(self)

    def square(self) -> Tensor:
        return _F.square(self)

    def abs(self) -> Tensor:
        return _F.abs(self)

    def sin(self) -> Tensor:
        return _F.sin(self)

    def cos(self) -> Tensor:
        return _F.cos(self)

    def log1p(self) -> Tensor:
        return _F.log1p(self)

    def expm1(self) -> Tensor:
        return _F.expm1(self)

    def rsqrt(self) -> Tensor:
        return _F.rsqrt(self)

    def reciprocal(self) -> Tensor:
        return _F.reciprocal(self)

    def sign(self) -> Tensor:
        return _F.sign(self)

    def tan(self) -> Tensor:
        return _F.tan(self)

    def asin(self) -> Tensor:
        return _F.asin(self)

    def acos(self) -> Tensor:
        return _F.acos(self)

    def atan(self) -> Tensor:
        return _F.atan(self)

    def sinh(self) -> Tensor:
        return _F.sinh(self)

    def cosh(self) -> Tensor:
        return _F.cosh(self)

    def asinh(self) -> Tensor:
        return _F.asinh(self)

    def acosh(self) -> Tensor:
        return _F.acosh(self)

    def atanh(self) -> Tensor:
        return _F.atanh(self)

    def erf(self) -> Tensor:
        return _F.erf(self)

    def tanh(self) -> Tensor:
        return _F.tanh(self)

    def relu(self) -> Tensor:
        return _F.relu(self)

    def sigmoid(self) -> Tensor:
        return _F.sigmoid(self)

    def softmax(self, axis: int = -1) -> Tensor:
        return _F.softmax(self, axis)

    def log_softmax(self, axis: int = -1) -> Tensor:
        return _F.log_softmax(self, axis)

    def pow(self, exponent: TensorLike) -> Tensor:
        return _F.pow(self, exponent)

    def clip(self, min: TensorLike | None = None, max: TensorLike | None = None) -> Tensor:
        return _F.clip(self, min, max)

    def maximum(self, other: TensorLike) -> Tensor:
        return _F.maximum(self, other)

    def minimum(self, other: TensorLike) -> Tensor:
        return _F.minimum(self, other)

    def matmul(self, other: TensorLike) -> Tensor:
        return _F.matmul(self, other)

    def dot(self, other: TensorLike) -> Tensor:
        return _F.dot(self, other)

    def outer(self, other: TensorLike) -> Tensor:
        return _F.outer(self, other)

    # -- reductions -------------------------------------------------------------------------------

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return _F.sum(self, axis, keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return _F.mean(self, axis, keepdims)

    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return _F.max(self, axis, keepdims)

    def min(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return _F.min(self, axis, keepdims)

    def prod(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return _F.prod(self, axis, keepdims)

    def var(self, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Tensor:
        return _F.var(self, axis, keepdims, ddof)

    def std(self, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Tensor:
        return _F.std(self, axis, keepdims, ddof)

    def norm(self, ord: float = 2, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return _F.norm(self, ord, axis, keepdims)

    def logsumexp(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return _F.logsumexp(self, axis, keepdims)

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        return _F.argmax(self, axis, keepdims)

    def argmin(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        return _F.argmin(self, axis, keepdims)

    def cumsum(self, axis: int) -> Tensor:
        return _F.cumsum(self, axis)

    # -- shapes -----------------------------------------------------------------------------------

    def reshape(self, *shape: int | Sequence[int]) -> Tensor:
        return _F.reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: int | Sequence[int]) -> Tensor:
        """Two axes exchanged, or all of them in the order that is given; without any, reversed."""
        if len(axes) == 2:
            from fastprop.graph.ops_shape import exchange  # which is made of Tensors

            return exchange("transpose", self, *axes)  # type: ignore[arg-type]
        return _F.permute(self, *axes) if axes else _F.transpose(self)

    def permute(self, *axes: int | Sequence[int]) -> Tensor:
        return _F.permute(self, *axes)

    def squeeze(self, axis: int | Sequence[int] | None = None) -> Tensor:
        return _F.squeeze(self, axis)

    def unsqueeze(self, axis: int) -> Tensor:
        return _F.unsqueeze(self, axis)

    def expand(self, *shape: int | Sequence[int]) -> Tensor:
        return _F.expand(self, *shape)

    def split(self, size: int | Sequence[int], axis: int = 0) -> list[Tensor]:
        return _F.split(self, size, axis)

    def flip(self, axis: int | Sequence[int] | None = None) -> Tensor:
        return _F.flip(self, axis)

    def tril(self, diagonal: int = 0) -> Tensor:
        return _F.tril(self, diagonal)

    def triu(self, diagonal: int = 0) -> Tensor:
        return _F.triu(self, diagonal)

    @property
    def T(self) -> Tensor:
        """Axes in reverse order."""
        return _F.transpose(self)

    def astype(self, dtype: DTypeLike) -> Tensor:
        return _F.cast(self, dtype)

    # -- elements by index -------------------------------------------------------------------------

    def take(self, index: ArrayLike, axis: int | None = None) -> Tensor:
        return _F.take(self, index, axis)

    def gather(self, axis: int, index: TensorLike) -> Tensor:
        return _F.gather(self, axis, index)

    def scatter_add(self, axis: int, index: TensorLike, source: TensorLike) -> Tensor:
        return _F.scatter_add(self, axis, index, source)

    def sort(self, axis: int = -1, descending: bool = False) -> tuple[Tensor, Tensor]:
        return _F.sort(self, axis, descending)

    def argsort(self, axis: int = -1, descending: bool = False) -> Tensor:
        return _F.argsort(self, axis, descending)

    def topk(self, k: int, axis: int = -1, largest: bool = True) -> tuple[Tensor, Tensor]:
        return _F.topk(self, k, axis, largest)

    # -- NumPy's functions on Tensors --------------------------------------------------------------

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        from fastprop.graph.numpy_protocol import call_ufunc

        return call_ufunc(ufunc, method, inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        from fastprop.graph.numpy_protocol import call_function

        return call_function(function, args, options)

    if not TYPE_CHECKING:  # it would hide misspelled names from type checkers

        def __getattr__(self, name: str) -> NoReturn:
            from fastprop import hints

            message = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise hints.missing(message, name, hints.METHODS)


def _mask(operator: str, value: Any) -> Any:
    """An operand of ``& | ^ ~``, which are for masks; of integers they would be other functions."""
    if getattr(value, "dtype", None) is not None and value.dtype.kind not in "fb":
        raise TypeError(
            f"Tensor {operator}: for masks, which comparisons give; got {value.dtype}. Compare it "
            "with a number, or use fp.logical_and, logical_or, logical_xor, logical_not"
        )
    return value


for _method in vars(TensorMethods).values():
    if isinstance(_method, FunctionType):  # what messages about wrong arguments call it
        _method.__qualname__ = f"Tensor.{_method.__name__}"

_COMPARABLE = (TensorMethods, int, float, np.ndarray, np.generic, list)
