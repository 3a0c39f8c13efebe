"""fp.custom_op: ops of the user on NumPy arrays, eager and inside Programs."""

from __future__ import annotations

import numpy as np
import pytest
from training import assert_same, training_step, weights

import fastprop as fp
from fastprop import nn, optim

rng = np.random.default_rng(0)
X = rng.normal(size=(33, 4)).astype(np.float32)
Y = X[:, :1] * X[:, 1:2]

swish = fp.custom_op(
    lambda x, beta=1.0: x / (1 + np.exp(-beta * x)),
    lambda dy, y, x, beta=1.0: dy * (beta * y + (1 - beta * y) / (1 + np.exp(-beta * x))),
    name="swish",
)
product = fp.custom_op(lambda a, b: a * b, lambda dy, y, a, b: (dy * b, dy * a), name="product")


class Net(nn.Module):
    def __init__(self, activation) -> None:
        super().__init__()
        fp.seed(0)
        self.hidden, self.head = nn.Dense(4, 8), nn.Dense(8, 1)
        self.activation = activation

    def forward(self, x):
        return self.head(self.activation(self.hidden(x)))


def test_values_and_gradients() -> None:
    a, b = (fp.tensor(v, requires_grad=True) for v in (X, X[::-1].copy()))
    y = product(a, b)
    y.sum().backward()
    np.testing.assert_array_equal(y.data, X * X[::-1])
    np.testing.assert_array_equal(a.grad.data, b.data)
    np.testing.assert_array_equal(b.grad.data, a.data)
    assert swish(np.zeros(3), beta=2.0).dtype == np.float64


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_gradcheck(beta: float) -> None:
    x = fp.tensor(X.astype(np.float64), requires_grad=True)
    assert fp.gradcheck(lambda x: swish(x, beta=beta), x)
    assert fp.gradcheck(product, (x, fp.tensor(X.astype(np.float64) + 1, requires_grad=True)))


def test_a_wrong_gradient_is_found() -> None:
    wrong = fp.custom_op(np.exp, lambda dy, y, x: dy)
    with pytest.raises(fp.GradcheckError):
        fp.gradcheck(wrong, fp.tensor(np.arange(3.0), requires_grad=True))


def test_derivatives_of_higher_order() -> None:
    second = fp.custom_op(
        lambda dy, y, x: 3 * dy * x**2,
        lambda d, out, dy, y, x: (3 * d * x**2, None, 6 * d * dy * x),
    )
    cube = fp.custom_op(lambda x: x**3, second)
    x = fp.tensor(np.arange(1.0, 4.0), requires_grad=True)
    assert fp.gradgradcheck(cube, x)
    first = fp.grad(cube(x).sum(), x, create_graph=True)
    np.testing.assert_allclose(fp.grad(first.sum(), x).data, 6 * x.data)
    with pytest.raises(RuntimeError, match="swish: its backward is a function on arrays"):
        fp.grad(fp.grad(swish(x).sum(), x, create_graph=True).sum(), x)


