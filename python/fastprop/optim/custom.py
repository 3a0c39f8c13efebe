"""An optimizer with a rule of the user's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprop.checks import check_takes
from fastprop.graph.custom import update_slot
from fastprop.graph.effects import Numbers, effect
from fastprop.graph.tensor import Tensor
from fastprop.optim.groups import Parameters
from fastprop.optim.hyper import LearningRate
from fastprop.optim.optimizer import Optimizer
from fastprop.registry import type_name

Array = NDArray[Any]
Rule = Callable[[Array, Array, dict[str, Array], float, int], object]


class Custom(Optimizer):
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
        TypeError: `rule` is no function of five arguments, or gave something back; a name that is
            no string.
        ValueError: A rate out of its range; no parameters, or one of them twice; a name twice.

    A Program calls the rule in every step. An exception of the rule ends the run and is raised from
    it. State that the rule keeps elsewhere is not saved, nor put back when a loss turns non-finite.
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
        check_takes("Custom", "rule", rule, ("w", "g", "state", "lr", "step"))
        names = (state,) if isinstance(state, str) else tuple(state)
        for name in names:
            if not isinstance(name, str):
                raise TypeError(f"Custom: state must be names, got {name!r}")
        if len(set(names)) < len(names):
            raise ValueError(f"Custom: state has a name twice, {list(names)}")
        self.rule = rule
        self._names = names
        self._slot: int | None = None  # of the rule, once a Program calls it
        super().__init__(params, lr=lr)

    def _state_names(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        return self._names

    def _scalars(
        self, group: Mapping[str, Any], steps: NDArray[np.int64], rates: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        return np.stack([rates, steps + 1.0], axis=1)

    def _update(
        self, i: int, gradient: Tensor, attributes: dict[str, float], numbers: Numbers
    ) -> None:
        parameter, state = self.parameters[i], self.state_of(i)
        if isinstance(numbers, int):
            if self._slot is None:
                self._slot = update_slot(partial(_apply, self.rule, self._names))
            attributes = {"slot": self._slot, "numbers": 2.0}
            effect("host_update", [gradient], [parameter, *state], attributes, numbers)
            return
        g = gradient.data.view()
        g.flags.writeable = False
        _apply(self.rule, self._names, [g], [parameter.data, *state], numbers)
        parameter.mark_changed()

    def config(self) -> dict[str, Any]:
        return {"rule": self.rule, **super().config(), "state": self._names}

    def __repr__(self) -> str:
        name = getattr(self.rule, "__name__", repr(self.rule))
        return f"Custom({name}, lr={self.lr!r}, state={list(self._names)})"


def _apply(
    rule: Rule,
    names: Sequence[str],
    inputs: Sequence[Array],
    outputs: Sequence[Array],
    numbers: Sequence[float],
) -> None:
    (g,), (w, *state), (lr, step) = inputs, outputs, numbers
    given = rule(w, g, dict(zip(names, state, strict=True)), lr, int(step))
    if given is not None:
        raise TypeError(
            "Custom: rule must overwrite w in place and give nothing back, got "
            f"{type_name(given)}; write w -= lr * g"
        )
