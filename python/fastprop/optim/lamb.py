"""LAMB: Adam with steps as long as fits each weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprop.graph.effects import Numbers, effect
from fastprop.graph.storage import flat_views
from fastprop.graph.tensor import Tensor
from fastprop.optim.groups import Parameters
from fastprop.optim.hyper import Flag, LearningRate, Number, Pair
from fastprop.optim.optimizer import Optimizer


class LAMB(Optimizer):
    r"""Adam's direction, scaled for each parameter by its norm; for large batches.

    .. math::
        m &\leftarrow \beta_1 m + (1 - \beta_1) g \\
        v &\leftarrow \beta_2 v + (1 - \beta_2) g^2 \\
        r &\leftarrow \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}
            + \lambda w \\
        w &\leftarrow w - \gamma\, \frac{\|w\|}{\|r\|}\, r

    The ratio of the norms is 1 where one of them is 0.

    Args:
        params: Tensors to train, or groups of them; None if a Trainer will bind them.
        lr: Learning rate :math:`\gamma`, a Schedule, or a function of the step.
        betas: :math:`\beta_1, \beta_2`, each in [0, 1).
        eps: :math:`\epsilon`.
        weight_decay: :math:`\lambda`, decoupled.
        decay_bias_and_norm: False spares parameters of at most one axis the weight decay.

    Raises:
        ValueError: A number out of its range; no parameters, or one of them twice.
        TypeError: Something that is no number or no parameter.

    You et al., "Large batch optimization for deep learning: training BERT in 76 minutes", ICLR 2020
    (its third version, with Adam's bias corrections).
    """

    betas = Pair("beta1", "beta2", 1.0)
    eps = Number()
    weight_decay = Number()
    decay_bias_and_norm = Flag()

    def __init__(
        self,
        params: Parameters | None = None,
        lr: LearningRate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 1e-2,
        *,
        decay_bias_and_norm: bool = True,
    ) -> None:
        self._directions: list[Tensor] = []
        self._squares: list[Tensor] = []
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            decay_bias_and_norm=decay_bias_and_norm,
        )

    def _state_names(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def _add_state(self) -> None:
        """And room for the directions, with the sums of squares of the rows of w and r."""
        super()._add_state()
        if not self._directions:
            arrays = [p.data for p in self.parameters]
            self._directions = [Tensor(a) for a in flat_views(arrays)]
            # Three axes: what has one row for each of the weight's would be taken for its slice.
            rows = [np.empty((1, 2, a.shape[0] if a.ndim else 1), a.dtype) for a in arrays]
            self._squares = [Tensor(a) for a in flat_views(rows)]

    def _scalars(
        self, group: Mapping[str, Any], steps: NDArray[np.int64], rates: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        t = steps + 1.0
        beta1, beta2 = group["betas"]
        scalars = np.empty((len(rates), 3))
        scalars[:, 0] = 1.0 / (1.0 - beta1**t)
        scalars[:, 1] = 1.0 / np.sqrt(1.0 - beta2**t)
        scalars[:, 2] = rates
        return scalars

    def _update(
        self, i: int, gradient: Tensor, attributes: dict[str, float], numbers: Numbers
    ) -> None:
        parameter, r, squares = self.parameters[i], self._directions[i], self._squares[i]
        outputs: list[Tensor | NDArray[Any]] = [r, *self.state_of(i), squares]
        effect("lamb_direction", [gradient, parameter], outputs, attributes, numbers)
        rate = numbers + 2 if isinstance(numbers, int) else numbers[2:]
        effect("lamb_update", [r, squares], [parameter], {}, rate)
