"""The arguments of ``fit``, ``evaluate`` and ``predict``: checked, and turned into Datasets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsIndex

from numpy.typing import NDArray

from fastprop import _core, losses
from fastprop.checks import integer, real_number
from fastprop.data.arrays import check_finite, to_array
from fastprop.data.base import BaseDataset
from fastprop.data.dataset import Dataset, same_length
from fastprop.optim import Optimizer
from fastprop.registry import type_name
from fastprop.train.balance import strata_of
from fastprop.train.misfit import argument_range
from fastprop.train.objective import Objective
from fastprop.train.programs import Programs

if TYPE_CHECKING:
    from fastprop.train.streams import StreamData

Array = NDArray[Any]


class _Look(NamedTuple):
    """What the latest arrays looked like that passed all checks: others like them pass as well."""

    generation: int  # of the model
    signature: int
    x: _core.Form
    y: _core.Form | None


class Reader:
    """Turns what users hold into Datasets that fit one model and one loss.

    Every check of an array is in one of two places. :class:`fastprop._core.Form` says at once
    whether an array can be used as it is; where it says no, the checks here find out why, and
    raise, convert or accept.

    Args:
        model: The module; its parameters' dtype is what inputs are converted to.
        objective: Says what targets have to be.
        programs: Says what the model's outputs look like.
    """

    def __init__(self, model: Any, objective: Objective, programs: Programs) -> None:
        self._model = model
        self._objective = objective
        self._programs = programs
        self._arguments = argument_range(model)
        self._inputs_look: _Look | None = None
        self._dataset_look: _Look | None = None

    @property
    def inputs_form(self) -> _core.Form | None:
        """What the latest input looked like, if it was one array."""
        return None if self._inputs_look is None else self._inputs_look.x

    @property
    def dataset_forms(self) -> tuple[_core.Form, _core.Form] | None:
        """Likewise of the latest inputs and targets."""
        look = self._dataset_look
        return None if look is None or look.y is None else (look.x, look.y)

    def inputs(self, where: str, x: Any, finite: bool) -> tuple[tuple[Array, ...], int]:
        """Inputs, one array for each argument of ``forward``, of the model's dtype; and their
        :meth:`Programs.signature`.
        """
        generation = self._programs.look_at_model()
        look = self._inputs_look
        if look is not None and look.generation == generation and look.x.fits(x, finite):
            return (x,), look.signature
        arrays = self._checked_inputs(where, x, finite, None)
        signature = self._programs.signature(arrays)
        self._inputs_look = None
        if len(arrays) == 1:
            form = _core.Form(arrays[0].dtype, arrays[0].shape[1:])
            self._inputs_look = _Look(generation, signature, form, None)
        return arrays, signature

    def _checked_inputs(
        self, where: str, x: Any, finite: bool, notes: list[str] | None
    ) -> tuple[Array, ...]:
        values = self._inputs_of(where, x)
        dtype = self._programs.dtype
        names = ["x"] if len(values) == 1 else [f"x[{i}]" for i in range(len(values))]
        arrays = []
        for name, value in zip(names, values, strict=True):
            array = to_array(f"{where}: {name}", value, dtype, notes)
            arrays.append(array)
        same_length(where, list(zip(names, arrays, strict=True)))
        self._programs.outputs(
            where, arrays
        )  # before a long look at the numbers: do they fit at all?
        if finite:
            for name, array, value in zip(names, arrays, values, strict=True):
                check_finite(f"{where}: {name}", array, value)
        return tuple(arrays)

    def dataset(
        self,
        where: str,
        x: Any,
        y: Any,
        sample_weight: Any,
        finite: bool,
        notes: list[str] | None = None,
    ) -> Dataset:
        """Inputs, targets and weights of one length."""
        generation = self._programs.look_at_model()
        look = self._dataset_look
        if (
            look is not None
            and look.y is not None
            and look.generation == generation
            and sample_weight is None
            and look.x.fits(x, finite)
            and look.y.fits(y, finite)
            and len(x) == len(y)
        ):
            return Dataset((x,), (y,), signature=look.signature)
        if isinstance(x, BaseDataset):
            raise TypeError(f"{where}: takes arrays, got {x!r}")
        data = self._checked_dataset(where, x, y, sample_weight, finite, notes)
        weights = [] if data.weight is None else [data.weight]
        data.signature = self._programs.signature(data.inputs, data.targets, weights)
        self._dataset_look = None
        if len(data.inputs) == len(data.targets) == 1:
            outputs = self._programs.outputs(where, data.inputs)
            form = self._objective.target_form(y, data.targets[0], outputs)
            if form is not None:
                (array,) = data.inputs
                form_x = _core.Form(array.dtype, array.shape[1:])
                self._dataset_look = _Look(generation, data.signature, form_x, form)
        return data

    def source(
        self,
        where: str,
        x: Any,
        y: Any,
        sample_weight: Any,
        finite: bool,
        notes: list[str] | None = None,
    ) -> Dataset | StreamData:
        """Like :meth:`dataset`, where `x` may be a dataset that holds inputs and targets."""
        if not isinstance(x, BaseDataset):
            return self.dataset(where, x, y, sample_weight, finite, notes)
        if y is not None or sample_weight is not None:
            raise ValueError(
                f"{where}: x is a dataset, which holds inputs, targets and weights; leave out y "
                "and sample_weight"
            )
        from fastprop.data.array_dataset import ArrayDataset
        from fastprop.train.streams import open_stream

        if isinstance(x, ArrayDataset) and not x.transforms:
            data = self.dataset(where, *x.whole, finite, notes)
            return data if x.row_numbers is None else data.take(x.row_numbers)
        return open_stream(where, x, self.dataset, self._programs, self._objective, finite, notes)

    def _checked_dataset(
        self,
        where: str,
        x: Any,
        y: Any,
        sample_weight: Any,
        finite: bool,
        notes: list[str] | None,
    ) -> Dataset:
        inputs = self._checked_inputs(where, x, finite, notes)
        outputs = self._programs.outputs(where, inputs)
        values = [] if y is None else targets_of(y)
        if not values and self._objective.loss.needs_targets:
            raise ValueError(
                f"{where}: the loss {self._objective.loss.name} needs targets, and y is None"
            )
        for i, value in enumerate(values):
            rows = rows_of(value)
            if rows is not None and rows != len(inputs[0]):
                name = "y" if len(values) == 1 else f"y[{i}]"
                raise ValueError(f"{where}: x has {len(inputs[0])} rows, {name} has {rows}")
        targets = self._objective.targets(where, values, outputs, notes) if values else ()
        names = ["y"] if len(targets) == 1 else [f"y[{i}]" for i in range(len(targets))]
        same_length(where, [("x", inputs[0]), *zip(names, targets, strict=True)])
        if finite:
            for name, array, value in zip(names, targets, values, strict=True):
                check_finite(f"{where}: {name}", array, value)
        weight = None
        if sample_weight is not None:
            given = to_array(f"{where}: sample_weight", sample_weight, keep_dtype=True)
            weight = losses.check_sample_weight(where, given, len(inputs[0]), outputs[0].dtype)
        return Dataset(inputs, targets, weight)

    def split(
        self,
        where: str,
        data: Dataset | StreamData,
        validation_data: Any,
        fraction: float,
        seed: int,
        finite: bool,
        notes: list[str],
        stratify: Any = False,
    ) -> tuple[Dataset | StreamData, Dataset | StreamData | None]:
        """The rows to train on, and those to validate with: given, or a random share of these."""
        stratified = stratify is not None and stratify is not False
        if stratified and not fraction:
            raise ValueError(f"{where}: stratify needs a validation_split")
        if validation_data is not None:
            if fraction:
                raise ValueError(f"{where}: give validation_data or validation_split, not both")
            x, y, weight = validation_parts(where, validation_data)
            return data, self.source(f"{where}: validation_data", x, y, weight, finite, notes)
        if not fraction:
            return data, None
        if not isinstance(data, Dataset):
            if stratified:
                raise ValueError(
                    f"{where}: stratify needs all rows in memory; a dataset that is read while "
                    "training is divided at random, row by row, which leaves every class its share "
                    "where it has many rows"
                )
            from fastprop.train.streams import open_stream, split_stream

            parts = split_stream(where, data.dataset, fraction, seed)
            programs, objective = self._programs, self._objective
            train, held_out = (
                open_stream(where, part, self.dataset, programs, objective, finite, None)
                for part in parts
            )
            return train, held_out
        from fastprop.data.splits import split_rows

        labels = strata_of(where, data, stratify) if stratified else None
        try:
            rows, others = split_rows(len(data), fraction, seed, labels)
        except ValueError as error:
            raise ValueError(f"{where}: validation_split {fraction}: {error}") from None
        if not len(rows) or not len(others):
            raise ValueError(
                f"{where}: validation_split {fraction} of {len(data)} rows leaves "
                f"{len(rows)} to train on and {len(others)} to validate with"
            )
        return data.take(rows), data.take(others)

    def _inputs_of(self, where: str, x: Any) -> list[Any]:
        """A tuple holds several inputs; a list does where ``forward`` takes several."""
        least, most = self._arguments
        several = isinstance(x, tuple) or (isinstance(x, list) and most != 1)
        values = list(x) if several else [x]
        if not values or len(values) < least or (most is not None and len(values) > most):
            given = "1 array" if len(values) == 1 else f"{len(values)} arrays"
            takes = (
                least
                if least == most
                else f"{least} or more"
                if most is None
                else f"{least} to {most}"
            )
            raise ValueError(
                f"{where}: x holds {given}, {type(self._model).__name__}.forward takes {takes}"
            )
        return values


def targets_of(y: Any) -> list[Any]:
    """A tuple holds several targets, and so does a list of arrays."""
    if isinstance(y, tuple):
        return list(y)
    if isinstance(y, list) and y and all(hasattr(v, "shape") and len(v.shape) > 0 for v in y):
        return list(y)
    return [y]


def rows_of(value: Any) -> int | None:
    try:
        return len(value)
    except TypeError:
        return None


def check_batch_size(
    where: str, batch_size: SupportsIndex | None, rows: int | None, drop_last: bool = False
) -> int:
    """Rows of a step, at most all of them; ``None`` means all.

    Raises:
        TypeError: Not an integer.
        ValueError: Less than 1; ``None`` where it is not known how many rows there are; more than
            there are, where short batches are left out.
    """
    if batch_size is not None:
        size = integer(where, "batch_size", batch_size, 1)
        if rows is None:
            return size
        if drop_last and size > rows:
            raise ValueError(
                f"{where}: drop_last leaves no batch, with {rows} rows and batch_size {size}"
            )
        return min(size, rows)
    if rows is None:
        raise ValueError(
            f"{where}: batch_size=None means all rows, and it is not known how many there are"
        )
    return rows


def check_full_batch(where: str, optimizer: Optimizer, batch: int, rows: int | None) -> None:
    """An optimizer that needs all rows gets them.

    Raises:
        ValueError: It gets a part of them.
    """
    if optimizer.full_batch and (rows is None or batch < rows):
        advice = "write batch_size=None"
        if rows is None:
            advice = "give arrays, or say how many there are where the dataset is made (rows=)"
        raise ValueError(
            f"{where}: {type_name(optimizer)} needs all rows in every step; batch_size is "
            f"{batch} of {'an unknown number of' if rows is None else rows} rows, {advice}"
        )


def check_steps(where: str, steps: SupportsIndex | None) -> int | None:
    """A number of steps, 1 or more, or ``None``."""
    return None if steps is None else integer(where, "steps", steps, 1)


def check_threads(where: str, threads: int | None) -> int | None:
    """A number of threads, or ``None``."""
    return None if threads is None else integer(where, "threads", threads, least=1)


def check_epochs(where: str, epochs: SupportsIndex) -> int:
    """A number of epochs, 0 or more."""
    return integer(where, "epochs", epochs)


def check_fraction(where: str, validation_split: float) -> float:
    """A share of the rows, at least 0 and below 1."""
    return real_number(where, "validation_split", validation_split, 0.0, 1.0)


def validation_parts(where: str, validation_data: Any) -> Sequence[Any]:
    """``(x, y)`` or ``(x, y, sample_weight)`` or a dataset as three parts."""
    if isinstance(validation_data, BaseDataset):
        return validation_data, None, None
    if not isinstance(validation_data, tuple | list) or len(validation_data) not in (2, 3):
        raise ValueError(
            f"{where}: validation_data must be (x, y), (x, y, sample_weight) or a dataset, got "
            f"{type(validation_data).__name__}"
            + (f" of {len(validation_data)}" if isinstance(validation_data, tuple | list) else "")
        )
    return [*validation_data, *([None] * (3 - len(validation_data)))]
