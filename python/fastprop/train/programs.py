"""The Programs of a Trainer: traced when they are needed, kept while they fit."""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprop import _core
from fastprop.data import Dataset
from fastprop.graph import anomaly
from fastprop.graph.changes import CHANGES
from fastprop.graph.collector import collector_paused
from fastprop.graph.forms import Planned, Plans
from fastprop.graph.op import Spec
from fastprop.graph.program import Program
from fastprop.nn.module import Module
from fastprop.optim.python_step import PythonOptimizer
from fastprop.train.mixup import Mixup
from fastprop.train.objective import Columns, Objective
from fastprop.train.regularization import Regularization
from fastprop.train.runs import Making, TracedProgram
from fastprop.train.steps import Kind, Look, Recipe, Steps

if TYPE_CHECKING:
    from fastprop.optim import Optimizer
    from fastprop.train.streams import StreamData

_KEPT = 8  # Programs; a ninth shape throws out the one that was used least recently
# Rows of a step when nothing is learned: enough to fill the machine, few enough to stay in its
# caches. One row and a few have Programs of their own: a single prediction is not made by a team.
_FEW_ROWS = 32
_MOST_ROWS = 512


class _Known(NamedTuple):
    """What a step of some structure was planned like."""

    planned: Planned
    columns: Columns | None


# In this process, by structure: some kilobytes each, since neither arrays nor models are in them.
_STEPS: Plans[_Known] = Plans(256)
_OUTPUTS: Plans[list[Spec]] = Plans(256)


def evaluation_rows(count: int | None) -> int:
    """Capacity of a Program that evaluates `count` rows, or any number of them."""
    if count == 1:
        return 1
    return _FEW_ROWS if count is not None and count <= _FEW_ROWS else _MOST_ROWS


def single_rows(count: int) -> tuple[int, int]:
    """Least and most rows of the calls that use the Program for `count` rows in one step."""
    capacity = evaluation_rows(count)
    return {1: 1, _FEW_ROWS: 2}.get(capacity, _FEW_ROWS + 1), capacity


