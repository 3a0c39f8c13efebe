"""Losses of embeddings: which rows of two or three outputs should be close to each other.

As the loss of a Trainer they take a model whose ``forward`` returns the embeddings.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastprop import functional as F
from fastprop.checks import real_number
from fastprop.graph.tensor import Tensor, TensorLike
from fastprop.losses.reduce import (
    Reduction,
    Weights,
    as_dtype,
    check_reduction,
    predictions,
    reduce_rows,
    refuse_first,
)

_LEAST_SQUARE = 1e-12  # added to squared lengths, as PyTorch does: an embedding may be zero


def cosine_embedding(
    x1: TensorLike,
    x2: TensorLike,
    target: TensorLike,
    *,
    sample_weight: Weights = None,
    reduction: Reduction = "mean",
    margin: float = 0.0,
) -> Tensor:
    r"""Angle between two embeddings: small where the target is 1, not small where it is -1.

    .. math:: 1 - \cos(x_1, x_2) \text{ for } t = 1, \quad
        \max(0, \cos(x_1, x_2) - m) \text{ for } t = -1

    Args:
        x1: Embeddings ``[rows, size]``.
        x2: The same shape and dtype.
        target: 1 or -1 for each row.
        sample_weight: Weight of each row.
        reduction: "mean", "sum" or "none".
        margin: :math:`m` in [-1, 1].

    Raises:
        ValueError: Shapes that do not fit, another target, or a margin out of range.
    """
    name = "cosine_embedding"
    check_reduction(name, reduction)
    real_number(name, "margin", margin, -1.0, 1.0, up_to=True)
    x1, x2 = _embeddings(name, x1=x1, x2=x2)
    target = _row_targets(name, x1, target)
    if not target.symbolic:
        refuse_first(name, "target", target.data, np.abs(target.data) != 1, "1 or -1")
    squares = (F.sum(x1 * x1, -1) + _LEAST_SQUARE) * (F.sum(x2 * x2, -1) + _LEAST_SQUARE)
    cosine = F.sum(x1 * x2, -1) / F.sqrt(squares)
    rows = F.where(F.greater(target, 0), 1 - cosine, F.relu(cosine - margin))
    return reduce_rows(name, rows, sample_weight, reduction)


def contrastive(
    x1: TensorLike,
    x2: TensorLike,
    target: TensorLike,
    *,
    sample_weight: Weights = None,
    reduction: Reduction = "mean",
    margin: float = 1.0,
) -> Tensor:
    r"""Distance of two embeddings: small where the target is 1, at least the margin where it is 0.

    .. math:: \tfrac12 t d^2 + \tfrac12 (1 - t) \max(0, m - d)^2, \quad d = \|x_1 - x_2\|

    Hadsell, Chopra & LeCun, "Dimensionality reduction by learning an invariant mapping", CVPR 2006
    (whose Y is 0 for similar pairs).

    Args:
        x1: Embeddings ``[rows, size]``.
        x2: The same shape and dtype.
        target: For each row 1 if its two embeddings belong together, 0 if not, or between.
        sample_weight: Weight of each row.
        reduction: "mean", "sum" or "none".
        margin: :math:`m`, positive.

    Raises:
        ValueError: Shapes that do not fit, a target outside [0, 1], or a margin that is not
            positive.
    """
    name = "contrastive"
    check_reduction(name, reduction)
    real_number(name, "margin", margin, above=True)
    x1, x2 = _embeddings(name, x1=x1, x2=x2)
    target = _row_targets(name, x1, target)
    if not target.symbolic:
        outside = (target.data < 0) | (target.data > 1)
        refuse_first(name, "target", target.data, outside, "a number in [0, 1]")
    apart = x1 - x2
    near = F.square(F.relu(margin - F.norm(apart, axis=-1)))
    rows = 0.5 * (target * F.sum(apart * apart, -1) + (1 - target) * near)
    return reduce_rows(name, rows, sample_weight, reduction)


def triplet_margin(
    anchor: TensorLike,
    positive: TensorLike,
    negative: TensorLike,
    *,
    sample_weight: Weights = None,
    reduction: Reduction = "mean",
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
) -> Tensor:
    r"""An anchor should be nearer to its positive than to its negative, by a margin.

    .. math:: \max(0, d(a, p) - d(a, n) + m), \quad d(x, y) = \|x - y + \epsilon\|_p

    Schroff et al., "FaceNet", CVPR 2015; Balntas et al., "Learning local feature descriptors with
    triplets and shallow convolutional neural networks", BMVC 2016. There are no targets: a Trainer
    is given ``y=None``.

    Args:
        anchor: Embeddings ``[rows, size]``.
        positive: The same shape and dtype.
        negative: The same shape and dtype.
        sample_weight: Weight of each row.
        reduction: "mean", "sum" or "none".
        margin: :math:`m`, positive.
        p: Which norm, positive.
        eps: Added to each difference.
        swap: Take the distance of positive and negative where it is less than that of the anchor.

    Raises:
        ValueError: Shapes that do not fit, or a parameter that is not positive.
    """
    name = "triplet_margin"
    check_reduction(name, reduction)
    real_number(name, "margin", margin, above=True)
    real_number(name, "p", p, above=True)
    a, b, c = _embeddings(name, anchor=anchor, positive=positive, negative=negative)
    far = F.norm(a - c + eps, p, -1)
    if swap:
        far = F.minimum(far, F.norm(b - c + eps, p, -1))
    rows = F.relu(F.norm(a - b + eps, p, -1) - far + margin)
    return reduce_rows(name, rows, sample_weight, reduction)


def _embeddings(name: str, **given: Any) -> list[Tensor]:
    """The embeddings as float Tensors of one shape [rows, size]."""
    tensors = [predictions(name, value) for value in given.values()]
    first = next(iter(given))
    for label, tensor in zip(given, tensors, strict=True):
        if tensor.ndim != 2:
            raise ValueError(f"{name}: {label} must be [rows, size], got shape {tensor.shape}")
        if tensor.shape != tensors[0].shape or tensor.dtype != tensors[0].dtype:
            raise ValueError(
                f"{name}: {label} is {tensor.dtype} of shape {tensor.shape}, {first} is "
                f"{tensors[0].dtype} of shape {tensors[0].shape}; they must agree"
            )
    return tensors


def _row_targets(name: str, x: Tensor, target: TensorLike) -> Tensor:
    """One number a row."""
    tensor = as_dtype(target, x.dtype)
    if tensor.shape == (x.shape[0], 1):
        tensor = F.reshape(tensor, (x.shape[0],))
    if tensor.shape != x.shape[:1]:
        raise ValueError(
            f"{name}: targets have shape {tensor.shape}, expected one for each of the "
            f"{x.shape[0]} rows"
        )
    return tensor
