"""A step whose structure is known takes over a plan: the one that tracing it would lead to."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from structures import CLASSES, NO_KEY, SAME, VARIANTS, X, Y, data_of, made
from training import weights_of

import fastprop as fp
from fastprop import nn, optim
from fastprop.graph.assemble import Assembler
from fastprop.graph.forms import Plans
from fastprop.graph.program import Program
from fastprop.train import programs
from fastprop.train.steps import Kind, Look, Recipe


@pytest.fixture(autouse=True)
def known(monkeypatch) -> Plans[Any]:
    """What is known of steps: nothing at first."""
    plans: Plans[Any] = Plans(256)
    monkeypatch.setattr(programs, "_STEPS", plans)
    monkeypatch.setattr(programs, "_OUTPUTS", Plans(256))
    return plans


def traced_always(monkeypatch) -> None:
    monkeypatch.setattr(Recipe, "structure", lambda self: None)


def plan_of(program: Program) -> Any:
    """All that C++ is told of a Program but its arrays; and these, or the numbers of constants."""
    assembler = Assembler()
    before = [assembler.instruction(item, False) for item in program.prologue]
    step = [assembler.instruction(item, False) for item in program.instructions]
    lowered = program._lowered
    asked = [assembler.operand(v) for v in lowered.outputs]
    text = repr((before, step, asked, program._schedule, program.arena_bytes, program.threads))
    return text.partition("Schedule(")[0], program._schedule.phases, assembler.buffers


def own_places(trainer: fp.Trainer) -> set[int]:
    arrays = [t.data for t in (*trainer.model.parameters(), *trainer.model.buffers())]
    optimizer: Any = trainer.optimizer
    while optimizer is not None:
        arrays += [a for state in optimizer.state.values() for a in state]
        arrays += [t.data for t in getattr(optimizer, "_directions", [])]
        arrays += [t.data for t in getattr(optimizer, "_squares", [])]
        optimizer = getattr(optimizer, "optimizer", None)
    return {place(a) for a in arrays if a.size}


def place(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def same_arrays(shared: list[Any], own: set[int], traced: list[Any], others: set[int]) -> bool:
    """Each its own state in the same places, and the same constants."""
    return len(shared) == len(traced) and all(
        x.shape == y.shape
        and (place(x) in own) == (place(y) in others)
        and (place(x) in own or x.tobytes() == y.tobytes())
        for x, y in zip(shared, traced, strict=True)
    )


def train(trainer: fp.Trainer, **options: Any) -> list[bytes]:
    x, y = data_of(trainer)
    trainer.fit(x, y, epochs=2, verbose=False, **({"batch_size": 16} | options))
    return weights_of(trainer.model)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_known_plan_is_the_traced_one(monkeypatch, known, name: str) -> None:
    make, options = VARIANTS[name]
    first, second = make(0), make(1)
    train(first, **options)
    steps = len(known)
    assert steps == 1
    weights = train(second, **options)
    assert len(known) == steps
    shared = second.program
    assert shared is not None
    assert "_lowered" not in vars(shared)  # it was not traced
    plan, phases, arrays = plan_of(shared)
    text = shared.describe()
    traced_always(monkeypatch)
    third = make(1)
    assert train(third, **options) == weights
    assert second.history["loss"] == third.history["loss"]
    assert third.program is not None
    plan_of_third, phases_of_third, arrays_of_third = plan_of(third.program)
    assert plan == plan_of_third
    assert phases == phases_of_third
    assert text == third.program.describe()
    assert same_arrays(arrays, own_places(second), arrays_of_third, own_places(third))
    assert {place(a) for a in shared.changed_arrays()} <= own_places(second)


def key_of(trainer: fp.Trainer, mixup: float = 0.0, **options: Any) -> Any:
    x, y = data_of(trainer)
    arrays = [a if isinstance(a, tuple) else (a,) for a in (x, y)]
    mix = programs.Mixup(mixup) if mixup else None
    recipe = trainer._programs._steps.recipe(Kind.TRAINING, "", Look.of(*arrays), 16, mix)
    structure = recipe.structure()
    return None if structure is None else structure.key


def test_different_steps_have_different_keys() -> None:
    keys = {name: key_of(make(0), **options) for name, (make, options) in VARIANTS.items()}
    assert None not in keys.values()
    owners: dict[Any, str] = {}
    for name, key in keys.items():
        other = owners.setdefault(key, name)
        assert other == name or SAME.get(name) == other, (name, other)


@pytest.mark.parametrize("name", NO_KEY)
def test_what_is_not_the_librarys_is_traced(known, name: str) -> None:
    assert key_of(NO_KEY[name](0)) is None
    train(NO_KEY[name](0), **({"batch_size": None} if "full batch" in name else {}))
    assert not len(known)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_attribute_of_a_module_is_in_its_key(cls: Callable[[], nn.Module]) -> None:
    """Whatever constant is changed, it is another step."""
    plain = made(nn.Sequential(cls(), nn.Dense(3, 1)))
    tables = [vars(plain.model[0]), getattr(plain.model[0], "options", {})]
    changed = 0
    for i, (name, value) in ((i, item) for i, t in enumerate(tables) for item in t.items()):
        if name == "training" or not isinstance(value, bool | int | float):
            continue
        other = made(nn.Sequential(cls(), nn.Dense(3, 1)))
        table = getattr(other.model[0], "options", {}) if i else vars(other.model[0])
        table[name] = not value if isinstance(value, bool) else value + 1
        assert key_of(other) != key_of(plain), name
        changed += 1
    assert changed


@pytest.mark.parametrize("threads", [1, 2])
def test_evaluation_and_prediction_share_plans_too(monkeypatch, known, threads: int) -> None:
    def run(seed: int) -> Any:
        fp.seed(seed)
        model = nn.Sequential(nn.Dense(3, 8, "relu"), nn.Dropout(0.5), nn.Dense(8, 1))
        trainer = fp.Trainer(model, "mse", "adam", metrics=["mae"], threads=threads)
        trainer.fit(X, Y, validation_data=(X[:20], Y[:20]), epochs=2, batch_size=16)
        return [*trainer.history["val_mae"], trainer.predict(X).tobytes()]

    run(0)
    steps = len(known)
    assert steps == 3
    shared = run(1)
    assert len(known) == steps
    traced_always(monkeypatch)
    assert run(1) == shared


def test_a_program_that_was_not_traced_knows_when_it_is_too_late() -> None:
    for seed in range(2):
        fp.seed(seed)
        model = nn.Sequential(nn.Dense(3, 8, "relu"), nn.Dropout(0.5), nn.Dense(8, 1))
        trainer = made(model)
        train(trainer)
    assert trainer.program is not None
    model[1].p = 0.25
    with pytest.raises(RuntimeError, match=r"has changed since"):
        trainer.program.describe()
    model[1].p = 0.5
    assert "dropout" in trainer.program.describe()


def test_parameters_that_share_memory_are_traced(monkeypatch, known) -> None:
    def tied(seed: int) -> fp.Trainer:
        fp.seed(seed)
        model = nn.Sequential(nn.Dense(3, 4), nn.Dense(4, 4), nn.Dense(4, 4), nn.Dense(4, 1))
        trainer = made(model, optimizer=optim.SGD(lr=0.1))
        assert isinstance(model[2].weight, nn.Parameter)
        if seed:
            model[2].weight.move_to(model[1].weight.data)
        return trainer

    train(tied(0))
    weights = train(tied(1))
    traced_always(monkeypatch)
    assert train(tied(1)) == weights


def test_plans_keep_no_model_alive(known) -> None:
    """Nor do they pile up: models of many widths have as many plans as are kept."""
    alive = []
    for width in range(1, 301):
        trainer = made(nn.Sequential(nn.Dense(3, width), nn.Dense(width, 1)))
        trainer.train_step(X[:4], Y[:4])
        alive += [weakref.ref(trainer), weakref.ref(trainer.model), weakref.ref(trainer.optimizer)]
        del trainer
    gc.collect()
    assert not any(ref() is not None for ref in alive)
    assert len(known) == 256
