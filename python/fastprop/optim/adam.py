"""Adam, and AdamW."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fastprop.graph.tensor import Tensor
from fastprop.optim.optimizer import LearningRate, Optimizer


class Adam(Optimizer):
    r"""Adam: steps scaled by running moments of the gradient; PyTorch's formulas.

    .. math::
        g &\leftarrow g + \lambda w \\
        m &\leftarrow \beta_1 m + (1 - \beta_1) g \\
        v &\leftarrow \beta_2 v + (1 - \beta_2) g^2 \\
        w &\leftarrow w - \gamma\, \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    Args:
        params: Tensors to train; None if a Trainer will bind them.
        lr: Learning rate :math:`\gamma`, a Schedule, or a function of the step.
        betas: :math:`\beta_1, \beta_2`, each in [0, 1).
        eps: :math:`\epsilon`.
        weight_decay: :math:`\lambda`, an L2 penalty that goes through the moments.

    Raises:
        ValueError: A number out of its range; no parameters, or one of them twice.

    Kingma & Ba, "Adam: a method for stochastic optimization", ICLR 2015.
    """

    op = "adam_update"
    hyper_parameters: ClassVar[tuple[str, ...]] = ("lr", "betas", "eps", "weight_decay")

    def __init__(
        self,
        params: Iterable[Tensor] | None = None,
        lr: LearningRate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        try:
            beta1, beta2 = betas
        except (TypeError, ValueError):
            raise TypeError(
                f"{type(self).__name__}: betas must be two numbers, got {betas!r}"
            ) from None
        self.betas = (self._check("betas[0]", beta1, 1.0), self._check("betas[1]", beta2, 1.0))
        self.eps = self._check("eps", eps)
        self.weight_decay = self._check("weight_decay", weight_decay)
        super().__init__(params, lr)

    @property
    def state_names(self) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def attributes(self) -> dict[str, float]:
        return {
            "beta1": self.betas[0],
            "beta2": self.betas[1],
            "eps": self.eps,
            "weight_decay": self.weight_decay,
        }

    def _scalars(self, steps: NDArray[np.int64], rates: NDArray[np.float64]) -> NDArray[np.float64]:
        t = steps + 1.0
        beta1, beta2 = self.betas
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
        params: Iterable[Tensor] | None = None,
        lr: LearningRate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)
