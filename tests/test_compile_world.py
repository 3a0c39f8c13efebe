"""What a compiled function reads besides its arguments: a change is noticed, nothing stale."""

from __future__ import annotations

import dataclasses
import functools
import gc
import weakref
from collections import Counter, OrderedDict, defaultdict
from types import SimpleNamespace

import numpy as np
import pytest

import fastprop as fp
from fastprop import functional as F
from fastprop import nn

X = np.random.default_rng(0).normal(size=(6, 3))
FACTOR = 2.0
SETTINGS = {"factor": 2.0, "more": [1.0, 2.0]}


class Settings:
    factor = 2.0


def scaled_by_global(x):
    return x * FACTOR


def times(x, factor):
    return x * factor


class Agent:
    discount = 0.5

    def __init__(self) -> None:
        self.scale, self.seen = 2.0, 0

    @fp.compile
    def step(self, x):
        return x * (self.discount * self.helper())

    def helper(self):
        return self.scale


def values(result) -> np.ndarray:
    return result.data.copy()


def test_closures_globals_and_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    cell, kept, table = 2.0, [2.0], {"k": {"factor": 2.0}}
    space = SimpleNamespace(factor=2.0)

    def by_cell(x):
        return x * cell

    def nested(x):
        def inner():
            return x * Settings.factor

        return inner()

    def rebind() -> None:
        nonlocal cell
        cell = 3.0

    part = functools.partial(times, factor=kept)
    part.keywords["factor"] = 2.0
    cases = [
        (by_cell, rebind),
        (lambda x: by_cell(x), lambda: None),
        (lambda x: x * kept[0], lambda: kept.__setitem__(0, 3.0)),
        (lambda x: x * table["k"]["factor"], lambda: table["k"].update(factor=3.0)),
        (lambda x: x * space.factor, lambda: setattr(space, "factor", 3.0)),
        (part, lambda: part.keywords.update(factor=3.0)),
        (scaled_by_global, lambda: monkeypatch.setitem(globals(), "FACTOR", 3.0)),
        (lambda x: scaled_by_global(x), lambda: monkeypatch.setitem(globals(), "FACTOR", 4.0)),
        (lambda x: x * SETTINGS["factor"], lambda: monkeypatch.setitem(SETTINGS, "factor", 3.0)),
        (nested, lambda: monkeypatch.setattr(Settings, "factor", 3.0)),
    ]
    for function, change in cases:
        compiled = fp.compile(function)
        for _ in range(2):
            np.testing.assert_array_equal(values(compiled(X)), function(fp.tensor(X)).data)
            change()
            np.testing.assert_array_equal(values(compiled(X)), function(fp.tensor(X)).data)


def test_a_value_that_returns_finds_its_program() -> None:
    k = 1.0
    compiled = fp.compile(lambda x: x * k)
    for k in (1.0, 2.0, 1.0, 2.0, 1.0):
        np.testing.assert_array_equal(compiled(X).data, X * k)
    assert compiled.traces == 3
    assert len(compiled.programs) == 2


def test_attributes_of_the_object_of_a_method() -> None:
    agent, other = Agent(), Agent()
    np.testing.assert_array_equal(agent.step(X).data, X)
    traces = Agent.step.traces
    agent.seen = 5  # which the method does not read
    np.testing.assert_array_equal(agent.step(X).data, X)
    assert Agent.step.traces == traces
    agent.scale = 6.0
    np.testing.assert_array_equal(agent.step(X).data, X * 3.0)
    agent.discount = 1.0  # hides the one of the class
    np.testing.assert_array_equal(agent.step(X).data, X * 6.0)
    np.testing.assert_array_equal(other.step(X).data, X)


def test_a_counter_that_decides_nothing_costs_one_more_trace_at_most() -> None:
    count = [0]

    def function(x):
        count[0] += 1
        return x * 2.0

    compiled = fp.compile(function)
    for _ in range(3):
        np.testing.assert_array_equal(compiled(X).data, X * 2.0)
    assert compiled.traces == 2
    count[0] = 7
    compiled(X)
    assert compiled.traces == 3
    assert len(compiled.programs) == 1


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Dense(3, 3, dtype=np.float64)
        self.scale, self.options, self.last = 2.0, {"shift": 1.0}, None

    def forward(self, x):
        y = self.inner(x) * self.scale + self.options["shift"]
        self.last = y
        return y


def test_attributes_of_modules() -> None:
    model = Scaled()
    outer = nn.Sequential(model, nn.Dropout(0.5))
    for compiled in (fp.compile(model), fp.compile(lambda x: model(x) * 1.0), fp.compile(outer)):
        outer.eval()
        for change in (
            lambda: setattr(model, "scale", model.scale + 1.0),
            lambda: model.options.update(shift=model.options["shift"] + 1.0),
        ):
            compiled(X)
            change()
            np.testing.assert_allclose(values(compiled(X)), outer(X).data, atol=1e-14)
        traces = compiled.traces
        model.last = fp.tensor(X, requires_grad=True) * 2.0  # a kept result decides nothing
        compiled(X)
        assert compiled.traces == traces


