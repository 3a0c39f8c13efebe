"""Loss: a loss function with its parameters, as a Trainer uses it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fastprop import functional as F
from fastprop.checks import as_array
from fastprop.graph.tensor import Tensor
from fastprop.losses import classification, embedding, regression
from fastprop.losses.targets import check_known, converted, rule_of
from fastprop.random import check_float_dtype
from fastprop.registry import lookup, type_name

LossFunction = Callable[..., Tensor]

LOSSES: dict[str, LossFunction] = {
    "mse": regression.mse,
    "mae": regression.mae,
    "huber": regression.huber,
    "log_cosh": regression.log_cosh,
    "quantile": regression.quantile,
    "hinge": classification.hinge,
    "poisson_nll": regression.poisson_nll,
    "gaussian_nll": regression.gaussian_nll,
    "kl_div": classification.kl_div,
    "binary_cross_entropy": classification.binary_cross_entropy,
    "binary_focal": classification.binary_focal,
    "cross_entropy": classification.cross_entropy,
    "focal": classification.focal,
    "dice": classification.dice,
    "cosine_embedding": embedding.cosine_embedding,
    "contrastive": embedding.contrastive,
    "triplet_margin": embedding.triplet_margin,
}

_OUTPUTS = {
    "gaussian_nll": ("mean", "variance"),
    "cosine_embedding": ("x1", "x2"),
    "contrastive": ("x1", "x2"),
    "triplet_margin": ("anchor", "positive", "negative"),
}
"""What the model returns for the losses that take more than one output."""

_NOT_PARAMETERS = (
    *("pred", "target", "var", "x1", "x2", "anchor", "positive", "negative"),
    *("sample_weight", "reduction"),
)


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
        if self.is_known and parameters:
            known = {
                p: None
                for p in inspect.signature(self.function).parameters
                if p not in _NOT_PARAMETERS
            }
            for parameter in parameters:
                lookup(self.name, "parameter", parameter, known)

    @property
    def takes_classes(self) -> bool:
        """True if targets are labels, or distributions over classes."""
        return self.is_known and rule_of(self.name).kind == "classes"

    @property
    def needs_targets(self) -> bool:
        """False if a function of the user's may do without targets, or the loss has none."""
        return self.is_known and rule_of(self.name).kind != "none"

    @property
    def mixes(self) -> bool:
        """True if a target may lie between two others, as with mixup."""
        return not self.is_known or rule_of(self.name).kind in ("values", "classes")

    @property
    def checks_values(self) -> bool:
        """True if not all finite targets will do; labels are another matter."""
        return self.is_known and rule_of(self.name).check is not None

    def __call__(self, pred: Any, target: Any, sample_weight: Any = None) -> Tensor:
        """The mean loss of a batch, a scalar Tensor.

        Args:
            pred: What the model returned; ``(mean, variance)`` for gaussian_nll, the embeddings for
                the losses of embeddings.
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
        if self.is_known and self.name in _OUTPUTS:
            first, *rest = _outputs(self.name, pred)
            if self.name == "gaussian_nll":
                return self.function(first, target, *rest, **options)
            targets = [target] if self.needs_targets else []
            return self.function(first, *rest, *targets, **options)
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
        array = as_array(f"{self.name}: y", y)
        wanted = check_float_dtype(self.name, dtype)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"{self.name}: targets must be real numbers, got dtype {array.dtype}")
        if array.ndim == 0:
            raise ValueError(f"{self.name}: targets must have one entry for each row, got a scalar")
        if not self.is_known:
            return converted(array, wanted if array.dtype.kind == "f" else np.dtype(np.int64))
        return check_known(self.name, array, tuple(output_shape), wanted, self.parameters)

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


class MultiOutput:
    """One loss for each output of a model, and the weighted sum of them.

    Args:
        losses: For each output what :func:`get` takes.
        weights: What each loss counts; by default 1.

    Attributes:
        losses: The :class:`Loss` of each output.
        weights: Their weights.

    ``Trainer(model, loss=["cross_entropy", "mse"])`` is short for
    ``loss=losses.MultiOutput(["cross_entropy", "mse"])``.

    Raises:
        ValueError: No losses, another number of weights, a weight that is negative or not finite,
            or a loss that takes several outputs itself.
    """

    def __init__(
        self, losses: Sequence[str | Loss | LossFunction], weights: Sequence[float] | None = None
    ) -> None:
        if isinstance(losses, str) or not isinstance(losses, Sequence) or not losses:
            raise ValueError(
                f"MultiOutput: expects a list with one loss for each output, got {losses!r}"
            )
        self.losses = [_single(loss) for loss in losses]
        given = [1.0] * len(losses) if weights is None else list(weights)
        if len(given) != len(losses):
            raise ValueError(f"MultiOutput: {len(losses)} losses, but {len(given)} weights")
        for weight in given:
            if isinstance(weight, bool) or not isinstance(weight, int | float | np.number):
                raise TypeError(f"MultiOutput: weights must be numbers, got {weight!r}")
            if not (np.isfinite(weight) and weight >= 0):
                raise ValueError(
                    f"MultiOutput: weights must be finite and not negative, got {weight}"
                )
        self.weights = [float(weight) for weight in given]
        self.name = " + ".join(
            loss.name if weight == 1 else f"{weight:g} {loss.name}"
            for loss, weight in zip(self.losses, self.weights, strict=True)
        )

    needs_targets = True

    def __call__(self, pred: Any, target: Any, sample_weight: Any = None) -> Tensor:
        """The weighted sum of the mean losses of a batch; see :meth:`parts`."""
        return self.total(self.parts(pred, target, sample_weight))

    def parts(self, pred: Any, target: Any, sample_weight: Any = None) -> list[Tensor]:
        """The mean loss of each output of a batch.

        Args:
            pred: The model's outputs.
            target: The targets, one for each.
            sample_weight: Weight of each row in all losses, or None.

        Raises:
            ValueError: Another number of outputs or targets.
        """
        for what, values in (("outputs", pred), ("targets", target)):
            count = len(values) if isinstance(values, tuple | list) else 1
            if count != len(self.losses):
                raise ValueError(
                    f"MultiOutput: there are {count} {what} for {len(self.losses)} losses"
                )
        pred, target = (
            [v] if len(self.losses) == 1 and not isinstance(v, tuple | list) else v
            for v in (pred, target)
        )
        each = zip(self.losses, pred, target, strict=True)
        return [F.reshape(loss(p, t, sample_weight), ()) for loss, p, t in each]

    def total(self, parts: Sequence[Tensor]) -> Tensor:
        """The weighted sum of what :meth:`parts` gave."""
        total: Tensor | None = None
        for weight, part in zip(self.weights, parts, strict=True):
            weighted = part if weight == 1 else weight * part
            total = weighted if total is None else total + weighted
        assert total is not None
        return total

    def config(self) -> dict[str, Any]:
        """The arguments that make one like this."""
        return {"losses": list(self.losses), "weights": list(self.weights)}

    def __repr__(self) -> str:
        return f"MultiOutput({self.losses}, weights={self.weights})"


def _single(loss: Any) -> Loss:
    found = get(loss, "MultiOutput")
    if isinstance(found, MultiOutput):
        raise ValueError("MultiOutput: a loss of several outputs cannot be one of its losses")
    if found.is_known and found.name in _OUTPUTS:
        raise ValueError(
            f"MultiOutput: {found.name} takes the outputs {', '.join(_OUTPUTS[found.name])} "
            "itself; write a function (outputs, targets) that adds it"
        )
    return found


def get(
    loss: str | Loss | LossFunction | MultiOutput | Sequence[Any], where: str = "losses.get"
) -> Loss | MultiOutput:
    """The Loss that a name, a function or a Loss stands for.

    Args:
        loss: ``"mse"``, ``fp.losses.mse``, ``functools.partial(fp.losses.huber, delta=2)``, a
            function ``(pred, target) -> scalar Tensor`` of your own, or a :class:`Loss`; a list of
            these stands for a :class:`MultiOutput`.
        where: What the message starts with.

    Raises:
        ValueError: An unknown name; the message lists the known ones and has the nearest.
        TypeError: Something else.
    """
    if isinstance(loss, Loss | MultiOutput):
        return loss
    if isinstance(loss, list | tuple):
        return MultiOutput(loss)
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


def _outputs(name: str, pred: Any) -> Sequence[Any]:
    """What the model returned, for a loss of several outputs."""
    wanted = _OUTPUTS[name]
    if not isinstance(pred, tuple | list) or len(pred) != len(wanted):
        got = "one Tensor" if isinstance(pred, Tensor) else type_name(pred)
        if isinstance(pred, tuple | list):
            got = f"{len(pred)} Tensors"
        raise TypeError(f"{name}: the model must return ({', '.join(wanted)}), got {got}")
    return pred
