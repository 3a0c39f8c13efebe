"""The Programs of a Trainer: traced when they are needed, kept while they fit."""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastprop.data import Dataset
from fastprop.graph import anomaly
from fastprop.graph.autodiff import grad
from fastprop.graph.changes import CHANGES
from fastprop.graph.effects import without_effects
from fastprop.graph.op import Spec, grad_mode
from fastprop.graph.program import Program
from fastprop.graph.tensor import Tensor
from fastprop.graph.trace import Trace, tracing
from fastprop.nn.module import Module
from fastprop.nn.standardize import shapes_only
from fastprop.optim.python_step import PythonOptimizer
from fastprop.train.misfit import misfit, shapes_of
from fastprop.train.mixup import Mixup
from fastprop.train.objective import Objective, Traced
from fastprop.train.regularization import Regularization
from fastprop.train.runs import Making, TracedProgram

if TYPE_CHECKING:
    from fastprop.optim import Optimizer
    from fastprop.train.streams import StreamData

_KEPT = 8  # Programs; a ninth shape throws out the one that was used least recently
# Rows of a step when nothing is learned: enough to fill the machine, few enough to stay in its
# caches. One row and a few have Programs of their own: a single prediction is not made by a team.
_FEW_ROWS = 32
_MOST_ROWS = 512

Signature = tuple[Any, ...]


def evaluation_rows(count: int | None) -> int:
    """Capacity of a Program that evaluates `count` rows, or any number of them."""
    if count == 1:
        return 1
    return _FEW_ROWS if count is not None and count <= _FEW_ROWS else _MOST_ROWS


