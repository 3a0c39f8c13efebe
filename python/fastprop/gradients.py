r"""What is done to gradients between backward pass and update: clipping, and rules of yours.

``Trainer(model, loss, optimizer, clip=1.0)`` clips by the global norm; ``clip=ClipValue(0.5)``, or
a list of such rules, which follow each other. A rule is a function ``(parameters, gradients) ->
gradients`` on Tensors, in the compiled step as in eager mode. In a loop of your own, between
``backward()`` and ``optimizer.step()``:

``fp.gradients.clip_grad_norm(model.parameters(), 1.0)``
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, SupportsFloat

import numpy as np

from fastprop import functional as F
from fastprop.checks import real_number
from fastprop.graph.op import grad_mode
from fastprop.graph.ops_reduction import sum_squares
from fastprop.graph.tensor import Tensor
from fastprop.registry import type_name

Gradients = Sequence[Tensor | None]
Rule = Callable[[Sequence[Tensor], Gradients], Gradients]

__all__ = [
    "AdaptiveClip",
    "ClipGlobalNorm",
    "ClipNorm",
    "ClipValue",
    "clip_grad_norm",
    "clip_grad_value",
    "global_norm",
]


class _Clip:
    """What the rules share: one limit above 0.

    Raises:
        ValueError: A limit that is not positive, or not finite.
        TypeError: A limit that is no number.
    """

    limit_name = "max_norm"

    def __init__(self, limit: float) -> None:
        self._limit = _positive(type_name(self), self.limit_name, limit)

    def config(self) -> dict[str, Any]:
        """The arguments that make one like this."""
        return {self.limit_name: self._limit}

    def __repr__(self) -> str:
        return f"{type_name(self)}({self._limit:g})"


class ClipValue(_Clip):
    r"""Every element into :math:`[-c, c]`.

    Args:
        clip_value: :math:`c`, above 0.
    """

    limit_name = "clip_value"

    def __init__(self, clip_value: float) -> None:
        super().__init__(clip_value)

    def __call__(self, parameters: Sequence[Tensor], gradients: Gradients) -> Gradients:
        # Nobody differentiates this, and the two are the shortest.
        c = self._limit
        return [None if g is None else F.minimum(F.maximum(g, -c), c) for g in gradients]


class ClipNorm(_Clip):
    r"""Every parameter's gradient to a norm of at most :math:`c`.

    .. math:: g \leftarrow g \cdot \min\left(1, \frac{c}{\lVert g \rVert + 10^{-6}}\right)

    Args:
        max_norm: :math:`c`, above 0.
    """

    def __init__(self, max_norm: float) -> None:
        super().__init__(max_norm)

    def __call__(self, parameters: Sequence[Tensor], gradients: Gradients) -> Gradients:
        return [
            None if g is None else g * _factor(F.sqrt(_squares(g)), self._limit) for g in gradients
        ]


class ClipGlobalNorm(_Clip):
    r"""All gradients together to a norm of at most :math:`c`; their direction stays.

    .. math:: g_i \leftarrow g_i \cdot \min\left(1, \frac{c}{\sqrt{\sum_j \lVert g_j \rVert^2}
        + 10^{-6}}\right)

    Args:
        max_norm: :math:`c`, above 0.

    Pascanu, Mikolov & Bengio, "On the difficulty of training recurrent neural networks", ICML 2013.
    """

    def __init__(self, max_norm: float) -> None:
        super().__init__(max_norm)

    def __call__(self, parameters: Sequence[Tensor], gradients: Gradients) -> Gradients:
        norm = global_norm(gradients)
        factors: dict[np.dtype[Any], Tensor] = {}
        clipped: list[Tensor | None] = []
        for g in gradients:
            if g is not None and norm is not None:
                if g.dtype not in factors:
                    factors[g.dtype] = _factor(F.cast(norm, g.dtype), self._limit)
                g = g * factors[g.dtype]
            clipped.append(g)
        return clipped


class AdaptiveClip(_Clip):
    r"""Every unit's gradient to at most a share of the norm of its weights.

    .. math:: g \leftarrow g \cdot \min\left(1,
        \lambda \frac{\max(\lVert w \rVert, \epsilon)}{\max(\lVert g \rVert, 10^{-6})}\right)

    with the norms of the columns of a weight ``[in, out]``, and of a bias as a whole.

    Args:
        clipping: :math:`\lambda`, above 0.
        eps: :math:`\epsilon`, which lets weights of zero grow.

    Brock, De, Smith & Simonyan, "High-performance large-scale image recognition without
    normalization", ICML 2021.
    """

    limit_name = "clipping"

    def __init__(self, clipping: float = 0.01, eps: float = 1e-3) -> None:
        super().__init__(clipping)
        self._eps = _positive(type_name(self), "eps", eps)

    def config(self) -> dict[str, Any]:
        return {**super().config(), "eps": self._eps}

    def __call__(self, parameters: Sequence[Tensor], gradients: Gradients) -> Gradients:
        pairs = zip(parameters, gradients, strict=True)
        return [None if g is None else self._clipped(w, g) for w, g in pairs]

    def _clipped(self, weight: Tensor, gradient: Tensor) -> Tensor:
        # One number a unit, which threads share: with the summed axes kept one would do them all.
        axes = None if weight.ndim < 2 else tuple(range(weight.ndim - 1))
        of_weight, of_gradient = (F.sqrt(sum_squares(t, axis=axes)) for t in (weight, gradient))
        most = F.maximum(of_weight, self._eps) * self._limit
        return gradient * F.minimum(most / F.maximum(of_gradient, 1e-6), 1.0)


def global_norm(gradients: Gradients) -> Tensor | None:
    r"""The norm of all gradients together, :math:`\sqrt{\sum_j \lVert g_j \rVert^2}`.

    Returns:
        A scalar Tensor; ``None`` if there is no gradient.
    """
    total: Tensor | None = None
    for g in gradients:
        if g is not None:
            part = _squares(g)
            total = part if total is None else total + F.cast(part, total.dtype)
    return None if total is None else F.sqrt(total)


def clip_grad_norm(parameters: Tensor | Iterable[Tensor], max_norm: float) -> Tensor:
    """Scale the ``grad`` of all parameters so that their norm together is at most `max_norm`.

    Args:
        parameters: One or several; those without a gradient are passed over.
        max_norm: The limit; see :class:`ClipGlobalNorm`.

    Returns:
        The norm as it was, a scalar Tensor.

    Raises:
        ValueError: A limit that is not positive.
        TypeError: Something that is no Tensor.
    """
    tensors, gradients = _of("clip_grad_norm", parameters)
    _assign(tensors, ClipGlobalNorm(max_norm)(tensors, gradients))
    norm = global_norm(gradients)
    return Tensor(np.zeros((), np.float32)) if norm is None else norm


def clip_grad_value(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Every element of the ``grad`` of all parameters into ``[-clip_value, clip_value]``.

    Raises:
        ValueError: A limit that is not positive.
        TypeError: Something that is no Tensor.
    """
    tensors, gradients = _of("clip_grad_value", parameters)
    _assign(tensors, ClipValue(clip_value)(tensors, gradients))


