"""Derivatives through compiled functions that draw random numbers or overwrite state."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
from training import assert_same, network, training_step, weights

import fastprop as fp
from fastprop import functional as F
from fastprop import losses, nn, optim
from fastprop.graph.parameter import Buffer
from fastprop.random import default_generator

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 4))
Y = np.sin(X[:, :1])


# -- random numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", [lambda x: F.dropout(x, 0.5), lambda x: F.alpha_dropout(x, 0.3)])
def test_the_derivative_has_the_mask_of_its_call(draw) -> None:
    compiled = fp.compile(draw)
    ones = np.ones_like(X)
    calls = []
    for _ in range(3):
        x = fp.tensor(ones, requires_grad=True)
        calls.append((x, compiled(x)))
    for x, y in reversed(calls):
        y.sum().backward()
        high = y.data > y.data.mean()
        assert 0.1 < high.mean() < 0.9
        assert len(np.unique(x.grad.data[high])) == 1
        assert not x.grad.data[~high].any()
    assert not np.array_equal(calls[0][1].data, calls[1][1].data)


def test_the_derivative_is_at_the_noise_of_its_call() -> None:
    compiled = fp.compile(lambda x: F.gaussian_noise(x, 1.0) ** 3)
    x = fp.tensor(X, requires_grad=True)
    for y in [compiled(x) for _ in range(3)]:
        x.grad = None
        y.sum().backward()
        np.testing.assert_allclose(x.grad, 3 * np.cbrt(y.data) ** 2, rtol=1e-9)


def test_dropout_in_a_checkpoint() -> None:
    """The repetition of a segment draws what its first call has drawn."""
    inner = fp.compile(lambda x: F.dropout(x * 3.0, 0.5))
    x = fp.tensor(np.ones_like(X), requires_grad=True)
    pair = [fp.checkpoint(lambda t: inner(t) + inner(t) * 10.0, x) for _ in range(2)]
    assert not np.array_equal(pair[0].data, pair[1].data)
    for y in pair:
        x.grad = None
        y.sum().backward()
        np.testing.assert_allclose(x.grad, y.data)
    assert inner.calls == 4


def test_functions_draw_numbers_of_their_own() -> None:
    """Two functions with the same mask would drop the same features of two networks."""

    def drawn(**options: int) -> list[bytes]:
        first, second = (fp.compile(lambda x: F.dropout(x, 0.5), **options) for _ in range(2))
        return [f(X).data.tobytes() for _ in range(3) for f in (first, second)]

    fp.seed(5)
    masks = drawn()
    eager = F.dropout(X, 0.5).data.tobytes()
    assert len({*masks, eager}) == 7
    fp.seed(5)
    assert drawn() == masks
    fp.seed(6)
    assert not {*drawn()} & {*masks}
    assert drawn(seed=5) == drawn(seed=5)
    assert len({*drawn(seed=5)}) == 3  # of a seed of its own, and the number of the call


def test_numbers_of_a_call_that_is_done_op_by_op() -> None:
    compiled = fp.compile(lambda x: F.dropout(x, 0.5))
    plain = fp.compile(lambda x: x * 2.0)
    results = []
    for anomaly in (False, True):
        fp.seed(1)
        with fp.detect_anomaly() if anomaly else nullcontext():
            results.append([f(X).data.copy() for f in (compiled, plain, compiled)])
        assert default_generator().counter == 2  # what draws nothing takes nothing
    np.testing.assert_array_equal(*results)


# -- normalization ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_batch_normalization(dtype: str) -> None:
    found = []
    for wrap in (lambda f: f, fp.compile):
        fp.seed(0)
        model = nn.Sequential(
            nn.Dense(4, 8, "relu", dtype=dtype), nn.BatchNorm(8, dtype=dtype),
            nn.Dense(8, 1, dtype=dtype),
        )  # fmt: skip
        function, optimizer = wrap(model), optim.Adam(model.parameters(), lr=1e-2)
        for rows in (40, 13, 40):
            x, y = X[:rows].astype(dtype), Y[:rows].astype(dtype)
            loss = ((function(x) - y) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        x = fp.tensor(X.astype(dtype), requires_grad=True)
        slope = fp.grad(function(x).sum(), x)
        norm = model[1]
        found.append([*weights(model), norm.running_mean.data, norm.running_var.data, slope.data])
    assert_same(*found)
    assert norm.num_batches_tracked.data == 3


def test_running_statistics_are_updated_once_in_a_checkpoint() -> None:
    norm = nn.BatchNorm(4, dtype="float64")
    compiled = fp.compile(norm)
    x = fp.tensor(X, requires_grad=True)
    (fp.checkpoint(compiled, x) ** 3).sum().backward()
    found = x.grad.data
    assert norm.num_batches_tracked.data == 1
    y = fp.tensor(X, requires_grad=True)
    (norm(y) ** 3).sum().backward()
    np.testing.assert_allclose(found, y.grad.data, rtol=1e-12)


def test_statistics_that_changed_since_the_call() -> None:
    norm = nn.BatchNorm(4, dtype="float64").eval()
    compiled = fp.compile(norm)
    x = fp.tensor(X, requires_grad=True)
    y = compiled(x)
    norm.running_var.data = np.full(4, 9.0)
    with pytest.raises(RuntimeError, match=r"backward: a Tensor of shape \(4,\) was changed in"):
        y.sum().backward()


# -- values that changed ---------------------------------------------------------------------------


def test_a_parameter_that_was_assigned() -> None:
    model = network(4, 9, 1, dtype="float64")
    compiled = fp.compile(model)
    x = fp.tensor(X, requires_grad=True)
    y = compiled(x)
    model[0].weight.data = np.zeros((4, 9))
    for differentiate in (lambda: y.sum().backward(), lambda: fp.grad(y.sum(), x)):
        with pytest.raises(RuntimeError, match=r"was changed in place after .*had used it"):
            differentiate()
    compiled(x).sum().backward()  # of the new value


def test_an_argument_that_was_assigned() -> None:
    compiled = fp.compile(lambda a, b: (a * b).sum())
    a, b = fp.tensor(X, requires_grad=True), fp.tensor(X)
    y = compiled(a, b)
    b.data = X + 1
    with pytest.raises(RuntimeError, match=r"Tensor of shape \(40, 4\) was changed in place after"):
        y.backward()
    b.data = X
    y = compiled(a, b)
    y.backward()
    np.testing.assert_array_equal(a.grad, X)


def test_a_step_inside_counts_as_a_change_outside() -> None:
    model = network(4, 9, 1)
    x, y = X.astype("f"), Y.astype("f")
    step = fp.compile(training_step(model, optim.SGD(model.parameters(), lr=0.1)))
    step(x, y)
    loss = model(x).sum()
    step(x, y)
    with pytest.raises(RuntimeError, match="was changed in place after"):
        loss.backward()


# -- effects ---------------------------------------------------------------------------------------


def test_a_loss_that_was_differentiated_inside() -> None:
    model = network(4, 9, 1)
    step = fp.compile(training_step(model, optim.SGD(model.parameters(), lr=0.1)))
    loss = step(X.astype("f"), Y.astype("f"))
    assert not loss.requires_grad
    with pytest.raises(RuntimeError, match=r"was differentiated inside of compile\(step\)"):
        loss.backward()
    with pytest.raises(
        RuntimeError, match=r"grad: .* was differentiated inside of compile\(step\)"
    ):
        fp.grad(loss, model[0].weight)


def test_a_graph_that_was_retained_inside() -> None:
    w = fp.Parameter(X[0])

    @fp.compile
    def function(x):
        y = (x * w).sum()
        y.backward(retain_graph=True)
        return y

    y = function(X)
    once = w.grad.data.copy()
    y.backward()
    np.testing.assert_allclose(w.grad.data, 2 * once, rtol=1e-14)


def test_a_result_from_before_a_step() -> None:
    model = network(4, 9, 1, dtype="float64")
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def function(x):
        before = model(x)
        (model(x) ** 2).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        return before, model(x)

    before, after = fp.compile(function)(X)
    with pytest.raises(RuntimeError, match=r"depends on a parameter that .* changes after"):
        before.sum().backward()
    after.sum().backward()
    found = [p.grad.data for p in model.parameters()]
    model.zero_grad()
    model(X).sum().backward()
    assert_same(found, [p.grad.data for p in model.parameters()])


def test_a_buffer_that_is_overwritten() -> None:
    count = Buffer(np.full(4, 2.0))

    def before(x):
        y = x * count
        count.assign(count + 1.0)
        return y

    def after(x):
        count.assign(count + 1.0)
        return x * count

    def unneeded(x):
        y = x + count
        count.assign(count + 1.0)
        return y

    x = fp.tensor(X, requires_grad=True)
    with pytest.raises(
        RuntimeError, match=r"overwrites a Buffer of shape \(4,\) after it has used"
    ):
        fp.compile(before)(x).sum().backward()
    y = fp.compile(after)(x)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, np.broadcast_to(count.data, X.shape))
    fp.compile(unneeded)(x).sum().backward()
    assert count.data[0] == 5.0


def test_gradients_left_by_the_function_itself() -> None:
    """A backward pass inside, and one through another result."""
    w = fp.Parameter(X[0])

    def function(x):
        (x * w).sum().backward()
        return (x * w * w).sum()

    found = []
    for f in (function, fp.compile(function)):
        w.grad = None
        f(X).backward()
        found.append(w.grad.data)
    np.testing.assert_allclose(*found, rtol=1e-13)


# -- where calls lie -------------------------------------------------------------------------------


def test_inside_of_another_compiled_function() -> None:
    model = network(4, 9, 1, dtype="float64")
    inner = fp.compile(model)
    outer = fp.compile(lambda x: inner(x) * inner(2.0 * x))
    found = []
    for function in (lambda x: model(x) * model(2.0 * x), outer):
        x = fp.tensor(X, requires_grad=True)
        found.append(fp.grad(function(x).sum(), x).data)
    assert_same(*found)
    assert inner.programs == []


def test_in_a_checkpoint() -> None:
    model = network(4, 9, 9, 1, dtype="float64")
    parts = [fp.compile(layer) for layer in model]

    def segments(x):
        for part in parts:
            x = fp.checkpoint(part, x)
        return x

    found = []
    for function in (model, segments):
        model.zero_grad()
        x = fp.tensor(X, requires_grad=True)
        function(x).sum().backward()
        found.append([x.grad.data, *(p.grad.data for p in model.parameters())])
    assert_same(*found)


def test_a_checkpoint_inside() -> None:
    model = network(4, 9, 9, 1, dtype="float64")

    def segments(x):
        for layer in model:
            x = fp.checkpoint(lambda t, layer=layer: F.dropout(layer(t), 0.2), x)
        return x

    compiled = fp.compile(segments, seed=0)
    x = fp.tensor(X, requires_grad=True)
    y = compiled(x)
    (slope,) = fp.grad(y.sum(), [x])
    compiled.calls = 0

    def plain(x):
        for layer in model:
            x = F.dropout(layer(x), 0.2)
        return x

    without = fp.compile(plain, seed=0)
    np.testing.assert_array_equal(without(x).data, y.data)
    without.calls = 0
    np.testing.assert_array_equal(fp.grad(without(x).sum(), x).data, slope.data)


def test_a_result_from_outside_in_a_trace() -> None:
    w = fp.Parameter(X[0])
    y = fp.compile(lambda x: (x * w).sum(axis=0))(X)
    taken = fp.compile(lambda t: t * y)
    np.testing.assert_array_equal(taken(X), X * y.data)
    with pytest.raises(fp.TraceError, match="call it inside, or take its result with detach"):
        fp.compile(lambda t: (t * y).sum().backward())(X)
    taken(X).sum().backward()
    np.testing.assert_allclose(w.grad, X.sum(axis=0) ** 2, rtol=1e-12)


def test_hooks() -> None:
    model = network(4, 9, 1, dtype="float64")
    compiled = fp.compile(model)
    seen = []
    model[0].weight.register_hook(lambda g: seen.append("weight") or g * 2.0)
    found = []
    for function in (model, compiled):
        model.zero_grad()
        x = fp.tensor(X, requires_grad=True)
        x.register_hook(lambda g: seen.append("x"))
        y = function(x)
        y.register_hook(lambda g: seen.append("y") or g * 3.0)
        y.sum().backward()
        found.append([x.grad.data, *(p.grad.data for p in model.parameters())])
    assert_same(*found)
    assert [sorted(seen[:3]), sorted(seen[3:])] == [["weight", "x", "y"]] * 2


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.layer_norm(x, (4,)) ** 2,
        lambda x: F.batch_norm(x, None, None, None, None, True) ** 2,
        lambda x: (x @ x.T) ** 2,
        lambda x: F.einsum("ni,nj->nij", x, x) ** 2,
        lambda x: F.sort(x, 0)[0] ** 2,
        lambda x: F.std(x, 0) ** 3 + F.logsumexp(x, 0),
        lambda x: F.topk(x, 2, axis=1)[0] ** 2,
        lambda x: F.take(x, np.array([3, 1, 2]), axis=0) ** 2,
        lambda x: losses.cross_entropy(x, fp.tensor([0, 1, 2, 3, 1, 0])),  # labels of these rows
    ],
)
def test_second_derivatives_by_rows_and_as_a_whole(function) -> None:
    found = []
    for f in (function, fp.compile(function)):
        x = fp.tensor(X[:6], requires_grad=True)
        first = fp.grad(f(x).sum(), x, create_graph=True)
        found.append([first.data, fp.grad((first * first).sum(), x).data])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_a_custom_op() -> None:
    cube = fp.custom_op(lambda x: x**3, lambda dy, y, x: dy * 3 * x**2, name="cube")
    compiled = fp.compile(lambda x: cube(x) * x)
    x = fp.tensor(X, requires_grad=True)
    np.testing.assert_allclose(fp.grad(compiled(x).sum(), x), 4 * X**3, rtol=1e-12)
