"""Functional derivatives against PyTorch's, known formulas, each other; to the third order."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import torch, uniform

import fastprop as fp
from fastprop import Parameter, Tensor, no_grad
from fastprop import functional as F

W1, W2, W3 = uniform((3, 5), seed=1), uniform((5, 4), seed=2), uniform((4, 1), seed=3)
X = uniform((3,), seed=4)


def network(x):
    """A net of three layers; of arrays and Tensors alike."""
    return F.sum(F.tanh(F.tanh(F.tanh(x @ W1) @ W2) @ W3))


def vector(x):
    return F.concatenate([F.sin(x) * x[0], F.exp(x[:2])])


def test_value_and_grad() -> None:
    value, gradient = fp.value_and_grad(lambda x: F.sum(x * x * x))(X)
    np.testing.assert_allclose(value.item(), (X**3).sum())
    np.testing.assert_allclose(gradient.data, 3 * X**2)
    assert not value.requires_grad
    assert not gradient.requires_grad
    (value, extra), (da, db) = fp.value_and_grad(
        lambda a, b, scale: (F.sum(a * b) * scale, "kept"), argnums=(0, -2), has_aux=True
    )(X, 2 * X, 3.0)
    assert extra == "kept"
    np.testing.assert_allclose(da.data, 6 * X)
    np.testing.assert_allclose(db.data, 3 * X)
    unused, flat = fp.value_and_grad(lambda a, b: F.sum(a), argnums=(1, 0))(X, X)[1]
    np.testing.assert_array_equal(unused.data, np.zeros(3))
    np.testing.assert_array_equal(flat.data, np.ones(3))


def test_products_with_jacobians() -> None:
    jacobian = fp.jacobian(vector)(X).data
    v, u = uniform((3,), seed=5), uniform((5,), seed=6)
    y, dy = fp.jvp(vector, (X,), (v,))
    np.testing.assert_allclose(y.data, np.concatenate([np.sin(X) * X[0], np.exp(X[:2])]))
    np.testing.assert_allclose(dy.data, jacobian @ v, rtol=1e-12)
    y, pull = fp.vjp(vector, X)
    for _ in range(2):  # again and again
        np.testing.assert_allclose(pull(u).data, u @ jacobian, rtol=1e-12)
    a, b = fp.vjp(lambda a, b: a * b, X, 2 * X)[1](v)
    np.testing.assert_allclose(a.data, 2 * X * v)
    np.testing.assert_allclose(b.data, X * v)
    constant = fp.jvp(lambda a, b: F.sign(a), (X, X), (v, v))[1]
    np.testing.assert_array_equal(constant.data, np.zeros(3))


@pytest.mark.parametrize("columns", [False, True])
def test_jacobian_by_rows_and_columns(columns: bool) -> None:
    def fn(x):
        y = F.outer(F.sin(x), F.exp(x))
        return y if columns else F.sum(y, 1)[:2]

    jacobian = fp.jacobian(fn)(X)
    outer = np.einsum("ik,i,j->ijk", np.eye(3), np.cos(X), np.exp(X)) + np.einsum(
        "jk,i,j->ijk", np.eye(3), np.sin(X), np.exp(X)
    )
    np.testing.assert_allclose(jacobian.data, outer if columns else outer.sum(1)[:2], rtol=1e-12)
    empty = fp.jacobian(lambda x: x[:0])(X)
    assert empty.shape == (0, 3)


def test_hessian_and_its_product() -> None:
    hessian = fp.hessian(network)(X).data
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-12, atol=1e-14)
    v = uniform((3,), seed=7)
    value, product = fp.hvp(network, (X,), (v,))
    np.testing.assert_allclose(value.data, network(X).data)
    np.testing.assert_allclose(product.data, hessian @ v, rtol=1e-11)
    a, b = fp.hvp(lambda a, b: F.sum(a * a * b), (X, 2 * X), (v, v))[1]
    np.testing.assert_allclose(a.data, 4 * X * v + 2 * X * v)
    np.testing.assert_allclose(b.data, 2 * X * v)


def test_third_derivative_of_a_network() -> None:
    third = fp.jacobian(fp.hessian(network))(X).data
    for axes in ((1, 0, 2), (2, 1, 0), (0, 2, 1)):
        np.testing.assert_allclose(third, third.transpose(axes), rtol=1e-10, atol=1e-13)
    step = 1e-4
    for k in range(3):
        moved = [fp.hessian(network)(X + s * step * np.eye(3)[k]).data for s in (1, -1)]
        np.testing.assert_allclose(third[..., k], (moved[0] - moved[1]) / (2 * step), atol=1e-6)


@pytest.mark.skipif(torch is None, reason="PyTorch is not installed")
def test_third_derivative_by_torch() -> None:
    def net(x):
        w = [torch.from_numpy(w) for w in (W1, W2, W3)]
        return torch.tanh(torch.tanh(torch.tanh(x @ w[0]) @ w[1]) @ w[2]).sum()

    functional = torch.autograd.functional
    x = torch.from_numpy(X)
    np.testing.assert_allclose(fp.hessian(network)(X).data, functional.hessian(net, x), rtol=1e-11)
    third = functional.jacobian(lambda t: functional.hessian(net, t, create_graph=True), x)
    np.testing.assert_allclose(fp.jacobian(fp.hessian(network))(X).data, third, rtol=1e-10)


def test_results_carry_history_only_where_something_outside_needs_it() -> None:
    """The derivative by x, inside a loss that is differentiated by w: what a PINN does."""
    w = Parameter(np.array([0.7, -0.3, 0.5]))

    def slope(x):
        return fp.value_and_grad(lambda t: F.sum(F.tanh(t * w)))(x)[1]

    assert slope(X).requires_grad
    with no_grad():
        assert not slope(X).requires_grad
    loss = F.sum(F.square(slope(X)))
    loss.backward()
    expected = fp.value_and_grad(
        lambda v: F.sum(F.square(v * (1 - F.square(F.tanh(X * v)))))
    )(w.data)[1]  # fmt: skip
    np.testing.assert_allclose(w.grad.data, expected.data, rtol=1e-12)
    x = Tensor(X, requires_grad=True)
    d = fp.value_and_grad(lambda t: F.sum(t * t * t))(x)[1]
    np.testing.assert_allclose(fp.grad(d.sum(), x).data, 6 * X)
    d = fp.jvp(lambda t: t * t, (x,), (np.ones(3),))[1]
    np.testing.assert_allclose(fp.grad(d.sum(), x).data, np.full(3, 2.0))


def test_inside_a_traced_program() -> None:
    x = Tensor.placeholder((8, 3), "float64", batched=True)
    d = fp.value_and_grad(lambda t: F.sum(F.tanh(t) * t))(x)[1]
    assert d.symbolic
    assert d.spec == x.spec


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fp.value_and_grad(vector)(X), ValueError, "value must be a scalar, got shape"),
        (lambda: fp.value_and_grad(np.sum)(X.astype(int)), TypeError, "argument 0 is int64"),
        (lambda: fp.value_and_grad(lambda x: 1.0)(X), TypeError, "must return a Tensor, got float"),
        (lambda: fp.value_and_grad(network, 2)(X), ValueError, "argnums has 2"),
        (lambda: fp.vjp(vector, X)[1](X), ValueError, r"cotangent is float64 \(3,\), expected"),
        (lambda: fp.jvp(vector, X, X), TypeError, "must be tuples"),
        (lambda: fp.jvp(vector, (X,), (X, X)), ValueError, "1 primals but 2 vectors"),
        (lambda: fp.jvp(vector, (X,), (X[:2],)), ValueError, r"tangent is float64 \(2,\)"),
        (lambda: fp.hvp(vector, (X,), (X,)), ValueError, "hvp: the value must be a scalar"),
        (lambda: fp.hessian(vector)(X), ValueError, "hessian: the value must be a scalar"),
    ],
)
def test_messages(call, error, message: str) -> None:
    with pytest.raises(error, match=message):
        call()
