"""What all datasets have in common."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from fastprop.random import check_seed

if TYPE_CHECKING:
    from fastprop.data.batch import Batch
    from fastprop.data.prefetch import Pool
    from fastprop.data.reading import Reading
    from fastprop.data.transform import Transform
    from fastprop.data.windows import Buffer, Convert, SpareBuffers, Window

Self = TypeVar("Self", bound="BaseDataset")


class RowsGone(ValueError):
    """Rows that were read, and cannot be read again."""


class BaseDataset(ABC):
    """What datasets have in common: functions that every batch goes through.

    Attributes:
        transforms: They are applied one after the other, in a thread beside the training.
    """

    transforms: tuple[Transform, ...] = ()
    _spare: SpareBuffers | None = None

    @property
    def spare(self) -> SpareBuffers:
        """Memory for windows, which one reading leaves to the next."""
        if self._spare is None:
            from fastprop.data.windows import SpareBuffers

            self._spare = SpareBuffers()
        return self._spare

    @abstractmethod
    def windows(
        self, reading: Reading, epoch: int, first_step: int, pool: Pool[Buffer], convert: Convert
    ) -> Iterator[tuple[Buffer, Window]]:
        """The steps of an epoch from `first_step` on, a window at a time."""

    def batches(
        self,
        batch_size: int,
        *,
        epoch: int = 1,
        first_step: int = 0,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
    ) -> Iterator[Batch]:
        """The batches of an epoch, for loops of your own.

        Args:
            batch_size: Rows of a batch; the last one may be short.
            epoch: Decides the order, together with `seed`.
            first_step: Where to begin.
            shuffle: Take the rows in a random order, the one that a fit with this seed takes.
            seed: Of the order, and of what is random in transforms.
            drop_last: Leave out a last batch that would be short.

        Raises:
            ValueError: A batch size below 1; a negative epoch, step or seed.
            TypeError: One of these that is no integer.
        """
        named = {"batch_size": (batch_size, 1), "epoch": (epoch, 0), "first_step": (first_step, 0)}
        for name, (value, least) in named.items():
            if isinstance(value, bool) or not hasattr(value, "__index__"):
                raise TypeError(f"batches: {name} must be an integer, got {value!r}")
            if value < least:
                raise ValueError(f"batches: {name} must be at least {least}, got {value}")
        from fastprop.data.prefetch import Pool
        from fastprop.data.reading import Reading

        reading = Reading(batch_size, shuffle, check_seed("batches", seed), drop_last)
        own = self.spare.take()
        pool = Pool([own])
        windows = self.windows(reading, epoch, first_step, pool, lambda rows, _: rows)
        try:
            for buffer, window in windows:
                for begin in range(0, len(window.order), batch_size):
                    yield window.rows.take(window.order[begin : begin + batch_size])
                pool.give_back(buffer)
        finally:
            self.spare.give_back(own)

    def map(self: Self, function: Callable[..., Any]) -> Self:
        """The same rows, with a function applied to every batch.

        Args:
            function: ``function(x, y)`` on NumPy arrays; returns ``(x, y)`` with as many rows. If
                it has an argument called ``rng``, it gets a ``numpy.random.Generator`` that
                depends on (seed, epoch, step) alone, so that a resumed run gets the same numbers.

        Returns:
            A new dataset; this one is as before.

        Raises:
            TypeError: It cannot be called so.
        """
        from fastprop.data.transform import Transform

        made = copy.copy(self)
        made.transforms = (*self.transforms, Transform(function))
        return made
