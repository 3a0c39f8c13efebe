"""Training that ends early: a loss that is no number, Ctrl-C."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import weakref
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from interrupts import interrupt

import fastprop as fp
from fastprop import functional as F
from fastprop import nn, optim
from fastprop.graph.program import Program
from fastprop.graph.tensor import Tensor
from fastprop.train import loop, recovery
from fastprop.train.recovery import Recovery

STEPS = 12  # batches of the data below


def problem(bad_step: int | None = None):
    """Rows of which one batch has a target that makes the loss of `explosive` infinite."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4 * STEPS, 3)).astype(np.float32)
    y = rng.normal(size=(4 * STEPS, 1)).astype(np.float32)
    if bad_step is not None:
        y[4 * bad_step + 1] = 1e30
    return x, y


def model() -> nn.Module:
    fp.seed(0)
    return nn.Sequential(nn.Dense(3, 8, "tanh"), nn.Dense(8, 1))


def weights_of(m: nn.Module) -> list[np.ndarray]:
    return list(m.state_dict().values())


def state_of(trainer: fp.Trainer) -> list[np.ndarray]:
    optimizer = trainer.optimizer
    arrays = [a.copy() for group in optimizer.state.values() for a in group]
    return [*weights_of(trainer.model), *arrays, np.array(optimizer.steps)]


def after(steps: int, optimizer: Any = "adam") -> list[np.ndarray]:
    """Parameters and state after some good steps, one by one."""
    x, y = problem()
    trainer = fp.Trainer(model(), "mse", optimizer)
    for i in range(steps):
        batch = slice(4 * (i % STEPS), 4 * (i % STEPS) + 4)
        trainer.train_step(x[batch], y[batch])
    return state_of(trainer)


