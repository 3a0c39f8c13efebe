"""Tensors as objects: gradients' life, hooks, other libraries' protocols, refusals."""

from __future__ import annotations

import copy
import gc
import mmap
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from helpers import DTYPES, torch, uniform

import fastprop as fp
from fastprop import Parameter, Tensor, grad, nn, optim, tensor
from fastprop import functional as F


def leaf(*shape: int, seed: int = 0) -> Tensor:
    return tensor(uniform(shape, 0.5, 2, seed=seed), requires_grad=True)


# -- the life of a graph --------------------------------------------------------------------------


def test_a_graph_is_freed_by_backward() -> None:
    x = leaf(3)
    y = F.exp(x)
    total = y.sum()
    total.backward(retain_graph=True)
    total.backward()
    np.testing.assert_allclose(x.grad.data, 2 * y.data)
    for output in (total, y.sum(), (y * 2).sum()):
        with pytest.raises(RuntimeError, match=r"freed by an earlier backward pass.*retain_graph"):
            output.backward()
    with pytest.raises(RuntimeError, match="grad: the graph behind a Tensor"):
        grad(total, x)


def test_backward_can_be_differentiated() -> None:
    x = leaf(3)
    (x * x * x).sum().backward(create_graph=True)
    first = x.grad
    x.grad = None
    first.sum().backward()
    np.testing.assert_allclose(x.grad.data, 6 * x.data)


def test_what_has_no_derivative() -> None:
    with pytest.raises(TypeError, match="backward: an int64 Tensor has no derivative"):
        tensor(np.arange(3)).backward()
    with pytest.raises(RuntimeError, match="does not depend on any Tensor that requires"):
        tensor(np.ones(())).backward()
    with pytest.raises(ValueError, match="is not a scalar; give its gradient"):
        (leaf(3) * 2).backward()


@pytest.mark.parametrize("change", ["assign", "subtract", "optimizer"])
def test_a_leaf_changed_in_place_is_noticed(change: str) -> None:
    x = Parameter(np.ones(3))
    optimizer = optim.SGD([x], lr=0.1)
    (x * x).sum().backward()
    total = (x * x).sum()
    if change == "assign":
        x.data = np.zeros(3)
    elif change == "subtract":
        x.data -= 0.5
    else:
        optimizer.step()
    with pytest.raises(RuntimeError, match=r"backward: a Tensor of shape \(3,\) was changed in pl"):
        total.backward()
    (x * x).sum().backward()  # with the new values


def test_results_that_derivatives_need_are_read_only() -> None:
    x = leaf(3)
    y = F.exp(x)
    for array in (y.data, y.numpy(), np.asarray(y), y.detach().data, y.reshape(1, 3).data):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    with pytest.raises(RuntimeError, match="the result of an op cannot be assigned"):
        y.data = np.zeros(3)
    with fp.no_grad():
        F.exp(x).data[...] = 0  # nobody needs it
    x.data[0] = 1.0
    np.testing.assert_array_equal(np.array(y), y.data)


def test_gradients_do_not_share_memory() -> None:
    a, b = leaf(3), leaf(3)
    seed = np.ones(3)
    (a + b).backward(seed)
    a.grad.data[...] = 7
    np.testing.assert_array_equal(b.grad.data, np.ones(3))
    np.testing.assert_array_equal(seed, np.ones(3))


def test_hooks() -> None:
    x = leaf(3)
    y = x * 2
    seen = []
    handle = y.register_hook(lambda g: seen.append(g.data.copy()))
    other = y.register_hook(lambda g: g * 10)
    y.retain_grad()
    y.retain_grad()
    (y.sum() + y.sum()).backward()
    np.testing.assert_array_equal(seen, [[2.0] * 3])  # once, when it is complete
    np.testing.assert_array_equal(y.grad.data, [20.0] * 3)
    np.testing.assert_array_equal(x.grad.data, [40.0] * 3)
    handle.remove()
    other.remove()
    x.register_hook(lambda g: -g)
    z = (x * 3).sum()
    np.testing.assert_array_equal(grad(z, x).data, [-3.0] * 3)
    x.register_hook(lambda g: np.zeros(3))
    with pytest.raises(TypeError, match="hook: must return a Tensor or None, got ndarray"):
        grad(z, x)
    with pytest.raises(RuntimeError, match="register_hook: this Tensor does not require"):
        tensor([1.0]).register_hook(print)
    with pytest.raises(TypeError, match="register_hook: expects a function, got int"):
        x.register_hook(3)


