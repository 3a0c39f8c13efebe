"""Columns of Arrow tables as NumPy arrays."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprop.data.extras import load

Array = NDArray[Any]

_OFFERS_MISSING = (
    "missing='drop' leaves such rows out, missing=0 or missing={{{name!r}: 0}} fills in a number"
)
_OFFERS_CATEGORY = (
    "missing='drop' leaves such rows out, missing={{{name!r}: value}} puts a category there"
)
_OFFERS_LEAVING = ", columns=[…] without it leaves out the column"


class Column:
    """How one column becomes numbers.

    Args:
        where: Function that reads; starts the messages.
        name: The column's name.
        kind: Its Arrow type.
        values: What its categories are, in the order of their numbers; ``None`` for numbers.
        one_hot: Make a column of zeros and ones for each category, not class numbers.
        missing: ``"error"``, ``"drop"`` or what stands for a missing value.

    Attributes:
        dtype: Of the numbers.
        is_plain: They lie in memory as NumPy wants them, unless one is missing.

    Raises:
        TypeError: A column of this type cannot become numbers; the message says what to do.
    """

    def __init__(
        self,
        where: str,
        name: str,
        kind: Any,
        values: Sequence[Any] | None,
        *,
        one_hot: bool,
        missing: Any,
    ) -> None:
        self._pa = load(where, "pyarrow", "table")
        self._pc = load(where, "pyarrow.compute", "table")
        self._where = where
        self.name = name
        self.values = None if values is None else tuple(values)
        self.one_hot = one_hot
        self.missing = missing
        types = self._pa.types
        self.is_text = self.is_plain = False
        dictionary = types.is_dictionary(kind)
        if dictionary:
            kind = kind.value_type
        if self.values is not None:
            self.dtype = np.dtype(np.uint8 if one_hot else np.int64)
            return
        self.is_text = types.is_string(kind) or types.is_large_string(kind)
        if not self.is_text:
            self.dtype = self._dtype_of(kind)
            self.is_plain = not dictionary and (types.is_integer(kind) or types.is_floating(kind))

    def _dtype_of(self, kind: Any) -> np.dtype[Any]:
        types = self._pa.types
        if isinstance(kind, self._pa.FixedShapeTensorType) or _is_list(types, kind):
            kind = kind.value_type
        if types.is_boolean(kind) or types.is_binary(kind) or types.is_large_binary(kind):
            return np.dtype(np.uint8)
        if types.is_decimal(kind):
            return np.dtype(np.float64)
        if types.is_fixed_size_binary(kind):
            return np.dtype(np.uint8)
        if types.is_integer(kind) or types.is_floating(kind):
            dtype = np.dtype(kind.to_pandas_dtype())
            if dtype.kind in "iu" and isinstance(self.missing, float):
                return np.dtype(np.float64)
            return dtype
        if types.is_null(kind):
            return np.dtype(np.float64)
        advice = "leave it out with columns=[…]"
        if types.is_temporal(kind):
            advice = (
                "turn it into numbers first (such as seconds, or the day of the week), or " + advice
            )
        raise TypeError(
            f"{self._where}: column {self.name!r} is of type {kind}, which is no number; {advice}"
        )

    # -- missing values -------------------------------------------------------------------------

    def missing_rows(self, array: Any) -> NDArray[np.bool_] | None:
        """Which rows are null or NaN; ``None`` if there are none."""
        mask = None
        if array.null_count:
            mask = array.is_null().to_numpy(zero_copy_only=False)
        values = _values_of(self._pa, array)
        kind = values.type
        inner = None
        if self._pa.types.is_floating(kind):
            bad = self._pc.is_null(values, nan_is_null=True)
            if self._pc.any(bad, min_count=0).as_py():
                inner = bad.to_numpy(zero_copy_only=False)
        elif values is not array and values.null_count:
            inner = values.is_null().to_numpy(zero_copy_only=False)
        if inner is not None:
            if values is not array:
                inner = self._rows_of(array, inner)
            mask = inner if mask is None else mask | inner
        return mask

    def _rows_of(self, array: Any, inner: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Rows of a list column in which any value is marked."""
        lengths = self._pc.fill_null(_lengths(self._pa, self._pc, array), 0)
        ends = np.cumsum(lengths.to_numpy(zero_copy_only=False))
        total = np.concatenate([[0], np.cumsum(inner)])
        starts = ends - np.diff(np.concatenate([[0], ends]))
        return np.asarray(total[ends] > total[starts])

    def filled(self, array: Any) -> Any:
        """The column with what stands for missing values; as it is where nothing does."""
        pa, pc = self._pa, self._pc
        if self.missing in ("error", "drop") or _values_of(pa, array) is not array:
            return array
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        if isinstance(self.missing, float) and not pa.types.is_floating(array.type):
            array = array.cast(pa.float64())
        if pa.types.is_null(array.type):
            array = array.cast(pa.float64())
        if pa.types.is_floating(array.type):
            array = pc.if_else(pc.is_null(array, nan_is_null=True), None, array)
        if pa.types.is_boolean(array.type):
            array = array.cast(pa.uint8())
        return pc.fill_null(array, pa.scalar(self.missing, type=array.type))

    def refuse_missing(self, place: str, row: int) -> None:
        raise ValueError(
            f"{self._where}: {place}, row {row}, column {self.name!r}: the value is missing; "
            + (_OFFERS_MISSING if self.values is None else _OFFERS_CATEGORY).format(name=self.name)
            + (_OFFERS_LEAVING if self.one_hot else "")
        )

    # -- numbers --------------------------------------------------------------------------------

    def numbers(self, array: Any, place: str, rows: NDArray[np.int64] | range) -> Array:
        """The column as an array ``[rows]`` or ``[rows, …]``.

        Args:
            array: An Arrow array without missing values.
            place: File or table, for messages.
            rows: The rows' numbers there.

        Raises:
            ValueError: Text, an unknown category, lists of several lengths.
        """
        pa, pc = self._pa, self._pc
        types = pa.types
        if types.is_dictionary(array.type):
            array = array.dictionary_decode()
        if self.values is not None:
            return self._codes(array, place, rows)
        kind = array.type
        if types.is_string(kind) or types.is_large_string(kind):
            self.refuse_text(array, place, rows)
        if isinstance(kind, pa.FixedShapeTensorType):
            made: Array = array.to_numpy_ndarray()
            return made
        if _is_list(types, kind):
            return self._lists(array, place, rows)
        if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
            return self._bytes(array, place, rows)
        return _plain(pa, pc, array)

    def _codes(self, array: Any, place: str, rows: Any) -> Array:
        assert self.values is not None
        try:
            known = self._pa.array(self.values, type=array.type)
        except (self._pa.ArrowInvalid, self._pa.ArrowTypeError, OverflowError):
            raise TypeError(
                f"{self._where}: column {self.name!r} is of type {array.type}, its categories are "
                f"{_some(self.values)}"
            ) from None
        codes = self._pc.index_in(array, value_set=known)
        if codes.null_count:
            row = int(np.argmax(codes.is_null().to_numpy(zero_copy_only=False)))
            raise ValueError(
                f"{self._where}: {place}, row {rows[row]}, column {self.name!r}: "
                f"{array[row].as_py()!r} is not among the categories {_some(self.values)}"
            )
        numbers = codes.to_numpy(zero_copy_only=False).astype(np.int64)
        if not self.one_hot:
            return numbers
        return (numbers[:, None] == np.arange(len(self.values))).astype(np.uint8)

    def refuse_text(self, array: Any, place: str, rows: Any) -> None:
        """Name the first text that is no number."""
        number = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"
        if not len(array):
            return
        found = self._pc.match_substring_regex(array, number)
        matches = self._pc.fill_null(found, True).to_numpy(zero_copy_only=False)
        row = int(np.argmin(matches))
        text = array[row].as_py()
        numbers = 2 * matches.sum() >= len(matches)
        offers = [f"categories=[{self.name!r}] for classes"]
        if numbers:
            offers.append(f"null_values=[{text!r}] for a missing value")
        if re.fullmatch(r"\s*[-+]?\d+,\d+\s*", text):
            offers.append("decimal=',' for numbers like these")
        if self.one_hot:
            offers.append("columns=[…] without it")
        choice = offers[0] if len(offers) == 1 else f"{', '.join(offers[:-1])}, or {offers[-1]}"
        raise ValueError(
            f"{self._where}: {place}, row {rows[row]}, column {self.name!r}: {text!r} is text, not "
            f"a number; choose {choice}"
        )

    def _lists(self, array: Any, place: str, rows: Any) -> Array:
        if not self._pa.types.is_fixed_size_list(array.type):
            lengths = array.value_lengths().to_numpy(zero_copy_only=False)
            self._check_lengths(lengths, place, rows, "values")
        flat = _plain(self._pa, self._pc, array.flatten())
        return flat.reshape(len(array), -1)

    def _bytes(self, array: Any, place: str, rows: Any) -> Array:
        lengths = self._pc.binary_length(array).to_numpy(zero_copy_only=False)
        self._check_lengths(lengths, place, rows, "bytes")
        if not len(array):
            return np.empty((0, 0), np.uint8)
        # Values of one length lie behind each other, from that of the first row on.
        width, first = int(lengths[0]), array.offset * int(lengths[0])
        buffers = array.buffers()
        if not self._pa.types.is_fixed_size_binary(array.type):
            large = self._pa.types.is_large_binary(array.type)
            offsets = np.frombuffer(buffers[1], np.int64 if large else np.int32)
            first = int(offsets[array.offset])
        flat = np.zeros(0, np.uint8)
        if width:
            flat = np.frombuffer(buffers[-1], np.uint8, len(array) * width, first)
        return flat.reshape(len(array), width)

    def _check_lengths(self, lengths: Array, place: str, rows: Any, what: str) -> None:
        if len(lengths) and np.any(lengths != lengths[0]):
            row = int(np.argmax(lengths != lengths[0]))
            raise ValueError(
                f"{self._where}: {place}, row {rows[row]}, column {self.name!r} has {lengths[row]} "
                f"{what}, row {rows[0]} has {lengths[0]}"
            )


def _is_list(types: Any, kind: Any) -> bool:
    return bool(types.is_fixed_size_list(kind) or types.is_list(kind) or types.is_large_list(kind))


def _plain(pa: Any, pc: Any, array: Any) -> Array:
    types = pa.types
    if types.is_boolean(array.type):
        array = pc.cast(array, pa.uint8())
    elif types.is_decimal(array.type) or types.is_null(array.type):
        array = pc.cast(array, pa.float64())
    return np.asarray(array.to_numpy(zero_copy_only=False))


def _values_of(pa: Any, array: Any) -> Any:
    """The values inside a column of lists; else the column itself."""
    if isinstance(array.type, pa.FixedShapeTensorType):
        array = array.storage
    return array.flatten() if _is_list(pa.types, array.type) else array


def _lengths(pa: Any, pc: Any, array: Any) -> Any:
    if isinstance(array.type, pa.FixedShapeTensorType):
        array = array.storage
    return pc.list_value_length(array)


def _some(values: Sequence[Any]) -> str:
    text = ", ".join(map(repr, values[:8]))
    return f"[{text}, …]" if len(values) > 8 else f"[{text}]"
