"""Hyper-parameters: attributes of an optimizer that are checked whenever they are assigned."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from fastprop._arguments import hint_constructor
from fastprop.checks import check_takes, integer, positive_int, real_number
from fastprop.optim.schedules import Schedule
from fastprop.registry import lookup, type_name

LearningRate = float | Schedule | Callable[[int], float]

V = TypeVar("V")


class Hyper(Generic[V]):
    """A hyper-parameter; ``optimizer.name`` gives and takes its default for all groups."""

    name: str

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, optimizer: HasHyper, owner: type) -> V:
        if optimizer is None:
            return self  # type: ignore[unreachable]
        value: V = optimizer.defaults[self.name]
        return value

    def __set__(self, optimizer: HasHyper, value: Any) -> None:
        optimizer.change(self.name, value)

    def check(self, where: str, value: Any) -> V:
        """`value` as it is kept; `where` and the name start the message if it is refused."""
        raise NotImplementedError

    def attributes(self, value: V) -> dict[str, float]:
        """The attributes of the update op that it gives; the op takes those that it has."""
        return {}


class HasHyper:
    """Something with hyper-parameters, which may be assigned one by one.

    Attributes:
        hyper_parameters: Their names, in the order in which they are printed.
        defaults: Their values.
    """

    hyper_parameters: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        hint_constructor(cls)
        own = [name for name, value in vars(cls).items() if isinstance(value, Hyper)]
        cls.hyper_parameters = tuple(dict.fromkeys([*cls.hyper_parameters, *own]))

    def __init__(self, **hyper: Any) -> None:
        checked = self._checked(type_name(self), hyper)
        self._check_together(checked)
        self.defaults: dict[str, Any] = checked
        self._revision = 0  # of all of them, also of groups

    def _check_together(self, hyper: Mapping[str, Any]) -> None:
        """Refuse hyper-parameters that are right one by one, but not together."""

    def _others(self) -> Iterable[dict[str, Any]]:
        """What is given in place of the defaults, one dict for each group."""
        return [{}]

    @classmethod
    def _hyper(cls, name: str) -> Hyper[Any]:
        hyper: Hyper[Any] = getattr(cls, name)
        return hyper

    @classmethod
    def _checked(cls, where: str, values: Mapping[str, Any]) -> dict[str, Any]:
        known = {name: name for name in cls.hyper_parameters}
        names = [lookup(where, "hyper-parameter", name, known) for name in values]
        return {name: cls._hyper(name).check(where, values[name]) for name in names}

    def change(self, name: str, value: Any, group: dict[str, Any] | None = None) -> None:
        """Assign a default, or what a group has in its place.

        Raises:
            ValueError: No hyper-parameter of that name; a value out of its range.
            TypeError: A value of another kind.
        """
        new = self._checked(type_name(self), {name: value})
        if group is not None:
            self._check_together({**self.defaults, **group, **new})
        else:
            for own in self._others():
                self._check_together({**self.defaults, **new, **own})
        (self.defaults if group is None else group).update(new)
        self._revision += 1


class Number(Hyper[float]):
    """A finite number in [0, upper), or in (0, upper) if `positive`."""

    def __init__(self, upper: float = math.inf, *, positive: bool = False) -> None:
        self.upper = upper
        self.positive = positive

    def check(self, where: str, value: Any) -> float:
        return real_number(where, self.name, value, 0.0, self.upper, above=self.positive)

    def attributes(self, value: float) -> dict[str, float]:
        return {self.name: value}


class Pair(Hyper[tuple[float, float]]):
    """Two numbers in [0, upper); the update op has two attributes for them."""

    def __init__(self, first: str, second: str, upper: float = math.inf) -> None:
        self.parts = (first, second)
        self.upper = upper

    def check(self, where: str, value: Any) -> tuple[float, float]:
        try:
            first, second = value
        except (TypeError, ValueError):
            raise TypeError(f"{where}: {self.name} must be two numbers, got {value!r}") from None
        return (
            real_number(where, f"{self.name}[0]", first, 0.0, self.upper),
            real_number(where, f"{self.name}[1]", second, 0.0, self.upper),
        )

    def attributes(self, value: tuple[float, float]) -> dict[str, float]:
        return dict(zip(self.parts, value, strict=True))


class Count(Hyper[int]):
    """An integer of at least `least`; one that says how much memory is taken has a `size`."""

    def __init__(self, least: int = 1, *, size: bool = False) -> None:
        self.least = least
        self.size = size

    def check(self, where: str, value: Any) -> int:
        if self.size:
            return positive_int(where, self.name, value)
        return integer(where, self.name, value, self.least)


class Flag(Hyper[bool]):
    """True or False."""

    def check(self, where: str, value: Any) -> bool:
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"{where}: {self.name} must be True or False, got {value!r}")
        return bool(value)

    def attributes(self, value: bool) -> dict[str, float]:
        return {self.name: float(value)}


class Choice(Hyper[str | None]):
    """One of a few names."""

    def __init__(self, *known: str | None) -> None:
        self.known = known

    def check(self, where: str, value: Any) -> str | None:
        if value not in self.known:
            names = " or ".join(map(repr, self.known))
            raise ValueError(f"{where}: {self.name} must be {names}, got {value!r}")
        found: str | None = value
        return found


class Rate(Hyper[LearningRate]):
    """A learning rate: a number, a Schedule, or a function of the step."""

    def check(self, where: str, value: Any) -> LearningRate:
        if isinstance(value, type):
            name = value.__name__
            raise TypeError(f"{where}: {self.name} is the class {name}; write {name}(…)")
        if callable(value) and not isinstance(value, Schedule):
            check_takes(where, self.name, value, ("step",))
        return value if callable(value) else real_number(where, self.name, value)
