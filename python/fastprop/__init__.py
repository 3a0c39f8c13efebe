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
    add,
    all,
    any,
    argmax,
    argmin,
    argsort,
    asin,
    asinh,
    atan,
    atanh,
    broadcast_to,
    cast,
    celu,
    clip,
    concatenate,
    copy,
    cos,
    cosh,
    cumsum,
    dense,
    diagonal,
    div,
    dot,
    einsum,
    elu,
    equal,
    erf,
    exp,
    expand,
    expm1,
    flip,
    gather,
    gelu,
    gelu_tanh,
    greater,
    greater_equal,
    hard_sigmoid,
    hard_swish,
    isfinite,
    isinf,
    isnan,
    leaky_relu,
    less,
    less_equal,
    log,
    log1p,
    log_softmax,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    logsumexp,
    matmul,
    max,
    maximum,
    mean,
    min,
    minimum,
    mish,
    mul,
    neg,
    norm,
    not_equal,
    one_hot,
    outer,
    pad,
    permute,
    pow,
    prelu,
    prod,
    reciprocal,
    relu,
    reshape,
    rsqrt,
    scatter_add,
    selu,
    sigmoid,
    sign,
    silu,
    sin,
    sinh,
    softmax,
    softplus,
    softsign,
    sort,
    split,
    sqrt,
    square,
    squeeze,
    stack,
    std,
    stop_gradient,
    sub,
    sum,
    take,
    tan,
    tanh,
    topk,
    transpose,
    tril,
    triu,
    unsqueeze,
    var,
    where,
)
from fastprop.graph import (
    AnomalyError,
    Parameter,
    Tensor,
    TraceError,
    checkpoint,
    custom_op,
    detect_anomaly,
    from_dlpack,
    grad,
    no_grad,
    tensor,
)
from fastprop.nn.segments import checkpoint_sequential
from fastprop.random import seed
from fastprop.saving import SavedFileError, load, save
from fastprop.tracing import compile
from fastprop.train import Callback, History, NonFiniteError, Trainer, fit_many

if TYPE_CHECKING:
    from fastprop import autograd, gradients, inspect, kernels, regularizers
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
    "NonFiniteError", "fit_many", "compile", "checkpoint", "checkpoint_sequential", "custom_op",
    "TraceError",
    # files
    "save", "load", "SavedFileError",
    # derivatives
    "grad", "no_grad", "value_and_grad", "vjp", "jvp", "jacobian", "hessian", "hvp", "gradcheck",
    "gradgradcheck", "GradcheckError", "detect_anomaly", "AnomalyError",
    # functions on Tensors
    "abs", "acos", "acosh", "add", "all", "any", "argmax", "argmin", "argsort", "asin", "asinh",
    "atan", "atanh", "broadcast_to", "cast", "celu", "clip", "concatenate", "copy", "cos", "cosh",
    "cumsum", "dense", "diagonal", "div", "dot", "einsum", "elu", "equal", "erf", "exp", "expand",
    "expm1", "flip", "gather", "gelu", "gelu_tanh", "greater", "greater_equal", "hard_sigmoid",
    "hard_swish", "isfinite", "isinf", "isnan", "leaky_relu", "less", "less_equal", "log", "log1p",
    "log_softmax", "logical_and", "logical_not", "logical_or", "logical_xor", "logsumexp",
    "matmul", "max", "maximum", "mean", "min", "minimum", "mish", "mul", "neg", "norm",
    "not_equal", "one_hot", "outer", "pad", "permute", "pow", "prelu", "prod", "reciprocal",
    "relu", "reshape", "rsqrt", "scatter_add", "selu", "sigmoid", "sign", "silu", "sin", "sinh",
    "softmax", "softplus", "softsign", "sort", "split", "sqrt", "square", "squeeze", "stack",
    "std", "stop_gradient", "sub", "sum", "take", "tan", "tanh", "topk", "transpose", "tril",
    "triu", "unsqueeze", "var", "where",
    # packages
    "autograd", "data", "functional", "gradients", "inspect", "kernels", "losses", "metrics", "nn",
    "optim", "regularizers", "train",
    # the installation
    "config", "show_config", "seed", "__version__",
]  # fmt: skip

# Packages that most programs do not touch, and what is in them, are imported when asked for.
_PACKAGES = ("autograd", "gradients", "inspect", "kernels", "regularizers")
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
    from fastprop import hints

    raise hints.missing(f"module {__name__!r} has no attribute {name!r}", name, hints.FUNCTIONS)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PACKAGES, *_DERIVATIVES})
