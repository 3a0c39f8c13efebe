"""Tensor: an array, and how it was computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fastprop import _core
from fastprop.checks import as_array
from fastprop.graph.op import Op, Spec, grad_mode, now
from fastprop.graph.plan import bind_tensor
from fastprop.graph.scope import Scope, current_scope
from fastprop.graph.tensor_gradients import TensorGradients
from fastprop.graph.tensor_methods import TensorMethods
from fastprop.graph.trace import assigned_in_trace, is_tracing, no_value

Axis = int | Sequence[int] | None

DTYPES = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64))


class Tensor(TensorMethods, TensorGradients):
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
        "__weakref__",
        "_data",
        "attrs",
        "dtype",
        "inputs",
        "name",
        "op",
        "saved",
        "scope",
        "shape",
        "spec",
        "time",
    )

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    spec: Spec
    op: Op | None
    inputs: tuple[Tensor, ...]
    attrs: dict[str, Any]
    name: str
    """Of inputs of a Program and of Parameters; results of ops have none."""
    time: int
    """When a result was made; when the data of any other Tensor was last assigned."""
    scope: Scope | None  # of a symbolic Tensor: what it was recorded for
    saved: bytes  # what the derivative of a function of ops reads; C++ alone looks at it
    _data: NDArray[Any] | None

    def __init__(
        self, data: ArrayLike, requires_grad: bool = False, dtype: DTypeLike | None = None
    ) -> None:
        array = as_supported_array("Tensor", data, dtype)
        self._set(array, Spec(array.shape, array.dtype), requires_grad)
        if requires_grad:
            self._check_can_require_grad()

    def _set(self, data: NDArray[Any] | None, spec: Spec, requires_grad: bool) -> None:
        """A Tensor that no op made."""
        self._data, self.spec = data, spec
        self.shape, self.dtype, _ = spec
        self.op, self.inputs, self.attrs = None, (), {}
        self._requires_grad = requires_grad
        self._grad = self.hooks = None
        self.time = 0
        self.scope = current_scope() if data is None else None

    @classmethod
    def placeholder(
        cls, shape: Sequence[int], dtype: DTypeLike, *, batched: bool = False, name: str = ""
    ) -> Tensor:
        """A symbolic Tensor that a Program fills at run time."""
        tensor = Tensor.__new__(Tensor)
        tensor._set(None, Spec(tuple(shape), np.dtype(dtype), batched), False)
        tensor.name = name
        return tensor

    # -- what it is -------------------------------------------------------------------------------

    @property
    def batched(self) -> bool:
        """True if the first axis is the batch of a Program."""
        return self.spec.batched

    @property
    def symbolic(self) -> bool:
        """True inside a traced Program, where there is no data yet."""
        return self._data is None

    @property
    def data(self) -> NDArray[Any]:
        """The array. A result that derivatives may need gives a read-only one.

        Assigning copies into the array, which stays where it is; ``x.data -= step`` as well. A
        backward pass through what used the old values is an error then.
        """
        if self._data is None:
            raise no_value(self.shape)
        if self.op is None:
            return self._data
        view = self._data.view()
        view.flags.writeable = False
        return view

    @data.setter
    def data(self, value: ArrayLike) -> None:
        name = type(self).__name__
        if self.op is not None or self._data is None:
            raise RuntimeError(f"{name}.data: the result of an op cannot be assigned")
        if is_tracing() and type(self) is not Tensor:
            raise assigned_in_trace(name)
        array = as_array(f"{name}.data: the array", value)
        if array.shape != self.shape:
            raise ValueError(f"{name}.data: expects shape {self.shape}, got {array.shape}")
        if array.dtype.kind not in "fiu":
            raise TypeError(f"{name}.data: expects numbers, got dtype {array.dtype}")
        if array is not self._data:  # as it is after an augmented assignment
            self._data[...] = array
        self.mark_changed()

    def mark_changed(self) -> None:
        """Tell that the data was written to: graphs that used it cannot be differentiated."""
        self.time = now()

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def is_leaf(self) -> bool:
        """True if no op with a derivative made it: ``backward`` fills ``grad`` of leaves."""
        return self.op is None

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len: a scalar Tensor has no length")
        return self.shape[0]

    def __repr__(self) -> str:
        flags = ", requires_grad=True" if self.requires_grad else ""
        if self.op is not None:
            flags += f", op={self.op.name}"
        if self._data is None:
            batch = ", batched" if self.batched else ""
            return f"Tensor(symbolic, shape={self.shape}, dtype={self.dtype}{batch}{flags})"
        text = np.array2string(
            self._data, separator=", ", prefix="Tensor(", threshold=100, precision=5
        )
        shape = f", shape={self.shape}" if self.size > 100 or self.size == 0 else ""
        return f"Tensor({text}{shape}, dtype={self.dtype}{flags})"

    def __format__(self, spec: str) -> str:
        return format(self.item() if spec and self.size == 1 else str(self), spec)

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                f"Tensor: the truth of {self.size} elements (shape {self.shape}) is ambiguous; "
                "use x.any() or x.all()"
            )
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.kind != "i":
            raise TypeError(f"Tensor: only an int64 Tensor can be an index, got {self.dtype}")
        return int(self.item())

    def item(self) -> float | int:
        """The only element, as a Python number."""
        if self.size != 1:
            raise ValueError(f"Tensor.item: expects one element, got shape {self.shape}")
        value: float | int = self.numpy().item()
        return value

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers."""
        return self.numpy().tolist()

    def numpy(self) -> NDArray[Any]:
        """The data as a NumPy array that shares memory; see :attr:`data`."""
        if type(self) is not Tensor and is_tracing():  # a Parameter has another value in each run
            raise no_value(self.shape)
        return self.data

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        """For copies and pickles of leaves.

        Raises:
            TypeError: It is a result with a history, or symbolic.
        """
        if self.op is not None or self._data is None:
            raise TypeError(
                f"Tensor: a result of an op, of shape {self.shape}, has a history, which is "
                "neither copied nor pickled; give x.detach(), or x.clone() for a copy with history"
            )
        return super().__reduce_ex__(protocol)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        array = self.numpy() if dtype is None else self.numpy().astype(dtype, copy=False)
        return array.copy() if copy else array

    def __dlpack__(self, **options: Any) -> Any:
        """The data for another library, without a copy (the array API's protocol)."""
        if self.requires_grad:
            raise BufferError(
                "Tensor.__dlpack__: this Tensor requires a gradient, which the other library "
                "cannot record; export x.detach()"
            )
        return self.data.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        device: tuple[int, int] = self.data.__dlpack_device__()
        return device

    # -- derivatives ------------------------------------------------------------------------------

    def backward(
        self,
        gradient: Tensor | ArrayLike | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
    ) -> None:
        """Add d(self)/d(leaf) to ``leaf.grad`` of every leaf that requires a gradient.

        Args:
            gradient: Derivative of the quantity of interest by this Tensor; 1 if left out.
            retain_graph: Keep what a second pass would need; by default only if `create_graph`.
            create_graph: Record the derivatives themselves, so that they can be differentiated.

        Raises:
            RuntimeError: This Tensor does not depend on anything that requires a gradient, its
                graph was freed by an earlier pass, or data that it needs was changed since.
            TypeError: It is an integer Tensor, or the gradient has another dtype.
            ValueError: It is no scalar and no gradient was given, or the gradient's shape differs.
        """
        free = not (create_graph if retain_graph is None else retain_graph)
        seed = None if gradient is None else as_tensor(gradient, like=self)
        _core.accumulate_gradients(self, seed, free, bool(create_graph))

    def detach(self) -> Tensor:
        """The same data, without its history."""
        if self._data is None:
            from fastprop.graph.ops_shape import stop_gradient

            return stop_gradient(self)
        tensor = Tensor.__new__(Tensor)
        tensor._set(self.data, self.spec, False)
        return tensor

    def clone(self) -> Tensor:
        """A copy of the data that derivatives go through."""
        from fastprop.graph.ops_elementwise import copy

        return copy(self)