def test_a_gradient_that_does_not_fit() -> None:
    x = leaf(3)
    x.grad = fp.tensor(np.ones(3))
    wrong = [
        ([1.0] * 3, TypeError, "a Tensor or None, got list"),
        (np.ones(3), TypeError, "a Tensor or None, got ndarray"),
        (
            fp.tensor(np.ones(2)),
            ValueError,
            r"float64 \(3,\) as the Tensor itself, got float64 \(2,",
        ),
        (fp.tensor(np.ones(3, "f")), ValueError, r"float64 \(3,\) .*, got float32 \(3,\)"),
    ]
    for value, error, message in wrong:
        with pytest.raises(error, match=f"Tensor.grad: expects {message}"):
            x.grad = value
        handle = x.register_hook(lambda g, value=value: value)
        with pytest.raises(error, match=f"hook: must return {message}"):
            grad(x.sum(), x)
        handle.remove()


def test_leaves_can_be_switched() -> None:
    x = tensor([1.0, 2.0])
    assert not (x * 2).requires_grad
    assert (x.requires_grad_() * 2).requires_grad
    with pytest.raises(RuntimeError, match="only leaves can be changed"):
        (x * 2).requires_grad_(False)
    with pytest.raises(TypeError, match="only float Tensors"):
        tensor([1]).requires_grad_()
    y = x * 2
    y.requires_grad = True  # it does
    x.requires_grad = False
    assert not (x * 2).requires_grad
    with pytest.raises(RuntimeError, match="only leaves can be changed"):
        y.requires_grad = False
    with pytest.raises(TypeError, match="only float Tensors"):
        tensor([1]).requires_grad = True
    with pytest.raises(TypeError, match="must be True or False, got 'yes'"):
        x.requires_grad = "yes"
    with pytest.raises(TypeError, match="must be True or False, got 1"):
        Parameter(np.ones(2)).requires_grad = 1


def test_only_a_gradient_can_be_assigned_as_gradient() -> None:
    x = Parameter(np.ones(3))
    x.grad = tensor(np.ones(3))
    (x * 2).sum().backward()
    np.testing.assert_array_equal(x.grad.data, [3.0] * 3)
    with pytest.raises(TypeError, match=r"Tensor\.grad: expects a Tensor or None, got .*ndarray"):
        x.grad = np.ones(3)
    for wrong in (np.ones(4), np.ones((2, 3)), np.ones(3, np.float32)):
        with pytest.raises(ValueError, match=r"Tensor\.grad: expects float64 \(3,\) as the Ten"):
            x.grad = tensor(wrong)


