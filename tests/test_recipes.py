"""Recipes do what rules and functions of ops do by themselves: the same bits, the same errors."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from helpers import uniform
from op_cases import CASES, Case

import fastprop as fp
from fastprop import Tensor, _core
from fastprop import functional as F


@contextmanager
def _observed() -> Iterator[None]:
    """Inside the block rules and functions run by themselves, since somebody looks at them."""
    before = _core.set_observer(lambda *_: None), _core.set_backward_observer(lambda *_: None)
    try:
        yield
    finally:
        _core.set_observer(before[0])
        _core.set_backward_observer(before[1])


def _run(case: Case, dtype: Any, **options: Any) -> list[np.ndarray | None]:
    """The value and all derivatives."""
    arrays = [uniform(s, *case.domain, dtype=dtype, seed=i + 1) for i, s in enumerate(case.shapes)]
    inputs = [Tensor(a, requires_grad=True) for a in arrays]
    fp.random.seed(3)
    y = case.ours(*inputs)
    if y.requires_grad:
        seed = uniform(y.shape, -1, 1, dtype=y.dtype, seed=9)
        y.backward(Tensor(seed), **options)
    return [y.data, *(None if x.grad is None else x.grad.data for x in inputs)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CASES)
def test_recipes_give_the_bits_of_what_they_were_traced_from(name: str, dtype: Any) -> None:
    case = CASES[name]
    with _observed():
        expected = _run(case, dtype)
    # Traced, found again, and with derivatives that are recorded.
    for options in ({}, {}, {"create_graph": True}):
        for found, wanted in zip(_run(case, dtype, **options), expected, strict=True):
            assert (found is None) == (wanted is None)
            if found is not None:
                np.testing.assert_array_equal(found, wanted)


def _leaf(*shape: int, seed: int = 0) -> Tensor:
    return Tensor(uniform(shape, 0.5, 1.5, dtype=np.float32, seed=seed), requires_grad=True)


def test_a_function_of_ops_is_one_node() -> None:
    x = _leaf(4, 3)
    y = x.std(0)
    assert y.op is not None
    assert y.op.name == "std"
    assert y.inputs == (x,)


def test_one_tensor_in_two_places_gets_both_terms() -> None:
    x = _leaf(5)
    F.dot(x, x).backward()
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.data, 2 * x.data)


def test_only_what_is_wanted_is_differentiated() -> None:
    x, y = _leaf(3, 4), _leaf(4, seed=1)
    z = x @ y
    both = fp.grad(z.sum(), [x, y], retain_graph=True)
    for one, wanted in zip((x, y), both, strict=True):
        np.testing.assert_array_equal(fp.grad(z.sum(), one, retain_graph=True).data, wanted.data)
    constant = y.detach()
    np.testing.assert_array_equal(fp.grad((x @ constant).sum(), x).data, both[0].data)


def test_a_pass_may_be_repeated_until_the_graph_is_freed() -> None:
    x = _leaf(4, 4)
    y = x.logsumexp(1).sum()
    y.backward(retain_graph=True)
    assert x.grad is not None
    first = x.grad.data.copy()
    y.backward()
    np.testing.assert_array_equal(x.grad.data, 2 * first)
    with pytest.raises(RuntimeError, match="freed"):
        y.backward()


def test_a_change_of_what_a_function_had_read_is_noticed() -> None:
    x = _leaf(4)
    y = x.var()
    x.data = x.data + 1
    with pytest.raises(RuntimeError, match="changed in place after var had used it"):
        y.backward()


def test_arguments_that_are_equal_are_not_the_same() -> None:
    x = _leaf(3, 4)
    assert x.var(1).shape == (3,)
    assert x.var(1, ddof=1).data[0] != x.var(1).data[0]
    assert x.var(1, True).shape == (3, 1)
    np.testing.assert_array_equal(x.var([0, 1]).data, x.var((0, 1)).data)  # type: ignore[arg-type]


def test_zeros_of_both_signs_are_two_arguments() -> None:
    x = Tensor(np.full(3, -1, np.float32), requires_grad=True)
    for bound in (0.0, -0.0, 0.0):
        assert np.signbit(x.clip(bound).data).all() == np.signbit(bound)


def test_errors_are_those_of_the_function() -> None:
    x = _leaf(3, 4)
    for _ in range(2):
        with pytest.raises(ValueError, match="out of range"):
            x.var(2)
        with pytest.raises(ValueError, match="got 1"):
            F.einsum("ij,jk->ik", x)
        with pytest.raises(IndexError, match="do not broadcast"):
            x[np.array([0, 1]), np.array([0, 1, 2])]


def test_exponents_that_change_are_read_anew() -> None:
    x, exponent = _leaf(3), Tensor(np.float32(2.5))
    for value in (2.5, 3.5, 0.0):
        exponent.data = np.float32(value)
        x.grad = None
        (x**exponent).sum().backward()
        assert x.grad is not None
        np.testing.assert_allclose(x.grad.data, value * x.data ** (value - 1), rtol=1e-6)


def test_nodes_give_back_what_they_kept() -> None:
    x = _leaf(8, 8)
    for _ in range(20):
        x.prod().backward()
    x.grad = None
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(200):
        x.grad = None
        x.prod().backward()
    x.grad = None
    gc.collect()
    assert len(gc.get_objects()) < before + 50


def test_large_operands_run_as_they_are() -> None:
    x = _leaf(200, 200)
    y = x.var(0)
    assert y.op is not None
    assert y.op.name == "mean"
    y.sum().backward()
    assert x.grad is not None
    centered = x.data.astype(np.float64) - x.data.mean(0, dtype=np.float64)
    np.testing.assert_allclose(x.grad.data, 2 * centered / 200, atol=1e-7)


def test_recipes_refuse_what_does_not_fit() -> None:
    spec = Tensor(np.zeros(3, np.float32)).spec
    code, _ = _core.op_info("exp")
    with pytest.raises(ValueError, match="value 1 needs 1"):
        _core.Recipe([spec], [(code, (1,), (), spec, None, False)], [1])
    with pytest.raises(ValueError, match="no value 2"):
        _core.Recipe([spec], [(code, (0,), (), spec, None, False)], [2])
    for begin in (-4.0, 4.0):
        with pytest.raises(ValueError, match="value 1 is no part of value 0"):
            _core.Recipe([spec], [(-1, (0,), (begin,), spec, None, False)], [1])
    big = Tensor(np.zeros(1 << 15, np.float32)).spec
    steps = [(code, (i,), (), big, None, False) for i in range(3)]
    with pytest.raises(ValueError, match="bytes in between"):
        _core.Recipe([big], steps, [3])
