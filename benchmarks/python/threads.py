"""More threads are never slower than one: fastprop's own choice of threads against one thread.

    python -m benchmarks.python.threads                  # about 2 minutes
    python -m benchmarks.python.threads --widths 16,64 --batches 1,32 --rounds 9

For every width w and batch two Trainers of the network w-w-w-10 take turns, one that chooses its
threads (``threads=None``) and one that was told to use one. Before they are timed their losses must
be the same, bit by bit. The worst ratios are printed first. Exit status 1 if losses differ.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fastprop.inspect.turns import Turns

from . import options, session
from .placement import dropped_text, remark, turns_on
from .pool import usable_cpus
from .session import Effort
from .works import Work, parse_work

_WIDTHS = [4, 8, 16, 32, 64, 128, 256, 512]
_BATCHES = [1, 4, 16, 64, 256, 1024]
_EFFORT = Effort(rounds=7, seconds=0.02)
_SHOWN = 12


@dataclass(frozen=True)
class Comparison:
    """One width and batch.

    Attributes:
        chosen_threads: What ``threads=None`` ran on in the end.
        chosen: Median of its microseconds per step.
        one: The same of one thread.
        ratio: Median over the rounds of the first divided by the second.
    """

    width: int
    batch: int
    chosen_threads: int
    chosen: float
    one: float
    ratio: float


def main(argv: list[str] | None = None) -> int:
    arguments = _options(argv)
    effort = _EFFORT.chosen(arguments)
    facts = session.facts(effort)
    found, log = [], []
    # Each point brings its share of the patience.
    share = effort.patience / len(arguments.widths) / len(arguments.batches)
    turns = turns_on(usable_cpus(), 0.0, any_placement=effort.any_placement, settle=0.0)
    try:
        for width in arguments.widths:
            for batch in arguments.batches:
                turns.patience = max(turns.patience, 0.0) + share
                found.append(compare(width, batch, effort, turns))
                session.say("; ".join(filter(None, (_line(found[-1]), remark(turns.log)))))
                log += turns.log
                turns.log = []
    except DifferentLosses as error:
        session.say(str(error))
        return 1
    print("\n".join(filter(None, (summary(found), dropped_text(log)))))
    if arguments.json:
        content = {**facts, "comparisons": [asdict(c) for c in found]}
        content["turns"] = [turn.to_dict() for turn in log]
        arguments.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 0


class DifferentLosses(Exception):
    """Numbers depend on the number of threads, which must never be."""


def compare(width: int, batch: int, effort: Effort, turns: Turns) -> Comparison:
    """Time both Trainers in turns.

    Raises:
        DifferentLosses: Their losses are not the same bits.
    """
    from .contestants.fastprop_ import first_weights, trainer

    work = parse_work(f"{width}x3-10@{batch}")
    x, y = work.data()
    trainers = [trainer(work), trainer(work, threads=1)]
    for each in trainers:
        each.model.load_state_dict(first_weights(each.model, work))

    def fit(number: int, steps: int) -> tuple[float, list[float]]:
        rows = steps * batch
        start = time.perf_counter()
        history = trainers[number].fit(x[:rows], y[:rows], batch_size=batch, verbose=False)
        return (time.perf_counter() - start) / steps, history["loss"]

    # The first call traces the step; the second one says how long a turn has to be.
    losses = [[fit(i, work.steps)[1] for _ in range(2)] for i in range(2)]
    if losses[0] != losses[1]:
        raise DifferentLosses(f"{work.title}: losses {losses[0]} and on one thread {losses[1]}")
    steps = _steps(work, fit(1, work.steps)[0], effort.seconds)
    times: list[list[float]] = [[], []]
    for number in range(effort.rounds):
        for i in (0, 1) if number % 2 else (1, 0):
            who = f"{work.title}, {'one' if i else 'chosen'}"
            times[i].append(turns.take(who, lambda i=i: 1e6 * fit(i, steps)[0]))
    program = trainers[0].program
    assert program is not None
    chosen, one = map(statistics.median, times)
    ratio = statistics.median(a / b for a, b in zip(*times, strict=True))
    return Comparison(width, batch, program.threads, chosen, one, ratio)


def _steps(work: Work, step_seconds: float, seconds: float) -> int:
    return max(2, min(work.steps, int(seconds / step_seconds)))


def _line(c: Comparison) -> str:
    return (
        f"width {c.width:4}, batch {c.batch:4}: {c.chosen:9.1f} µs on {c.chosen_threads}, "
        f"{c.one:9.1f} µs on one thread, ratio {c.ratio:.3f}"
    )


def summary(found: list[Comparison]) -> str:
    """The worst first, and how many there are beyond 5 %."""
    worst = sorted(found, key=lambda c: -c.ratio)
    slower = sum(c.ratio > 1.05 for c in found)
    best = worst[-1]
    return "\n".join(
        [
            "time with threads=None divided by time with threads=1, the worst first:",
            *map(_line, worst[:_SHOWN]),
            f"{slower} of {len(found)} more than 5 % slower than one thread; "
            f"the best ratio is {best.ratio:.3f} at width {best.width}, batch {best.batch}",
        ]
    )


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = options.parser("threads", __doc__)
    positive: Any = options.list_of(options.positive)
    parser.add_argument("--widths", type=positive, default=_WIDTHS)
    parser.add_argument("--batches", type=positive, default=_BATCHES)
    options.add_rounds(parser)
    parser.add_argument("--json", type=Path, help="write all times")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
