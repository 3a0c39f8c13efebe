"""Ways to compile: decorators, methods, modules; what arguments may be; what can be seen of it."""

from __future__ import annotations

import copy
import gc
import inspect
import pickle
import weakref
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
import pytest
from training import network

import fastprop as fp
from fastprop import functional as F
from fastprop import nn, optim

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 4)).astype(np.float32)


class Pair(NamedTuple):
    first: object
    second: object


def test_metadata() -> None:
    @fp.compile
    def scaled(x: fp.Tensor, *, factor: float = 2.0) -> fp.Tensor:
        """Larger."""
        return x * factor

    assert (scaled.__name__, scaled.__doc__, scaled.__module__) == ("scaled", "Larger.", __name__)
    assert list(inspect.signature(scaled).parameters) == ["x", "factor"]
    assert scaled.__wrapped__ is scaled.function
    np.testing.assert_array_equal(scaled(X).data, 2 * X)
    np.testing.assert_array_equal(scaled(X, factor=3.0).data, 3 * X)


def test_methods() -> None:
    class Model(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.layer = nn.Dense(4, width)

        @fp.compile
        def forward(self, x):
            """Up."""
            return F.tanh(self.layer(x))

        @fp.compile(threads=1)
        def loss(self, x, *, scale):
            return (self(x) * scale).sum()

        @staticmethod
        @fp.compile
        def double(x):
            return x * 2.0

    small, large = Model(3), Model(5)
    for model in (small, large, small):
        np.testing.assert_array_equal(model(X).data, F.tanh(model.layer(X)).data)
        model.loss(X, scale=np.float32(2.0)).backward()
        assert model.layer.weight.grad.shape == model.layer.weight.shape
        model.zero_grad()
    assert Model.forward.traces == 4
    assert Model.loss.programs[0].threads == 1
    assert small.forward.__doc__ == "Up."
    np.testing.assert_array_equal(Model.double(X).data, 2 * X)
    np.testing.assert_array_equal(small.double(X).data, 2 * X)


def test_bound_methods_and_modules() -> None:
    model = network(4, 9, 1)
    for compiled in (fp.compile(model), fp.compile(model.forward), fp.compile(model[0].forward)):
        wanted = compiled.function(fp.tensor(X))
        np.testing.assert_array_equal(compiled(X).data, wanted.data)

    class Holder:
        step = fp.compile(model)  # no function, so no method

    np.testing.assert_array_equal(Holder().step(X).data, model(X).data)


def test_nested_arguments_and_results() -> None:
    @fp.compile
    def function(*args, **options):
        pair, table, nothing = args
        assert nothing is None
        a, b = pair.first, table["deep"][0][1]
        return OrderedDict(sum=a + b), Pair(a * options["k"], [None, (pair.second, b)]), True

    for k in (2.0, 3.0):
        result, pair, flag = function(
            Pair(X, "name"), {"deep": [(1, X + 1), slice(0, 3)]}, None, k=np.float32(k)
        )
        assert isinstance(result, OrderedDict)
        assert isinstance(pair, Pair)
        np.testing.assert_array_equal(result["sum"].data, X + (X + 1))
        np.testing.assert_array_equal(pair.first.data, X * np.float32(k))
        assert pair.second[0] is None
        assert pair.second[1][0] == "name"
        assert flag is True
    assert function.traces == 2
    assert function.calls == 2


@pytest.mark.parametrize("key", [slice(0, 3), range(3), "ab", 1.5, None, 2, (1, (2,)), Ellipsis])
def test_values_that_are_equal_are_no_new_kind_of_argument(key) -> None:
    compiled = fp.compile(lambda x, key: x * 2.0)
    copies = {slice: lambda: slice(0, 3), range: lambda: range(3)}
    for _ in range(3):
        compiled(X, copies.get(type(key), lambda: key)())
    assert compiled.traces == 2


def test_what_can_be_seen() -> None:
    compiled = fp.compile(network(4, 9, 1))
    assert repr(compiled) == "<compile(Sequential): new>"
    for rows in (40, 7, 40):
        compiled(X[:rows])
    assert (compiled.calls, compiled.traces, len(compiled.programs)) == (3, 3, 1)
    assert repr(compiled).startswith("<compile(Sequential): 1 Programs of")
    compiled.cache_clear()
    assert compiled.programs == []
    compiled(X)
    assert compiled.traces == 5


def test_an_object_that_a_call_was_given_is_kept_only_while_its_program_is() -> None:
    class Options:
        factor = 2.0

    compiled = fp.compile(lambda x, options: x * options.factor)
    options = Options()
    compiled(X, options)
    gone = weakref.ref(options)
    del options
    compiled.cache_clear()
    gc.collect()
    assert gone() is None


def test_calls_with_arrays_alone_notice_what_differs() -> None:
    """The same shapes again take a short way, which must not be taken for anything else."""
    model = network(4, 9, 1)
    compiled = fp.compile(lambda x, y: model(x) * y)
    y = np.float32(2.0) * X[:, :1]
    wanted = model(X).data * y

    def check(a, b, *, history: bool = True) -> None:
        result = compiled(a, b)
        np.testing.assert_array_equal(result.data, wanted)
        assert result.requires_grad is history

    for _ in range(2):
        check(X, y)
        check(fp.tensor(X), y)
        check(np.asfortranarray(X), y)
        check(X.astype(">f4"), fp.tensor(y))
        check(np.repeat(X, 2, axis=0)[::2], b=y)
        with fp.no_grad():
            check(X, y, history=False)
        leaf = fp.tensor(X, requires_grad=True)
        assert fp.grad(compiled(leaf, y).sum(), leaf).shape == X.shape
        with pytest.raises(ValueError, match="columns"):
            compiled(X[:, :3], y)
        with pytest.raises(TypeError, match="float32"):
            compiled(X.astype(np.float64), y)
        with fp.detect_anomaly():
            check(X, y)
        model[0].bias.requires_grad = not model[0].bias.requires_grad
        model[0].weight.data = 1.5 * model[0].weight.data
        wanted = model(X).data * y
        check(X, y)
        assert compiled(X[:0], y[:0]).shape == (0, 1)
    half = fp.compile(lambda x: x * 2.0)
    for _ in range(3):
        assert half(X.astype(np.float16)).dtype == np.float32
        assert half(X > 0).dtype == np.float32


def test_calls_like_the_latest_take_no_python(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network(4, 9, 1)
    compiled = fp.compile(model, threads=1)
    parameters = list(model.parameters())

    def gradients(rows: int) -> list[np.ndarray]:
        found = fp.grad((compiled(X[:rows]) ** 2).mean(), parameters)
        return [g.data for g in found]

    for _ in range(3):  # traced, differentiated, with what derivatives need
        gradients(40), gradients(7)
    found = [gradients(40), gradients(7)]

    def refuse(*_: object) -> None:
        raise AssertionError("Python was asked")

    monkeypatch.setattr("fastprop.tracing.compile.take_apart", refuse)
    monkeypatch.setattr("fastprop.tracing.history.is_tracing", refuse)
    for again, known in zip([gradients(40), gradients(7)], found, strict=True):
        for a, b in zip(again, known, strict=True):
            np.testing.assert_array_equal(a, b)
    wanted = fp.grad((model(X) ** 2).mean(), parameters)
    for a, eager in zip(found[0], wanted, strict=True):
        np.testing.assert_allclose(a, eager.data, rtol=1e-4, atol=1e-6)
    with pytest.raises(AssertionError, match="Python was asked"):
        compiled(X[:11])  # a number of rows that nobody has seen


def test_derivatives_by_several_results_take_no_python(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = network(4, 9, 1), network(4, 5, 2)

    def function(x):
        return first(x), second(x)

    def gradients(of, both: bool) -> list[np.ndarray]:
        a, b = of(X)
        loss = (a**2).sum() + (b**3).sum() + b.sum() if both else (a**2).sum()
        parameters = [*first.parameters(), *(second.parameters() if both else ())]
        return [g.data for g in fp.grad(loss, parameters)]

    compiled = fp.compile(function, threads=1)
    for _ in range(3):  # traced, differentiated, with what derivatives need
        gradients(compiled, True), gradients(compiled, False)

    def refuse(*_: object) -> None:
        raise AssertionError("Python was asked")

    monkeypatch.setattr("fastprop.tracing.history.is_tracing", refuse)
    monkeypatch.setattr("fastprop.tracing.structure.put_together", refuse)
    for both in (True, False):
        for found, eager in zip(gradients(compiled, both), gradients(function, both), strict=True):
            np.testing.assert_allclose(found, eager, rtol=1e-5, atol=1e-5)


def test_rows_that_meet_another_extent_are_a_batch() -> None:
    """An argument that is no batch, but has as many rows as one, is one in that call."""
    compiled = fp.compile(lambda x, y: x.sum() * y, threads=1)
    y = rng.normal(size=(5, 2)).astype(np.float32)
    for rows in (3, 5, 3, 5, 4, 5):
        result = compiled(X[:rows], y)
        assert result.shape == (5, 2)
        np.testing.assert_allclose(result.data, X[:rows].sum() * y, rtol=1e-4, atol=1e-5)


def test_a_larger_batch_takes_over_the_smaller_ones() -> None:
    """Its Program takes the place of theirs, so they are not traced again."""
    compiled = fp.compile(network(4, 9, 1), threads=1)
    for rows in (3, 5, 40):
        compiled(X[:rows])
    traces = compiled.traces
    for rows in (5, 3, 40):
        compiled(X[:rows])
    assert (compiled.traces, len(compiled.programs)) == (traces, 1)


def test_a_model_in_two_modes_keeps_both_programs() -> None:
    model = nn.Sequential(nn.Dense(4, 6), nn.Dropout(0.5), nn.Dense(6, 1))
    compiled = fp.compile(model, threads=1)
    for _ in range(3):
        model.train()
        trained = compiled(X)
        model.eval()
        np.testing.assert_array_equal(compiled(X).data, compiled(X).data)
        assert not np.array_equal(trained.data, compiled(X).data)
    assert len(compiled.programs) == 2


def test_steps_of_several_optimizers_in_one_call() -> None:
    """Numbers of steps are counted for each optimizer, those that step twice included."""
    model = network(4, 5, 1)
    first = optim.Adam(model[0].parameters(), lr=0.01)
    second = optim.SGD(model[-1].parameters(), lr=0.1)

    def step(x):
        for optimizer in (first, second, first):
            loss = (model(x) ** 2).mean()
            first.zero_grad()
            second.zero_grad()
            loss.backward()
            optimizer.step()
        return loss

    start = model.state_dict()
    compiled = fp.compile(step, threads=1)
    fast = [compiled(X).item() for _ in range(4)]
    assert (first.steps, second.steps) == (8, 4)
    model.load_state_dict(start)
    first, second = (
        optim.Adam(model[0].parameters(), lr=0.01),
        optim.SGD(model[-1].parameters(), lr=0.1),
    )
    np.testing.assert_allclose(fast, [step(X).item() for _ in range(4)], rtol=1e-5)


def test_copies_trace_by_themselves() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Dense(4, 2)
            self.fast = fp.compile(self.layer, seed=3)

        def forward(self, x):
            return self.fast(x)

    model = Model()
    before = model(X).data
    other = copy.deepcopy(model)
    assert other.fast.function is other.layer
    assert (other.fast.calls, other.fast.programs) == (0, [])
    other.layer.weight.data = np.zeros((4, 2))
    np.testing.assert_array_equal(other(X).data, np.zeros((40, 2)))
    np.testing.assert_array_equal(model(X).data, before)
    again = pickle.loads(pickle.dumps(fp.compile(nn.Dense(4, 2))))
    assert again(X).shape == (40, 2)
