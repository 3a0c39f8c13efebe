"""Frameworks that do the works. Each module is imported only inside a worker of its own."""

from __future__ import annotations

import importlib
from typing import Any, Protocol

from ..works import Work

CONTESTANTS = {
    "fastprop": ("fastprop_", "Fastprop", "fastprop"),
    "torch": ("torch_", "TorchEager", "PyTorch eager"),
    "torch-compile": ("torch_", "TorchCompiled", "torch.compile"),
    "jax-step": ("jax_", "JaxStep", "JAX, jit per step"),
    "jax-scan": ("jax_", "JaxScan", "JAX, epoch in one scan"),
}
"""Key: (module, class, what the tables call it)."""


class Contestant(Protocol):
    """What a framework must be able to do.

    Attributes:
        versions: Names and versions of what it stands on.
    """

    versions: dict[str, str]

    def __init__(self, threads: int) -> None: ...

    def prepare(self, work: Work) -> None:
        """Make data, model and optimizer, and compile what will be timed."""

    def losses(self, steps: int) -> list[float]:
        """Losses of the first `steps` batches of ``work.order(0)``, from the first weights."""

    def reset(self, epoch: int) -> None:
        """The first weights, new optimizer state, and what `epoch` needs beforehand; not timed."""

    def epoch(self, steps: int) -> int:
        """Train for about `steps` steps over shuffled rows, to the end; return the steps done."""

    def notes(self) -> dict[str, Any]:
        """What else is worth knowing about the work at hand."""

    def release(self) -> None:
        """Forget the work."""


def load(key: str) -> type[Contestant]:
    """The contestant's class.

    Raises:
        ImportError: Its framework is not installed.
    """
    module, name, _ = CONTESTANTS[key]
    loaded: type[Contestant] = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    return loaded


def label(key: str) -> str:
    return CONTESTANTS[key][2]
