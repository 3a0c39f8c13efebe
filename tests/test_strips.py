"""Steps of many narrow rows go by chunks: bits do not depend on threads, values are those of a
step that goes over all rows at once, up to the order of sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import DTYPES, torch, uniform

import fastprop as fp
from fastprop import functional as F
from fastprop import nn, optim
from fastprop.graph import strips
from fastprop.graph.forms import Plans
from fastprop.graph.ir import BATCH, Instruction, Value, instruction
from fastprop.graph.memory import align
from fastprop.graph.schedule import dependencies, fewest_barriers, step
from fastprop.graph.strips import chunk_rows, plan_strips, sums_by_chunks
from fastprop.inspect.labels import Labels
from fastprop.train import programs

F32 = np.dtype(np.float32)
CAPACITY = 2048
ROWS = [1, 2, 7, 31, 100, 1023, 1025, 2047, 2048]


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it to plan without strips from there on, and not by what was planned before."""

    def plan_anew() -> None:
        monkeypatch.setattr(strips, "pays", lambda items: False)
        monkeypatch.setattr(programs, "_STEPS", Plans(1))

    return plan_anew


@pytest.fixture(autouse=True)
def small_steps_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips, "LEAST_BYTES", 0)
    monkeypatch.setattr(programs, "_STEPS", Plans(1))


def trainer(threads: int, dtype: str = "float32", **options: Any) -> fp.Trainer:
    fp.seed(3)
    model = nn.Sequential(
        nn.Dense(3, 20, "tanh", dtype=dtype),
        nn.Dropout(0.2),
        nn.Dense(20, 9, "relu", dtype=dtype),
        nn.Dense(9, 2, dtype=dtype),
    )
    return fp.Trainer(model, "mse", optim.Adam(lr=1e-2), seed=5, threads=threads, **options)


def data(rows: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    x = uniform((rows, 3), dtype=dtype, seed=1)
    return x, np.stack([np.sin(x[:, 0]), x[:, 1] * x[:, 2]], axis=1)


def fitted(threads: int, dtype: str, rows: int) -> tuple[list[np.ndarray], Any, fp.Trainer]:
    """Weights and losses after full batches and a last one of `rows`."""
    made = trainer(threads, dtype)
    history = made.fit(*data(CAPACITY + rows, dtype), epochs=2, batch_size=CAPACITY, shuffle=False)
    return [p.data.copy() for p in made.model.parameters()], history, made


def chunks_of(made: fp.Trainer) -> int:
    return made.program._plan.strips.chunks


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", ROWS)
def test_bits_do_not_depend_on_threads(rows: int, dtype: str) -> None:
    alone, history, made = fitted(1, dtype, rows)
    assert chunks_of(made) > 0
    for threads in (2, 3, 5):
        others, other_history, _ = fitted(threads, dtype, rows)
        for a, b in zip(alone, others, strict=True):
            np.testing.assert_array_equal(a, b)
        assert history["loss"] == other_history["loss"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", ROWS)
def test_values_are_those_of_all_rows_at_once(
    rows: int, dtype: str, whole: Callable[[], None]
) -> None:
    """Dropout included: which numbers it draws depends on the row in the batch."""
    ours, history, _ = fitted(2, dtype, rows)
    whole()
    plain, plain_history, made = fitted(2, dtype, rows)
    assert chunks_of(made) == 0
    # Four updates of about lr: where a gradient is next to nothing, its sign may differ.
    epsilon = np.finfo(dtype).eps
    for a, b in zip(ours, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2000 * epsilon)
    np.testing.assert_allclose(history["loss"], plain_history["loss"], rtol=100 * epsilon)


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "silu", "mish"])
def test_values_and_slopes_have_places_of_their_own(
    activation: str, whole: Callable[[], None]
) -> None:
    """One instruction makes f(z) and f'(z); the second one alone may take the place of z."""

    def weights() -> tuple[list[np.ndarray], fp.Trainer]:
        fp.seed(2)
        layers = nn.Dense(3, 16, activation), nn.Dense(16, 8, activation), nn.Dense(8, 2)
        made = fp.Trainer(nn.Sequential(*layers), "mse", optim.SGD(lr=0.1), threads=1)
        made.fit(*data(CAPACITY, "float32"), epochs=3, batch_size=CAPACITY, verbose=False)
        assert any(i.name == "activation_with_slope" for i in made.program.instructions)
        return [p.data.copy() for p in made.model.parameters()], made

    ours, made = weights()
    assert chunks_of(made) > 0
    whole()
    plain, made = weights()
    assert chunks_of(made) == 0
    for a, b in zip(ours, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


def gradients(dtype: str, rows: int, threads: int) -> list[np.ndarray]:
    """Of a layer that is used twice, by a compiled function of any number of rows."""
    fp.seed(1)
    first, shared = nn.Dense(3, 12, "tanh", dtype=dtype), nn.Dense(12, 12, "tanh", dtype=dtype)
    parameters = [*first.parameters(), *shared.parameters()]

    @fp.compile(threads=threads)
    def step(x: Any, y: Any) -> Any:
        error = shared(shared(first(x))) - y
        return fp.grad((error * error).sum(), parameters)

    x = uniform((CAPACITY, 3), dtype=dtype, seed=4)
    y = uniform((CAPACITY, 12), dtype=dtype, seed=5)
    step(x, y)  # with the capacity
    found = [g.data.copy() for g in step(x[:rows], y[:rows])]
    assert step.programs[0]._plan.strips.chunks > 0
    return found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 31, 1025, 2048])
