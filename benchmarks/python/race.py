"""One work, all contestants: prepare, verify that they compute the same, time them in turns."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from typing import Any

from fastprop.inspect.turns import Turns

from .machine import Machine
from .placement import elsewhere_text, remark
from .pool import Worker, WorkerError
from .works import Work

_VERIFIED_STEPS = 10
# Relative, of a loss. Rounding alone is below 1e-6; but optax takes 1 - beta2^t in float32, which
# makes its first updates 3e-5 smaller. Every layer adds to that (1.4e-4 with 33 layers at the third
# step), and a deep network amplifies it to 2e-3 in ten steps.
_EARLY_STEPS, _EARLY_TOLERANCE, _EARLY_LAYERS = 3, 1e-4, 16
_TOLERANCE = 5e-3
_LEAST_STEPS = 16  # a timed call of a framework that is called step by step


@dataclass
class Result:
    """What was found for a work with a number of threads.

    Attributes:
        microseconds: Per step, one number a round, of every contestant that finished.
        limits: The machine's limit in microseconds, measured in every round.
        attainable: The same with products at the rate that plain products had in that round.
        deviations: Largest relative difference of a verified loss from the reference's.
        errors: Why a contestant has no times.
        mismatched: Those among them whose losses differ from the others'.
        turns: All turns, those of the limit and the dropped ones as well.
        remark: Which turns were dropped, if any.
        elsewhere: Which turns counted though the cores shared no cache, if any.
    """

    work: Work
    threads: int
    microseconds: dict[str, list[float]] = field(default_factory=dict)
    limits: list[float] = field(default_factory=list)
    attainable: list[float] = field(default_factory=list)
    deviations: dict[str, float] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)
    mismatched: list[str] = field(default_factory=list)
    turns: list[dict[str, Any]] = field(default_factory=list)
    remark: str = ""
    elsewhere: str = ""

    def median(self, key: str) -> float | None:
        times = self.microseconds.get(key)
        return statistics.median(times) if times else None

    def spread(self, key: str) -> float | None:
        """Median absolute deviation, relative to the median."""
        times = self.microseconds.get(key)
        if not times:
            return None
        middle = statistics.median(times)
        return statistics.median(abs(t - middle) for t in times) / middle

    @property
    def limit(self) -> float:
        return statistics.median(self.limits)

    @property
    def share(self) -> float | None:
        """Of the machine's limit that fastprop reaches."""
        own = self.median("fastprop")
        return self.limit / own if own and self.limits else None

    @property
    def attainable_share(self) -> float | None:
        """The same of what products at the rate of plain products allow."""
        own = self.median("fastprop")
        return statistics.median(self.attainable) / own if own and self.attainable else None

    @property
    def attainable_ratio(self) -> float | None:
        """How many times faster than the best peer a step of plain products and the update is."""
        peer = self.best_peer
        best = self.median(peer) if peer else None
        return best / statistics.median(self.attainable) if best and self.attainable else None

    @property
    def best_peer(self) -> str | None:
        peers = [key for key in self.microseconds if key != "fastprop"]
        return min(peers, key=lambda key: self.median(key) or 0.0, default=None)

    @property
    def ratio(self) -> float | None:
        """How many times faster than its best peer fastprop is."""
        own, peer = self.median("fastprop"), self.best_peer
        best = self.median(peer) if peer else None
        return best / own if own and best else None

    def to_dict(self) -> dict[str, Any]:
        medians = {key: self.median(key) for key in self.microseconds}
        derived = {
            "median_microseconds": medians,
            "limit_microseconds": self.limit if self.limits else None,
            "best_peer": self.best_peer,
            "ratio": self.ratio,
            "attainable_ratio": self.attainable_ratio,
        }
        return {**asdict(self), **derived}

    @staticmethod
    def from_dict(saved: dict[str, Any]) -> Result:
        """What :meth:`to_dict` made, back again."""
        values = {f.name: saved[f.name] for f in fields(Result) if f.name in saved}
        work = saved["work"]
        values["work"] = Work(**{**work, "sizes": tuple(work["sizes"])})
        return Result(**values)


