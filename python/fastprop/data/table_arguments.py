"""What users say about the columns of a table, checked before the table is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastprop.registry import type_name

Categories = Mapping[str, Sequence[Any]] | Sequence[str]


def column_names(where: str, argument: str, given: Any) -> list[str]:
    names = [] if given is None else given
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"{where}: {argument} must be names of columns, got {given!r}")
    names = list(names)
    if len(set(names)) < len(names):
        raise ValueError(f"{where}: {argument} has a name twice: {listed(names)}")
    return names


def category_values(where: str, given: Categories) -> dict[str, Sequence[Any] | None]:
    if isinstance(given, Mapping):
        for name, values in given.items():
            if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray):
                raise TypeError(
                    f"{where}: categories[{name!r}] must be a list of values, got "
                    f"{type_name(values)}"
                )
            if len(set(values)) < len(values) or not len(values):
                raise ValueError(
                    f"{where}: categories[{name!r}] must be different values, got {values}"
                )
        return {name: tuple(values) for name, values in given.items()}
    return dict.fromkeys(column_names(where, "categories", given))


def missing_values(where: str, given: Any) -> dict[Any, Any]:
    """By column; ``None`` stands for all others."""
    if isinstance(given, Mapping):
        return {
            name: _policy(where, f"missing[{name!r}]", value, True) for name, value in given.items()
        }
    return {None: _policy(where, "missing", given, False)}


def _policy(where: str, argument: str, value: Any, text: bool) -> Any:
    if isinstance(value, str):
        if value in ("error", "drop") or text:
            return value
        raise ValueError(f"{where}: {argument} must be 'error', 'drop' or a number, got {value!r}")
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
        raise TypeError(f"{where}: {argument} must be 'error', 'drop' or a number, got {value!r}")
    if not np.isfinite(value):
        raise ValueError(f"{where}: {argument} must be finite, got {value}")
    return int(value) if float(value).is_integer() else float(value)


def listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:20]))
    return f"{shown} … ({len(names)} in all)" if len(names) > 20 else shown
