"""Optimizers by the names that users type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastprop import optim
from fastprop.optim.optimizer import Optimizer
from fastprop.registry import lookup


def _maker(kind: str) -> Callable[..., Optimizer]:
    def make(*args: Any, **options: Any) -> Optimizer:
        optimizer: Optimizer = getattr(optim, kind)(*args, **options)
        return optimizer

    make.__name__ = make.__qualname__ = kind
    return make


# Of all these a program uses one, whose module is loaded when it is made.
OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    kind.lower(): _maker(kind)
    for kind in (
        "SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "AdamW", "Adamax", "NAdam", "RAdam",
        "Lion", "LAMB", "Rprop", "LBFGS",
    )
}  # fmt: skip


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
