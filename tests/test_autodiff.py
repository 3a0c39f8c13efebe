"""The chain rule over graphs: accumulation, sharing, order, what is pruned, messages."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from helpers import gradcheck, uniform

import fastprop as fp
from fastprop import functional as F
from fastprop.graph.autodiff import grad
from fastprop.graph.op import OPS
from fastprop.graph.parameter import Parameter
from fastprop.graph.tensor import Tensor, no_grad, tensor
from fastprop.graph.trace import tracing


def _leaf(*shape: int, seed: int = 0) -> Tensor:
    return tensor(uniform(shape, 0.5, 2, seed=seed), requires_grad=True)


def test_backward_accumulates() -> None:
    x = _leaf(3)
    (x * x).sum().backward()
    np.testing.assert_allclose(x.grad.data, 2 * x.data)
    (x * x).sum().backward()
    np.testing.assert_allclose(x.grad.data, 4 * x.data)


def test_a_value_that_is_used_twice() -> None:
    x = _leaf(3)
    y = x * x
    z = (y * y + y).sum()
    np.testing.assert_allclose(grad(z, x).data, 4 * x.data**3 + 2 * x.data)


def test_backward_of_an_array_needs_a_gradient() -> None:
    x = _leaf(2, 3)
    y = x * x
    with pytest.raises(ValueError, match="not a scalar; give its gradient"):
        y.backward()
    with pytest.raises(ValueError, match=r"gradient has shape \(3,\), the output has \(2, 3\)"):
        y.backward(np.ones(3))
    y.backward(np.full((2, 3), 0.5))
    np.testing.assert_allclose(x.grad.data, x.data)


def test_several_outputs_and_inputs() -> None:
    x, y = _leaf(3), _leaf(3, seed=1)
    dx, dy = grad([(x * y).sum(), x], [x, y], [None, Tensor(np.full(3, 2.0))])
    np.testing.assert_allclose(dx.data, y.data + 2)
    np.testing.assert_allclose(dy.data, x.data)
    with pytest.raises(ValueError, match="2 outputs but 1 grad_outputs"):
        grad([x.sum(), y.sum()], x, [None])


def test_unused_inputs() -> None:
    x, y = _leaf(3), _leaf(3, seed=1)
    with pytest.raises(RuntimeError, match="do not depend on input 1"):
        grad(x.sum(), [x, y])
    assert grad(x.sum(), [x, y], allow_unused=True)[1] is None
    with pytest.raises(
        RuntimeError, match="does not depend on any Tensor that requires a gradient"
    ):
        grad(tensor(np.ones(1)), x)


def test_a_flat_path_gives_zeros() -> None:
    x = _leaf(2, 2)
    for f in (F.sign, lambda t: F.relu(t) * 0.0, lambda t: F.where(t, 1.0, 2.0) * F.sign(t)):
        np.testing.assert_array_equal(grad(f(x).sum(), x).data, np.zeros((2, 2)))
    F.sign(x).sum().backward()
    np.testing.assert_array_equal(x.grad.data, np.zeros((2, 2)))
    d = grad(F.relu(x).sum(), x, create_graph=True)
    np.testing.assert_array_equal(grad(d.sum(), x).data, np.zeros((2, 2)))


def test_derivative_by_an_intermediate_value() -> None:
    x = _leaf(3)
    y = x * x
    z = (y * y).sum()
    np.testing.assert_allclose(grad(z, y).data, 2 * y.data)
    dy, dx = grad(z, [y, x])
    np.testing.assert_allclose(dx.data, dy.data * 2 * x.data)


def test_only_what_is_asked_for_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    x, W = _leaf(4, 3), _leaf(3, 2, seed=1)
    y = (x @ W).sum()
    op = OPS["matmul"]
    calls = []

    def counted(*args):
        calls.append(1)
        return op.vjps[1](*args)

    # Others use the op too, so a copy with a counting rule stands in for it in this graph.
    counting = copy.copy(op)
    counting.vjps = (op.vjps[0], counted)
    y.inputs[0].op = counting
    grad(y, x)
    assert not calls
    grad(y, [x, W])
    assert len(calls) == 1


def test_no_grad() -> None:
    x = _leaf(3)
    with no_grad():
        y = x * x
    assert not y.requires_grad
    assert y.op is None
    z = (x * x).sum()
    d = grad(z, x)
    assert not d.requires_grad
    assert grad(z, x, create_graph=True).requires_grad


def test_detach_and_integers() -> None:
    x = _leaf(3)
    y = x.detach()
    assert not y.requires_grad
    assert np.shares_memory(y.data, x.data)
    with pytest.raises(TypeError, match="only float Tensors can require a gradient"):
        tensor(np.arange(3), requires_grad=True)


def test_high_orders_of_a_known_function() -> None:
    x = tensor(np.array([0.3]), requires_grad=True)
    y = F.sin(x).sum()
    values = [np.cos(0.3), -np.sin(0.3), -np.cos(0.3), np.sin(0.3), np.cos(0.3)]
    for value in values:
        y = grad(y, x, create_graph=True).sum()
        np.testing.assert_allclose(y.data, value, rtol=1e-13)


def test_third_derivative_of_tanh() -> None:
    x = tensor(np.linspace(-2, 2, 9), requires_grad=True)
    d = F.tanh(x)
    for _ in range(3):
        d = grad(d.sum(), x, create_graph=True)
    t = np.tanh(x.data)
    np.testing.assert_allclose(d.data, (1 - t**2) * (6 * t**2 - 2), rtol=1e-12, atol=1e-14)


def test_third_derivative_of_gelu() -> None:
    x = tensor(np.linspace(-2, 2, 9), requires_grad=True)
    d = F.gelu(x)
    for _ in range(3):
        d = grad(d.sum(), x, create_graph=True)
    phi = np.exp(-0.5 * x.data**2) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(d.data, phi * (x.data**3 - 4 * x.data), rtol=1e-12, atol=1e-14)


def test_hessian_vector_product_of_a_network() -> None:
    x, t = uniform((5, 3)), uniform((5, 2), seed=9)
    W1, W2 = uniform((3, 4), seed=1), uniform((4, 2), seed=2)
    b1, b2 = uniform((4,), seed=3), uniform((2,), seed=4)

    def loss(W1: Tensor, b1: Tensor, W2: Tensor, b2: Tensor) -> Tensor:
        hidden = F.tanh(F.dense(x, W1, b1))
        return F.mse_rows(F.dense(hidden, W2, b2), t)

    gradcheck(loss, W1, b1, W2, b2, order=2, tolerance=1e-6)


def test_second_derivative_of_a_network_by_its_input_differentiates_by_its_weights() -> None:
    """What physics-informed networks do: the residual of u'' as a loss."""
    x = uniform((4, 1))

    def residual(W1: Tensor, b1: Tensor, W2: Tensor) -> Tensor:
        points = tensor(x, requires_grad=True)
        u = F.dense(F.tanh(F.dense(points, W1, b1)), W2)
        du = grad(u.sum(), points, create_graph=True)
        ddu = grad(du.sum(), points, create_graph=True)
        return F.square(ddu + u).mean()

    weights = uniform((1, 3), seed=1), uniform((3,), seed=2), uniform((3, 1), seed=3)
    arrays = [tensor(w, requires_grad=True) for w in weights]
    ours = grad(residual(*arrays), arrays)
    for i, d in enumerate(ours):
        for index in np.ndindex(weights[i].shape):
            values = []
            for sign in (1, -1):
                moved = [w.copy() for w in weights]
                moved[i][index] += sign * 1e-5
                values.append(residual(*[Tensor(w) for w in moved]).item())
            assert abs(d.data[index] - (values[0] - values[1]) / 2e-5) < 1e-7


def test_the_batch_size_is_not_baked_into_a_traced_gradient() -> None:
    x = Tensor.placeholder((8, 3), "float64", batched=True)
    W = Parameter(uniform((3, 2)))
    with tracing():
        y = F.tanh(x @ W)
        loss = F.mean(y * y) + F.mean(F.softmax(y))
        d = grad(loss, W)
    assert d.symbolic
    assert d.spec == (W.shape, W.dtype, False)


def test_deep_graphs_need_no_recursion() -> None:
    x = _leaf(1)
    y = x
    for _ in range(3000):
        y = y + 1.0
    assert grad(y.sum(), x).item() == 1.0


def test_broadcasting_against_the_batch() -> None:
    x = Tensor.placeholder((4, 3), "float64", batched=True)
    b = Parameter(np.ones(3))
    row = Parameter(np.ones((1, 3)))
    scalar = Parameter(np.ones(()))
    one = Tensor.placeholder((1, 3), "float64", batched=True)
    with tracing():
        for batch in (x, one):
            total = F.sum(batch * b + row * batch + scalar)
            for parameter, d in zip((b, row, scalar), grad(total, [b, row, scalar]), strict=True):
                assert d.spec == (parameter.shape, parameter.dtype, False)
    with pytest.raises(ValueError, match="batch axis"):
        x + np.ones((4, 3))


def test_a_leaf_that_changed_is_noticed_where_nobody_differentiates_by_it() -> None:
    x, w = tensor(np.ones(3), requires_grad=True), Parameter(np.ones(3))
    y = (x * w).sum()
    w.data = np.full(3, 5.0)
    with pytest.raises(RuntimeError, match=r"grad: a Tensor of shape \(3,\) was changed in place"):
        grad(y, x)


@pytest.mark.parametrize("how", ["fit", "train_step", "fit_many", "lbfgs", "compile"])
def test_training_is_noticed_by_graphs_from_before(how: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 3)).astype(np.float32)
    model = fp.nn.Sequential(fp.nn.Dense(3, 4, "tanh"), fp.nn.Dense(4, 1))
    trainer = fp.Trainer(model, "mse", "lbfgs" if how == "lbfgs" else "adam")
    step = fp.compile(lambda x: eager_step(model, optimizer, x))
    optimizer = fp.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):  # the first one may move the parameters, too
        output = model(fp.tensor(x)).sum()
        if how == "train_step":
            trainer.train_step(x, x[:, :1])
        elif how == "fit_many":
            fp.fit_many([trainer], x, x[:, :1])
        elif how == "compile":
            step(x)
        else:
            trainer.fit(x, x[:, :1], batch_size=12)
        trainer.predict(x)
        with pytest.raises(RuntimeError, match="was changed in place after dense had used it"):
            output.backward()
        model(fp.tensor(x)).sum().backward()


def eager_step(model: fp.nn.Module, optimizer: fp.optim.Optimizer, x: Tensor) -> Tensor:
    optimizer.zero_grad()
    loss = (model(x) ** 2).mean()
    loss.backward()
    optimizer.step()
    return loss


def test_gradients_that_are_handed_in_take_the_dtype_of_the_output() -> None:
    for given in (np.array([1, 2, 3]), [1, 2, 3], fp.tensor([1, 2, 3])):
        x = fp.tensor(np.ones(3), requires_grad=True)
        (x + 1.0).backward(given)
        assert x.grad is not None
        assert x.grad.dtype == np.float64
        d = fp.grad(x + 1.0, x, given if not isinstance(given, list) else np.array(given))
        assert d.dtype == np.float64
        np.testing.assert_array_equal(d.data, x.grad.data)
    both = fp.grad([x + 1.0, x * x], x, [np.ones(3), None if x.size == 1 else 2 * np.ones(3)])
    np.testing.assert_array_equal(both.data, 5 * np.ones(3))
    with pytest.raises(TypeError, match="backward: the gradient is float32, the output float64"):
        (x + 1.0).backward(np.ones(3, np.float32))
    with pytest.raises(TypeError, match="grad: the gradient is float32, the output float64"):
        fp.grad(x + 1.0, x, np.ones(3, np.float32))


def test_no_grad_decorates() -> None:
    x = fp.tensor(np.ones(3), requires_grad=True)

    @fp.no_grad
    def bare():
        return x * 2

    @fp.no_grad()
    def steps():
        """Steps."""
        try:
            got = yield (x * 2).requires_grad
        except KeyError:
            got = "thrown"
        with fp.enable_grad():
            yield got, (x * 2).requires_grad
        return (x * 2).requires_grad

    assert not bare().requires_grad
    assert steps.__doc__ == "Steps."
    for send in (lambda g: g.send("sent"), lambda g: g.throw(KeyError())):
        generator = steps()
        assert next(generator) is False
        assert (x * 2).requires_grad  # what happens between two steps is the caller's
        assert send(generator) in [("sent", True), ("thrown", True)]
        with pytest.raises(StopIteration) as end:
            next(generator)
        assert end.value.value is False
    generator = steps()
    next(generator)
    generator.close()
    assert (x * 2).requires_grad

    async def waits() -> None: ...

    with pytest.raises(TypeError, match="no_grad: cannot decorate an async function"):
        fp.no_grad(waits)
    with pytest.raises(TypeError, match="no_grad: decorates functions, got int"):
        fp.no_grad(3)


def test_a_pass_that_fails_leaves_modes_as_they_were() -> None:
    x = fp.tensor([1.0, 2.0], requires_grad=True)

    def fail(gradient: fp.Tensor) -> None:
        raise KeyError("from a hook")

    x.register_hook(fail)
    with pytest.raises(KeyError, match="from a hook"):
        (x * x).sum().backward()
    assert (x * x).requires_grad
    with fp.no_grad():
        with pytest.raises(RuntimeError, match="does not depend"):
            (x * x).sum().backward()
        assert not (x * x).requires_grad


def test_a_seed_of_ones_is_made_for_every_pass() -> None:
    x = fp.tensor(3.0, requires_grad=True)
    x.backward()
    assert x.grad is not None
    first = x.grad
    first.data[...] = 7.0
    x.grad = None
    x.backward()
    assert x.grad.item() == 1.0
    assert x.grad is not first


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scalars_with_axes_and_other_dtypes_have_seeds(dtype: str) -> None:
    x = fp.tensor([[2.0]], dtype=dtype, requires_grad=True)
    (x * x).backward()
    assert x.grad is not None
    assert x.grad.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(x.grad.data, [[4.0]])


def test_backward_of_an_uninitialized_tensor_is_refused() -> None:
    with pytest.raises((TypeError, AttributeError)):
        fp.Tensor.__new__(fp.Tensor).backward()


def test_equal_attributes_of_other_identity_have_one_result() -> None:
    """Plans are found by identity first, by value then."""
    x = fp.tensor(np.arange(2000.0), requires_grad=True)
    shapes = [(2, 1000), (np.int64(2), np.int64(1000)), [2, 1000], (2, -1)]
    for shape in shapes:
        assert x.reshape(shape).shape == (2, 1000)
    extent = fp.tensor(2)
    assert x.reshape(extent, -1).shape == (2, 1000)
    extent.data = np.array(4)
    assert x.reshape(extent, -1).shape == (4, 500)
