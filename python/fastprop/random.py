"""Random numbers that depend on (seed, purpose, step, index) alone.

Philox is counter-based (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011):
there is no hidden state that a draw advances, so a result depends neither on the number of threads
nor on what else was drawn, and a resumed run continues bit for bit.
"""

from __future__ import annotations

import math
import operator
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, Protocol, SupportsIndex

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastprop import _core

# A stream is a 32-bit number. Its upper four bits name the purpose, the rest tells apart
# what draws for that purpose (parameters, dropout layers, …).
STREAMS_PER_PURPOSE = 1 << 28
INIT = 0 * STREAMS_PER_PURPOSE
SHUFFLE = 1 * STREAMS_PER_PURPOSE
DROPOUT = 2 * STREAMS_PER_PURPOSE
NOISE = 3 * STREAMS_PER_PURPOSE
SPLIT = 4 * STREAMS_PER_PURPOSE
SAMPLE = 5 * STREAMS_PER_PURPOSE
MIXUP = 6 * STREAMS_PER_PURPOSE
BLOCKS = 8 * STREAMS_PER_PURPOSE


def check_seed(where: str, seed: SupportsIndex) -> int:
    """`seed` as an int.

    Raises:
        TypeError: It is no integer.
        ValueError: It is not in [0, 2**64).
    """
    if isinstance(seed, bool | np.bool_):
        raise TypeError(f"{where}: seed must be an integer, got {seed}")
    try:
        value = operator.index(seed)
    except TypeError:
        raise TypeError(f"{where}: seed must be an integer, got {type(seed).__name__}") from None
    if not 0 <= value < 1 << 64:
        raise ValueError(f"{where}: seed must be in [0, 2**64), got {value}")
    return value


class Generator:
    """A source of random arrays; every draw takes the next stream of the purpose "initialization".

    Args:
        seed: Integer in [0, 2**64).

    Attributes:
        seed: The seed.
        counter: Number of the next stream.

    The pair is the whole state: ``generator.state = other.state`` makes both draw the same from
    there on.
    """

    def __init__(self, seed: SupportsIndex = 0) -> None:
        self.seed = check_seed("Generator", seed)
        self.counter = 0
        self._lock = threading.Lock()

    @property
    def state(self) -> tuple[int, int]:
        """``(seed, counter)``."""
        return self.seed, self.counter

    @state.setter
    def state(self, value: tuple[int, int]) -> None:
        seed, counter = value
        seed = check_seed("Generator.state", seed)
        counter = operator.index(counter)
        if not 0 <= counter <= STREAMS_PER_PURPOSE:
            raise ValueError(
                f"Generator.state: counter must be in [0, {STREAMS_PER_PURPOSE}], got {counter}"
            )
        with self._lock:
            self.seed, self.counter = seed, counter

    def uniform(
        self, shape: Sequence[int], lo: float = 0.0, hi: float = 1.0, dtype: DTypeLike = "float32"
    ) -> NDArray[Any]:
        r"""Uniform numbers on :math:`[lo, hi)`.

        Args:
            shape: Shape of the result.
            lo: Lower end.
            hi: Upper end.
            dtype: float32 (24 random bits a number) or float64 (53).
        """
        return self._draw("random_uniform", shape, dtype, lo=lo, hi=hi)

    def normal(
        self,
        shape: Sequence[int],
        mean: float = 0.0,
        std: float = 1.0,
        dtype: DTypeLike = "float32",
    ) -> NDArray[Any]:
        r"""Normal numbers :math:`\mathcal N(mean, std^2)`, by Box and Muller's method (1958).

        Args:
            shape: Shape of the result.
            mean: Mean.
            std: Standard deviation.
            dtype: float32 or float64.
        """
        return self._draw("random_normal", shape, dtype, mean=mean, std=std)

    def __repr__(self) -> str:
        return f"Generator(seed={self.seed}, counter={self.counter})"

    def next_stream(self) -> tuple[int, int]:
        """Seed and number of a stream that no other draw of this generator has."""
        with self._lock:
            if self.counter >= STREAMS_PER_PURPOSE:
                raise RuntimeError(
                    f"Generator: all {STREAMS_PER_PURPOSE} streams of seed {self.seed} are used "
                    "up; take another seed"
                )
            stream = INIT + self.counter
            self.counter += 1
            return self.seed, stream

    def _draw(
        self, op: str, shape: Sequence[int], dtype: DTypeLike, **parameters: float
    ) -> NDArray[Any]:
        for name, value in parameters.items():
            if not math.isfinite(value):
                raise ValueError(f"{op}: {name} must be finite, got {value}")
        out = np.empty(tuple(shape), check_float_dtype(op, dtype))
        seed, stream = self.next_stream()
        fill(out, op, seed, stream, 0, **parameters)
        return out


