"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fastprop.graph.tensor import Tensor
from fastprop.optim.optimizer import LearningRate, Optimizer


class SGD(Optimizer):
    r"""Gradient descent with momentum, Nesterov's variant, and weight decay; PyTorch's formulas.

    .. math::
        g &\leftarrow g + \lambda w \\
        b &\leftarrow \mu b + (1 - \tau) g \quad (b = g \text{ in the first step}) \\
        w &\leftarrow w - \gamma\, b, \text{ or } w - \gamma\, (g + \mu b) \text{ with Nesterov}

    Args:
        params: Tensors to train; None if a Trainer will bind them.
        lr: Learning rate :math:`\gamma`, a Schedule, or a function of the step.
        momentum: :math:`\mu`.
        dampening: :math:`\tau`.
        weight_decay: :math:`\lambda`, an L2 penalty of :math:`\lambda/2\, |w|^2`.
        nesterov: Look ahead; wants momentum and no dampening.

    Raises:
        ValueError: A number that is negative or not finite; Nesterov without momentum or with
            dampening; no parameters, or one of them twice.

    Polyak, "Some methods of speeding up the convergence of iteration methods", 1964; Sutskever,
    Martens, Dahl & Hinton, "On the importance of initialization and momentum in deep learning",
    ICML 2013.
    """

    op = "sgd_update"
    hyper_parameters: ClassVar[tuple[str, ...]] = (
        "lr",
        "momentum",
        "dampening",
        "weight_decay",
        "nesterov",
    )

    def __init__(
        self,
        params: Iterable[Tensor] | None = None,
        lr: LearningRate = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        self.momentum = self._check("momentum", momentum)
        self.dampening = self._check("dampening", dampening)
        self.weight_decay = self._check("weight_decay", weight_decay)
        self.nesterov = bool(nesterov)
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError(
                "SGD: nesterov wants momentum > 0 and dampening 0, "
                f"got momentum {self.momentum} and dampening {self.dampening}"
            )
        super().__init__(params, lr)

    @property
    def state_names(self) -> tuple[str, ...]:
        return ("momentum_buffer",) if self.momentum else ()

    def attributes(self) -> dict[str, float]:
        return {
            "momentum": self.momentum,
            "nesterov": float(self.nesterov),
            "weight_decay": self.weight_decay,
        }

    def _scalars(self, steps: NDArray[np.int64], rates: NDArray[np.float64]) -> NDArray[np.float64]:
        # The buffer starts as the whole gradient: zero times the momentum, plus 1 times g.
        factors = np.where(steps == 0, 1.0, 1.0 - self.dampening)
        scalars = np.empty((len(rates), 2))  # np.stack would take as long as a small network's step
        scalars[:, 0] = rates
        scalars[:, 1] = factors
        return scalars
