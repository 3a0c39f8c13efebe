"""Optimizers in a Trainer: the compiled step gives the eager step's bits, on any number of threads;
full-batch rules refuse mini-batches."""

import numpy as np
import pytest
from optim_cases import RATES, SETTINGS, make
from training import weights_of

import fastprop as fp
from fastprop import losses, nn, optim
from fastprop.optim import schedules


def data(dtype, rows=37):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(rows, 5)).astype(dtype)
    return x, np.sin(x[:, :3] * 2).astype(dtype)


def model_of(dtype):
    """Odd sizes: ends of packets, and slices of threads that are not alike."""
    fp.seed(1)
    return nn.Sequential(
        nn.Dense(5, 17, "tanh", dtype=dtype),
        nn.Dense(17, 33, "relu", dtype=dtype),
        nn.Dense(33, 3, bias=False, dtype=dtype),
    )


def trained(setting, dtype, threads, rate="constant", epochs=6):
    model = model_of(dtype)
    trainer = fp.Trainer(model, "mse", make(setting, rate=rate), threads=threads)
    x, y = data(dtype)
    history = trainer.fit(x, y, epochs=epochs, batch_size=None, shuffle=False, verbose=False)
    return history["loss"], weights_of(model)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_compiled_is_eager(setting, dtype):
    rate = "warm-up and cosine"
    alone = trained(setting, dtype, 1, rate)
    model = model_of(dtype)
    optimizer = make(setting, model.parameters(), rate)
    x, y = (fp.tensor(a) for a in data(dtype))
    found = []
    for _ in range(6):
        optimizer.zero_grad()
        loss = losses.mse(model(x), y)
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    assert found == alone[0]
    assert weights_of(model) == alone[1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_threads_do_not_matter(setting, dtype):
    assert trained(setting, dtype, 1) == trained(setting, dtype, 2)


@pytest.mark.parametrize("rate", RATES)
def test_a_run_cut_in_two(rate):
    """State and schedule go on where they were, in a new Trainer."""
    x, y = data("float32")
    weights = []
    for epochs in ([6], [2, 4]):
        model = model_of("float32")
        saved = None
        for part in epochs:
            optimizer = make("adamw amsgrad", rate=rate)
            trainer = fp.Trainer(model, "mse", optimizer)
            if saved is not None:
                optimizer.load_state_dict(saved)
            trainer.fit(x, y, epochs=part, batch_size=8, shuffle=False, verbose=False)
            saved = optimizer.state_dict()
        weights.append(weights_of(model))
    assert weights[0] == weights[1]


FULL_BATCH = [name for name in optim.OPTIMIZERS if optim.get(name).full_batch]


@pytest.mark.parametrize("name", FULL_BATCH)
def test_full_batch_rules_refuse_mini_batches(name):
    model = model_of("float32")
    before = weights_of(model)
    trainer = fp.Trainer(model, "mse", name)
    x, y = data("float32")
    kind = type(trainer.optimizer).__name__
    with pytest.raises(
        ValueError, match=f"Trainer.fit: {kind} needs all rows in every step; batch_size is 8 of 37"
    ):
        trainer.fit(x, y, batch_size=8)
    assert weights_of(model) == before
    assert trainer.optimizer.steps == 0
    trainer.fit(x, y, batch_size=64, verbose=False)  # more rows than there are make one batch
    assert weights_of(model) != before


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_every_name_learns(name):
    x, y = data("float32")
    trainer = fp.Trainer(model_of("float32"), "mse", name)
    loss = trainer.fit(x, y, epochs=40, batch_size=None, verbose=False)["loss"]
    assert loss[-1] < loss[0]


def test_hyper_parameters_may_change_between_fits():
    """Momentum that comes in later gets its buffer, and the step is traced anew."""
    x, y = data("float32")
    weights = []
    for compiled in (True, False):
        model = model_of("float32")
        optimizer = optim.SGD(lr=0.1)
        trainer = fp.Trainer(model, "mse", optimizer)
        for momentum, lr in ((0.0, 0.1), (0.9, 0.1), (0.9, 0.01), (0.5, 0.01)):
            optimizer.momentum, optimizer.lr = momentum, lr
            if compiled:
                trainer.fit(x, y, epochs=2, batch_size=None, shuffle=False, verbose=False)
                continue
            for _ in range(2):
                optimizer.zero_grad()
                losses.mse(model(fp.tensor(x)), fp.tensor(y)).backward()
                optimizer.step()
        weights.append(weights_of(model))
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    "make_it",
    [
        lambda p: optim.LAMB(p, lr=schedules.Cosine(0.01, 9)),
        lambda p: optim.EMA(optim.AdamW(p, lr=0.01), decay=0.5),
        lambda p: optim.NAdam(
            [{"params": p[:1], "lr": 0.02}, {"params": p[1:], "betas": (0.5, 0.5)}],
            lr=0.01,
            weight_decay=0.1,
            decay_bias_and_norm=False,
        ),
    ],
)
def test_in_a_compiled_function(make_it):
    x, y = data("float32")
    found = []
    for compiled in (True, False):
        model = model_of("float32")
        optimizer = make_it(list(model.parameters()))

        def step(a, b, model=model, optimizer=optimizer):
            optimizer.zero_grad()
            loss = losses.mse(model(a), b)
            loss.backward()
            optimizer.step()
            return loss

        run = fp.compile(step) if compiled else step
        values = [run(fp.tensor(x), fp.tensor(y)).item() for _ in range(6)]
        state = [a.tobytes() for arrays in optimizer.state.values() for a in arrays]
        found.append((values, weights_of(model), state, optimizer.steps))
    assert found[0] == found[1]
