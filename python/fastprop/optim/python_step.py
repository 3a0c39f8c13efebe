"""Optimizers whose rule is Python: a Program brings loss and gradients, and they do the rest."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray

from fastprop.graph.effects import assign
from fastprop.graph.storage import flat_views
from fastprop.graph.tensor import Tensor
from fastprop.graph.trace import Trace, is_tracing
from fastprop.optim.optimizer import Control, Optimizer
from fastprop.registry import type_name


class NonFiniteLoss(FloatingPointError):
    """The loss became NaN or infinite; the parameters are as they were when it was finite."""


class PythonOptimizer(Optimizer):
    """Base of optimizers whose step is Python on arrays.

    A Trainer's Program computes the loss and copies the gradients into :attr:`gradients`; the
    Trainer calls :meth:`advance` for every step.

    Attributes:
        gradients: The gradient of each parameter as the Program left it, or ``None`` for those that
            the loss does not depend on.
    """

    gradients: list[Tensor | None]

    @abstractmethod
    def advance(self, evaluate: Callable[[], float], rate: float) -> None:
        """One step.

        Args:
            evaluate: Computes the loss of the parameters as they are, and :attr:`gradients`; these
                stay as they were if the loss is not finite.
            rate: The learning rate.

        Raises:
            NonFiniteLoss: The loss is not finite; the parameters are as they were before that.
        """

    def record(
        self,
        trace: Trace,
        gradients: Sequence[Tensor | None],
        control: Control | None = None,
        after: Callable[[], None] | None = None,
    ) -> None:
        """Have the traced step copy the gradients to where :meth:`advance` finds them."""
        gradients = gradients if control is None else control(gradients)
        arrays = flat_views([p.data for p in self.parameters])
        self.gradients = [
            None if gradient is None else Tensor(array)
            for array, gradient in zip(arrays, gradients, strict=True)
        ]
        for target, gradient in zip(self.gradients, gradients, strict=True):
            if target is not None and gradient is not None:
                assign(target, gradient)

    def _check_eager(self) -> None:
        self._check_bound()
        if is_tracing():
            raise RuntimeError(
                f"{type_name(self)}.step: its rule is Python and cannot be part of a compiled "
                "function; compile loss and gradients, and call step() outside"
            )
        self._add_state()

    def changed_arrays(self) -> list[NDArray[Any]]:
        """What :meth:`advance` overwrites: parameters and state."""
        state = (a for arrays in self.state.values() for a in arrays)
        return [*(p.data for p in self.parameters), *state]