bind_tensor(Tensor)

TensorLike = Tensor | float | int | np.ndarray


def tensor(data: ArrayLike, requires_grad: bool = False, dtype: DTypeLike | None = None) -> Tensor:
    """Make a Tensor from an array, a list or a number.

    Python floats and lists become float32; NumPy float32, float64 and int64 arrays are kept,
    without a copy where they are contiguous; other integers become int64, float16 float32, longer
    floats float64, and booleans ones and zeros of float32, as comparisons give them.

    Raises:
        TypeError: Complex, object, string or masked data, or an integer Tensor that requires a
            gradient.
        ValueError: Lists of different lengths, or integers beyond int64.
    """
    if not isinstance(requires_grad, bool):  # np.array(data, dtype) is another library's order
        raise TypeError(
            f"tensor: requires_grad must be True or False, got {requires_grad!r}; a dtype goes by "
            "its name, dtype=…"
        )
    return Tensor(data, requires_grad, dtype)


def no_grad(function: Callable[..., Any] | None = None) -> Any:
    """A block in which no derivative is recorded: ``with fp.no_grad(): …``.

    A decorator as well, ``@fp.no_grad()`` or ``@fp.no_grad``, of functions and generators.
    """
    return grad_mode(False) if function is None else grad_mode(False)(function)


