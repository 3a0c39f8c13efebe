"""Operators and methods of Tensors: functions of :mod:`fastprop.functional` under their names."""

from __future__ import annotations

from collections.abc import Iterator
from types import FunctionType
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from fastprop import functional
from fastprop._arguments import hinted
from fastprop.graph.tensor_arrangement import ArrangementMethods

if TYPE_CHECKING:
    from fastprop.graph.tensor import Axis, Tensor, TensorLike

_F: Any = functional  # what is asked of it is made of Tensors, and loaded when it is asked for


class TensorMethods(ArrangementMethods):
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

    def __mod__(self, other: TensorLike) -> Tensor:
        return _F.remainder(self, other)

    def __rmod__(self, other: TensorLike) -> Tensor:
        return _F.remainder(other, self)

    def __floordiv__(self, other: TensorLike) -> Tensor:
        return _F.floor_divide(self, other)

    def __rfloordiv__(self, other: TensorLike) -> Tensor:
        return _F.floor_divide(other, self)

    def __divmod__(self, other: TensorLike) -> tuple[Tensor, Tensor]:
        return self // other, self % other

    def __rdivmod__(self, other: TensorLike) -> tuple[Tensor, Tensor]:
        return other // self, other % self

    def __round__(self, decimals: int = 0) -> Tensor:
        return _F.round(self, decimals)

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

    def isnan(self) -> Tensor:
        return _F.isnan(self)

    def isinf(self) -> Tensor:
        return _F.isinf(self)

    def isfinite(self) -> Tensor:
        return _F.isfinite(self)

    def allclose(
        self, other: TensorLike, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
    ) -> bool:
        result: bool = _F.allclose(self, other, rtol, atol, equal_nan)
        return result

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

    def log2(self) -> Tensor:
        return _F.log2(self)

    def log10(self) -> Tensor:
        return _F.log10(self)

    def exp2(self) -> Tensor:
        return _F.exp2(self)

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

    def floor(self) -> Tensor:
        return _F.floor(self)

    def ceil(self) -> Tensor:
        return _F.ceil(self)

    def trunc(self) -> Tensor:
        return _F.trunc(self)

    def round(self, decimals: int = 0) -> Tensor:
        return _F.round(self, decimals)

    def pow(self, exponent: TensorLike) -> Tensor:
        return _F.pow(self, exponent)

    def clip(self, min: TensorLike | None = None, max: TensorLike | None = None) -> Tensor:
        return _F.clip(self, min, max)

    def maximum(self, other: TensorLike) -> Tensor:
        return _F.maximum(self, other)

    def minimum(self, other: TensorLike) -> Tensor:
        return _F.minimum(self, other)

    def remainder(self, other: TensorLike) -> Tensor:
        return _F.remainder(self, other)

    def fmod(self, other: TensorLike) -> Tensor:
        return _F.fmod(self, other)

    def atan2(self, other: TensorLike) -> Tensor:
        """The angle of the point ``(other, self)``."""
        return _F.atan2(self, other)

    def hypot(self, other: TensorLike) -> Tensor:
        return _F.hypot(self, other)

    def logaddexp(self, other: TensorLike) -> Tensor:
        return _F.logaddexp(self, other)

    def nan_to_num(
        self, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
    ) -> Tensor:
        return _F.nan_to_num(self, nan, posinf, neginf)

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


for _class in (ArrangementMethods, TensorMethods):
    for _name, _method in [*vars(_class).items()]:
        if isinstance(_method, FunctionType):
            _method.__qualname__ = f"Tensor.{_name}"  # for messages about wrong arguments
            setattr(_class, _name, hinted(_method))

_COMPARABLE = (TensorMethods, int, float, np.ndarray, np.generic, list)
