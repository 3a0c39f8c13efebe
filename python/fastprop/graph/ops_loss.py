"""Losses, one number a row; what reduces rows to one number is in :mod:`fastprop.losses`.

Each loss is an op, its gradient another one, so that a Program can fuse the two. The derivative of
the gradient comes from the loss's slope, written once more in ops: to all orders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from fastprop.graph import infer
from fastprop.graph.autodiff import grad
from fastprop.graph.op import Op, Spec, Vjp, apply, grad_mode, is_grad_enabled, register
from fastprop.graph.ops_activation import sigmoid, softplus, tanh
from fastprop.graph.ops_data import infer_labels, undifferentiable
from fastprop.graph.ops_elementwise import abs as absolute
from fastprop.graph.ops_elementwise import equal, exp, expm1, less, log, maximum, pow, sign, where
from fastprop.graph.ops_reduction import sum as reduce_sum
from fastprop.graph.ops_shape import alias, cast, reshape
from fastprop.graph.ops_softmax import log_softmax, softmax
from fastprop.graph.tensor import Tensor

Attrs = infer.Attrs
Slope = Callable[..., Tensor]
_LINEAR_NEVER = 1e30  # threshold of softplus: the loss is exact far out, too


# -- Operands ------------------------------------------------------------------------------------


def infer_rows(name: str, specs: Sequence[Spec], attrs: Attrs) -> Spec:
    """pred [rows, ...], target of that shape (and a weight of elements) → [rows]."""
    pred, target, *aux = specs
    dtype = infer.float_dtype(name, specs)
    if not pred.shape:
        raise ValueError(f"{name}: pred must have a first axis of rows, got a scalar")
    if pred.shape != target.shape:
        raise ValueError(f"{name}: pred has shape {pred.shape}, target has {target.shape}")
    if pred.batched != target.batched:
        raise ValueError(f"{name}: only one of pred and target varies with the batch")
    columns = pred.shape[-1:] if len(pred.shape) > 1 else (1,)
    what = "q" if name.startswith("quantile") else "pos_weight"
    for each in aux:
        if each.batched or each.shape not in ((1,), columns):
            raise ValueError(
                f"{name}: {what} must have 1 element or {columns[0]}, got shape {each.shape}"
            )
    return Spec(pred.shape[:1], dtype, pred.batched)


def infer_class_rows(name: str, specs: Sequence[Spec], attrs: Attrs) -> Spec:
    """pred [rows, classes], labels int64 [rows] (and class weights) → [rows]."""
    pred, target, *aux = specs
    infer_class_weight(name, pred, aux)
    return infer_labels(name, pred, target)


def infer_probability_rows(name: str, specs: Sequence[Spec], attrs: Attrs) -> Spec:
    """pred [rows, classes], target of that shape (and class weights) → [rows]."""
    pred, target, *aux = specs
    infer_class_weight(name, pred, aux)
    if len(pred.shape) != 2:
        raise ValueError(f"{name}: expects logits [rows, classes], got shape {pred.shape}")
    return infer_rows(name, [pred, target], attrs)


def infer_class_weight(name: str, pred: Spec, aux: Sequence[Spec]) -> None:
    if len(pred.shape) == 2 and pred.shape[1] == 0:
        raise ValueError(f"{name}: there are no classes in logits of shape {pred.shape}")
    for weight in aux:
        infer.float_dtype(name, [pred, weight])
        if weight.shape != pred.shape[-1:] or weight.batched:
            raise ValueError(
                f"{name}: class_weight must have shape {pred.shape[-1:]}, got {weight.shape}"
            )


def infer_backward(infer_loss: Callable[..., Spec]) -> Callable[..., Spec]:
    """From a loss's operands with `g_rows` after the target → the shape of pred."""

    def infer_gradient(name: str, specs: Sequence[Spec], attrs: Attrs) -> Spec:
        pred, target, g_rows, *aux = specs
        rows = infer_loss(name, [pred, target, *aux], attrs)
        if g_rows != rows:
            raise ValueError(
                f"{name}: g_rows must be {rows.dtype} of shape {rows.shape}, "
                f"got {g_rows.dtype} of shape {g_rows.shape}"
            )
        return pred

    return infer_gradient


# -- Derivatives of gradients --------------------------------------------------------------------


def _column(g_rows: Tensor, pred: Tensor) -> Tensor:
    return reshape(g_rows, (*g_rows.shape, *[1] * (pred.ndim - 1)))


def _scale(pred: Tensor, attrs: Attrs) -> float:
    """What an element counts in the loss of its row."""
    return 1.0 / max(1, int(np.prod(pred.shape[1:]))) if attrs.get("mean") else 1.0


