"""Functions that normalize: their arguments checked, and made ops."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fastprop.graph import infer
from fastprop.graph.effects import assign, effect
from fastprop.graph.op import apply
from fastprop.graph.ops_elementwise import reciprocal, rsqrt
from fastprop.graph.ops_normalization import (
    BATCH_MOMENTS,
    BATCH_NORM,
    LAYER_MOMENTS,
    LAYER_NORM,
    NORMALIZE,
    column,
)
from fastprop.graph.ops_shape import reshape, transpose
from fastprop.graph.recipe import composed
from fastprop.graph.tensor import Tensor, TensorLike, as_tensor


def _for_columns(where: str, x: Tensor, **vectors: TensorLike | None) -> list[Tensor | None]:
    """One number for each of x's last axis, or None."""
    found: list[Tensor | None] = []
    for name, value in vectors.items():
        tensor = None if value is None else as_tensor(value, like=x)
        if tensor is not None:
            infer.float_dtype(where, [x.spec, tensor.spec])
            if tensor.shape != x.shape[-1:] or tensor.batched:
                raise ValueError(
                    f"{where}: {name} has shape {tensor.shape}, x has {x.shape[-1]} features"
                )
        found.append(tensor)
    return found


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> list[Tensor]:
    """weight and bias; ones and zeros for the one that is missing if the other is there."""
    if weight is None and bias is None:
        return []
    shape = x.shape[-1:]
    return [
        weight if weight is not None else Tensor(np.ones(shape, x.dtype)),
        bias if bias is not None else Tensor(np.zeros(shape, x.dtype)),
    ]


def _rows(where: str, x: TensorLike) -> Tensor:
    x = as_tensor(x)
    if x.ndim < 2 or x.shape[-1] == 0:
        raise ValueError(f"{where}: expects [rows, ..., features], got shape {x.shape}")
    infer.float_dtype(where, [x.spec])
    return x


def batch_norm(
    x: TensorLike,
    running_mean: TensorLike | None = None,
    running_var: TensorLike | None = None,
    weight: TensorLike | None = None,
    bias: TensorLike | None = None,
    training: bool = False,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
    num_batches_tracked: Tensor | None = None,
) -> Tensor:
    r"""Every feature to mean 0 and variance 1 over the batch, then scaled and moved.

    .. math:: y = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}\, w + b

    In training :math:`\mu` and :math:`\sigma^2` are those of the batch, over all axes but the last
    one, with :math:`n` as the divisor; the derivative goes through them. The running ones move
    towards them, the variance with :math:`n - 1` as the divisor:
    :math:`r \leftarrow (1 - m) r + m \mu`. Otherwise the running ones are used.

    Args:
        x: ``[rows, ..., features]``, float32 or float64.
        running_mean: ``[features]``; when training, a Buffer (or another Tensor that no op made),
            which it moves.
        running_var: The same for the variance. Both or neither; without them the batch's are used
            always.
        weight: :math:`w`, ``[features]``; 1 if it is missing.
        bias: :math:`b`, ``[features]``; 0 if it is missing.
        training: Use the statistics of the batch, and move the running ones.
        momentum: :math:`m`; ``None`` for the mean of all batches so far, :math:`m = 1/k`.
        eps: :math:`\epsilon`.
        num_batches_tracked: :math:`k`, one int64, which training counts up.

    Raises:
        ValueError: One value for each feature only, when training; shapes that do not fit; one of
            the running statistics without the other; no momentum without `num_batches_tracked`.
        TypeError: The dtypes differ or are not floating ones.

    Ioffe & Szegedy, "Batch normalization", ICML 2015.
    """
    if running_mean is None and running_var is None:
        return _by_batch(x, weight, bias, eps)
    x = _rows("batch_norm", x)
    mean_, var_, w, b = _for_columns(
        "batch_norm", x, running_mean=running_mean, running_var=running_var, weight=weight,
        bias=bias,
    )  # fmt: skip
    if training and not all(
        r is None or isinstance(r, Tensor) for r in (running_mean, running_var)
    ):
        raise TypeError("batch_norm: running_mean and running_var must be Tensors, to be moved")
    if (mean_ is None) != (var_ is None):
        raise ValueError("batch_norm: running_mean and running_var come together")
    affine = _affine(x, w, b)
    if not training and mean_ is not None and var_ is not None:
        return _by_statistics(x, mean_, var_, float(eps), *affine)
    _check_batch(x)
    assert mean_ is not None
    assert var_ is not None
    moments = apply(BATCH_MOMENTS, x, eps=float(eps))
    _move(moments, mean_, var_, momentum, num_batches_tracked)
    return _by_moments(x, moments, float(eps), *affine)


