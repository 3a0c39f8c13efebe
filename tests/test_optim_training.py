"""Optimizers in a Trainer: the compiled step gives the eager step's bits, on any number of threads;
full-batch rules refuse mini-batches."""

import numpy as np
import pytest
from optim_cases import RATES, SETTINGS, make
from training import training_step, weights_of

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


def test_a_thawed_parameter_is_as_young_as_its_moments():
    """Adam's first steps are of the size of the rate, also when others have done many: as PyTorch's
    optimizers, it corrects the bias of each parameter's moments by that parameter's own steps."""
    x, y = data("float64")

    def fit(model, optimizer):
        trainer = fp.Trainer(model, "mse", optimizer)
        return lambda: trainer.fit(x, y, epochs=1, batch_size=None)

    def step(model, optimizer):
        trainer = fp.Trainer(model, "mse", optimizer)
        return lambda: trainer.train_step(x, y)

    def eager(model, optimizer):
        optimizer.bind(model.parameters())
        own = training_step(model, optimizer)
        return lambda: own(fp.tensor(x), fp.tensor(y))

    def compiled(model, optimizer):
        optimizer.bind(model.parameters())
        own = fp.compile(training_step(model, optimizer))
        return lambda: own(fp.tensor(x), fp.tensor(y))

    makes = (
        lambda: optim.Adam(lr=0.01, eps=1e-12),
        lambda: optim.EMA(optim.Adam(lr=schedules.Cosine(0.01, 10**9), eps=1e-12)),
        lambda: optim.Accumulate(optim.Adam(lr=0.01, eps=1e-12), 1),
    )
    for make_optimizer in makes:
        for way in (fit, step, eager, compiled):
            model = model_of("float64")
            optimizer = make_optimizer()
            once = way(model, optimizer)
            model[0].requires_grad_(False)
            for _ in range(20):
                once()
            assert optimizer.steps == 20
            model[0].requires_grad_(True)
            before = model[0].weight.data.copy()
            once()
            moved = np.abs(model[0].weight.data - before)
            assert np.median(moved) == pytest.approx(0.01, rel=1e-3), (make_optimizer, way)
            for _ in range(3):
                once()
            saved = optimizer.state_dict()
            assert saved.get("optimizer", saved)["steps"] == [4, 4, 24, 24, 24]


@pytest.mark.parametrize("name", ["Adam", "SGD", "NAdam", "RAdam", "Adagrad", "Adamax"])
def test_freezing_and_thawing_like_torch(name, tmp_path):
    """In turns, through a checkpoint too."""
    torch = pytest.importorskip("torch")
    options = {"SGD": {"momentum": 0.9, "dampening": 0.3}, "Adagrad": {"lr_decay": 0.1}}
    settings = {"lr": 0.01, **options.get(name, {})}
    x, y = data("float64")
    model = model_of("float64")
    trainer = fp.Trainer(model, "mse", getattr(optim, name)(**settings))
    theirs = [torch.tensor(p.data, requires_grad=True) for p in model.parameters()]
    torch.set_default_dtype(torch.float64)  # NAdam keeps a number of that dtype
    other = getattr(torch.optim, name)(theirs, **settings)
    for turn, frozen in enumerate([(0, 1), (), (2,), (2, 3), ()]):
        parameters = list(trainer.model.parameters())
        for i, (mine, their) in enumerate(zip(parameters, theirs, strict=True)):
            mine.requires_grad = i not in frozen
            their.requires_grad_(i not in frozen)
        trainer.fit(x, y, epochs=7, batch_size=None, shuffle=False)
        for _ in range(7):
            other.zero_grad()
            W1, b1, W2, b2, W3 = theirs
            h = torch.relu(torch.tanh(torch.tensor(x) @ W1 + b1) @ W2 + b2)
            ((h @ W3 - torch.tensor(y)) ** 2).mean().backward()
            other.step()
        for mine, their in zip(parameters, theirs, strict=True):
            np.testing.assert_allclose(mine.data, their.detach().numpy(), rtol=1e-8, atol=1e-10)
        if turn % 2 == 0:
            trainer.save(tmp_path / "c")
            trainer = fp.Trainer.resume(tmp_path / "c")
    torch.set_default_dtype(torch.float32)


def test_parameters_without_a_gradient_have_the_rate_of_now():
    """A schedule counts the optimizer's steps, not those of a parameter that was left out."""
    p, q = (fp.Parameter(np.zeros(1)) for _ in range(2))
    optimizer = optim.SGD([p, q], lr=schedules.MultiStep(1.0, [3], gamma=0.1))
    for both in (False, False, False, True):
        optimizer.zero_grad()
        (p.sum() + q.sum() if both else p.sum()).backward()
        optimizer.step()
    assert optimizer.steps == 4
    np.testing.assert_allclose((p.data[0], q.data[0]), (-3.1, -0.1))
