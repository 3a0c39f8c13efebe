"""A process that runs one contestant: JSON lines on stdin are commands, those on stdout answers.

It lives through all works and rounds, so that contestants can take turns without starting anew;
between commands it waits for a line and uses no CPU.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from .contestants import Contestant


def main() -> None:
    """``python -m benchmarks.python.worker CONTESTANT CPU,CPU,…``"""
    key, cpus = sys.argv[1], [int(cpu) for cpu in sys.argv[2].split(",")]
    # Before anything is imported: thread pools are sized by the affinity they find.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)
    answers = _claim_stdout()
    try:
        contestant = _start(key, len(cpus))
    except ImportError as error:
        _send(answers, {"absent": str(error)})
        return
    except Exception as error:
        _send(answers, {"absent": f"could not start: {_summary(error)}"})
        return
    _send(answers, {"versions": contestant.versions})
    for line in sys.stdin:
        try:
            answer = _obey(contestant, json.loads(line))
        except Exception as error:
            traceback.print_exc()
            answer = {"error": _summary(error)}
        _send(answers, answer)


def _claim_stdout() -> TextIO:
    """Keep stdout for answers; whatever a library prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def _start(key: str, threads: int) -> Contestant:
    from .contestants import load

    return load(key)(threads)


def _obey(contestant: Contestant, command: dict[str, Any]) -> dict[str, Any]:
    from .works import Work

    action = command["do"]
    if action == "prepare":
        work = command["work"]
        work["sizes"] = tuple(work["sizes"])
        contestant.prepare(Work(**work))
        return {"notes": contestant.notes()}
    if action == "losses":
        return {"losses": contestant.losses(command["steps"])}
    if action == "reset":
        contestant.reset(command["number"])
        return {}
    if action == "epoch":
        start = time.perf_counter()
        steps = contestant.epoch(command["steps"])
        return {"seconds": time.perf_counter() - start, "steps": steps}
    if action == "release":
        contestant.release()
        return {}
    raise ValueError(f"worker: unknown command {action!r}")


def _summary(error: Exception) -> str:
    """Type and message in one line; compilers put pages into theirs."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]


def _send(answers: TextIO, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
