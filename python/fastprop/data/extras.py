"""Packages that only some readers need."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def load(where: str, module: str, extra: str) -> Any:
    """A module of an optional package.

    Args:
        where: Function that needs it; starts the message.
        module: Its name.
        extra: The extra of fastprop-nn that installs it.

    Raises:
        ImportError: It is not installed; the message says how to get it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        raise ImportError(
            f"{where} needs {package}, which is not installed: pip install 'fastprop-nn[{extra}]'"
        ) from error