def test_gradients_against_float64(rows: int, dtype: str) -> None:
    found = gradients(dtype, rows, 2)
    for a, b in zip(found, gradients(dtype, rows, 3), strict=True):
        np.testing.assert_array_equal(a, b)
    fp.seed(1)
    first, shared = nn.Dense(3, 12, "tanh", dtype=dtype), nn.Dense(12, 12, "tanh", dtype=dtype)
    w, b, v, c = (p.data.astype(np.float64) for p in (*first.parameters(), *shared.parameters()))
    x = uniform((CAPACITY, 3), dtype=dtype, seed=4)[:rows].astype(np.float64)
    y = uniform((CAPACITY, 12), dtype=dtype, seed=5)[:rows].astype(np.float64)
    h = np.tanh(x @ w + b)
    k = np.tanh(h @ v + c)
    o = np.tanh(k @ v + c)
    do = 2 * (o - y) * (1 - o * o)
    dk = do @ v.T * (1 - k * k)
    dh = dk @ v.T * (1 - h * h)
    expected = [x.T @ dh, dh.sum(0), k.T @ do + h.T @ dk, do.sum(0) + dk.sum(0)]
    for got, wanted in zip(found, expected, strict=True):
        # Terms below 4, a few roundings each, and as many more as there are terms in a sum.
        bound = 4 * rows * np.sqrt(rows + 64) * np.finfo(dtype).eps
        np.testing.assert_allclose(got, wanted, rtol=0, atol=bound)


@pytest.mark.skipif(torch is None, reason="PyTorch is not installed")
def test_second_derivatives_against_pytorch() -> None:
    """The loss of a physics-informed network, in float64."""
    fp.seed(2)
    layers = [nn.Dense(2, 20, "tanh", dtype="float64"), nn.Dense(20, 1, dtype="float64")]
    net = nn.Sequential(*layers)
    parameters = list(net.parameters())[:3]  # the last bias has no part in the loss

    @fp.compile(threads=2)
    def step(x: Any) -> Any:
        first = fp.grad(net(x).sum(), x, create_graph=True)
        second = fp.grad(first[:, 0:1].sum(), x, create_graph=True)
        loss = ((first[:, 1:2] - second[:, 0:1]) ** 2).mean()
        return [loss, *fp.grad(loss, parameters)]

    points = uniform((1500, 2), dtype="float64", seed=3)
    found = [t.data for t in step(fp.tensor(points, requires_grad=True))]
    assert step.programs[0]._plan.strips.chunks > 0

    weights = [torch.tensor(p.data, requires_grad=True) for p in parameters]
    x = torch.tensor(points, requires_grad=True)
    u = torch.tanh(x @ weights[0] + weights[1]) @ weights[2]
    first = torch.autograd.grad(u.sum(), x, create_graph=True)[0]
    second = torch.autograd.grad(first[:, 0:1].sum(), x, create_graph=True)[0]
    loss = ((first[:, 1:2] - second[:, 0:1]) ** 2).mean()
    loss.backward()
    for got, wanted in zip(found, [loss.detach(), *(w.grad for w in weights)], strict=True):
        np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-11, atol=1e-12)


