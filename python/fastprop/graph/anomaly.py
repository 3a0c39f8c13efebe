"""Where the first NaN or infinity came from: every eager op is looked at, forward and backward."""

from __future__ import annotations

import weakref
from contextvars import ContextVar, Token
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprop import _core
from fastprop.graph.op import Op
from fastprop.graph.tensor import Tensor
from fastprop.graph.user_line import user_line


class AnomalyError(FloatingPointError):
    """An op gave NaN or an infinity.

    Attributes:
        op: Its name.
        line: The user's line that called it, ``file:number in function: text``; for a backward
            pass the line that called it forward.
        backward: Whether it happened in the backward pass.
    """

    def __init__(self, message: str, op: str, line: str, backward: bool) -> None:
        super().__init__(message)
        self.op, self.line, self.backward = op, line, backward


class detect_anomaly:
    """A block in which every eager op is checked for NaN and infinities.

    The first op whose result is not finite raises :class:`AnomalyError`, which names the op, the
    line of the user's code that called it, the element and its operands; in a backward pass it
    names the forward line of the op that is being differentiated. ``Trainer.fit`` and
    ``Trainer.train_step`` say the same in the block when a loss is not finite: the step is done
    again op by op. Ops take several times as long in the block.

    Args:
        infinities: Look for infinities too, not only for NaN. A mask of ``-inf`` in front of a
            softmax is a reason to say no.

    Example:
        >>> with fp.detect_anomaly():
        ...     loss = loss_of(model(x))
        ...     loss.backward()
    """

    def __init__(self, infinities: bool = True) -> None:
        self._infinities = infinities
        self._lines: dict[int, tuple[weakref.ref[Tensor], str]] = {}
        self._tokens: list[Token[detect_anomaly | None]] = []

    def __enter__(self) -> None:
        global _blocks
        self._tokens.append(_ACTIVE.set(self))
        _blocks += 1
        if _blocks == 1:
            _core.set_observer(_observe)
            _core.set_backward_observer(_observe_backward)

    def __exit__(self, *error: object) -> None:
        global _blocks
        _ACTIVE.reset(self._tokens.pop())
        _blocks -= 1
        if _blocks == 0:
            _core.set_observer(None)
            _core.set_backward_observer(None)

    # -- what C++ calls ---

    def observe(self, op: Op, inputs: tuple[Tensor, ...], result: Tensor) -> None:
        line = user_line()
        key = id(result)
        self._lines[key] = (weakref.ref(result, lambda _: self._lines.pop(key, None)), line)
        if self._good(result):
            return
        name = _name(op, result)
        index, value = self._first(result)
        for i, x in enumerate(inputs):
            if not self._good(x):
                _, bad = self._first(x)
                raise AnomalyError(
                    f"detect_anomaly: operand {i} of {name}, {_kind(x)} of shape {x.shape}, holds "
                    f"{bad} already{self._origin(x)}; {name} was called at {line}",
                    name, line, False,
                )  # fmt: skip
        raise AnomalyError(
            f"detect_anomaly: {name} gave {value}{_at(index)}"
            f"{_operands(op, inputs, result, index)}, called at {line}",
            name, line, False,
        )  # fmt: skip

    def observe_backward(self, node: Tensor, position: int, dy: Tensor, dx: Tensor) -> None:
        if self._good(dx):
            return
        assert node.op is not None
        name = _name(node.op, node)
        known = self._lines.get(id(node))
        line = known[1] if known else "a line before the block"
        index, value = self._first(dx)
        if not self._good(dy):
            _, bad = self._first(dy)
            what = f"got {bad} as the derivative by its result, from outside of the ops"
        else:
            seen = _operands(node.op, node.inputs, dx, index, dy if hasattr(dy, "spec") else None)
            what = f"gave {value} as the derivative by its operand {position}{_at(index)}{seen}"
        raise AnomalyError(
            f"detect_anomaly: the backward pass of {name} {what}; {name} was called at {line}",
            name, line, True,
        )  # fmt: skip

    # -- details ---

    def _good(self, x: Tensor) -> bool:
        array = x._data
        if array is None or array.dtype.kind != "f":
            return True
        return bool(_core.all_finite(array)) or not (self._infinities or np.isnan(array).any())

    def _first(self, x: Tensor) -> tuple[tuple[int, ...], float]:
        """Index and value of the first element that is not as it should be."""
        array: NDArray[Any] = x.data
        bad = ~np.isfinite(array) if self._infinities else np.isnan(array)
        index = tuple(int(i) for i in np.unravel_index(int(bad.argmax()), array.shape))
        return index, float(array[index])

    def _origin(self, x: Tensor) -> str:
        known = self._lines.get(id(x))
        return f" since {known[1]}" if known else ""


_ACTIVE: ContextVar[detect_anomaly | None] = ContextVar("anomaly", default=None)
_blocks = 0


def active() -> detect_anomaly | None:
    """The innermost block that this code runs in."""
    return _ACTIVE.get()


def _observe(op: Op, inputs: tuple[Tensor, ...], result: Tensor) -> None:
    block = _ACTIVE.get()
    if block is not None:
        block.observe(op, inputs, result)


def _observe_backward(node: Tensor, position: int, dy: Tensor, dx: Tensor) -> None:
    block = _ACTIVE.get()
    if block is not None:
        block.observe_backward(node, position, dy, dx)


def _name(op: Op, result: Tensor) -> str:
    if op.name == "activation" and "kind" in result.attrs:
        return str(_core.activation_info()[result.attrs["kind"]][0])
    return op.name


def _kind(x: Tensor) -> str:
    name = getattr(x, "name", "")
    return f"{type(x).__name__} {name!r}" if name else type(x).__name__


def _at(index: tuple[int, ...]) -> str:
    return f" at [{', '.join(map(str, index))}]" if index else ""


def _operands(
    op: Op, inputs: tuple[Tensor, ...], y: Tensor, index: tuple[int, ...], dy: Tensor | None = None
) -> str:
    """What the operands of an elementwise op hold at that element; else the ranges they are in."""
    named = {f"operand {i}": x for i, x in enumerate(inputs)}
    if dy is not None:
        named["the derivative by its result"] = dy
    found = []
    for name, x in named.items():
        if op.inplace and _broadcasts(x.shape, y.shape):
            found.append(f"{name} is {float(np.broadcast_to(x.data, y.shape)[index]):.6g}")
        elif x.size:
            low, high = float(x.data.min()), float(x.data.max())
            found.append(f"{name} {x.shape} goes from {low:.6g} to {high:.6g}")
    return f", where {', '.join(found)}" if found else ""


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, to) == to
    except ValueError:
        return False
