"""fastprop: neural networks by backpropagation, as fast as the machine allows."""

from fastprop import data, functional, inspect, kernels, losses, metrics, nn, optim, train
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