class Race:
    """Contestants, each in its worker, on the same CPUs.

    Args:
        workers: Those that started.
        machine: Gives the limit.
        turns: Says when a turn counts.
        rounds: How often each contestant takes its turn.
        seconds: About how long a turn is.
        say: Receives a line of progress.
    """

    def __init__(
        self,
        workers: list[Worker],
        machine: Machine,
        turns: Turns,
        threads: int,
        rounds: int,
        seconds: float,
        say: Callable[[str], None],
    ) -> None:
        self._workers = workers
        self._machine = machine
        self._turns = turns
        self._threads = threads
        self._rounds = rounds
        self._seconds = seconds
        self._say = say

    def run(self, work: Work) -> Result:
        """Everything that is to be known about one work."""
        result = Result(work, self._threads)
        ready = self._prepare(work, result)
        ready = self._verify(work, ready, result)
        try:
            self._time(work, ready, result)
        finally:
            for worker in self._workers:
                self._attempt(worker, result, do="release")
        log = self._turns.log
        result.turns = [turn.to_dict() for turn in log]
        result.remark, result.elsewhere = remark(log), elsewhere_text(log)
        return result

    def _prepare(self, work: Work, result: Result) -> list[Worker]:
        for worker in self._workers:
            worker.send_work(work)
        ready = []
        for worker in self._workers:
            try:
                result.notes[worker.key] = worker.answer()["notes"]
                ready.append(worker)
            except WorkerError as error:  # noqa: PERF203 - each may fail
                self._fail(worker, result, f"could not prepare: {error}")
        return ready

    def _verify(self, work: Work, ready: list[Worker], result: Result) -> list[Worker]:
        """Keep the contestants whose losses are those of the first peer, step by step."""
        steps = min(_VERIFIED_STEPS, work.steps)
        losses: dict[str, list[float]] = {}
        for worker in ready:
            answer = self._attempt(worker, result, do="losses", steps=steps)
            if answer is not None:
                losses[worker.key] = answer["losses"]
        reference = next((losses[k] for k in losses if k != "fastprop"), None)
        allowed = _EARLY_TOLERANCE * max(1.0, len(work.layers) / _EARLY_LAYERS)
        for worker in ready:
            if reference is None or worker.key not in losses:
                continue
            early = _deviation(losses[worker.key][:_EARLY_STEPS], reference[:_EARLY_STEPS])
            whole = _deviation(losses[worker.key], reference)
            result.deviations[worker.key] = whole
            if not (early <= allowed and whole <= _TOLERANCE):
                result.mismatched.append(worker.key)
                self._fail(
                    worker,
                    result,
                    f"other losses than its peers: {losses[worker.key]}, not {reference}",
                )
        return [w for w in ready if w.key in losses and w.key not in result.errors]

    def _time(self, work: Work, ready: list[Worker], result: Result) -> None:
        # Few long steps: the verification has warmed them up, and there is nothing to choose.
        steps = {w.key: work.steps for w in ready if work.steps <= _LEAST_STEPS}
        for worker in ready:
            if worker.key in steps:
                continue
            self._attempt(worker, result, do="reset", number=0)
            answer = self._attempt(worker, result, do="epoch", steps=_LEAST_STEPS)
            if answer is not None:
                wanted = self._seconds * answer["steps"] / answer["seconds"]
                steps[worker.key] = max(_LEAST_STEPS, min(int(wanted), work.steps))
        self._turns.log.clear()
        for number in range(1, self._rounds + 1):
            # The limit depends on where the cores are as much as the steps do.
            bounds = self._turns.take("limit", partial(self._machine.bounds, work))
            result.limits.append(1e6 * bounds.limit)
            result.attainable.append(1e6 * bounds.attainable)
            # Another one begins each time, so that none always follows the same neighbour.
            shift = number % max(1, len(ready))
            for worker in [*ready[shift:], *ready[:shift]]:
                if worker.key not in steps or worker.key in result.errors:
                    continue
                turn = partial(self._step_time, worker, result, steps[worker.key])
                reset = partial(self._attempt, worker, result, do="reset", number=number)
                each = self._turns.take(worker.key, turn, reset)
                if each is not None:
                    result.microseconds.setdefault(worker.key, []).append(each)

    def _step_time(self, worker: Worker, result: Result, steps: int) -> float | None:
        if worker.key in result.errors:
            return None
        answer = self._attempt(worker, result, do="epoch", steps=steps)
        return answer and 1e6 * answer["seconds"] / answer["steps"]

    def _attempt(self, worker: Worker, result: Result, **command: Any) -> dict[str, Any] | None:
        try:
            return worker.ask(**command)
        except (WorkerError, BrokenPipeError) as error:
            if command["do"] != "release":
                self._fail(worker, result, str(error))
            return None

    def _fail(self, worker: Worker, result: Result, why: str) -> None:
        result.errors[worker.key] = why
        self._say(f"  {worker.key}: {why}")


def _deviation(losses: list[float], reference: list[float]) -> float:
    if len(losses) != len(reference):
        return float("inf")
    # A single row's loss may be next to nothing.
    usual = sum(map(abs, reference)) / len(reference)
    differences = [abs(a - b) / max(abs(b), usual) for a, b in zip(losses, reference, strict=True)]
    # max() would pass over a NaN that is not the first.
    return max(differences) if all(d == d for d in differences) else float("nan")
