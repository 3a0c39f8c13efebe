"""A session: the machine it ran on, the workers of one number of threads after another, results."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from . import report
from .contestants import label
from .machine import Machine, busy_cpus, cpu_name
from .pool import Worker, WorkerError, choose_cpus
from .race import Race, Result
from .works import Work


@dataclass(frozen=True)
class Effort:
    """How long is measured.

    Attributes:
        rounds: How often each contestant takes its turn.
        seconds: About how long a turn is.
    """

    rounds: int
    seconds: float


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
    cpus = choose_cpus(threads)
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
        runner = Race(started, machine, threads, effort.rounds, effort.seconds, say)
        for work in works:
            say(f"{work.title}, {report.threads_text(threads)}")
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
