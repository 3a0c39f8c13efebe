"""Metrics: numbers about a whole data set, made of sums over its batches.

A metric gives the sums of one batch as scalar Tensors, traced into the Program like everything
else; they are added up over the batches in double precision, and :meth:`Metric.finalize` makes the
number of them. So the result does not depend on the batch size, and short batches count for what
they are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from fastprop import functional as F
from fastprop.checks import positive_int
from fastprop.graph.tensor import Tensor, TensorLike, as_tensor
from fastprop.losses.reduce import check_labels, predictions, targets_like
from fastprop.registry import constructor_arguments, lookup, type_name

Sums = tuple[Tensor, ...]


class Metric:
    """Base of all metrics: the mean over all rows of what :meth:`rows` gives.

    Derive from it and define ``name`` and :meth:`rows`; or, for what is no mean over rows,
    :meth:`sums` and :meth:`finalize`.

    Attributes:
        name: Key in the history.
        higher_is_better: Says to callbacks such as ``EarlyStopping`` in which direction it is good.
    """

    name: str = ""
    higher_is_better: bool = False

    def rows(self, pred: Tensor, target: Tensor) -> Tensor:
        """One number for each row of the batch, shape ``[rows]``."""
        raise NotImplementedError(f"{type_name(self)}: define rows(self, pred, target)")

    def sums(self, pred: Tensor, target: Tensor) -> Sums:
        """Sums over the rows of a batch, scalar Tensors.

        Raises:
            ValueError: Predictions and targets do not fit the metric.
        """
        rows = self.rows(pred, target)
        if not isinstance(rows, Tensor) or rows.ndim != 1:
            got = f"shape {rows.shape}" if isinstance(rows, Tensor) else type_name(rows)
            raise ValueError(f"{self.name}: a metric must give one number for each row, got {got}")
        return _total(rows), _count(rows)

    def finalize(self, sums: np.ndarray[Any, Any]) -> float:
        """The metric, from the sums over all batches (float64); NaN if there were no rows."""
        total, count = sums
        return float(total / count) if count else math.nan

    def __call__(self, pred: TensorLike, target: TensorLike) -> float:
        """The metric of arrays, or of Tensors that hold data."""
        sums = self.sums(as_tensor(pred), as_tensor(target))
        return self.finalize(np.array([s.item() for s in sums], dtype=np.float64))

    def config(self) -> dict[str, Any]:
        """The arguments that make a metric like this one: attributes of the same names."""
        return constructor_arguments(self, vars(self))

    def __repr__(self) -> str:
        return f"{type_name(self)}()"


class FunctionMetric(Metric):
    """The user's ``function(pred, target) -> [rows]``."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.name = getattr(function, "__name__", type_name(function))
        self._function = function

    def config(self) -> dict[str, Any]:
        return {"function": self._function}

    def rows(self, pred: Tensor, target: Tensor) -> Tensor:
        return self._function(pred, target)

    def __repr__(self) -> str:
        return f"Metric({self.name})"


def _total(rows: Tensor) -> Tensor:
    # Sums are exact enough in double precision only: counts beyond 2**24, differences of squares.
    return F.sum(F.cast(rows, "float64"))


def _count(rows: Tensor) -> Tensor:
    # The number of rows is known when the Program runs, so it is counted.
    return F.sum(F.broadcast_to(Tensor(1.0, dtype="float64"), F.cast(rows, "float64")))


class BinaryAccuracy(Metric):
    """Share of correct yes-or-no outputs: logit > threshold where the target is > 0.5.

    Args:
        threshold: 0 for logits (and for targets of -1 and 1 as well), 0.5 for probabilities.

    Predictions and targets have one shape, up to a trailing axis of extent 1.
    """

    name = "binary_accuracy"
    higher_is_better = True

    def __init__(self, threshold: float = 0.0) -> None:
        if not math.isfinite(threshold):
            raise ValueError(f"BinaryAccuracy: threshold must be finite, got {threshold}")
        self.threshold = float(threshold)

    def rows(self, pred: Tensor, target: Tensor) -> Tensor:
        pred = predictions(self.name, pred)
        return F.binary_correct(pred, targets_like(self.name, pred, target), self.threshold)

    def __repr__(self) -> str:
        return f"BinaryAccuracy(threshold={self.threshold})"


