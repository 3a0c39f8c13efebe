"""Arrays that several trainers share: converted and looked at once."""

from __future__ import annotations

from typing import Any

from fastprop.data import Dataset
from fastprop.losses import Loss
from fastprop.train.trainer import Trainer


class Known:
    """Arrays as a trainer needed them, and what decided about that.

    Args:
        where: Who asks; starts the messages.
        trainer: The trainer.
        data: What it made of them.
    """

    def __init__(self, where: str, trainer: Trainer, data: Dataset) -> None:
        self.arrays = data.inputs, data.targets
        self._model = type(trainer.model)
        self._loss = _plain_loss(trainer)
        self._outputs = trainer._programs.outputs(where, data.inputs)

    def fits(self, where: str, trainer: Trainer) -> bool:
        """Another trainer would make the same of them, after the same checks.

        That takes a fifth of the time of the checks, which would be half of all that is done
        before the threads can begin.

        Raises:
            ValueError: Its model does not take them.
        """
        if self._loss is None or _plain_loss(trainer) != self._loss:
            return False
        if type(trainer.model) is not self._model:  # of another number of inputs, perhaps
            return False
        return trainer._programs.outputs(where, self.arrays[0]) == self._outputs

    def again(self, trainer: Trainer) -> Dataset:
        """What the other trainer makes of them."""
        inputs, targets = self.arrays
        return Dataset(inputs, targets, signature=trainer._programs.signature(inputs, targets, ()))


def _plain_loss(trainer: Trainer) -> str | None:
    """The name of the loss, if that says all about it."""
    loss = trainer.loss
    return loss.name if type(loss) is Loss and loss.is_known and not loss.parameters else None


class Converted:
    """Arrays that several trainers share, as the first of them needed them: converted once."""

    def __init__(self) -> None:
        self._found: dict[tuple[object, ...], Known] = {}
        self._alive: list[Any] = []  # an id is only good while its object lives

    def find(self, trainer: Trainer, x: Any, y: Any) -> Known | None:
        return self._found.get(self._key(trainer, x, y))

    def add(self, trainer: Trainer, x: Any, y: Any, known: Known) -> None:
        self._found[self._key(trainer, x, y)] = known
        self._alive += [x, y]

    def _key(self, trainer: Trainer, x: Any, y: Any) -> tuple[object, ...]:
        # Targets are converted to what this loss takes, and to the outputs' dtype.
        return (
            *map(id, _parts(x)),
            *map(id, _parts(y)),
            trainer.loss.function,
            trainer._programs.dtype,
        )


def _parts(value: Any) -> tuple[Any, ...]:
    return (len(value), *value) if isinstance(value, tuple) else (value,)