def rules(where: str, clip: Any) -> list[Rule]:
    """What a Trainer was given: a number is the limit of the global norm.

    Raises:
        TypeError: Something that is neither a number nor can be called.
        ValueError: A limit that is not positive.
    """
    if clip is None:
        return []
    items = list(clip) if isinstance(clip, list | tuple) else [clip]
    found: list[Rule] = []
    for item in items:
        if isinstance(item, SupportsFloat) and not isinstance(item, bool):
            found.append(ClipGlobalNorm(_positive(where, "clip", item)))
        elif callable(item) and not isinstance(item, type):
            found.append(item)
        else:
            raise TypeError(
                f"{where}: clip must be a number, one of fastprop.gradients, a function "
                f"(parameters, gradients) -> gradients, or a list of them, got {item!r}"
            )
    return found


def apply_rules(
    where: str, found: Sequence[Rule], parameters: Sequence[Tensor], gradients: Gradients
) -> Gradients:
    """The gradients as the rules, one after the other, leave them.

    Raises:
        ValueError: A rule gives another number of gradients, or one of another shape or dtype.
    """
    for rule in found:
        after = list(rule(parameters, gradients))
        if len(after) != len(gradients):
            raise ValueError(
                f"{where}: {rule!r} gave {len(after)} gradients for {len(gradients)} parameters"
            )
        for parameter, g in zip(parameters, after, strict=True):
            if g is not None and (g.shape, g.dtype) != (parameter.shape, parameter.dtype):
                raise ValueError(
                    f"{where}: {rule!r} gave a gradient of {g.dtype} {g.shape} for a parameter of "
                    f"{parameter.dtype} {parameter.shape}"
                )
        gradients = after
    return gradients


def _squares(gradient: Tensor) -> Tensor:
    """Sum of squares: by rows first, which threads share."""
    return sum_squares(gradient) if gradient.ndim < 2 else F.sum(sum_squares(gradient, axis=-1))


def _factor(norm: Tensor, limit: float) -> Tensor:
    return F.minimum(limit / (norm + 1e-6), 1.0)


def _positive(where: str, name: str, value: Any) -> float:
    return real_number(where, name, value, 0.0, above=True)


def _of(
    where: str, parameters: Tensor | Iterable[Tensor]
) -> tuple[list[Tensor], list[Tensor | None]]:
    tensors = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{where}: expects Tensors, got {type_name(tensor)}")
    return tensors, [t.grad for t in tensors]


def _assign(tensors: Sequence[Tensor], gradients: Gradients) -> None:
    with grad_mode(False):
        for tensor, gradient in zip(tensors, gradients, strict=True):
            tensor.grad = gradient
