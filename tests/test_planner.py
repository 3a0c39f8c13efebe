"""The order, the barriers and the memory of a Program, checked against what they must guarantee."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest

from fastprop import _core, nn
from fastprop.graph import planning
from fastprop.graph.arrange import Layers, on_one_thread
from fastprop.graph.ir import BATCH, Instruction, Value, columns_key, columns_of, instruction
from fastprop.graph.memory import Arena, align
from fastprop.graph.planning import Lowered, plan_step
from fastprop.graph.schedule import Schedule, Step, fewest_barriers, step
from fastprop.graph.tensor import Tensor

F32 = np.dtype(np.float32)
CAPACITY = 12


def schedule(instructions: list[Instruction], guarded: Value | None = None) -> Schedule:
    return fewest_barriers(step(instructions, guarded))


def value(*shape: int, batched: bool = True) -> Value:
    return Value(shape, F32, batched)


def random_program(seed: int, length: int) -> tuple[list[Instruction], list[Value]]:
    """Random ops on batched values, sums over the batch, and updates of parameters at the end."""
    rng = random.Random(seed)
    weights = [Value((n, 4), F32, array=np.zeros((n, 4), np.float32)) for n in (3, 8, 8)]
    source = Value((CAPACITY, 4), F32, source=0)
    items = [instruction("gather_rows", [source], [value(CAPACITY, 4)])]
    batched = [items[0].outputs[0]]
    summed: list[Value] = []
    for _ in range(length):
        kind = rng.choice(["map", "map", "product", "columns", "sum", "free"])
        a = rng.choice(batched)
        b = rng.choice([v for v in batched if v.shape == a.shape])
        if kind == "map":
            out = value(*a.shape)
            items.append(instruction("add", [a, b], [out], own=(0, 1), inplace=(0, 1)))
            batched.append(out)
        elif kind == "product":
            # 3 and 4 columns take as many cache lines, but a thread's rows lie elsewhere.
            out = value(CAPACITY, rng.choice([3, 4]))
            items.append(instruction("dense", [a, rng.choice(weights)], [out], own=(0,)))
            batched.append(out)
        elif kind == "columns":
            # dx = dz W^T with the derivative at b, which it may overwrite.
            out = value(*b.shape)
            inputs = [a, rng.choice(weights), b]
            key = columns_key(b.shape[1])
            dx = instruction("dense_backward_data", inputs, [out], own=(2,), inplace=(2,), key=key)
            items.append(dx)
            batched.append(out)
        elif kind == "sum":
            out = value(rng.choice([3, 8]), 4, batched=False)
            items.append(instruction("dense_backward_weights", [a, b], [out]))
            summed.append(out)
        elif summed:
            s = rng.choice(summed)
            out = value(*s.shape, batched=False)
            items.append(instruction("square", [s], [out], own=(0,), inplace=(0,)))
            summed.append(out)
    for w in weights:
        fitting = [s for s in summed if s.shape == w.shape]
        if fitting:
            gradient = rng.choice(fitting)
            items.append(instruction("sgd_update", [gradient], [w], own=(0,), overwrites=True))
    return items, [batched[-1], *summed[-1:]]


def conflicts(first: Instruction, second: Instruction) -> bool:
    """True if two threads that run both without a barrier in between could disagree."""

    def touched(item: Instruction) -> list[tuple[Value, bool, bool]]:
        reads = [(v, own, False) for v, own in item.reads()]
        return reads + [(v, True, True) for v in item.writes()]

    for a, own_a, writes_a in touched(first):
        for b, own_b, writes_b in touched(second):
            if not (writes_a or writes_b):
                continue
            if a is b:
                if not (own_a and own_b and first.key == second.key):
                    return True
            elif a.in_arena and b.in_arena and overlap(a, b):
                same_place = a.offset == b.offset and a.nbytes == b.nbytes and a.key == b.key
                sliced = is_sliced(first, a) and is_sliced(second, b) and first.key == second.key
                if not (own_a and own_b and same_place and sliced):
                    return True
    return False


def is_sliced(item: Instruction, touched: Value) -> bool:
    """Whether an instruction that keeps to its own part of a value has a slice of it."""
    columns = columns_of(item.key)
    return columns == touched.shape[1] if columns else item.key == touched.key


def overlap(a: Value, b: Value) -> bool:
    if min(a.offset, b.offset) < 0:
        return False
    return a.offset < b.offset + align(b.nbytes) and b.offset < a.offset + align(a.nbytes)


def check_order(given: list[Instruction], arranged: Schedule) -> None:
    assert sorted(map(id, given)) == sorted(map(id, arranged.instructions))
    assert arranged.phases == sorted(arranged.phases)
    position = {id(item): i for i, item in enumerate(arranged.instructions)}
    for i, first in enumerate(given):
        for second in given[i + 1 :]:
            shared = set(first.writes()) & {v for v, _ in second.reads()}
            shared |= {v for v, _ in first.reads()} & set(second.writes())
            if shared:
                assert position[id(first)] < position[id(second)]


ARRANGEMENTS = (
    "fewest barriers",
    "layers",
    "pairs of layers",
    "late gradients",
    "open places",
    "one thread",
)


def arrange(how: str, items: list[Instruction], kept: list[Value]) -> Schedule:
    given = step(items)
    if how == "fewest barriers":
        return fewest_barriers(given)
    if how == "one thread":
        return on_one_thread(given)
    orders = Layers(given).grouped(2 if how == "pairs of layers" else 1)
    arranged = orders[-1 if how == "late gradients" else 0]
    return Arena(items, kept).open_places(arranged, 100) if how == "open places" else arranged


@pytest.mark.parametrize("how", ARRANGEMENTS)
@pytest.mark.parametrize("seed", range(60))
def test_no_two_threads_can_disagree(seed: int, how: str) -> None:
    items, kept = random_program(seed, 5 + seed)
    arranged = arrange(how, items, kept)
    check_order(items, arranged)
    Arena(arranged.instructions, kept).place(arranged, [])
    for i, first in enumerate(arranged.instructions):
        for j in range(i + 1, len(arranged.instructions)):
            if arranged.phases[i] == arranged.phases[j]:
                assert not conflicts(first, arranged.instructions[j])


@pytest.mark.parametrize("how", ARRANGEMENTS)
@pytest.mark.parametrize("seed", range(60))
def test_no_live_value_is_overwritten(seed: int, how: str) -> None:
    items, kept = random_program(seed, 5 + seed)
    arranged = arrange(how, items, kept)
    total = Arena(arranged.instructions, kept).place(arranged, [])
    assert total >= Arena(items, kept).peak_bytes(arranged)
    born: dict[Value, int] = {}
    dies: dict[Value, int] = {}
    for position, item in enumerate(arranged.instructions):
        for v in item.writes():
            if v.in_arena:
                born[v] = dies[v] = position
        for v, _ in item.reads():
            if v.in_arena:
                dies[v] = position
    for v in kept:
        dies[v] = len(items)
    for v in born:
        assert v.offset % 64 == 0
        assert v.offset >= 0
        assert v.offset + v.nbytes <= total
        for w in born:
            both_live = born[v] < born[w] <= dies[v]
            if v is not w and both_live and overlap(v, w):
                # Only an op that works in place may take the memory of an input that dies with it.
                assert dies[v] == born[w]
                assert arranged.instructions[born[w]].inplace


@pytest.mark.parametrize("seed", range(60))
def test_a_guarded_value_is_known_before_anything_is_overwritten(seed: int) -> None:
    """Also to other threads: it has the phase of the first update at the latest."""
    items, kept = random_program(seed, 5 + seed)
    loss = value(1, batched=False)
    items.insert(
        random.Random(seed).randrange(1, len(items)), instruction("mean", [kept[0]], [loss])
    )
    items = [i for i in items if not i.overwrites] + [i for i in items if i.overwrites]
    made = next(i for i, item in enumerate(items) if kept[0] in item.outputs)
    items.insert(made + 1, items.pop(next(i for i, v in enumerate(items) if loss in v.outputs)))
    arranged = schedule(items, loss)
    check_order(items, arranged)
    position = next(i for i, v in enumerate(arranged.instructions) if loss in v.outputs)
    assert position < arranged.guard
    assert not any(item.overwrites for item in arranged.instructions[: arranged.guard])
    plain = schedule(items)
    assert plain.guard == -1
    assert arranged.barriers <= plain.barriers + 1
    Arena(arranged.instructions, kept).place(arranged, [loss])
    for i, first in enumerate(arranged.instructions):
        for j in range(i + 1, len(arranged.instructions)):
            if arranged.phases[i] == arranged.phases[j]:
                assert not conflicts(first, arranged.instructions[j])


def test_a_stack_of_layers_needs_two_barriers() -> None:
    """Forward and dx share one phase; dW and updates the next; one more wait ends the step."""
    x = value(CAPACITY, 4)
    items = [instruction("gather_rows", [Value(x.shape, F32, source=0)], [x])]
    weights = [Value((4, 4), F32, array=np.zeros((4, 4), np.float32)) for _ in range(5)]
    hidden = [x]
    for w in weights:
        hidden.append(value(CAPACITY, 4))
        items.append(instruction("dense", [hidden[-2], w], [hidden[-1]], own=(0,)))
    dz = value(CAPACITY, 4)
    items.append(instruction("mse_backward", [hidden[-1], x], [dz], own=(0, 1)))
    updates = []
    for w, h in zip(reversed(weights), reversed(hidden[:-1]), strict=True):
        dw = value(4, 4, batched=False)
        items.append(instruction("dense_backward_weights", [h, dz], [dw]))
        updates.append(instruction("sgd_update", [dw], [w], own=(0,), overwrites=True))
        below = value(CAPACITY, 4)
        items.append(instruction("dense_backward_data", [dz, w, h], [below], own=(0, 2)))
        dz = below
    loss = value(1, batched=False)
    items.append(instruction("mean", [hidden[-1]], [loss]))
    assert schedule(items + updates, loss).barriers == 2  # guarding costs none
    arranged = schedule(items + updates)
    assert arranged.barriers == 2
    for item in arranged.instructions:
        assert arranged.phases[arranged.instructions.index(item)] == (item.key != BATCH)


def test_buffers_of_equal_layers_are_used_again_within_a_phase() -> None:
    values = [value(CAPACITY, 4)]
    items = [instruction("gather_rows", [Value((CAPACITY, 4), F32, source=0)], [values[0]])]
    w = Value((4, 4), F32, array=np.zeros((4, 4), np.float32))
    for _ in range(10):
        values.append(value(CAPACITY, 4))
        items.append(instruction("dense", [values[-2], w], [values[-1]], own=(0,)))
    total = Arena(items, [values[-1]]).place(schedule(items), [])
    assert total == 2 * align(values[0].nbytes)


def bound(arranged: Schedule, kept: list[Value], split: bool) -> int:
    """Bytes that are live at once in the fullest phase, or at the fullest instruction (`split`)."""
    moment = list(range(len(arranged.phases))) if split else arranged.phases
    born: dict[Value, int] = {}
    dies: dict[Value, int] = {}
    in_place: dict[Value, int] = {}
    for i, item in enumerate(arranged.instructions):
        dying = [v for v, own in item.reads() if own and v.key == item.key and v in born]
        for v in item.writes():
            if v.in_arena and v not in born:
                born[v] = moment[i]
                # Counted as if every op that may work in place did.
                if item.inplace and any(d.nbytes == v.nbytes for d in dying):
                    in_place[v] = moment[i]
        for v in [*item.writes(), *(v for v, _ in item.reads())]:
            if v in born:
                dies[v] = moment[i]
    dies.update((v, moment[-1] + 1) for v in kept)
    return max(
        sum(align(v.nbytes) for v in born if born[v] <= at <= dies[v] and in_place.get(v) != at)
        for at in moment
    )


def multilayer_perceptron(widths: list[int], rows: int, derivative: str) -> list[Instruction]:
    """A step as the lowering gives it: gradients packed for dW, one update after each of them."""
    h = [Value((rows, widths[0]), F32, batched=True)]
    target = Value((rows, widths[-1]), F32, batched=True)
    items = [
        instruction("gather_rows", [Value(v.shape, F32, source=i)], [v])
        for i, v in enumerate((h[0], target))
    ]
    weights = [Value(shape, F32, array=np.zeros(0, np.float32)) for shape in pairwise(widths)]
    kept_for_derivative = []
    for w in weights:
        y, z = (Value((rows, w.shape[1]), F32, batched=True) for _ in range(2))
        outputs = [y] if derivative == "from output" or w is weights[-1] else [y, z]
        items.append(instruction("dense", [h[-1], w], outputs, own=(0,)))
        h.append(y)
        kept_for_derivative.append(outputs[-1])
    dz = Value(target.shape, F32, batched=True)
    items.append(instruction("mse_backward", [h[-1], target], [dz], own=(0, 1)))
    updates = []
    for layer in reversed(range(len(weights))):
        w = weights[layer]
        packed = Value((rows, -(-w.shape[1] // 16) * 16), F32)
        items.append(instruction("pack_rows", [dz], [packed], own=(0,), key=dz.key))
        dw = Value(w.shape, F32)
        db = Value((w.shape[1],), F32)
        b = Value(db.shape, F32, array=np.zeros(0, np.float32))
        updates += [
            instruction("dense_backward_weights", [h[layer], packed], [dw]),
            instruction("sgd_update", [dw], [w], own=(0,), overwrites=True),
            instruction("dense_backward_bias", [dz], [db]),
            instruction("sgd_update", [db], [b], own=(0,), overwrites=True),
        ]
        if layer > 0:
            below = Value(h[layer].shape, F32, batched=True)
            inputs = [dz, w, kept_for_derivative[layer - 1]]
            items.append(instruction("dense_backward_data", inputs, [below], own=(0, 2)))
            dz = below
    return items + updates


NETWORKS = {
    "tiny": ([4, 64, 64, 1], 32),
    "tabular": ([100, 256, 128, 10], 256),
    "mnist": ([784, 512, 512, 10], 128),
    "deep": ([128] * 17 + [10], 128),
    "wide": ([1024, 2048, 2048, 1000], 1024),
    "autoencoder": ([300, 150, 32, 150, 300], 128),
    "pyramid": ([512, 256, 128, 64, 32, 16, 8, 1], 256),
    "large batch": ([784, 512, 512, 10], 4096),
    "odd": ([17, 1000, 3, 700, 19], 100),
}


@pytest.mark.parametrize("derivative", ["from output", "from input"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_arena_is_little_more_than_what_is_live(name: str, derivative: str) -> None:
    widths, rows = NETWORKS[name]
    arranged = schedule(multilayer_perceptron(widths, rows, derivative))
    total = Arena(arranged.instructions, []).place(arranged, [])
    assert total <= 1.1 * bound(arranged, [], split=False)


@pytest.mark.parametrize("name", ["wide", "large batch"])
def test_large_programs_get_barriers_that_save_memory(name: str) -> None:
    """Even against memory that is free again after every instruction."""
    widths, rows = NETWORKS[name]
    arranged = schedule(multilayer_perceptron(widths, rows, "from output"))
    split = Arena(arranged.instructions, []).split_phases(arranged)
    assert split.instructions == arranged.instructions
    assert arranged.barriers <= split.barriers <= arranged.barriers + 2
    assert Arena(split.instructions, []).place(split, []) <= 1.1 * bound(split, [], split=True)


def test_small_programs_get_no_further_barriers() -> None:
    arranged = schedule(multilayer_perceptron(*NETWORKS["tiny"], "from output"))
    assert Arena(arranged.instructions, []).split_phases(arranged).phases == arranged.phases


@pytest.mark.parametrize("seed", range(20))
def test_buffers_take_the_tightest_gap(seed: int) -> None:
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, 40, 60)
    ends = starts + rng.integers(1, 12, 60)
    sizes = 64 * rng.integers(1, 9, 60)
    wishes = [(int(n), int(a), int(b)) for n, a, b in zip(sizes, starts, ends, strict=True)]
    found: dict[int, int] = {}
    for i in sorted(range(60), key=lambda i: (-wishes[i][0], wishes[i][1])):
        size, start, end = wishes[i]
        taken = np.zeros(sum(w[0] for w in wishes) // 64, bool)
        for j, offset in found.items():
            if wishes[j][1] < end and start < wishes[j][2]:
                taken[offset // 64 : (offset + wishes[j][0]) // 64] = True
        # Runs of free memory: those that are followed by something, and the one that is not.
        edges = np.flatnonzero(np.diff(np.concatenate([[True], taken, [True]]).astype(int)))
        free = [(int(b - a), int(a)) for a, b in edges.reshape(-1, 2)]
        gaps = [gap for gap in free[:-1] if gap[0] * 64 >= size]
        found[i] = 64 * min(gaps, default=free[-1])[1]
    assert _core.place_buffers(wishes) == [found[i] for i in range(60)]


@pytest.mark.parametrize(("width", "looks"), [(20, 1), (200, 2)])
def test_a_step_planned_for_one_thread_after_all_is_looked_at_again_only_if_packed(
    monkeypatch: pytest.MonkeyPatch, width: int, looks: int
) -> None:
    seen: list[int] = []

    def counted(instructions: list[Instruction], guarded: Value | None = None) -> Step:
        seen.append(len(instructions))
        return step(instructions, guarded)

    monkeypatch.setattr(planning, "step", counted)
    monkeypatch.setattr(planning, "choose_threads", lambda order, capacity: 1)
    monkeypatch.setattr(_core, "available_threads", lambda: 2)
    x = Tensor.placeholder((64, width), "float32", batched=True)
    w = nn.Parameter(np.zeros((width, width), np.float32))
    y = x @ w
    lowered = Lowered.of([x], [y.mean()], [], [])
    plan = plan_step(lowered, 64, None, packed=True, check_loss=True)
    assert len(seen) == looks
    assert plan.threads == 1
    assert not plan.prologue
    assert len(set(plan.schedule.phases)) == len(plan.schedule.instructions)
