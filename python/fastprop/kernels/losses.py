r"""Losses on NumPy arrays: value and gradient, in one pass or apart.

Each loss is three functions: ``<loss>`` gives (value, gradient), ``<loss>_forward`` the value,
``<loss>_backward`` the gradient. Row *i* has the loss :math:`\ell_i` and the weight :math:`w_i`:

- ``"mean"``: :math:`\sum_i w_i \ell_i / \sum_i w_i`, with :math:`\ell_i` the mean of the row;
- ``"sum"``: :math:`\sum_i w_i \ell_i`, with their sum;
- ``"none"``: the array :math:`w_i \ell_i`; the gradient is that of its sum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fastprop.graph.op import OPS, Spec
from fastprop.kernels._call import (
    Array,
    check_overlap,
    destination,
    execute,
    index_operand,
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


class _Call(NamedTuple):
    """One evaluation: which rows count how much, and what the kernel is given."""

    name: str
    op: str
    inputs: list[Array]
    aux: list[Array]
    attrs: Mapping[str, Any]
    row_weight: Array
    divisor: float
    reduction: str


def _row_weight(name: str, sample_weight: ArrayLike | None, pred: Array) -> Array:
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


def _divisor(name: str, reduction: str, weights: Array) -> float:
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


def _forward(c: _Call) -> Array:
    """The rows' losses, with shapes and dtypes checked."""
    spec = _check(c)
    rows = np.empty(spec.shape, spec.dtype)
    execute(c.op, [*c.inputs, *c.aux], [rows], dict(c.attrs))
    return rows


def _check(c: _Call) -> Spec:
    return OPS[c.op].infer(c.name, [spec_of(a) for a in (*c.inputs, *c.aux)], dict(c.attrs))


def _reduced(c: _Call, rows: Array) -> Value:
    weighted = rows * c.row_weight
    if c.reduction == "none":
        return weighted
    return float(np.sum(weighted, dtype=np.float64)) / c.divisor


def _gradient(c: _Call, out: Any, fused: bool) -> tuple[Array, Array]:
    """Losses of the rows (if fused) and the gradient."""
    spec = _check(c)
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


def _family(
    loss: str, prepare: Callable[..., _Call], texts: Mapping[str, str], options: Mapping[str, str]
) -> Loss:
    """The three functions of a loss from `prepare`, which checks and arranges the operands."""

    def both(pred: ArrayLike, target: ArrayLike, *, out: Any = None, **kwargs: Any) -> Any:
        c = prepare(loss, pred, target, **kwargs)
        rows, dpred = _gradient(c, out, fused=True)
        return _reduced(c, rows), dpred

    def forward(pred: ArrayLike, target: ArrayLike, **kwargs: Any) -> Value:
        c = prepare(f"{loss}_forward", pred, target, **kwargs)
        return _reduced(c, _forward(c))

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


def _elementwise(op: str, options: Mapping[str, Any], aux_name: str | None) -> Callable[..., _Call]:
    """Arranges the operands of a loss that is a mean over elements."""

    def prepare(
        name: str,
        pred: ArrayLike,
        target: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: str = "mean",
        **given: Any,
    ) -> _Call:
        aux = given.pop(aux_name, None) if aux_name else None
        _check_options(name, given, options)
        named = {"pred": pred, "target": target}
        if aux_name and aux is not None:
            named[aux_name] = np.asarray(aux, dtype=np.asarray(pred).dtype)
        p, t, *rest = operands(name, **named)
        if p.ndim == 0:
            raise ValueError(f"{name}: pred must have a first axis of rows, got a scalar")
        rest = [np.atleast_1d(a) for a in rest]
        weight = _row_weight(name, sample_weight, p)
        divisor = _divisor(name, reduction, weight)
        attrs = {**options, **given, "mean": reduction != "sum"}
        return _Call(name, op, [p, t], rest, attrs, weight, divisor, reduction)

    return prepare


