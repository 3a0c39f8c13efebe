"""Step time of five MLPs in fastprop and its peers.

    python -m benchmarks.python.compare                  # all works and threads: about 6 minutes
    python -m benchmarks.python.compare --works tiny,mnist --threads 2 --rounds 9
    python -m benchmarks.python.compare --works 300-150-32-150-300@64:mse
    python -m benchmarks.python.compare --full --json r.json --markdown README.md --png r.png

Exit status 1 if contestants disagree about the losses, or if fastprop itself has no times.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from . import report
from .contestants import CONTESTANTS, label
from .machine import Machine, busy_cpus, cpu_name
from .pool import Worker, WorkerError, choose_cpus, usable_cpus
from .race import Race, Result
from .works import WORKS, Work, parse_work

_SHORT = (5, 0.12)  # rounds, seconds a turn
_FULL = (11, 0.5)
_FULL_STEPS = 4  # a full run's epochs are this many times longer


def main(argv: list[str] | None = None) -> int:
    options = _options(argv)
    default_rounds, seconds = _FULL if options.full else _SHORT
    rounds = options.rounds or default_rounds
    works = [replace(w, steps=w.steps * _FULL_STEPS) if options.full else w for w in options.works]
    results: list[Result] = []
    facts: dict[str, Any] = {"cpu": cpu_name(), "date": date.today().isoformat(), "rounds": rounds}
    facts |= {"versions": {}, "absent": {}}
    facts["busy_cpus_before"] = busy = round(busy_cpus(), 2)
    if busy > 0.1:
        _say(f"warning: other processes keep {busy} CPUs busy; these times will mean little")
    for threads in options.threads:
        results += _race(works, threads, rounds, seconds, options.contestants, facts)
    _write(options, facts, results)
    wrong = [r for r in results if r.mismatched]
    missing = [
        r for r in results if "fastprop" in options.contestants and "fastprop" not in r.microseconds
    ]
    return 1 if wrong or missing else 0


def _race(
    works: list[Work],
    threads: int,
    rounds: int,
    seconds: float,
    keys: list[str],
    facts: dict[str, Any],
) -> list[Result]:
    cpus = choose_cpus(threads)
    machine = Machine(cpus)
    facts["limit"] = machine.source
    results = []
    with ExitStack() as stack:
        started = []
        workers = [stack.enter_context(Worker(key, cpus)) for key in keys]
        for worker in workers:
            absent = _start(worker)
            if absent:
                facts["absent"][worker.key] = absent
                _say(f"{label(worker.key)} is absent: {absent}")
            else:
                facts["versions"] |= worker.versions
                started.append(worker)
        race = Race(started, machine, threads, rounds, seconds, _say)
        for work in works:
            _say(f"{work.title}, {threads} thread{'s' if threads > 1 else ''}")
            result = race.run(work)
            results.append(result)
            _say(report.line(result))
    return results


def _start(worker: Worker) -> str:
    try:
        return worker.started()
    except WorkerError as error:
        return str(error)


def _write(options: argparse.Namespace, facts: dict[str, Any], results: list[Result]) -> None:
    table = report.markdown(facts, results)
    print(table)
    if options.json:
        content = {**facts, "results": [r.to_dict() for r in results]}
        options.json.write_text(json.dumps(content, indent=2) + "\n")
    if options.markdown:
        report.write_markdown(options.markdown, table)
    if options.png:
        report.plot(options.png, facts, results)


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.python.compare", description=__doc__
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    usable = len(usable_cpus())
    parser.add_argument("--full", action="store_true", help="more rounds of longer turns")
    parser.add_argument(
        "--works",
        type=_list_of(parse_work),
        default=list(WORKS.values()),
        help=f"of {', '.join(WORKS)}, or like 64-32-10@128:cross_entropy",
    )
    parser.add_argument(
        "--contestants",
        type=_list_of(_contestant),
        default=list(CONTESTANTS),
        help=f"of {', '.join(CONTESTANTS)}",
    )
    parser.add_argument(
        "--threads",
        type=_list_of(int),
        default=sorted({1, usable}),
        help=f"numbers of threads, at most the {usable} CPUs of this process",
    )
    parser.add_argument("--rounds", type=int, help="turns of each contestant")
    parser.add_argument("--json", type=Path, help="write all times")
    parser.add_argument(
        "--markdown", type=Path, help="write the tables, between the marks if the file has them"
    )
    parser.add_argument("--png", type=Path, help="write a plot")
    options = parser.parse_args(argv)
    if not all(1 <= n <= usable for n in options.threads):
        parser.error(f"--threads: from 1 to the {usable} CPUs that this process may use")
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds: at least 1")
    return options


def _list_of(parse: Any) -> Any:
    def parse_list(text: str) -> list[Any]:
        try:
            return [parse(item.strip()) for item in text.split(",")]
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse_list


def _contestant(key: str) -> str:
    if key not in CONTESTANTS:
        raise ValueError(f"unknown contestant {key!r}; known are {', '.join(CONTESTANTS)}")
    return key


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
