"""An optimizer with a rule of the user's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprop.graph.tensor import Tensor
from fastprop.optim.groups import Parameters
from fastprop.optim.hyper import LearningRate
from fastprop.optim.python_step import NonFiniteLoss, PythonOptimizer
from fastprop.registry import type_name

Array = NDArray[Any]
Rule = Callable[[Array, Array, dict[str, Array], float, int], None]


class Custom(PythonOptimizer):
    r"""An optimizer from a function on NumPy arrays that overwrites a weight and its state.

    Example:
        >>> def momentum(w, g, state, lr, step):
        ...     state["m"] *= 0.9
        ...     state["m"] += g
        ...     w -= lr * state["m"]
        >>> optimizer = optim.Custom(momentum, lr=0.1, state=["m"])

    Args:
        rule: ``rule(w, g, state, lr, step)``, called for every parameter in every step; overwrites
            the array `w` and those of the dict `state`, and gives nothing back. `g` is the gradient
            and cannot be written; `step` counts from 1.
        params: Tensors to train, or groups of them; None if a Trainer will bind them.
        lr: Learning rate, a Schedule, or a function of the step (counted from 0).
        state: Names of the arrays that `rule` keeps for each parameter, of its shape and dtype,
            zeros at first.

    Raises:
        TypeError: `rule` is no function, or gave something back; a name that is no string.
        ValueError: A rate out of its range; no parameters, or one of them twice; a name twice.

    State that `rule` keeps elsewhere is not saved, and not put back when a loss turns non-finite.
    """

    def __init__(
        self,
        rule: Rule,
        params: Parameters | None = None,
        lr: LearningRate = 1e-3,
        *,
        state: Iterable[str] = (),
    ) -> None:
        if not callable(rule) or isinstance(rule, type):
            raise TypeError(
                f"Custom: rule must be a function of (w, g, state, lr, step), got {rule!r}"
            )
        names = (state,) if isinstance(state, str) else tuple(state)
        for name in names:
            if not isinstance(name, str):
                raise TypeError(f"Custom: state must be names, got {name!r}")
        if len(set(names)) < len(names):
            raise ValueError(f"Custom: state has a name twice, {list(names)}")
        self.rule = rule
        self._names = names
        super().__init__(params, lr=lr)

    def _state_names(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        return self._names

    def step(self) -> None:
        """Apply the rule to every parameter that has a gradient.

        Raises:
            RuntimeError: There are no parameters yet, or the call is in a compiled function.
            ValueError: A gradient has not its parameter's shape or dtype; nothing is updated then.
            TypeError: The rule gave something back.
        """
        self._check_eager()
        due = [i for i, p in enumerate(self.parameters) if p.grad is not None]
        self._apply({i: self._gradient(i) for i in due})

    def advance(self, evaluate: Callable[[], float]) -> None:
        loss = evaluate()
        if not np.isfinite(loss):
            raise NonFiniteLoss(f"Custom: the loss is {loss}")
        self._apply({i: g for i, g in enumerate(self.gradients) if g is not None})

    def _apply(self, gradients: dict[int, Tensor]) -> None:
        rows = self.step_scalars(self.steps, 1)[0]
        for i, gradient in gradients.items():
            g = gradient.data.view()
            g.flags.writeable = False
            state = dict(zip(self._names, self.state_of(i), strict=True))
            parameter, lr = self.parameters[i], float(rows[self._group_of[i]])
            given = self.rule(parameter.data, g, state, lr, self._steps[i] + 1)
            parameter.mark_changed()
            if given is not None:
                raise TypeError(
                    f"Custom: rule must overwrite w in place and give nothing back, got "
                    f"{type_name(given)}; write w -= lr * g"
                )
            self._steps[i] += 1
        self._most_steps = max(self._steps)

    def config(self) -> dict[str, Any]:
        return {"rule": self.rule, **super().config(), "state": self._names}

    def __repr__(self) -> str:
        name = getattr(self.rule, "__name__", repr(self.rule))
        return f"Custom({name}, lr={self.lr!r}, state={list(self._names)})"
