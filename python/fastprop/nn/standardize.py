"""Standardization of inputs as a layer, which is saved with the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fastprop import functional as F
from fastprop.checks import positive_int
from fastprop.graph.parameter import Buffer
from fastprop.graph.tensor import Tensor
from fastprop.nn.module import Module
from fastprop.random import check_float_dtype

_ROWS_AT_ONCE = 1 << 14  # converted to float64 at a time, so that a mapped file stays on disk


class Standardize(Module):
    r"""Every feature less its mean in the data, divided by its standard deviation there.

    .. math:: y = (x - \mu) / \sigma

    :math:`\mu` and :math:`\sigma` (with :math:`n` as the divisor) are not trained: :meth:`adapt`
    learns them from data, and :meth:`Trainer.fit` calls it with the training data if nobody has.
    A feature that never changes is only centered. They are part of the state, so a saved model
    takes raw data.

    Args:
        in_features: Extent of the last axis.
        dtype: float32 or float64.

    Attributes:
        mean: Buffer ``[in_features]``, :math:`\mu`.
        std: Buffer ``[in_features]``, :math:`\sigma`.
        count: Buffer, one int64: of how many values for each feature these are; 0 if not adapted.

    Input and output ``[..., in_features]``.

    Raises:
        ValueError: A width below 1.
        TypeError: A width that is no integer, a dtype that is not supported.
    """

    mean: Buffer
    std: Buffer
    count: Buffer

    def __init__(self, in_features: int, dtype: DTypeLike = "float32") -> None:
        super().__init__()
        self.in_features = positive_int("Standardize", "in_features", in_features)
        wanted = check_float_dtype("Standardize", dtype)
        self.mean = Buffer(np.zeros(self.in_features, wanted))
        self.std = Buffer(np.ones(self.in_features, wanted))
        self.count = Buffer(np.zeros((), np.int64))

    @property
    def adapted(self) -> bool:
        """True once it has learned its statistics, or was loaded with them."""
        return bool(self.count.data > 0)

    def adapt(self, x: ArrayLike | Tensor) -> Standardize:
        """Learn mean and standard deviation of the data, in float64; gives the layer itself.

        Args:
            x: ``[..., in_features]``, real numbers; may be mapped from a file.

        Raises:
            ValueError: Another width, no rows, or a NaN or infinity; the layer is as before then.
            TypeError: Not real numbers.
        """
        array = np.asanyarray(x.data if isinstance(x, Tensor) else x)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"Standardize.adapt: expects real numbers, got dtype {array.dtype}")
        if array.ndim < 2 or array.shape[-1] != self.in_features:
            raise ValueError(
                f"Standardize.adapt: expects [rows, {self.in_features}], got shape {array.shape}"
            )
        starts = range(0, len(array), _ROWS_AT_ONCE)
        self.adapt_chunks(array[start : start + _ROWS_AT_ONCE] for start in starts)
        return self

    def adapt_chunks(self, chunks: Iterable[NDArray[Any]]) -> None:
        """:meth:`adapt` to the arrays one after the other, of which only one is needed at a time.

        Their means and squares are combined (Chan, Golub & LeVeque 1979).
        """
        count, mean, square = 0, np.zeros(self.in_features), np.zeros(self.in_features)
        for chunk in chunks:
            rows = np.asarray(chunk, np.float64).reshape(-1, self.in_features)
            if not len(rows):
                continue
            if not np.isfinite(rows).all():
                raise ValueError("Standardize.adapt: the data have a NaN or infinity")
            total, of_chunk = count + len(rows), rows.mean(0)
            delta = of_chunk - mean
            square += ((rows - of_chunk) ** 2).sum(0) + delta**2 * (count * len(rows) / total)
            mean += delta * (len(rows) / total)
            count = total
        if not count:
            raise ValueError("Standardize.adapt: there are no rows")
        std = np.sqrt(square / count)
        # What is left of a constant after rounding is no spread.
        constant = std <= 1e-12 * np.abs(mean)
        smallest = np.finfo(self.std.dtype).tiny
        self.mean.data = mean.astype(self.mean.dtype)
        self.std.data = np.where(constant | (std < smallest), 1.0, std).astype(self.std.dtype)
        self.count.data = np.array(count, np.int64)

    def forward(self, x: Any) -> Tensor:
        if not self.adapted:
            capture = _CAPTURE.get()
            if capture is not None:
                capture.take(self, x)
            elif not shapes_suffice():
                raise RuntimeError(
                    "Standardize: it has not seen any data; call adapt(x), or train with "
                    "Trainer.fit, which does"
                )
        return F.normalize(x, self.mean, self.std)

    def extra_repr(self) -> str:
        return str(self.in_features)


# -- What a Trainer needs to adapt the layers inside a model ---------------------------------------


class _Reached(BaseException):
    """Ends a model's forward at the first layer that is not adapted. No error: no user code should
    take it for one."""


class Capture:
    """The first layer that a model's forward comes to without having adapted it, and its input."""

    def __init__(self) -> None:
        self.layer: Standardize | None = None
        self.input: Any = None

    def take(self, layer: Standardize, x: Any) -> None:
        self.layer, self.input = layer, x
        raise _Reached


_CAPTURE: ContextVar[Capture | None] = ContextVar("capture", default=None)
_SHAPES_ONLY: ContextVar[bool] = ContextVar("shapes_only", default=False)


@contextmanager
def capture() -> Iterator[Capture]:
    """The block ends at the first Standardize that is not adapted; the Capture tells which."""
    found = Capture()
    token = _CAPTURE.set(found)
    try:
        yield found
    except _Reached:
        pass
    finally:
        _CAPTURE.reset(token)


def shapes_suffice() -> bool:
    """Whether this is a block of :func:`shapes_only`."""
    return _SHAPES_ONLY.get()


@contextmanager
def shapes_only() -> Iterator[None]:
    """Inside the block nothing is computed, so that no layer has to be adapted."""
    token = _SHAPES_ONLY.set(True)
    try:
        yield
    finally:
        _SHAPES_ONLY.reset(token)
