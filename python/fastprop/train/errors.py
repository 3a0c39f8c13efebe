"""What can go wrong during training."""

from __future__ import annotations


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