def assert_same(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("bad_step", [0, 1, 2, 7, 11])
def test_last_good_parameters_are_kept(bad_step: int) -> None:
    """Step j (from 0) has no finite loss: kept is what gave the loss of step j - 1."""
    x, y = problem(bad_step)
    trainer = fp.Trainer(model(), "mse", "adam")
    with pytest.raises(fp.NonFiniteError, match=rf"inf in epoch 1, step {bad_step + 1} of 12") as e:
        trainer.fit(x, y, batch_size=4, shuffle=False)
    assert isinstance(e.value, FloatingPointError)
    assert (e.value.epoch, e.value.step, e.value.value) == (1, bad_step + 1, np.inf)
    expected = after(max(bad_step - 1, 0))
    if bad_step < 2:  # no state yet
        expected[2:] = state_of(trainer)[2:]
        assert trainer.optimizer.steps == 0
    assert_same(state_of(trainer), expected)


@pytest.mark.parametrize("hook", [False, True])
@pytest.mark.parametrize("copies", ["often", "once"])
@pytest.mark.parametrize("step", [22, 23, 24, 30])
def test_in_a_later_epoch(step: int, copies: str, hook: bool, monkeypatch) -> None:
    """The learning rate explodes, so the next step has no finite loss. Steps 24 to 35: epoch 3."""
    monkeypatch.setattr(recovery, "_LEAST_SECONDS", 0.0 if copies == "often" else 1e9)
    monkeypatch.setattr(recovery, "_COST_SHARE", 0.0)
    x, y = problem()
    optimizer = optim.SGD(lr=lambda t: 1e30 if t == step else 0.01, momentum=0.9)
    trainer = fp.Trainer(model(), "mse", optimizer)
    callbacks = [Nothing()] if hook else []
    bad = step + 1
    with pytest.raises(fp.NonFiniteError) as e:
        trainer.fit(x, y, epochs=5, batch_size=4, shuffle=False, callbacks=callbacks)
    assert (e.value.epoch, e.value.step) == (bad // STEPS + 1, bad % STEPS + 1)
    assert trainer.epoch == bad // STEPS
    assert trainer.history.epoch == list(range(1, trainer.epoch + 1))
    assert_same(state_of(trainer), after(step, optim.SGD(lr=0.01, momentum=0.9)))


class Nothing(fp.Callback):
    def on_epoch_end(self, trainer, epoch, logs):
        return False


@pytest.mark.parametrize("shuffle", [False, True])
def test_runs_of_few_steps(shuffle: bool, monkeypatch) -> None:
    """An epoch cut into runs of about a step each comes back to the same parameters."""
    found = []
    for seconds in (1e-9, 10.0):
        monkeypatch.setattr(loop, "_UNWATCHED_SECONDS", seconds)
        x, y = problem()
        optimizer = optim.SGD(lr=lambda t: 1e30 if t == 30 else 0.01, momentum=0.9)
        trainer = fp.Trainer(model(), "mse", optimizer)
        with pytest.raises(fp.NonFiniteError, match="epoch 3, step 8"):
            trainer.fit(x, y, epochs=5, batch_size=4, shuffle=shuffle)
        assert trainer.optimizer.steps == 30
        found.append(state_of(trainer))
    assert_same(*found)


@pytest.mark.parametrize("way", ["fit", "TerminateOnNaN", "fit_many"])
def test_the_error_kept_in_the_history_keeps_nothing_alive(way: str) -> None:
    def diverged() -> tuple[fp.train.History, list[weakref.ref[Any]]]:
        x, y = problem(7)
        trainer = fp.Trainer(model(), "mse", "adam")
        alive = [weakref.ref(o) for o in (x, y, trainer, trainer.model)]
        if way == "fit_many":
            return fp.fit_many([trainer], x, y, batch_size=4)[0], alive
        callbacks = [fp.train.TerminateOnNaN()] if way == "TerminateOnNaN" else []
        with suppress(fp.NonFiniteError):
            trainer.fit(x, y, batch_size=4, callbacks=callbacks)
        if callbacks:
            assert callbacks[0].error is trainer.history.error
        return trainer.history, alive

    history, alive = diverged()
    assert isinstance(history.error, fp.NonFiniteError)
    gc.collect()
    assert [o() for o in alive] == [None] * 4


def test_copies_of_the_error() -> None:
    x, y = problem(7)
    with pytest.raises(fp.NonFiniteError) as caught:
        fp.Trainer(model(), "mse", "adam").fit(x, y, batch_size=4, shuffle=False)
    for error in (pickle.loads(pickle.dumps(caught.value)), copy.copy(caught.value)):
        assert str(error) == str(caught.value)
        assert (error.epoch, error.step, error.value) == (1, 8, np.inf)


def test_training_can_go_on() -> None:
    x, y = problem(5)
    trainer = fp.Trainer(model(), "mse", "adam")
    with pytest.raises(fp.NonFiniteError):
        trainer.fit(x, y, batch_size=4)
    x, y = problem()
    history = trainer.fit(x, y, epochs=50, batch_size=4)
    assert history["loss"][-1] < history["loss"][0]


def test_last_update_breaks_the_parameters() -> None:
    """There is no further loss to show it."""
    x, y = problem()
    trainer = fp.Trainer(model(), "mse", optim.SGD(lr=lambda step: 1e38 if step == 11 else 0.01))
    with pytest.raises(fp.NonFiniteError, match="a parameter is not finite after the update"):
        trainer.fit(x * 100, y * 100, batch_size=4, shuffle=False)
    assert trainer.optimizer.steps == 11
    assert all(np.isfinite(w).all() for w in weights_of(trainer.model))


def test_train_step() -> None:
    x, y = problem(0)
    trainer = fp.Trainer(model(), "mse", "adam")
    before = state_of(trainer)
    with pytest.raises(fp.NonFiniteError, match="the parameters are as before"):
        trainer.train_step(x[:4], y[:4])
    assert_same(state_of(trainer), before)


def test_nan_loss_of_a_function() -> None:
    x, y = problem()
    trainer = fp.Trainer(model(), lambda p, t: F.mean(F.log(p - t)), "sgd")
    before = weights_of(trainer.model)
    with pytest.raises(
        fp.NonFiniteError, match=r"nan in epoch 1, step 1.*parameters from before this call"
    ):
        trainer.fit(x, y)
    assert_same(weights_of(trainer.model), before)


def copy_now(kept: Recovery, step: int, *, always: bool = False) -> bool:
    """What a run does of it that begins at `step`."""
    kept.before_run(always=always)
    pairs = kept.wanted()
    if pairs is None:
        return False
    for array, saved in pairs:
        saved[...] = array
    kept.copied(step, 0.0)
    return True


def test_copies_are_rare() -> None:
    parameter = next(iter(model().parameters()))
    kept = Recovery([parameter.data], optim.SGD([parameter], lr=0.1), lambda segment, count: None)
    assert [step for step in range(1000) if copy_now(kept, step)] == [0]


def test_what_is_zero_is_not_copied_but_comes_back() -> None:
    parameter = next(iter(model().parameters()))
    state, signed = np.zeros(20_000, np.float32), np.full(20_000, -0.0)
    arrays = [parameter.data, state, signed]
    optimizer = optim.SGD([parameter], lr=0.1)
    kept = Recovery(arrays, optimizer, lambda segment, count: None)
    kept.before_run()
    assert [a is state for a, _ in kept.wanted() or ()] == [False, False]
    for renewed in range(4):  # the first copy, and that it is renewed
        copy_now(kept, renewed, always=True)
        before = [a.copy() for a in arrays]
        kept.before_run(always=True)
        kept.wanted()  # a run that makes no copy, as its first loss is not finite
        for array in arrays:
            array[...] = 7 + renewed
        list(kept.roll_back(renewed))
        assert optimizer.steps == renewed
        for array, wanted in zip(arrays, before, strict=True):
            assert array.tobytes() == wanted.tobytes()
        state[...] = renewed + 1


def test_a_run_copies_behind_the_look_at_its_loss() -> None:
    """What is copied is from before the updates of the first step, and only if it makes any."""
    for bad_step in (0, 1):
        x, y = problem(bad_step)
        trainer = fp.Trainer(model(), "mse", "adam")
        x_good, y_good = problem()
        trainer.fit(x_good, y_good, batch_size=4)
        program = trainer.program
        assert program is not None
        arrays = program.changed_arrays()
        before = [a.copy() for a in arrays]
        saved = [np.full_like(a, 5) for a in arrays]
        numbers = trainer.optimizer.step_scalars(STEPS, STEPS)
        pairs = list(zip(arrays, saved, strict=True))
        result = program.run([x, y], len(x), 4, numbers, STEPS, copies=pairs)
        assert (result.stopped, result.steps_done) == ("nonfinite", bad_step)
        if bad_step == 0:
            assert result.copy_seconds is None
            assert all((a == 5).all() for a in saved)
            assert_same(list(arrays), before)
        else:
            assert result.copy_seconds is not None
            assert_same(saved, before)
            assert not all((a == b).all() for a, b in pairs)


def test_copies_that_a_run_cannot_make() -> None:
    x, y = problem()
    trainer = fp.Trainer(model(), "mse", "sgd")
    trainer.fit(x, y, batch_size=4)
    program = trainer.program
    assert program is not None
    wrong = [(x, np.empty(3, np.float32))]
    with pytest.raises(ValueError, match=r"Program\.run: a copy of 576 bytes into an array of 12"):
        program.run([x, y], len(x), 4, trainer.optimizer.step_scalars(0, STEPS), copies=wrong)
    a = Tensor.placeholder((4, 3), np.dtype(np.float32), batched=True, name="a")
    with pytest.raises(ValueError, match="copies are made once the loss is known"):
        Program([a], rows=[a + 1.0]).run([x], len(x), 4, copies=[(x, x.copy())])


# -- Ctrl-C ----------------------------------------------------------------------------------------

_INTERRUPTED = """
    import json, sys
    import numpy as np
    import fastprop as fp
    from fastprop import nn
    from interrupts import tell_when_training

    rows, epochs = int(sys.argv[1]), int(sys.argv[2])
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, 32), np.float32)
    y = x[:, :1]
    model = nn.Sequential(nn.Dense(32, 1024, "relu"), nn.Dense(1024, 1))
    trainer = fp.Trainer(model, "mse", "adam")
    trainer.fit(x[:512], y[:512])
    try:
        tell_when_training(model[1].weight.data)
        trainer.fit(x, y, epochs=epochs, batch_size=1)
        print("not interrupted")
    except KeyboardInterrupt:
        steps = trainer.optimizer.steps
        print(json.dumps({
            "steps": steps,
            "same epoch": trainer.history.epoch[-1:] in ([], [trainer.epoch]),
            "finite": all(bool(np.isfinite(p.data).all()) for p in model.parameters()),
            "one more": trainer.train_step(x[:8], y[:8]),
            "counted": trainer.optimizer.steps - steps,
            "loss": trainer.fit(x[:512], y[:512])["loss"][0],
        }))
"""


@pytest.mark.skipif(os.name == "nt", reason="signals as on POSIX")
@pytest.mark.parametrize(("rows", "epochs"), [(512, 10**8), (500_000, 1)], ids=["short", "long"])
def test_interrupt(rows: int, epochs: int) -> None:
    """Ctrl-C in the middle of a fit that would take minutes, of short epochs or of a long one."""
    found = interrupt(_INTERRUPTED, rows, epochs)
    assert found["finite"]
    assert found["same epoch"]
    assert found["counted"] == 1
    assert np.isfinite(found["one more"])
    assert found["loss"] < 1.0


def test_a_program_asks_for_the_numbers_of_its_steps() -> None:
    """Without them the update would read from nowhere."""
    model = nn.Sequential(nn.Dense(2, 1))
    trainer = fp.Trainer(model, "mse", optim.Adam())
    x = np.zeros((4, 2), np.float32)
    trainer.fit(x, x[:, :1], batch_size=4)
    program = trainer.program
    assert program is not None
    order = np.arange(4)
    for wrong in (None, np.zeros((1, 2))):
        with pytest.raises(
            ValueError, match=r"Program\.run: step_scalars: expects 3 numbers a step"
        ):
            program.run([x, x[:, :1].copy()], order, batch_size=4, step_scalars=wrong)


def test_a_fit_leaves_nothing_for_the_garbage_collector() -> None:
    """It keeps a copy of all parameters, and in a circle that would outlive the fit."""
    import gc
    import tracemalloc

    trainer = fp.Trainer(nn.Dense(300, 300), "mse", "sgd")
    x = np.ones((8, 300), np.float32)
    trainer.fit(x, x)
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(3):
            trainer.fit(x, x)
        assert tracemalloc.get_traced_memory()[0] < 100_000  # a copy is 361 KB
    finally:
        tracemalloc.stop()
        gc.enable()