class Programs:
    """Makes and keeps the Programs of one model.

    Args:
        model: The module.
        objective: Its loss and metrics.
        optimizer: Its optimizer, bound to the model's parameters.
        regularization: Its penalties and constraints.
        threads: Threads of every Program; ``None`` lets each choose.
        call: Calls the model in another way than ``model(…)``.
    """

    def __init__(
        self,
        model: Module,
        objective: Objective,
        optimizer: Optimizer,
        regularization: Regularization,
        threads: int | None,
        call: Callable[..., Any] | None = None,
    ) -> None:
        self._model, self._call = model, call or model
        self._objective = objective
        self._optimizer = self.optimizer = optimizer
        self._regularization = regularization
        self._making = Making(threads)
        self._kept: OrderedDict[tuple[Any, ...], TracedProgram] = OrderedDict()
        self._signatures: dict[Signature, int] = {}
        self._specs: dict[int, list[Spec]] = {}
        self._attributes: tuple[dict[str, float], ...] = ()
        # What the model is made of, and how many models it has been so far.
        self._structure: list[Any] = []
        self.generation = 0
        self._seen = -1
        self._dtype = np.dtype(np.float32)
        walks = ("parameters", "named_parameters", "modules", "named_modules", "_walk")
        self._counted = all(getattr(type(model), f) is getattr(Module, f) for f in walks)

    # -- what the model gives -------------------------------------------------------------------

    def look_at_model(self) -> int:
        """Notice it if the user changed the model; call before the others.

        Returns:
            A number that is another one if a module or a parameter came, went, or is frozen now.
        """
        latest = CHANGES.latest
        if latest != self._seen or not self._counted:
            structure: list[Any] = list(self._model.modules())
            for parameter in self._model.parameters():
                structure += [parameter, parameter.data, parameter.requires_grad]
            if not _same_objects(structure, self._structure):
                self._structure = structure
                self.generation += 1
                self._kept.clear()
                self._specs.clear()
                self._dtype = self._model.parameter_dtype()
            self._seen = latest
        return self.generation

    @property
    def dtype(self) -> np.dtype[Any]:
        """The model's dtype."""
        return self._dtype

    def signature(self, *groups: Sequence[NDArray[Any]]) -> int:
        """A number for the dtypes and row shapes of some groups of arrays."""
        look = tuple(tuple((a.shape[1:], a.dtype.str) for a in arrays) for arrays in groups)
        return self._signatures.setdefault(look, len(self._signatures))

    def outputs(self, where: str, inputs: Sequence[NDArray[Any]]) -> list[Spec]:
        """How the model's outputs look for such inputs.

        Raises:
            ValueError: The model does not take them; the message has the shapes.
        """
        key = self.signature(inputs)
        if key not in self._specs:
            placeholders = _placeholders(inputs, 2, "x")
            with tracing(), grad_mode(False), _mode(self._model, training=False), shapes_only():
                outputs = self._forward(where, placeholders)
            self._specs.clear()
            self._specs[key] = [t.spec for t in outputs]
        return self._specs[key]

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

    # -- Programs -------------------------------------------------------------------------------

    def training(
        self,
        where: str,
        data: Dataset | StreamData,
        capacity: int,
        *,
        several: bool,
        mix: Mixup | None = None,
        making: Making | None = None,
    ) -> TracedProgram:
        """A Program that learns from batches of up to `capacity` rows.

        Args:
            where: Who asks; starts the messages.
            data: What it will read.
            capacity: Rows of a batch.
            several: Its runs are of several steps as a rule.
            mix: Mixes the batches.
            making: How it is made, if not as usual.
        """
        making = making or self._making
        attributes = self._optimizer.attributes()
        if attributes != self._attributes:
            self._attributes = attributes
            for key in [key for key in self._kept if key[0] == "training"]:
                del self._kept[key]
        key = ("training", data.signature, (several, mix), making.threads, capacity)
        found = self._find(key)
        if found is None:
            # One for somewhat larger batches does as well: train_step may be given any number.
            fits = [k for k in self._kept if k[:4] == key[:4] and capacity <= k[4] <= 2 * capacity]
            found = self._find(min(fits, default=key))
        return found or self._keep(
            key, self._trace(where, data, capacity, several, making, training=True, mix=mix)
        )

    def evaluation(
        self, where: str, data: Dataset | StreamData, capacity: int, *, making: Making | None = None
    ) -> TracedProgram:
        """A Program that records loss and metrics."""
        making = making or self._making
        several = data.count is None or data.count > capacity or capacity > _FEW_ROWS
        key = ("evaluation", data.signature, several, making.threads, capacity)
        return self._find(key) or self._keep(
            key, self._trace(where, data, capacity, several, making, training=False)
        )

    def prediction(
        self, where: str, inputs: Sequence[NDArray[Any]], signature: int, capacity: int
    ) -> TracedProgram:
        """A Program that gives the outputs for every row."""
        several = capacity > _FEW_ROWS or len(inputs[0]) > capacity
        key = ("prediction", signature, several, capacity)
        return self._find(key) or self._keep(
            key, self._trace_prediction(where, inputs, capacity, several)
        )

    def _trace_prediction(
        self, where: str, inputs: Sequence[NDArray[Any]], capacity: int, several: bool
    ) -> TracedProgram:
        placeholders = _placeholders(inputs, capacity, "x")
        with tracing(), grad_mode(False), _mode(self._model, training=False):
            outputs = self._forward(where, placeholders)
        program = Program(placeholders, rows=outputs, threads=self._making.threads, packed=several)
        return TracedProgram(program, fixed_threads=self._making.threads is not None)

    def _trace(
        self,
        where: str,
        data: Dataset | StreamData,
        capacity: int,
        several: bool,
        making: Making,
        *,
        training: bool,
        mix: Mixup | None = None,
    ) -> TracedProgram:
        inputs = _placeholders(data.inputs, capacity, "x")
        targets = _placeholders(data.targets, capacity, "y")
        weight = None
        if data.weight is not None:
            weight = _placeholders([data.weight], capacity, "sample_weight")[0]
        with tracing() as trace, grad_mode(training), _mode(self._model, training=training):
            outputs = self._forward(where, inputs if mix is None else mix.inputs(inputs))
            traced = self._judge(where, outputs, targets, weight, mix)
            if training:
                self._learn(where, trace, traced.loss)
        program = Program(
            [*inputs, *targets, *([] if weight is None else [weight])],
            scalars=traced.scalars,
            effects=trace.effects,
            step_numbers=trace.width,
            threads=making.threads,
            plans=making.plans,
            check_loss=training,
            packed=several,
        )
        fixed = making.threads is not None
        if training and isinstance(self._optimizer, PythonOptimizer):
            from fastprop.train.stepwise import StepwiseProgram  # which is a TracedProgram

            return StepwiseProgram(program, traced.columns, self._optimizer, fixed_threads=fixed)
        return TracedProgram(program, traced.columns, fixed_threads=fixed)

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

    # -- without a Program -----------------------------------------------------------------------

    def explain(
        self, data: Dataset | StreamData, sources: Sequence[NDArray[Any]], rows: NDArray[np.int64]
    ) -> anomaly.AnomalyError | None:
        """Do the step of some rows op by op, without its update, in a ``detect_anomaly`` block.

        Args:
            data: Says what the sources are.
            sources: Inputs, targets and weights.
            rows: The rows of the step.

        Returns:
            The error that names the op and the line, ``None`` if all is finite.
        """
        tensors = [Tensor(source[rows]) for source in sources]
        inputs, tensors = tensors[: len(data.inputs)], tensors[len(data.inputs) :]
        targets = tensors[: len(data.targets)]
        weight = None if data.weight is None else tensors[-1]
        with grad_mode(True), _mode(self._model, training=True), without_effects():
            try:
                result = self._model(*inputs)
                outputs = list(result) if isinstance(result, tuple | list) else [result]
                traced = self._regularization.penalize(
                    self._objective.trace(outputs, targets, weight)
                )
                parameters = [p for p in self._optimizer.parameters if p.requires_grad]
                grad(traced.loss, parameters, allow_unused=True)
            except anomaly.AnomalyError as error:
                return error
        return None

    # -- keeping --------------------------------------------------------------------------------

    def _find(self, key: tuple[Any, ...]) -> TracedProgram | None:
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def _keep(self, key: tuple[Any, ...], made: TracedProgram) -> TracedProgram:
        self._kept[key] = made
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return made


def _same_objects(a: list[Any], b: list[Any]) -> bool:
    return len(a) == len(b) and all(map(operator.is_, a, b))


def _placeholders(arrays: Sequence[NDArray[Any]], capacity: int, name: str) -> list[Tensor]:
    return [
        Tensor.placeholder((capacity, *a.shape[1:]), a.dtype, batched=True, name=name)
        for a in arrays
    ]


@contextmanager
def _mode(model: Module, *, training: bool) -> Iterator[None]:
    """Inside the block every module is in training mode, or none is; after it as before."""
    before = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, mode in before:
            object.__setattr__(module, "training", mode)
