"""Normalization as modules. Names, definitions and defaults are PyTorch's; features come last."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from fastprop import functional as F
from fastprop.checks import positive_int, real_number
from fastprop.graph.parameter import Buffer, Parameter
from fastprop.graph.tensor import Tensor
from fastprop.nn.module import Module
from fastprop.random import check_float_dtype


def _ones_and_zeros(
    shape: Sequence[int], dtype: np.dtype[Any], weight: bool, bias: bool
) -> tuple[Parameter | None, Parameter | None]:
    """A weight of ones and a bias of zeros, or None."""
    return (
        Parameter(np.ones(shape, dtype)) if weight else None,
        Parameter(np.zeros(shape, dtype)) if bias else None,
    )


class BatchNorm(Module):
    r"""Every feature to mean 0 and variance 1 over the batch, then scaled and moved.

    .. math:: y = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}\, w + b

    In training with the statistics of the batch, over all axes but the last one; in evaluation with
    running ones, :math:`r \leftarrow (1 - m) r + m\, r_{batch}` in every step.

    Args:
        num_features: Extent of the last axis.
        eps: :math:`\epsilon`.
        momentum: :math:`m`, in [0, 1]; ``None`` for the mean over all batches, :math:`m = 1/k`.
        affine: Learn :math:`w` and :math:`b`; else they are 1 and 0.
        track_running_stats: Keep running statistics; else those of the batch are used always.
        dtype: float32 or float64.

    Attributes:
        weight: Parameter ``[num_features]``, starts at 1; or None.
        bias: Parameter ``[num_features]``, starts at 0; or None.
        running_mean: Buffer ``[num_features]``, starts at 0; or None.
        running_var: Buffer ``[num_features]``, starts at 1, of variances with :math:`n - 1` as the
            divisor; or None.
        num_batches_tracked: Buffer, one int64: the :math:`k`; or None.

    Input and output ``[rows, ..., num_features]``. A batch needs two values for each feature; a
    Trainer refuses a number of rows that would leave a last batch of one.

    Raises:
        ValueError: A number out of its range.
        TypeError: A dtype that is not supported, or something else that is no number.

    Ioffe & Szegedy, "Batch normalization", ICML 2015.
    """

    weight: Parameter | None
    bias: Parameter | None
    running_mean: Buffer | None
    running_var: Buffer | None
    num_batches_tracked: Buffer | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: DTypeLike = "float32",
    ) -> None:
        super().__init__()
        self.num_features = n = positive_int("BatchNorm", "num_features", num_features)
        self.eps = real_number("BatchNorm", "eps", eps, 0)
        self.momentum = momentum
        if momentum is not None:
            self.momentum = real_number("BatchNorm", "momentum", momentum, 0)
            if self.momentum > 1:
                raise ValueError(f"BatchNorm: momentum must be in [0, 1], got {momentum}")
        self.affine = bool(affine)
        self.track_running_stats = bool(track_running_stats)
        wanted = check_float_dtype("BatchNorm", dtype)
        self.weight, self.bias = _ones_and_zeros((n,), wanted, self.affine, self.affine)
        self.running_mean = self.running_var = self.num_batches_tracked = None
        if self.track_running_stats:
            self.running_mean = Buffer(np.zeros(n, wanted))
            self.running_var = Buffer(np.ones(n, wanted))
            self.num_batches_tracked = Buffer(np.zeros((), np.int64))

    def forward(self, x: Any) -> Tensor:
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training,
            self.momentum,
            self.eps,
            self.num_batches_tracked,
        )

    def reset_running_stats(self) -> None:
        """Forget what was seen so far."""
        if self.running_mean is not None:
            self.running_mean.data = np.zeros_like(self.running_mean.data)
        if self.running_var is not None:
            self.running_var.data = np.ones_like(self.running_var.data)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.data = np.zeros((), np.int64)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


class LayerNorm(Module):
    r"""Every sample to mean 0 and variance 1 over its last axes, then scaled and moved.

    .. math:: y = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}\, w + b

    Args:
        normalized_shape: Extent of the last axis, or extents of the last axes.
        eps: :math:`\epsilon`.
        elementwise_affine: Learn :math:`w` and :math:`b`; else they are 1 and 0.
        bias: Learn :math:`b`, if :math:`w` is learned.
        dtype: float32 or float64.

    Attributes:
        weight: Parameter of shape `normalized_shape`, starts at 1; or None.
        bias: Parameter of shape `normalized_shape`, starts at 0; or None.

    Input and output ``[..., *normalized_shape]``.

    Raises:
        ValueError: A number out of its range.
        TypeError: A dtype that is not supported, or something else that is no number.

    Ba, Kiros & Hinton, "Layer normalization", 2016.
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        dtype: DTypeLike = "float32",
    ) -> None:
        super().__init__()
        self.normalized_shape = _extents("LayerNorm", normalized_shape)
        self.eps = real_number("LayerNorm", "eps", eps, 0)
        self.elementwise_affine = bool(elementwise_affine)
        wanted = check_float_dtype("LayerNorm", dtype)
        self.weight, self.bias = _ones_and_zeros(
            self.normalized_shape, wanted, self.elementwise_affine, elementwise_affine and bias
        )

    def forward(self, x: Any) -> Tensor:
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class RMSNorm(Module):
    r"""Every sample to mean square 1 over its last axes, then scaled.

    .. math:: y = \frac{x}{\sqrt{\frac{1}{n} \sum_i x_i^2 + \epsilon}}\, w

    Args:
        normalized_shape: Extent of the last axis, or extents of the last axes.
        eps: :math:`\epsilon`; ``None`` for the dtype's machine epsilon.
        elementwise_affine: Learn :math:`w`; else it is 1.
        dtype: float32 or float64.

    Attributes:
        weight: Parameter of shape `normalized_shape`, starts at 1; or None.

    Input and output ``[..., *normalized_shape]``.

    Raises:
        ValueError: A number out of its range.
        TypeError: A dtype that is not supported, or something else that is no number.

    Zhang & Sennrich, "Root mean square layer normalization", NeurIPS 2019.
    """

    weight: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        dtype: DTypeLike = "float32",
    ) -> None:
        super().__init__()
        self.normalized_shape = _extents("RMSNorm", normalized_shape)
        self.eps = None if eps is None else real_number("RMSNorm", "eps", eps, 0)
        self.elementwise_affine = bool(elementwise_affine)
        wanted = check_float_dtype("RMSNorm", dtype)
        self.weight, _ = _ones_and_zeros(
            self.normalized_shape, wanted, self.elementwise_affine, False
        )

    def forward(self, x: Any) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class GroupNorm(Module):
    r"""Every group of features of every sample to mean 0 and variance 1, then scaled and moved.

    .. math:: y = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}\, w + b

    Args:
        num_groups: How many groups of neighbouring features; divides their number.
        num_channels: Extent of the last axis.
        eps: :math:`\epsilon`.
        affine: Learn :math:`w` and :math:`b`; else they are 1 and 0.
        dtype: float32 or float64.

    Attributes:
        weight: Parameter ``[num_channels]``, starts at 1; or None.
        bias: Parameter ``[num_channels]``, starts at 0; or None.

    Input and output ``[rows, ..., num_channels]``; axes in between belong to every group.

    Raises:
        ValueError: The groups do not divide the channels; a number out of its range.
        TypeError: A dtype that is not supported, or something else that is no number.

    Wu & He, "Group normalization", ECCV 2018.
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        dtype: DTypeLike = "float32",
    ) -> None:
        super().__init__()
        self.num_groups = positive_int("GroupNorm", "num_groups", num_groups)
        self.num_channels = positive_int("GroupNorm", "num_channels", num_channels)
        if self.num_channels % self.num_groups:
            raise ValueError(
                f"GroupNorm: {num_groups} groups do not divide {num_channels} channels"
            )
        self.eps = real_number("GroupNorm", "eps", eps, 0)
        self.affine = bool(affine)
        self.weight, self.bias = _ones_and_zeros(
            (self.num_channels,), check_float_dtype("GroupNorm", dtype), self.affine, self.affine
        )

    def forward(self, x: Any) -> Tensor:
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"


def _extents(where: str, shape: int | Sequence[int]) -> tuple[int, ...]:
    """One extent or several as a tuple."""
    extents = shape if isinstance(shape, tuple | list) else (shape,)
    if not extents:
        raise ValueError(f"{where}: normalized_shape must have at least one axis")
    found = tuple(positive_int(where, "normalized_shape", n) for n in extents)
    positive_int(where, "the number of elements", math.prod(found))
    return found