def test_memory_is_that_of_a_chunk() -> None:
    made = trainer(1)
    x, y = data(20_000, "float32")
    made.fit(x, y, epochs=1, batch_size=20_000)
    scratch = made.program._plan.strips.scratch_bytes
    assert made.program.arena_bytes < x.nbytes + y.nbytes + 2**20
    pair = trainer(2)
    pair.fit(x, y, epochs=1, batch_size=20_000)
    assert pair.program.arena_bytes - made.program.arena_bytes == scratch > 0


def test_a_loss_that_is_not_finite_changes_nothing() -> None:
    made = trainer(2)
    x, y = data(CAPACITY, "float32")
    y[1500] = 1e30  # its square is infinite
    before = [p.data.copy() for p in made.model.parameters()]
    with pytest.raises(fp.NonFiniteError):
        made.fit(x, y, epochs=1, batch_size=CAPACITY, shuffle=False)
    assert chunks_of(made) > 0
    for p, q in zip(made.model.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.data, q)


def test_a_report_names_parts_of_gradients() -> None:
    made = trainer(2)
    x, y = data(4 * CAPACITY, "float32")
    made.fit(x, y, epochs=1, batch_size=CAPACITY)
    assert chunks_of(made) > 0
    by_layer = Labels(made.program, made.model).all
    dense = {label.layer for label in by_layer if "Dense" in label.layer}
    assert len(dense) == 3
    for layer in dense:
        assert {"dW", "db", "update"} <= {x.phase for x in by_layer if x.layer == layer}
    text = str(made.report(x, y, batch_size=CAPACITY))
    assert "dW" in text


def test_many_trainings_at_once() -> None:
    x, y = data(CAPACITY + 100, "float32")
    makes = [trainer(1) for _ in range(3)]
    fp.fit_many(makes, x, y, epochs=2, batch_size=CAPACITY)
    alone = trainer(1)
    alone.fit(x, y, epochs=2, batch_size=CAPACITY)
    for made in makes:
        for p, q in zip(made.model.parameters(), alone.model.parameters(), strict=True):
            np.testing.assert_array_equal(p.data, q.data)


def test_what_the_host_computes_takes_all_rows_at_once() -> None:
    seen: list[int] = []

    def plus_one(x: np.ndarray) -> np.ndarray:
        seen.append(len(x))
        return x + 1

    count = fp.custom_op(plus_one, lambda dy, y, x: dy)
    layer = nn.Dense(3, 20, "tanh")

    @fp.compile(threads=2)
    def step(x: Any) -> Any:
        return F.tanh(count(layer(x)) * 2.0).sum(axis=1)

    x = uniform((CAPACITY, 3), dtype="float32", seed=1)
    step(x)
    seen.clear()
    got = step(x).data
    assert seen == [CAPACITY]
    expected = np.tanh(2 * (layer(x).data + 1)).sum(axis=1)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


# ---- the plan ----------------------------------------------------------------------------------


def step_of_two_layers() -> tuple[list[Instruction], list[Value]]:
    """Forward, dx, dW and updates of two layers, in the order of their recording."""

    def rows(columns: int) -> Value:
        return Value((CAPACITY, columns), F32, batched=True)

    def weights(*shape: int) -> Value:
        return Value(shape, F32, array=np.zeros(shape, np.float32))

    source = Value((CAPACITY, 3), F32, True, source=0)
    x, h, y, dy, dh = rows(3), rows(20), rows(2), rows(2), rows(20)
    w, v, loss = weights(3, 20), weights(20, 2), Value((), F32)
    first = [
        instruction("gather_rows", [source], [x], own=(0,)),
        instruction("dense", [x, w, None], [h], own=(0,)),
        instruction("dense", [h, v, None], [y], own=(0,)),
        instruction("square", [y], [dy], own=(0,), inplace=(0,)),
        instruction("mean", [dy], [loss], {"axes": 3.0}),
        instruction("dense_backward_data", [dy, v, h], [dh], own=(0, 2)),
    ]
    dv, dw = Value(v.shape, F32), Value(w.shape, F32)
    again, total = Value(w.shape, F32), Value(w.shape, F32)
    second = [
        instruction("dense_backward_weights", [h, dy], [dv]),
        instruction("dense_backward_weights", [x, dh], [dw]),
        instruction("dense_backward_weights", [x, h], [again]),
        instruction("add", [dw, again], [total], own=(0, 1)),
        instruction("sgd_update", [dv], [v], own=(0,), overwrites=True),
        instruction("sgd_update", [total], [w], own=(0,), overwrites=True),
    ]
    return [*first, *second], [loss, y]


