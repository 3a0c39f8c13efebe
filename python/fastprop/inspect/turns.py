"""Timing in turns that count only if the threads' cores shared a cache before and after them."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from fastprop.inspect.placement import SHARED_CACHE, Placement, measure_placement

T = TypeVar("T")

# A CPU that was asleep is placed anew when it wakes up, so a short wait is what helps.
_BETWEEN_LOOKS = 0.01


@dataclass(frozen=True)
class Turn:
    """One turn, whether it counted or not.

    Attributes:
        who: Whose turn it was.
        value: What it found, such as its microseconds a step.
        before: Where the cores were right before it; ``None`` on one thread.
        after: And right after it.
        counted: False if it was dropped and repeated.
    """

    who: str
    value: Any
    before: Placement | None
    after: Placement | None
    counted: bool

    @property
    def relation(self) -> str:
        """The one that was not a shared cache, if there was any."""
        found = [p.relation for p in (self.before, self.after) if p is not None]
        return next((name for name in found if name != SHARED_CACHE), SHARED_CACHE)

    def to_dict(self) -> dict[str, Any]:
        ends = {"before": self.before, "after": self.after}
        return {
            "who": self.who,
            "value": self.value,
            "counted": self.counted,
            **{end: p and p._asdict() for end, p in ends.items()},
        }


class Turns:
    """Takes turns and looks where the cores are before and after each.

    A turn during which the cores did not share a cache is dropped and taken again, as long as
    there is patience left; then turns count wherever the cores are. Nothing is dropped silently:
    `log` has every turn.

    Args:
        threads: Of those who take turns; with one there is nothing to look at.
        patience: Seconds that may go to waiting for a placement and to repeated turns, in all.
        settle: Seconds to sleep before each turn.
        any_placement: Count every turn.
        look: Says where the cores are; default :func:`measure_placement`.
        clock: Seconds.
        sleep: Waits.
    """

    def __init__(
        self,
        threads: int,
        patience: float,
        *,
        settle: float = 0.0,
        any_placement: bool = False,
        look: Callable[[], Placement | None] | None = None,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.log: list[Turn] = []
        self.patience = patience
        self._settle = settle
        self._any = any_placement
        self._measure = look or (lambda: measure_placement(threads))
        self.threads = threads
        self._clock = clock
        self._sleep = sleep

    def take(
        self, who: str, run: Callable[[], T], prepare: Callable[[], object] | None = None
    ) -> T:
        """The value of the first turn that counts; a turn without a value (``None``) ends it.

        Args:
            who: Whose turn it is.
            run: What is timed. Nothing comes between it and the looks, because a CPU that sleeps
                may be somewhere else afterwards.
            prepare: What comes before that, each time.
        """
        while True:
            if prepare is not None:
                prepare()
            if self._settle:
                self._sleep(self._settle)
            before = self._wait()
            started = self._clock()
            value = run()
            took = self._clock() - started + self._settle
            if value is None:
                return value
            after = self._look()
            counted = (_shared(before) and _shared(after)) or self._any or self.patience <= 0
            self.log.append(Turn(who, value, before, after, counted))
            if counted:
                return value
            self.patience -= took

    def _wait(self) -> Placement | None:
        """Look until the cores share a cache, or patience is at its end."""
        started = self._clock()
        found = self._look()
        while not (_shared(found) or self._any or self.patience <= 0):
            self._sleep(_BETWEEN_LOOKS)
            found = self._look()
            now = self._clock()
            self.patience -= now - started
            started = now
        return found

    def _look(self) -> Placement | None:
        return self._measure() if self.threads > 1 else None


def _shared(placement: Placement | None) -> bool:
    return placement is None or placement.relation == SHARED_CACHE


def dropped_text(log: Sequence[Turn]) -> str:
    """``4 of 19 turns dropped (3 no shared cache, 1 halves of one core)``, or nothing."""
    why = Counter(turn.relation for turn in log if not turn.counted)
    if not why:
        return ""
    reasons = ", ".join(f"{number} {name}" for name, number in why.most_common())
    return f"{sum(why.values())} of {len(log)} turns dropped ({reasons})"


def elsewhere_text(log: Sequence[Turn]) -> str:
    """``no shared cache: 3 of 5 turns`` among those that counted, or nothing."""
    counted = [turn for turn in log if turn.counted]
    where = Counter(turn.relation for turn in counted)
    return ", ".join(
        f"{name}: {number} of {len(counted)} turns"
        for name, number in where.most_common()
        if name != SHARED_CACHE
    )


def cores_text(log: Sequence[Turn]) -> str:
    """Where the cores were in the turns that counted, and what was dropped; empty on one thread."""
    looks = [p for turn in log if turn.counted for p in (turn.before, turn.after) if p is not None]
    if not looks:
        return ""
    trip = statistics.median(p.round_trip for p in looks)
    where = str(Placement(elsewhere_text(log) or SHARED_CACHE, trip))
    return "; ".join(filter(None, (where, dropped_text(log))))
