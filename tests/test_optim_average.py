"""EMA and SWA: averages of the weights, kept by the training step itself."""

import numpy as np
import pytest
from optim_cases import parameters_of, problem, trajectory
from training import weights_of

import fastprop as fp
from fastprop import Parameter, Tensor, losses, nn, optim

KINDS = {
    "ema": lambda inner: optim.EMA(inner, decay=0.9),
    "ema from 3": lambda inner: optim.EMA(inner, decay=0.5, start=3),
    "ema by 2": lambda inner: optim.EMA(inner, decay=0.75, start=1, every=2),
    "swa": lambda inner: optim.SWA(inner),
    "swa from 4 by 3": lambda inner: optim.SWA(inner, start=4, every=3),
}
INNER = {
    "sgd": lambda: optim.SGD(lr=0.1, momentum=0.9),
    "adamw": lambda: optim.AdamW(lr=lambda step: 0.1 / (step + 1)),
    "lamb": lambda: optim.LAMB(lr=0.01),
}


def average_by_hand(kind, history):
    """The average after the last of some weights, by its definition."""
    optimizer = KINDS[kind](optim.SGD())
    taken = history[optimizer.start :: optimizer.every]
    if isinstance(optimizer, optim.SWA):
        return np.mean(taken, axis=0)
    average = taken[0]
    for w in taken[1:]:
        average = optimizer.decay * average + (1 - optimizer.decay) * w
    return average


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("kind", KINDS)
def test_average_of_an_eager_run(kind, inner):
    x, y, weights = problem()
    parameters, alone = parameters_of(weights), parameters_of(weights)
    optimizer = KINDS[kind](INNER[inner]())
    optimizer.bind(parameters)
    plain = INNER[inner]()
    plain.bind(alone)
    history = []
    for step in range(12):
        a = trajectory(optimizer, parameters, x, y, 1)
        assert a == trajectory(plain, alone, x, y, 1)  # training itself is as without
        history.append(parameters[0].data.copy())
        taken = len(history[optimizer.start :: optimizer.every])
        assert (optimizer.count, optimizer.steps) == (taken, step + 1)
        if taken:
            expected = average_by_hand(kind, history)
            np.testing.assert_allclose(optimizer.averages[0], expected, rtol=1e-12)


def test_ema_like_torch():
    torch = pytest.importorskip("torch")
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_multi_avg_fn

    start = np.random.default_rng(0).normal(size=(7, 3))
    moves = np.random.default_rng(1).normal(size=(9, 7, 3))
    for make, average in (
        (lambda o: optim.EMA(o, 0.8), get_ema_multi_avg_fn(0.8)),
        (optim.SWA, get_swa_multi_avg_fn()),
    ):
        mine = Parameter(start)
        optimizer = make(optim.SGD([mine], lr=1.0))
        module = torch.nn.Linear(7, 3, bias=False, dtype=torch.float64)
        theirs = AveragedModel(module, multi_avg_fn=average)
        for move in moves:
            mine.grad = Tensor(move)
            optimizer.step()
            with torch.no_grad():
                module.weight[...] = torch.tensor(mine.data.T)
            theirs.update_parameters(module)
        # PyTorch's share of SWA, 1 / (n + 1), is a float32.
        np.testing.assert_allclose(
            optimizer.averages[0].T, theirs.module.weight.detach().numpy(), rtol=1e-6
        )


def data(dtype="float32"):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(37, 5)).astype(dtype)
    return x, np.sin(x[:, :3] * 2).astype(dtype)


def model_of(dtype="float32"):
    fp.seed(1)
    return nn.Sequential(
        nn.Dense(5, 17, "tanh", dtype=dtype), nn.Dense(17, 3, bias=False, dtype=dtype)
    )


def fitted(kind, inner, dtype="float32", threads=1, epochs=8):
    model = model_of(dtype)
    optimizer = KINDS[kind](INNER[inner]())
    trainer = fp.Trainer(model, "mse", optimizer, threads=threads)
    trainer.fit(*data(dtype), epochs=epochs, batch_size=None, shuffle=False, verbose=False)
    return trainer, [a.tobytes() for a in optimizer.averages]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("kind", KINDS)
def test_compiled_is_eager_on_any_number_of_threads(kind, inner, dtype):
    trainer, averages = fitted(kind, inner, dtype)
    assert fitted(kind, inner, dtype, threads=2)[1] == averages
    model = model_of(dtype)
    optimizer = KINDS[kind](INNER[inner]())
    optimizer.bind(model.parameters())
    x, y = (fp.tensor(a) for a in data(dtype))
    for _ in range(8):
        optimizer.zero_grad()
        losses.mse(model(x), y).backward()
        optimizer.step()
    assert weights_of(model) == weights_of(trainer.model)
    assert [a.tobytes() for a in optimizer.averages] == averages


def test_evaluating_with_the_average():
    trainer, averages = fitted("ema", "sgd")
    x, y = data()
    before, optimizer = weights_of(trainer.model), trainer.optimizer
    own = trainer.evaluate(x, y)["loss"]
    predicted = trainer.predict(x)
    with optimizer.averaged_weights():
        assert [p.data.tobytes() for p in trainer.model.parameters()] == averages
        inside = trainer.evaluate(x, y)["loss"]
        assert (trainer.predict(x) != predicted).any()
    assert weights_of(trainer.model) == before
    assert [a.tobytes() for a in optimizer.averages] == averages
    assert trainer.evaluate(x, y)["loss"] == own != inside
    optimizer.apply()
    assert trainer.evaluate(x, y)["loss"] == inside


