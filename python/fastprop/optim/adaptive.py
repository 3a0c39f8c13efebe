"""RMSprop, Adagrad and Adadelta: steps scaled by sums or means of squared gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprop.optim.groups import Parameters
from fastprop.optim.hyper import Flag, LearningRate, Number
from fastprop.optim.optimizer import Optimizer


class RMSprop(Optimizer):
    r"""Gradients divided by the root of their running mean square; PyTorch's formulas.

    .. math::
        g &\leftarrow g + \lambda w \\
        v &\leftarrow \alpha v + (1 - \alpha) g^2, \quad
        a \leftarrow \alpha a + (1 - \alpha) g \\
        b &\leftarrow \mu b + g / (\sqrt{v - a^2} + \epsilon)
            \quad (\sqrt v \text{ if not centered}) \\
        w &\leftarrow w - \gamma\, b

    Args:
        params: Tensors to train, or groups of them; None if a Trainer will bind them.
        lr: Learning rate :math:`\gamma`, a Schedule, or a function of the step.
        alpha: :math:`\alpha`, in [0, 1).
        eps: :math:`\epsilon`.
        weight_decay: :math:`\lambda`, an L2 penalty.
        momentum: :math:`\mu`, in [0, 1).
        centered: Divide by the standard deviation.
        decay_bias_and_norm: False spares parameters of at most one axis the weight decay.

    Raises:
        ValueError: A number out of its range; no parameters, or one of them twice.
        TypeError: Something that is no number or no parameter.

    Hinton, "Neural networks for machine learning", lecture 6a, 2012; centered: Graves, "Generating
    sequences with recurrent neural networks", 2013.
    """

    op = "rmsprop_update"

    alpha = Number(1.0)
    eps = Number()
    weight_decay = Number()
    momentum = Number(1.0)
    centered = Flag()
    decay_bias_and_norm = Flag()

    def __init__(
        self,
        params: Parameters | None = None,
        lr: LearningRate = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        decay_bias_and_norm: bool = True,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            alpha=alpha,
            eps=eps,
            weight_decay=weight_decay,
            momentum=momentum,
            centered=centered,
            decay_bias_and_norm=decay_bias_and_norm,
        )

    def _state_names(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        momentum = ("momentum_buffer",) if group["momentum"] else ()
        centered = ("grad_avg",) if group["centered"] else ()
        return ("square_avg", *momentum, *centered)


class Adagrad(Optimizer):
    r"""Gradients divided by the root of the sum of all their squares; PyTorch's formulas.

    .. math::
        g &\leftarrow g + \lambda w \\
        s &\leftarrow s + g^2 \\
        w &\leftarrow w - \frac{\gamma}{1 + (t - 1) \eta} \frac{g}{\sqrt s + \epsilon}

    Args:
        params: Tensors to train, or groups of them; None if a Trainer will bind them.
        lr: Learning rate :math:`\gamma`, a Schedule, or a function of the step.
        lr_decay: :math:`\eta`.
        weight_decay: :math:`\lambda`, an L2 penalty.
        initial_accumulator_value: What :math:`s` starts as.
        eps: :math:`\epsilon`.
        decay_bias_and_norm: False spares parameters of at most one axis the weight decay.

    Raises:
        ValueError: A number out of its range; no parameters, or one of them twice.
        TypeError: Something that is no number or no parameter.

    Duchi, Hazan & Singer, "Adaptive subgradient methods for online learning and stochastic
    optimization", JMLR 2011.
    """

    op = "adagrad_update"

    lr_decay = Number()
    weight_decay = Number()
    initial_accumulator_value = Number()
    eps = Number()
    decay_bias_and_norm = Flag()

    def __init__(
        self,
        params: Parameters | None = None,
        lr: LearningRate = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        decay_bias_and_norm: bool = True,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            lr_decay=lr_decay,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            eps=eps,
            decay_bias_and_norm=decay_bias_and_norm,
        )

    def _state_names(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        return ("sum",)

    def _initial_state(self, name: str, group: Mapping[str, Any]) -> float:
        return float(group["initial_accumulator_value"])

    def _scalars(
        self, group: Mapping[str, Any], steps: NDArray[np.int64], rates: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        scalars: NDArray[np.float64] = rates / (1.0 + steps * group["lr_decay"])
        return scalars.reshape(-1, 1)


class Adadelta(Optimizer):
    r"""Steps as long as the latest ones were, with no rate to choose; PyTorch's formulas.

    .. math::
        g &\leftarrow g + \lambda w \\
        v &\leftarrow \rho v + (1 - \rho) g^2 \\
        d &\leftarrow \frac{\sqrt{u + \epsilon}}{\sqrt{v + \epsilon}}\, g, \quad
        u \leftarrow \rho u + (1 - \rho) d^2 \\
        w &\leftarrow w - \gamma\, d

    Args:
        params: Tensors to train, or groups of them; None if a Trainer will bind them.
        lr: Learning rate :math:`\gamma`, a Schedule, or a function of the step.
        rho: :math:`\rho`, in [0, 1).
        eps: :math:`\epsilon`.
        weight_decay: :math:`\lambda`, an L2 penalty.
        decay_bias_and_norm: False spares parameters of at most one axis the weight decay.

    Raises:
        ValueError: A number out of its range; no parameters, or one of them twice.
        TypeError: Something that is no number or no parameter.

    Zeiler, "Adadelta: an adaptive learning rate method", 2012.
    """

    op = "adadelta_update"

    rho = Number(1.0)
    eps = Number()
    weight_decay = Number()
    decay_bias_and_norm = Flag()

    def __init__(
        self,
        params: Parameters | None = None,
        lr: LearningRate = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        decay_bias_and_norm: bool = True,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            rho=rho,
            eps=eps,
            weight_decay=weight_decay,
            decay_bias_and_norm=decay_bias_and_norm,
        )

    def _state_names(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        return ("square_avg", "acc_delta")
