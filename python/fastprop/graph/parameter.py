"""Tensors that keep their place: a Parameter, which training changes, and a Buffer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fastprop.checks import as_array
from fastprop.graph.changes import changed
from fastprop.graph.effects import assign
from fastprop.graph.op import Spec, is_grad_enabled
from fastprop.graph.tensor import Tensor, TensorLike


class Parameter(Tensor):
    """A Tensor that training changes. Its data is a view that never moves once a Trainer has it.

    Assigning ``parameter.data = array`` copies into that view; shape and dtype must match. So does
    ``parameter -= step`` in :func:`fastprop.no_grad`; outside of it that is an error.
    """

    __slots__ = ("stored",)

    stored: bool

    def __init__(self, data: ArrayLike, dtype: DTypeLike | None = None) -> None:
        super().__init__(_copied("Parameter", data, dtype), requires_grad=True)
        self.name = ""
        self.stored = False

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Freeze it (False): training leaves it as it is; or train it again."""
        changed()
        return super().requires_grad_(requires_grad)

    # Without these, `p -= step` would give the name p to another Tensor: nothing would be trained.

    def __iadd__(self, other: TensorLike) -> Parameter:
        return self._become("+=", self + other)

    def __isub__(self, other: TensorLike) -> Parameter:
        return self._become("-=", self - other)

    def __imul__(self, other: TensorLike) -> Parameter:
        return self._become("*=", self * other)

    def __itruediv__(self, other: TensorLike) -> Parameter:
        return self._become("/=", self / other)

    def _become(self, sign: str, value: Tensor) -> Parameter:
        if is_grad_enabled():
            raise RuntimeError(
                f"Parameter {sign} …: a parameter is changed in place where no derivative is "
                f"recorded, `with fp.no_grad(): parameter {sign} …`; shape {self.shape}"
            )
        assign(self, value)
        return self

    def move_to(self, view: NDArray[Any]) -> None:
        """Continue in memory that a Program may point at: from now on the data never moves."""
        view[...] = self.data
        self._data = view
        self.stored = True
        changed()

    def __repr__(self) -> str:
        return f"Parameter({self.name or 'unnamed'}, shape={self.shape}, dtype={self.dtype})"


class Buffer(Tensor):
    """State of a module that is saved with it but not trained, such as running statistics.

    Its data never moves: ``buffer.data = array`` copies, and so does :meth:`assign`, which a traced
    function may call as well.
    """

    __slots__ = ()

    def __init__(self, data: ArrayLike, dtype: DTypeLike | None = None) -> None:
        super().__init__(_copied("Buffer", data, dtype))
        self.name = ""

    @classmethod
    def over(cls, array: NDArray[Any]) -> Buffer:
        """A Buffer of memory that is there already and stays where it is."""
        buffer = cls.__new__(cls)
        buffer._set(array, Spec(array.shape, array.dtype), False)
        buffer.name = ""
        return buffer

    def assign(self, value: Tensor) -> None:
        """Take on the value of a Tensor; inside a Program in every step.

        Raises:
            ValueError: The shapes differ, or `value` varies with the batch.
            TypeError: The dtypes differ.
        """
        assign(self, value)

    def __repr__(self) -> str:
        return f"Buffer({self.name or 'unnamed'}, shape={self.shape}, dtype={self.dtype})"


def _copied(name: str, data: ArrayLike, dtype: DTypeLike | None) -> NDArray[Any]:
    return np.array(as_array(f"{name}: the array", data), dtype=dtype, order="C")
