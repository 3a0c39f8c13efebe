"""Step time of five MLPs in fastprop and its peers.

    python -m benchmarks.python.compare                  # the short mode: below 3 minutes
    python -m benchmarks.python.compare --full           # all contestants, more rounds: 12 minutes
    python -m benchmarks.python.compare --works tiny,mnist --threads 2 --rounds 9
    python -m benchmarks.python.compare --works 300-150-32-150-300@64:mse
    python -m benchmarks.python.compare --full --json r.json --markdown README.md --png r.png

The short mode leaves out torch.compile, which takes long to compile and comes out beside PyTorch
eager (a few percent ahead on the wide network), and JAX jitted per step, whose step the scan runs
without a call for each. Name them with --contestants to have them.
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
from .works import WORKS, Work

# Turns are short: a host leaves its virtual CPUs where they are for a second or less.
_SHORT = Effort(rounds=5, seconds=0.06, patience=40.0)
_FULL = Effort(rounds=21, seconds=0.1, patience=240.0)
_LEFT_OUT_WHEN_SHORT = {
    "torch-compile": "long to compile, and within a few percent of PyTorch eager; use --full",
    "jax-step": "the scan runs the same step without a call for each; use --full",
}


def main(argv: list[str] | None = None) -> int:
    chosen = _options(argv)
    effort = (_FULL if chosen.full else _SHORT).chosen(chosen)
    works = [_scaled(work, full=chosen.full) for work in chosen.works]
    facts, results = session.facts(effort), []
    if not (chosen.full or chosen.contestants):
        facts["left_out"] = _LEFT_OUT_WHEN_SHORT
    keys = [key for key in chosen.contestants or CONTESTANTS if key not in facts["left_out"]]
    for threads in chosen.threads:
        results += session.race(works, threads, effort, keys, facts)
    _write(chosen, facts, results)
    return 1 if session.failed(results, keys) else 0


def _scaled(work: Work, *, full: bool) -> Work:
    """Long steps are repeated less often in the short mode; the verification needs a few."""
    return replace(work, steps=work.steps if full else max(2, work.steps // 2))


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
    parser.add_argument(
        "--full", action="store_true", help="all contestants, in more rounds of longer turns"
    )
    options.add_works(parser, list(WORKS.values()))
    options.add_contestants(parser)
    options.add_threads(parser, sorted({1, len(usable_cpus())}))
    options.add_rounds(parser)
    options.add_outputs(parser)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