def enable_grad(function: Callable[..., Any] | None = None) -> Any:
    """A block inside of :func:`no_grad` in which derivatives are recorded; also a decorator."""
    return grad_mode(True) if function is None else grad_mode(True)(function)


def as_supported_array(name: str, data: Any, dtype: DTypeLike | None = None) -> NDArray[Any]:
    """`data` as a contiguous array of float32, float64 or int64."""
    if isinstance(data, Tensor):
        data = data.data
    usual = type(data) is np.ndarray and dtype is None and data.dtype in DTYPES
    if usual and data.flags.c_contiguous and data.dtype.isnative:
        return data
    try:
        array = as_array(f"{name}: the array", data)
    except ValueError as error:  # lists of different lengths
        raise ValueError(f"{name}: the data cannot become an array: {error}") from None
    if array.dtype.kind not in "fiub":
        kind = "" if isinstance(data, np.ndarray) else f"{type(data).__name__} of "
        raise TypeError(f"{name}: expects real numbers, got {kind}dtype {array.dtype}")
    if dtype is not None:
        wanted = np.dtype(dtype)
        if wanted not in DTYPES:
            raise TypeError(f"{name}: dtype must be float32, float64 or int64, got {wanted}")
    elif (native := array.dtype.newbyteorder("=")) in DTYPES and (
        isinstance(data, np.ndarray | np.generic) or array.dtype.kind != "f"
    ):
        wanted = native
    elif array.dtype.kind in "iu":
        wanted = np.dtype(np.int64)
        if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(wanted).max:
            raise ValueError(f"{name}: {array.max()} is beyond int64")
    else:
        wanted = np.dtype(np.float64 if array.dtype.itemsize > 8 else np.float32)
    return np.require(array, dtype=wanted, requirements="C")


def as_tensor(value: Any, like: Tensor | None = None) -> Tensor:
    """`value` as a Tensor; numbers and arrays of numbers take the dtype of `like`."""
    if isinstance(value, Tensor):
        return value
    if like is None or (isinstance(value, np.ndarray) and value.dtype.kind != "b"):
        return Tensor(value)
    if type(value) is float or type(value) is int:
        return constant(value, like.dtype)
    return Tensor(value, dtype=like.dtype)


constant_array: Callable[[NDArray[Any]], Tensor] = _core.leaf
"""A contiguous array of a supported dtype as a Tensor, without a look at it."""


def _constant(value: float | int, dtype: np.dtype[Any]) -> Tensor:
    return Tensor(np.asarray(value), dtype=dtype)


constant: Callable[[float | int, np.dtype[Any]], Tensor] = _core.constants(_constant)
"""A number as a Tensor: made once, as the same few appear in every step."""
