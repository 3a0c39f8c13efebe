"""Functions on Tensors. They take arrays and numbers too, and run at once or are recorded."""

import sys
from typing import NoReturn

from fastprop.graph.indexing import getitem
from fastprop.graph.loss_rows import (
    binary_cross_entropy_rows,
    binary_focal_rows,
    cross_entropy_rows,
    elastic_net_rows,
    focal_rows,
    gaussian_nll_rows,
    hinge_rows,
    huber_rows,
    kl_div_rows,
    log_cosh_rows,
    mae_rows,
    mse_rows,
    poisson_nll_rows,
    quantile_rows,
)
from fastprop.graph.normalization import (
    batch_norm,
    group_norm,
    layer_norm,
    normalize,
    rms_norm,
)
from fastprop.graph.ops_activation import (
    ACTIVATIONS,
    activation,
    celu,
    elu,
    gelu,
    gelu_tanh,
    hard_sigmoid,
    hard_swish,
    identity,
    leaky_relu,
    mish,
    prelu,
    relu,
    selu,
    sigmoid,
    silu,
    softplus,
    softsign,
    tanh,
)
from fastprop.graph.ops_arrange import (
    diagonal,
    expand,
    flip,
    one_hot,
    pad,
    permute,
    split,
    squeeze,
    stack,
    tril,
    triu,
    unsqueeze,
)
from fastprop.graph.ops_data import binary_correct, gather_rows, top_k_correct
from fastprop.graph.ops_elementwise import (
    abs,
    acos,
    acosh,
    add,
    asin,
    asinh,
    atan,
    atanh,
    clip,
    copy,
    cos,
    cosh,
    div,
    equal,
    erf,
    exp,
    expm1,
    greater,
    greater_equal,
    less,
    less_equal,
    log,
    log1p,
    maximum,
    minimum,
    mul,
    neg,
    not_equal,
    pow,
    reciprocal,
    rsqrt,
    sign,
    sin,
    sinh,
    sqrt,
    square,
    sub,
    tan,
    where,
)
from fastprop.graph.ops_index import concatenate, gather, scatter_add, take
from fastprop.graph.ops_linear import dense, matmul
from fastprop.graph.ops_logic import (
    all,
    any,
    isfinite,
    isinf,
    isnan,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
)
from fastprop.graph.ops_order import argsort, cumsum, sort, topk
from fastprop.graph.ops_products import dot, einsum, outer
from fastprop.graph.ops_random import alpha_dropout, dropout, gaussian_noise
from fastprop.graph.ops_reduction import broadcast_to, max, mean, min, sum
from fastprop.graph.ops_shape import cast, reshape, stop_gradient, transpose
from fastprop.graph.ops_softmax import log_softmax, softmax
from fastprop.graph.ops_statistics import argmax, argmin, logsumexp, norm, prod, std, var
from fastprop.graph.tensor_methods import bind_functions

__all__ = [
    # elementwise
    "add", "sub", "mul", "div", "pow", "maximum", "minimum", "neg", "abs", "sign", "square",
    "reciprocal", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "sin", "cos", "tan",
    "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "erf", "copy", "clip",
    "greater", "greater_equal", "less", "less_equal", "equal", "not_equal", "where",
    # masks
    "logical_and", "logical_or", "logical_xor", "logical_not", "any", "all", "isnan", "isinf",
    "isfinite",
    # reductions and shapes
    "sum", "mean", "max", "min", "argmax", "argmin", "prod", "var", "std", "norm", "logsumexp",
    "broadcast_to", "reshape", "transpose", "cast", "stop_gradient", "permute", "squeeze",
    "unsqueeze", "expand", "flip", "pad", "stack", "split", "concatenate", "tril", "triu",
    "diagonal", "one_hot",
    # parts, indices, orders
    "getitem", "take", "gather", "scatter_add", "cumsum", "sort", "argsort", "topk",
    # linear
    "matmul", "dense", "dot", "outer", "einsum",
    # activations
    "ACTIVATIONS", "activation", "identity", "relu", "leaky_relu", "prelu", "elu", "selu", "celu",
    "gelu", "gelu_tanh", "silu", "mish", "softplus", "softsign", "sigmoid", "hard_sigmoid",
    "hard_swish", "tanh", "softmax", "log_softmax",
    # normalization, dropout
    "batch_norm", "layer_norm", "rms_norm", "group_norm", "normalize", "dropout", "alpha_dropout",
    "gaussian_noise",
    # losses by row
    "mse_rows", "mae_rows", "huber_rows", "log_cosh_rows", "quantile_rows", "hinge_rows",
    "poisson_nll_rows", "gaussian_nll_rows", "kl_div_rows", "binary_cross_entropy_rows",
    "binary_focal_rows", "cross_entropy_rows", "focal_rows", "elastic_net_rows",
    # data
    "gather_rows", "top_k_correct", "binary_correct",
]  # fmt: skip


def __getattr__(name: str) -> NoReturn:
    from fastprop import hints

    raise hints.missing(f"module {__name__!r} has no attribute {name!r}", name, hints.FUNCTIONS)


bind_functions(sys.modules[__name__])
