"""Mixup: steps on convex combinations of rows and of their targets.

Zhang et al., "mixup: Beyond empirical risk minimization", ICLR 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastprop import functional as F
from fastprop import losses
from fastprop.graph.tensor import Tensor

_LEAST, _MOST = 1e-6, 1e6


def check_mixup(where: str, alpha: Any, loss: losses.Loss | losses.MultiOutput) -> Mixup | None:
    """Mixup with this parameter of the Beta distribution; ``None`` for 0.

    Raises:
        TypeError: Not a number.
        ValueError: Out of range, or a loss whose targets cannot be mixed.
    """
    if isinstance(alpha, bool) or not isinstance(alpha, int | float | np.number):
        raise TypeError(f"{where}: mixup must be a number, got {alpha!r}")
    if alpha == 0:
        return None
    if not _LEAST <= alpha <= _MOST:
        raise ValueError(f"{where}: mixup must be 0 or from {_LEAST} to {_MOST:g}, got {alpha}")
    for part in loss.losses if isinstance(loss, losses.MultiOutput) else [loss]:
        if not part.mixes:
            raise ValueError(f"{where}: mixup does not go with the loss {part.name}")
    return Mixup(float(alpha))


def _mixed(tensor: Tensor, alpha: float) -> Tensor:
    from fastprop.graph.ops_mixup import mixup

    return mixup(tensor, alpha)


class Mixup(NamedTuple):
    """Mixes what a step reads.

    Attributes:
        alpha: Parameter of the Beta distribution.
    """

    alpha: float

    def inputs(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Inputs mixed."""
        return [_mixed(tensor, self.alpha) for tensor in tensors]

    def targets(
        self,
        loss: losses.Loss | losses.MultiOutput,
        targets: Sequence[Tensor],
        outputs: Sequence[Tensor],
    ) -> list[Tensor]:
        """Targets mixed as the inputs are; labels become distributions.

        Raises:
            ValueError: Integers that are no labels of classes.
        """
        parts = loss.losses if isinstance(loss, losses.MultiOutput) else [loss] * len(targets)
        mixed = []
        for part, target, output in zip(parts, targets, outputs, strict=False):
            if target.dtype.kind != "f":
                if not part.takes_classes:
                    raise ValueError(
                        f"mixup: the loss {part.name} has targets of {target.dtype}; give floating "
                        "numbers, such as one-hot rows"
                    )
                target = F.one_hot(target, output.shape[1], output.dtype)
            mixed.append(_mixed(target, self.alpha))
        return mixed

    def weight(self, weight: Tensor | None) -> Tensor | None:
        """Sample weights mixed as the rows are."""
        return None if weight is None else _mixed(weight, self.alpha)
