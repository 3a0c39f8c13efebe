"""Step time of five MLPs in fastprop and its peers.

    python -m benchmarks.python.compare                  # all works and threads: about 6 minutes
    python -m benchmarks.python.compare --works tiny,mnist --threads 2 --rounds 9
    python -m benchmarks.python.compare --works 300-150-32-150-300@64:mse
    python -m benchmarks.python.compare --full --json r.json --markdown README.md --png r.png

Exit status 1 if contestants disagree about the losses, or if fastprop itself has no times.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import Any

from . import options, plots, report, session
from .contestants import CONTESTANTS
from .pool import usable_cpus
from .race import Result
from .session import Effort
from .works import WORKS

_SHORT = Effort(rounds=5, seconds=0.12)
_FULL = Effort(rounds=11, seconds=0.5)
_FULL_STEPS = 4  # a full run's epochs are this many times longer


def main(argv: list[str] | None = None) -> int:
    chosen = _options(argv)
    effort = _FULL if chosen.full else _SHORT
    effort = replace(effort, rounds=chosen.rounds or effort.rounds)
    longer = _FULL_STEPS if chosen.full else 1
    works = [replace(w, steps=w.steps * longer) for w in chosen.works]
    facts, results = session.facts(effort), []
    for threads in chosen.threads:
        results += session.race(works, threads, effort, chosen.contestants, facts)
    _write(chosen, facts, results)
    return 1 if session.failed(results, chosen.contestants) else 0


def _write(chosen: argparse.Namespace, facts: dict[str, Any], results: list[Result]) -> None:
    table = report.by_threads(facts, results)
    print(table)
    if chosen.json:
        session.write_json(chosen.json, facts, results)
    if chosen.markdown:
        report.write_markdown(chosen.markdown, table)
    if chosen.png:
        plots.bars(chosen.png, facts, results)


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = options.parser("compare", __doc__)
    parser.add_argument("--full", action="store_true", help="more rounds of longer turns")
    options.add_works(parser, list(WORKS.values()))
    options.add_contestants(parser, list(CONTESTANTS))
    options.add_threads(parser, sorted({1, len(usable_cpus())}))
    options.add_rounds(parser)
    options.add_outputs(parser)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
