"""L-BFGS and its line search: against PyTorch, on functions with known minima, in a Trainer."""

import math

import numpy as np
import pytest
from optim_cases import loss_of, parameters_of, problem
from training import weights_of

import fastprop as fp
from fastprop import Parameter, nn, optim
from fastprop import functional as F
from fastprop.optim.line_search import Point, strong_wolfe
from fastprop.regularizers import MaxNorm

SETTINGS = {
    "plain": {"lr": 0.5, "max_iter": 4},
    "short history": {"max_iter": 5, "history_size": 3},
    "wolfe": {"line_search_fn": "strong_wolfe", "max_iter": 5},
    "wolfe, short history": {"line_search_fn": "strong_wolfe", "max_iter": 4, "history_size": 2},
    "wolfe, few evaluations": {"line_search_fn": "strong_wolfe", "max_iter": 9, "max_eval": 3},
}


def closure_of(optimizer, parameters, x, y):
    def closure():
        optimizer.zero_grad()
        loss = loss_of(x, y, parameters)
        loss.backward()
        return loss

    return closure


@pytest.mark.parametrize("setting", SETTINGS)
def test_like_torch(setting):
    """Also the number of evaluations: both visit the same points."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    x, y, weights = problem()
    parameters = parameters_of(weights)
    mine = optim.LBFGS(parameters, **SETTINGS[setting])
    theirs = [torch.tensor(w, requires_grad=True) for w in weights]
    other = torch.optim.LBFGS(theirs, **SETTINGS[setting])
    tx, ty = torch.tensor(x), torch.tensor(y)

    def closure():
        other.zero_grad()
        W1, b1, W2, b2 = theirs
        loss = ((torch.tanh(tx @ W1 + b1) @ W2 + b2 - ty) ** 2).mean()
        loss.backward()
        return loss

    # Curvature estimates double the distance of two runs every few iterations, from 1e-16 on.
    for step in range(8):
        loss = mine.step(closure_of(mine, parameters, x, y)).item()
        assert loss == pytest.approx(other.step(closure).item(), rel=1e-7), step
        kept = other.state[theirs[0]]
        counts = [kept["n_iter"], kept["func_evals"]]
        assert mine.state["numbers"][0][:2].tolist() == counts
    for p, t in zip(parameters, theirs, strict=True):
        np.testing.assert_allclose(p.data, t.detach().numpy(), rtol=1e-6, atol=1e-8)


def test_defaults_are_torchs():
    torch = pytest.importorskip("torch")
    mine, theirs = optim.LBFGS(), torch.optim.LBFGS([torch.zeros(1, requires_grad=True)])
    assert mine.defaults == theirs.defaults
    assert optim.LBFGS(max_iter=8).max_eval == 10


def rosenbrock(p):
    x, y = p[0], p[1]
    return F.square(1 - x) + 100 * F.square(y - x * x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rosenbrocks_valley(dtype):
    p = Parameter(np.array([-1.2, 1.0], dtype))
    optimizer = optim.LBFGS([p], max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = rosenbrock(p)
        loss.backward()
        return loss

    first = optimizer.step(closure)
    assert first.item() == pytest.approx(24.2, rel=1e-6)
    np.testing.assert_allclose(p.data, [1, 1], rtol=1e-2 if dtype == "float32" else 1e-4)
    before = p.data.copy()
    optimizer.step(closure)  # nothing is left to do
    np.testing.assert_allclose(p.data, before, rtol=1e-2 if dtype == "float32" else 1e-4)


def test_a_quadratic_is_solved_in_as_many_iterations_as_it_has_dimensions():
    """With exact line searches L-BFGS is the method of conjugate gradients."""
    rng = np.random.default_rng(0)
    q = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    matrix, target = q @ np.diag([1.0, 1.5, 2, 2.5, 3, 3.5]) @ q.T, rng.normal(size=6)
    p = Parameter(np.zeros(6))
    optimizer = optim.LBFGS([p], max_iter=25, line_search_fn="strong_wolfe", tolerance_change=0)

    def closure():
        optimizer.zero_grad()
        loss = 0.5 * F.sum(p * (fp.tensor(matrix) @ p)) - F.sum(fp.tensor(target) * p)
        loss.backward()
        return loss

    optimizer.step(closure)
    np.testing.assert_allclose(p.data, np.linalg.solve(matrix, target), rtol=1e-5)


# -- the line search ---


def search(function, slope, t=1.0, most=25):
    seen = []

    def look(t):
        seen.append(t)
        return Point(t, function(t), slope(t), np.zeros(0))

    start = Point(0.0, function(0.0), slope(0.0), np.zeros(0))
    point, used = strong_wolfe(look, start, t, 1e-9, most)
    assert used == len(seen)
    return start, point


FUNCTIONS = {
    "parabola": (lambda t: (t - 3) ** 2, lambda t: 2 * (t - 3)),
    "far": (lambda t: (t / 300 - 1) ** 2, lambda t: 2 * (t / 300 - 1) / 300),
    "near": (lambda t: (1000 * t - 1) ** 2, lambda t: 2000 * (1000 * t - 1)),
    "quartic": (lambda t: (t - 2) ** 4 - t, lambda t: 4 * (t - 2) ** 3 - 1),
    "wavy": (lambda t: -math.sin(5 * t) - t, lambda t: -5 * math.cos(5 * t) - 1),
    "pole": (
        lambda t: 1 / (1 - t) - 3 * t if t < 1 else math.inf,
        lambda t: 1 / (1 - t) ** 2 - 3 if t < 1 else math.nan,
    ),
    "hole": (
        lambda t: (t - 1) ** 2 if t < 1.5 else math.nan,
        lambda t: 2 * (t - 1) if t < 1.5 else math.nan,
    ),
}


@pytest.mark.parametrize("t", [0.01, 1.0, 2.0, 50.0])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_strong_wolfe_conditions(name, t):
    start, point = search(*FUNCTIONS[name], t)
    assert point.loss <= start.loss + 1e-4 * point.t * start.slope
    assert abs(point.slope) <= 0.9 * abs(start.slope)


def test_a_search_that_finds_nothing_stays():
    start, point = search(lambda t: t, lambda t: -1.0 if t == 0 else 1.0)  # a wrong slope
    assert point.loss - start.loss <= 1e-9


# -- in a Trainer ---


def data(dtype="float64"):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(37, 3)).astype(dtype)
    return x, np.sin(x[:, :2] * 2).astype(dtype)


def trainer_of(dtype="float64", threads=1, optimizer=None, **options):
    fp.seed(1)
    model = nn.Sequential(nn.Dense(3, 9, "tanh", dtype=dtype), nn.Dense(9, 2, dtype=dtype))
    options = {"line_search_fn": "strong_wolfe", "max_iter": 6, **options}
    return fp.Trainer(model, "mse", optimizer or optim.LBFGS(**options), threads=threads)


def fit(trainer, epochs, **options):
    options = {"batch_size": None, "shuffle": False, "verbose": False, **options}
    return trainer.fit(*data(trainer.model.parameter_dtype()), epochs=epochs, **options)["loss"]


@pytest.mark.parametrize("line_search", [None, "strong_wolfe"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fit_is_the_eager_loop(dtype, line_search):
    trainer = trainer_of(dtype, line_search_fn=line_search, lr=0.3)
    losses = fit(trainer, 7)
    two = trainer_of(dtype, threads=2, line_search_fn=line_search, lr=0.3)
    assert fit(two, 7) == losses
    assert weights_of(two.model) == weights_of(trainer.model)

    other = trainer_of(dtype, line_search_fn=line_search, lr=0.3)
    optimizer, (x, y) = other.optimizer, map(fp.tensor, data(dtype))

    def closure():
        optimizer.zero_grad()
        loss = fp.losses.mse(other.model(x), y)
        loss.backward()
        return loss

    assert [optimizer.step(closure).item() for _ in range(7)] == losses
    assert weights_of(other.model) == weights_of(trainer.model)
    assert optimizer.steps == trainer.optimizer.steps == 7
    assert losses[-1] < losses[0] / 5


def test_train_step_is_a_step_of_fit():
    one, all_at_once = trainer_of(), trainer_of()
    losses = [one.train_step(*data()) for _ in range(4)]
    assert fit(all_at_once, 4) == losses
    assert weights_of(one.model) == weights_of(all_at_once.model)


def test_a_saved_run_goes_on():
    straight = trainer_of()
    fit(straight, 6)
    first = trainer_of()
    fit(first, 2)
    saved = first.optimizer.state_dict()
    second = trainer_of()
    second.model.load_state_dict(first.model.state_dict())
    second.optimizer.load_state_dict(saved)
    fit(second, 4)
    assert weights_of(second.model) == weights_of(straight.model)


def test_metrics_and_validation():
    trainer = trainer_of()
    trainer = fp.Trainer(trainer.model, "mse", optim.LBFGS(max_iter=3, lr=0.1), metrics=["r2"])
    history = trainer.fit(*data(), epochs=2, batch_size=None, validation_data=data(), verbose=False)
    assert {"loss", "r2", "val_loss", "val_r2"} <= set(history.keys())


def test_a_loss_that_turns_infinite():
    """The Trainer's promise: the last good parameters, and an error that names the step."""
    trainer = trainer_of("float32", line_search_fn=None, lr=1e30)
    before = weights_of(trainer.model)
    with pytest.raises(fp.train.NonFiniteError, match="epoch 1, step 1"):
        fit(trainer, 3)
    assert weights_of(trainer.model) == before
    assert trainer.optimizer.steps == 0


