"""Turns of contestants on several threads count only while the CPUs share a last-level cache.

What a turn is and when it counts is :class:`fastprop.inspect.turns.Turns`; here is the look at the
CPUs that contestants in other processes use, and what the commands say about dropped turns.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from threading import Thread

from fastprop.inspect.placement import Placement, measure_placement
from fastprop.inspect.turns import Turn, Turns, dropped_text, elsewhere_text

__all__ = ["add_option", "dropped_text", "elsewhere_text", "remark", "turns_on"]

# Threads of the contestant before keep spinning for some milliseconds after their last product, on
# the cores of the next one: without a pause steps on two threads took up to 1.4 times as long.
_SETTLE_SECONDS = 0.05


def turns_on(
    cpus: list[int], patience: float, *, any_placement: bool, settle: float = _SETTLE_SECONDS
) -> Turns:
    """Turns of contestants that run on these CPUs, in this process or in others."""
    return Turns(
        len(cpus),
        patience,
        settle=settle,
        any_placement=any_placement,
        look=lambda: _look(cpus),
    )


def _look(cpus: list[int]) -> Placement | None:
    """From a thread that ends after it: its team ends as well, and spins on nobody's core."""
    found: list[Placement | None] = []

    def measure() -> None:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, cpus)  # of this thread and those it starts
        found.append(measure_placement(len(cpus)))

    thread = Thread(target=measure)
    thread.start()
    thread.join()
    return found[0]


def remark(log: Sequence[Turn]) -> str:
    """What was dropped and what counted elsewhere, for a line of progress; empty if nothing."""
    where = elsewhere_text(log)
    return "; ".join(filter(None, (dropped_text(log), where and f"counted with {where}")))


def add_option(options: argparse.ArgumentParser) -> None:
    options.add_argument(
        "--any-placement",
        action="store_true",
        help="count all turns on several threads, not only those while the cores shared a cache",
    )
