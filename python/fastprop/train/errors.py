"""What can go wrong during training."""

from __future__ import annotations

from typing import Any


class NonFiniteError(FloatingPointError):
    """The loss became NaN or infinite during training.

    The model and the optimizer are as they were for the last finite loss: the update that broke it
    is taken back.

    Attributes:
        epoch: Epoch in which it happened, counted from 1.
        step: Step of this epoch, counted from 1.
        value: The loss of that step.
    """

    def __init__(self, message: str, epoch: int, step: int, value: float) -> None:
        super().__init__(message)
        self.epoch = epoch
        self.step = step
        self.value = value

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles take all arguments; an exception's own way is the message alone."""
        return type(self), (str(self), self.epoch, self.step, self.value), self.__dict__

    def without_traceback(self) -> NonFiniteError:
        """The same error, to be kept: the frames of a traceback hold the data and the model."""
        return NonFiniteError(str(self), self.epoch, self.step, self.value)