def test_an_error_in_the_closure_puts_the_parameters_back():
    p = Parameter(np.array([-1.2, 1.0]))
    optimizer = optim.LBFGS([p], line_search_fn="strong_wolfe")
    calls = []

    def closure():
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        optimizer.zero_grad()
        loss = rosenbrock(p)
        loss.backward()
        return loss

    with pytest.raises(KeyboardInterrupt):
        optimizer.step(closure)
    assert p.data.tolist() == [-1.2, 1.0]


def test_a_loss_that_is_not_finite_is_an_error():
    p = Parameter(np.ones(1))
    optimizer = optim.LBFGS([p], lr=1e200)

    def closure():
        optimizer.zero_grad()
        loss = F.sum(F.exp(p * p))
        loss.backward()
        return loss

    with pytest.raises(FloatingPointError, match="LBFGS: the loss is inf after a step of lr"):
        optimizer.step(closure)
    assert p.data.tolist() == [1.0]
    p.data = np.full(1, np.nan)
    with pytest.raises(FloatingPointError, match="LBFGS: the loss is nan"):
        optimizer.step(closure)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: optim.LBFGS(max_iter=0), ValueError, "LBFGS: max_iter must be at least 1, got 0"),
        (lambda: optim.LBFGS(max_iter=2.5), TypeError, "LBFGS: max_iter must be an integer"),
        (lambda: optim.LBFGS(history_size=0), ValueError, "LBFGS: history_size must be at least 1"),
        (
            lambda: optim.LBFGS(line_search_fn="wolfe"),
            ValueError,
            "LBFGS: line_search_fn must be None or 'strong_wolfe', got 'wolfe'",
        ),
        (
            lambda: optim.LBFGS([{"params": Parameter(np.ones(1))} for _ in range(2)]),
            ValueError,
            "LBFGS: takes all parameters in one group, got 2",
        ),
        (
            lambda: optim.LBFGS([Parameter(np.ones(1)), Parameter(np.ones(1, "float32"))]),
            ValueError,
            "LBFGS: takes parameters of one dtype, got float32 and float64",
        ),
        (
            lambda: optim.LBFGS([Parameter(np.ones(1))]).step(),
            TypeError,
            r"LBFGS.step: needs a function .* got None",
        ),
        (
            lambda: optim.LBFGS([Parameter(np.ones(1))]).step(lambda: 3.0),
            TypeError,
            "LBFGS.step: closure must return the loss, got 3.0",
        ),
        (lambda: optim.LBFGS().step(lambda: 3.0), RuntimeError, "LBFGS.step: no parameters"),
        (
            lambda: fit(trainer_of(), 1, batch_size=8),
            ValueError,
            "Trainer.fit: LBFGS needs all rows in every step; batch_size is 8 of 37 rows",
        ),
        (
            lambda: optim.EMA(optim.LBFGS()),
            TypeError,
            r"EMA: averages even out .*, and LBFGS takes its steps outside of it, on all rows",
        ),
        (
            lambda: optim.Accumulate(optim.LBFGS(), 2),
            TypeError,
            r"Accumulate: gradients are added up .*, and LBFGS takes its steps outside of it",
        ),
        (
            lambda: fp.Trainer(nn.Dense(2, 1), "mse", optim.LBFGS(), constraint=MaxNorm(1.0)),
            ValueError,
            "Trainer: constraint does not go with LBFGS, .*; take a penalty",
        ),
        (
            lambda: fp.Trainer(nn.Dense(2, 1), "mse", optim.LBFGS(), clip=1.0),
            ValueError,
            "Trainer: clip does not go with LBFGS, .*; take a penalty",
        ),
    ],
)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_numbers_of_numpy():
    optimizer = optim.LBFGS(max_iter=np.int64(12), history_size=np.int32(3))
    assert (optimizer.max_iter, optimizer.max_eval, optimizer.history_size) == (12, 15, 3)
    with pytest.raises(TypeError, match=r"LBFGS: max_iter must be an integer, got 1.5"):
        optim.LBFGS(max_iter=1.5)


