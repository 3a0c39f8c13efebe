"""Loss: a loss function with its parameters, as a Trainer uses it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fastprop.graph.tensor import Tensor
from fastprop.losses import functions
from fastprop.losses.reduce import check_labels, refuse_first, same_elements
from fastprop.random import check_float_dtype
from fastprop.registry import lookup, type_name

TargetKind = Literal["labels", "values", "either"]
LossFunction = Callable[..., Tensor]

LOSSES: dict[str, LossFunction] = {
    "mse": functions.mse,
    "mae": functions.mae,
    "huber": functions.huber,
    "hinge": functions.hinge,
    "poisson_nll": functions.poisson_nll,
    "gaussian_nll": functions.gaussian_nll,
    "binary_cross_entropy": functions.binary_cross_entropy,
    "cross_entropy": functions.cross_entropy,
}

_NOT_PARAMETERS = ("pred", "target", "var", "sample_weight", "reduction")


class Loss:
    """A loss with its parameters: ``Loss("huber", delta=2.0)``.

    Args:
        function: A name of :data:`LOSSES`, or the user's own function ``(pred, target)`` that gives
            a scalar Tensor. If it is to work with sample weights it takes ``sample_weight=`` too.
        **parameters: Its further keyword arguments.

    Attributes:
        name: Name of the function.
        function: The function.
        parameters: The arguments given here.
        target_kind: "values", or "either" if integer labels are welcome as well.

    Raises:
        ValueError: An unknown name or parameter; the message has the nearest one.
        TypeError: Neither a name nor a function.
    """

    def __init__(self, function: str | LossFunction, **parameters: Any) -> None:
        if isinstance(function, str):
            self.name = function
            self.function: LossFunction = lookup("Loss", "loss", function, LOSSES)
        elif callable(function) and not isinstance(function, type):
            self.name = getattr(function, "__name__", type_name(function))
            self.function = function
        else:
            raise TypeError(
                "Loss: expects a name or a function (pred, target) -> scalar Tensor, "
                f"got {function!r}"
            )
        self.parameters = parameters
        self.is_known = LOSSES.get(self.name) is self.function
        if self.is_known:
            known = {
                p: None
                for p in inspect.signature(self.function).parameters
                if p not in _NOT_PARAMETERS
            }
            for parameter in parameters:
                lookup(self.name, "parameter", parameter, known)
        either = not self.is_known or self.name == "cross_entropy"
        self.target_kind: TargetKind = "either" if either else "values"

    @property
    def checks_values(self) -> bool:
        """True if not all finite targets will do; labels are another matter."""
        return self.is_known and self.name in _VALUE_CHECKS

    def __call__(self, pred: Any, target: Any, sample_weight: Any = None) -> Tensor:
        """The mean loss of a batch, a scalar Tensor.

        Args:
            pred: What the model returned; ``(mean, variance)`` for gaussian_nll.
            target: Targets.
            sample_weight: Weight of each row, or None.

        Raises:
            ValueError: Shapes that do not fit; a function of the user's that gives no scalar, or
                that takes no sample weights where there are some.
        """
        options = dict(self.parameters)
        if sample_weight is not None:
            if not _takes(self.function, "sample_weight"):
                raise ValueError(
                    f"{self.name}: takes no sample weights; add a parameter sample_weight to the "
                    "function"
                )
            options["sample_weight"] = sample_weight
        if self.is_known and self.name == "gaussian_nll":
            mean, variance = _mean_and_variance(pred)
            return self.function(mean, target, variance, **options)
        value = self.function(pred, target, **options)
        if not isinstance(value, Tensor) or value.size != 1 or value.batched:
            got = f"shape {value.shape}" if isinstance(value, Tensor) else type_name(value)
            raise ValueError(f"{self.name}: a loss must give a scalar Tensor, got {got}")
        return value

    def check_targets(
        self, y: ArrayLike, output_shape: Sequence[int], dtype: DTypeLike = "float32"
    ) -> NDArray[Any]:
        """Targets that the user gave, checked once and converted for training.

        Args:
            y: Targets, the first axis one for each row.
            output_shape: Shape of the predictions; the first extent does not matter.
            dtype: dtype of the predictions.

        Returns:
            int64 labels ``[rows]``, or values of `dtype` in the shape of the predictions. No copy
            if `y` is so already.

        Raises:
            ValueError: Shapes that do not fit, or the first value that this loss cannot take, with
                its index.
            TypeError: No real numbers, or no integers where labels are meant.
        """
        array = np.asarray(y)
        wanted = check_float_dtype(self.name, dtype)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"{self.name}: targets must be real numbers, got dtype {array.dtype}")
        if array.ndim == 0:
            raise ValueError(f"{self.name}: targets must have one entry for each row, got a scalar")
        if not self.is_known:
            return _converted(array, wanted if array.dtype.kind == "f" else np.dtype(np.int64))
        if self.name == "cross_entropy":
            return _check_classes(array, tuple(output_shape), wanted)
        shape = (array.shape[0], *output_shape[1:])
        if not same_elements(array.shape, shape):
            raise ValueError(
                f"{self.name}: targets have shape {array.shape}, expected {shape} as the model's "
                "outputs"
            )
        _check_values(self.name, array)
        return _converted(array, wanted).reshape(shape)

    def config(self) -> dict[str, Any]:
        """What makes a loss like this one, for :meth:`from_config`."""
        return {"function": self.name if self.is_known else self.function, **self.parameters}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Loss:
        """The loss that :meth:`config` describes."""
        return cls(**config)

    def __repr__(self) -> str:
        parameters = "".join(f", {name}={value!r}" for name, value in self.parameters.items())
        return f"Loss({self.name!r}{parameters})"


def get(loss: str | Loss | LossFunction, where: str = "losses.get") -> Loss:
    """The Loss that a name, a function or a Loss stands for.

    Args:
        loss: ``"mse"``, ``fp.losses.mse``, ``functools.partial(fp.losses.huber, delta=2)``, a
            function ``(pred, target) -> scalar Tensor`` of your own, or a :class:`Loss`.
        where: What the message starts with.

    Raises:
        ValueError: An unknown name; the message lists the known ones and has the nearest.
        TypeError: Something else.
    """
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, str):
        lookup(where, "loss", loss, LOSSES)
        return Loss(loss)
    if isinstance(loss, partial) and not loss.args:
        return Loss(loss.func, **loss.keywords)
    if not callable(loss) or isinstance(loss, type):
        raise TypeError(
            f"{where}: loss must be a name, a Loss or a function (pred, target), got {loss!r}"
        )
    return Loss(loss)


def _takes(function: LossFunction, name: str) -> bool:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return True
    return name in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _mean_and_variance(pred: Any) -> tuple[Any, Any]:
    if not isinstance(pred, tuple | list) or len(pred) != 2:
        raise TypeError(
            "gaussian_nll: the model must return (mean, variance), "
            f"got {'one Tensor' if isinstance(pred, Tensor) else type_name(pred)}"
        )
    return pred[0], pred[1]


def _converted(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    # A number too large for float32 becomes infinite; the check for finite data reports it.
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, dtype)


_VALUE_CHECKS = ("binary_cross_entropy", "poisson_nll", "hinge")


def _check_values(name: str, y: NDArray[Any]) -> None:
    """The range of targets; NaN passes, as finiteness is checked elsewhere."""
    if name == "binary_cross_entropy":
        refuse_first(name, "y", y, (y < 0) | (y > 1), "a probability in [0, 1]")
    elif name == "poisson_nll":
        refuse_first(name, "y", y, y < 0, "a count, not negative")
    elif name == "hinge":
        values = y.astype(np.float64)
        refuse_first(name, "y", y, (np.abs(values) != 1) & ~np.isnan(values), "-1 or 1")


def _check_classes(
    y: NDArray[Any], output_shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    name = "cross_entropy"
    if len(output_shape) != 2:
        raise ValueError(
            f"{name}: the model's outputs must be [rows, classes], got shape {output_shape}"
        )
    classes = output_shape[1]
    if classes == 1:
        raise ValueError(
            f"{name}: the model has one output, which softmax makes 1 whatever it is; "
            "use binary_cross_entropy, or one output for each class"
        )
    if y.ndim == 2 and y.shape[1] == classes:
        return _check_distributions(y, dtype)
    if y.ndim > 2 or (y.ndim == 2 and y.shape[1] != 1):
        raise ValueError(
            f"{name}: targets have shape {y.shape}, expected labels ({y.shape[0]},) or "
            f"probabilities ({y.shape[0]}, {classes})"
        )
    labels = y.reshape(-1)
    if labels.dtype.kind == "f":
        raise TypeError(
            f"{name}: labels must be integers in [0, {classes}), got {labels.dtype}; "
            "convert them with y.astype(int)"
        )
    check_labels(name, labels, classes, "y")
    return _converted(labels, np.dtype(np.int64))


def _check_distributions(y: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    name = "cross_entropy"
    refuse_first(name, "y", y, y < 0, "a probability, not negative")
    totals = y.sum(axis=1, dtype=np.float64)
    bad = np.abs(totals - 1.0) > 1e-3
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"{name}: the probabilities y[{row}] sum to {totals[row]:g}, expected 1; for several "
            "independent labels use binary_cross_entropy"
        )
    return _converted(y, dtype)