def resident_bytes() -> int:
    """Memory of this process; 0 where the system does not say."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * mmap.PAGESIZE if statm.exists() else 0


@pytest.mark.slow
def test_memory_stays_flat_over_ten_thousand_steps() -> None:
    model = nn.Sequential(nn.Dense(3, 4, activation="tanh"), nn.Dense(4, 1))
    optimizer = optim.SGD(model.parameters(), lr=1e-3)
    x, y = tensor(uniform((5, 3), dtype="float32")), tensor(uniform((5, 1), dtype="float32"))

    def step() -> None:
        loss = ((model(x) - y) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    gc.collect()
    tracemalloc.start()
    gc.disable()  # nothing waits for the collector: graphs have no cycles
    try:
        for _ in range(3000):  # the interpreter keeps up to 2000 tuples of each size
            step()
        before, resident = tracemalloc.get_traced_memory()[0], resident_bytes()
        for _ in range(10_000):
            step()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        gc.enable()
        tracemalloc.stop()
    assert grown < 20_000  # two bytes a step, where a lost Tensor would be hundreds
    assert resident_bytes() - resident < 4_000_000  # what C++ might keep


def test_copies_of_models_are_independent() -> None:
    model = nn.Sequential(nn.Dense(3, 4, activation="tanh"), nn.Dense(4, 1))
    x = uniform((5, 3), dtype="float32")
    model(x).sum().backward()
    other = copy.deepcopy(model)
    np.testing.assert_array_equal(other(x).data, model(x).data)
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert theirs.requires_grad
        assert not np.shares_memory(mine.data, theirs.data)
        np.testing.assert_array_equal(mine.grad.data, theirs.grad.data)


def test_results_are_neither_copied_nor_pickled() -> None:
    x = leaf(3)
    for copied in (copy.deepcopy(x), pickle.loads(pickle.dumps(x)), copy.copy(x)):
        np.testing.assert_array_equal(copied.data, x.data)
        assert copied.requires_grad
    y = x * 2
    for _ in range(2000):  # which would go deeper than Python's stack
        y = y + 1.0
    for attempt in (copy.deepcopy, pickle.dumps, copy.copy):
        with pytest.raises(TypeError, match=r"has a history, .* x\.detach\(\), or x\.clone\(\)"):
            attempt(y)
    np.testing.assert_array_equal(copy.deepcopy(y.detach()).data, y.data)


def test_what_is_no_tensor_is_refused() -> None:
    op = fp.graph.op.OPS["exp"]
    with pytest.raises(TypeError, match="apply: operand 0 is no Tensor"):
        fp.graph.op.apply(op, np.ones(3))
    with pytest.raises(TypeError, match="apply: operand 0 was never initialized"):
        fp.graph.op.apply(op, Tensor.__new__(Tensor))
    with pytest.raises(TypeError, match="unhashable"):
        fp.graph.op.apply(fp.graph.op.OPS["sum"], tensor([1.0]), axes=[1], keepdims=False)


# -- other libraries ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [*DTYPES, "int64"])
def test_numpy_and_dlpack_share_memory(dtype: str) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    x = tensor(array)
    assert np.shares_memory(x.numpy(), array)
    assert np.shares_memory(np.asarray(x), array)
    assert not np.shares_memory(np.array(x), array)
    assert np.shares_memory(np.from_dlpack(x), array)
    assert np.shares_memory(fp.from_dlpack(array).data, array)
    with pytest.raises(ValueError, match="expects contiguous"):
        fp.from_dlpack(array.T)
    with pytest.raises(TypeError, match="dtype must be float32"):
        fp.from_dlpack(array.astype(np.int16))
    with pytest.raises(TypeError, match="object with __dlpack__"):
        fp.from_dlpack([1])
    with pytest.raises(BufferError, match=r"export x.detach\(\)"):
        np.from_dlpack(leaf(2))


@pytest.mark.skipif(torch is None, reason="PyTorch is not installed")
def test_dlpack_with_torch() -> None:
    x = tensor(np.ones((2, 3), np.float32))
    theirs = torch.from_dlpack(x)
    theirs[0, 0] = 5
    assert x.data[0, 0] == 5
    ours = fp.from_dlpack(theirs)
    assert np.shares_memory(ours.data, x.data)


def test_what_is_printed() -> None:
    assert repr(tensor([1.0, 2.0])) == "Tensor([1., 2.], dtype=float32)"
    assert "requires_grad=True, op=exp" in repr(F.exp(leaf(2)))
    assert "shape=(50, 50)" in repr(tensor(np.zeros((50, 50))))
    assert f"{tensor(1.23456):.2f}" == "1.23"
    assert (int(tensor([3])), [10, 20, 30][tensor(1)], tensor([[1, 2]]).tolist()) == (
        3,
        20,
        [[1, 2]],
    )
    with pytest.raises(TypeError, match="only an int64 Tensor can be an index"):
        [1, 2][tensor(1.0)]
    with pytest.raises(ValueError, match="truth of 2 elements"):
        bool(tensor([1.0, 2.0]))


# -- shapes and elements ---------------------------------------------------------------------------


def test_transpose_takes_two_axes_or_all() -> None:
    x = np.arange(24.0).reshape(2, 3, 4)
    for got, want in (
        (tensor(x).transpose(0, 2), x.swapaxes(0, 2)),
        (tensor(x).transpose(-1, 1), x.swapaxes(1, 2)),
        (tensor(x).transpose(2, 0, 1), x.transpose(2, 0, 1)),
        (tensor(x).transpose((2, 0, 1)), x.transpose(2, 0, 1)),
        (tensor(x).transpose(), x.T),
        (tensor(x[0]).transpose(0, 1), x[0].T),
        (tensor(x[0]).transpose(1, 0), x[0].T),
    ):
        np.testing.assert_array_equal(got.data, want)
    with pytest.raises(ValueError, match="transpose: axis 3 is out of range"):
        tensor(x).transpose(0, 3)


def test_a_number_is_in_a_tensor() -> None:
    x = tensor([[1.0, 2.0], [3.0, 4.0]])
    assert 3.0 in x
    assert 5.0 not in x


@pytest.mark.parametrize("compiled", [False, True])
def test_a_parameter_is_changed_in_place_where_nothing_is_recorded(compiled: bool) -> None:
    w = Parameter(np.array([1.0, 2.0]))

    def step(x):
        nonlocal w
        w.grad = None
        (w * x).sum().backward()
        with fp.no_grad():
            w -= 0.5 * w.grad
            w *= 2.0
            w /= 4.0
            w += 1.0
        return x.sum()

    kept, used = w, w * w
    function = fp.compile(step) if compiled else step
    function(fp.tensor(np.array([2.0, 4.0])))
    assert w is kept
    np.testing.assert_array_equal(w.data, [1.0, 1.0])
    with pytest.raises(RuntimeError, match="was changed in place after mul had used it"):
        used.sum().backward()
    with pytest.raises(RuntimeError, match=r"Parameter -= …: .* `with fp\.no_grad\(\)"):
        w -= 1.0
    assert w is kept
