"""Functions that fp.compile cannot trace: an error that says where, nothing silently constant."""

from __future__ import annotations

import numpy as np
import pytest
from training import assert_same, network, weights

import fastprop as fp
from fastprop import optim

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 4)).astype(np.float32)
Y = np.sin(X[:, :1])


# -- what cannot be traced -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "look",
    [
        lambda t: bool(t > 0),
        float,
        lambda t: t.item(),
        lambda t: np.asarray(t),
        lambda t: t.numpy(),
        lambda t: t.tolist(),
        lambda t: f"{t:.3f}",
        lambda t: np.exp(np.asarray(t)),
    ],
)
def test_choosing_by_a_value_is_an_error_that_says_where(look) -> None:
    @fp.compile
    def function(x):
        total = x.sum()
        look(total)
        return total

    with pytest.raises(fp.TraceError, match=r"test_compile_errors\.py:\d+ in .*fastprop\.where"):
        function(X)


def test_the_line_of_the_condition_is_named() -> None:
    @fp.compile
    def function(x):
        if x.sum() > 0:
            return x
        return -x

    with pytest.raises(
        fp.TraceError, match=r"test_compile_errors\.py:\d+ in function: if x\.sum\(\) > 0:\)"
    ):
        function(X)


def test_a_tensor_that_leaks_out() -> None:
    leaked = []

    @fp.compile
    def function(x):
        leaked[:] = [x * 2.0]
        return x.sum()

    function(X)
    with pytest.raises(fp.TraceError, match="leaked out of a function"):
        leaked[0].numpy()
    with pytest.raises(fp.TraceError, match="leaked out of a function"):
        fp.compile(lambda x: x + leaked[0])(X)


def test_a_tensor_that_leaked_out_gives_no_gradients() -> None:
    """They would be symbolic, too, and become those of parameters."""
    layer, leaked = fp.nn.Dense(X.shape[1], 1, dtype=X.dtype), []
    fp.compile(lambda x: leaked.append(layer(x)) or x)(X)
    for differentiate in (
        lambda: leaked[0].sum().backward(),
        lambda: leaked[0].backward(fp.tensor(np.ones((len(X), 1)))),
        lambda: fp.grad(leaked[0].sum(), layer.weight).numpy(),
    ):
        with pytest.raises(fp.TraceError, match="leaked out of a function"):
            differentiate()
    assert layer.weight.grad is None


def test_random_numbers_of_numpy_are_refused() -> None:
    generator = np.random.default_rng(0)
    compiled = fp.compile(lambda x: x + fp.tensor(generator.normal(size=4).astype(np.float32)))
    with pytest.raises(fp.TraceError, match="does not do the same each time"):
        compiled(X)


def test_a_step_before_backward_is_refused() -> None:
    model = network(4, 9, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    @fp.compile
    def function(x):
        optimizer.step()
        model(x).sum().backward()

    with pytest.raises(RuntimeError, match=r"SGD\.step: .* call backward\(\) before step\(\)"):
        function(X)


def test_a_gradient_from_before_is_refused_where_it_would_be_used() -> None:
    model = network(4, 9, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    @fp.compile
    def function(x):
        model(x).sum().backward()
        optimizer.step()

    model(X).sum().backward()
    before = weights(model)
    with pytest.raises(RuntimeError, match=r"zero_grad\(\) first"):
        function(X)
    assert_same(before, weights(model))
    optimizer.zero_grad()
    function(X)


def test_errors_of_shapes_are_those_of_eager() -> None:
    model = network(4, 9, 1)
    with pytest.raises(ValueError, match="x has 3 columns"):
        fp.compile(model)(X[:, :3])
    with pytest.raises(TypeError, match="different dtypes"):
        fp.compile(lambda x: x + fp.tensor(X.astype(np.float64)))(X)


@pytest.mark.parametrize("wrong", [3, "text", None.__class__.__mro__])
def test_what_is_no_function(wrong) -> None:
    with pytest.raises(TypeError, match="compile: expects a function or a module, got"):
        fp.compile(wrong)


def test_objects_that_hold_numbers_are_refused() -> None:
    class Frame:
        def __array__(self, dtype=None, copy=None):
            return X

    compiled = fp.compile(lambda x: x + 1.0)
    with pytest.raises(TypeError, match=r"an argument is a Frame, .*give np\.asarray\(argument\)"):
        compiled(Frame())
    with pytest.raises(TypeError, match="complex128"):
        compiled(X.astype(complex))


def test_containers_that_contain_themselves() -> None:
    def own() -> list:
        items = [np.ones(3)]
        items.append(items)
        return items

    @fp.compile
    def first(items):
        return items[0]

    with pytest.raises(
        ValueError, match=r"compile: an argument or result is a container .* itself"
    ):
        first(own())
    with pytest.raises(ValueError, match="contains itself"):
        fp.compile(lambda x: own())(np.ones(3))


def test_arguments_that_are_others_in_each_call() -> None:
    compiled = fp.compile(lambda x, factor: x * factor)
    for k in range(32):
        assert compiled(X[:2], k / 8).data[0, 0] == X[0, 0] * np.float32(k / 8)
    with pytest.warns(RuntimeWarning, match=r"more than 32 kinds .*np\.float32\(value\)"):
        compiled(X[:2], 4.0)
    compiled(X[:2], 4.125)  # says so once
    assert len(compiled.programs) == 32
    assert compiled.traces == 68
    other = fp.compile(lambda x, factor: x * factor)
    for k in range(40):
        other(X[:2], np.float32(k / 8))
    assert other.traces == 2


def test_a_gradient_of_another_dtype_or_shape() -> None:
    y = fp.compile(lambda x: x * x)(fp.tensor(X, requires_grad=True))
    with pytest.raises(TypeError, match=r"backward: the gradient is float64, the output float32"):
        y.backward(np.ones(X.shape), retain_graph=True)
    with pytest.raises(ValueError, match=r"backward: gradient has shape \(4,\)"):
        y.backward(np.ones(4, np.float32), retain_graph=True)
    with pytest.raises(ValueError, match="is not a scalar"):
        y.backward()
