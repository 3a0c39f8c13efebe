"""The number of threads that a Trainer settles on, from given times."""

from __future__ import annotations

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


def test_does_not_try_long_steps_on_one_thread() -> None:
    chooser = ThreadChooser(4, fixed=False)
    chooser.took(4, 1, 0.2)
    assert [chooser.next()[0] for _ in range(5)] == [4] * 5
    assert chooser.step_seconds == 0.2


def test_one_planned_thread_leaves_nothing_to_choose() -> None:
    chooser = ThreadChooser(1, fixed=False)
    assert settle(chooser, {1: 10e-6}) == 1