def _own(x: Tensor) -> Tensor:
    """`x` as a Tensor of its own that a derivative can be taken by."""
    own = alias(x)
    own._requires_grad = x.dtype.kind == "f"
    return own


def _gradient_vjp(slope: Slope, position: int) -> Vjp:
    """Rule of ``<loss>_backward``: differentiates <c, g slope(pred, target)> by one operand."""

    def rule(c: Tensor, dpred: Tensor, *inputs: Tensor) -> Tensor | None:
        record = is_grad_enabled()
        with grad_mode(True):
            pred, target, g_rows, *aux = operands = [_own(x) for x in inputs]
            weight = _column(g_rows, pred) * _scale(pred, dpred.attrs)
            total = reduce_sum(_own(c) * weight * slope(dpred.attrs, pred, target, *aux))
        return grad(total, operands[position], create_graph=record, allow_unused=True)

    return rule


def register_loss(
    name: str,
    infer_loss: Callable[..., Spec],
    slope: Slope,
    target_slope: Slope | Literal["negative"] | None,
    aux: str = "weight",
) -> Op:
    """The op of a loss and that of its gradient.

    Args:
        name: Name of the loss; its gradient is ``<name>_backward``.
        infer_loss: Shape inference of the loss.
        slope: ``slope(attrs, pred, target, *aux)``, d(element of the loss)/d(pred), in ops.
        target_slope: The same by the target; "negative" where it is minus that by pred, ``None``
            for labels, which have none.
        aux: Name of the third operand, for messages.
    """
    gradient = register(
        f"{name}_backward",
        infer_backward(infer_loss),
        _gradient_vjp(slope, 0),
        None if target_slope is None else _gradient_vjp(slope, 1),
        _gradient_vjp(slope, 2),
        undifferentiable(name, aux),
        rowwise=(0, 1, 2),
    )

    def pred_vjp(dy: Tensor, rows: Tensor, pred: Tensor, target: Tensor, *aux: Tensor) -> Tensor:
        return apply(gradient, pred, target, dy, *aux, **rows.attrs)

    def negative_vjp(dy: Tensor, rows: Tensor, *inputs: Tensor) -> Tensor:
        return -pred_vjp(dy, rows, *inputs)

    def target_vjp(dy: Tensor, rows: Tensor, pred: Tensor, *rest: Tensor) -> Tensor:
        assert callable(target_slope)
        return _column(dy, pred) * (
            _scale(pred, rows.attrs) * target_slope(rows.attrs, pred, *rest)
        )

    by_target = negative_vjp if target_slope == "negative" else target_vjp if target_slope else None
    return register(
        name, infer_loss, pred_vjp, by_target, undifferentiable(name, aux), rowwise=(0, 1)
    )


# -- The losses: d(element)/d(pred), d(element)/d(target) ----------------------------------------


def _huber_slope(a: Attrs, p: Tensor, t: Tensor) -> Tensor:
    d = p - t
    return where(less(absolute(d), a["delta"]), d, a["delta"] * sign(d))


def _quantile_slope(a: Attrs, p: Tensor, t: Tensor, q: Tensor) -> Tensor:
    d = p - t
    return less(0, d) * (1 - q) - less(d, 0) * q


def _kl_slope(a: Attrs, p: Tensor, t: Tensor) -> Tensor:
    return -exp(t) if a["log_target"] else -t


def _kl_target_slope(a: Attrs, p: Tensor, t: Tensor) -> Tensor:
    return exp(t) * (t - p + 1) if a["log_target"] else log(t) - p + 1


def _poisson_slope(a: Attrs, p: Tensor, t: Tensor) -> Tensor:
    return exp(p) - t if a["log_input"] else 1 - t / (p + a["eps"])


def _poisson_target_slope(a: Attrs, p: Tensor, t: Tensor) -> Tensor:
    d = -p if a["log_input"] else -log(p + a["eps"])
    if not a["full"]:
        return d
    large = where(t > 1, t, 1.0)
    return d + where(t > 1, log(large) + 0.5 / large, 0.0)


def _bce_slope(a: Attrs, p: Tensor, t: Tensor, *pos_weight: Tensor) -> Tensor:
    on = t * pos_weight[0] if pos_weight else t
    return (1 - t) * sigmoid(p) - on * sigmoid(-p)


def _bce_target_slope(a: Attrs, p: Tensor, t: Tensor, *pos_weight: Tensor) -> Tensor:
    if not pos_weight:  # softplus(-p) - softplus(p)
        return -p
    return softplus(-p, 1.0, _LINEAR_NEVER) * pos_weight[0] - softplus(p, 1.0, _LINEAR_NEVER)


