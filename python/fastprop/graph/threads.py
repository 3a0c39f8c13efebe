"""How many threads a Program runs on, by what its steps take here and now.

The cost model of a Program knows the machine but not who else uses it. Threads that have to share
their cores wait for each other at every barrier, for as long as the operating system lets others
run: a step can take a hundred times as long on two threads as on one. Results do not depend on the
number of threads, so it may change from run to run.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from fastprop import _core

if TYPE_CHECKING:
    from fastprop.graph.program import Program, RunResult

_LOOK_SECONDS = 0.002  # steps that are timed to compare, together
_SOONEST_SECONDS = 0.5  # until the other number is tried again
_COST_SHARE = 50.0  # trying takes at most a fiftieth of the time
# Steps this long on one thread pay their barriers many times over: they need no further look.
_LONG_STEP_SECONDS = 0.005
# What more threads must gain: a short comparison errs by some percent, one thread never waits.
_LEAST_GAIN = 0.05
# A run beside a thread that reads: so long at most, as the reading may end any time.
_BESIDE_SECONDS = 0.02


class ThreadChooser:
    """Chooses between the planned number of threads and one.

    Args:
        planned: What the cost model says.
        fixed: True if the user asked for this number; then nothing is chosen.

    Attributes:
        best: The number of threads that is fastest as far as is known.
        step_seconds: Time of a step on them, or ``None`` before the first run.
        choosing: True while there is something to choose.
        beside: Threads of ours that are busy with something else, such as decoding a file. While a
            thread of a step shares its core all others wait for it, so the next run leaves those
            a core of their own.
    """

    def __init__(self, planned: int, *, fixed: bool) -> None:
        self.best = planned
        self.step_seconds: float | None = None
        self._planned = planned
        self.choosing = planned > 1 and not fixed
        self.beside = 0
        self._beside_seconds: float | None = None
        self._warm = False
        self._seconds: dict[int, float] = {}
        self._next_look = 0.0
        self._doubtful = False

    def run(self, program: Program, *args: Any, timed: bool = False, **options: Any) -> RunResult:
        """``program.run(*args, **options)`` on as many threads as are fastest at present.

        ``timed`` learns the time of a step even where there is nothing to choose.
        """
        if self.makes_room:
            return self._run_beside(program, *args, **options)
        if not (timed or self.choosing):
            return program.run(*args, **options)
        threads, _ = self.next()
        program.threads = threads
        result = program.run(*args, **options)
        self.took(threads, result.steps_done, result.seconds)
        program.threads = self.best
        return result

    @property
    def makes_room(self) -> bool:
        """The next run leaves cores to other threads of ours."""
        return self.beside > 0 and self.best > max(1, _core.granted_cpus() - self.beside)

    def _run_beside(self, program: Program, *args: Any, **options: Any) -> RunResult:
        program.threads = max(1, _core.granted_cpus() - self.beside)
        try:
            result = program.run(*args, **options)
        finally:
            program.threads = self.best
        if result.steps_done:
            self._beside_seconds = result.seconds / result.steps_done
        return result

    def steps_beside(self) -> int:
        """Steps of a run that leaves cores to others."""
        seconds = self._beside_seconds
        return 1 if seconds is None else max(1, int(_BESIDE_SECONDS / seconds))

    def next(self) -> tuple[int, bool]:
        """Threads of the next run, and whether it should be short, for comparison."""
        if not self.choosing:
            return self._planned, not self._warm
        for threads in (self._planned, 1):
            if threads not in self._seconds:
                return threads, True
        if self._doubtful:
            return self._planned, True
        if time.perf_counter() >= self._next_look:
            return (1 if self.best != 1 else self._planned), True
        return self.best, False

    @property
    def tried(self) -> dict[int, float]:
        """Seconds of a step on each number of threads, where they were compared."""
        return dict(self._seconds)

    def look_steps(self) -> int:
        """Steps of a run for comparison."""
        if self.step_seconds is None:
            return 1
        return max(1, int(_LOOK_SECONDS / self.step_seconds))

    def know(self, step_seconds: float) -> None:
        """Take over the time of a step from a Program that does the same."""
        self.step_seconds = step_seconds
        self._warm = True

    def took(self, threads: int, steps: int, seconds: float) -> None:
        """Learn from a run.

        Args:
            threads: Its threads.
            steps: Its steps.
            seconds: Its wall time.
        """
        if steps == 0:
            return
        step_seconds = seconds / steps
        first = not self._warm  # it starts threads and touches memory: too slow to compare with
        self._warm = True
        if first or not self.choosing:
            self.step_seconds = step_seconds
            return
        compared = threads != self.best or len(self._seconds) < 2
        again = self._doubtful and threads == self._planned
        before = self._seconds[threads] if again else step_seconds
        self._seconds[threads] = min(step_seconds, before)
        many, one = self._seconds.get(self._planned), self._seconds.get(1)
        if many is not None and one is not None:
            self.best = self._planned if many < (1.0 - _LEAST_GAIN) * one else 1
            # One long step may have met a bad moment, and it is long until the next look.
            long = one > _LONG_STEP_SECONDS
            self._doubtful = compared and not again and long and self.best == 1
            # A step that is long on several threads alone may be one that waits for its cores.
            self.choosing = self.best == 1 or not long
        else:
            self.best = threads
        self.step_seconds = self._seconds[self.best]
        if compared:
            wait = max(_SOONEST_SECONDS, _COST_SHARE * seconds)
            self._next_look = time.perf_counter() + wait