@pytest.mark.parametrize("threads", [1, 2])
def test_training_is_that_of_eager(threads: int) -> None:
    eager, compiled, trained = Net(swish), Net(swish), Net(swish)
    steps = [
        training_step(eager, optim.SGD(eager.parameters(), lr=0.1)),
        fp.compile(
            training_step(compiled, optim.SGD(compiled.parameters(), lr=0.1)), threads=threads
        ),
    ]
    for start in range(0, 33, 10):
        for step in steps:
            step(fp.tensor(X[start : start + 10]), fp.tensor(Y[start : start + 10]))
    trainer = fp.Trainer(trained, "mse", optim.SGD(lr=0.1), threads=threads)
    trainer.fit(X, Y, batch_size=10, shuffle=False)
    assert_same(weights(eager), weights(compiled))
    for a, b in zip(weights(eager), weights(trained), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_results_of_any_kind_in_a_program() -> None:
    columns = fp.custom_op(lambda x: x.sum(axis=0), lambda dy, y, x: np.broadcast_to(dy, x.shape))
    order = fp.custom_op(lambda x: np.argsort(x, axis=1))
    total = fp.custom_op(np.sum, lambda dy, y, x: np.full_like(x, dy))

    @fp.compile
    def function(x):
        x.requires_grad_()
        loss = total(x * x) + columns(x * 3.0).sum()
        return fp.grad(loss, x), order(x), columns(x), total(x)

    for rows in (33, 7):
        gradient, places, sums, everything = function(X[:rows])
        np.testing.assert_allclose(gradient.data, 2 * X[:rows] + 3, rtol=1e-6)
        np.testing.assert_array_equal(places.data, np.argsort(X[:rows], axis=1))
        np.testing.assert_allclose(sums.data, X[:rows].sum(0), rtol=1e-6)
        np.testing.assert_allclose(everything.data, X[:rows].sum(), rtol=1e-5)
    assert len(function.programs) == 1


def test_several_steps_in_one_run_call_it_in_each() -> None:
    calls = []

    def forward(x):
        calls.append(len(x))
        return x * 1.0

    model = Net(fp.custom_op(forward, lambda dy, y, x: dy))
    fp.Trainer(model, "mse", "sgd").fit(X, Y, epochs=2, batch_size=16)
    assert calls[-6:] == [16, 16, 1] * 2


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize("compiled", [False, True])
def test_an_exception_comes_through(compiled: bool) -> None:
    def forward(x):
        if np.any(x > 100):
            raise OverflowError("too large")
        return x * 1.0

    model = Net(fp.custom_op(forward, lambda dy, y, x: dy))
    step = training_step(model, optim.SGD(model.parameters(), lr=0.1))
    if compiled:
        step = fp.compile(step)
    step(fp.tensor(X), fp.tensor(Y))
    before = weights(model)
    with pytest.raises(OverflowError, match="too large"):
        step(fp.tensor(X * 1e6), fp.tensor(Y))
    if not compiled:
        assert_same(before, weights(model))
    step(fp.tensor(X), fp.tensor(Y))


def test_an_exception_in_a_trainer_leaves_the_parameters_as_they_were() -> None:
    def forward(x):
        if len(x) == 1:
            raise OverflowError("a single row")
        return x * 1.0

    model = Net(fp.custom_op(forward, lambda dy, y, x: dy))
    trainer = fp.Trainer(model, "mse", "sgd")
    with pytest.raises(OverflowError, match="a single row"):
        trainer.fit(X, Y, epochs=5, batch_size=16)
    assert trainer.optimizer.steps == 2
    assert all(np.isfinite(w).all() for w in weights(model))


def test_what_is_no_function() -> None:
    with pytest.raises(TypeError, match="custom_op: forward must be a function, got int"):
        fp.custom_op(3)
    with pytest.raises(TypeError, match="custom_op: backward must be a function, got str"):
        fp.custom_op(np.exp, "exp")


def test_functions_that_give_something_wrong() -> None:
    x = fp.tensor(X, requires_grad=True)
    with pytest.raises(TypeError, match="text: must return an array of numbers"):
        fp.custom_op(lambda x: "text", name="text")(x)
    with pytest.raises(
        ValueError, match="few: backward gave 1 gradients, expected one for each of 2"
    ):
        fp.custom_op(lambda a, b: a + b, lambda dy, y, a, b: dy, name="few")(x, x).sum().backward()
    with pytest.raises(ValueError, match=r"flat: backward gave a gradient of shape \(\)"):
        fp.custom_op(np.exp, lambda dy, y, x: 1.0, name="flat")(x).sum().backward()
    with pytest.raises(RuntimeError, match="alone: was made without a backward function"):
        fp.custom_op(np.exp, name="alone")(x).sum().backward()
    with pytest.raises(TypeError, match="product: operands have different dtypes"):
        product(x, X.astype(np.float64))
    with pytest.raises(ValueError, match="read-only"):
        fp.custom_op(lambda x: np.exp(x, out=x))(x)
    with pytest.raises(ValueError, match=r"outer: gives shape \(33, 33\) for 33 rows"):
        fp.custom_op(lambda x: x @ x.T, name="outer")(
            fp.Tensor.placeholder((33, 4), "float32", batched=True)
        )


def test_eager_calls_leave_nothing_behind() -> None:
    from fastprop.graph import custom

    def forward(x, k=1.0):
        return x * k

    def backward(dy, y, x, k=1.0):
        return dy * k

    op = fp.custom_op(forward, backward)
    before = len(custom._functions)
    for k in range(20):
        x = fp.tensor(np.ones(3), requires_grad=True)
        op(x, k=float(k)).sum().backward()
        np.testing.assert_array_equal(x.grad.data, np.full(3, float(k)))
    assert len(custom._functions) == before
