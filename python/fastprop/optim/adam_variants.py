"""Adamax, NAdam and RAdam: Adam with another norm, Nesterov's momentum, or a slower start."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprop.optim.groups import Parameters
from fastprop.optim.hyper import Flag, LearningRate, Number, Pair
from fastprop.optim.optimizer import Optimizer


class Adamax(Optimizer):
    r"""Adam with the largest gradient in place of the root of the mean square; PyTorch's formulas.

    .. math::
        g &\leftarrow g + \lambda w \\
        m &\leftarrow \beta_1 m + (1 - \beta_1) g \\
        u &\leftarrow \max(\beta_2 u,\; |g| + \epsilon) \\
        w &\leftarrow w - \frac{\gamma}{1 - \beta_1^t} \frac{m}{u}

    Args:
        params: Tensors to train, or groups of them; None if a Trainer will bind them.
        lr: Learning rate :math:`\gamma`, a Schedule, or a function of the step.
        betas: :math:`\beta_1, \beta_2`, each in [0, 1).
        eps: :math:`\epsilon`.
        weight_decay: :math:`\lambda`, an L2 penalty.
        decay_bias_and_norm: False spares parameters of at most one axis the weight decay.

    Raises:
        ValueError: A number out of its range; no parameters, or one of them twice.
        TypeError: Something that is no number or no parameter.

    Kingma & Ba, "Adam: a method for stochastic optimization", ICLR 2015, section 7.
    """

    op = "adamax_update"

    betas = Pair("beta1", "beta2", 1.0)
    eps = Number()
    weight_decay = Number()
    decay_bias_and_norm = Flag()

    def __init__(
        self,
        params: Parameters | None = None,
        lr: LearningRate = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        decay_bias_and_norm: bool = True,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            decay_bias_and_norm=decay_bias_and_norm,
        )

    def _state_names(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_inf")

    def _scalars(
        self, group: Mapping[str, Any], steps: NDArray[np.int64], rates: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        scalars: NDArray[np.float64] = rates / (1.0 - group["betas"][0] ** (steps + 1.0))
        return scalars.reshape(-1, 1)


class NAdam(Optimizer):
    r"""Adam with Nesterov's momentum; PyTorch's formulas.

    With :math:`\mu_t = \beta_1 (1 - \tfrac12\, 0.96^{t \psi})` and Adam's moments :math:`m, v`:

    .. math::
        \hat m &\leftarrow \frac{(1 - \mu_t)\, g}{1 - \prod_{i \le t} \mu_i}
            + \frac{\mu_{t+1}\, m}{1 - \prod_{i \le t+1} \mu_i} \\
        w &\leftarrow w - \gamma\, \frac{\hat m}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    Args:
        params: Tensors to train, or groups of them; None if a Trainer will bind them.
        lr: Learning rate :math:`\gamma`, a Schedule, or a function of the step.
        betas: :math:`\beta_1, \beta_2`, each in [0, 1).
        eps: :math:`\epsilon`.
        weight_decay: :math:`\lambda`, an L2 penalty that goes through the moments.
        momentum_decay: :math:`\psi`.
        decoupled_weight_decay: Decay the weights themselves, as AdamW does.
        decay_bias_and_norm: False spares parameters of at most one axis the weight decay.

    Raises:
        ValueError: A number out of its range; no parameters, or one of them twice.
        TypeError: Something that is no number or no parameter.

    Dozat, "Incorporating Nesterov momentum into Adam", ICLR 2016 workshop.
    """

    op = "nadam_update"

    betas = Pair("beta1", "beta2", 1.0)
    eps = Number()
    weight_decay = Number()
    momentum_decay = Number()
    decoupled_weight_decay = Flag()
    decay_bias_and_norm = Flag()

    def __init__(
        self,
        params: Parameters | None = None,
        lr: LearningRate = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        decay_bias_and_norm: bool = True,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            momentum_decay=momentum_decay,
            decoupled_weight_decay=decoupled_weight_decay,
            decay_bias_and_norm=decay_bias_and_norm,
        )

    def _state_names(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def _scalars(
        self, group: Mapping[str, Any], steps: NDArray[np.int64], rates: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        t = steps + 1
        beta1, beta2 = group["betas"]
        momenta = _momenta(beta1, group["momentum_decay"])
        now, ahead = momenta.products(t), momenta.products(t + 1)
        scalars = np.empty((len(rates), 4))
        scalars[:, 0] = rates
        scalars[:, 1] = rates * (1.0 - momenta(t)) / (1.0 - now)
        scalars[:, 2] = rates * momenta(t + 1) / (1.0 - ahead)
        scalars[:, 3] = 1.0 / np.sqrt(1.0 - beta2 ** t.astype(np.float64))
        return scalars


class _Momenta:
    """The sequence :math:`\\mu_t` of NAdam and its products, t = 1, 2, …"""

    def __init__(self, beta1: float, decay: float) -> None:
        self._beta1 = beta1
        self._decay = decay
        self._products = np.ones(1)

    def __call__(self, t: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(self._beta1 * (1.0 - 0.5 * 0.96 ** (t * self._decay)), np.float64)

    def products(self, t: NDArray[np.int64]) -> NDArray[np.float64]:
        """Products of the first t of them; one factor after the other, however they are asked for.

        The table ends where a product no longer changes 1 - product.
        """
        last = int(t.max(initial=0))
        while len(self._products) <= last and self._products[-1] > 1e-20:
            more = np.arange(len(self._products), 2 * len(self._products) + 256)
            factors = self(more)
            factors[0] *= self._products[-1]
            self._products = np.concatenate([self._products, np.multiply.accumulate(factors)])
        found: NDArray[np.float64] = self._products[np.minimum(t, len(self._products) - 1)]
        return found


_momenta = lru_cache(maxsize=32)(_Momenta)


class RAdam(Optimizer):
    r"""Adam with plain steps until the second moment is worth dividing by; PyTorch's formulas.

    With Adam's moments :math:`m, v`, :math:`\rho_\infty = 2 / (1 - \beta_2) - 1` and
    :math:`\rho_t = \rho_\infty - 2 t \beta_2^t / (1 - \beta_2^t)`:

    .. math::
        r_t &= \sqrt{\frac{(\rho_t - 4)(\rho_t - 2) \rho_\infty}
            {(\rho_\infty - 4)(\rho_\infty - 2) \rho_t}} \\
        w &\leftarrow w - \gamma\, \frac{m}{1 - \beta_1^t}
            \cdot \begin{cases}
                r_t \sqrt{1 - \beta_2^t} / (\sqrt v + \epsilon) & \rho_t > 5 \\ 1 & \text{else}
            \end{cases}

    Args:
        params: Tensors to train, or groups of them; None if a Trainer will bind them.
        lr: Learning rate :math:`\gamma`, a Schedule, or a function of the step.
        betas: :math:`\beta_1, \beta_2`, each in [0, 1).
        eps: :math:`\epsilon`.
        weight_decay: :math:`\lambda`, an L2 penalty that goes through the moments.
        decoupled_weight_decay: Decay the weights themselves, as AdamW does.
        decay_bias_and_norm: False spares parameters of at most one axis the weight decay.

    Raises:
        ValueError: A number out of its range; no parameters, or one of them twice.
        TypeError: Something that is no number or no parameter.

    Liu et al., "On the variance of the adaptive learning rate and beyond", ICLR 2020.
    """

    op = "radam_update"

    betas = Pair("beta1", "beta2", 1.0)
    eps = Number()
    weight_decay = Number()
    decoupled_weight_decay = Flag()
    decay_bias_and_norm = Flag()

    def __init__(
        self,
        params: Parameters | None = None,
        lr: LearningRate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        decay_bias_and_norm: bool = True,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            decoupled_weight_decay=decoupled_weight_decay,
            decay_bias_and_norm=decay_bias_and_norm,
        )

    def _state_names(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def _scalars(
        self, group: Mapping[str, Any], steps: NDArray[np.int64], rates: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        t = steps + 1.0
        beta1, beta2 = group["betas"]
        bias2 = 1.0 - beta2**t
        most = 2.0 / (1.0 - beta2) - 1.0
        length = most - 2.0 * t * beta2**t / bias2
        rectified = length > 5.0
        safe = np.where(rectified, length, 5.0)
        # Where nothing is rectified the longest average may be too short for the formula, too.
        limit = max(most, 5.0)
        share = (safe - 4) * (safe - 2) * limit / ((limit - 4) * (limit - 2) * safe)
        sizes = rates / (1.0 - beta1**t)
        scalars = np.empty((len(rates), 3))
        scalars[:, 0] = rates
        scalars[:, 1] = np.where(rectified, sizes * np.sqrt(share * bias2), sizes)
        scalars[:, 2] = rectified
        return scalars
