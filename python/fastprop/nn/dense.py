"""Fully connected layer."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastprop import functional as F
from fastprop.checks import positive_int
from fastprop.graph.parameter import Parameter
from fastprop.graph.tensor import Tensor
from fastprop.nn import init as initializers
from fastprop.nn.activations import PReLU
from fastprop.nn.module import Module
from fastprop.random import check_float_dtype, default_generator
from fastprop.registry import lookup, type_name

ActivationLike = str | Callable[[Tensor], Tensor] | Module | None

# Functions that drop about half of their input's variance, as ReLU does.
_RELU_FAMILY = (
    *("relu", "leakyrelu", "prelu", "elu", "celu"),
    *("gelu", "gelutanh", "silu", "mish", "hardswish"),
)

_ACTIVATIONS: dict[str, Callable[..., Tensor]] = {
    **F.ACTIVATIONS,
    "prelu": F.prelu,
    "softmax": F.softmax,
    "log_softmax": F.log_softmax,
}


class Dense(Module):
    r"""A fully connected layer: :math:`y = f(x W + b)`.

    Args:
        in_features: Columns of the input.
        out_features: Columns of the output.
        activation: :math:`f`: a name such as ``"relu"``, a function on Tensors, a Module, or None.
        bias: Add :math:`b`, which starts at 0.
        dtype: float32 or float64.
        init: How :math:`W` starts: a name of :mod:`fastprop.nn.init`, a function
            ``(shape, dtype, generator) -> array``, or ``"auto"``: He normal for the ReLU family (He
            et al. 2015), LeCun normal for selu (Klambauer et al. 2017), Xavier uniform otherwise
            (Glorot & Bengio 2010). "auto" sees only the ``activation`` given here, not a module
            that follows.

    Attributes:
        weight: Parameter ``[in_features, out_features]``.
        bias: Parameter ``[out_features]``, or None.

    Input ``[..., in_features]``, output ``[..., out_features]``.

    Raises:
        ValueError: A width below 1, more elements than can be addressed, an unknown name.
        TypeError: A width that is no integer, a dtype that is not supported.
    """

    weight: Parameter
    bias: Parameter | None
    _not_saved = ("init",)

    def __init__(
        self,
        in_features: int,
        out_features: int,
        activation: ActivationLike = None,
        bias: bool = True,
        dtype: DTypeLike = "float32",
        init: str | initializers.Initializer = "auto",
    ) -> None:
        super().__init__()
        self.in_features = positive_int("Dense", "in_features", in_features)
        self.out_features = positive_int("Dense", "out_features", out_features)
        wanted = check_float_dtype("Dense", dtype)
        shape = (self.in_features, self.out_features)
        if self.in_features * self.out_features * wanted.itemsize > sys.maxsize:
            raise ValueError(
                f"Dense: a weight of {self.in_features} x {self.out_features} {wanted} numbers is "
                "larger than this machine can address"
            )
        self.activation = _resolve_activation(activation, wanted)
        initializer = _resolve_initializer(init, activation)
        self.weight = Parameter(_initial(initializer, shape, wanted))
        self.bias = Parameter(np.zeros(self.out_features, wanted)) if bias else None

    def forward(self, x: Any) -> Tensor:
        y = F.dense(x, self.weight, self.bias)
        return y if self.activation is None else self.activation(y)

    def extra_repr(self) -> str:
        text = f"{self.in_features}, {self.out_features}"
        if self.activation is not None and not isinstance(self.activation, Module):
            text += f", activation={getattr(self.activation, '__name__', repr(self.activation))!r}"
        if self.bias is None:
            text += ", bias=False"
        if self.weight.dtype != np.float32:
            text += f", dtype={str(self.weight.dtype)!r}"
        return text


def _resolve_activation(
    activation: ActivationLike, dtype: np.dtype[Any]
) -> Callable[[Tensor], Tensor] | Module | None:
    if isinstance(activation, str):
        if activation == "prelu":
            return PReLU(dtype=dtype)
        function = lookup("Dense", "activation", activation, _ACTIVATIONS)
        return None if function is F.identity else function
    if isinstance(activation, type):
        raise TypeError(
            f"Dense: activation is the class {activation.__name__}; "
            f"make one with {activation.__name__}()"
        )
    if activation is not None and not callable(activation):
        raise TypeError(
            "Dense: activation must be a name, a function on Tensors, a Module or None, "
            f"got {type_name(activation)}"
        )
    return activation


def _resolve_initializer(
    init: str | initializers.Initializer, activation: ActivationLike
) -> initializers.Initializer:
    if isinstance(init, str):
        if init != "auto":
            known = {"auto": initializers.xavier_uniform, **initializers.INITIALIZERS}
            return lookup("Dense", "init", init, known)
        name = _activation_name(activation)
        if name == "selu":
            return initializers.lecun_normal
        if name in _RELU_FAMILY:
            return initializers.he_normal
        return initializers.xavier_uniform
    if not callable(init):
        raise TypeError(
            "Dense: init must be a name or a function (shape, dtype, generator), "
            f"got {type_name(init)}"
        )
    return init


def _activation_name(activation: ActivationLike) -> str:
    """Its name without case and underscores, whether given by name, as a function or a module."""
    if isinstance(activation, Module):
        name = type_name(activation)
    elif isinstance(activation, str):
        name = activation
    else:
        name = getattr(activation, "__name__", "")
    return name.replace("_", "").lower()


def _initial(
    initializer: initializers.Initializer, shape: tuple[int, int], dtype: np.dtype[Any]
) -> NDArray[Any]:
    values = np.asarray(initializer(shape, dtype, default_generator()))
    if values.shape != shape:
        raise ValueError(f"Dense: init gave shape {values.shape}, expected {shape}")
    if values.dtype.kind not in "fiu":
        raise TypeError(f"Dense: init gave dtype {values.dtype}, expected {dtype}")
    return values.astype(dtype, copy=False)
