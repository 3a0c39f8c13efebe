"""Chains of elementwise ops give the bits of the ops one after the other, and keep their order."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
from helpers import DTYPES, uniform

import fastprop as fp
from fastprop import functional as F
from fastprop import nn, optim
from fastprop.graph import fuse, strips
from fastprop.graph.fuse_elementwise import fuse_elementwise
from fastprop.graph.ir import Instruction, Value, instruction

F32 = np.dtype(np.float32)


@pytest.fixture(autouse=True)
def _all_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a step goes by chunks depends on how much it writes, and so on what is fused."""
    monkeypatch.setattr(strips, "pays", lambda items: False)


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it to compile without chains from there on."""
    return lambda: monkeypatch.setattr(fuse, "fuse_elementwise", lambda items, kept: items)


def chains(compiled) -> int:
    return sum(i.name == "elementwise_chain" for i in compiled.programs[0].instructions)


def random_function(seed: int):
    """Elementwise ops on the last few values, now and then a product, then a derivative."""
    rng = random.Random(seed)
    kinds = [
        "add",
        "sub",
        "mul",
        "div",
        "neg",
        "square",
        "scale",
        "tanh",
        "sigmoid",
        "relu",
        "product",
    ]
    steps = [(rng.choice(kinds), rng.randrange(4), rng.randrange(4)) for _ in range(24)]

    def apply(kind: str, a, b, w):
        if kind == "div":
            return a / (1.5 + b * b)
        if kind == "neg":
            return -a
        if kind == "square":
            return 0.5 * F.square(a)
        if kind == "scale":
            return -0.7 * a
        if kind == "product":
            return 0.4 * (a @ w)
        if kind in ("tanh", "sigmoid", "relu"):
            return getattr(F, kind)(a)
        return {"add": a + b, "sub": a - b, "mul": a * b}[kind]

    def function(x, w):
        values = [x, 0.5 * x, x + 0.25, -x]
        for kind, i, j in steps:
            values.append(0.5 * apply(kind, values[-1 - i], values[-1 - j], w))
        loss = sum((F.square(v).mean() for v in values[-3:]), start=(x * x).mean())
        dx, dw = fp.grad(loss, [x, w], create_graph=True)
        second = fp.grad((dx * dx).sum() + (dw * dw).sum(), [x, w])
        return loss, values[-1], values[-4], dx, dw, *second

    return function


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 1), (37, 7), (130, 20), (2100, 3)])
@pytest.mark.parametrize("seed", range(4))
def test_bits_do_not_change(seed: int, shape: tuple[int, int], dtype: str, apart) -> None:
    x = uniform(shape, -1, 1, dtype=dtype, seed=1)
    w = uniform((shape[1], shape[1]), -1, 1, dtype=dtype, seed=2)

    def results(threads: int):
        step = fp.compile(random_function(seed), threads=threads)
        found = step(fp.tensor(x, requires_grad=True), fp.tensor(w, requires_grad=True))
        return step, [np.asarray(t.data) for t in found]

    one, with_chains = results(1)
    assert chains(one) > 0
    _, on_two = results(2)
    apart()
    other, without = results(1)
    assert chains(other) == 0
    for a, b, c in zip(with_chains, on_two, without, strict=True):
        np.testing.assert_array_equal(a, c)
        np.testing.assert_array_equal(b, c)


def test_a_parameter_that_changes_in_between(apart) -> None:
    """What is read before and after an update does not become one instruction."""

    def run():
        fp.seed(0)
        net = nn.Sequential(nn.Dense(3, 5, "tanh"), nn.Dense(5, 1))
        scale = nn.Parameter(np.array(0.5, np.float32))
        optimizer = optim.SGD([*net.parameters(), scale], lr=0.1)

        @fp.compile
        def step(x):
            before = net(x) * scale * scale
            loss = F.square(before - 1.0).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return before, before * scale, net(x) * scale

        x = uniform((41, 3), -1, 1, dtype="float32", seed=3)
        return [np.asarray(t.data) for _ in range(3) for t in step(x)]

    with_chains = run()
    apart()
    for a, b in zip(with_chains, run(), strict=True):
        np.testing.assert_array_equal(a, b)


def value(columns: int = 4) -> Value:
    return Value((8, columns), F32, True)


def op(name: str, *inputs: Value, columns: int = 4) -> Instruction:
    return instruction(name, inputs, [value(columns)], own=tuple(range(len(inputs))))


def check_order(items: list[Instruction], outside: set[Value]) -> None:
    known = set(outside)
    for item in items:
        assert {v.base for v in item.inputs if v is not None} <= known
        known.update(item.outputs)


def test_no_cycle_through_what_is_not_elementwise() -> None:
    x, w = value(), Value((4, 4), F32, array=np.zeros((4, 4), np.float32))
    a = op("square", x)
    product = instruction("dense", [a.outputs[0], w, None], [value()], own=(0,))
    b = op("mul", a.outputs[0], product.outputs[0])
    c = op("add", b.outputs[0], x)
    out = c.outputs[0]
    found = fuse_elementwise([a, product, b, c], {out})
    check_order(found, {x, w})
    names = [item.name for item in found]
    assert names == ["square", "dense", "elementwise_chain"]
    # x and the product: the square is computed again rather than read.
    assert set(found[2].inputs) == {x, product.outputs[0]}
    assert found[2].outputs == [out]


def test_no_read_moves_past_an_overwriting_instruction() -> None:
    x, parameter = value(), Value((), F32, array=np.zeros((), np.float32))
    first = op("mul", x, parameter)
    update = instruction("fill", [], [parameter], {"value": 1.0}, overwrites=True)
    second = op("mul", x, parameter)
    both = op("add", first.outputs[0], second.outputs[0])
    found = fuse_elementwise([first, update, second, both], {both.outputs[0]})
    assert [item.name for item in found] == ["mul", "fill", "elementwise_chain"]
    assert found[0] is first


def test_values_in_between_take_no_memory() -> None:
    x = value()
    items = [op("square", x)]
    for _ in range(6):
        items.append(op("mul", items[-1].outputs[0], x))
    found = fuse_elementwise(items, {items[-1].outputs[0]})
    assert len(found) == 1
    assert found[0].inputs == [x]
    assert found[0].outputs == items[-1].outputs
    assert found[0].inplace


@pytest.mark.parametrize("seed", range(40))
def test_random_lists_keep_their_dependencies(seed: int) -> None:
    rng = random.Random(seed)
    w = Value((4, 4), F32, array=np.zeros((4, 4), np.float32))
    values = [value()]
    outside = {values[0], w}
    items: list[Instruction] = []
    for _ in range(40):
        a, b = rng.choice(values[-6:]), rng.choice(values)
        if rng.random() < 0.25:
            items.append(instruction("dense", [a, w, None], [value()], own=(0,)))
        else:
            items.append(op(rng.choice(["add", "mul", "sub"]), a, b))
        values.append(items[-1].outputs[0])
    kept = {values[-1], rng.choice(values[1:])}
    found = fuse_elementwise(items, kept)
    check_order(found, outside)
    assert kept <= {v for item in found for v in item.outputs}
    assert len(found) < len(items)
