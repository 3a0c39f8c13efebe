"""Derivatives through compiled functions: those of the same function without compile."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest
from training import assert_same, network

import fastprop as fp
from fastprop import functional as F
from fastprop import nn, optim

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 4))
Y = np.sin(X[:, :1])
DTYPES = ("float32", "float64")


def gradients(function, model, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """Of a loss outside of `function`, by its argument and by the parameters of a model."""
    model.zero_grad()
    leaf = fp.tensor(x, requires_grad=True)
    loss = ((function(leaf) - y) ** 2).mean()
    loss.backward()
    return [loss.data, leaf.grad.data, *(p.grad.data for p in model.parameters())]


# -- the same as eager -----------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu"])
def test_gradients_are_those_of_eager_bit_by_bit(activation, dtype, threads) -> None:
    model = network(4, 9, 7, 1, dtype=dtype, activation=activation)
    compiled = fp.compile(model, threads=threads)
    x, y = X.astype(dtype), Y.astype(dtype)
    for rows in (16, 16, 7, 33, 1, 40, 7):
        found = [gradients(f, model, x[:rows], y[:rows]) for f in (model, compiled)]
        assert_same(*found)
    assert len(compiled.programs) <= 2  # a batch of one row may be another graph


class Branches(nn.Module):
    """Results of all kinds, random numbers, effects, and what is computed of weights alone."""

    def __init__(self) -> None:
        super().__init__()
        fp.seed(0)
        self.first = nn.Dense(4, 8, "gelu", dtype="float64")
        self.norm = nn.BatchNorm(8, dtype="float64")
        self.drop = nn.Dropout(0.3)
        self.second = nn.Dense(8, 3, dtype="float64")

    def forward(self, x):
        h = self.drop(self.norm(self.first(x)))
        return h @ F.softmax(self.second.weight, axis=0), (h * h).mean(), (x * 2.0).sum(axis=1)


def derivatives_of_branches(saving: bool) -> list[list[np.ndarray]]:
    """Of three calls, made before or after somebody has differentiated."""
    model = Branches()
    compiled = fp.compile(model)
    points = [fp.tensor(X[i : i + 8], requires_grad=True) for i in range(3)]
    results = []
    found = []
    if not saving:
        results = [compiled(x) for x in points]
    for i, x in enumerate(points):
        a, b, c = compiled(x) if saving else results[i]
        model.zero_grad()
        ((a * a).sum() + b + (c * c).sum()).backward()
        used = [p.grad.data for p in model.parameters() if p.grad is not None]
        found.append([x.grad.data, *used])
    return found


def test_what_a_call_saves_is_what_it_would_compute_again() -> None:
    for got, want in zip(
        derivatives_of_branches(True), derivatives_of_branches(False), strict=True
    ):
        assert_same(got, want)


@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_derivative_does_not_repeat_what_was_saved(checkpointed: bool) -> None:
    model = network(4, 9, 7, 1)

    def function(x):
        return fp.checkpoint(model, x) if checkpointed else model(x)

    compiled = fp.compile(function)
    x = X.astype("f")
    compiled(x).sum().backward()
    (variant,) = (v for known in compiled._variants.values() for v in known)
    (derivative,) = variant._history._derivatives.values()
    repeated = derivative.program.describe().count("dense(")
    assert repeated == (2 if checkpointed else 0)
    saved = {t.shape for t in variant._history.saved}
    assert saved == (set() if checkpointed else {(40, 9), (40, 7)})


def test_calls_run_the_function_once_when_they_are_differentiated_again_and_again() -> None:
    model = network(4, 9, 7, 1)
    compiled = fp.compile(model, threads=1)
    x = X.astype("f")
    compiled(x).sum().backward()
    (first,) = compiled.programs
    compiled(x).sum().backward()
    (keeping,) = compiled.programs
    assert keeping is not first
    runs = first.latest()[0], keeping.latest()[0]
    for _ in range(3):
        compiled(x).sum().backward()
    assert (first.latest()[0], keeping.latest()[0]) == (runs[0], runs[1] + 3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_derivatives_of_higher_order(dtype: str) -> None:
    model = network(4, 9, 1, dtype=dtype)
    compiled = fp.compile(model)
    orders = []
    for function in (model, compiled):
        x = fp.tensor(X.astype(dtype), requires_grad=True)
        first = fp.grad(function(x).sum(), x, create_graph=True)
        second = fp.grad((first**2).sum(), x, create_graph=True)
        third = fp.grad((second**2).mean(), [x, model[0].weight], create_graph=True)
        orders.append([t.data for t in (first, second, *third)])
    bound = 64 * np.finfo(dtype).eps
    for a, b in zip(*orders, strict=True):
        np.testing.assert_allclose(a, b, rtol=bound, atol=bound * np.abs(a).max())


def test_the_loss_of_a_pinn_outside() -> None:
    """Second derivatives by x inside of the loss, and that by the parameters."""
    model = network(2, 9, 1, dtype="float64")
    found = []
    for function in (model, fp.compile(model)):
        model.zero_grad()
        x = fp.tensor(X[:, :2], requires_grad=True)
        u = function(x)
        u_x = fp.grad(u.sum(), x, create_graph=True)[:, 0:1]
        u_xx = fp.grad(u_x.sum(), x, create_graph=True)[:, 0:1]
        ((u_xx + u * u_x) ** 2).mean().backward()
        found.append([p.grad.data.copy() for p in model.parameters()])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


def test_finite_differences() -> None:
    model = network(3, 5, 2, dtype="float64")
    compiled = fp.compile(lambda x, s: F.softmax(model(x) * s).prod(axis=1) + x[:, 0])
    point = X[:3, :3].copy(), np.array([0.7, 1.3])
    assert fp.gradcheck(compiled, point).ratio < 1
    assert fp.gradgradcheck(compiled, point).ratio < 1


def test_transforms_of_compiled_functions() -> None:
    def function(x):
        return F.exp(x * x[::-1]).cumsum(0)

    compiled = fp.compile(function)
    scalar, compiled_scalar = (
        (lambda x: function(x).mean()),
        fp.compile(lambda x: function(x).mean()),
    )
    x, v = X[:5, 0], X[:5, 1]
    close = {"rtol": 1e-12, "atol": 1e-14}
    np.testing.assert_allclose(fp.jacobian(compiled)(x), fp.jacobian(function)(x), **close)
    np.testing.assert_allclose(fp.hessian(compiled_scalar)(x), fp.hessian(scalar)(x), **close)
    np.testing.assert_allclose(fp.vjp(compiled, x)[1](v), fp.vjp(function, x)[1](v), **close)
    for name in ("jvp", "hvp"):
        transform = getattr(fp, name)
        pair = (compiled, function) if name == "jvp" else (compiled_scalar, scalar)
        a, b = (transform(f, (x,), (v,)) for f in pair)
        np.testing.assert_allclose(a[0], b[0], **close)
        np.testing.assert_allclose(a[1], b[1], **close)
    third = [fp.jacobian(fp.hessian(f))(x).data for f in (compiled_scalar, scalar)]
    np.testing.assert_allclose(*third, **close)
    value = fp.value_and_grad(compiled_scalar)(x)
    np.testing.assert_allclose(value[1], fp.value_and_grad(scalar)(x)[1], **close)


def test_against_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    model = network(4, 9, 1, dtype="float64")
    compiled = fp.compile(model)
    theirs = torch.nn.Sequential(torch.nn.Linear(4, 9), torch.nn.Tanh(), torch.nn.Linear(9, 1))
    theirs = theirs.double()
    with torch.no_grad():
        for mine, linear in zip((model[0], model[1]), (theirs[0], theirs[2]), strict=True):
            linear.weight.copy_(torch.tensor(mine.weight.data.T.copy()))
            linear.bias.copy_(torch.tensor(mine.bias.data))
    x, u = fp.tensor(X, requires_grad=True), torch.tensor(X, requires_grad=True)
    first = fp.grad(compiled(x).sum(), x, create_graph=True)
    wanted = torch.autograd.grad(theirs(u).sum(), u, create_graph=True)[0]
    np.testing.assert_allclose(first, wanted.detach().numpy(), rtol=1e-12, atol=1e-14)
    (first**2).sum().backward()
    (wanted**2).sum().backward()
    np.testing.assert_allclose(x.grad, u.grad.numpy(), rtol=1e-10, atol=1e-12)
    weight = theirs[0].weight.grad.numpy().T
    np.testing.assert_allclose(model[0].weight.grad, weight, rtol=1e-10, atol=1e-12)


# -- what is differentiated by ---------------------------------------------------------------------


def test_frozen_and_shared_parameters() -> None:
    layer = nn.Dense(4, 4, "tanh", dtype="float64")
    layer.bias.requires_grad = False
    compiled = fp.compile(lambda x: layer(layer(x)))
    found = []
    for function in (lambda x: layer(layer(x)), compiled):
        layer.zero_grad()
        function(X).sum().backward()
        assert layer.bias.grad is None
        found.append([layer.weight.grad.data])
    assert_same(*found)
    layer.bias.requires_grad = True
    compiled(X).sum().backward()
    assert layer.bias.grad is not None


def test_only_what_is_wanted_is_computed() -> None:
    model = network(4, 9, 1)
    compiled = fp.compile(model)
    x = fp.tensor(X.astype("f"), requires_grad=True)
    before = [p.grad for p in model.parameters()]
    np.testing.assert_array_equal(fp.grad(compiled(x).sum(), x), fp.grad(model(x).sum(), x))
    assert [p.grad for p in model.parameters()] == before == [None] * 4
    weight = model[1].weight
    np.testing.assert_array_equal(
        fp.grad(compiled(x).sum(), weight), fp.grad(model(x).sum(), weight)
    )


def test_arguments_that_come_from_ops_or_twice() -> None:
    def function(a, b):
        return (a * b).sum(axis=1)

    compiled = fp.compile(function)
    found = []
    for f in (function, compiled):
        x = fp.tensor(X, requires_grad=True)
        h = F.sin(x)
        h.retain_grad()
        f(h, h).sum().backward()
        found.append([x.grad.data, h.grad.data])
    assert_same(*found)


def test_an_argument_that_comes_back() -> None:
    compiled = fp.compile(lambda x: (x, x.sum()))
    x = fp.tensor(X, requires_grad=True)
    same, total = compiled(x)
    (same.sum() * 2.0 + total).backward()
    np.testing.assert_array_equal(x.grad, np.full_like(X, 3.0))


# -- several results -------------------------------------------------------------------------------


def test_some_results_of_a_structure() -> None:
    model = network(4, 9, 1, dtype="float64")

    def function(x, *, scale):
        h = model(x) * scale["a"]
        return {"rows": h, "more": [h.sum(), (x.T @ x, None, "text")], "again": h}

    compiled = fp.compile(function)
    pick = {
        "rows": lambda r: r["rows"].sum(),
        "scalar": lambda r: r["more"][0],
        "array": lambda r: (r["more"][1][0] ** 2).sum(),
        "two": lambda r: (r["rows"] ** 2).sum() + r["more"][0],
        "all": lambda r: (r["rows"] * r["again"]).sum() + r["more"][0] + r["more"][1][0].sum(),
    }
    for choose in pick.values():
        found = []
        for f in (function, compiled):
            model.zero_grad()
            x, s = fp.tensor(X, requires_grad=True), fp.tensor(2.0, True, "float64")
            choose(f(x, scale={"a": s})).backward()
            grads = [x.grad, s.grad, *(p.grad for p in model.parameters())]
            found.append([None if g is None else g.data for g in grads])
        for a, b in zip(*found, strict=True):
            if a is None:
                assert b is None
            else:
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def test_results_that_do_not_need_a_gradient() -> None:
    compiled = fp.compile(lambda x: (x * 2.0, x.detach() * 3.0))
    with_history, without = compiled(fp.tensor(X, requires_grad=True))
    assert (with_history.requires_grad, without.requires_grad) == (True, False)
    assert not any(t.requires_grad for t in compiled(X))
    with fp.no_grad():
        assert not any(t.requires_grad for t in compiled(fp.tensor(X, requires_grad=True)))


# -- how long it lasts -----------------------------------------------------------------------------


def test_backward_twice() -> None:
    compiled = fp.compile(lambda x: (F.exp(x), x.sum()))
    x = fp.tensor(X, requires_grad=True)
    y, total = compiled(x)
    y.sum().backward(retain_graph=True)
    once = x.grad.data.copy()
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.data, 2 * once)
    with pytest.raises(RuntimeError, match="was freed by an earlier backward pass"):
        y.sum().backward()
    with pytest.raises(RuntimeError, match="was freed by an earlier backward pass"):
        total.backward()  # of the same call


def test_what_a_call_holds_is_given_back() -> None:
    compiled = fp.compile(lambda x: (x * x).sum())
    x = fp.tensor(X, requires_grad=True)
    y = compiled(x)
    assert y.inputs == (x,)
    y.backward()
    assert (y.inputs, y.attrs) == ((), {})


def test_memory_stays_flat() -> None:
    model = network(4, 16, 2)
    model.append(nn.Dropout(0.1))
    compiled = fp.compile(model)
    optimizer = optim.SGD(model.parameters(), lr=1e-3)

    def steps(count: int) -> None:
        for _ in range(count):
            loss = (compiled(X.astype("f")) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    steps(50)
    gc.collect()
    tracemalloc.start()
    try:
        steps(10)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        steps(2000)
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert after - before < 20_000
    assert len(compiled.programs) == 1
