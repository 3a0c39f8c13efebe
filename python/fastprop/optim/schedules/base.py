"""What all schedules share: one step or many at once, and their checks."""

from __future__ import annotations

import math
from itertools import pairwise
from operator import index
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastprop.checks import real_number
from fastprop.registry import type_name


class Schedule:
    """A learning rate as a function of the step, counted from 0 in optimizer steps.

    A schedule has no state: its rate depends on the step alone, so a run that is resumed at a step
    goes on exactly, and rates of many steps are computed in one call. It cannot be changed, and
    two of one kind with equal settings are equal.

    For a schedule of your own, write a frozen dataclass with a method ``formula(steps)`` that takes
    an int64 array of steps and gives a float64 array of the same shape::

        @dataclass(frozen=True)
        class Harmonic(Schedule):
            lr: float

            def formula(self, steps):
                return self.lr / (1.0 + steps)
    """

    def formula(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """Rates of `steps`, an array of one axis; any step from 0 on, also beyond the last one."""
        raise NotImplementedError(f"{type_name(self)}: define formula(self, steps)")

    @property
    def length(self) -> int | None:
        """Steps after which the rate stays as it is; ``None`` for a schedule without an end."""
        return None

    def rates(self, steps: ArrayLike) -> NDArray[np.float64]:
        """Learning rates of many steps at once; the same bits as one by one.

        Args:
            steps: Whole numbers from 0, of any shape.

        Returns:
            Array float64 of the same shape.

        Raises:
            TypeError: Steps that are no whole numbers.
            ValueError: A negative step; the formula gives a rate that is negative or not finite.
        """
        given = np.asarray(steps)
        if given.dtype.kind not in "iu":
            raise TypeError(f"{type_name(self)}.rates: steps must be integers, got {given.dtype}")
        flat = given.astype(np.int64).ravel()
        if flat.size and flat.min() < 0:
            raise ValueError(
                f"{type_name(self)}.rates: steps count from 0, got {flat[flat < 0][0]}"
            )
        with np.errstate(over="ignore"):  # what overflows is refused below, with its step
            found = np.asarray(self.formula(flat))
        if found.dtype.kind not in "fiu":
            raise TypeError(
                f"{type_name(self)}.formula: wanted rates, got an array of {found.dtype}"
            )
        rates = found.astype(np.float64, copy=False)
        if rates.shape != flat.shape:
            raise ValueError(
                f"{type_name(self)}.formula: wanted rates of shape {flat.shape}, got {rates.shape}"
            )
        good = (rates >= 0.0) & (rates < math.inf)
        if not good.all():
            at = int(good.argmin())
            raise ValueError(
                f"{type_name(self)}: the rate of step {flat[at]} must be a finite number, not "
                f"negative, got {rates[at]}"
            )
        return rates.reshape(given.shape)

    def __call__(self, step: int) -> float:
        """Learning rate of one step.

        Raises:
            TypeError: The step is no whole number.
            ValueError: It is negative, or its rate is negative or not finite.
        """
        try:
            at = index(step)
        except TypeError:
            raise TypeError(
                f"{type_name(self)}: step must be an integer, got {step!r}; "
                "rates(steps) takes an array"
            ) from None
        return float(self.rates(np.array([at], dtype=np.int64))[0])

    # -- settings: set once, compared, printed, saved ---

    def config(self) -> dict[str, Any]:
        """The arguments that make a schedule like this one."""
        return dict(vars(self))

    def _set(self, **settings: Any) -> None:
        self.__dict__.update(settings)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(
            f"{type_name(self)}: cannot set {name}, a schedule does not change; make another one"
        )

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type_name(self)}: cannot delete {name}, a schedule does not change")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type_name(self)}({settings})"

    # -- checks of the settings, which also bring them to one type ---

    def _number(
        self,
        name: str,
        value: Any,
        least: float = 0.0,
        most: float = math.inf,
        positive: bool = False,
    ) -> float:
        """`value` as a finite float in [least, most], above `least` if `positive`."""
        return real_number(type_name(self), name, value, least, most, above=positive, up_to=True)

    def _count(self, name: str, value: Any) -> int:
        """`value` as an int in [1, 2**53]."""
        try:
            number = index(value)
        except TypeError:
            number = None
        if number is None or isinstance(value, bool):
            raise TypeError(f"{type_name(self)}: {name} must be an integer, got {value!r}")
        if not 1 <= number <= 2**53:  # the float64 of a step is exact that far
            raise ValueError(f"{type_name(self)}: {name} must be in [1, 2**53], got {number}")
        return number

    def _milestones(self, name: str, value: Any) -> tuple[int, ...]:
        """`value` as a tuple of steps, each after the one before it."""
        try:
            items = tuple(value)
        except TypeError:
            raise TypeError(
                f"{type_name(self)}: {name} must be a list of steps, got {value!r}"
            ) from None
        steps = tuple(self._count(f"{name}[{i}]", step) for i, step in enumerate(items))
        if any(later <= earlier for earlier, later in pairwise(steps)):
            raise ValueError(f"{type_name(self)}: {name} must increase, got {list(steps)}")
        return steps

    def _choice(self, name: str, value: str, known: tuple[str, ...]) -> str:
        if value not in known:
            raise ValueError(
                f"{type_name(self)}: {name} must be one of {', '.join(map(repr, known))}, "
                f"got {value!r}"
            )
        return value