def test_products_of_one_parameter_share_their_parts() -> None:
    items, kept = step_of_two_layers()
    out = sums_by_chunks(items, kept)
    made = [item for item in out if item.name == "dense_backward_weights_parts"]
    assert [len(item.inputs) for item in made] == [2, 2, 3]
    assert made[2].inputs[2] is made[1].outputs[0]
    assert all(item.key == BATCH and item.outputs[0].parts for item in made)
    assert [item.name for item in out].count("sum") == 2
    assert not any(item.name == "add" for item in out)


def test_strips_hold_what_may_go_together_and_memory_of_what_they_alone_use() -> None:
    items, kept = step_of_two_layers()
    loss, y = kept
    order = fewest_barriers(step(sums_by_chunks(items, kept), loss))
    planned, plan = plan_strips(order, kept, CAPACITY)
    assert sorted(map(id, planned.instructions)) == sorted(map(id, order.instructions))
    position = {item: i for i, item in enumerate(planned.instructions)}
    for i, needed in enumerate(dependencies(order.instructions)):
        item = order.instructions[i]
        assert all(position[order.instructions[j]] < position[item] for j in needed)
    assert not any(item.overwrites for item in planned.instructions[: planned.guard])

    strip = {id(item): n for item, n in zip(planned.instructions, planned.strips, strict=True)}
    for item in planned.instructions:
        assert (strip[id(item)] >= 0) == (item.key == BATCH)
    values = {v for item in planned.instructions for v in item.writes()}
    local = {v for v in values if v.local}
    assert {v.shape[1] for v in local} == {3, 20}  # x, h, dh; dy is read whole, y kept
    assert y not in local
    assert plan.chunks % strips.CHUNKS == 0
    assert all(v.shape[0] == plan.chunks for v in values if v.parts)
    rows = chunk_rows(CAPACITY, plan.chunks)
    assert rows * plan.chunks >= CAPACITY
    for v in local:
        assert v.offset % 64 == 0
        assert v.offset + align(4 * v.shape[1] * rows) <= plan.scratch_bytes


@pytest.mark.parametrize("threads", [1, 2])
def test_describe_marks_what_goes_chunk_by_chunk(threads: int) -> None:
    made = trainer(threads)
    made.fit(*data(CAPACITY, "float32"), epochs=1, batch_size=CAPACITY)
    lines = made.program.describe().splitlines()
    schedule, chunks = made.program._schedule, made.program._plan.strips.chunks
    names = [line for line in lines if "->" in line]
    for line, item, strip in zip(names, schedule.instructions, schedule.strips, strict=True):
        assert line.startswith(f"{'  ' if strip >= 0 else ''}{item.name}(")
    headings = [line for line in lines if line.startswith("chunk by chunk")]
    assert headings == [f"chunk by chunk, {chunks} of them:"] * (max(schedule.strips) + 1)


@pytest.mark.parametrize("capacity", [1, 5, 64, 1023, 1024, 1025, 10_000])
@pytest.mark.parametrize("chunks", [1, 2, 16, 160])
def test_rows_of_a_chunk_hold_any_chunk_of_fewer_rows(capacity: int, chunks: int) -> None:
    def cut(rows: int, i: int) -> int:
        unit = 4 if rows >= 16 * chunks else 1
        return min(-(-(-(-rows // unit) * i) // chunks) * unit, rows)

    most = chunk_rows(capacity, chunks)
    for rows in {*range(1, min(capacity, 300) + 1), capacity - 1, capacity}:
        assert max(cut(rows, i + 1) - cut(rows, i) for i in range(chunks)) <= most


def test_few_rows_and_wide_ones_go_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for rows, width in ((1000, 64), (4096, 300)):
        model = nn.Sequential(nn.Dense(3, width, "tanh"), nn.Dense(width, 1))
        made = fp.Trainer(model, "mse", optim.SGD(lr=0.1))
        made.fit(
            *(a[:, :n] for a, n in zip(data(rows, "float32"), (3, 1), strict=True)),
            epochs=1,
            batch_size=rows,
        )
        assert chunks_of(made) == 0
