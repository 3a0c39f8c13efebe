"""What the losses on NumPy arrays share: operands, weights, reductions, three functions each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fastprop.graph.loss_rows import check_focal
from fastprop.graph.op import Spec, op_named
from fastprop.kernels._call import (
    Array,
    check_overlap,
    destination,
    execute,
    operands,
    spec_of,
)

Value = float | Array
REDUCTIONS = ("mean", "sum", "none")


class Loss(NamedTuple):
    """The three functions of one loss."""

    both: Callable[..., tuple[Value, Array]]
    forward: Callable[..., Value]
    backward: Callable[..., Array]


class LossCall(NamedTuple):
    """One evaluation: which rows count how much, and what the kernel is given."""

    name: str
    op: str
    inputs: list[Array]
    aux: list[Array]
    attrs: Mapping[str, Any]
    row_weight: Array
    divisor: float
    reduction: str


def row_weight(name: str, sample_weight: ArrayLike | None, pred: Array) -> Array:
    if sample_weight is None:
        return np.ones(pred.shape[:1], pred.dtype)
    weight = np.asarray(sample_weight, dtype=pred.dtype)
    if weight.shape != pred.shape[:1]:
        raise ValueError(
            f"{name}: sample_weight must have shape {pred.shape[:1]}, got {weight.shape}"
        )
    if not (np.isfinite(weight).all() and (weight >= 0).all()):
        raise ValueError(f"{name}: sample_weight must be finite and not negative")
    return weight


def divisor_of(name: str, reduction: str, weights: Array) -> float:
    if reduction not in REDUCTIONS:
        raise ValueError(
            f"{name}: reduction must be one of {', '.join(REDUCTIONS)}, got {reduction!r}"
        )
    if reduction != "mean":
        return 1.0
    total = float(np.sum(weights, dtype=np.float64))
    if total == 0:
        raise ValueError(f"{name}: the mean of no rows, or of rows that all weigh 0, is undefined")
    return total


def _forward(c: LossCall) -> Array:
    """The rows' losses, with shapes and dtypes checked."""
    spec = check(c)
    rows = np.empty(spec.shape, spec.dtype)
    execute(c.op, [*c.inputs, *c.aux], [rows], dict(c.attrs))
    return rows


def check(c: LossCall) -> Spec:
    return op_named(c.op).infer(c.name, [spec_of(a) for a in (*c.inputs, *c.aux)], dict(c.attrs))


def reduced(c: LossCall, rows: Array) -> Value:
    weighted = rows * c.row_weight
    if c.reduction == "none":
        return weighted
    return float(np.sum(weighted, dtype=np.float64)) / c.divisor


def _gradient(c: LossCall, out: Any, fused: bool) -> tuple[Array, Array]:
    """Losses of the rows (if fused) and the gradient."""
    spec = check(c)
    pred = c.inputs[0]
    dpred = destination(c.name, "out", out, spec_of(pred))
    if out is not None:
        check_overlap(c.name, "out", dpred, [*c.inputs, *c.aux])
    g_rows = (c.row_weight / c.divisor).astype(pred.dtype, copy=False)
    rows = np.empty(spec.shape, spec.dtype)
    outputs = [rows, dpred] if fused else [dpred]
    op = f"{c.op}_{'fused' if fused else 'backward'}"
    execute(op, [*c.inputs, g_rows, *c.aux], outputs, dict(c.attrs))
    return rows, dpred


_DOC = """{summary}: {what}.

    .. math:: {formula}

    Args:
        pred: {pred}, float32 or float64.
        target: {target}.{options}
        sample_weight: Weight of each row, ``[rows]``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.{out}

    Returns:
        {returns}

    Raises:
        TypeError: The dtypes differ or are not floating ones.
        ValueError: The shapes do not fit, or an option is out of range.
    """
_OUT = "\n        out: Array of the shape of `pred` for the gradient."


