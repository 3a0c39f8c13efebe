"""Tensor: an array, and how it was computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fastprop.graph.changes import changed
from fastprop.graph.op import Op, Spec, grad_mode
from fastprop.graph.scope import Scope, current_scope

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

Axis = int | Sequence[int] | None

_DTYPES = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64))


class Tensor:
    """An array of float32, float64 or int64, and the op and inputs that it came from.

    A *symbolic* Tensor has a shape and a dtype but no data: it stands for a value inside a Program
    that is being traced. Everything else is NumPy-backed, on the CPU.

    Attributes:
        shape: Extents of the axes.
        dtype: NumPy dtype.
        requires_grad: True if derivatives by it, or by something it came from, are recorded.
        grad: After :meth:`backward`, the accumulated derivative (a Tensor), else ``None``.
    """

    __slots__ = (
        "_data",
        "attrs",
        "batched",
        "dtype",
        "grad",
        "inputs",
        "name",
        "op",
        "requires_grad",
        "scope",
        "shape",
    )
    __array_priority__ = 100.0

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    batched: bool
    requires_grad: bool
    grad: Tensor | None
    op: Op | None
    inputs: tuple[Tensor, ...]
    attrs: dict[str, Any]
    name: str
    scope: Scope | None  # of a symbolic Tensor: what it was recorded for
    _data: NDArray[Any] | None

    def __init__(
        self, data: ArrayLike, requires_grad: bool = False, dtype: DTypeLike | None = None
    ) -> None:
        array = as_supported_array("Tensor", data, dtype)
        self._set(array, Spec(array.shape, array.dtype), None, (), {}, requires_grad)
        if requires_grad and array.dtype.kind != "f":
            raise TypeError(f"Tensor: only float Tensors can require a gradient, got {array.dtype}")

    def _set(
        self,
        data: NDArray[Any] | None,
        spec: Spec,
        op: Op | None,
        inputs: tuple[Tensor, ...],
        attrs: dict[str, Any],
        requires_grad: bool,
    ) -> None:
        self._data = data
        self.shape, self.dtype, self.batched = spec
        self.op, self.inputs, self.attrs = op, inputs, attrs
        self.requires_grad = requires_grad
        self.grad = None
        self.name = ""
        self.scope = current_scope() if data is None else None

    @classmethod
    def _from_op(
        cls,
        data: NDArray[Any] | None,
        spec: Spec,
        op: Op,
        inputs: tuple[Tensor, ...],
        attrs: dict[str, Any],
        requires_grad: bool,
    ) -> Tensor:
        tensor = Tensor.__new__(Tensor)
        keep = requires_grad or data is None
        tensor._set(data, spec, op if keep else None, inputs if keep else (), attrs, requires_grad)
        return tensor

    @classmethod
    def placeholder(
        cls, shape: Sequence[int], dtype: DTypeLike, *, batched: bool = False, name: str = ""
    ) -> Tensor:
        """A symbolic Tensor that a Program fills at run time."""
        tensor = Tensor.__new__(Tensor)
        tensor._set(None, Spec(tuple(shape), np.dtype(dtype), batched), None, (), {}, False)
        tensor.name = name
        return tensor

    # -- what it is ---------------------------------------------------------------------------

    @property
    def spec(self) -> Spec:
        return Spec(self.shape, self.dtype, self.batched)

    @property
    def symbolic(self) -> bool:
        """True inside a traced Program, where there is no data yet."""
        return self._data is None

    @property
    def data(self) -> NDArray[Any]:
        """The array. Writing into it changes the Tensor."""
        if self._data is None:
            raise RuntimeError(
                f"Tensor.data: a symbolic Tensor of shape {self.shape} has no value while a "
                "Program is being traced; values exist when the Program runs"
            )
        return self._data

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def T(self) -> Tensor:
        return self.transpose()

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len: a scalar Tensor has no length")
        return self.shape[0]

    def __repr__(self) -> str:
        flags = ", requires_grad=True" if self.requires_grad else ""
        if self._data is None:
            batch = ", batched" if self.batched else ""
            return f"Tensor(symbolic, shape={self.shape}, dtype={self.dtype}{batch}{flags})"
        text = np.array2string(
            self._data, separator=", ", prefix="Tensor(", threshold=100, precision=5
        )
        return f"Tensor({text}, dtype={self.dtype}{flags})"

    def __bool__(self) -> bool:
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def item(self) -> float | int:
        """The only element, as a Python number."""
        if self.size != 1:
            raise ValueError(f"Tensor.item: expects one element, got shape {self.shape}")
        value: float | int = self.data.item()
        return value

    def numpy(self) -> NDArray[Any]:
        """The data as a NumPy array that shares memory."""
        return self.data

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        array = self.data if dtype is None else self.data.astype(dtype, copy=False)
        return array.copy() if copy else array

    # -- derivatives ----------------------------------------------------------------------------

    def backward(self, gradient: Tensor | ArrayLike | None = None) -> None:
        """Add d(self)/d(leaf) to ``leaf.grad`` of every leaf that requires a gradient.

        Args:
            gradient: Derivative of the quantity of interest by this Tensor; 1 if left out.

        Raises:
            RuntimeError: This Tensor does not depend on anything that requires a gradient.
            ValueError: It is no scalar and no gradient was given, or the gradient's shape differs.
        """
        from fastprop.graph.autodiff import backward

        backward(self, gradient)

    def detach(self) -> Tensor:
        """The same data, without its history."""
        if self._data is None:
            from fastprop.graph.ops_shape import stop_gradient

            return stop_gradient(self)
        tensor = Tensor.__new__(Tensor)
        tensor._set(self._data, self.spec, None, (), {}, False)
        return tensor

    # -- arithmetic (ops_*.py hold the rules) ---------------------------------------------------

    def __add__(self, other: TensorLike) -> Tensor:
        return _f().add(self, other)

    def __radd__(self, other: TensorLike) -> Tensor:
        return _f().add(other, self)

    def __sub__(self, other: TensorLike) -> Tensor:
        return _f().sub(self, other)

    def __rsub__(self, other: TensorLike) -> Tensor:
        return _f().sub(other, self)

    def __mul__(self, other: TensorLike) -> Tensor:
        return _f().mul(self, other)

    def __rmul__(self, other: TensorLike) -> Tensor:
        return _f().mul(other, self)

    def __truediv__(self, other: TensorLike) -> Tensor:
        return _f().div(self, other)

    def __rtruediv__(self, other: TensorLike) -> Tensor:
        return _f().div(other, self)

    def __pow__(self, other: TensorLike) -> Tensor:
        return _f().pow(self, other)

    def __rpow__(self, other: TensorLike) -> Tensor:
        return _f().pow(other, self)

    def __matmul__(self, other: TensorLike) -> Tensor:
        return _f().matmul(self, other)

    def __rmatmul__(self, other: TensorLike) -> Tensor:
        return _f().matmul(other, self)

    def __neg__(self) -> Tensor:
        return _f().neg(self)

    def __gt__(self, other: Any) -> Tensor:
        return _f().greater(self, other)

    def __ge__(self, other: Any) -> Tensor:
        return _f().greater_equal(self, other)

    def __lt__(self, other: Any) -> Tensor:
        return _f().less(self, other)

    def __le__(self, other: Any) -> Tensor:
        return _f().less_equal(self, other)

    def exp(self) -> Tensor:
        return _f().exp(self)

    def log(self) -> Tensor:
        return _f().log(self)

    def sqrt(self) -> Tensor:
        return _f().sqrt(self)

    def abs(self) -> Tensor:
        return _f().abs(self)

    def tanh(self) -> Tensor:
        return _f().tanh(self)

    def relu(self) -> Tensor:
        return _f().relu(self)

    def sigmoid(self) -> Tensor:
        return _f().sigmoid(self)

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return _f().sum(self, axis, keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return _f().mean(self, axis, keepdims)

    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return _f().max(self, axis, keepdims)

    def min(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return _f().min(self, axis, keepdims)

    def reshape(self, *shape: int | Sequence[int]) -> Tensor:
        return _f().reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: int) -> Tensor:
        return _f().transpose(self, axes or None)

    def astype(self, dtype: DTypeLike) -> Tensor:
        return _f().cast(self, dtype)


TensorLike = Tensor | float | int | np.ndarray


class Parameter(Tensor):
    """A Tensor that training changes. Its data is a view that never moves once a Trainer has it.

    Assigning ``parameter.data = array`` copies into that view; shape and dtype must match.
    """

    __slots__ = ("_requires_grad", "stored")

    stored: bool
    _requires_grad: bool

    def __init__(self, data: ArrayLike, dtype: DTypeLike | None = None) -> None:
        super().__init__(np.array(data, dtype=dtype, order="C"), requires_grad=True)
        self.stored = False

    @property
    def requires_grad(self) -> bool:
        """False freezes it: training leaves it as it is."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self._requires_grad = value
        changed()

    def move_to(self, view: NDArray[Any]) -> None:
        """Continue in memory that a Program may point at: from now on the data never moves."""
        view[...] = self.data
        self._data = view
        self.stored = True
        changed()

    @property
    def data(self) -> NDArray[Any]:
        assert self._data is not None
        return self._data

    @data.setter
    def data(self, value: ArrayLike) -> None:
        array = np.asarray(value)
        if array.shape != self.shape:
            raise ValueError(f"Parameter.data: expects shape {self.shape}, got {array.shape}")
        if array.dtype.kind not in "fiu":
            raise TypeError(f"Parameter.data: expects numbers, got dtype {array.dtype}")
        self.data[...] = array

    def __repr__(self) -> str:
        return f"Parameter({self.name or 'unnamed'}, shape={self.shape}, dtype={self.dtype})"


