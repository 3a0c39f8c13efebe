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


def _check_step(name: str, step: int) -> None:
    if step < 1:
        raise ValueError(f"{name}: step must be 1 or more, got {step}")


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
    _check_step(name, step)
    gradient, arrays = _in_place(name, g, w=w, m=m, v=v)
    beta1, beta2 = betas
    attrs = {"scalars": 0, "beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": weight_decay}
    scalars = [lr, lr / (1 - beta1**step), 1 / math.sqrt(1 - beta2**step)]
    execute(name, [gradient], arrays, attrs, scalars)


def adamax_update(
    g: Array,
    w: Array,
    m: Array,
    u: Array,
    step: int,
    *,
    lr: float = 2e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> None:
    r"""One step of Adamax (Kingma & Ba 2015, section 7): :func:`adam_update` with
    :math:`u \leftarrow \max(\beta_2 u, |g| + \epsilon)` in place of the root, and no :math:`v`."""
    _check_step("adamax_update", step)
    gradient, arrays = _in_place("adamax_update", g, w=w, m=m, u=u)
    beta1, beta2 = betas
    attrs = {"scalars": 0, "beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": weight_decay}
    execute("adamax_update", [gradient], arrays, attrs, [lr / (1 - beta1**step)])


def rmsprop_update(
    g: Array,
    w: Array,
    v: Array,
    buf: Array | None = None,
    mean: Array | None = None,
    *,
    lr: float = 1e-2,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
) -> None:
    r"""One step of RMSprop (Hinton 2012); PyTorch's formulas.

    .. math:: v \leftarrow \alpha v + (1 - \alpha) g^2, \quad
        buf \leftarrow \mu\, buf + g / (\sqrt{v - mean^2} + \epsilon), \quad
        w \leftarrow w - lr \cdot buf

    Args:
        g: Gradient, float32 or float64; not changed.
        w: Weight, changed in place; contiguous, of the shape and dtype of `g`.
        v: Mean square, changed in place, zeros at first.
        buf: Momentum buffer, changed in place, zeros at first; needed if `momentum` is not 0.
        mean: Mean gradient, changed in place, zeros at first; if given, the step is centered.
        lr: Learning rate.
        alpha: :math:`\alpha`.
        eps: :math:`\epsilon`.
        weight_decay: :math:`\lambda`; adds :math:`\lambda w` to the gradient.
        momentum: :math:`\mu`.

    Raises:
        TypeError: The dtypes differ, or an array is missing.
        ValueError: The shapes differ; an array is read-only or not contiguous; arrays overlap.
    """
    state = {"w": w, "v": v}
    if momentum != 0:
        state["buf"] = buf  # type: ignore[assignment]  # None is refused there
    if mean is not None:
        state["mean"] = mean
    gradient, arrays = _in_place("rmsprop_update", g, **state)
    attrs = {
        "scalars": 0,
        "alpha": alpha,
        "eps": eps,
        "weight_decay": weight_decay,
        "momentum": momentum,
        "centered": mean is not None,
    }
    execute("rmsprop_update", [gradient], arrays, attrs, [lr])


def adagrad_update(
    g: Array,
    w: Array,
    total: Array,
    *,
    lr: float = 1e-2,
    eps: float = 1e-10,
    weight_decay: float = 0.0,
) -> None:
    r"""One step of Adagrad (Duchi et al. 2011).

    .. math:: total \leftarrow total + g^2, \quad
        w \leftarrow w - lr\, g / (\sqrt{total} + \epsilon)

    `w` and `total` (zeros at first) are changed in place; otherwise as :func:`rmsprop_update`."""
    gradient, arrays = _in_place("adagrad_update", g, w=w, total=total)
    attrs = {"scalars": 0, "eps": eps, "weight_decay": weight_decay}
    execute("adagrad_update", [gradient], arrays, attrs, [lr])


def adadelta_update(
    g: Array,
    w: Array,
    v: Array,
    u: Array,
    *,
    lr: float = 1.0,
    rho: float = 0.9,
    eps: float = 1e-6,
    weight_decay: float = 0.0,
) -> None:
    r"""One step of Adadelta (Zeiler 2012).

    .. math:: v \leftarrow \rho v + (1 - \rho) g^2, \quad
        d \leftarrow \frac{\sqrt{u + \epsilon}}{\sqrt{v + \epsilon}}\, g, \quad
        u \leftarrow \rho u + (1 - \rho) d^2, \quad w \leftarrow w - lr\, d

    `w`, `v` and `u` (zeros at first) are changed in place; otherwise as :func:`rmsprop_update`."""
    gradient, arrays = _in_place("adadelta_update", g, w=w, v=v, u=u)
    attrs = {"scalars": 0, "rho": rho, "eps": eps, "weight_decay": weight_decay}
    execute("adadelta_update", [gradient], arrays, attrs, [lr])


def lion_update(
    g: Array,
    w: Array,
    m: Array,
    *,
    lr: float = 1e-4,
    betas: tuple[float, float] = (0.9, 0.99),
    weight_decay: float = 0.0,
) -> None:
    r"""One step of Lion (Chen et al. 2023).

    .. math:: w \leftarrow w - lr\, (\operatorname{sign}(\beta_1 m + (1 - \beta_1) g)
        + \lambda w), \quad m \leftarrow \beta_2 m + (1 - \beta_2) g

    `w` and `m` (zeros at first) are changed in place; otherwise as :func:`rmsprop_update`."""
    gradient, arrays = _in_place("lion_update", g, w=w, m=m)
    attrs = {"scalars": 0, "beta1": betas[0], "beta2": betas[1], "weight_decay": weight_decay}
    execute("lion_update", [gradient], arrays, attrs, [lr])


def rprop_update(
    g: Array,
    w: Array,
    previous: Array,
    size: Array,
    *,
    etas: tuple[float, float] = (0.5, 1.2),
    step_sizes: tuple[float, float] = (1e-6, 50.0),
) -> None:
    r"""One step of Rprop (Riedmiller & Braun 1993): weights move by `size` against the sign of the
    gradient; a size grows by ``etas[1]`` where the gradient kept its sign, shrinks by ``etas[0]``
    where it changed, and stays within `step_sizes`.

    `w`, `previous` (zeros at first) and `size` are changed in place; otherwise as
    :func:`rmsprop_update`."""
    gradient, arrays = _in_place("rprop_update", g, w=w, previous=previous, size=size)
    attrs = {
        "scalars": 0,
        "eta_minus": etas[0],
        "eta_plus": etas[1],
        "smallest": step_sizes[0],
        "largest": step_sizes[1],
    }
    execute("rprop_update", [gradient], arrays, attrs, [])