def family(
    loss: str,
    prepare: Callable[..., LossCall],
    texts: Mapping[str, str],
    options: Mapping[str, str],
) -> Loss:
    """The three functions of a loss from `prepare`, which checks and arranges the operands."""

    def both(pred: ArrayLike, target: ArrayLike, *, out: Any = None, **kwargs: Any) -> Any:
        c = prepare(loss, pred, target, **kwargs)
        rows, dpred = _gradient(c, out, fused=True)
        return reduced(c, rows), dpred

    def forward(pred: ArrayLike, target: ArrayLike, **kwargs: Any) -> Value:
        c = prepare(f"{loss}_forward", pred, target, **kwargs)
        return reduced(c, _forward(c))

    def backward(pred: ArrayLike, target: ArrayLike, *, out: Any = None, **kwargs: Any) -> Array:
        c = prepare(f"{loss}_backward", pred, target, **kwargs)
        return _gradient(c, out, fused=False)[1]

    listed = "".join(f"\n        {name}: {text}" for name, text in options.items())
    for function, name, what, returns, out in (
        (
            both,
            loss,
            "value and gradient in one pass",
            "The value and the gradient by `pred`.",
            _OUT,
        ),
        (forward, f"{loss}_forward", "the value", "The value; an array for ``'none'``.", ""),
        (backward, f"{loss}_backward", "the gradient", "The gradient by `pred`.", _OUT),
    ):
        function.__name__ = function.__qualname__ = name
        function.__doc__ = _DOC.format(**texts, what=what, returns=returns, out=out, options=listed)
    return Loss(both, forward, backward)


def elementwise(
    op: str,
    options: Mapping[str, Any],
    aux_name: str | None,
    aux_default: float | None,
    sums: bool,
) -> Callable[..., LossCall]:
    """Arranges the operands of a loss that is a mean over elements, or always their sum."""

    def prepare(
        name: str,
        pred: ArrayLike,
        target: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: str = "mean",
        **given: Any,
    ) -> LossCall:
        aux = given.pop(aux_name, aux_default) if aux_name else None
        check_options(name, given, options)
        named = {"pred": pred, "target": target}
        if aux_name and aux is not None:
            values = np.asarray(aux, dtype=np.asarray(pred).dtype)
            named[aux_name] = values
            if aux_name == "q" and not bool(np.all((values > 0) & (values < 1))):
                raise ValueError(f"{name}: q must be between 0 and 1, got {aux}")
        p, t, *rest = operands(name, **named)
        if p.ndim == 0:
            raise ValueError(f"{name}: pred must have a first axis of rows, got a scalar")
        rest = [np.atleast_1d(a) for a in rest]
        weight = row_weight(name, sample_weight, p)
        divisor = divisor_of(name, reduction, weight)
        attrs = {**options, **given, "mean": reduction != "sum" and not sums}
        if attrs.get("alpha", 0.0) is None:
            attrs["alpha"] = -1.0  # the kernel's word for no balance
        return LossCall(name, op, [p, t], rest, attrs, weight, divisor, reduction)

    return prepare


def check_options(name: str, given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    for option, value in given.items():
        if option not in known:
            raise TypeError(f"{name}: unexpected argument {option!r}")
        if option in ("delta", "eps") and not value > 0:
            raise ValueError(f"{name}: {option} must be positive, got {value}")
    if "gamma" in known:
        check_focal(name, given.get("gamma", 0.0), given.get("alpha"))


def make_loss(
    name: str,
    summary: str,
    formula: str,
    options: Mapping[str, tuple[Any, str]] | None = None,
    aux: tuple[str, str] | None = None,
    aux_default: float | None = None,
    sums: bool = False,
) -> Loss:
    """An elementwise loss; `options` are name: (default, text), `sums` says that a row always
    counts as the sum of its elements.
    """
    known = options or {}
    texts = {"summary": summary, "formula": formula, "pred": "``[rows, ...]``"}
    texts["target"] = "The same shape and dtype"
    listed = {o: f"{text} (default {default})." for o, (default, text) in known.items()}
    if aux:
        listed = {aux[0]: aux[1], **listed}
    defaults = {o: default for o, (default, _) in known.items()}
    return family(
        name, elementwise(name, defaults, aux[0] if aux else None, aux_default, sums), texts, listed
    )
