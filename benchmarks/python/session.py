"""A session: the machine it ran on, the workers of one number of threads after another, results."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from . import report
from .contestants import label
from .machine import Machine, busy_cpus, cpu_name
from .placement import turns_on
from .pool import Worker, WorkerError, choose_cpus
from .race import Race, Result
from .works import Work


@dataclass(frozen=True)
class Effort:
    """How long is measured.

    Attributes:
        rounds: How often each contestant takes its turn.
        seconds: About how long a turn is.
        patience: Seconds for each number of threads above one that may go to waiting until the
            CPUs share a cache, and to turns that are repeated because they did not.
        any_placement: Count turns wherever the CPUs are.
    """

    rounds: int
    seconds: float
    patience: float = 60.0
    any_placement: bool = False

    def chosen(self, options: Namespace) -> Effort:
        """With what the user asked for on the command line."""
        rounds = options.rounds or self.rounds
        return replace(self, rounds=rounds, any_placement=options.any_placement)


def say(text: str) -> None:
    """Progress, to stderr: stdout is for results."""
    print(text, file=sys.stderr, flush=True)


def facts(effort: Effort) -> dict[str, Any]:
    """What the captions tell, as far as it is known beforehand; warns if the machine is busy."""
    busy = round(busy_cpus(), 2)
    if busy > 0.1:
        say(f"warning: other processes keep {busy} CPUs busy; these times will mean little")
    return {
        "cpu": cpu_name(),
        "date": date.today().isoformat(),
        "rounds": effort.rounds,
        "any_placement": effort.any_placement,
        "versions": {},
        "absent": {},
        "left_out": {},
        "busy_cpus_before": busy,
    }


def race(
    works: Iterable[Work],
    threads: int,
    effort: Effort,
    keys: list[str],
    known: dict[str, Any],
) -> list[Result]:
    """Let the contestants `keys` race over `works`; versions and absences go into `known`."""
    works = list(works)
    cpus = choose_cpus(threads)
    # Each work brings its share of the patience, and leaves to the next ones what it has not used.
    turns = turns_on(cpus, 0.0, any_placement=effort.any_placement)
    machine = Machine(cpus)
    known["limit"] = machine.source
    results = []
    with ExitStack() as stack:
        started = []
        workers = [stack.enter_context(Worker(key, cpus)) for key in keys]
        for worker in workers:
            absent = _start(worker)
            if absent:
                known["absent"][worker.key] = absent
                say(f"{label(worker.key)} is absent: {absent}")
            else:
                known["versions"] |= worker.versions
                started.append(worker)
        runner = Race(started, machine, turns, threads, effort.rounds, effort.seconds, say)
        for work in works:
            say(f"{work.title}, {report.threads_text(threads)}")
            turns.patience = max(turns.patience, 0.0) + effort.patience / len(works)
            result = runner.run(work)
            results.append(result)
            say(report.line(result))
    return results


def _start(worker: Worker) -> str:
    try:
        return worker.started()
    except WorkerError as error:
        return str(error)


def failed(results: list[Result], keys: list[str]) -> bool:
    """Did contestants disagree about the losses, or did fastprop itself not finish?"""
    return any(
        r.mismatched or ("fastprop" in keys and "fastprop" not in r.microseconds) for r in results
    )


def write_json(path: Path, known: dict[str, Any], results: list[Result]) -> None:
    content = {**known, "results": [r.to_dict() for r in results]}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_json(paths: list[Path]) -> tuple[dict[str, Any], list[Result]]:
    """Facts of the first of several files of results, and the results of all."""
    contents = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    results = [Result.from_dict(r) for content in contents for r in content.pop("results")]
    return contents[0], results
