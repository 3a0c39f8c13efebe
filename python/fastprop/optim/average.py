"""Averages of the weights over the steps of a training: EMA and SWA."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastprop.graph.effects import effect
from fastprop.graph.storage import flat_views
from fastprop.graph.tensor import Tensor
from fastprop.optim.around import Around
from fastprop.optim.hyper import Count, HasHyper, Number
from fastprop.optim.optimizer import Optimizer
from fastprop.optim.rates import Tempo
from fastprop.optim.state import checked_arrays
from fastprop.registry import type_name


class Averaged(Around):
    """Base of :class:`EMA` and :class:`SWA`: an optimizer, and an average of the weights that it
    makes. The average is kept by the training step itself, compiled with it.

    Attributes:
        optimizer: What trains. Learning rate, parameters, groups and steps are this one's.
    """

    op = "average_update"
    hyper_parameters: ClassVar[tuple[str, ...]] = ()

    start = Count(0)
    every = Count(1)

    def __init__(self, optimizer: Optimizer, **hyper: Any) -> None:
        super().__init__(
            optimizer, "averages even out the noise of mini-batches, in the compiled step"
        )
        HasHyper.__init__(self, **hyper)
        self._swapped = False
        if optimizer.parameters:
            self._add_state()

    def _share(self, taken: NDArray[np.int64]) -> NDArray[np.float64]:
        """The part of new weights in the average after some that were taken before."""
        raise NotImplementedError

    # -- the average ---

    @property
    def averages(self) -> list[NDArray[Any]]:
        """The average of each parameter, or an empty list before parameters are bound."""
        return self.state.get("average", [])

    @property
    def count(self) -> int:
        """How many weights the average is made of."""
        return max(0, -(-(self.steps - self.start) // self.every))

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Inside the block the model has the averaged weights; after it, its own again.

        To evaluate or to save: ``with ema.averaged_weights(): trainer.evaluate(x, y)``.

        Raises:
            RuntimeError: There is no average yet, or training goes on inside the block.
        """
        self._check_ready("averaged_weights")
        self._swap()
        self._swapped = True
        try:
            yield
        finally:
            self._swapped = False
            self._swap()

    def apply(self) -> None:
        """Make the averages the weights, for good.

        Raises:
            RuntimeError: There is no average yet.
        """
        self._check_ready("apply")
        for parameter, average in zip(self.parameters, self.averages, strict=True):
            parameter.data = average

    def _check_ready(self, method: str) -> None:
        name = type_name(self)
        if self._swapped:
            raise RuntimeError(f"{name}.{method}: inside averaged_weights")
        if self.count == 0:
            raise RuntimeError(
                f"{name}.{method}: no average yet; the first weights are taken after step "
                f"{self.start + 1}, {self.steps} steps are done"
            )

    def _swap(self) -> None:
        for parameter, average in zip(self.parameters, self.averages, strict=True):
            own = parameter.data.copy()
            parameter.data = average
            average[...] = own

    def _check_not_swapped(self) -> None:
        if self._swapped:
            raise RuntimeError(f"{type_name(self)}: no training inside averaged_weights")

    # -- an optimizer like others ---

    @property
    def state_names(self) -> tuple[str, ...]:
        return ("average",)

    def _add_state(self) -> None:
        if not self.state:
            self.state["average"] = flat_views([p.data for p in self.parameters])

    def step_scalars(
        self,
        first_step: int,
        count: int,
        learning_rates: NDArray[np.float64] | Tempo | None = None,
    ) -> NDArray[np.float64]:
        self._check_not_swapped()
        rows = self.optimizer.step_scalars(first_step, count, learning_rates)
        shares = self.shares(first_step, count).reshape(-1, 1)
        both = np.concatenate([rows, shares], axis=1)
        both.flags.writeable = False
        return both

    def shares(self, first_step: int, count: int) -> NDArray[np.float64]:
        """The part of the weights after a step in the average; 0 if they are not taken."""
        since = np.arange(first_step - self.start, first_step - self.start + count)
        due = (since >= 0) & (since % self.every == 0)
        return np.where(due, self._share(np.maximum(since, 0) // self.every), 0.0)

    def _step_now(self) -> None:
        self._check_not_swapped()
        self.optimizer.step()
        share = self.shares(self.steps - 1, 1).tolist()
        for parameter, average in zip(self.parameters, self.averages, strict=True):
            effect(self.op, [parameter], [average], {}, share)

    def _record(self, gradients: Sequence[Tensor | None], start: int, width: int) -> None:
        self.optimizer._record(gradients, start, width - 1)
        for parameter, average in zip(self.parameters, self.averages, strict=True):
            effect(self.op, [parameter], [average], {}, start + width - 1)

    def config(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer, **self.defaults}

    def state_dict(self, copy: bool = True) -> dict[str, Any]:
        """``{"type", "hyper_parameters", "state", "optimizer"}``; the last is :attr:`optimizer`'s.

        Args:
            copy: Arrays are copies; else the arrays themselves, which training goes on to change.
        """
        return {
            "type": type_name(self),
            "hyper_parameters": dict(self.defaults),
            "state": {"average": [a.copy() if copy else a for a in self.averages]},
            "optimizer": self.optimizer.state_dict(copy),
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        where = f"{type_name(self)}.load_state_dict"
        try:
            kind, hyper, state, inner = (
                saved[key] for key in ("type", "hyper_parameters", "state", "optimizer")
            )
        except (KeyError, TypeError, IndexError):
            raise ValueError(f"{where}: expects what state_dict gave") from None
        if kind != type_name(self):
            raise ValueError(f"{where}: this is the state of {kind}")
        checked = self._checked(where, hyper)
        arrays = checked_arrays(self, where, ("average",), state)
        self.optimizer.load_state_dict(inner)
        self.defaults.update(checked)
        for mine, value in zip(self.averages, arrays["average"], strict=True):
            mine[...] = value

    def __repr__(self) -> str:
        settings = [f"{name}={self.defaults[name]!r}" for name in self.hyper_parameters]
        return f"{type_name(self)}({', '.join([repr(self.optimizer), *settings])})"


class EMA(Averaged):
    r"""An optimizer, and the exponential moving average of its weights.

    .. math:: a \leftarrow d\, a + (1 - d)\, w

    after every step; the first one taken makes :math:`a = w`. Averaged weights often generalize
    better than the latest ones, and make a high learning rate's noise harmless.

    Example:
        >>> optimizer = optim.EMA(optim.AdamW(lr=1e-3), decay=0.999)
        >>> trainer = fp.Trainer(model, "cross_entropy", optimizer)
        >>> trainer.fit(x, y)
        >>> with optimizer.averaged_weights():
        ...     trainer.evaluate(x_test, y_test)

    Args:
        optimizer: What trains.
        decay: :math:`d`, in [0, 1).
        start: Steps before the first weights are taken.
        every: Take the weights after every so many steps.

    Raises:
        TypeError: `optimizer` is no Optimizer.
        ValueError: A number out of its range.

    Statistics of normalization layers are not averaged. Polyak & Juditsky, "Acceleration of
    stochastic approximation by averaging", SIAM J. Control Optim. 1992; as PyTorch's
    ``AveragedModel`` with ``get_ema_multi_avg_fn``.
    """

    decay = Number(1.0)

    def __init__(
        self, optimizer: Optimizer, decay: float = 0.999, *, start: int = 0, every: int = 1
    ) -> None:
        super().__init__(optimizer, decay=decay, start=start, every=every)

    def _share(self, taken: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.where(taken == 0, 1.0, 1.0 - self.decay)


class SWA(Averaged):
    r"""An optimizer, and the plain mean of its weights from some step on.

    .. math:: a \leftarrow a + \frac{w - a}{n + 1}

    with :math:`n` the number of weights in :math:`a` before. Works best with a learning rate that
    stays high or goes in cycles from `start` on.

    Example:
        >>> optimizer = optim.SWA(optim.SGD(lr=0.05, momentum=0.9), start=750, every=10)

    Args:
        optimizer: What trains.
        start: Steps before the first weights are taken.
        every: Take the weights after every so many steps.

    Raises:
        TypeError: `optimizer` is no Optimizer.
        ValueError: A number out of its range.

    Statistics of normalization layers are not averaged. Izmailov et al., "Averaging weights leads
    to wider optima and better generalization", UAI 2018; as PyTorch's ``AveragedModel``.
    """

    def __init__(self, optimizer: Optimizer, start: int = 0, every: int = 1) -> None:
        super().__init__(optimizer, start=start, every=every)

    def _share(self, taken: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(1.0 / (taken + 1.0), np.float64)
