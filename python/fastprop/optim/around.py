"""An optimizer around another one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastprop.graph.tensor import Tensor
from fastprop.optim.groups import Parameters, ParamGroup
from fastprop.optim.hyper import LearningRate
from fastprop.optim.optimizer import Optimizer
from fastprop.optim.python_step import PythonOptimizer
from fastprop.registry import type_name


class Around(Optimizer):
    """Base of optimizers that do something beside the updates of another one.

    Attributes:
        optimizer: What trains. Learning rate, parameters, groups and steps are this one's.
        outermost: None of these goes around it.
    """

    outermost: ClassVar[bool] = False

    def __init__(self, optimizer: Optimizer, why: str) -> None:
        """For subclasses; `why` says why a rule in Python is refused."""
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"{type_name(self)}: optimizer must be an Optimizer such as optim.Adam(lr=1e-3), "
                f"got {optimizer!r}"
            )
        if isinstance(optimizer, PythonOptimizer):
            raise TypeError(
                f"{type_name(self)}: {why}, and {type_name(optimizer)} takes its steps outside of "
                "it, on all rows; use it as it is"
            )
        if isinstance(optimizer, Around) and optimizer.outermost:
            raise TypeError(
                f"{type_name(self)}: {type_name(optimizer)} has to be around all others, as in "
                f"optim.{type_name(optimizer)}(optim.EMA(optim.Adam()), 4), and only once"
            )
        self.optimizer = optimizer
        self.state = {}

    @property
    def lr(self) -> LearningRate:
        """The learning rate of :attr:`optimizer`."""
        return self.optimizer.lr

    @lr.setter
    def lr(self, value: LearningRate) -> None:
        self.optimizer.lr = value

    @property
    def parameters(self) -> list[Tensor]:  # type: ignore[override]
        return self.optimizer.parameters

    @property
    def param_groups(self) -> list[ParamGroup]:  # type: ignore[override]
        return self.optimizer.param_groups

    @property
    def full_batch(self) -> bool:  # type: ignore[override]
        return self.optimizer.full_batch

    def bind(self, params: Parameters) -> None:
        self.optimizer.bind(params)
        self._add_state()

    def _check_bound(self) -> None:
        self.optimizer._check_bound()

    def _others(self) -> Iterable[dict[str, Any]]:
        return [{}]

    @property
    def steps(self) -> int:
        """Updates done so far."""
        return self.optimizer.steps

    @steps.setter
    def steps(self, value: int) -> None:
        self.optimizer.steps = value

    def attributes(self) -> tuple[dict[str, float], ...]:
        return self.optimizer.attributes()

    def look_at_frozen(self) -> None:
        self.optimizer.look_at_frozen()

    @property
    def slots(self) -> list[int]:
        return self.optimizer.slots

    def learning_rates(self, first_step: int, count: int) -> NDArray[np.float64]:
        return self.optimizer.learning_rates(first_step, count)
