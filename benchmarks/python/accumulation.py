"""Gradients of several batches added up for one update, beside one large batch.

    python -m benchmarks.python.accumulation                         # mnist, 1,024 rows an update
    python -m benchmarks.python.accumulation --works wide --rows 4096 --batches 1,4,16

An update learns from as many rows either way: from one batch, or from so many batches of a share
each (``optim.Accumulate``). They take turns. The gradients are compared in float64, by what a step
of SGD makes of the weights: beyond one part in a million of the largest, exit status 1. The arena
is told without packed weights.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import fastprop as fp
from fastprop import nn, optim
from fastprop.inspect.turns import Turn, Turns

from . import options, session
from .placement import remark, turns_on
from .pool import choose_cpus
from .session import Effort
from .works import LEARNING_RATE, WORKS, Work

_EFFORT = Effort(rounds=9, seconds=0.1)
_UPDATES = 8  # of a turn, at most
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Split:
    """The rows of an update in so many batches.

    Attributes:
        arena: Bytes of the Program's arena without packed weights.
        update: Median milliseconds from update to update.
        ratio: Median over the rounds of that, divided by that of the first one.
        error: How far a gradient is from that of the first one, at most, in shares of the largest.
    """

    work: str
    threads: int
    batches: int
    arena: int
    update: float
    ratio: float
    error: float


def main(argv: list[str] | None = None) -> int:
    arguments = _options(argv)
    effort = _EFFORT.chosen(arguments)
    found: list[Split] = []
    log: list[Turn] = []
    for work in arguments.works:
        for threads in arguments.threads:
            turns = turns_on(
                choose_cpus(threads), effort.patience, any_placement=effort.any_placement
            )
            splits = compare(work, arguments.rows, arguments.batches, effort, turns)
            print(table(work, arguments.rows, splits), flush=True)
            if said := remark(turns.log):
                print(f"\n{said}.")
            found += splits
            log += turns.log
    if arguments.json:
        content = {**session.facts(effort), "splits": [asdict(s) for s in found]}
        content["turns"] = [turn.to_dict() for turn in log]
        arguments.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 0 if all(split.error < _TOLERANCE for split in found) else 1


def make_trainer(work: Work, rule: optim.Optimizer, batches: int, threads: int) -> fp.Trainer:
    fp.seed(0)
    layers = [
        nn.Dense(
            n_in, n_out, work.activation if i < len(work.layers) - 1 else None, dtype=work.dtype
        )
        for i, (n_in, n_out) in enumerate(work.layers)
    ]
    optimizer = optim.Accumulate(rule, batches) if batches > 1 else rule
    return fp.Trainer(nn.Sequential(*layers), work.loss, optimizer, threads=threads)


def compare(work: Work, rows: int, choices: list[int], effort: Effort, turns: Turns) -> list[Split]:
    """Time all splits in turns; the first one is what the others are compared with."""
    trainers = [
        make_trainer(work, optim.Adam(lr=LEARNING_RATE), batches, turns.threads)
        for batches in choices
    ]
    x, y = replace(work, batch=rows, steps=_UPDATES).data()

    def fit(index: int, updates: int) -> float:
        start = time.perf_counter()
        given = x[: updates * rows], y[: updates * rows]
        trainers[index].fit(*given, batch_size=rows // choices[index], verbose=False)
        return 1e3 * (time.perf_counter() - start) / updates

    for index in range(len(trainers)):
        fit(index, 1)  # traces
    updates = max(1, min(_UPDATES, int(1e3 * effort.seconds / fit(0, 1))))
    times: list[list[float]] = [[] for _ in choices]
    for number in range(effort.rounds):
        for index in range(len(choices))[:: 1 if number % 2 else -1]:
            who = f"{choices[index]} batches"
            times[index].append(turns.take(who, partial(fit, index, updates)))
    errors = _errors(work, rows, choices)
    return [
        Split(
            work.name,
            turns.threads,
            batches,
            _arena_bytes(trainer),
            statistics.median(spent),
            statistics.median(a / b for a, b in zip(spent, times[0], strict=True)),
            error,
        )
        for batches, trainer, spent, error in zip(choices, trainers, times, errors, strict=True)
    ]


def _arena_bytes(trainer: fp.Trainer) -> int:
    assert trainer.program is not None
    packed = sum(v.nbytes for item in trainer.program.prologue for v in item.outputs)
    return trainer.program.arena_bytes - packed


def _errors(work: Work, rows: int, choices: list[int]) -> list[float]:
    """How far the gradients are from those of the first choice, in float64."""
    exact = replace(work, dtype="float64", batch=rows, steps=1)
    x, y = exact.data()

    def change(batches: int) -> NDArray[np.float64]:
        trainer = make_trainer(exact, optim.SGD(lr=1.0), batches, 1)
        before = _weights(trainer)
        trainer.fit(x, y, batch_size=rows // batches, shuffle=False, verbose=False)
        return _weights(trainer) - before

    first = change(choices[0])
    return [float(np.abs(change(b) - first).max() / np.abs(first).max()) for b in choices]


def _weights(trainer: fp.Trainer) -> NDArray[np.float64]:
    return np.concatenate([p.data.ravel() for p in trainer.model.parameters()])


def table(work: Work, rows: int, splits: list[Split]) -> str:
    """One line for each split."""
    first = splits[0]
    lines = [
        f"\n### {'-'.join(map(str, work.sizes))}, {rows} rows an update, {first.threads} "
        f"thread{'s' * (first.threads > 1)}\n",
        "| batches | rows | arena MB | of the first | ms an update | of the first | differs by |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {s.batches} | {rows // s.batches} | {s.arena / 1e6:.2f} | {s.arena / first.arena:.2f} "
        f"| {s.update:.2f} | {s.ratio:.2f} | {s.error:.0e} |"
        for s in splits
    ]
    return "\n".join(lines)


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = options.parser("accumulation", __doc__)
    options.add_works(parser, [WORKS["mnist"]])
    parser.add_argument("--rows", type=options.positive, default=1024, help="rows of an update")
    positive = options.list_of(options.positive)
    parser.add_argument("--batches", type=positive, default=[1, 2, 4, 8, 16])
    options.add_threads(parser, [1, 2] if len(options.usable_cpus()) > 1 else [1])
    options.add_rounds(parser)
    parser.add_argument("--json", type=Path, help="write all times")
    arguments = parser.parse_args(argv)
    if odd := [b for b in arguments.batches if arguments.rows % b]:
        parser.error(f"--batches {odd[0]} does not divide {arguments.rows} rows")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
