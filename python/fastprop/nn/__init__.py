"""Modules: layers, activations, containers, and how parameters start."""

from typing import NoReturn

from fastprop.graph.parameter import Buffer, Parameter
from fastprop.nn import init
from fastprop.nn.activations import (
    CELU,
    ELU,
    GELU,
    SELU,
    HardSigmoid,
    HardSwish,
    Identity,
    LeakyReLU,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softsign,
    Tanh,
)
from fastprop.nn.containers import ModuleList, Sequential
from fastprop.nn.dense import Dense
from fastprop.nn.dropout import AlphaDropout, Dropout, GaussianNoise
from fastprop.nn.module import Module
from fastprop.nn.normalization import BatchNorm, GroupNorm, LayerNorm, RMSNorm
from fastprop.nn.shape import Flatten
from fastprop.nn.standardize import Standardize

__all__ = [
    "Module",
    "Parameter",
    "Buffer",
    "Sequential",
    "ModuleList",
    "Dense",
    "Flatten",
    "Standardize",
    "BatchNorm",
    "LayerNorm",
    "RMSNorm",
    "GroupNorm",
    "Dropout",
    "AlphaDropout",
    "GaussianNoise",
    "Identity",
    "ReLU",
    "LeakyReLU",
    "PReLU",
    "ELU",
    "SELU",
    "CELU",
    "GELU",
    "SiLU",
    "Mish",
    "Softplus",
    "Softsign",
    "Sigmoid",
    "HardSigmoid",
    "HardSwish",
    "Tanh",
    "Softmax",
    "LogSoftmax",
    "init",
]


def __getattr__(name: str) -> NoReturn:
    from fastprop import hints

    raise hints.missing(f"module {__name__!r} has no attribute {name!r}", name, hints.MODULES)
