"""fastprop: neural networks by backpropagation, as fast as the machine allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastprop import data, functional, losses, metrics, nn, optim, train
from fastprop._version import __version__
from fastprop.config import config, show_config
from fastprop.functional import (
    abs,
    acos,
    acosh,
    argmax,
    argmin,
    argsort,
    asin,
    asinh,
    atan,
    atanh,
    clip,
    concatenate,
    cos,
    cosh,
    cumsum,
    dense,
    dot,
    einsum,
    erf,
    exp,
    expm1,
    flip,
    gather,
    gelu,
    log,
    log1p,
    log_softmax,
    logsumexp,
    matmul,
    max,
    maximum,
    mean,
    min,
    minimum,
    norm,
    one_hot,
    outer,
    pad,
    permute,
    prod,
    relu,
    reshape,
    scatter_add,
    sigmoid,
    silu,
    sin,
    sinh,
    softmax,
    softplus,
    sort,
    split,
    sqrt,
    square,
    stack,
    std,
    sum,
    take,
    tan,
    tanh,
    topk,
    transpose,
    tril,
    triu,
    var,
    where,
)
from fastprop.graph import (
    Parameter,
    Tensor,
    TraceError,
    checkpoint,
    from_dlpack,
    grad,
    no_grad,
    tensor,
)
from fastprop.random import seed
from fastprop.tracing import compile
from fastprop.train import Callback, History, NonFiniteError, Trainer

if TYPE_CHECKING:
    from fastprop import autograd, inspect, kernels, regularizers
    from fastprop.autograd import (
        GradcheckError,
        gradcheck,
        gradgradcheck,
        hessian,
        hvp,
        jacobian,
        jvp,
        value_and_grad,
        vjp,
    )

__all__ = [
    # the five words
    "Tensor", "Parameter", "tensor", "from_dlpack", "Trainer", "History", "Callback",
    "NonFiniteError", "compile", "checkpoint", "TraceError",
    # derivatives
    "grad", "no_grad", "value_and_grad", "vjp", "jvp", "jacobian", "hessian", "hvp", "gradcheck",
    "gradgradcheck", "GradcheckError",
    # functions on Tensors
    "abs", "acos", "acosh", "argmax", "argmin", "argsort", "asin", "asinh", "atan", "atanh",
    "clip", "concatenate", "cos", "cosh", "cumsum", "dense", "dot", "einsum", "erf", "exp",
    "expm1", "flip", "gather", "gelu", "log", "log1p", "log_softmax", "logsumexp", "matmul",
    "max", "maximum", "mean", "min", "minimum", "norm", "one_hot", "outer", "pad", "permute",
    "prod", "relu", "reshape", "scatter_add", "sigmoid", "silu", "sin", "sinh", "softmax",
    "softplus", "sort", "split", "sqrt", "square", "stack", "std", "sum", "take", "tan", "tanh",
    "topk", "transpose", "tril", "triu", "var", "where",
    # packages
    "autograd", "data", "functional", "inspect", "kernels", "losses", "metrics", "nn", "optim",
    "regularizers", "train",
    # the installation
    "config", "show_config", "seed", "__version__",
]  # fmt: skip

# Packages that most programs do not touch, and what is in them, are imported when asked for.
_PACKAGES = ("autograd", "inspect", "kernels", "regularizers")
_DERIVATIVES = (
    "value_and_grad", "vjp", "jvp", "jacobian", "hessian", "hvp", "gradcheck", "gradgradcheck",
    "GradcheckError",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _PACKAGES:
        return import_module(f"{__name__}.{name}")
    if name in _DERIVATIVES:
        return getattr(import_module(f"{__name__}.autograd"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PACKAGES, *_DERIVATIVES})
