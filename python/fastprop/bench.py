"""``fastprop bench``: training steps of multilayer perceptrons, beside what this machine allows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprop import _core, nn, optim
from fastprop import random as fprandom
from fastprop.inspect.limit import measure_limit
from fastprop.inspect.report import Limit, Report
from fastprop.inspect.report_table import align, count, microseconds, percent
from fastprop.inspect.turns import Turn, Turns, cores_text
from fastprop.train import Trainer

STANDARD = (
    ("4-64-64-1", 32),
    ("100-256-128-10", 256),
    ("784-512-512-10", 128),
    ("-".join(["128"] * 17 + ["10"]), 128),
)
"""Widths and batches that are timed where the user names none."""

_EPOCH_FLOPS = 5e9  # about a tenth of a second
_DATA_BYTES = 64 << 20
_LEAST_TURNS = 3
_TURN_SECONDS = 0.1


class BenchError(Exception):
    """Something the user can mend; the message says how."""


@dataclass(frozen=True)
class Options:
    """What every work has in common.

    Attributes:
        dtype: ``"float32"`` or ``"float64"``.
        optimizer: A name of :mod:`fastprop.optim`.
        activation: Of all layers but the last.
        loss: A name of :mod:`fastprop.losses`; ``None`` takes mean squared error for one output and
            cross-entropy for several.
        threads: Numbers of threads, one after another; ``None`` among them chooses by itself.
        seconds: How long each is timed.
        report: Also take the report of a step.
    """

    dtype: str = "float32"
    optimizer: str = "adam"
    activation: str = "relu"
    loss: str | None = None
    threads: tuple[int | None, ...] = (None,)
    seconds: float = 1.0
    report: bool = False


@dataclass(frozen=True)
class Result:
    """What one work took on one number of threads.

    Attributes:
        widths: From the inputs to the outputs.
        batch: Rows of a step.
        threads: Threads that were used.
        chosen: True if fastprop chose their number.
        steps: Steps of an epoch.
        epoch_seconds: Wall time of every timed epoch of ``Trainer.fit``.
        limit: What the machine allows.
        turns: In which it was timed, and where the cores were; the dropped ones as well.
        report: Of a step, if it was asked for.
    """

    widths: tuple[int, ...]
    batch: int
    threads: int
    chosen: bool
    steps: int
    epoch_seconds: list[float]
    limit: Limit
    turns: list[Turn] = field(repr=False)
    report: Report | None = field(default=None, repr=False)

    @property
    def step_seconds(self) -> float:
        """Median over the epochs."""
        return float(np.median(self.epoch_seconds)) / self.steps

    @property
    def title(self) -> str:
        return f"{_short(self.widths)}, batch {self.batch}"

    def to_dict(self) -> dict[str, Any]:
        step = self.step_seconds
        found: dict[str, Any] = {
            "widths": list(self.widths),
            "batch": self.batch,
            "threads": self.threads,
            "threads_chosen": self.chosen,
            "step_seconds": step,
            "flops": self.limit.flops,
            "flops_per_second": self.limit.flops / step,
            "limit_seconds": self.limit.seconds,
            "share_of_limit": self.limit.seconds / step,
            "cores": cores_text(self.turns) or None,
        }
        if self.report is not None:
            found["report"] = self.report.to_dict()
        return found


def parse_widths(text: str) -> tuple[int, ...]:
    """``"784-512-10"`` as numbers.

    Raises:
        ValueError: Not of that form, or a width below 1.
    """
    parts = text.split("-")
    if len(parts) < 2 or not all(p.isascii() and p.isdigit() and int(p) > 0 for p in parts):
        raise ValueError(f"expects widths such as 784-512-10, each at least 1, got {text!r}")
    return tuple(int(p) for p in parts)


def run(works: Sequence[tuple[tuple[int, ...], int]], options: Options) -> Iterator[Result]:
    """Time every work on every number of threads; the results come as they are found.

    Raises:
        BenchError: An unknown name among the options, a loss that does not fit the widths, or one
            that becomes infinite.
    """
    for widths, batch in works:
        for threads in options.threads:
            yield _result(widths, batch, threads, options)


def _result(widths: tuple[int, ...], batch: int, threads: int | None, options: Options) -> Result:
    try:
        nn.Dense(1, 1, options.activation)  # refuses an unknown one, also where none is needed
        return _time(widths, batch, threads, options)
    except (ValueError, TypeError, FloatingPointError) as error:
        raise BenchError(str(error)) from error
    except MemoryError:
        raise BenchError(f"{_short(widths)} does not fit into memory") from None


def _time(widths: tuple[int, ...], batch: int, threads: int | None, options: Options) -> Result:
    loss = options.loss or ("mse" if widths[-1] == 1 else "cross_entropy")
    fprandom.seed(0)
    trainer = Trainer(_model(widths, options), loss, optim.get(options.optimizer), threads=threads)
    steps = _steps(widths, batch, options.seconds)
    x, y = _data(widths, batch * steps, np.dtype(options.dtype), loss)

    def train(epochs: int) -> list[float]:
        history = trainer.fit(x, y, batch_size=batch, epochs=epochs, verbose=False)
        return list(history.seconds)

    warm = train(1)[0]  # threads are started, memory is touched, their number is tried out
    program = trainer.program
    assert program is not None
    # The limit is taken where the steps are: it depends on the cores as much as they do.
    turns = Turns(program.threads, patience=options.seconds)

    def limit() -> Limit:
        return turns.take("limit", lambda: measure_limit(program, batch, options.dtype))

    epochs = max(1, round(min(_TURN_SECONDS, options.seconds) / max(warm, 1e-6)))
    before, seconds = limit(), []
    for _ in range(max(_LEAST_TURNS, round(options.seconds / max(epochs * warm, 1e-6)))):
        seconds += turns.take("epochs", lambda: train(epochs))
    fastest = before.faster(limit())
    report = trainer.report(x, y, batch_size=batch) if options.report else None
    used = program.threads
    return Result(widths, batch, used, threads is None, steps, seconds, fastest, turns.log, report)


def _model(widths: tuple[int, ...], options: Options) -> nn.Module:
    pairs = list(pairwise(widths))
    hidden = [nn.Dense(i, o, options.activation, dtype=options.dtype) for i, o in pairs[:-1]]
    return nn.Sequential(*hidden, nn.Dense(*pairs[-1], dtype=options.dtype))


def _steps(widths: tuple[int, ...], batch: int, seconds: float) -> int:
    """Steps of an epoch: a tenth of the time or so, and not too much data."""
    flops = 6.0 * batch * sum(i * o for i, o in pairwise(widths))
    row_bytes = 8 * (widths[0] + widths[-1])
    in_time = min(4096.0, _EPOCH_FLOPS / flops) * min(1.0, seconds)
    return max(2, int(min(in_time, _DATA_BYTES / (batch * row_bytes))))


def _data(
    widths: tuple[int, ...], rows: int, dtype: np.dtype[Any], loss: str
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Rows with something to learn from, so that gradients do not fade away."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, widths[0]), dtype=np.float32).astype(dtype, copy=False)
    teacher = rng.standard_normal((widths[0], widths[-1]), dtype=np.float32)
    scores = x @ teacher.astype(dtype) / np.sqrt(widths[0], dtype=dtype)
    if loss == "cross_entropy":
        return x, scores.argmax(axis=1)
    if loss == "binary_cross_entropy":
        return x, (scores > 0).astype(dtype)
    if loss == "hinge":
        return x, np.where(scores > 0, 1, -1).astype(dtype)
    return x, np.abs(np.tanh(scores))  # no target below zero: it suits every loss


# -- printing --------------------------------------------------------------------------------------


def heading(options: Options) -> str:
    """What all lines of the table have in common."""
    config = _core.config()
    return (
        f"Training steps, {options.dtype}, {options.activation}, {options.optimizer}, on "
        f"{config['cpu']} ({config['level']}, {count(_core.available_threads(), 'thread')})"
    )


def table(results: Sequence[Result]) -> str:
    """The results as aligned lines; then the reports."""
    rows: list[Sequence[str]] = [
        ("work", "threads", "µs a step", "GFLOP/s", "limit µs", "share of the limit")
    ]
    title = ""
    for result in results:
        step = result.step_seconds
        rows.append(
            (
                "" if result.title == title else result.title,
                f"{result.threads}{' (chosen)' if result.chosen else ''}",
                microseconds(step),
                f"{result.limit.flops / step * 1e-9:,.1f}",
                microseconds(result.limit.seconds),
                percent(result.limit.seconds / step),
            )
        )
        title = result.title
    reports = [f"\n{r.title}\n{r.report}" for r in results if r.report is not None]
    return "\n".join([*align(rows, left=2), *_cores(results), *reports])


def _cores(results: Sequence[Result]) -> list[str]:
    """Where the cores were, a line for each result on several threads."""
    texts = [(r, cores_text(r.turns)) for r in results]
    rows = [(r.title, count(r.threads, "thread"), text) for r, text in texts if text]
    return ["", "cores:", *align(rows, left=3)] if rows else []


def as_json(results: Sequence[Result], options: Options) -> str:
    """Options, machine and results."""
    config = _core.config()
    machine = {key: config[key] for key in ("version", "level", "cpu", "available_threads")}
    found = {
        **machine,
        "dtype": options.dtype,
        "optimizer": options.optimizer,
        "activation": options.activation,
        "results": [result.to_dict() for result in results],
    }
    return json.dumps(found, indent=2)


def _short(widths: tuple[int, ...]) -> str:
    """``128-(128x16)-10``: runs of one width are written once."""
    hidden = widths[1:-1]
    if len(hidden) > 3 and len(set(hidden)) == 1:
        return f"{widths[0]}-({hidden[0]}x{len(hidden)})-{widths[-1]}"
    return "-".join(map(str, widths))