def _check_options(name: str, given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    for option, value in given.items():
        if option not in known:
            raise TypeError(f"{name}: unexpected argument {option!r}")
        if option in ("delta", "eps") and not value > 0:
            raise ValueError(f"{name}: {option} must be positive, got {value}")


def _prepare_cross_entropy(
    name: str,
    pred: ArrayLike,
    target: ArrayLike,
    *,
    class_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    sample_weight: ArrayLike | None = None,
    reduction: str = "mean",
) -> _Call:
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{name}: label_smoothing must be from 0 to 1, got {label_smoothing}")
    named = {"pred": pred}
    by_label = np.asarray(target).dtype.kind in "iu"
    if not by_label:
        named["target"] = target
    p, *probabilities = operands(name, **named)
    if p.ndim != 2:
        raise ValueError(f"{name}: pred must have the shape [rows, classes], got {p.shape}")
    t = index_operand(name, "target", target) if by_label else probabilities[0]
    aux = []
    if class_weight is not None:
        aux = [np.ascontiguousarray(class_weight, dtype=p.dtype)]
    attrs = {"label_smoothing": float(label_smoothing)}
    weight = _row_weight(name, sample_weight, p)
    c = _Call(
        name,
        "cross_entropy" if by_label else "cross_entropy_probs",
        [p, t],
        aux,
        attrs,
        weight,
        1.0,
        reduction,
    )
    _check(c)
    if by_label and t.size and not (t.min() >= 0 and t.max() < p.shape[1]):
        raise ValueError(
            f"{name}: labels must be from 0 to {p.shape[1] - 1}, got {t.min()} to {t.max()}"
        )
    # With labels a row counts as much as its class weighs, as in PyTorch.
    counted = weight * aux[0][t] if by_label and aux else weight
    return c._replace(divisor=_divisor(name, reduction, counted))


def _loss(
    name: str,
    summary: str,
    formula: str,
    options: Mapping[str, tuple[Any, str]] | None = None,
    aux: tuple[str, str] | None = None,
) -> Loss:
    """An elementwise loss; `options` are name: (default, text)."""
    known = options or {}
    texts = {"summary": summary, "formula": formula, "pred": "``[rows, ...]``"}
    texts["target"] = "The same shape and dtype"
    listed = {o: f"{text} (default {default})." for o, (default, text) in known.items()}
    if aux:
        listed = {aux[0]: aux[1], **listed}
    defaults = {o: default for o, (default, _) in known.items()}
    return _family(name, _elementwise(name, defaults, aux[0] if aux else None), texts, listed)


mse, mse_forward, mse_backward = _loss("mse", "Squared error", r"\ell = (y - t)^2")
mae, mae_forward, mae_backward = _loss("mae", "Absolute error", r"\ell = |y - t|")
huber, huber_forward, huber_backward = _loss(
    "huber",
    "Huber's loss",
    r"\ell = d^2 / 2 \text{ where } |d| \le \delta, \text{ else } \delta (|d| - \delta / 2)",
    {"delta": (1.0, "Where the square turns into a line")},
)
hinge, hinge_forward, hinge_backward = _loss(
    "hinge", "Hinge loss, for targets of -1 and 1", r"\ell = \max(0, 1 - t y)"
)
poisson_nll, poisson_nll_forward, poisson_nll_backward = _loss(
    "poisson_nll",
    "Negative log-likelihood of counts",
    r"\ell = e^y - t y \text{ or } y - t \log(y + \epsilon)",
    {
        "log_input": (True, "`pred` is the logarithm of the rate"),
        "full": (False, "With Stirling's approximation of log(target!)"),
        "eps": (1e-8, "Added to the rate"),
    },
)
binary_cross_entropy, binary_cross_entropy_forward, binary_cross_entropy_backward = _loss(
    "binary_cross_entropy",
    "Binary cross-entropy of logits",
    r"\ell = w t \log(1 + e^{-y}) + (1 - t) \log(1 + e^y)",
    aux=("pos_weight", "Weight of positives: one number, or one for each index of the last axis."),
)
cross_entropy, cross_entropy_forward, cross_entropy_backward = _family(
    "cross_entropy",
    _prepare_cross_entropy,
    {
        "summary": "Cross-entropy of softmax of logits",
        "formula": r"\ell = -\sum_j q_j \log \mathrm{softmax}(y)_j, \; q_j = w_j ((1-s) t_j + s/C)",
        "pred": "``[rows, classes]``",
        "target": "Integer labels ``[rows]``, or probabilities ``[rows, classes]`` of pred's dtype",
    },
    {
        "class_weight": "Weights of the classes, ``[classes]``; with labels the mean divides by "
        "the sum of the rows' class weights.",
        "label_smoothing": "From 0 to 1 (default 0).",
    },
)


def gaussian_nll(
    pred: ArrayLike,
    target: ArrayLike,
    var: ArrayLike,
    *,
    full: bool = False,
    eps: float = 1e-6,
    sample_weight: ArrayLike | None = None,
    reduction: str = "mean",
) -> tuple[Value, Array, Array]:
    r"""Negative log-likelihood of a normal distribution: value and both gradients in one pass.

    .. math:: \ell = \tfrac12 (\log v + (y - t)^2 / v), \quad v = \max(\mathrm{var}, \epsilon)

    Args:
        pred: Means ``[rows, ...]``, float32 or float64.
        target: The same shape and dtype.
        var: Variances: the shape of `pred`, or with 1 for its last axis.
        full: With the constant ``log(2 pi) / 2``.
        eps: Least variance.
        sample_weight: Weight of each row, ``[rows]``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        The value, the gradient by `pred` and the gradient by `var`.

    Raises:
        TypeError: The dtypes differ or are not floating ones.
        ValueError: The shapes do not fit, or `eps` is not positive.
    """
    name = "gaussian_nll"
    _check_options(name, {"eps": eps}, {"eps": eps})
    p, t, v = operands(name, pred=pred, target=target, var=var)
    if p.ndim == 0 or p.shape != t.shape or v.shape not in (p.shape, (*p.shape[:-1], 1)):
        raise ValueError(f"{name}: pred {p.shape}, target {t.shape} and var {v.shape} do not fit")
    weight = _row_weight(name, sample_weight, p)
    divisor = _divisor(name, reduction, weight)
    attrs = {"mean": reduction != "sum", "full": bool(full), "eps": float(eps)}
    rows, dpred, dvar = np.empty(p.shape[:1], p.dtype), np.empty_like(p), np.empty_like(v)
    g_rows = (weight / divisor).astype(p.dtype, copy=False)
    execute("gaussian_nll_fused", [p, t, g_rows, v], [rows, dpred, dvar], attrs)
    c = _Call(name, "gaussian_nll", [p, t], [v], attrs, weight, divisor, reduction)
    return _reduced(c, rows), dpred, dvar
