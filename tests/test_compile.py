"""fp.compile: the same bits as without it, one Program for many calls, no silent constants."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from training import assert_same, network, training_step, weights

import fastprop as fp
from fastprop import functional as F
from fastprop import nn, optim

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 4)).astype(np.float32)
Y = np.sin(X[:, :1])


OPTIMIZERS = {
    "sgd": lambda m: optim.SGD(m.parameters(), lr=0.1, momentum=0.9),
    "adam": lambda m: optim.Adam(m.parameters(), lr=optim.schedules.Cosine(0.1, 30)),
    "adamw": lambda m: optim.AdamW(m.parameters(), lr=lambda step: 0.1 / (1 + step)),
}


# -- the same as eager -----------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_is_that_of_eager_bit_by_bit(optimizer: str, dtype: str, threads: int) -> None:
    eager, traced = network(4, 9, 1, dtype=dtype), network(4, 9, 1, dtype=dtype)
    steps = [
        training_step(eager, OPTIMIZERS[optimizer](eager)),
        fp.compile(training_step(traced, OPTIMIZERS[optimizer](traced)), threads=threads),
    ]
    x, y = X.astype(dtype), Y.astype(dtype)
    for rows in (16, 16, 7, 16, 1, 33, 7):
        a, b = (step(fp.tensor(x[:rows]), fp.tensor(y[:rows])) for step in steps)
        np.testing.assert_array_equal(a.data, b.data)
    assert_same(weights(eager), weights(traced))
    # 16 rows, and 33 that took its place; a batch of one row broadcasts, so it may differ.
    assert len(steps[1].programs) <= 2


def test_arrays_do_as_well_as_tensors() -> None:
    compiled = fp.compile(lambda x, y: (x * y).sum())
    assert compiled(X, X).item() == compiled(fp.tensor(X), fp.tensor(X)).item()
    assert len(compiled.programs) == 1


def test_structures_of_arguments_and_results() -> None:
    @fp.compile
    def function(pair, *, table):
        a, b = pair
        return {"sum": a + b, "parts": [table["x"] * 2.0, (a.sum(), None, "text")]}

    result = function((X, X), table={"x": np.float32(3)})
    np.testing.assert_array_equal(result["sum"].data, X + X)
    double, (total, nothing, text) = result["parts"]
    assert double.item() == 6.0
    assert total.shape == ()
    assert (nothing, text) == (None, "text")


def test_results_are_new_arrays_each_time() -> None:
    compiled = fp.compile(lambda x: (x.sum(axis=0), x * 2.0, x.sum()))
    first = compiled(X)
    kept = [t.data.copy() for t in first]
    compiled(X + 1)
    assert_same([t.data for t in first], kept)


def test_a_list_of_results_is_the_callers() -> None:
    compiled = fp.compile(lambda x: [x.sum(), x * 2.0])
    for _ in range(3):
        found = compiled(X)
        assert type(found) is list
        assert [t.shape for t in found] == [(), X.shape]
        found.clear()


def test_a_module_compiles() -> None:
    model = network(4, 9, 1)
    compiled = fp.compile(model)
    np.testing.assert_array_equal(compiled(X).data, model(X).data)
    model[0].weight.data = np.zeros((4, 9))
    np.testing.assert_array_equal(compiled(X).data, model(X).data)


def test_a_decorator_with_options() -> None:
    @fp.compile(threads=1)
    def double(x):
        """Twice."""
        return x * 2.0

    assert double.__doc__ == "Twice."
    assert double.__name__ == "double"
    np.testing.assert_array_equal(double(X).data, 2 * X)
    assert double.programs[0].threads == 1
    assert repr(double).startswith("<compile(double): 1 Programs of")


def test_int_arguments_and_results() -> None:
    compiled = fp.compile(lambda x, i: (F.take(x, i, axis=0), F.argmax(x, axis=1)))
    index = np.array([3, 1, 2])
    taken, best = compiled(X, index)
    np.testing.assert_array_equal(taken.data, X[index])
    np.testing.assert_array_equal(best.data, X.argmax(1))
    assert best.dtype == np.int64


def test_no_rows_and_no_arrays() -> None:
    compiled = fp.compile(lambda x: x * 2.0)
    assert compiled(np.zeros((0, 3), np.float32)).shape == (0, 3)
    parameter = fp.Parameter(np.arange(3.0))
    square = fp.compile(lambda: (parameter * parameter).sum())
    assert square().item() == 5.0
    parameter.data = np.ones(3)
    assert square().item() == 3.0


# -- one Program for many calls --------------------------------------------------------------------


def test_batches_of_any_size_share_a_program() -> None:
    traces = []

    @fp.compile
    def function(x):
        traces.append(len(traces))
        return (x * x).sum(axis=1), x.mean()

    for rows in (40, 3, 17, 40, 3):
        square, mean = function(X[:rows])
        np.testing.assert_allclose(square.data, (X[:rows] ** 2).sum(1), rtol=1e-6)
        np.testing.assert_allclose(mean.data, X[:rows].mean(), rtol=1e-5)
    assert len(function.programs) == 1
    assert len(traces) == 4  # twice for the first, once for every number of rows


def test_a_number_of_rows_that_python_has_read_is_no_constant() -> None:
    @fp.compile
    def function(x):
        scale = 2.0 if x.shape[0] > 10 else 1.0
        return x.sum() * scale / x.shape[0] + len(x)

    for rows in (40, 5, 17, 40, 11, 10, 5):
        scale = 2.0 if rows > 10 else 1.0
        wanted = float(X[:rows].sum()) * scale / rows + rows
        assert function(X[:rows]).item() == pytest.approx(wanted, rel=1e-5)


def test_what_does_not_go_by_rows_goes_as_a_whole() -> None:
    @fp.compile
    def gram(x):
        return x @ x.T, x.reshape(-1)[:3]

    for rows in (5, 7, 5):
        product, head = gram(X[:rows])
        np.testing.assert_allclose(product.data, X[:rows] @ X[:rows].T, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(head.data, X[:rows].reshape(-1)[:3])
    assert len(gram.programs) == 2
    (note,) = gram.notes
    assert "ValueError: transpose: axes (1, 0) would move the batch axis" in note
    assert "in gram: return x @ x.T" in note
    assert note in repr(gram)
    gram.cache_clear()
    assert gram.notes == []


def test_squeeze_takes_the_batch_of_one_row_away_as_eager() -> None:
    compiled = fp.compile(lambda x: F.squeeze(x * 2.0))
    for rows in (3, 1, 2):
        x = np.arange(rows * 4.0).reshape(rows, 1, 4)
        np.testing.assert_array_equal(compiled(x).data, (x * 2).squeeze())
    assert "squeeze: without axes it takes away the batch" in compiled.notes[0]
    named = fp.compile(lambda x: F.squeeze(x * 2.0, 1))
    assert [named(np.ones((rows, 1, 4))).shape for rows in (3, 1)] == [(3, 4), (1, 4)]
    assert len(named.programs) == 1

    class Flat(nn.Module):
        def forward(self, x):
            return F.squeeze(x)

    trainer = fp.Trainer(nn.Sequential(nn.Dense(4, 1), Flat()), "mse", "sgd")
    assert [trainer.predict(X[:rows]).shape for rows in (3, 1)] == [(3,), (1,)]  # a batch stays one


def test_an_exception_of_the_function_itself_is_raised_as_it_is() -> None:
    class Mine(ValueError):
        pass

    @fp.compile
    def function(x):
        raise Mine("not today")

    with pytest.raises(Mine, match="not today") as caught:
        function(X)
    assert caught.value.__suppress_context__  # by rows and as a whole: it is told once
    assert function.notes == []


def test_batches_of_two_sizes_in_one_call() -> None:
    compiled = fp.compile(lambda a, b: (a * a).mean() + (b * b).mean())
    for m, n in ((40, 5), (30, 5), (40, 7), (30, 7)):
        wanted = np.mean(X[:m] ** 2) + np.mean(X[:n] ** 2)
        assert compiled(X[:m], X[:n]).item() == pytest.approx(float(wanted), rel=1e-6)


def test_python_numbers_are_part_of_the_function() -> None:
    compiled = fp.compile(lambda x, factor, power: (x * factor) ** power)
    np.testing.assert_allclose(compiled(X, 2.0, 2).data, (2 * X) ** 2)
    np.testing.assert_allclose(compiled(X, 3.0, 2).data, (3 * X) ** 2)
    np.testing.assert_allclose(compiled(X, 2.0, 3).data, (2 * X) ** 3, rtol=1e-6)
    assert len(compiled.programs) == 3
    true, one = compiled(X, True, 1), compiled(X, 1, 1)
    np.testing.assert_array_equal(true.data, one.data)


def test_models_that_change_are_traced_anew() -> None:
    model = network(4, 9, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    step = fp.compile(training_step(model, optimizer))
    step(X, Y)
    model[0].weight.requires_grad = False
    before = weights(model)
    step(X, Y)
    after = weights(model)
    np.testing.assert_array_equal(before[0], after[0])
    assert not np.array_equal(before[2], after[2])


def test_hyper_parameters_that_change_are_noticed() -> None:
    eager, traced = network(4, 9, 1), network(4, 9, 1)
    a, b = (optim.SGD(m.parameters(), lr=0.1) for m in (eager, traced))
    steps = training_step(eager, a), fp.compile(training_step(traced, b))
    for change in ({}, {"lr": 0.5}, {"weight_decay": 0.1}, {"momentum": 0.5}):
        for optimizer in (a, b):
            for name, value in change.items():
                setattr(optimizer, name, value)
        for step in steps:
            step(fp.tensor(X), fp.tensor(Y))
        assert_same(weights(eager), weights(traced))


def test_training_mode_is_noticed() -> None:
    class Noisy(nn.Module):
        def forward(self, x):
            return x * (2.0 if self.training else 1.0)

    noisy = Noisy()
    compiled = fp.compile(noisy)
    for training in (True, False, True, False):
        noisy.train(training)
        np.testing.assert_array_equal(compiled(X).data, X * (2.0 if training else 1.0))
    assert len(compiled.programs) == 2


def test_a_compiled_function_inside_another_one() -> None:
    inner = fp.compile(lambda x: x * 2.0)
    outer = fp.compile(lambda x: inner(x).sum())
    assert outer(X).item() == pytest.approx(2 * float(X.sum()), rel=1e-5)
    assert inner.programs == []


def test_a_compiled_function_is_not_kept_alive_by_fastprop() -> None:
    compiled = fp.compile(lambda x: x * 2.0)
    compiled(X)
    gone = weakref.ref(compiled)
    del compiled
    gc.collect()
    assert gone() is None


# -- gradients -------------------------------------------------------------------------------------


def test_gradients_are_left_where_eager_leaves_them() -> None:
    eager, traced = network(4, 9, 1), network(4, 9, 1)

    def differentiate(model):
        def function(x):
            model(x).sum().backward()

        return function

    a, b = differentiate(eager), fp.compile(differentiate(traced))
    for _ in range(3):  # they add up
        a(fp.tensor(X))
        b(fp.tensor(X))
        for p, q in zip(eager.parameters(), traced.parameters(), strict=True):
            np.testing.assert_array_equal(p.grad.data, q.grad.data)


def test_gradients_by_arguments() -> None:
    compiled = fp.compile(lambda x, y: (x * y).sum().backward())
    x, y = fp.tensor(X, requires_grad=True), fp.tensor(X + 1)
    compiled(x, y)
    np.testing.assert_array_equal(x.grad.data, X + 1)
    assert y.grad is None


def test_tracing_leaves_gradients_as_they_were() -> None:
    model = network(4, 9, 1)
    model(X).sum().backward()
    before = [p.grad for p in model.parameters()]

    @fp.compile
    def function(x):
        model.zero_grad()
        loss = model(x).sum()
        loss.backward()
        raise KeyError("something else went wrong")

    with pytest.raises(KeyError):
        function(X)
    assert [p.grad for p in model.parameters()] == before


def test_gradients_that_an_optimizer_used_are_not_kept() -> None:
    model = network(4, 9, 1)
    step = fp.compile(training_step(model, optim.SGD(model.parameters(), lr=0.1)))
    step(X, Y)
    assert all(p.grad is None for p in model.parameters())


def test_gradients_of_higher_order() -> None:
    model = network(4, 9, 1, dtype="float64")

    def second(x):
        first = fp.grad(model(x).sum(), x, create_graph=True)
        return fp.grad((first**2).sum(), x)

    x = fp.tensor(X.astype(np.float64), requires_grad=True)
    np.testing.assert_allclose(fp.compile(second)(x).data, second(x).data, rtol=1e-12)


def test_functional_derivatives_compile() -> None:
    compiled = fp.compile(fp.value_and_grad(lambda x: (x**3).sum()))
    value, gradient = compiled(X)
    assert value.item() == pytest.approx(float((X**3).sum()), rel=1e-4)
    np.testing.assert_allclose(gradient.data, 3 * X**2, rtol=1e-6)


def test_no_grad_is_noticed() -> None:
    model = network(4, 9, 1)
    compiled = fp.compile(lambda x: model(x))
    compiled(X)
    with fp.no_grad():
        compiled(X)
    assert len(compiled.programs) == 2