def fill(
    out: NDArray[Any], op: str, seed: int, stream: int, step: int, **parameters: float
) -> None:
    """Fill an array with the random numbers of (seed, stream, step).

    Args:
        out: float32 or float64.
        op: ``"random_uniform"`` with parameters `lo` and `hi`, or ``"random_normal"`` with `mean`
            and `std`.
        seed: 64 bits.
        stream: What for, one of this module's constants or a number after it.
        step: Which of the stream's arrays.
        **parameters: Of the distribution.
    """
    if out.size:
        attrs = {
            "seed_lo": seed & 0xFFFFFFFF,
            "seed_hi": seed >> 32,
            "stream": stream,
            "step": step,
            **parameters,
        }
        code, names = _op_info(op)
        _core.execute(code, [], [out], [float(attrs[name]) for name in names])


_op_info = cache(_core.op_info)
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def check_float_dtype(where: str, dtype: DTypeLike) -> np.dtype[Any]:
    """`dtype` as float32 or float64.

    Raises:
        TypeError: It is anything else.
    """
    try:
        wanted = np.dtype(dtype)
    except TypeError:
        raise TypeError(f"{where}: dtype must be float32 or float64, got {dtype!r}") from None
    if dtype is None or wanted not in _FLOATS:
        raise TypeError(f"{where}: dtype must be float32 or float64, got {dtype!r}")
    return wanted


class BoundedGenerator(Generator):
    """Draws no more than `most` numbers at once.

    Raises:
        ValueError: At a draw of more.
    """

    def __init__(self, most: int) -> None:
        super().__init__(0)
        self._most = most

    def _draw(
        self, op: str, shape: Sequence[int], dtype: DTypeLike, **parameters: float
    ) -> NDArray[Any]:
        if math.prod(shape) > self._most:
            raise ValueError(f"{op}: shape {tuple(shape)} is larger than the {self._most} allowed")
        return super()._draw(op, shape, dtype, **parameters)


_default = Generator(0)
_instead: ContextVar[Generator | None] = ContextVar("_instead", default=None)


def default_generator() -> Generator:
    """The generator that modules draw their initial parameters from."""
    return _instead.get() or _default


@contextmanager
def drawing_from(generator: Generator) -> Iterator[None]:
    """Inside the block (and in this thread) `generator` is the default one."""
    token = _instead.set(generator)
    try:
        yield
    finally:
        _instead.reset(token)


class Step:
    """The random numbers of one step of a Program, for eager ops that do the same one by one.

    Args:
        seed: Of the run.
        number: Of the step.

    Attributes:
        streams: How many calls have drawn so far.
    """

    __slots__ = ("number", "seed", "streams")

    def __init__(self, seed: int, number: int) -> None:
        self.seed, self.number, self.streams = seed, number, 0

    def next_stream(self) -> int:
        """What a trace gives the next call that draws."""
        self.streams += 1
        return self.streams - 1


_step: ContextVar[Step | None] = ContextVar("_step", default=None)

current_step: Callable[[], Step | None] = _step.get


@contextmanager
def drawing_as(step: Step) -> Iterator[None]:
    """Inside the block dropout, noise and mixup draw what a Program draws in that step."""
    token = _step.set(step)
    try:
        yield
    finally:
        _step.reset(token)


class Counting(Protocol):
    """Something whose random numbers depend on how often it was called."""

    calls: int


_counting: weakref.WeakSet[Counting] = weakref.WeakSet()


def counts_calls(function: Counting) -> None:
    """Let repetitions of a computation set the count of this function back."""
    _counting.add(function)


def call_counts() -> list[tuple[Counting, int]]:
    """Where those functions are."""
    return [(function, function.calls) for function in _counting]


def seed(value: SupportsIndex) -> None:
    """Start the default generator anew, so that the next model gets the same initial parameters.

    Without a call the seed is 0.

    Raises:
        TypeError: `value` is no integer.
        ValueError: `value` is not in [0, 2**64).
    """
    default_generator().state = (check_seed("seed", value), 0)
