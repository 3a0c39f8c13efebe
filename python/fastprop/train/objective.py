"""What a model is judged by: the loss, with the checks of its targets, and the metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprop import _core, losses
from fastprop import functional as F
from fastprop import metrics as metric_module
from fastprop.data.arrays import note_conversion, to_array
from fastprop.graph.op import Spec
from fastprop.graph.scope import Scope, scoped
from fastprop.graph.tensor import Tensor
from fastprop.train.mixup import Mixup

Array = NDArray[Any]


class Traced(NamedTuple):
    """The symbolic numbers that a step records.

    Attributes:
        loss: Mean loss of the batch.
        weight: Sum of the batch's sample weights, or ``None`` where every row counts alike.
        sums: What the metrics add up over batches, metric by metric.
        parts: Mean loss of each output, where there is a loss for each.
    """

    loss: Tensor
    weight: Tensor | None
    sums: list[tuple[Tensor, ...]]
    parts: list[Tensor]

    @property
    def scalars(self) -> list[Tensor]:
        weight = [] if self.weight is None else [self.weight]
        return [self.loss, *weight, *self.parts, *(s for group in self.sums for s in group)]

    @property
    def columns(self) -> Columns:
        sums = tuple(len(group) for group in self.sums)
        return Columns(self.weight is not None, sums, len(self.parts))


class Columns(NamedTuple):
    """What the recorded numbers of a step are: loss, sum of weights if any, losses of the outputs
    if there are several, sums of each metric.
    """

    weighted: bool
    sums: tuple[int, ...]
    parts: int = 0


class Objective:
    """Loss and metrics, found by name or given as objects.

    Args:
        where: Who asks; starts the messages.
        loss: A name of :mod:`fastprop.losses`, one of its functions, a
            :class:`fastprop.losses.Loss`, or any function ``(outputs, targets) -> scalar Tensor``;
            a list of these for a model with several outputs.
        metrics: Names of :mod:`fastprop.metrics` or objects like those there.

    Raises:
        ValueError: Unknown name, or two metrics of one name.
        TypeError: Neither a name nor something callable.
    """

    def __init__(self, where: str, loss: Any, metrics: Any = ()) -> None:
        self.loss = losses.get(loss, where)
        self.metrics = metric_module.get_all(metrics, where)
        count = len(self.loss.losses) if isinstance(self.loss, losses.MultiOutput) else 0
        taken = {"loss", *(f"loss_{i}" for i in range(count))}
        for metric in self.metrics:
            if metric.name in taken:
                raise ValueError(f"{where}: a metric may not be called {metric.name!r}")

    def targets(
        self, where: str, values: Sequence[Any], outputs: Sequence[Spec], notes: list[str] | None
    ) -> tuple[Array, ...]:
        """Targets as the loss takes them: checked, converted, and of the outputs' rank.

        Raises:
            ValueError: Labels out of range, a shape that does not fit the outputs.
            TypeError: Not numbers, or fractions where class numbers are meant.
        """
        names = ["y"] if len(values) == 1 else [f"y[{i}]" for i in range(len(values))]
        if isinstance(self.loss, losses.MultiOutput):
            each = self.loss.losses
            if not len(values) == len(outputs) == len(each):
                raise ValueError(
                    f"{where}: {len(each)} losses, but the model has {len(outputs)} outputs and y "
                    f"holds {len(values)}; they must agree"
                )
            parts = zip(names, each, values, outputs, strict=True)
            return tuple(_target(where, n, loss, v, spec, notes) for n, loss, v, spec in parts)
        if not self.loss.is_known:
            specs = [outputs[min(i, len(outputs) - 1)] for i in range(len(values))]
            return tuple(
                _own_target(f"{where}: {name}", value, spec, notes)
                for name, value, spec in zip(names, values, specs, strict=True)
            )
        if len(values) != 1:
            raise ValueError(
                f"{where}: the loss {self.loss.name} takes one array of targets, got "
                f"{len(values)}; for several, give a list of losses, or a function "
                "(outputs, targets) -> scalar Tensor"
            )
        return (_target(where, "y", self.loss, values[0], outputs[0], notes),)

    def target_form(self, value: Any, target: Array, outputs: Sequence[Spec]) -> _core.Form | None:
        """What targets have to be to pass :meth:`targets` as they are.

        Args:
            value: Targets as they were given.
            target: What :meth:`targets` made of them.
            outputs: What the model gives.

        Returns:
            ``None`` where they were converted, or where this loss looks at their values.
        """
        if not isinstance(value, np.ndarray) or value.shape != target.shape:
            return None
        if isinstance(self.loss, losses.MultiOutput) or self.loss.checks_values:
            return None
        if value.dtype != target.dtype:
            return None
        if self.loss.takes_classes:
            if target.ndim != 1:
                return None
            return _core.Form(target.dtype, (), outputs[0].shape[1])
        return _core.Form(target.dtype, target.shape[1:])

    def trace(
        self,
        outputs: Sequence[Tensor],
        targets: Sequence[Tensor],
        weight: Tensor | None,
        mix: Mixup | None = None,
    ) -> Traced:
        """Record loss and metrics of a batch.

        With mixup the loss gets mixed targets and weights; metrics compare each row with the target
        that it keeps the most of.
        """
        pred, target = _one_or_all(outputs), _one_or_all(targets)
        with scoped(Scope(None, "loss")):
            wanted = target
            if mix is not None:
                wanted = _one_or_all(mix.targets(self.loss, targets, outputs))
                weight = mix.weight(weight)
            parts: list[Tensor] = []
            if isinstance(self.loss, losses.MultiOutput):
                parts = self.loss.parts(pred, wanted, weight)
                loss = self.loss.total(parts)
            else:
                loss = self.loss(pred, wanted, weight)
            loss = loss if loss.ndim == 0 else F.reshape(loss, ())
            total = None if weight is None else F.sum(weight)
        with scoped(Scope(None, "metrics")):
            sums = [tuple(metric.sums(pred, target)) for metric in self.metrics]
        return Traced(loss, total, sums, parts)

    def summarize(
        self, values: NDArray[np.float64], columns: Columns, rows: int, batch: int
    ) -> dict[str, float]:
        """Loss and metrics of all steps together, a row counting as a row whatever its batch was.

        Args:
            values: What each step recorded, ``[steps, scalars]``.
            columns: What the numbers are.
            rows: Rows of all steps.
            batch: Rows of every step but perhaps the last.
        """
        logs = {"loss": _mean_loss(values, 0, columns.weighted, rows, batch)}
        start = 1 + columns.weighted
        for i in range(columns.parts):
            logs[f"loss_{i}"] = _mean_loss(values, start + i, columns.weighted, rows, batch)
        if self.metrics:
            sums = values.sum(axis=0)
            start += columns.parts
            for metric, count in zip(self.metrics, columns.sums, strict=True):
                logs[metric.name] = float(metric.finalize(sums[start : start + count]))
                start += count
        return logs


def _mean_loss(
    values: NDArray[np.float64], column: int, weighted: bool, rows: int, batch: int
) -> float:
    """Mean over rows of a loss that was recorded for every step."""
    if len(values) == 1 and not weighted:
        return float(values[0, column])
    step_losses = values[:, column]
    if weighted:
        weights = values[:, 1]
        used = weights > 0  # a batch without weight has no mean
        total = float(weights.sum())
        return float(step_losses[used] @ weights[used]) / total if total > 0 else float("nan")
    last = rows - (len(values) - 1) * batch
    if last == batch:
        return float(step_losses.sum()) / len(values)
    return float(step_losses[:-1].sum() * batch + step_losses[-1] * last) / rows


def match_rank(array: Array, output: Spec) -> Array:
    """The array with axes of extent 1 added or dropped at the end, if that makes it fit."""
    want, have = output.shape[1:], array.shape[1:]
    if have != want and np.prod(have, dtype=int) == np.prod(want, dtype=int):
        longer, shorter = (have, want) if len(have) > len(want) else (want, have)
        if longer[: len(shorter)] == shorter:
            return array.reshape(len(array), *want)
    return array


def _target(
    where: str, name: str, loss: losses.Loss, value: Any, output: Spec, notes: list[str] | None
) -> Array:
    """The targets of one loss, for one output (or the first of those that it takes)."""
    if not loss.is_known:
        return _own_target(f"{where}: {name}", value, output, notes)
    y = to_array(f"{where}: {name}", value, keep_dtype=True)
    try:
        checked = loss.check_targets(y, output.shape, output.dtype)
    except (ValueError, TypeError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        label = "" if name == "y" else f"{name}: "
        raise kind(f"{where}: {label}{error}") from None
    if checked.dtype != y.dtype:
        note_conversion(f"{where}: {name}", y, checked.dtype, notes)
    return checked


def _own_target(name: str, value: Any, output: Spec, notes: list[str] | None) -> Array:
    """For a loss of the user's own: integers stay integers, the rest takes the outputs' dtype."""
    array = to_array(name, value, keep_dtype=True)
    if array.dtype.kind != "f":
        return to_array(name, array, np.int64, notes)
    return match_rank(to_array(name, array, output.dtype, notes), output)


def _one_or_all(tensors: Sequence[Tensor]) -> Any:
    """What a loss gets: the Tensor if there is one, a tuple of several, ``None`` if none."""
    if not tensors:
        return None
    return tensors[0] if len(tensors) == 1 else tuple(tensors)