def test_weights_come_back_after_an_error():
    trainer, averages = fitted("swa", "sgd")
    before = weights_of(trainer.model)
    with pytest.raises(ZeroDivisionError), trainer.optimizer.averaged_weights():
        raise ZeroDivisionError
    assert weights_of(trainer.model) == before
    assert [a.tobytes() for a in trainer.optimizer.averages] == averages


def test_training_on_the_average_is_refused():
    trainer, averages = fitted("ema", "sgd")
    before = weights_of(trainer.model)
    optimizer = trainer.optimizer
    with optimizer.averaged_weights():
        for train in (
            lambda: trainer.fit(*data(), verbose=False),
            lambda: trainer.train_step(*data()),
            optimizer.step,
        ):
            with pytest.raises(RuntimeError, match="EMA: no training inside averaged_weights"):
                train()
        with pytest.raises(RuntimeError, match=r"EMA\.apply: inside averaged_weights"):
            optimizer.apply()
        nested = optimizer.averaged_weights()
        with pytest.raises(RuntimeError, match=r"EMA\.averaged_weights: inside averaged_weights"):
            nested.__enter__()
    assert weights_of(trainer.model) == before
    assert [a.tobytes() for a in optimizer.averages] == averages


def test_a_trainer_is_not_saved_with_weights_and_averages_in_each_others_place(tmp_path):
    model = nn.Dense(3, 1)
    optimizer = optim.EMA(optim.SGD(lr=0.1))
    trainer = fp.Trainer(model, "mse", optimizer)
    trainer.fit(np.ones((4, 3)), np.ones(4))
    with optimizer.averaged_weights():
        with pytest.raises(RuntimeError, match=r"state_dict: inside averaged_weights; save the mo"):
            trainer.save(tmp_path / "c")
        fp.save(model, tmp_path / "m")
    assert not (tmp_path / "c").exists()
    np.testing.assert_array_equal(fp.load(tmp_path / "m").weight.data, optimizer.averages[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_run_goes_on(kind):
    """Average, state and steps; in a new Trainer, with mini-batches."""
    x, y = data()
    found = []
    for parts in ([6], [2, 4]):
        model, saved = model_of(), None
        for epochs in parts:
            optimizer = KINDS[kind](INNER["adamw"]())
            trainer = fp.Trainer(model, "mse", optimizer)
            if saved is not None:
                optimizer.load_state_dict(saved)
            trainer.fit(x, y, epochs=epochs, batch_size=8, shuffle=False, verbose=False)
            saved = optimizer.state_dict()
        found.append((weights_of(model), [a.tobytes() for a in optimizer.averages]))
    assert found[0] == found[1]


def test_it_is_an_optimizer_like_others():
    parameters = parameters_of(problem()[2])
    inner = optim.Adam([{"params": parameters[:1], "lr": 0.5}, {"params": parameters[1:]}])
    optimizer = optim.EMA(inner, decay=0.99)
    assert optimizer.parameters == parameters
    assert optimizer.param_groups is inner.param_groups
    optimizer.lr = 0.25
    assert (inner.lr, optimizer.lr) == (0.25, 0.25)
    assert optimizer.learning_rates(0, 2).tolist() == [0.25, 0.25]
    assert optimizer.step_scalars(0, 3).shape == (3, 7)
    assert repr(optimizer).startswith("EMA(Adam(lr=0.25, ")
    assert repr(optimizer).endswith("decay=0.99, start=0, every=1)") or "decay=0.99" in repr(
        optimizer
    )
    assert optim.get(optimizer) is optimizer
    assert optimizer.config()["optimizer"] is inner


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: optim.EMA("adam"), TypeError, "EMA: optimizer must be an Optimizer such as"),
        (lambda: optim.EMA(optim.SGD(), decay=1.0), ValueError, r"EMA: decay must be in \[0, 1\)"),
        (lambda: optim.SWA(optim.SGD(), start=-1), ValueError, "SWA: start must be at least 0"),
        (lambda: optim.SWA(optim.SGD(), every=0), ValueError, "SWA: every must be at least 1"),
        (lambda: optim.SWA(optim.SGD(), start=1.5), TypeError, "SWA: start must be an integer"),
        (
            lambda: optim.SWA(optim.SGD([Parameter(np.zeros(1))]), start=5).apply(),
            RuntimeError,
            "SWA.apply: no average yet; the first weights are taken after step 6, 0 steps",
        ),
        (lambda: optim.EMA(optim.SGD()).bind([]), ValueError, "SGD: got no parameters"),
        (lambda: optim.EMA(optim.SGD()).step(), RuntimeError, "SGD.step: no parameters"),
        (
            lambda: optim.EMA(optim.SGD([Parameter(np.zeros(1))])).load_state_dict({}),
            ValueError,
            "EMA.load_state_dict: expects what state_dict gave",
        ),
        (
            lambda: optim.SWA(optim.SGD([Parameter(np.zeros(1))])).load_state_dict(
                optim.EMA(optim.SGD([Parameter(np.zeros(1))])).state_dict()
            ),
            ValueError,
            "SWA.load_state_dict: this is the state of EMA",
        ),
    ],
)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()
