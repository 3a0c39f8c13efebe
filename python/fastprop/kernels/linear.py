"""The dense layer, forward and backward, and products of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from fastprop.graph import infer
from fastprop.graph.op import Spec
from fastprop.graph.ops_activation import INFO
from fastprop.kernels._call import Array, call, operands
from fastprop.kernels.activations import activation_attributes


def _infer_backward_data(name: str, specs: Sequence[Spec], attrs: infer.Attrs) -> Spec:
    dy, W, *rest = specs
    dtype = infer.float_dtype(name, specs)
    if len(W.shape) != 2:
        raise ValueError(f"{name}: W must have the shape [in, out], got {W.shape}")
    if len(dy.shape) < 2 or dy.shape[-1] != W.shape[1]:
        columns = dy.shape[-1] if dy.shape else 1
        raise ValueError(
            f"{name}: dy of shape {dy.shape} has {columns} columns, W gives {W.shape[1]}"
        )
    shape = (*dy.shape[:-1], W.shape[0])
    if rest and rest[0].shape != shape:
        raise ValueError(f"{name}: h must have shape {shape}, got {rest[0].shape}")
    return Spec(shape, dtype)


def _infer_bias(name: str, specs: Sequence[Spec], attrs: infer.Attrs) -> Spec:
    (dy,) = specs
    if not dy.shape:
        raise ValueError(f"{name}: dy must have the shape [..., out], got a scalar")
    return Spec(dy.shape[-1:], infer.float_dtype(name, specs))


def dense_forward(
    x: ArrayLike,
    W: ArrayLike,
    b: ArrayLike | None = None,
    activation: str = "identity",
    parameters: Sequence[float] = (),
    out: Array | None = None,
) -> Array:
    r"""The dense layer :math:`y = f(x W + b)` in one pass.

    Args:
        x: ``[..., in]``, float32 or float64; all operands share the dtype.
        W: ``[in, out]``.
        b: ``[out]``, or none.
        activation: Name of :math:`f`.
        parameters: Those of the activation, in the order of its ``_forward`` function; its defaults
            where left out.
        out: ``[..., out]`` to write to: contiguous, of the same dtype.

    Returns:
        ``[..., out]``.

    Raises:
        TypeError: The dtypes differ or are not floating ones.
        ValueError: The shapes do not fit, or there is no such activation.
    """
    name = "dense_forward"
    inputs = operands(name, x=x, W=W, **({} if b is None else {"b": b}))
    kind, p0, p1 = activation_attributes(name, activation, parameters)
    return call(name, "dense", inputs, out, attrs={"activation": kind, "p0": p0, "p1": p1})


def dense_backward_data(
    dy: ArrayLike,
    W: ArrayLike,
    h: ArrayLike | None = None,
    activation: str = "identity",
    parameters: Sequence[float] = (),
    out: Array | None = None,
) -> Array:
    r"""Derivative by the input, :math:`dx = (dy\, W^T) \odot f'(h)`.

    :math:`f` is the activation of the layer below, whose derivative is applied on the way.

    Args:
        dy: ``[..., out]``.
        W: ``[in, out]``.
        h: ``[..., in]``: output or input of the activation below, as its ``_backward`` function
            takes it; none for the identity.
        activation: Name of :math:`f`.
        parameters: Those of the activation.
        out: ``[..., in]`` to write to.

    Raises:
        TypeError: The dtypes differ or are not floating ones.
        ValueError: The shapes do not fit, or `h` is missing.
    """
    name = "dense_backward_data"
    inputs = operands(name, dy=dy, W=W, **({} if h is None else {"h": h}))
    kind, p0, p1 = activation_attributes(name, activation, parameters)
    if kind != 0 and h is None:
        wanted = "output" if INFO[kind][1] else "input"
        raise ValueError(f"{name}: the derivative of {activation} needs h, its {wanted}")
    attrs = {"activation": kind, "p0": p0, "p1": p1}
    return call(name, "dense_backward_data", inputs, out, attrs=attrs, infer=_infer_backward_data)


def dense_backward_weights(x: ArrayLike, dy: ArrayLike, out: Array | None = None) -> Array:
    r"""Derivative by the weights, :math:`dW = x^T dy`, summed over all leading axes.

    Args:
        x: ``[..., in]``.
        dy: ``[..., out]``.
        out: ``[in, out]`` to write to.

    Raises:
        TypeError: The dtypes differ or are not floating ones.
        ValueError: The shapes do not fit.
    """
    name = "dense_backward_weights"
    return call(name, "dense_backward_weights", operands(name, x=x, dy=dy), out)


def dense_backward_bias(dy: ArrayLike, out: Array | None = None) -> Array:
    """Derivative by the bias: `dy`, ``[..., out]``, summed over all axes but the last."""
    name = "dense_backward_bias"
    return call(name, "dense_backward_bias", operands(name, dy=dy), out, infer=_infer_bias)


def matmul(
    a: ArrayLike,
    b: ArrayLike,
    transpose_a: bool = False,
    transpose_b: bool = False,
    out: Array | None = None,
) -> Array:
    """Matrix product, with either operand transposed without a copy.

    Args:
        a: ``[..., m, k]``, or ``[..., k, m]`` with `transpose_a`.
        b: ``[k, n]`` or ``[..., k, n]``, or their last two axes swapped with `transpose_b`.
        transpose_a: Swap the last two axes of `a`.
        transpose_b: Swap the last two axes of `b`.
        out: ``[..., m, n]`` to write to.

    Raises:
        TypeError: The dtypes differ or are not floating ones.
        ValueError: The shapes do not fit.
    """
    attrs: dict[str, Any] = {"transpose_a": bool(transpose_a), "transpose_b": bool(transpose_b)}
    return call("matmul", "matmul", operands("matmul", a=a, b=b), out, attrs=attrs)
