"""What a step is made of, told without tracing it: a key, and the arrays that it reads and writes.

Tracing, differentiating and lowering the step of a small network takes as long as hundreds of these
steps. Two steps of one key are the same instructions, on arrays that come up in the same order, so
the second one takes over the plan of the first.

That is so because the key has all that a trace can look at: the class and every attribute of every
object within reach, one by one; only what is listed in ``_UNSEEN`` is left out. And it is made only
of what the library itself defines: a class or function of the user's may depend on anything, so a
step with one has no key, and is traced.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from types import FunctionType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprop.graph.changes import Table
from fastprop.graph.parameter import Buffer, Parameter
from fastprop.graph.tensor import Tensor
from fastprop.nn import Module, Standardize
from fastprop.nn.standardize import shapes_suffice
from fastprop.optim import Optimizer
from fastprop.optim.groups import ParamGroup
from fastprop.optim.python_step import PythonOptimizer

# What no trace looks at. Of a module: with what arguments it was made, which is for config(); and
# whether it is in training mode now, as a trace sets that.
_UNSEEN_OF_MODULES = frozenset({"_made_with", "training"})
# Of an optimizer: how many steps were done, and what is worked out from all the rest.
_UNSEEN_OF_OPTIMIZERS = frozenset(
    {"_counts", "_done", "_given", "_revision", "_attributes", "_parts", "_block"}
)
_UNSEEN_OF_HYPER = frozenset({"lr"})  # a number of the step, not of its instructions


class Unknown(Exception):
    """Something whose Python may depend on anything."""


class Structure:
    """The key of a step.

    Args:
        parts: All that decides about it: objects, and plain values.

    Attributes:
        key: Equal for steps that differ in their arrays alone.
        arrays: Those, in the order in which they come up.

    Raises:
        Unknown: Something in it is not of the library, or holds numbers of its own.
    """

    def __init__(self, *parts: Any) -> None:
        self.arrays: list[NDArray[Any]] = []
        self._items: list[Any] = []
        self._numbers: dict[int, int] = {}  # of the objects that came up; all are alive meanwhile
        self._state = False  # what comes up is of an optimizer: arrays are its state
        try:
            for part in parts:
                self._add(part)
        except RecursionError:
            raise Unknown from None
        self.key: Hashable = tuple(self._items)

    def _add(self, value: Any) -> None:
        kind = type(value)
        self._items.append(kind)  # 1, 1.0 and True are equal
        if kind in _PLAIN:
            self._items.append(value)
            return
        rule = _RULES.get(kind)
        if rule is None:
            rule = _rule_of(kind)
            if rule is not _refuse:  # a class of the user's is not kept alive
                _RULES[kind] = rule
        rule(self, value)

    def _plain(self, value: Any) -> None:
        self._items.append(value)

    def _float(self, value: float) -> None:
        # 0.0 equals -0.0, and NaN not itself.
        self._items.append(value if value and value == value else repr(value))

    def _sequence(self, value: Sequence[Any]) -> None:
        self._items.append(len(value))
        for item in value:
            self._add(item)

    def _mapping(self, value: dict[Any, Any], but: frozenset[str] = frozenset()) -> None:
        items = self._items
        for name, item in value.items():
            if name in but:
                continue
            kind = type(item)
            if type(name) is not str:
                raise Unknown
            if kind in _PLAIN:
                items += (name, kind, item)
            else:
                items.append(name)
                self._add(item)
        items.append(None)  # the end

    def _function(self, value: Any) -> None:
        home = sys.modules.get(value.__module__)
        if not _of_library(value) or getattr(home, value.__name__, None) is not value:
            raise Unknown
        self._items.append(value)

    def _partial(self, value: partial[Any]) -> None:
        self._function(value.func)
        self._sequence(value.args)
        self._mapping(value.keywords)

    def _again(self, value: Any) -> bool:
        """Note which object it is; True if it came up before."""
        number = self._numbers.get(id(value))
        if number is not None:
            self._items.append(number)
            return True
        self._items.append(-1)
        self._numbers[id(value)] = len(self._numbers)
        return False

    def _tensor(self, value: Tensor) -> None:
        if self._again(value):
            return
        if value.symbolic or value.op is not None or value.hooks:
            raise Unknown
        # The numbers of a Parameter or Buffer change from step to step, so no trace looks at them.
        if type(value) is Tensor and not self._state:
            raise Unknown
        self._items.append(value.requires_grad)
        self._take(value.data)

    def _array(self, value: NDArray[Any]) -> None:
        if not self._state:
            raise Unknown
        self._take(value)

    def _take(self, array: NDArray[Any]) -> None:
        self._items += (array.shape, array.dtype)
        self.arrays.append(array)

    def _module(self, value: Module) -> None:
        if self._again(value):
            return
        self._items.append(type(value).forward)
        if isinstance(value, Standardize):
            self._items.append(value.adapted or shapes_suffice())
        self._mapping(value.__dict__, _UNSEEN_OF_MODULES)

    def _optimizer(self, value: Optimizer) -> None:
        if isinstance(value, PythonOptimizer):
            raise Unknown
        if self._again(value):
            return
        outside, self._state = self._state, True
        self._mapping(value.__dict__, _UNSEEN_OF_OPTIMIZERS | {"defaults"})
        self._mapping(value.__dict__.get("defaults", {}), _UNSEEN_OF_HYPER)
        self._items.append(tuple(value.slots))
        self._state = outside

    def _group(self, value: ParamGroup) -> None:
        if not self._again(value):
            self._mapping(value.__dict__, frozenset({"own"}))
            self._mapping(value.own, _UNSEEN_OF_HYPER)

    def _object(self, value: Any) -> None:
        if not self._again(value):
            self._mapping(value.__dict__)


_PLAIN = frozenset({type(None), bool, int, str, bytes})

Rule = Callable[[Structure, Any], None]

_RULES: dict[type, Rule] = {
    float: Structure._float,
    **dict.fromkeys((tuple, list), Structure._sequence),
    **dict.fromkeys((dict, Table), Structure._mapping),
    FunctionType: Structure._function,
    partial: Structure._partial,
    np.ndarray: Structure._array,
    **dict.fromkeys((Tensor, Parameter, Buffer), Structure._tensor),
    ParamGroup: Structure._group,
}


def _rule_of(kind: type) -> Rule:
    """How the objects of a class come into a key; each is of that very class."""
    if issubclass(kind, np.dtype):
        return Structure._plain
    if not _of_library(kind) or kind.__qualname__ != kind.__name__:
        return _refuse
    if issubclass(kind, tuple):
        return Structure._sequence
    if any(set(vars(c).get("__slots__", ())) - {"__weakref__"} for c in kind.__mro__):
        return _refuse  # it may hold what is not in its dict
    if issubclass(kind, Module):
        return Structure._module
    return Structure._optimizer if issubclass(kind, Optimizer) else Structure._object


def _refuse(structure: Structure, value: Any) -> None:
    raise Unknown


def _of_library(value: Any) -> bool:
    package, _, _ = (value.__module__ or "").partition(".")
    return package == __name__.partition(".")[0]
