"""What all optimizers share: parameters in groups, state, the numbers of a step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastprop.graph.effects import Numbers, effect
from fastprop.graph.storage import flat_views
from fastprop.graph.tensor import Tensor
from fastprop.graph.trace import Trace, current_trace, forget_gradient
from fastprop.optim.counts import Counts
from fastprop.optim.eager_step import Part, make_part, step_now
from fastprop.optim.groups import Parameters, ParamGroup, split_groups
from fastprop.optim.hyper import HasHyper, Rate
from fastprop.optim.rates import Tempo, known, rates_of
from fastprop.optim.state import checked_state, saved_state
from fastprop.registry import type_name

_BLOCK_STEPS = 256  # whose numbers are computed together, where the step alone decides

Control = Callable[[Sequence[Tensor | None]], Sequence[Tensor | None]]


class Optimizer(HasHyper):
    """Base of all optimizers. The arithmetic is one op of the C++ table that updates in place.

    Args:
        params: Tensors to train, as ``model.parameters()`` gives them, or groups of them, as
            ``[{"params": [...], "lr": 0.1}, …]``; None if a Trainer will bind the model's.
        hyper: The hyper-parameters; a group has those that it does not give itself from here.

    Attributes:
        op: Name of the update op.
        hyper_parameters: Names of the hyper-parameters, which are attributes too.
        full_batch: The rule makes sense only where every step sees all rows.
        defaults: Hyper-parameters of the groups that have no others.
        param_groups: The :class:`ParamGroup` objects; one without parameters before they are bound.
        parameters: The Tensors of all groups, in the order in which they were given.
        state: For each name, one array for each parameter.
    """

    op: ClassVar[str] = ""
    full_batch: ClassVar[bool] = False

    lr = Rate()

    def __init__(self, params: Parameters | None, **hyper: Any) -> None:
        super().__init__(**hyper)
        self.param_groups: list[ParamGroup] = [ParamGroup(self, [], {})]
        self.parameters: list[Tensor] = []
        self.state: dict[str, list[NDArray[Any]]] = {}
        self._group_of: list[int] = []
        self._counts = Counts()
        self._attributes: tuple[int, tuple[dict[str, float], ...]] = (-1, ())
        self._parts: tuple[int, list[Part]] = (-1, [])
        self._block: tuple[int, int, NDArray[np.float64]] = (-1, 0, np.empty((0, 0)))
        if params is not None:
            self.bind(params)

    # -- what each optimizer defines ---

    def _state_names(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        """Names of the arrays kept for each parameter of a group, in the op's order."""
        return ()

    def _state_like(self, name: str) -> list[NDArray[Any]]:
        """Arrays of the shapes and dtypes of such state: one for each parameter."""
        return [p.data for p in self.parameters]

    def _initial_state(self, name: str, group: Mapping[str, Any]) -> float:
        """What the elements of such an array start as."""
        return 0.0

    def _scalars(
        self, group: Mapping[str, Any], steps: NDArray[np.int64], rates: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """What changes from step to step, float64 [len(steps), k]; here the learning rate.

        A function of its arguments alone. The number of columns does not depend on the group.
        """
        return np.array(rates).reshape(-1, 1)

    def _check_groups(self, groups: list[ParamGroup]) -> None:
        """Refuse parameters that this optimizer cannot work on."""

    def _update(
        self, i: int, gradient: Tensor, attributes: dict[str, float], numbers: Numbers
    ) -> None:
        """Overwrite parameter `i` and its state, at once or as an effect of the traced step.

        Args:
            i: Position in :attr:`parameters`.
            gradient: Its gradient.
            attributes: The op's attributes.
            numbers: What :meth:`_scalars` gives for the step, or where that will be.
        """
        outputs: list[Tensor | NDArray[Any]] = [self.parameters[i], *self.state_of(i)]
        effect(self.op, [gradient], outputs, attributes, numbers)

    # -- hyper-parameters ---

    def _others(self) -> Iterable[dict[str, Any]]:
        return [group.own for group in self.param_groups]

    def attributes(self) -> tuple[dict[str, float], ...]:
        """For each group the op's attributes: what does not change from step to step."""
        known, found = self._attributes
        if known != self._revision:
            found = tuple(self._attributes_of(group) for group in self.param_groups)
            self._attributes = (self._revision, found)
        return found

    def _attributes_of(self, group: ParamGroup) -> dict[str, float]:
        values: dict[str, float] = {}
        for name in self.hyper_parameters:
            values.update(self._hyper(name).attributes(group[name]))
        return values

    def _attributes_for(self, i: int) -> dict[str, float]:
        """Those for parameter `i`: biases and parameters of norms may be spared weight decay."""
        values = self.attributes()[self._group_of[i]]
        if self.parameters[i].ndim > 1 or values.get("decay_bias_and_norm", 1.0):
            return values
        return {**values, "weight_decay": 0.0}

    # -- the numbers of a step ---

    def learning_rates(self, first_step: int, count: int) -> NDArray[np.float64]:
        """Learning rates of the steps ``first_step, …, first_step + count - 1``.

        Those of the groups without a rate of their own.

        Raises:
            ValueError: The Schedule or function of the step gives a negative or non-finite rate.
        """
        return rates_of(type_name(self), self.lr, first_step, count)

    def updates(self, first_step: int, count: int) -> NDArray[np.int64]:
        """The update that each of some steps is for, which is what a Schedule counts."""
        return np.arange(first_step, first_step + count, dtype=np.int64)

    def step_scalars(
        self,
        first_step: int,
        count: int,
        learning_rates: NDArray[np.float64] | Tempo | None = None,
    ) -> NDArray[np.float64]:
        """The numbers that the op reads anew in every step.

        Args:
            first_step: Number of the first step, from 0.
            count: How many steps.
            learning_rates: Their learning rates, of the groups without a rate of their own; or a
                function that gives those of all; :meth:`learning_rates` if left out.

        Returns:
            Array float64 ``[count, k]``, read-only: the numbers of each group one behind the other,
            and more than once for a group whose parameters have not all had as many updates.
        """
        where = type_name(self)
        if learning_rates is None:
            own_rates = type(self).learning_rates is not Optimizer.learning_rates
            if not own_rates and all(known(group["lr"]) for group in self.param_groups):
                return self._from_block(first_step, count)
            learning_rates = self.learning_rates(first_step, count)
        tempo = learning_rates if callable(learning_rates) else None
        if tempo is not None:
            learning_rates = rates_of(where, self.lr, first_step, count, tempo)
        rates = np.asarray(learning_rates, dtype=np.float64)
        if rates.shape != (count,):
            raise ValueError(
                f"{where}.step_scalars: {count} steps but learning rates of shape {rates.shape}"
            )
        steps = np.arange(first_step, first_step + count, dtype=np.int64)
        parts = []
        for group, left_out in self._counts.slots or [(0, 0)]:
            own = self.param_groups[group].own.get("lr")
            its = rates if own is None else rates_of(where, own, first_step, count, tempo)
            its_steps = np.maximum(steps - left_out, 0) if left_out else steps
            parts.append(self._scalars(self.param_groups[group], its_steps, its))
        scalars = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        scalars.flags.writeable = False
        return scalars

    def _from_block(self, first_step: int, count: int) -> NDArray[np.float64]:
        """Rows of a block of steps: NumPy takes as long for one as for a hundred (Adam: 25 µs)."""
        revision, start, block = self._block
        begin = first_step - start
        if revision != self._revision or begin < 0 or begin + count > len(block):
            rates = self.learning_rates(first_step, max(count, _BLOCK_STEPS))
            block, begin = self.step_scalars(first_step, len(rates), rates), 0
            self._block = (self._revision, first_step, block)
        return block[begin : begin + count]

    def check_epoch(self, where: str, rows: int, batch: int) -> None:
        """Refuse an epoch in whose midst an update would be left.

        Args:
            where: Who asks; starts the message.
            rows: Of the epoch.
            batch: Rows of a step.

        Raises:
            ValueError: The batches of an epoch cannot be divided by those of an update.
        """

    # -- parameters and state ---

    def bind(self, params: Parameters) -> None:
        """Take on parameters, with all state at zero. Binding the same ones again changes nothing.

        Raises:
            TypeError: Something that is no Tensor, or has no gradient.
            ValueError: No parameters, one of them twice, or others than those bound before; a group
                with an unknown hyper-parameter or one out of its range.
        """
        name = type_name(self)
        groups = split_groups(name, params)
        new = [p for tensors, _ in groups for p in tensors]
        if self.parameters:
            if [id(p) for p in new] != [id(p) for p in self.parameters]:
                raise ValueError(f"{name}: has other parameters already; make one for each model")
            self._add_state()
            return
        checked = []
        for tensors, own in groups:
            own = self._checked(name, own)
            self._check_together({**self.defaults, **own})
            checked.append(ParamGroup(self, tensors, own))
        self._check_groups(checked)
        self.parameters = new
        self._set_groups(checked)
        self._add_state()

    def _set_groups(self, groups: list[ParamGroup]) -> None:
        self.param_groups = groups
        self._group_of = [k for k, group in enumerate(groups) for _ in group.params]
        self._counts = Counts(self._group_of)
        self._revision += 1

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the arrays in :attr:`state`: those that any group needs."""
        names = [name for group in self.param_groups for name in self._state_names(group)]
        return tuple(dict.fromkeys(names))

    def state_of(self, i: int) -> list[NDArray[Any]]:
        """The arrays that the op updates along with parameter `i`."""
        return list(self._parts_now()[i].outputs[1:])  # type: ignore[arg-type]

    def _parts_now(self) -> list[Part]:
        """What each parameter's update takes, looked up when a hyper-parameter has changed."""
        revision, parts = self._parts
        if revision != self._revision:
            self._add_state()
            parts = []
            for i, k in enumerate(self._group_of):
                names = self._state_names(self.param_groups[k])
                state = [self.state[name][i] for name in names]
                attributes = self._attributes_for(i)
                parts.append(make_part(self.op, attributes, self.parameters[i], state))
            self._parts = (self._revision, parts)
        return parts

    def _add_state(self) -> None:
        """Arrays for names that have none: at first, or where momentum comes in later."""
        for name in self.state_names:
            if name not in self.state:
                arrays = flat_views(self._state_like(name))
                for array, group in zip(arrays, self._group_of, strict=False):
                    start = self._initial_state(name, self.param_groups[group])
                    if start:
                        array[...] = start
                self.state[name] = arrays

    @property
    def steps(self) -> int:
        """Updates done so far. (Parameters that had no gradient then were left out of them.)"""
        return self._counts.latest

    @steps.setter
    def steps(self, value: int) -> None:
        self._counts.latest = int(value) if self.parameters else 0

    def look_at_frozen(self) -> None:
        """Count no steps of parameters that are frozen now, and again those of others."""
        self._train([i for i, p in enumerate(self.parameters) if p.requires_grad])

    def _train(self, these: list[int]) -> None:
        """From now on, only these parameters are updated."""
        if self._counts.train(these):
            self._revision += 1

    @property
    def slots(self) -> list[int]:
        """Which of the numbers that :meth:`step_scalars` gives are for each parameter."""
        return self._counts.slot_of

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
        self._check_bound()
        trace = current_trace()
        if trace is not None:
            if all(p.grad is None for p in self.parameters):
                raise RuntimeError(
                    f"{type_name(self)}.step: no parameter has a gradient yet in the function that "
                    "is being traced; call backward() before step()"
                )
            for parameter in self.parameters:
                trace.watch_gradient(parameter).used = True
            self.record(trace, [p.grad for p in self.parameters])
        else:
            self._step_now()

    def _check_bound(self) -> None:
        if not self.parameters:
            name = type_name(self)
            raise RuntimeError(
                f"{name}.step: no parameters; pass them, as {name}(model.parameters())"
            )

    def _step_now(self) -> None:
        step_now(self, type(self)._update is Optimizer._update)

    def _rate_now(self) -> NDArray[np.float64] | None:
        """The rate of now, where more than the step decides."""
        return None if known(self.lr) else self.learning_rates(self.steps, 1)

    def record(
        self,
        trace: Trace,
        gradients: Sequence[Tensor | None],
        control: Control | None = None,
        after: Callable[[], None] | None = None,
    ) -> None:
        """Have the traced step update all with a gradient, which `control` may change first."""
        self.look_at_frozen()
        start = trace.step_numbers(self)
        width = trace.width - start
        self._record(gradients if control is None else control(gradients), start, width)
        if after is not None:
            after()

    def _record(self, gradients: Sequence[Tensor | None], start: int, width: int) -> None:
        for i, gradient in enumerate(gradients):
            if gradient is not None:
                first = width // len(self._counts.slots) * self.slots[i]
                self._update(i, gradient, self._parts_now()[i].attributes, start + first)

    # -- saving ---

    def config(self) -> dict[str, Any]:
        """The arguments, parameters aside, that make an optimizer like this one."""
        return dict(self.defaults)

    def state_dict(self, copy: bool = True) -> dict[str, Any]:
        """Everything that is needed to go on:
        ``{"type", "hyper_parameters", "param_groups", "steps", "state"}``.

        Schedules and functions of the step are left out.

        Args:
            copy: Arrays are copies; else the arrays themselves, which training goes on to change.
        """
        return saved_state(self, copy)

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state_dict` gave; all of it is checked before anything changes.

        Where all parameters are in one plain group, groups are made as they were saved.

        Raises:
            ValueError: State of another optimizer, or of other parameters.
            RuntimeError: There are no parameters yet.
        """
        checked_state(self, saved)()

    def __repr__(self) -> str:
        settings = [
            f"{name}={self.defaults[name]!r}"
            for name in self.hyper_parameters
            if name != "decay_bias_and_norm" or not self.defaults[name]
        ]
        if len(self.param_groups) > 1:
            settings.append(f"groups=[{'; '.join(map(repr, self.param_groups))}]")
        return f"{type_name(self)}({', '.join(settings)})"
