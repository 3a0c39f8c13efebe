"""Where the threads' cores are, and which timed turns count because of it."""

from __future__ import annotations

import json

import pytest

from fastprop import _core
from fastprop.inspect.placement import (
    BUSY,
    FAR,
    HALVES,
    SHARED_CACHE,
    Placement,
    measure_placement,
    relation,
)
from fastprop.inspect.turns import Turns, dropped_text, elsewhere_text

NEAR, AWAY, HALF = Placement(SHARED_CACHE, 130e-9), Placement(FAR, 560e-9), Placement(HALVES, 5e-8)


# -- the rule --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nanoseconds", "gain", "expected"),
    [
        ([55], 0.5, HALVES),  # server, virtual machine
        ([16], 0.55, HALVES),  # desktop
        ([40], 0.97, SHARED_CACHE),  # desktop: cores as quick as another one's halves
        ([99], 0.69, HALVES),
        ([99], 0.71, SHARED_CACHE),
        ([130], None, SHARED_CACHE),
        ([200], None, SHARED_CACHE),  # a mesh, or two chiplets of one chip
        ([560], None, FAR),
        ([2100], None, BUSY),
        ([130, 10_000_000], None, BUSY),
        ([130, 140, 560], None, FAR),  # one of four threads is elsewhere
        ([50, 130, 130], 0.5, HALVES),
        ([50, 560, 560], None, FAR),
    ],
)
def test_relation(nanoseconds: list[float], gain: float | None, expected: str) -> None:
    def measured() -> float:
        assert gain is not None, "the peak is not needed here"
        return gain

    assert relation([1e-9 * ns for ns in nanoseconds], measured) == expected


def test_measured_placement() -> None:
    assert measure_placement(1) is None
    found = measure_placement(2)
    assert found is not None
    assert found.relation in (SHARED_CACHE, FAR, HALVES, BUSY)
    assert 1e-9 < found.round_trip <= 10e-3
    assert f"takes {1e9 * found.round_trip:.0f} ns" in str(found)


def test_round_trips_and_peak() -> None:
    assert _core.line_round_trips(1) == []
    assert len(_core.line_round_trips(3)) == 2
    assert _core.multiply_add_peak(2) > 0


@pytest.mark.parametrize("name", ["line_round_trips", "multiply_add_peak"])
def test_measurements_refuse(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: threads must be 1 to 4096, got 0"):
        getattr(_core, name)(0)


# -- turns -----------------------------------------------------------------------------------------


class World:
    """A clock that only sleeping and running move, and placements that follow a script."""

    def __init__(self, *placements: Placement) -> None:
        self.now = 0.0
        self.events: list[str] = []
        self._placements = list(placements)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.events.append("sleep")

    def look(self) -> Placement:
        self.now += 0.001
        self.events.append("look")
        return self._placements.pop(0) if len(self._placements) > 1 else self._placements[0]

    def turns(self, patience: float, threads: int = 2, **options) -> Turns:
        own = {"look": self.look, "clock": self.clock, "sleep": self.sleep}
        return Turns(threads, patience, **own, **options)

    def run(self) -> float:
        """A turn of a second, which finds the time at which it began."""
        self.events.append("run")
        began = self.now
        self.now += 1
        return began


def test_a_turn_near_each_other_counts_at_once() -> None:
    world = World(NEAR)
    turns = world.turns(10, settle=0.05)
    assert turns.take("a", world.run, lambda: world.events.append("prepare")) > 0
    assert world.events == ["prepare", "sleep", "look", "run", "look"]
    assert [turn.counted for turn in turns.log] == [True]
    assert turns.patience == 10
    assert dropped_text(turns.log) == elsewhere_text(turns.log) == ""


def test_nothing_is_started_before_the_cores_share_a_cache() -> None:
    world = World(AWAY, HALF, AWAY, NEAR)
    turns = world.turns(10)
    turns.take("a", world.run)
    assert world.events == ["look", *["sleep", "look"] * 3, "run", "look"]
    assert [turn.counted for turn in turns.log] == [True]
    assert turns.patience == pytest.approx(10 - 3 * 0.01 - 4 * 0.001)


def test_a_turn_after_which_the_cores_are_elsewhere_is_repeated_and_kept_in_the_log() -> None:
    world = World(NEAR, AWAY, NEAR, HALF, NEAR)
    turns = world.turns(10)
    value = turns.take("a", world.run)
    assert [(t.counted, t.relation) for t in turns.log] == [
        (False, FAR),
        (False, HALVES),
        (True, SHARED_CACHE),
    ]
    assert value == turns.log[-1].value > turns.log[0].value
    assert turns.patience == pytest.approx(10 - 2)  # two turns of a second
    assert dropped_text(turns.log) == (
        "2 of 3 turns dropped (1 no shared cache, 1 halves of one core)"
    )
    assert elsewhere_text(turns.log) == ""


def test_patience_comes_to_an_end_and_then_turns_count_and_are_named() -> None:
    world = World(AWAY)
    turns = world.turns(0.5)
    for _ in range(3):
        turns.take("a", world.run)
    assert [turn.counted for turn in turns.log] == [True, True, True]
    assert turns.patience <= 0
    assert world.events.count("run") == 3
    assert elsewhere_text(turns.log) == "no shared cache: 3 of 3 turns"


def test_any_placement_counts_everything_but_notes_where_it_was() -> None:
    world = World(AWAY, NEAR, NEAR, HALF)
    turns = world.turns(10, any_placement=True)
    turns.take("a", world.run)
    turns.take("b", world.run)
    assert world.events == ["look", "run", "look"] * 2
    assert elsewhere_text(turns.log) == (
        "no shared cache: 1 of 2 turns, halves of one core: 1 of 2 turns"
    )
    assert turns.patience == 10


def test_one_thread_is_not_looked_at() -> None:
    world = World(AWAY)
    turns = world.turns(10, threads=1)
    assert turns.take("a", world.run) == 0
    assert world.events == ["run"]
    assert turns.log[0].to_dict() == {
        "who": "a",
        "value": 0.0,
        "counted": True,
        "before": None,
        "after": None,
    }


def test_a_turn_without_a_value_ends_without_a_repetition() -> None:
    world = World(NEAR, AWAY)
    turns = world.turns(10)
    assert turns.take("a", lambda: None) is None
    assert turns.log == []


def test_the_log_is_json() -> None:
    world = World(NEAR, AWAY, NEAR)
    turns = world.turns(10)
    turns.take("a", world.run)
    first, second = json.loads(json.dumps([turn.to_dict() for turn in turns.log]))
    assert first["after"] == {"relation": FAR, "round_trip": 560e-9}
    assert (first["counted"], second["counted"]) == (False, True)