class TopKAccuracy(Metric):
    """Share of rows whose label is among the k highest scores.

    Args:
        k: How many; not more than there are classes.

    Scores are ``[rows, classes]``; targets are integer labels ``[rows]``, or one-hot rows or
    probabilities ``[rows, classes]``, of which the highest counts.
    """

    higher_is_better = True

    def __init__(self, k: int = 5) -> None:
        self.k = positive_int("TopKAccuracy", "k", k)
        self.name = f"top_{self.k}_accuracy"

    def rows(self, pred: Tensor, target: Tensor) -> Tensor:
        pred = predictions(self.name, pred)
        labels = _labels(self.name, pred, target)
        if self.k > pred.shape[1]:
            raise ValueError(f"{self.name}: k is {self.k}, the model has {pred.shape[1]} classes")
        return F.top_k_correct(pred, labels, self.k)

    def __repr__(self) -> str:
        return f"TopKAccuracy(k={self.k})"


class Accuracy(Metric):
    """Share of correct rows: the label has the highest score, or a single logit the right sign.

    Scores ``[rows, classes]`` as for :class:`TopKAccuracy`; a single logit, ``[rows]`` or
    ``[rows, 1]``, as for :class:`BinaryAccuracy`.
    """

    name = "accuracy"
    higher_is_better = True

    def rows(self, pred: Tensor, target: Tensor) -> Tensor:
        pred = predictions(self.name, pred)
        if pred.ndim == 1 or pred.shape[1:] == (1,):
            return F.binary_correct(pred, targets_like(self.name, pred, target))
        return F.top_k_correct(pred, _labels(self.name, pred, target), 1)


def _labels(name: str, pred: Tensor, target: TensorLike) -> Tensor:
    """int64 labels of the rows."""
    target = as_tensor(target)
    if pred.ndim != 2:
        raise ValueError(f"{name}: scores must be [rows, classes], got shape {pred.shape}")
    rows, classes = pred.shape
    if target.shape == pred.shape:
        return F.argmax(target if target.dtype.kind == "f" else F.cast(target, pred.dtype), axis=1)
    if target.shape not in ((rows,), (rows, 1)):
        raise ValueError(
            f"{name}: targets have shape {target.shape}; scores of shape {pred.shape} need labels "
            f"({rows},) or one-hot rows {pred.shape}"
        )
    if target.dtype.kind != "i":
        raise TypeError(f"{name}: labels must be integers, got {target.dtype}")
    if not target.symbolic:
        check_labels(name, target.data, classes, "target")
    return F.reshape(target, (rows,))


class MAE(Metric):
    """Mean absolute error."""

    name = "mae"

    def rows(self, pred: Tensor, target: Tensor) -> Tensor:
        pred = predictions(self.name, pred)
        return F.mae_rows(pred, targets_like(self.name, pred, target))


class MSE(Metric):
    """Mean squared error."""

    name = "mse"

    def rows(self, pred: Tensor, target: Tensor) -> Tensor:
        pred = predictions(self.name, pred)
        return F.mse_rows(pred, targets_like(self.name, pred, target))


class RMSE(MSE):
    """Root of the mean squared error."""

    name = "rmse"

    def finalize(self, sums: np.ndarray[Any, Any]) -> float:
        return math.sqrt(super().finalize(sums))


class R2(Metric):
    r"""Coefficient of determination, :math:`1 - \sum (t - y)^2 / \sum (t - \bar t)^2`.

    With several outputs, the mean of their coefficients, as scikit-learn's default. A constant
    output counts 1 if it is predicted exactly, else 0; fewer than two rows give NaN.
    """

    name = "r2"
    higher_is_better = True

    def sums(self, pred: Tensor, target: Tensor) -> Sums:
        pred = predictions(self.name, pred)
        t = _columns(F.cast(targets_like(self.name, pred, target), "float64"))
        error = F.square(_columns(F.cast(pred, "float64")) - t)
        columns = t.shape[1]
        per_column = [F.sum(values, 0) for values in (error, t, F.square(t))]
        picked = [_element(v, k) for v in per_column for k in range(columns)]
        return (*picked, _count(F.sum(t, 1)))

    def finalize(self, sums: np.ndarray[Any, Any]) -> float:
        count = sums[-1]
        if count < 2:
            return math.nan
        residual, total, squares = np.reshape(sums[:-1], (3, -1))
        spread = squares - total * total / count
        # Below this the difference of squares is nothing but rounding.
        constant = spread <= 16 * np.finfo(np.float64).eps * squares
        ratio = residual / np.where(constant, 1.0, spread)
        return float(np.mean(np.where(constant, residual == 0, 1.0 - ratio)))