def test_not_in_a_compiled_function():
    p = Parameter(np.ones(2))
    optimizer = optim.LBFGS([p])

    @fp.compile
    def step(x):
        optimizer.step(lambda: F.sum(p * x))

    with pytest.raises(RuntimeError, match=r"LBFGS\.step: its rule is Python"):
        step(np.ones(2))


def test_with_loss_and_gradients_compiled():
    """What the error of a compiled step says to do, gives the bits of the eager loop."""
    x, y, weights = problem()
    ends = []
    for compiled in (False, True):
        parameters = parameters_of(weights)
        optimizer = optim.LBFGS(parameters, line_search_fn="strong_wolfe", max_iter=4)

        def gradients(x, y, parameters=parameters):
            loss = loss_of(x, y, parameters)
            return loss, fp.grad(loss, parameters)

        both = fp.compile(gradients) if compiled else gradients

        def closure(both=both, parameters=parameters):
            loss, found = both(x, y)
            for parameter, gradient in zip(parameters, found, strict=True):
                parameter.grad = fp.tensor(gradient)
            return loss

        losses = [optimizer.step(closure).item() for _ in range(3)]
        assert losses[-1] < losses[0]
        ends.append([losses, *(p.data.tobytes() for p in parameters)])
    assert ends[0] == ends[1]
