"""What counts as a change of a model: programs and calls that are kept look at the count alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from training import network

from fastprop.graph.changes import CHANGES, Table

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.__setitem__("c", 3),
        lambda t: t.__delitem__("a"),
        lambda t: t.pop("a"),
        lambda t: t.popitem(),
        lambda t: t.clear(),
        lambda t: t.setdefault("c", 3),
        lambda t: t.update(a=3),
        lambda t: t.__ior__({"a": 3}),
    ],
)
def test_every_change_of_a_table_counts(change: Callable[[Table], object]) -> None:
    table, plain = Table(a=1, b=2), {"a": 1, "b": 2}
    before = CHANGES.latest
    change(table)
    change(plain)  # type: ignore[arg-type]
    assert CHANGES.latest != before
    assert table == plain
    before = CHANGES.latest
    assert table.pop("none", None) is None
    assert table.get("b") == plain.get("b")
    assert CHANGES.latest == before


def test_attributes_count_when_they_get_another_value() -> None:
    model = network(3, 2)
    before = CHANGES.latest
    model.scale = 1.0  # nothing could have read it
    model.scale = 1.0
    model.result = model(X)
    model.result = model(X)  # kept for whoever wants to see it
    assert CHANGES.latest == before
    model.scale = 2.0
    assert CHANGES.latest != before
