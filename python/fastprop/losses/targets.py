"""Targets that the user gave: what each loss takes, checked once and converted for training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprop.losses.reduce import check_labels, refuse_first, same_elements

Array = NDArray[Any]


class TargetRule(NamedTuple):
    """What the targets of a loss are.

    Attributes:
        kind: Numbers in the shape of the predictions, labels or distributions of classes, one
            number a row, or none at all.
        check: ``check(name, y, parameters)`` refuses values that the loss cannot take; NaN passes,
            as finiteness is checked elsewhere.
    """

    kind: Literal["values", "classes", "rows", "none"] = "values"
    check: Callable[[str, Array, Mapping[str, Any]], None] | None = None


def _probabilities(name: str, y: Array, parameters: Mapping[str, Any]) -> None:
    refuse_first(name, "y", y, (y < 0) | (y > 1), "a probability in [0, 1]")


def _distribution(name: str, y: Array, parameters: Mapping[str, Any]) -> None:
    if not parameters.get("log_target"):
        _probabilities(name, y, parameters)


def _counts(name: str, y: Array, parameters: Mapping[str, Any]) -> None:
    refuse_first(name, "y", y, y < 0, "a count, not negative")


def _signs(name: str, y: Array, parameters: Mapping[str, Any]) -> None:
    values = y.astype(np.float64)
    refuse_first(name, "y", y, (np.abs(values) != 1) & ~np.isnan(values), "-1 or 1")


_VALUES = TargetRule()
_RULES = {
    "binary_cross_entropy": TargetRule(check=_probabilities),
    "binary_focal": TargetRule(check=_probabilities),
    "contrastive": TargetRule("rows", _probabilities),
    "cosine_embedding": TargetRule("rows", _signs),
    "cross_entropy": TargetRule("classes"),
    "dice": TargetRule(check=_probabilities),
    "focal": TargetRule("classes"),
    "hinge": TargetRule(check=_signs),
    "kl_div": TargetRule(check=_distribution),
    "poisson_nll": TargetRule(check=_counts),
    "triplet_margin": TargetRule("none"),
}


def rule_of(name: str) -> TargetRule:
    """What targets the known loss `name` takes."""
    return _RULES.get(name, _VALUES)


def check_known(
    name: str,
    y: Array,
    output_shape: tuple[int, ...],
    dtype: np.dtype[Any],
    parameters: Mapping[str, Any],
) -> Array:
    """Targets of a known loss, as :meth:`Loss.check_targets` gives them."""
    rule = rule_of(name)
    if rule.kind == "none":
        raise ValueError(f"{name}: takes no targets, got an array of shape {y.shape}")
    if rule.kind == "classes":
        return _check_classes(name, y, output_shape, dtype)
    shape = (len(y), *output_shape[1:])
    if rule.kind == "rows":
        shape = shape[:1]
    elif _is_one_for_all(name, y, shape, parameters):
        shape = (len(y), 1)
    if not same_elements(y.shape, shape):
        wanted = "one for each row" if rule.kind == "rows" else "as the model's outputs"
        raise ValueError(f"{name}: targets have shape {y.shape}, expected {shape} {wanted}")
    if rule.check is not None:
        rule.check(name, y, parameters)
    return converted(y, dtype).reshape(shape)


def _is_one_for_all(
    name: str, y: Array, shape: tuple[int, ...], parameters: Mapping[str, Any]
) -> bool:
    """True for one target a row where several quantiles of it are wanted."""
    several = name == "quantile" and np.ndim(parameters.get("q", 0.5)) > 0
    return several and len(shape) == 2 and same_elements(y.shape, (len(y), 1))


def converted(array: Array, dtype: np.dtype[Any]) -> Array:
    # A number too large for float32 becomes infinite; the check for finite data reports it.
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, dtype)


def _check_classes(
    name: str, y: Array, output_shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    if len(output_shape) != 2:
        raise ValueError(
            f"{name}: the model's outputs must be [rows, classes], got shape {output_shape}"
        )
    classes = output_shape[1]
    if classes == 1:
        binary = "binary_focal" if name == "focal" else "binary_cross_entropy"
        raise ValueError(
            f"{name}: the model has one output, which softmax makes 1 whatever it is; "
            f"use {binary}, or one output for each class"
        )
    if y.ndim == 2 and y.shape[1] == classes:
        return _check_distributions(name, y, dtype)
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
    return converted(labels, np.dtype(np.int64))


def _check_distributions(name: str, y: Array, dtype: np.dtype[Any]) -> Array:
    refuse_first(name, "y", y, y < 0, "a probability, not negative")
    totals = y.sum(axis=1, dtype=np.float64)
    bad = np.abs(totals - 1.0) > 1e-3
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"{name}: the probabilities y[{row}] sum to {totals[row]:g}, expected 1; for several "
            "independent labels use binary_cross_entropy"
        )
    return converted(y, dtype)
