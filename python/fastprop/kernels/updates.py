"""Steps of the optimizers, in place and in one pass over gradient, weight and state."""

from __future__ import annotations

import math
from typing import Any

from fastprop.graph.op import Spec
from fastprop.kernels._call import Array, check_overlap, destination, execute, operands, spec_of


def _in_place(name: str, g: Array, **state: Any) -> tuple[Array, list[Array]]:
    """The gradient, and the arrays that are changed: theirs must be the shape and dtype of `w`."""
    (gradient,) = operands(name, g=g)
    spec: Spec = spec_of(gradient)
    arrays = []
    for label, array in state.items():
        if array is None:
            raise TypeError(f"{name}: {label} must be a NumPy array, got None")
        arrays.append(destination(name, label, array, spec))
        check_overlap(name, label, arrays[-1], [gradient, *arrays[:-1]])
    return gradient, arrays


def sgd_update(
    g: Array,
    w: Array,
    buf: Array | None = None,
    *,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    first_step: bool = False,
) -> None:
    r"""One step of gradient descent; PyTorch's formulas (Sutskever et al. 2013).

    .. math:: g \leftarrow g + \lambda w, \quad buf \leftarrow \mu\, buf + (1 - \tau) g, \quad
        w \leftarrow w - lr \cdot buf

    With `nesterov` the step is along :math:`g + \mu\, buf`, without momentum along :math:`g`.

    Args:
        g: Gradient, float32 or float64; not changed.
        w: Weight, changed in place; contiguous, of the shape and dtype of `g`.
        buf: Momentum buffer, changed in place, zeros at first; needed if `momentum` is not 0.
        lr: Learning rate.
        momentum: :math:`\mu`.
        dampening: :math:`\tau`; not applied on the first step.
        weight_decay: :math:`\lambda`.
        nesterov: Nesterov's momentum.
        first_step: This is the first step with `buf`.

    Raises:
        TypeError: The dtypes differ, or an array is missing.
        ValueError: The shapes differ; an array is read-only or not contiguous; arrays overlap.
    """
    state = {"w": w} if momentum == 0 and buf is None else {"w": w, "buf": buf}
    gradient, arrays = _in_place("sgd_update", g, **state)
    attrs = {"scalars": 0, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
    execute("sgd_update", [gradient], arrays, attrs, [lr, 1.0 if first_step else 1.0 - dampening])


def adam_update(
    g: Array,
    w: Array,
    m: Array,
    v: Array,
    step: int,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> None:
    r"""One step of Adam (Kingma & Ba 2015).

    .. math:: m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad
        v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \quad
        w \leftarrow w - lr \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    Args:
        g: Gradient, float32 or float64; not changed.
        w: Weight, changed in place; contiguous, of the shape and dtype of `g`.
        m: First moment, changed in place, zeros at first.
        v: Second moment, changed in place, zeros at first.
        step: :math:`t`, from 1.
        lr: Learning rate.
        betas: :math:`\beta_1, \beta_2`.
        eps: :math:`\epsilon`.
        weight_decay: :math:`\lambda`; adds :math:`\lambda w` to the gradient.

    Raises:
        TypeError: The dtypes differ, or an array is missing.
        ValueError: `step` is below 1; the shapes differ; an array is read-only or not contiguous;
            arrays overlap.
    """
    _adam("adam_update", g, w, m, v, step, lr, betas, eps, weight_decay)


def adamw_update(
    g: Array,
    w: Array,
    m: Array,
    v: Array,
    step: int,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
) -> None:
    r"""One step of AdamW (Loshchilov & Hutter 2019): :func:`adam_update`, but the decay
    :math:`w \leftarrow w - lr\, \lambda w` comes before it and does not enter the moments."""
    _adam("adamw_update", g, w, m, v, step, lr, betas, eps, weight_decay)


def _adam(
    name: str,
    g: Array,
    w: Array,
    m: Array,
    v: Array,
    step: int,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
) -> None:
    if step < 1:
        raise ValueError(f"{name}: step must be 1 or more, got {step}")
    gradient, arrays = _in_place(name, g, w=w, m=m, v=v)
    beta1, beta2 = betas
    attrs = {"scalars": 0, "beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": weight_decay}
    scalars = [lr, lr / (1 - beta1**step), 1 / math.sqrt(1 - beta2**step)]
    execute(name, [gradient], arrays, attrs, scalars)