def _focal_slope(a: Attrs, p: Tensor, t: Tensor) -> Tensor:
    def of_positives(x: Tensor) -> Tensor:  # minus the slope of sigmoid(-x)^gamma softplus(-x)
        wrong = exp(-a["gamma"] * softplus(x, 1.0, _LINEAR_NEVER))
        near = a["gamma"] * sigmoid(x) * softplus(-x, 1.0, _LINEAR_NEVER)
        return wrong * (sigmoid(-x) + near)

    on, off = _focal_weights(a)
    return off * (1 - t) * of_positives(-p) - on * t * of_positives(p)


def _focal_target_slope(a: Attrs, p: Tensor, t: Tensor) -> Tensor:
    above, below = softplus(p, 1.0, _LINEAR_NEVER), softplus(-p, 1.0, _LINEAR_NEVER)
    on, off = _focal_weights(a)
    return on * exp(-a["gamma"] * above) * below - off * exp(-a["gamma"] * below) * above


def _focal_weights(a: Attrs) -> tuple[float, float]:
    return (1.0, 1.0) if a["alpha"] < 0 else (a["alpha"], 1 - a["alpha"])


def _focal_label_slope(a: Attrs, p: Tensor, labels: Tensor, *class_weight: Tensor) -> Tensor:
    hit, gamma = _one_hot(labels, p), a["gamma"]
    c = -reduce_sum(hit * log_softmax(p), -1, keepdims=True)
    wrong = maximum(-expm1(-c), float(np.finfo(p.dtype).tiny))
    slope = pow(wrong, gamma) + gamma * c * pow(wrong, gamma - 1) * exp(-c)
    if class_weight:
        slope = slope * reduce_sum(hit * class_weight[0], -1, keepdims=True)
    return slope * (softmax(p) - hit)


def _one_hot(labels: Tensor, p: Tensor) -> Tensor:
    column = reshape(cast(labels, p.dtype), (*labels.shape, 1))
    return equal(column, np.arange(p.shape[-1], dtype=p.dtype))


def _target_weights(a: Attrs, p: Tensor, target: Tensor, *class_weight: Tensor) -> Tensor:
    """q_j = w_j ((1 - s) target_j + s / classes)."""
    s, classes = a["label_smoothing"], p.shape[-1]
    q = (1 - s) * target + s / classes
    return q * class_weight[0] if class_weight else q


def _probability_slope(a: Attrs, p: Tensor, target: Tensor, *class_weight: Tensor) -> Tensor:
    q = _target_weights(a, p, target, *class_weight)
    return softmax(p) * reduce_sum(q, -1, keepdims=True) - q


def _label_slope(a: Attrs, p: Tensor, labels: Tensor, *class_weight: Tensor) -> Tensor:
    return _probability_slope(a, p, _one_hot(labels, p), *class_weight)


def _probability_target_slope(a: Attrs, p: Tensor, t: Tensor, *class_weight: Tensor) -> Tensor:
    d = (a["label_smoothing"] - 1) * log_softmax(p)
    return d * class_weight[0] if class_weight else d


def _hinge_active(p: Tensor, t: Tensor) -> Tensor:
    return less(t * p, 1)


MSE = register_loss("mse", infer_rows, lambda a, p, t: 2 * (p - t), "negative")
MAE = register_loss("mae", infer_rows, lambda a, p, t: sign(p - t), "negative")
HUBER = register_loss("huber", infer_rows, _huber_slope, "negative")
LOG_COSH = register_loss("log_cosh", infer_rows, lambda a, p, t: tanh(p - t), "negative")
QUANTILE = register_loss("quantile", infer_rows, _quantile_slope, "negative", "q")
ELASTIC_NET = register_loss(
    "elastic_net", infer_rows, lambda a, w, _: a["l1"] * sign(w) + 2 * a["l2"] * w, None
)
HINGE = register_loss(
    "hinge",
    infer_rows,
    lambda a, p, t: -t * _hinge_active(p, t),
    lambda a, p, t: -p * _hinge_active(p, t),
)
POISSON = register_loss("poisson_nll", infer_rows, _poisson_slope, _poisson_target_slope)
KL_DIV = register_loss("kl_div", infer_rows, _kl_slope, _kl_target_slope)
BCE = register_loss("binary_cross_entropy", infer_rows, _bce_slope, _bce_target_slope, "pos_weight")
BINARY_FOCAL = register_loss("binary_focal", infer_rows, _focal_slope, _focal_target_slope)
FOCAL = register_loss("focal", infer_class_rows, _focal_label_slope, None, "class_weight")
CROSS_ENTROPY = register_loss("cross_entropy", infer_class_rows, _label_slope, None, "class_weight")
CROSS_ENTROPY_PROBS = register_loss(
    "cross_entropy_probs",
    infer_probability_rows,
    _probability_slope,
    _probability_target_slope,
    "class_weight",
)
