"""Optimizers: hyper-parameters, state and learning-rate schedules; the arithmetic is C++."""

from collections.abc import Callable

from fastprop.optim import schedules
from fastprop.optim.accumulate import Accumulate
from fastprop.optim.adam import Adam, AdamW
from fastprop.optim.adam_variants import Adamax, NAdam, RAdam
from fastprop.optim.adaptive import Adadelta, Adagrad, RMSprop
from fastprop.optim.average import EMA, SWA
from fastprop.optim.custom import Custom
from fastprop.optim.groups import ParamGroup
from fastprop.optim.lamb import LAMB
from fastprop.optim.lbfgs import LBFGS
from fastprop.optim.optimizer import Optimizer
from fastprop.optim.sgd import SGD
from fastprop.optim.sign import Lion, Rprop
from fastprop.registry import lookup

OPTIMIZERS: dict[str, Callable[[], Optimizer]] = {
    "sgd": SGD,
    "rmsprop": RMSprop,
    "adagrad": Adagrad,
    "adadelta": Adadelta,
    "adam": Adam,
    "adamw": AdamW,
    "adamax": Adamax,
    "nadam": NAdam,
    "radam": RAdam,
    "lion": Lion,
    "lamb": LAMB,
    "rprop": Rprop,
    "lbfgs": LBFGS,
}


def get(optimizer: str | Optimizer, where: str = "optim.get") -> Optimizer:
    """The optimizer that a name stands for, with its defaults; an Optimizer is given back.

    Raises:
        ValueError: An unknown name; the message lists the known ones and has the nearest.
        TypeError: Something else.
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, str):
        return lookup(where, "optimizer", optimizer, OPTIMIZERS)()
    raise TypeError(
        f"{where}: optimizer must be a name or an Optimizer such as optim.Adam(lr=1e-3), "
        f"got {optimizer!r}"
    )


__all__ = [
    "Optimizer",
    "ParamGroup",
    "SGD",
    "RMSprop",
    "Adagrad",
    "Adadelta",
    "Adam",
    "AdamW",
    "Adamax",
    "NAdam",
    "RAdam",
    "Lion",
    "LAMB",
    "Rprop",
    "LBFGS",
    "Custom",
    "Accumulate",
    "EMA",
    "SWA",
    "OPTIMIZERS",
    "get",
    "schedules",
]
