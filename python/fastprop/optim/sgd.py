"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprop.optim.groups import Parameters
from fastprop.optim.hyper import Flag, LearningRate, Number
from fastprop.optim.optimizer import Optimizer


class SGD(Optimizer):
    r"""Gradient descent with momentum, Nesterov's variant, and weight decay; PyTorch's formulas.

    .. math::
        g &\leftarrow g + \lambda w \\
        b &\leftarrow \mu b + (1 - \tau) g \quad (b = g \text{ in the first step}) \\
        w &\leftarrow w - \gamma\, b, \text{ or } w - \gamma\, (g + \mu b) \text{ with Nesterov}

    Args:
        params: Tensors to train, or groups of them; None if a Trainer will bind them.
        lr: Learning rate :math:`\gamma`, a Schedule, or a function of the step.
        momentum: :math:`\mu`, in [0, 1).
        dampening: :math:`\tau`.
        weight_decay: :math:`\lambda`, an L2 penalty of :math:`\lambda/2\, |w|^2`.
        nesterov: Look ahead; needs momentum and no dampening.
        decay_bias_and_norm: False spares parameters of at most one axis (biases, scales and shifts
            of normalization) the weight decay.

    Raises:
        ValueError: A number out of its range; Nesterov without momentum or with dampening; no
            parameters, or one of them twice.
        TypeError: Something that is no number or no parameter.

    Polyak, "Some methods of speeding up the convergence of iteration methods", 1964; Sutskever,
    Martens, Dahl & Hinton, "On the importance of initialization and momentum in deep learning",
    ICML 2013.
    """

    op = "sgd_update"

    momentum = Number(1.0)
    dampening = Number()
    weight_decay = Number()
    nesterov = Flag()
    decay_bias_and_norm = Flag()

    def __init__(
        self,
        params: Parameters | None = None,
        lr: LearningRate = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        decay_bias_and_norm: bool = True,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
            decay_bias_and_norm=decay_bias_and_norm,
        )

    def _check_together(self, hyper: Mapping[str, Any]) -> None:
        if hyper["nesterov"] and (hyper["momentum"] == 0 or hyper["dampening"] != 0):
            raise ValueError(
                "SGD: nesterov needs momentum > 0 and dampening 0, "
                f"got momentum {hyper['momentum']} and dampening {hyper['dampening']}"
            )

    def _state_names(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        return ("momentum_buffer",) if group["momentum"] else ()

    def _scalars(
        self, group: Mapping[str, Any], steps: NDArray[np.int64], rates: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        scalars = np.empty((len(rates), 2))  # np.stack would take as long as a small network's step
        scalars[:, 0] = rates
        # The buffer starts as the whole gradient: zero times the momentum, plus 1 times g.
        scalars[:, 1] = np.where(steps == 0, 1.0, 1.0 - group["dampening"])
        return scalars