def test_a_rate_of_dropout_that_changes() -> None:
    drop = nn.Dropout(0.5)
    compiled = fp.compile(drop)
    ones = np.ones((100, 10), np.float32)
    assert compiled(ones).data.max() == 2.0
    drop.p = 0.75
    assert compiled(ones).data.max() == 4.0


@pytest.mark.parametrize("how", ["op", "item"])
def test_tensors_from_outside_that_are_assigned(how: str) -> None:
    t = fp.tensor(np.ones(()))
    compiled = fp.compile(lambda x: x * (F.exp(t) if how == "op" else t.item()))
    for value in (0.0, 1.0):
        t.data = np.asarray(value)
        expected = X * (np.exp(value) if how == "op" else value)
        np.testing.assert_allclose(compiled(X).data, expected, rtol=1e-15)
    direct = fp.compile(lambda x: x * t)
    for value in (0.0, 1.0, 2.0):
        t.data = np.asarray(value)
        np.testing.assert_array_equal(direct(X).data, X * value)
    assert direct.traces == 2  # the Program reads it where it lies


def test_values_of_parameters_cannot_be_asked_for() -> None:
    p = fp.Parameter(np.ones(1))
    for look in (
        lambda: p.item(),
        lambda: bool(p > 0),
        lambda: np.asarray(p),
        lambda: p.numpy(),
        lambda: p.tolist(),
    ):

        def function(x, look=look):
            look()
            return x

        with pytest.raises(fp.TraceError, match=r"value of a Tensor .*test_compile_world\.py") as e:
            fp.compile(function)(X)
        assert "fastprop.where" in str(e.value)

    def assigning(x):
        p.data = np.zeros(1)
        return x

    with pytest.raises(fp.TraceError, match=r"Parameter\.data = …: .* would happen once"):
        fp.compile(assigning)(X)
    np.testing.assert_array_equal(p.data, np.ones(1))


@dataclasses.dataclass
class Batch:
    inputs: object
    weight: float = 1.0


@dataclasses.dataclass(frozen=True)
class Result:
    loss: object
    parts: tuple


def test_numbers_of_rows_among_the_results() -> None:
    compiled = fp.compile(lambda x: (x.sum(), x.shape, {"rows": len(x)}))
    for rows in (6, 4, 6, 2):
        total, shape, counts = compiled(X[:rows])
        np.testing.assert_allclose(total.item(), X[:rows].sum(), rtol=1e-14)
        assert shape == (rows, 3)
        assert counts == {"rows": rows}


def test_dataclasses_and_other_containers() -> None:
    def function(batch):
        return Result((batch.inputs * batch.weight).sum(), (batch.inputs, len(batch.inputs)))

    compiled = fp.compile(function)
    for batch in (Batch(X), Batch(X[:2]), Batch(X * 2.0), Batch(X, 3.0)):
        found = compiled(batch)
        assert type(found) is Result
        np.testing.assert_allclose(found.loss.item(), np.sum(batch.inputs * batch.weight))
        np.testing.assert_array_equal(found.parts[0].data, batch.inputs)
        assert found.parts[1] == len(batch.inputs)
    for kind in (dict, OrderedDict, Counter, lambda **items: defaultdict(list, **items)):
        given = kind(a=X, b=X * 2.0)
        found = fp.compile(lambda d: type(d)(a=d["a"]) if type(d) is Counter else d)(given)
        assert type(found) is type(given)
        np.testing.assert_array_equal(found["a"].data, X)


class Holder:
    def __init__(self, value) -> None:
        self.value = value


@pytest.mark.parametrize(
    "function",
    [lambda x: Holder(x * 2.0), lambda x: (t for t in [x]), lambda x: {x}, lambda x: [Holder(x)]],
)
def test_tensors_hidden_in_results_are_refused(function) -> None:
    with pytest.raises(fp.TraceError, match="that holds Tensors, which have values only when"):
        fp.compile(function)(X)


def test_tensors_as_keys_are_refused() -> None:
    with pytest.raises(TypeError, match="keys of a dict must not be arrays or Tensors"):
        fp.compile(lambda x: {x: 1})(X)


def test_a_call_without_rows_gets_tensors_too() -> None:
    seen = []

    @fp.compile
    def function(x, scale):
        seen.append((type(x), type(scale)))
        return x.sum() * scale

    found = function(X[:0], np.float64(2.0))
    assert type(found) is fp.Tensor
    with fp.detect_anomaly():
        assert type(function(X, np.float64(2.0))) is fp.Tensor
    assert set(seen) == {(fp.Tensor, fp.Tensor)}


def test_what_was_read_before_is_forgotten() -> None:
    """Every array that the function reads, though no value of it, is another one to look at."""
    table = np.ones((3, 2))
    compiled = fp.compile(lambda x: x * len(table))
    gone = []
    for _ in range(3):
        table = np.ones((3, 2))
        gone.append(weakref.ref(table))
        compiled(X)
    assert len(compiled.programs) == 1
    gc.collect()
    assert [array() is None for array in gone] == [True, True, False]
