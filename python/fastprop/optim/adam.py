"""Adam, and AdamW."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprop.optim.groups import Parameters
from fastprop.optim.hyper import Flag, LearningRate, Number, Pair
from fastprop.optim.optimizer import Optimizer


class Adam(Optimizer):
    r"""Adam: steps scaled by running moments of the gradient; PyTorch's formulas.

    .. math::
        g &\leftarrow g + \lambda w \\
        m &\leftarrow \beta_1 m + (1 - \beta_1) g \\
        v &\leftarrow \beta_2 v + (1 - \beta_2) g^2 \\
        w &\leftarrow w - \gamma\, \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    Args:
        params: Tensors to train, or groups of them; None if a Trainer will bind them.
        lr: Learning rate :math:`\gamma`, a Schedule, or a function of the step.
        betas: :math:`\beta_1, \beta_2`, each in [0, 1).
        eps: :math:`\epsilon`.
        weight_decay: :math:`\lambda`, an L2 penalty that goes through the moments.
        amsgrad: Divide by the largest :math:`v` so far.
        decay_bias_and_norm: False spares parameters of at most one axis (biases, scales and shifts
            of normalization) the weight decay.

    Raises:
        ValueError: A number out of its range; no parameters, or one of them twice.
        TypeError: Something that is no number or no parameter.

    Kingma & Ba, "Adam: a method for stochastic optimization", ICLR 2015; Reddi, Kale & Kumar, "On
    the convergence of Adam and beyond", ICLR 2018 (AMSGrad).
    """

    op = "adam_update"

    betas = Pair("beta1", "beta2", 1.0)
    eps = Number()
    weight_decay = Number()
    amsgrad = Flag()
    decay_bias_and_norm = Flag()

    def __init__(
        self,
        params: Parameters | None = None,
        lr: LearningRate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        decay_bias_and_norm: bool = True,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            amsgrad=amsgrad,
            decay_bias_and_norm=decay_bias_and_norm,
        )

    def _state_names(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        names = ("exp_avg", "exp_avg_sq")
        return (*names, "max_exp_avg_sq") if group["amsgrad"] else names

    def _scalars(
        self, group: Mapping[str, Any], steps: NDArray[np.int64], rates: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        t = steps + 1.0
        beta1, beta2 = group["betas"]
        scalars = np.empty((len(rates), 3))  # np.stack would take as long as a small network's step
        scalars[:, 0] = rates
        np.divide(rates, 1.0 - beta1**t, out=scalars[:, 1])
        np.divide(1.0, np.sqrt(1.0 - beta2**t), out=scalars[:, 2])
        return scalars


class AdamW(Adam):
    r"""Adam whose weight decay does not go through the moments.

    Before the step, :math:`w \leftarrow w - \gamma \lambda w`; then Adam without :math:`\lambda`.

    Arguments as for :class:`Adam`, with a ``weight_decay`` of 0.01.

    Loshchilov & Hutter, "Decoupled weight decay regularization", ICLR 2019.
    """

    op = "adamw_update"

    def __init__(
        self,
        params: Parameters | None = None,
        lr: LearningRate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        decay_bias_and_norm: bool = True,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            decay_bias_and_norm=decay_bias_and_norm,
        )