@composed
def _by_statistics(
    x: Tensor, mean: Tensor, variance: Tensor, eps: float, *affine: Tensor
) -> Tensor:
    return apply(NORMALIZE, x, mean, rsqrt(variance + eps), *affine)


@composed
def _by_batch(
    x: TensorLike, weight: TensorLike | None, bias: TensorLike | None, eps: float
) -> Tensor:
    x = _rows("batch_norm", x)
    w, b = _for_columns("batch_norm", x, weight=weight, bias=bias)
    _check_batch(x)
    moments = apply(BATCH_MOMENTS, x, eps=float(eps))
    return _by_moments(x, moments, float(eps), *_affine(x, w, b))


def _check_batch(x: Tensor) -> None:
    if math.prod(x.shape[:-1]) < 2:
        raise ValueError(
            f"batch_norm: training needs more than 1 value for each feature, got shape {x.shape}"
        )


@composed
def _by_moments(x: Tensor, moments: Tensor, eps: float, *affine: Tensor) -> Tensor:
    return apply(BATCH_NORM, x, column(moments, 0), column(moments, 1), *affine, eps=eps)


def _move(
    moments: Tensor, mean: Tensor, variance: Tensor, momentum: float | None, count: Tensor | None
) -> None:
    """The running statistics, by those of a batch."""
    if momentum is None and count is None:
        raise ValueError("batch_norm: momentum=None needs num_batches_tracked")
    if count is not None:
        assign(count, count + 1)
    inputs = [moments, count] if momentum is None and count is not None else [moments]
    share = -1.0 if momentum is None else float(momentum)
    effect("running_moments", inputs, [mean, variance], {"momentum": share})


def normalize(x: TensorLike, mean: TensorLike, std: TensorLike) -> Tensor:
    r"""Every feature with given statistics, :math:`y = (x - \mu) / \sigma`.

    Args:
        x: ``[rows, ..., features]``.
        mean: :math:`\mu`, ``[features]``.
        std: :math:`\sigma`, ``[features]``.

    Raises:
        ValueError: The shapes do not fit.
        TypeError: The dtypes differ or are not floating ones.
    """
    return _normalize(x, mean, std)


@composed
def _normalize(x: TensorLike, mean: TensorLike, std: TensorLike) -> Tensor:
    x = _rows("normalize", x)
    m, s = _for_columns("normalize", x, mean=mean, std=std)
    assert m is not None
    assert s is not None
    return apply(NORMALIZE, x, m, reciprocal(s))


def _normalize_rows(
    x: Tensor, affine: Sequence[Tensor], groups: int, eps: float, centered: bool
) -> Tensor:
    """The groups of every row of ``[..., columns]``."""
    attrs = {"groups": groups, "eps": float(eps), "centered": centered}
    moments = apply(LAYER_MOMENTS, x, **attrs)
    return apply(LAYER_NORM, x, moments, *affine, **attrs)


@composed
def _normalize_last(
    where: str,
    x: TensorLike,
    normalized_shape: int | Sequence[int],
    weight: TensorLike | None,
    bias: TensorLike | None,
    eps: float | None,
    centered: bool,
) -> Tensor:
    x = as_tensor(x)
    if isinstance(normalized_shape, int | np.integer):
        normalized_shape = (int(normalized_shape),)
    shape = tuple(map(int, normalized_shape))
    dtype = infer.float_dtype(where, [x.spec])
    if not shape or x.shape[-len(shape) :] != shape or 0 in shape:
        raise ValueError(f"{where}: x has shape {x.shape}, expected {shape} as its last axes")
    lead = x.shape[: len(x.shape) - len(shape)]
    rows = _as_shape(x, (*(lead or (1,)), math.prod(shape)))
    vectors = []
    for name, value in (("weight", weight), ("bias", bias)):
        tensor = None if value is None else as_tensor(value, like=x)
        if tensor is not None and tensor.shape != shape:
            raise ValueError(f"{where}: {name} has shape {tensor.shape}, expected {shape}")
        vectors.append(tensor if tensor is None else _as_shape(tensor, (math.prod(shape),)))
    w, b = vectors
    affine = _affine(rows, w, b) if b is not None else [w] if w is not None else []
    eps = float(np.finfo(dtype).eps) if eps is None else eps
    return _as_shape(_normalize_rows(rows, affine, 1, eps, centered), x.shape)


