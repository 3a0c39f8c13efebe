"""Schedules that go up as well: restarts, one cycle, many cycles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastprop.optim.schedules.base import Schedule
from fastprop.optim.schedules.decay import half_cosine


class CosineRestarts(Schedule):
    r"""Half a cosine from `lr` down to `min_lr`, again and again (SGDR).

    .. math::
        \gamma_t = \gamma_{min} + \tfrac12 (\gamma - \gamma_{min})\, (1 + \cos(\pi\, t_i / T_i)),
        \quad T_i = T\, m^i

    where :math:`t_i` counts from the last restart.

    Args:
        lr: Rate :math:`\gamma` after each restart.
        steps: Length :math:`T` of the first cycle, in optimizer steps.
        t_mult: :math:`m`, a whole number: each cycle is as many times as long as the one before.
        min_lr: :math:`\gamma_{min}`, at most `lr`.

    Raises:
        ValueError: A rate that is negative or not finite, steps or a factor below 1, a lowest rate
            above the first.

    Loshchilov & Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017; as
    PyTorch's ``CosineAnnealingWarmRestarts``.
    """

    lr: float
    steps: int
    t_mult: int
    min_lr: float

    def __init__(self, lr: float, steps: int, t_mult: int = 1, min_lr: float = 0.0) -> None:
        lr = self._number("lr", lr)
        steps = self._count("steps", steps)
        t_mult = self._count("t_mult", t_mult)
        min_lr = self._number("min_lr", min_lr, most=lr)
        self._set(lr=lr, steps=steps, t_mult=t_mult, min_lr=min_lr)

    def formula(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        if self.t_mult == 1:
            return half_cosine(self.lr, self.min_lr, (steps % self.steps) / self.steps)
        # Starts of the cycles as whole numbers: a logarithm would miss some of them by rounding.
        last = int(steps.max(initial=0))
        starts, lengths = [0], [self.steps]
        while starts[-1] + lengths[-1] <= last:
            starts.append(starts[-1] + lengths[-1])
            lengths.append(lengths[-1] * self.t_mult)
        begin = np.array(starts, dtype=np.int64)
        cycle = np.searchsorted(begin, steps, side="right") - 1
        part = (steps - begin[cycle]) / np.array(lengths, dtype=np.float64)[cycle]
        return half_cosine(self.lr, self.min_lr, part)


class OneCycle(Schedule):
    r"""Up to `max_lr` in the first part of `steps`, then down to far below the first rate.

    From :math:`\gamma / d` to :math:`\gamma` in the steps :math:`0 \ldots p T - 1`, and on to
    :math:`\gamma / (d f)` in step :math:`T - 1`, where it stays.

    Args:
        max_lr: :math:`\gamma`.
        steps: :math:`T`, all optimizer steps of the training.
        pct_start: :math:`p`, the part of them in which the rate grows, in [0, 1].
        div_factor: :math:`d`, at least 1.
        final_div_factor: :math:`f`, at least 1.
        anneal: ``"cos"`` for halves of a cosine, ``"linear"`` for straight lines.

    Raises:
        ValueError: A rate that is negative or not finite, steps below 1, a factor or part out of
            its range, an unknown `anneal`.

    Smith & Topin, "Super-convergence: very fast training of neural networks using large learning
    rates", 2018; Smith, "A disciplined approach to neural network hyper-parameters", 2018. As
    PyTorch's ``OneCycleLR`` with two phases; the momentum is left alone.
    """

    max_lr: float
    steps: int
    pct_start: float
    div_factor: float
    final_div_factor: float
    anneal: str

    def __init__(
        self,
        max_lr: float,
        steps: int,
        pct_start: float = 0.3,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        anneal: str = "cos",
    ) -> None:
        max_lr = self._number("max_lr", max_lr)
        steps = self._count("steps", steps)
        pct_start = self._number("pct_start", pct_start, most=1.0)
        div_factor = self._number("div_factor", div_factor, least=1.0)
        final_div_factor = self._number("final_div_factor", final_div_factor, least=1.0)
        anneal = self._choice("anneal", anneal, ("cos", "linear"))
        self._set(
            max_lr=max_lr,
            steps=steps,
            pct_start=pct_start,
            div_factor=div_factor,
            final_div_factor=final_div_factor,
            anneal=anneal,
        )

    @property
    def length(self) -> int:
        return self.steps

    def formula(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        first = self.max_lr / self.div_factor
        last = first / self.final_div_factor
        peak, end = self.pct_start * self.steps - 1.0, self.steps - 1.0
        t = np.minimum(steps, end)
        # A rise of no length is at its end at once; a fall of no length is never reached.
        up = t / peak if peak > 0.0 else np.ones(t.shape)
        down = (t - peak) / (end - peak) if end > peak else np.zeros(t.shape)
        rising = self._between(first, self.max_lr, np.minimum(up, 1.0))
        falling = self._between(self.max_lr, last, np.maximum(down, 0.0))
        return np.where(t <= peak, rising, falling)

    def _between(self, first: float, last: float, part: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.anneal == "cos":
            return half_cosine(first, last, part)
        return (1.0 - part) * first + part * last


class Cyclic(Schedule):
    r"""Up and down between two rates along straight lines, again and again.

    With :math:`x_t` going from 0 to 1 and back within cycle :math:`c` (counted from 0),

    .. math::
        \gamma_t = \gamma_{base} + (\gamma_{max} - \gamma_{base})\, x_t\, h_t

    where :math:`h_t` is 1 (``"triangular"``), :math:`2^{-c}` (``"triangular2"``) or :math:`g^t`
    (``"exp_range"``).

    Args:
        base_lr: :math:`\gamma_{base}`, the lowest rate.
        max_lr: :math:`\gamma_{max}`, at least `base_lr`.
        step_size_up: Optimizer steps of the way up.
        step_size_down: Of the way down; None for as many.
        mode: ``"triangular"``, ``"triangular2"`` or ``"exp_range"``.
        gamma: :math:`g` of ``"exp_range"``, in (0, 1].

    Raises:
        ValueError: A rate that is negative or not finite, `max_lr` below `base_lr`, steps below 1,
            an unknown mode, a factor out of its range or without ``"exp_range"``.

    Smith, "Cyclical learning rates for training neural networks", WACV 2017; as PyTorch's
    ``CyclicLR``, but the momentum is left alone.
    """

    base_lr: float
    max_lr: float
    step_size_up: int
    step_size_down: int | None
    mode: str
    gamma: float

    def __init__(
        self,
        base_lr: float,
        max_lr: float,
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
    ) -> None:
        base_lr = self._number("base_lr", base_lr)
        max_lr = self._number("max_lr", max_lr, least=base_lr)
        step_size_up = self._count("step_size_up", step_size_up)
        if step_size_down is not None:
            step_size_down = self._count("step_size_down", step_size_down)
        mode = self._choice("mode", mode, ("triangular", "triangular2", "exp_range"))
        gamma = self._number("gamma", gamma, most=1.0, positive=True)
        if gamma != 1.0 and mode != "exp_range":
            raise ValueError(
                f"Cyclic: gamma goes with mode='exp_range' only, got gamma {gamma} and mode "
                f"{mode!r}"
            )
        self._set(
            base_lr=base_lr,
            max_lr=max_lr,
            step_size_up=step_size_up,
            step_size_down=step_size_down,
            mode=mode,
            gamma=gamma,
        )

    def formula(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        up = self.step_size_up
        down = up if self.step_size_down is None else self.step_size_down
        cycle, at = np.divmod(steps, up + down)
        height = np.where(at <= up, at / up, (up + down - at) / down)
        if self.mode == "triangular2":
            height *= np.power(0.5, cycle)
        elif self.mode == "exp_range":
            height *= np.power(self.gamma, steps)
        return self.base_lr + (self.max_lr - self.base_lr) * height
