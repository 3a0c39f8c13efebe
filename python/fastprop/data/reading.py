"""What decides which rows come when."""

from __future__ import annotations

from typing import NamedTuple


class Reading(NamedTuple):
    """How a dataset is read.

    Attributes:
        batch: Rows of a step.
        shuffle: A new order in every epoch.
        seed: Of the order, and of what is random in transforms.
        drop_last: Leave out a last batch that would be short.
    """

    batch: int
    shuffle: bool = False
    seed: int = 0
    drop_last: bool = False
