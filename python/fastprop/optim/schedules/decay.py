"""Schedules that go down once: by steps, by a power, along a cosine, with the root of the step."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from fastprop.optim.schedules.base import Schedule


class Constant(Schedule):
    r"""The same rate at every step: :math:`\gamma_t = \gamma`. Wanted inside other schedules.

    Args:
        lr: :math:`\gamma`.

    Raises:
        ValueError: A rate that is negative or not finite.
    """

    lr: float

    def __init__(self, lr: float) -> None:
        self._set(lr=self._number("lr", lr))

    def formula(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.full(steps.shape, self.lr)


class Step(Schedule):
    r"""A factor every `step_size` steps: :math:`\gamma_t = \gamma\, g^{\lfloor t / s \rfloor}`.

    Args:
        lr: First rate :math:`\gamma`.
        step_size: :math:`s`, in optimizer steps.
        gamma: Factor :math:`g`, in (0, 1].

    Raises:
        ValueError: A rate that is negative or not finite, a step size below 1, a factor out of its
            range.

    As PyTorch's ``StepLR``.
    """

    lr: float
    step_size: int
    gamma: float

    def __init__(self, lr: float, step_size: int, gamma: float = 0.1) -> None:
        lr = self._number("lr", lr)
        step_size = self._count("step_size", step_size)
        gamma = self._number("gamma", gamma, most=1.0, positive=True)
        self._set(lr=lr, step_size=step_size, gamma=gamma)

    def formula(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        return self.lr * np.power(self.gamma, steps // self.step_size)


class MultiStep(Schedule):
    r"""A factor at each milestone: :math:`\gamma_t = \gamma\, g^n` after :math:`n` of them.

    Args:
        lr: First rate :math:`\gamma`.
        milestones: Optimizer steps, increasing; the step itself has the new rate already.
        gamma: Factor :math:`g`, in (0, 1].

    Raises:
        ValueError: A rate that is negative or not finite, milestones that do not increase from 1
            on, a factor out of its range.

    As PyTorch's ``MultiStepLR``.
    """

    lr: float
    milestones: tuple[int, ...]
    gamma: float

    def __init__(self, lr: float, milestones: Iterable[int], gamma: float = 0.1) -> None:
        lr = self._number("lr", lr)
        steps = self._milestones("milestones", milestones)
        gamma = self._number("gamma", gamma, most=1.0, positive=True)
        self._set(lr=lr, milestones=steps, gamma=gamma)

    def formula(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        milestones = np.array(self.milestones, dtype=np.int64)
        return self.lr * np.power(self.gamma, np.searchsorted(milestones, steps, side="right"))


class Exponential(Schedule):
    r"""A factor for every `steps` steps, spread evenly: :math:`\gamma_t = \gamma\, g^{t / T}`.

    Args:
        lr: First rate :math:`\gamma`.
        gamma: Factor :math:`g`; above 1 the rate grows, as a learning-rate range test wants it.
        steps: :math:`T`, in optimizer steps.

    Raises:
        ValueError: A rate that is negative or not finite, a factor that is not positive and
            finite, steps below 1.

    With ``steps=1`` PyTorch's ``ExponentialLR``, else Keras's ``ExponentialDecay``.
    """

    lr: float
    gamma: float
    steps: int

    def __init__(self, lr: float, gamma: float, steps: int = 1) -> None:
        lr = self._number("lr", lr)
        gamma = self._number("gamma", gamma, positive=True)
        steps = self._count("steps", steps)
        self._set(lr=lr, gamma=gamma, steps=steps)

    def formula(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        return self.lr * np.power(self.gamma, steps / self.steps)


class Polynomial(Schedule):
    r"""Down to `min_lr` in `steps` steps as a power of what is left, and constant from there on.

    .. math::
        \gamma_t = \gamma_{min} + (\gamma - \gamma_{min})\, (1 - \min(t, T) / T)^p

    Args:
        lr: First rate :math:`\gamma`.
        steps: :math:`T`, in optimizer steps.
        power: :math:`p`; 1 is a straight line.
        min_lr: Last rate :math:`\gamma_{min}`, at most `lr`.

    Raises:
        ValueError: A number that is negative or not finite, steps below 1, a last rate above the
            first.

    As PyTorch's ``PolynomialLR`` (whose last rate is 0) and Keras's ``PolynomialDecay``.
    """

    lr: float
    steps: int
    power: float
    min_lr: float

    def __init__(self, lr: float, steps: int, power: float = 1.0, min_lr: float = 0.0) -> None:
        lr = self._number("lr", lr)
        steps = self._count("steps", steps)
        power = self._number("power", power, positive=True)
        min_lr = self._number("min_lr", min_lr, most=lr)
        self._set(lr=lr, steps=steps, power=power, min_lr=min_lr)

    @property
    def length(self) -> int:
        return self.steps

    def formula(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        left = (self.steps - np.minimum(steps, self.steps)) / self.steps
        return self.min_lr + (self.lr - self.min_lr) * left**self.power


class Cosine(Schedule):
    r"""Down to `min_lr` in `steps` steps along half a cosine, and constant from there on.

    .. math::
        \gamma_t = \gamma_{min} + \tfrac12 (\gamma - \gamma_{min})\, (1 + \cos(\pi \min(t, T) / T))

    Args:
        lr: First rate :math:`\gamma`.
        steps: :math:`T`, in optimizer steps.
        min_lr: Last rate :math:`\gamma_{min}`, at most `lr`.

    Raises:
        ValueError: A rate that is negative or not finite, steps below 1, a last rate above the
            first.

    Loshchilov & Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017. Up to
    step :math:`T` as PyTorch's ``CosineAnnealingLR``, which goes up again behind it.
    """

    lr: float
    steps: int
    min_lr: float

    def __init__(self, lr: float, steps: int, min_lr: float = 0.0) -> None:
        lr = self._number("lr", lr)
        steps = self._count("steps", steps)
        min_lr = self._number("min_lr", min_lr, most=lr)
        self._set(lr=lr, steps=steps, min_lr=min_lr)

    @property
    def length(self) -> int:
        return self.steps

    def formula(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        return half_cosine(self.lr, self.min_lr, np.minimum(steps, self.steps) / self.steps)


def half_cosine(first: float, last: float, part: NDArray[np.float64]) -> NDArray[np.float64]:
    """From `first` to `last` along half a cosine, where `part` of the way is in [0, 1]."""
    return last + (first - last) * (0.5 * (1.0 + np.cos(np.pi * part)))


class InverseSqrt(Schedule):
    r"""Up to `lr` along a line, then down with the root of the step.

    .. math::
        \gamma_t = \gamma \min\left(\frac{t + 1}{w}, \sqrt{\frac{w}{t + 1}}\right)

    Args:
        lr: Highest rate :math:`\gamma`, that of step :math:`w - 1`.
        warmup_steps: :math:`w`, in optimizer steps; 1 for none.

    Raises:
        ValueError: A rate that is negative or not finite, warm-up steps below 1.

    Vaswani et al., "Attention is all you need", NeurIPS 2017, who take
    :math:`\gamma = (d\, w)^{-1/2}` for a model of width :math:`d`.
    """

    lr: float
    warmup_steps: int

    def __init__(self, lr: float, warmup_steps: int = 4000) -> None:
        lr = self._number("lr", lr)
        warmup_steps = self._count("warmup_steps", warmup_steps)
        self._set(lr=lr, warmup_steps=warmup_steps)

    def formula(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        done = (steps + 1.0) / self.warmup_steps
        return self.lr * np.minimum(done, 1.0 / np.sqrt(done))
