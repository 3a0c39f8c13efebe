"""What a Trainer does beside the update: penalties in the loss, clipping, constraints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fastprop.graph.scope import Scope, scoped
from fastprop.graph.tensor import Tensor
from fastprop.nn import Module
from fastprop.optim import Optimizer
from fastprop.optim.python_step import PythonOptimizer
from fastprop.registry import type_name
from fastprop.train.objective import Traced

if TYPE_CHECKING:
    from fastprop.gradients import Gradients, Rule

Penalty = Callable[[Module], Tensor]
Constraint = Callable[[Module], None]


class Regularization:
    """The penalties of one model, the rules for its gradients, its constraints.

    Args:
        where: Who asks; starts the messages.
        model: The model.
        penalty: ``None``, a function ``model -> scalar Tensor``, or a list of them.
        constraint: ``None``, a function ``model -> None`` that overwrites weights, or a list.
        clip: ``None``, a number, a function ``(parameters, gradients) -> gradients``, or a list.

    Raises:
        TypeError: Something that cannot be called.
        ValueError: One of :mod:`fastprop.regularizers` that is not about this model.
    """

    def __init__(self, where: str, model: Module, penalty: Any, constraint: Any, clip: Any) -> None:
        self._model = model
        self.penalties: list[Penalty] = _listed(where, model, "penalty", penalty)
        self.rules: list[Rule] = []
        if clip is not None:
            from fastprop.gradients import rules

            self.rules = rules(where, clip)
        self.constraints: list[Constraint] = _listed(where, model, "constraint", constraint)

    def check_optimizer(self, where: str, optimizer: Optimizer) -> None:
        """Refuse what an optimizer whose rule is Python cannot work with.

        Its model of the loss is made of where its steps led and of the gradients there: it would be
        wrong about weights that were moved afterwards, and about gradients that are not the loss's.

        Raises:
            ValueError: There is a constraint, or a rule for gradients.
        """
        if not isinstance(optimizer, PythonOptimizer):
            return
        for what, given in (("constraint", self.constraints), ("clip", self.rules)):
            if given:
                raise ValueError(
                    f"{where}: {what} does not go with {type_name(optimizer)}, which learns from "
                    "where its steps lead and from the loss's own gradients; take a penalty, which "
                    "is part of the loss, or another optimizer"
                )

    def penalize(self, traced: Traced) -> Traced:
        """The same with the penalties in its loss.

        Raises:
            ValueError: A penalty that is no scalar.
        """
        loss = traced.loss
        with scoped(Scope(None, "loss")):
            for penalty in self.penalties:
                value = penalty(self._model)
                if not isinstance(value, Tensor) or value.shape != ():
                    got = f"shape {value.shape}" if isinstance(value, Tensor) else type_name(value)
                    raise ValueError(f"a penalty must give a scalar Tensor, got {got}")
                loss = loss + value
        return traced._replace(loss=loss)

    def control(self, where: str, parameters: Sequence[Tensor], found: Gradients) -> Gradients:
        """The gradients as the rules leave them."""
        if not self.rules:
            return found
        from fastprop.gradients import apply_rules

        return apply_rules(where, self.rules, parameters, found)

    def constrain(self) -> None:
        """After an update."""
        for constraint in self.constraints:
            constraint(self._model)


def _listed(where: str, model: Module, what: str, given: Any) -> list[Any]:
    items = [] if given is None else list(given) if isinstance(given, list | tuple) else [given]
    for item in items:
        if not callable(item) or isinstance(item, type):
            raise TypeError(
                f"{where}: {what} must be one of fastprop.regularizers, a function of the model, "
                f"or a list of them, got {item!r}"
            )
        if hasattr(item, "bind"):
            item.bind(f"{where}: {what}", model)
    return items
