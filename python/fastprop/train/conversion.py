"""Batches of a stream as a step of a Program takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastprop import losses
from fastprop.data import Dataset, check_finite, to_array
from fastprop.data.batch import Batch, same_rows

if TYPE_CHECKING:
    from fastprop.graph.op import Spec
    from fastprop.train.objective import Objective

Array = NDArray[Any]


class Conversion:
    """Gives rows the form that they have in a Program, with the checks of data in memory.

    Args:
        where: Who reads; starts the messages.
        objective: Says what targets have to be.
        outputs: What the model gives.
        head: Some rows before they were converted.
        form: The same rows after it.
        finite: Look for NaN and infinity.
    """

    def __init__(
        self,
        where: str,
        objective: Objective,
        outputs: list[Spec],
        head: Batch,
        form: Dataset,
        finite: bool,
    ) -> None:
        self._where = where
        self._objective = objective
        self._outputs = outputs
        self._names = [name for name, _ in head.named]
        self._shapes = [a.shape[1:] for a in head.arrays]
        self._form = form
        self._finite = finite

    def __call__(self, batch: Batch, place: str) -> Batch:
        """The converted rows; errors name `place`, which is where they are from."""
        try:
            return self._converted(batch)
        except (ValueError, TypeError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{error} (counted in {place})") from error

    def _converted(self, batch: Batch) -> Batch:
        self._check_form(batch)
        inputs = batch.x if isinstance(batch.x, tuple) else (batch.x,)
        names = self._names[: len(inputs)]
        x = tuple(
            self._floats(name, value, like.dtype)
            for name, value, like in zip(names, inputs, self._form.inputs, strict=True)
        )
        if not self._form.targets and self._form.weight is None:
            return Batch(x)
        y = self._targets(batch.y) if self._form.targets else None
        weight = None
        if self._form.weight is not None:
            weight = self._weights(batch.sample_weight, len(x[0]))
        return Batch(x, y, weight)

    def _check_form(self, batch: Batch) -> None:
        names = [name for name, _ in batch.named]
        if names != self._names:
            raise ValueError(
                f"{self._where}: got {', '.join(names)}; the first rows had "
                f"{', '.join(self._names)}"
            )
        same_rows(self._where, batch)
        for (name, array), shape in zip(batch.named, self._shapes, strict=True):
            if array.shape[1:] != shape:
                raise ValueError(
                    f"{self._where}: {name} has rows of shape {array.shape[1:]}, the first ones "
                    f"had {shape}"
                )

    def _floats(self, name: str, value: Any, dtype: np.dtype[Any]) -> Array:
        array = to_array(f"{self._where}: {name}", value, keep_dtype=True)
        with np.errstate(over="ignore", invalid="ignore"):  # the finite check says what overflowed
            made = np.ascontiguousarray(array, dtype=dtype)
        if self._finite and array.dtype.kind == "f":  # all integers are finite as floats
            check_finite(f"{self._where}: {name}", made, array)
        return made

    def _weights(self, weight: Array, rows: int) -> Array:
        dtype = self._outputs[0].dtype
        if not weight.any():  # weights are zero for all of a piece, hardly for all there is
            return np.zeros(rows, dtype)
        return losses.check_sample_weight(self._where, weight, rows, dtype)

    def _targets(self, y: Any) -> tuple[Array, ...]:
        values = []
        for value, like in zip(
            y if isinstance(y, tuple) else (y,), self._form.targets, strict=True
        ):
            if value.dtype.kind in "iub" or like.dtype.kind == value.dtype.kind:
                with np.errstate(over="ignore", invalid="ignore"):
                    values.append(value.astype(like.dtype, copy=False))
            else:  # let the loss say what it thinks of it
                values.append(value)
        targets = self._objective.targets(self._where, values, self._outputs, None)
        if self._finite:
            for i, (target, value) in enumerate(zip(targets, values, strict=True)):
                name = "y" if len(targets) == 1 else f"y[{i}]"
                check_finite(f"{self._where}: {name}", target, value)
        return tuple(targets)
