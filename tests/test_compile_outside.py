"""Compiled functions that use Tensors and indices from outside, and derivatives by them."""

from __future__ import annotations

import numpy as np
import pytest

import fastprop as fp
from fastprop import functional as F

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 4))


def test_tensors_from_outside() -> None:
    """A closure over a leaf, and over the result of an op."""
    w = fp.tensor(X[0], requires_grad=True)
    scaled = w * 3.0
    function = lambda x: (x * scaled).sum(axis=1) + w.sum()  # noqa: E731
    compiled = fp.compile(function)
    for _ in range(2):
        found = []
        for f in (function, compiled):
            w.grad = None
            f(X).sum().backward(retain_graph=True)
            found.append(w.grad.data)
        np.testing.assert_allclose(*found, rtol=1e-14)


def test_values_from_outside_are_not_computed_again() -> None:
    x = fp.tensor(X[0], requires_grad=True)
    behind = fp.checkpoint(lambda t: t * t + 1.0, x), (x * 2.0)
    behind[1].sum().backward()  # its graph is gone
    for h in behind:
        compiled = fp.compile(lambda t, h=h: t * h)
        np.testing.assert_array_equal(compiled(X), X * h.data)


def test_integers_and_masks() -> None:
    table = fp.Parameter(X)
    index = np.array([3, 1, 3, 0])
    compiled = fp.compile(lambda i, x: (F.take(table, i, axis=0) * x, i + 1, F.argmax(x, axis=1)))
    x = fp.tensor(X[:4], requires_grad=True)
    product, more, best = compiled(index, x)
    assert not more.requires_grad
    assert not best.requires_grad
    product.sum().backward()
    wanted = np.zeros_like(X)
    np.add.at(wanted, index, X[:4])
    np.testing.assert_allclose(table.grad, wanted, rtol=1e-14)
    np.testing.assert_array_equal(x.grad, X[index])


@pytest.mark.parametrize("axis", [0, 1])
def test_an_index_from_outside(axis: int) -> None:
    """It has the rows of one batch, so there is a Program for that number of rows."""
    index = np.array([[0, 1], [1, 0], [1, 1]])
    places = fp.tensor(rng.normal(size=(3, 2)))

    def spread(x: fp.Tensor) -> fp.Tensor:
        return (F.scatter_add(x * 2.0, axis, index, x) * places).sum()

    compiled = fp.compile(spread)
    found = []
    for function in (spread, compiled):
        x = fp.tensor(X[:3, :2], requires_grad=True)
        found.append(fp.grad(function(x), x).data)
    np.testing.assert_array_equal(*found)
    assert "scatter_add: one of source and index varies with the batch" in compiled.notes[0]
    with pytest.raises(ValueError, match="scatter_add: "):
        compiled(X[:2, :2])
