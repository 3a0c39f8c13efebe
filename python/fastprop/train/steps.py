"""The steps of a Trainer as graphs: what a model, its loss, its optimizer and all else record."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprop import random
from fastprop.data import Dataset
from fastprop.graph import anomaly
from fastprop.graph.autodiff import grad
from fastprop.graph.effects import without_effects
from fastprop.graph.op import Spec, grad_mode
from fastprop.graph.planning import Lowered
from fastprop.graph.tensor import Tensor
from fastprop.graph.trace import Effect, Trace, tracing
from fastprop.nn.module import Module
from fastprop.nn.standardize import shapes_only
from fastprop.train.misfit import misfit, shapes_of
from fastprop.train.mixup import Mixup
from fastprop.train.objective import Columns, Objective, Traced
from fastprop.train.regularization import Regularization
from fastprop.train.structure import Structure, Unknown

if TYPE_CHECKING:
    from fastprop.optim import Optimizer
    from fastprop.train.streams import StreamData

Row = tuple[tuple[int, ...], np.dtype[Any]]


class Look(NamedTuple):
    """Shape and dtype of a row of all arrays that a step reads."""

    inputs: tuple[Row, ...]
    targets: tuple[Row, ...] = ()
    weight: tuple[Row, ...] = ()

    @classmethod
    def of(cls, *groups: Sequence[NDArray[Any]]) -> Look:
        """That of inputs, targets and, if there are any, weights."""
        return cls(*(tuple([(a.shape[1:], a.dtype) for a in arrays]) for arrays in groups))


class Step(NamedTuple):
    """What a Program is made of; see there."""

    inputs: list[Tensor]
    scalars: list[Tensor]
    rows: list[Tensor]
    effects: list[Effect]
    step_numbers: int
    columns: Columns | None

    def lowered(self) -> Lowered:
        """Its instructions."""
        return Lowered.of(self.inputs, self.scalars, self.rows, self.effects)


class Kind(Enum):
    """What a step is for."""

    OUTPUTS = "outputs"  # how they look; nothing is computed
    PREDICTION = "prediction"
    EVALUATION = "evaluation"
    TRAINING = "training"


class Recipe(NamedTuple):
    """How a step is recorded, with all that it depends on.

    Attributes:
        steps: Of which model.
        kind: What it is for.
        where: Who asks; starts the messages.
        look: What it reads.
        capacity: Rows of a batch.
        mix: Mixes the batches.
    """

    steps: Steps
    kind: Kind
    where: str
    look: Look
    capacity: int
    mix: Mixup | None = None

    def structure(self) -> Structure | None:
        """What decides about it; ``None`` if that is more than the library knows of."""
        if anomaly.active() is not None:
            return None
        try:
            return Structure(*self[3:], *self.steps.parts(self.kind))
        except Unknown:
            return None

    def outputs(self) -> list[Spec]:
        """How the model's outputs look.

        Raises:
            ValueError: It does not take such inputs; the message has the shapes.
        """
        with shapes_only():
            return [t.spec for t in self.steps.prediction(self).rows]

    def record(self) -> Step:
        """Trace it.

        Raises:
            ValueError: Model, loss, data or optimizer do not go together.
            TypeError: Likewise.
        """
        if self.kind is Kind.PREDICTION:
            return self.steps.prediction(self)
        return self.steps.judgement(self, training=self.kind is Kind.TRAINING)

    def again(self, key: Hashable) -> Lowered:
        """The instructions of a step of this structure, which was not traced when it was needed.

        Raises:
            RuntimeError: The structure is another one now.
        """
        structure = self.structure()
        if structure is None or structure.key != key:
            raise RuntimeError(
                f"Program: what {self.where} was made for has changed since; train or predict "
                "again for a Program of what it is now"
            )
        return self.record().lowered()


class Steps:
    """Records the steps of one model.

    Args:
        model: The module.
        objective: Its loss and metrics.
        optimizer: Its optimizer, bound to the model's parameters.
        regularization: Its penalties and constraints.
        call: Calls the model in another way than ``model(…)``.
    """

    def __init__(
        self,
        model: Module,
        objective: Objective,
        optimizer: Optimizer,
        regularization: Regularization,
        call: Callable[..., Any] | None = None,
    ) -> None:
        self._model, self._call = model, call or model
        self._objective = objective
        self._optimizer = optimizer
        self._regularization = regularization

    def recipe(
        self, kind: Kind, where: str, look: Look, capacity: int, mix: Mixup | None = None
    ) -> Recipe:
        """That of a step."""
        return Recipe(self, kind, where, look, capacity, mix)

    def parts(self, kind: Kind) -> list[Any]:
        """The objects that such a step is recorded by."""
        found: list[Any] = [kind.value, self._call]
        if kind in (Kind.EVALUATION, Kind.TRAINING):
            found += [self._objective.loss, self._objective.metrics]
            found.append(self._regularization.penalties)
        if kind is Kind.TRAINING:
            found += [self._optimizer, self._regularization.rules, self._regularization.constraints]
        return found

    def prediction(self, recipe: Recipe) -> Step:
        """The model's outputs."""
        inputs = placeholders(recipe.look.inputs, recipe.capacity, "x")
        with tracing(), grad_mode(False), mode(self._model, training=False):
            outputs = self._forward(recipe.where, inputs)
        return Step(inputs, [], outputs, [], 0, None)

    def judgement(self, recipe: Recipe, *, training: bool) -> Step:
        """Loss and metrics, and the update that follows in `training`."""
        where, look, mix = recipe.where, recipe.look, recipe.mix
        rows = (look.inputs, "x"), (look.targets, "y"), (look.weight, "sample_weight")
        inputs, targets, weights = (placeholders(r, recipe.capacity, name) for r, name in rows)
        weight = weights[0] if weights else None
        with tracing() as trace, grad_mode(training), mode(self._model, training=training):
            outputs = self._forward(where, inputs if mix is None else mix.inputs(inputs))
            traced = self._judge(where, outputs, targets, weight, mix)
            if training:
                self._learn(where, trace, traced.loss)
        sources = [*inputs, *targets, *weights]
        return Step(sources, traced.scalars, [], trace.effects, trace.width, traced.columns)

    def _forward(self, where: str, placeholders: Sequence[Tensor]) -> list[Tensor]:
        try:
            result = self._call(*placeholders)
        except (ValueError, TypeError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(misfit(where, self._model, placeholders, error)) from error
        outputs = list(result) if isinstance(result, tuple | list) else [result]
        name = type(self._model).__name__
        for output in outputs:
            if not isinstance(output, Tensor):
                raise TypeError(
                    f"{where}: {name}.forward must give a Tensor or a tuple of Tensors, "
                    f"got {type(output).__name__}"
                )
            if not output.batched:
                raise ValueError(
                    f"{where}: {name}.forward gave an output of shape {output.shape} that does not "
                    "have one row for each row of x"
                )
        return outputs

    def _judge(
        self,
        where: str,
        outputs: list[Tensor],
        targets: list[Tensor],
        weight: Tensor | None,
        mix: Mixup | None,
    ) -> Traced:
        try:
            traced = self._objective.trace(outputs, targets, weight, mix)
            return self._regularization.penalize(traced)
        except (ValueError, TypeError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(
                f"{where}: loss or metrics do not take outputs of shape {shapes_of(outputs)} with "
                f"targets of shape {shapes_of(targets)}: {error}"
            ) from error

    def _learn(self, where: str, trace: Trace, loss: Tensor) -> None:
        """Record the gradients and the update."""
        if not loss.requires_grad:
            raise ValueError(f"{where}: the loss does not depend on any parameter of the model")
        gradients = grad(loss, self._optimizer.parameters, allow_unused=True)
        assert isinstance(gradients, list)
        if all(g is None for g in gradients):
            raise ValueError(
                f"{where}: the loss does not depend on any parameter of the optimizer; "
                "was it made for another model?"
            )
        control = partial(self._regularization.control, where, self._optimizer.parameters)
        self._optimizer.record(trace, gradients, control, self._regularization.constrain)

    def explain(
        self,
        data: Dataset | StreamData,
        sources: Sequence[NDArray[Any]],
        seed: int,
        mix: Mixup | None = None,
    ) -> anomaly.AnomalyError | None:
        """Do a step op by op, without its update, in a ``detect_anomaly`` block.

        It is the optimizer's next step, with the random numbers of that step.

        Args:
            data: Says what the sources are.
            sources: The step's rows of inputs, targets and weights.
            seed: Of whatever is random in it.
            mix: Mixup of its rows.

        Returns:
            The error that names the op and the line, ``None`` if all is finite.
        """
        tensors = [Tensor(source) for source in sources]
        inputs, tensors = tensors[: len(data.inputs)], tensors[len(data.inputs) :]
        targets = tensors[: len(data.targets)]
        weight = None if data.weight is None else tensors[-1]
        same = random.drawing_as(random.Step(seed, self._optimizer.steps))
        with grad_mode(True), mode(self._model, training=True), without_effects(), same:
            try:
                result = self._model(*(inputs if mix is None else mix.inputs(inputs)))
                outputs = list(result) if isinstance(result, tuple | list) else [result]
                traced = self._regularization.penalize(
                    self._objective.trace(outputs, targets, weight, mix)
                )
                parameters = [p for p in self._optimizer.parameters if p.requires_grad]
                grad(traced.loss, parameters, allow_unused=True)
            except anomaly.AnomalyError as error:
                return error
        return None


def placeholders(rows: Sequence[Row], capacity: int, name: str) -> list[Tensor]:
    return [
        Tensor.placeholder((capacity, *shape), dtype, batched=True, name=name)
        for shape, dtype in rows
    ]


@contextmanager
def mode(model: Module, *, training: bool) -> Iterator[None]:
    """Inside the block every module is in training mode, or none is; after it as before."""
    before = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, mode in before:
            object.__setattr__(module, "training", mode)
