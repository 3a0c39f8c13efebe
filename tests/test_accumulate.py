"""optim.Accumulate: one update for several batches."""

from __future__ import annotations

import numpy as np
import pytest
from training import assert_same, network, training_step, weights

import fastprop as fp
from fastprop import nn, optim, regularizers
from fastprop.optim import schedules

rng = np.random.default_rng(0)
X = rng.normal(size=(96, 4)).astype(np.float32)
Y = np.sin(X[:, :1])


def fit(model: nn.Module, optimizer: optim.Optimizer, batch_size: int, **options) -> fp.Trainer:
    epochs = options.pop("epochs", 3)
    trainer = fp.Trainer(model, "mse", optimizer, **options)
    trainer.fit(X, Y, epochs=epochs, batch_size=batch_size)
    return trainer


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "make",
    [
        lambda: optim.SGD(lr=0.1, momentum=0.9),
        lambda: optim.AdamW(lr=schedules.Cosine(0.02, 12)),
        lambda: optim.EMA(optim.Adam(lr=1e-2), decay=0.9),
        lambda: optim.LAMB(lr=1e-2),
        lambda: optim.RMSprop(lr=1e-2),  # one number a step
        lambda: optim.EMA(optim.Lion(lr=1e-3)),
    ],
)
def test_several_small_batches_are_a_large_one(make, threads: int) -> None:
    models = [network(4, 9, 1) for _ in range(2)]
    options = {"clip": 0.5, "constraint": regularizers.MaxNorm(0.8), "threads": threads}
    fit(models[0], make(), 32, **options)
    trainer = fit(models[1], optim.Accumulate(make(), 4), 8, **options)
    for a, b in zip(*(weights(m) for m in models), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    assert trainer.optimizer.steps == 36
    assert trainer.optimizer.optimizer.steps == 9


def test_one_batch_an_update_is_the_optimizer_alone() -> None:
    models = [network(4, 9, 1) for _ in range(2)]
    fit(models[0], optim.Adam(lr=1e-2), 8)
    fit(models[1], optim.Accumulate(optim.Adam(lr=1e-2), 1), 8)
    assert_same(*(weights(m) for m in models))


def test_weights_change_with_every_last_batch_only() -> None:
    model = network(4, 9, 1)
    trainer = fp.Trainer(model, "mse", optim.Accumulate(optim.SGD(lr=0.1), 3))
    changed = []
    for i in range(7):
        before = weights(model)
        trainer.train_step(X[8 * i : 8 * i + 8], Y[8 * i : 8 * i + 8])
        changed.append(not np.array_equal(before[0], weights(model)[0]))
    assert changed == [False, False, True, False, False, True, False]


@pytest.mark.parametrize("compiled", [False, True])
def test_a_loop_of_ones_own(compiled: bool) -> None:
    models = [network(4, 9, 1) for _ in range(2)]
    fit(models[0], optim.Accumulate(optim.Adam(lr=1e-2), 3), 16, epochs=0)
    trained = fp.Trainer(models[0], "mse", optim.Accumulate(optim.Adam(lr=1e-2), 3))
    step = training_step(
        models[1], optim.Accumulate(optim.Adam(models[1].parameters(), lr=1e-2), 3)
    )
    step = fp.compile(step) if compiled else step
    for start in range(0, 96, 16):
        batch = X[start : start + 16], Y[start : start + 16]
        trained.train_step(*batch)
        step(*map(fp.tensor, batch))
    for a, b in zip(*(weights(m) for m in models), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_checkpoint_in_the_midst_of_an_update(tmp_path) -> None:
    path = tmp_path / "run.safetensors"
    plain = network(4, 9, 1)
    fit(plain, optim.Accumulate(optim.Adam(lr=1e-2), 4), 8)
    stopped = fp.Trainer(network(4, 9, 1), "mse", optim.Accumulate(optim.Adam(lr=1e-2), 4))

    class Fail(fp.Callback):
        def on_steps_end(self, trainer, first_step, losses):
            if trainer.optimizer.steps > 6:
                raise RuntimeError("the power is gone")

    callbacks = [fp.train.ModelCheckpoint(path, every_steps=6), Fail()]
    with pytest.raises(RuntimeError, match="the power is gone"):
        stopped.fit(X, Y, epochs=3, batch_size=8, callbacks=callbacks)
    resumed = fp.Trainer.resume(path)
    resumed.fit(X, Y, epochs=3, batch_size=8)
    assert resumed.optimizer.steps == 36
    assert_same(weights(plain), weights(resumed.model))


def test_memory_is_that_of_a_small_batch() -> None:
    arenas = []
    for count, batch in ((1, 96), (12, 8)):
        trainer = fit(network(4, 64, 64, 1), optim.Accumulate(optim.SGD(lr=0.1), count), batch)
        assert trainer.program is not None
        arenas.append(trainer.program.arena_bytes)
    assert arenas[1] < arenas[0] / 2


def test_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="12 batches of 8, which 5 for each update do not divide"):
        fit(network(4, 1), optim.Accumulate(optim.SGD(), 5), 8)
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="Accumulate: count"):
            optim.Accumulate(optim.SGD(), wrong)
    with pytest.raises(TypeError, match="Accumulate: count"):
        optim.Accumulate(optim.SGD(), 2.5)
    with pytest.raises(TypeError, match="Accumulate: optimizer must be an Optimizer"):
        optim.Accumulate("adam", 2)
    with pytest.raises(TypeError, match="and LBFGS takes its steps outside of it"):
        optim.Accumulate(optim.LBFGS(), 2)
    state = optim.Accumulate(optim.SGD(network(4, 1).parameters()), 2).state_dict()
    with pytest.raises(ValueError, match="state of Accumulate of 2 batches"):
        optim.Accumulate(optim.SGD(network(4, 1).parameters()), 3).load_state_dict(state)


def test_what_goes_around_what() -> None:
    for make in (
        lambda inner: optim.EMA(inner),
        lambda inner: optim.SWA(inner),
        lambda inner: optim.Accumulate(inner, 2),
    ):
        with pytest.raises(TypeError, match="Accumulate has to be around all others"):
            make(optim.Accumulate(optim.Adam(), 2))


def test_parameters_without_a_gradient_in_some_batches() -> None:
    """A sum begins with the first gradient of an update, whichever batch that is of."""
    p, q = (fp.Parameter(np.ones(2)) for _ in range(2))
    optimizer = optim.Accumulate(optim.SGD([p, q], lr=1.0), 2)
    found = []
    for both in (True, True, False, True, True, False, False, False):
        optimizer.zero_grad()
        loss = p.sum() + q.sum() if both else p.sum()
        loss.backward()
        optimizer.step()
        found.append((p.data[0], q.data[0]))
    assert found[1::2] == [(0.0, 0.0), (-1.0, -0.5), (-2.0, -1.0), (-3.0, -1.0)]
