"""Where the cores are that the threads run on: a step on several threads depends on it.

A virtual machine's host moves its CPUs about, so this is measured, each time anew: the system's
tables of cores and caches do not know it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from fastprop import _core

SHARED_CACHE = "a shared cache"
FAR = "no shared cache"
HALVES = "halves of one core"
BUSY = "cores busy with other work"

_BUSY_SECONDS = 2e-6
_FAR_SECONDS = 250e-9
_HALVES_SECONDS = 100e-9
_HALVES_GAIN = 0.7


class Placement(NamedTuple):
    """How the cores of some threads are related.

    Attributes:
        relation: `SHARED_CACHE`, `FAR`, `HALVES` or `BUSY`.
        round_trip: Seconds that a cache line takes from one of them to another and back; the
            longest of several.
    """

    relation: str
    round_trip: float

    def __str__(self) -> str:
        return f"{self.relation} (a line's round trip takes {1e9 * self.round_trip:.0f} ns)"


def relation(round_trips: Sequence[float], gain: Callable[[], float]) -> str:
    """Name it from round trips in seconds and the peak of multiply-adds.

    More than 2 µs is no distance: a thread had to wait for its core. Cores of different chips need
    300 ns and more for a round trip, those that share a last-level cache 40 to 200. So do
    neighbouring chiplets of one chip, which are taken for the same. The halves of one core need 20
    to 60, which some desktop processors reach between cores as well; but only halves share their
    multipliers, and reach no higher peak together than one alone.

    Args:
        round_trips: From the first thread to each of the others; at least one.
        gain: The peak of all threads divided by that of one and by their number: about 1 for cores
            of their own, 0.5 for two halves. Asked only where the round trip leaves it open.
    """
    if max(round_trips) > _BUSY_SECONDS:
        return BUSY
    if max(round_trips) > _FAR_SECONDS:
        return FAR
    if min(round_trips) < _HALVES_SECONDS and gain() < _HALVES_GAIN:
        return HALVES
    return SHARED_CACHE


def measure_placement(threads: int) -> Placement | None:
    """Look where the cores of `threads` threads are now; ``None`` for one thread.

    Takes some milliseconds.
    """
    trips = _core.line_round_trips(threads)
    if not trips:
        return None

    def gain() -> float:
        together = _core.multiply_add_peak(threads)
        return together / (_core.multiply_add_peak(1) * threads)

    return Placement(relation(trips, gain), max(trips))