def _as_shape(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    return x if x.shape == shape else reshape(x, shape)


def layer_norm(
    x: TensorLike,
    normalized_shape: int | Sequence[int],
    weight: TensorLike | None = None,
    bias: TensorLike | None = None,
    eps: float = 1e-5,
) -> Tensor:
    r"""Every sample to mean 0 and variance 1 over its last axes, then scaled and moved.

    .. math:: y = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}\, w + b

    Args:
        x: ``[..., *normalized_shape]``, float32 or float64.
        normalized_shape: Extents of the axes that :math:`\mu` and :math:`\sigma^2` are taken over.
        weight: :math:`w`, of that shape; 1 if it is missing.
        bias: :math:`b`, of that shape; 0 if it is missing.
        eps: :math:`\epsilon`.

    Raises:
        ValueError: The shapes do not fit.
        TypeError: The dtypes differ or are not floating ones.

    Ba, Kiros & Hinton, "Layer normalization", 2016.
    """
    return _normalize_last("layer_norm", x, normalized_shape, weight, bias, eps, True)


def rms_norm(
    x: TensorLike,
    normalized_shape: int | Sequence[int],
    weight: TensorLike | None = None,
    eps: float | None = None,
) -> Tensor:
    r"""Every sample to mean square 1 over its last axes, then scaled.

    .. math:: y = \frac{x}{\sqrt{\frac{1}{n} \sum_i x_i^2 + \epsilon}}\, w

    Args:
        x: ``[..., *normalized_shape]``, float32 or float64.
        normalized_shape: Extents of the axes that the mean is taken over.
        weight: :math:`w`, of that shape; 1 if it is missing.
        eps: :math:`\epsilon`; ``None`` for the dtype's machine epsilon.

    Raises:
        ValueError: The shapes do not fit.
        TypeError: The dtypes differ or are not floating ones.

    Zhang & Sennrich, "Root mean square layer normalization", NeurIPS 2019.
    """
    return _normalize_last("rms_norm", x, normalized_shape, weight, None, eps, False)


def group_norm(
    x: TensorLike,
    num_groups: int,
    weight: TensorLike | None = None,
    bias: TensorLike | None = None,
    eps: float = 1e-5,
) -> Tensor:
    r"""Every group of features of every sample to mean 0 and variance 1, then scaled and moved.

    .. math:: y = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}\, w + b

    :math:`\mu` and :math:`\sigma^2` are taken over ``features / num_groups`` neighbouring features
    and all axes between the first and the last. As one group for each feature it is instance
    normalization.

    Args:
        x: ``[rows, ..., features]``, float32 or float64.
        num_groups: How many groups; divides the number of features.
        weight: :math:`w`, ``[features]``; 1 if it is missing.
        bias: :math:`b`, ``[features]``; 0 if it is missing.
        eps: :math:`\epsilon`.

    Raises:
        ValueError: The groups do not divide the features; the shapes do not fit.
        TypeError: The dtypes differ or are not floating ones.

    Wu & He, "Group normalization", ECCV 2018.
    """
    x = _rows("group_norm", x)
    features = x.shape[-1]
    if num_groups < 1 or features % num_groups:
        raise ValueError(f"group_norm: {num_groups} groups do not divide {features} features")
    w, b = _for_columns("group_norm", x, weight=weight, bias=bias)
    affine = _affine(x, w, b)
    if x.ndim == 2:
        return _normalize_rows(x, affine, num_groups, eps, True)
    rows, between = x.shape[0], math.prod(x.shape[1:-1])
    parts = reshape(x, (rows, between, num_groups, features // num_groups))
    grouped = transpose(parts, (0, 2, 1, 3))  # a group's elements side by side
    flat = reshape(grouped, (rows, between * features))
    y = reshape(_normalize_rows(flat, (), num_groups, eps, True), grouped.shape)
    y = reshape(transpose(y, (0, 2, 1, 3)), x.shape)
    return y * affine[0] + affine[1] if affine else y
