"""fastprop: neural networks by backpropagation, as fast as the machine allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastprop import data, functional, losses, metrics, nn, optim, train
from fastprop._version import __version__
from fastprop.config import config, show_config
from fastprop.functional import (
    abs,
    cos,
    dense,
    erf,
    exp,
    gelu,
    log,
    log_softmax,
    matmul,
    max,
    maximum,
    mean,
    min,
    minimum,
    relu,
    sigmoid,
    silu,
    sin,
    softmax,
    softplus,
    sqrt,
    sum,
    tanh,
    where,
)
from fastprop.graph import Parameter, Tensor, grad, no_grad, tensor
from fastprop.random import seed
from fastprop.train import Callback, History, NonFiniteError, Trainer

if TYPE_CHECKING:
    from fastprop import inspect, kernels

__all__ = [
    # the five words
    "Tensor", "Parameter", "tensor", "Trainer", "History", "Callback", "NonFiniteError",
    # derivatives
    "grad", "no_grad",
    # functions on Tensors
    "abs", "cos", "dense", "erf", "exp", "gelu", "log", "log_softmax", "matmul", "max", "maximum",
    "mean", "min", "minimum", "relu", "sigmoid", "silu", "sin", "softmax", "softplus", "sqrt",
    "sum", "tanh", "where",
    # packages
    "data", "functional", "inspect", "kernels", "losses", "metrics", "nn", "optim", "train",
    # the installation
    "config", "show_config", "seed", "__version__",
]  # fmt: skip

# Packages that most programs do not touch are imported when they are asked for.
_LAZY = ("inspect", "kernels")


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