class Programs:
    """Makes and keeps the Programs of one model.

    Args:
        model: The module.
        objective: Its loss and metrics.
        optimizer: Its optimizer, bound to the model's parameters.
        regularization: Its penalties and constraints.
        threads: Threads of every Program; ``None`` lets each choose.
        call: Calls the model in another way than ``model(…)``.

    Attributes:
        counted: Whether changes of the model are counted: it does not walk over itself otherwise.
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
        self._model = model
        self._optimizer = self.optimizer = optimizer
        self._steps = Steps(model, objective, optimizer, regularization, call)
        self._making = Making(threads)
        self._kept: OrderedDict[tuple[Any, ...], TracedProgram] = OrderedDict()
        self._signatures: dict[Look, int] = {}
        self._specs: dict[int, list[Spec]] = {}
        self._attributes: tuple[tuple[dict[str, float], ...], list[int]] = (), []
        # What the model is made of, and how many models it has been so far.
        self._structure: list[Any] = []
        self.generation = 0
        self._seen = -1
        self._dtype = np.dtype(np.float32)
        walks = ("parameters", "named_parameters", "modules", "named_modules", "_walk")
        self.counted = all(getattr(type(model), f) is getattr(Module, f) for f in walks)

    # -- what the model gives -------------------------------------------------------------------

    def look_at_model(self) -> int:
        """Notice it if the user changed the model; call before the others.

        Returns:
            A number that is another one if a module or a parameter came, went, or is frozen now.
        """
        latest = CHANGES.latest
        if latest != self._seen or not self.counted:
            structure: list[Any] = list(self._model.modules())
            for parameter in self._model.parameters():
                structure += [parameter, parameter.data, parameter.requires_grad]
            if not _same_objects(structure, self._structure):
                self._structure = structure
                self.generation += 1
                self._kept.clear()
                self._specs.clear()
                self._dtype = self._model.parameter_dtype()
                self._optimizer.look_at_frozen()
            self._seen = latest
        return self.generation

    @property
    def made_for(self) -> tuple[Any, ...]:
        """Another one if a training Program made before is no longer right."""
        optimizer = self._optimizer
        return self.look_at_model(), optimizer.attributes(), optimizer.slots

    @property
    def dtype(self) -> np.dtype[Any]:
        """The model's dtype."""
        return self._dtype

    def signature(self, *groups: Sequence[NDArray[Any]]) -> int:
        """A number for the dtypes and row shapes of some groups of arrays."""
        return self._signatures.setdefault(Look.of(*groups), len(self._signatures))

    def outputs(self, where: str, inputs: Sequence[NDArray[Any]]) -> list[Spec]:
        """How the model's outputs look for such inputs.

        Raises:
            ValueError: The model does not take them; the message has the shapes.
        """
        signature = self.signature(inputs)
        if signature not in self._specs:
            recipe = self._steps.recipe(Kind.OUTPUTS, where, Look.of(inputs), 2)
            with collector_paused():
                structure = recipe.structure()
                specs = None if structure is None else _OUTPUTS.find(structure.key)
                if specs is None:
                    specs = recipe.outputs()
                    if structure is not None:
                        _OUTPUTS.add(structure.key, specs)
            self._specs.clear()
            self._specs[signature] = specs
        return self._specs[signature]

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
        attributes = self._optimizer.attributes(), self._optimizer.slots
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
        if found is None:
            recipe = self._steps.recipe(Kind.TRAINING, where, _look(data), capacity, mix)
            found = self._keep(key, self._make(recipe, several, making))
        return found

    def evaluation(
        self, where: str, data: Dataset | StreamData, capacity: int, *, making: Making | None = None
    ) -> TracedProgram:
        """A Program that records loss and metrics."""
        making = making or self._making
        several = data.count is None or data.count > capacity or capacity > _FEW_ROWS
        key = ("evaluation", data.signature, several, making.threads, capacity)
        found = self._find(key)
        if found is None:
            recipe = self._steps.recipe(Kind.EVALUATION, where, _look(data), capacity)
            found = self._keep(key, self._make(recipe, several, making))
        return found

    def prediction(
        self, where: str, inputs: Sequence[NDArray[Any]], signature: int, capacity: int
    ) -> TracedProgram:
        """A Program that gives the outputs for every row."""
        several = capacity > _FEW_ROWS or len(inputs[0]) > capacity
        key = ("prediction", signature, several, capacity)
        found = self._find(key)
        if found is None:
            recipe = self._steps.recipe(Kind.PREDICTION, where, Look.of(inputs), capacity)
            found = self._keep(key, self._make(recipe, several, self._making))
        return found

    def _make(self, recipe: Recipe, several: bool, making: Making) -> TracedProgram:
        """A Program: on the plan of another one of the same structure, if there was one."""
        with collector_paused():
            return self._made(recipe, several, making)

    def _made(self, recipe: Recipe, several: bool, making: Making) -> TracedProgram:
        fixed = making.threads is not None
        structure = recipe.structure()
        threads = making.threads or -_core.available_threads()
        key = structure and (structure.key, several, threads)
        known = key and _STEPS.find(key)
        if structure and known:
            again = partial(recipe.again, structure.key)
            made = Program.of_plan(known.planned, structure.arrays, again)
            if made is not None:
                return TracedProgram(made, known.columns, fixed_threads=fixed)
        step = recipe.record()
        program = Program(
            step.inputs,
            step.scalars,
            step.rows,
            step.effects,
            step.step_numbers,
            threads=making.threads,
            check_loss=recipe.kind is Kind.TRAINING,
            packed=several,
            plans=making.plans if structure is None else None,
        )
        if structure:
            planned = program.planned = program.share(structure.arrays)
            if planned is not None:
                _STEPS.add(key, _Known(planned, step.columns))
        if recipe.kind is Kind.TRAINING and isinstance(self._optimizer, PythonOptimizer):
            from fastprop.train.stepwise import StepwiseProgram  # which is a TracedProgram

            return StepwiseProgram(program, step.columns, self._optimizer, fixed_threads=fixed)
        return TracedProgram(program, step.columns, fixed_threads=fixed)

    # -- without a Program -----------------------------------------------------------------------

    def explain(
        self,
        data: Dataset | StreamData,
        sources: Sequence[NDArray[Any]],
        rows: NDArray[np.int64],
        seed: int,
        mix: Mixup | None = None,
    ) -> anomaly.AnomalyError | None:
        """:meth:`Steps.explain` of some rows of the sources."""
        return self._steps.explain(data, [source[rows] for source in sources], seed, mix)

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


def _look(data: Dataset | StreamData) -> Look:
    return Look.of(data.inputs, data.targets, [] if data.weight is None else [data.weight])