class OfOutput(Metric):
    """A metric of one of several outputs, with its number behind the name: ``accuracy_0``.

    Args:
        metric: What :func:`get` takes.
        output: Which output and target, from 0.
    """

    def __init__(self, metric: str | Metric | Callable[..., Any], output: int) -> None:
        self.metric = get(metric, "OfOutput")
        self.output = output
        self.higher_is_better = bool(getattr(self.metric, "higher_is_better", False))
        self.name = f"{self.metric.name}_{output}"

    def sums(self, pred: Any, target: Any) -> Sums:
        for what, values in (("outputs", pred), ("targets", target)):
            count = len(values) if isinstance(values, tuple | list) else 1
            if not isinstance(values, tuple | list) or self.output >= count:
                raise ValueError(
                    f"{self.name}: a metric of output {self.output}, but the number of {what} is "
                    f"{count}"
                )
        return self.metric.sums(pred[self.output], target[self.output])

    def finalize(self, sums: np.ndarray[Any, Any]) -> float:
        return self.metric.finalize(sums)

    def config(self) -> dict[str, Any]:
        """The arguments that make one like this."""
        return {"metric": self.metric, "output": self.output}

    def __repr__(self) -> str:
        return f"OfOutput({self.metric!r}, {self.output})"


def _columns(x: Tensor) -> Tensor:
    return F.reshape(x, (x.shape[0], int(np.prod(x.shape[1:], dtype=np.int64))))


def _element(vector: Tensor, k: int) -> Tensor:
    if vector.shape == (1,):
        return F.reshape(vector, ())
    return F.sum(F.gather_rows(vector, Tensor(np.array([k], dtype=np.int64))))


METRICS: dict[str, Callable[[], Metric]] = {
    "accuracy": Accuracy,
    "binary_accuracy": BinaryAccuracy,
    "top_k_accuracy": TopKAccuracy,
    "mae": MAE,
    "mse": MSE,
    "rmse": RMSE,
    "r2": R2,
}


def get(metric: str | Metric | Callable[..., Any], where: str = "metrics.get") -> Metric:
    """The Metric that a name, a function or a Metric stands for.

    Args:
        metric: ``"accuracy"``, ``"top_3_accuracy"`` (any k; ``"top_k_accuracy"`` is k = 5), a
            :class:`Metric`, any object with ``name``, ``sums`` and ``finalize``, or a function
            ``(pred, target) -> Tensor [rows]`` whose mean over all rows it is.
        where: What the message starts with.

    Raises:
        ValueError: An unknown name; the message lists the known ones and has the nearest.
        TypeError: Something else.
    """
    if isinstance(metric, str):
        top_k = re.fullmatch(r"top_([1-9]\d{0,8})_accuracy", metric)
        return TopKAccuracy(int(top_k[1])) if top_k else lookup(where, "metric", metric, METRICS)()
    if isinstance(metric, Metric):
        return metric
    if isinstance(metric, type):
        raise TypeError(
            f"{where}: metric is the class {metric.__name__}; make one with {metric.__name__}()"
        )
    if all(hasattr(metric, part) for part in ("name", "sums", "finalize")):
        return metric  # type: ignore[return-value]
    if callable(metric):
        return FunctionMetric(metric)
    raise TypeError(
        f"{where}: metric must be a name, a Metric or a function (pred, target), got {metric!r}"
    )


def get_all(metrics: Any, where: str = "metrics.get_all") -> list[Metric]:
    """The Metrics of a list (a single one counts as a list of one).

    For a model with several outputs it may hold one list for each: ``[["accuracy"], ["mae"]]``.

    Raises:
        ValueError: An unknown name, or two metrics of one name.
        TypeError: An item that is no metric.
    """
    if metrics is None:
        return []
    items: list[Any] = list(metrics) if isinstance(metrics, list | tuple) else [metrics]
    if items and all(isinstance(item, list | tuple) for item in items):
        found: list[Metric] = [
            OfOutput(get(metric, where), i) for i, each in enumerate(items) for metric in each
        ]
    else:
        found = [get(item, where) for item in items]
    names = [metric.name for metric in found]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{where}: there are two metrics called {name!r}")
    return found


__all__ = [
    "Metric",
    "FunctionMetric",
    "Accuracy",
    "BinaryAccuracy",
    "TopKAccuracy",
    "MAE",
    "MSE",
    "RMSE",
    "R2",
    "OfOutput",
    "METRICS",
    "get",
    "get_all",
]
