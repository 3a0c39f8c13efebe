"""Step time over width, batch, depth and threads, and how fast it grows.

    python -m benchmarks.python.sweep                       # all four: about 4 minutes on 2 cores
    python -m benchmarks.python.sweep width --threads 1
    python -m benchmarks.python.sweep batch depth --markdown sweep.md --png sweep.png

Cost must grow no faster than the work. For each contestant a line is fitted through log(time) over
log(operations) at the larger half of the points; its slope is printed. 1 is linear; less means that
fixed costs still matter.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import options, plots, report, session
from .contestants import label
from .pool import usable_cpus
from .race import Result
from .session import Effort
from .works import parse_work

_EFFORT = Effort(rounds=5, seconds=0.04, patience=40.0)


@dataclass(frozen=True)
class Sweep:
    """A family of works.

    Attributes:
        title: What varies and what does not.
        pattern: The works, as :func:`parse_work` reads them, with ``{}`` for what varies.
        values: Empty for the number of threads.
    """

    title: str
    pattern: str
    values: tuple[int, ...] = ()


SWEEPS = {
    "width": Sweep(
        "width w of w-w-w-w, batch 128",
        "{0}-{0}-{0}-{0}@128",
        (4, 8, 16, 32, 64, 128, 256, 512, 1024),
    ),
    "batch": Sweep("batch of 128-128-128-10", "128-128-128-10@{}", (1, 4, 16, 64, 256, 1024, 4096)),
    "depth": Sweep("layers of width 64, batch 64", "64x{}-10@64", (1, 2, 4, 8, 16, 32)),
    "threads": Sweep("threads for 784-512-512-10, batch 128", "784-512-512-10@128"),
}

Points = list[tuple[int, Result]]


def main(argv: list[str] | None = None) -> int:
    chosen = _options(argv)
    effort = _EFFORT.chosen(chosen)
    facts = session.facts(effort)
    swept = {name: _measure(name, chosen, effort, facts) for name in chosen.sweeps}
    text = "\n\n".join(section(name, points) for name, points in swept.items())
    results = [r for points in swept.values() for _, r in points]
    text += "\n\n" + report.caption(facts, results)
    print(text)
    if chosen.json:
        session.write_json(chosen.json, facts, results)
    if chosen.markdown:
        report.write_markdown(chosen.markdown, text)
    if chosen.png:
        panels = {
            f"{SWEEPS[name].title}{_threads_text(name, points)}": points
            for name, points in swept.items()
        }
        plots.curves(chosen.png, facts, panels)
    return 1 if session.failed(results, chosen.contestants) else 0


def _measure(
    name: str, chosen: argparse.Namespace, effort: Effort, facts: dict[str, Any]
) -> Points:
    sweep = SWEEPS[name]
    if name == "threads":
        work, counts = parse_work(sweep.pattern), _doublings(len(usable_cpus()))
        raced = [session.race([work], n, effort, chosen.contestants, facts)[0] for n in counts]
        return list(zip(counts, raced, strict=True))
    works = [parse_work(sweep.pattern.format(value)) for value in sweep.values]
    results = session.race(works, chosen.threads, effort, chosen.contestants, facts)
    return list(zip(sweep.values, results, strict=True))


def _doublings(most: int) -> list[int]:
    """1, 2, 4, …, and `most`."""
    return sorted({*(1 << i for i in range(most.bit_length())), most})


def section(name: str, points: Points) -> str:
    """Heading, table and growth of one sweep, in Markdown."""
    table = report.table(name, [(str(value), result) for value, result in points])
    growth = _speed_up(points) if name == "threads" else _growth(points)
    return f"### {SWEEPS[name].title}{_threads_text(name, points)}\n\n{table}\n\n{growth}"


def _threads_text(name: str, points: Points) -> str:
    threads = points[0][1].threads
    return "" if name == "threads" else f", {report.threads_text(threads)}"


def _growth(points: Points) -> str:
    large = points[len(points) // 2 :]
    texts = []
    for key in report.present([r for _, r in points]):
        times = [(r.work.flops, t) for _, r in large if (t := r.median(key)) is not None]
        if len(times) > 1:
            texts.append(f"{label(key)} {slope(*zip(*times, strict=True)):.2f}")
    first, last = large[0][0], large[-1][0]
    return f"Slope of log(time) over log(operations) from {first} to {last}: {', '.join(texts)}."


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Of the line of least squares through log y over log x."""
    u, v = [math.log(value) for value in x], [math.log(value) for value in y]
    mean_u, mean_v = sum(u) / len(u), sum(v) / len(v)
    covariance = sum((a - mean_u) * (b - mean_v) for a, b in zip(u, v, strict=True))
    return covariance / sum((a - mean_u) ** 2 for a in u)


def _speed_up(points: Points) -> str:
    most, last = points[-1]
    texts = []
    for key in report.present([r for _, r in points]):
        one, all_of_them = points[0][1].median(key), last.median(key)
        if one and all_of_them:
            texts.append(f"{label(key)} {one / all_of_them:.2f}")
    return f"Speed-up from 1 to {most} threads: {', '.join(texts)}."


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = options.parser("sweep", __doc__)
    known = options.one_of("sweep", list(SWEEPS))
    parser.add_argument("sweeps", nargs="*", type=_argument(known), help=f"of {', '.join(SWEEPS)}")
    options.add_contestants(parser, ["fastprop", "torch", "jax-scan"])
    usable = len(usable_cpus())
    parser.add_argument(
        "--threads",
        type=_argument(options.threads),
        default=usable,
        help="of all sweeps but the one over threads; default: all CPUs, %(default)s",
    )
    options.add_rounds(parser)
    options.add_outputs(parser)
    chosen = parser.parse_args(argv)
    chosen.sweeps = chosen.sweeps or list(SWEEPS)
    return chosen


def _argument(parse: Any) -> Any:
    """argparse drops the text of a ValueError."""

    def parse_argument(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse_argument


if __name__ == "__main__":
    sys.exit(main())
