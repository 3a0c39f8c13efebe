"""Methods of Tensors that arrange elements: functions under their names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike, DTypeLike

from fastprop import functional

if TYPE_CHECKING:
    from fastprop.graph.tensor import Axis, Tensor, TensorLike

_F: Any = functional  # what is asked of it is made of Tensors, and loaded when it is asked for


class ArrangementMethods:
    """Shapes, parts, elements by index, and their order."""

    __slots__ = ()

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

    def flatten(self, start: int = 0, end: int = -1) -> Tensor:
        return _F.flatten(self, start, end)

    def swapaxes(self, axis1: int, axis2: int) -> Tensor:
        return _F.swapaxes(self, axis1, axis2)

    def moveaxis(self, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
        return _F.moveaxis(self, source, destination)

    def roll(self, shift: int | Sequence[int], axis: int | Sequence[int] | None = None) -> Tensor:
        return _F.roll(self, shift, axis)

    def chunk(self, chunks: int, axis: int = 0) -> list[Tensor]:
        return _F.chunk(self, chunks, axis)

    def unbind(self, axis: int = 0) -> list[Tensor]:
        return _F.unbind(self, axis)

    def tile(self, *repeats: int | Sequence[int]) -> Tensor:
        return _F.tile(self, *repeats)

    def diagonal(self, offset: int = 0) -> Tensor:
        return _F.diagonal(self, offset)

    def diag(self, offset: int = 0) -> Tensor:
        return _F.diag(self, offset)

    def trace(self, offset: int = 0) -> Tensor:
        return _F.trace(self, offset)

    @property
    def T(self) -> Tensor:
        """Axes in reverse order."""
        return _F.transpose(self)

    @property
    def mT(self) -> Tensor:
        """The last two axes exchanged: every matrix transposed."""
        from fastprop.graph.ops_shape import exchange  # which is made of Tensors

        return exchange("Tensor.mT", self, -2, -1)  # type: ignore[arg-type]

    def astype(self, dtype: DTypeLike) -> Tensor:
        return _F.cast(self, dtype)

    # -- elements by index -------------------------------------------------------------------------

    def masked_fill(self, mask: TensorLike, value: TensorLike) -> Tensor:
        return _F.masked_fill(self, mask, value)

    def take(self, index: ArrayLike, axis: int | None = None) -> Tensor:
        return _F.take(self, index, axis)

    def gather(self, axis: int, index: TensorLike) -> Tensor:
        return _F.gather(self, axis, index)

    def scatter_add(self, axis: int, index: TensorLike, source: TensorLike) -> Tensor:
        return _F.scatter_add(self, axis, index, source)

    # -- along an axis -----------------------------------------------------------------------------

    def cumsum(self, axis: int) -> Tensor:
        return _F.cumsum(self, axis)

    def cumprod(self, axis: int) -> Tensor:
        return _F.cumprod(self, axis)

    def logcumsumexp(self, axis: int) -> Tensor:
        return _F.logcumsumexp(self, axis)

    def diff(self, n: int = 1, axis: int = -1) -> Tensor:
        return _F.diff(self, n, axis)

    def median(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return _F.median(self, axis, keepdims)

    def quantile(
        self, q: float | Sequence[float], axis: Axis = None, keepdims: bool = False
    ) -> Tensor:
        return _F.quantile(self, q, axis, keepdims)

    def sort(self, axis: int = -1, descending: bool = False) -> tuple[Tensor, Tensor]:
        return _F.sort(self, axis, descending)

    def argsort(self, axis: int = -1, descending: bool = False) -> Tensor:
        return _F.argsort(self, axis, descending)

    def topk(self, k: int, axis: int = -1, largest: bool = True) -> tuple[Tensor, Tensor]:
        return _F.topk(self, k, axis, largest)
