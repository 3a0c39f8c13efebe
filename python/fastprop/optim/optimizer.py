"""What all optimizers share: parameters, state, the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastprop.graph.effects import Numbers, effect
from fastprop.graph.storage import flat_views
from fastprop.graph.tensor import Tensor
from fastprop.graph.trace import Trace, current_trace, forget_gradient
from fastprop.optim.schedules import Schedule
from fastprop.registry import type_name

LearningRate = float | Schedule | Callable[[int], float]

_BLOCK_STEPS = 256  # whose numbers are computed together, where the step alone decides


class Optimizer:
    """Base of all optimizers. The arithmetic is one op of the C++ table that updates in place.

    Args:
        params: Tensors to train, as ``model.parameters()`` gives them; None if a Trainer will bind
            them.
        lr: Learning rate, a Schedule, or a function of the step (counted from 0) that gives it.

    Attributes:
        op: Name of the update op.
        state_names: Names of the arrays that it keeps for each parameter.
        parameters: The Tensors, in the order in which they were given.
        state: For each name, one array for each parameter.
    """

    op: ClassVar[str] = ""
    hyper_parameters: ClassVar[tuple[str, ...]] = ("lr",)

    def __init__(self, params: Iterable[Tensor] | None, lr: LearningRate) -> None:
        self.lr = lr
        self.parameters: list[Tensor] = []
        self.state: dict[str, list[NDArray[Any]]] = {}
        self._steps: list[int] = []
        self._most_steps = 0
        self._hyper = attrgetter(*self.hyper_parameters)
        self._block: tuple[Any, int, NDArray[np.float64]] = (None, 0, np.empty((0, 0)))
        if params is not None:
            self.bind(params)

    # -- what each optimizer defines ---

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the arrays kept for each parameter, in the op's order."""
        return ()

    def attributes(self) -> dict[str, float]:
        """The op's attributes: all hyper-parameters that do not change from step to step."""
        raise NotImplementedError(f"{type_name(self)}: define attributes(self)")

    def _scalars(self, steps: NDArray[np.int64], rates: NDArray[np.float64]) -> NDArray[np.float64]:
        """What changes from step to step, float64 [len(steps), k].

        A function of its arguments and the hyper-parameters alone.
        """
        raise NotImplementedError(f"{type_name(self)}: define _scalars(self, steps, rates)")

    # -- the learning rate ---

    @property
    def lr(self) -> LearningRate:
        """Learning rate, Schedule or function of the step. May be assigned at any time."""
        return self._lr

    @lr.setter
    def lr(self, value: LearningRate) -> None:
        if isinstance(value, type):
            name = value.__name__
            raise TypeError(f"{type_name(self)}: lr is the class {name}; write {name}(…)")
        self._lr: LearningRate = value if callable(value) else self._check("lr", value)

    def learning_rates(self, first_step: int, count: int) -> NDArray[np.float64]:
        """Learning rates of the steps ``first_step, …, first_step + count - 1``.

        Raises:
            ValueError: The Schedule or function of the step gives a negative or non-finite rate.
        """
        if isinstance(self._lr, Schedule):
            return self._lr.rates(np.arange(first_step, first_step + count, dtype=np.int64))
        if not callable(self._lr):
            return np.full(count, self._lr)
        steps = range(first_step, first_step + count)
        return np.array([self._check(f"lr({t})", self._lr(t)) for t in steps], dtype=np.float64)

    def step_scalars(
        self, first_step: int, count: int, learning_rates: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """The numbers that the op reads anew in every step.

        Args:
            first_step: Number of the first step, from 0.
            count: How many steps.
            learning_rates: Their learning rates; :meth:`learning_rates` if left out.

        Returns:
            Array float64 ``[count, k]``; read-only.
        """
        if learning_rates is None:
            own_rates = type(self).learning_rates is not Optimizer.learning_rates
            # Any other function may look at the clock.
            known = isinstance(self._lr, Schedule) or not callable(self._lr)
            if known and not own_rates:
                return self._from_block(first_step, count)
            learning_rates = self.learning_rates(first_step, count)
        rates = np.asarray(learning_rates, dtype=np.float64)
        if rates.shape != (count,):
            raise ValueError(
                f"{type_name(self)}.step_scalars: {count} steps but learning rates of shape "
                f"{rates.shape}"
            )
        scalars = self._scalars(np.arange(first_step, first_step + count, dtype=np.int64), rates)
        scalars.flags.writeable = False
        return scalars

    def _from_block(self, first_step: int, count: int) -> NDArray[np.float64]:
        """Rows of a block of steps: NumPy takes as long for one as for a hundred (Adam: 25 µs)."""
        hyper, (known, start, block) = self._hyper(self), self._block
        begin = first_step - start
        if known != hyper or begin < 0 or begin + count > len(block):
            rates = self.learning_rates(first_step, max(count, _BLOCK_STEPS))
            block, begin = self.step_scalars(first_step, len(rates), rates), 0
            self._block = (hyper, first_step, block)
        return block[begin : begin + count]

    # -- parameters and state ---

    def bind(self, params: Iterable[Tensor]) -> None:
        """Take on parameters, with all state at zero. Binding the same ones again changes nothing.

        Raises:
            TypeError: Something that is no Tensor, or has no gradient.
            ValueError: No parameters, one of them twice, or others than those bound before.
        """
        name = type_name(self)
        if isinstance(params, Tensor):
            raise TypeError(f"{name}: params must be a list of Tensors, got one; write [tensor]")
        if not isinstance(params, Iterable) or isinstance(params, str | Mapping):
            raise TypeError(f"{name}: params must be a list of Tensors, got {type_name(params)}")
        new = list(params)
        _check_parameters(name, new)
        if self.parameters:
            if [id(p) for p in new] != [id(p) for p in self.parameters]:
                raise ValueError(f"{name}: has other parameters already; make one for each model")
            self._add_state()
            return
        self.parameters = new
        self._steps = [0] * len(new)
        self._most_steps = 0
        self._add_state()

    def _add_state(self) -> None:
        """Zeroed arrays for names that have none: at first, or where momentum comes in later."""
        for key in self.state_names:
            if key not in self.state:
                self.state[key] = flat_views([p.data for p in self.parameters])

    @property
    def steps(self) -> int:
        """Updates done so far. (A parameter that never had a gradient was left out of them.)"""
        return self._most_steps

    @steps.setter
    def steps(self, value: int) -> None:
        self._most_steps = int(value) if self.parameters else 0
        self._steps = [self._most_steps] * len(self.parameters)

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters:
            forget_gradient(parameter)

    def step(self) -> None:
        """Update every parameter that has a gradient, in place; while tracing, in every step.

        Raises:
            RuntimeError: There are no parameters yet.
            ValueError: A gradient has not its parameter's shape or dtype; nothing is updated then.
        """
        name = type_name(self)
        if not self.parameters:
            raise RuntimeError(
                f"{name}.step: no parameters; pass them, as {name}(model.parameters())"
            )
        self._add_state()
        trace = current_trace()
        if trace is not None:
            if all(p.grad is None for p in self.parameters):
                raise RuntimeError(
                    f"{name}.step: no parameter has a gradient yet in the function that is being "
                    "traced; call backward() before step()"
                )
            for parameter in self.parameters:
                trace.watch_gradient(parameter).used = True
            self.record(trace, [p.grad for p in self.parameters])
            return
        due = [i for i, p in enumerate(self.parameters) if p.grad is not None]
        gradients = [self._gradient(i) for i in due]
        rate = self.learning_rates(self.steps, 1) if callable(self._lr) else None
        attributes = self.attributes()
        scalars_of: dict[int, list[float]] = {}  # by the step, which most parameters share
        for i, gradient in zip(due, gradients, strict=True):
            step = self._steps[i]
            if step not in scalars_of:
                scalars_of[step] = self.step_scalars(step, 1, rate)[0].tolist()
            self._update(i, gradient, attributes, scalars_of[step])
            self._steps[i] += 1
        self._most_steps = max(self._steps)

    def record(self, trace: Trace, gradients: Sequence[Tensor | None]) -> None:
        """Have the traced step update every parameter that has a gradient.

        Args:
            trace: The trace that is being recorded.
            gradients: One for each of :attr:`parameters`, or ``None``.
        """
        numbers, attributes = trace.step_numbers(self), self.attributes()
        for i, gradient in enumerate(gradients):
            if gradient is not None:
                self._update(i, gradient, attributes, numbers)

    def _update(
        self, i: int, gradient: Tensor, attributes: dict[str, float], numbers: Numbers
    ) -> None:
        """Overwrite parameter `i` and its state."""
        arrays = [self.state[key][i] for key in self.state_names]
        effect(self.op, [gradient], [self.parameters[i], *arrays], attributes, numbers)

    def _gradient(self, i: int) -> Tensor:
        parameter = self.parameters[i]
        gradient = parameter.grad
        assert gradient is not None
        if gradient.shape != parameter.shape or gradient.dtype != parameter.dtype:
            raise ValueError(
                f"{type_name(self)}.step: parameter {i} is {parameter.dtype} {parameter.shape}, "
                f"its gradient {gradient.dtype} {gradient.shape}"
            )
        return gradient

    # -- saving ---

    def config(self) -> dict[str, Any]:
        """The arguments, parameters aside, that make an optimizer like this one."""
        return {key: getattr(self, key) for key in self.hyper_parameters}

    def state_dict(self, copy: bool = True) -> dict[str, Any]:
        """Everything that is needed to go on: ``{"type", "hyper_parameters", "steps", "state"}``.

        A Schedule or function of the step is left out.

        Args:
            copy: Arrays are copies; else the arrays themselves, which training goes on to change.
        """
        hyper = {key: getattr(self, key) for key in self.hyper_parameters}
        if callable(hyper["lr"]):
            del hyper["lr"]
        state = {
            key: [a.copy() if copy else a for a in self.state[key]]
            for key in self.state_names
            if self.parameters
        }
        return {
            "type": type_name(self),
            "hyper_parameters": hyper,
            "steps": list(self._steps),
            "state": state,
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state_dict` gave; all of it is checked before anything changes.

        Raises:
            ValueError: State of another optimizer, or of other parameters.
            RuntimeError: There are no parameters yet.
        """
        where = f"{type_name(self)}.load_state_dict"
        if not self.parameters:
            raise RuntimeError(f"{where}: no parameters yet; bind them first")
        try:
            kind, hyper, steps, state = (
                saved[key] for key in ("type", "hyper_parameters", "steps", "state")
            )
        except (KeyError, TypeError, IndexError):
            raise ValueError(f"{where}: expects what state_dict gave") from None
        if kind != type_name(self):
            raise ValueError(f"{where}: this is the state of {kind}")
        unknown = set(hyper) - set(self.hyper_parameters)
        if unknown:
            raise ValueError(f"{where}: unknown hyper-parameters {sorted(unknown)}")
        current = {key: getattr(self, key) for key in self.hyper_parameters}
        like = type(self)(None, **{**current, **hyper})
        arrays = self._checked_state(where, like.state_names, steps, state)
        for key in self.hyper_parameters:
            setattr(self, key, getattr(like, key))
        # Arrays are written into, not replaced: a Program may hold them.
        self._add_state()
        for key, values in arrays.items():
            for mine, value in zip(self.state[key], values, strict=True):
                mine[...] = value
        self._steps = [int(n) for n in steps]
        self._most_steps = max(self._steps)

    def _checked_state(
        self, where: str, names: tuple[str, ...], steps: Any, state: Mapping[str, Any]
    ) -> dict[str, list[NDArray[Any]]]:
        if set(state) != set(names):
            raise ValueError(f"{where}: expects the arrays {sorted(names)}, got {sorted(state)}")
        if len(steps) != len(self.parameters) or any(int(n) < 0 for n in steps):
            raise ValueError(
                f"{where}: expects a count of steps for each of {len(self.parameters)} parameters"
            )
        checked = {}
        for key in names:
            values = [np.asarray(a) for a in state[key]]
            shapes = [a.shape for a in values]
            wanted = [p.shape for p in self.parameters]
            if shapes != wanted:
                raise ValueError(f"{where}: {key} has shapes {shapes}, the parameters {wanted}")
            checked[key] = [
                np.array(a, dtype=p.dtype) for a, p in zip(values, self.parameters, strict=True)
            ]
        return checked

    # -- checks and printing ---

    def _check(self, name: str, value: Any, upper: float = math.inf) -> float:
        """`value` as a float in [0, upper).

        Raises:
            TypeError: It is no number.
            ValueError: It is outside, or NaN.
        """
        if isinstance(value, bool | np.bool_):
            raise TypeError(f"{type_name(self)}: {name} must be a number, got {value}")
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise TypeError(f"{type_name(self)}: {name} must be a number, got {value!r}") from None
        if not 0.0 <= number < upper:
            wanted = "a finite number, not negative" if upper == math.inf else f"in [0, {upper:g})"
            raise ValueError(f"{type_name(self)}: {name} must be {wanted}, got {number}")
        return number

    def __repr__(self) -> str:
        settings = ", ".join(f"{key}={getattr(self, key)!r}" for key in self.hyper_parameters)
        return f"{type_name(self)}({settings})"


def _check_parameters(name: str, parameters: list[Any]) -> None:
    if not parameters:
        raise ValueError(f"{name}: got no parameters")
    seen: set[int] = set()
    for i, parameter in enumerate(parameters):
        if not isinstance(parameter, Tensor):
            raise TypeError(f"{name}: params[{i}] must be a Tensor, got {type_name(parameter)}")
        if not parameter.requires_grad or parameter.op is not None:
            raise TypeError(
                f"{name}: params[{i}] of shape {parameter.shape} is not a parameter: "
                "it was computed, or does not require a gradient"
            )
        if id(parameter) in seen:
            raise ValueError(f"{name}: params[{i}] of shape {parameter.shape} is there twice")
        seen.add(id(parameter))
