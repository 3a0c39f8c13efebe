"""The number of threads that a Trainer settles on, from given times."""

from __future__ import annotations

import numpy as np
import pytest

from fastprop import _core
from fastprop.graph.program import RunResult
from fastprop.graph.threads import ThreadChooser


def settle(chooser: ThreadChooser, step_seconds: dict[int, float]) -> int:
    """Feed it runs of one step until it stops trying."""
    for _ in range(4):
        threads, _ = chooser.next()
        chooser.took(threads, 1, step_seconds[threads])
    return chooser.next()[0]


def test_keeps_the_planned_number_where_it_is_faster() -> None:
    assert settle(ThreadChooser(2, fixed=False), {2: 50e-6, 1: 80e-6}) == 2


def test_takes_one_thread_where_threads_wait_for_cores() -> None:
    assert settle(ThreadChooser(2, fixed=False), {2: 900e-6, 1: 80e-6}) == 1


def test_more_threads_must_gain_more_than_a_short_comparison_errs_by() -> None:
    assert settle(ThreadChooser(2, fixed=False), {2: 78e-6, 1: 80e-6}) == 1
    assert settle(ThreadChooser(2, fixed=False), {2: 70e-6, 1: 80e-6}) == 2


def test_never_overrules_the_user() -> None:
    assert settle(ThreadChooser(2, fixed=True), {2: 900e-6, 1: 80e-6}) == 2


def test_long_steps_are_compared_once() -> None:
    chooser = ThreadChooser(4, fixed=False)
    assert settle(chooser, {4: 0.2, 1: 0.7}) == 4
    assert not chooser.choosing


def test_a_long_step_that_met_a_bad_moment_gets_another_look() -> None:
    chooser = ThreadChooser(2, fixed=False)
    chooser.know(0.7)
    for expected, seconds in ((2, 0.9), (1, 0.7), (2, 0.4)):
        threads, short = chooser.next()
        assert (threads, short) == (expected, True)
        chooser.took(threads, 1, seconds)
    assert chooser.next() == (2, False)
    assert not chooser.choosing


def test_a_second_bad_moment_is_believed() -> None:
    chooser = ThreadChooser(2, fixed=False)
    chooser.know(0.7)
    for seconds in (0.9, 0.7, 0.8):
        threads, _ = chooser.next()
        chooser.took(threads, 1, seconds)
    assert chooser.next() == (1, False)
    assert chooser.choosing


def test_long_steps_of_threads_that_wait_for_cores_are_found_out() -> None:
    """Their time says nothing about how long a step takes."""
    chooser = ThreadChooser(2, fixed=False)
    assert settle(chooser, {2: 0.02, 1: 80e-6}) == 1
    assert chooser.choosing


def test_one_planned_thread_leaves_nothing_to_choose() -> None:
    chooser = ThreadChooser(1, fixed=False)
    assert settle(chooser, {1: 10e-6}) == 1


class Recorded:
    """A Program that notes the threads of its runs."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.runs: list[int] = []

    def run(self, *args: object, **options: object) -> RunResult:
        self.runs.append(self.threads)
        return RunResult(np.zeros((4, 1)), [], 4, "done", seconds=4e-3)


def test_leaves_a_core_to_a_thread_that_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_core, "granted_cpus", lambda: 4)
    for planned, expected in ((4, 3), (3, 3), (1, 1)):
        chooser, program = ThreadChooser(planned, fixed=True), Recorded(planned)
        chooser.beside = 1
        assert chooser.makes_room == (planned != expected)
        chooser.run(program)
        chooser.beside = 0
        chooser.run(program)
        assert program.runs == [expected, planned]


def test_runs_beside_a_reader_are_short_and_teach_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_core, "granted_cpus", lambda: 2)
    chooser, program = ThreadChooser(2, fixed=False), Recorded(2)
    chooser.beside = 1
    assert chooser.steps_beside() == 1
    chooser.run(program, timed=True)
    assert chooser.steps_beside() == 20  # of a millisecond each
    assert chooser.tried == {}
    assert chooser.step_seconds is None
    assert program.threads == 2