def tensor(data: ArrayLike, requires_grad: bool = False, dtype: DTypeLike | None = None) -> Tensor:
    """Make a Tensor from an array, a list or a number.

    Python floats and lists become float32; NumPy float32, float64 and int64 arrays are kept,
    without a copy where they are contiguous; other integers and booleans become int64, float16
    float32.

    Raises:
        TypeError: Complex, object or string data, or an integer Tensor that requires a gradient.
    """
    return Tensor(data, requires_grad, dtype)


def no_grad() -> AbstractContextManager[None]:
    """A block in which no derivative is recorded: ``with fp.no_grad(): …``."""
    return grad_mode(False)


def as_supported_array(name: str, data: Any, dtype: DTypeLike | None = None) -> NDArray[Any]:
    """`data` as a contiguous array of float32, float64 or int64."""
    if isinstance(data, Tensor):
        data = data.data
    array = np.asarray(data)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name}: expects real numbers, got dtype {array.dtype}")
    if dtype is not None:
        wanted = np.dtype(dtype)
        if wanted not in _DTYPES:
            raise TypeError(f"{name}: dtype must be float32, float64 or int64, got {wanted}")
    elif array.dtype in _DTYPES and (
        isinstance(data, np.ndarray | np.generic) or array.dtype.kind != "f"
    ):
        wanted = array.dtype
    else:
        wanted = np.dtype(np.float32 if array.dtype.kind == "f" else np.int64)
    return np.require(array, dtype=wanted, requirements="C")


def as_tensor(value: Any, like: Tensor | None = None) -> Tensor:
    """`value` as a Tensor; numbers and arrays of numbers take the dtype of `like`."""
    if isinstance(value, Tensor):
        return value
    if like is not None and not isinstance(value, np.ndarray):
        return Tensor(np.asarray(value), dtype=like.dtype)
    return Tensor(value)


def _f() -> Any:
    """The functions on Tensors; imported late because they are made of Tensors."""
    from fastprop import functional

    return functional
