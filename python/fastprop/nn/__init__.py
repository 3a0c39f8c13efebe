"""Modules: layers, activations, containers, and how parameters start."""

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
from fastprop.nn.module import Module
from fastprop.nn.shape import Flatten

__all__ = [
    "Module",
    "Parameter",
    "Buffer",
    "Sequential",
    "ModuleList",
    "Dense",
    "Flatten",
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
