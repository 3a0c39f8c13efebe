"""optim.Custom: rules of the user's in NumPy, eagerly and in a Trainer."""

import numpy as np
import pytest
from optim_cases import RULES, make, parameters_of, problem, trajectory
from training import weights_of

import fastprop as fp
from fastprop import Parameter, nn, optim
from fastprop import functional as F
from fastprop.optim import schedules


def momentum(w, g, state, lr, step):
    state["m"] *= 0.9
    state["m"] += g
    w -= lr * state["m"]


def adam(w, g, state, lr, step):
    m, v = state["m"], state["v"]
    m += 0.1 * (g - m)
    v += 0.001 * (g * g - v)
    w -= lr * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)


CASES = {
    "sgd momentum": (momentum, ["m"], 0.05),
    "adam": (adam, ["m", "v"], 0.01),
}


@pytest.mark.parametrize("rate", ["constant", "schedule"])
@pytest.mark.parametrize("setting", CASES)
def test_like_the_library_own(setting, rate):
    rule, state, lr = CASES[setting]
    lr = lr if rate == "constant" else schedules.Cosine(lr, 40)
    x, y, weights = problem()
    mine, other = parameters_of(weights), parameters_of(weights)
    custom = optim.Custom(rule, mine, lr=lr, state=state)
    losses = trajectory(custom, mine, x, y, 30)
    expected = trajectory(make(setting, other, lr=lr), other, x, y, 30)
    np.testing.assert_allclose(losses, expected, rtol=1e-10)
    assert custom.steps == 30


def data(dtype="float64"):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(37, 3)).astype(dtype)
    return x, np.sin(x[:, :2] * 2).astype(dtype)


def trainer_of(rule=momentum, state=("m",), dtype="float64", threads=1, **options):
    fp.seed(1)
    model = nn.Sequential(nn.Dense(3, 9, "tanh", dtype=dtype), nn.Dense(9, 2, dtype=dtype))
    optimizer = optim.Custom(rule, **{"lr": 0.05, "state": state, **options})
    return fp.Trainer(model, "mse", optimizer, threads=threads)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fit_is_the_eager_loop(dtype):
    """Mini-batches too, with a short last one, on any number of threads."""
    x, y = data(dtype)
    lr = schedules.Exponential(0.1, 0.9)
    found = []
    for threads in (1, 2):
        trainer = trainer_of(dtype=dtype, threads=threads, lr=lr)
        trainer.fit(x, y, epochs=3, batch_size=8, shuffle=False, verbose=False)
        assert trainer.optimizer.steps == 15
        found.append(weights_of(trainer.model))
    other = trainer_of(dtype=dtype, lr=lr)
    for _ in range(3):
        for begin in range(0, 37, 8):
            other.optimizer.zero_grad()
            batch = slice(begin, begin + 8)
            fp.losses.mse(other.model(fp.tensor(x[batch])), fp.tensor(y[batch])).backward()
            other.optimizer.step()
    assert found == [weights_of(other.model)] * 2


def test_a_saved_run_goes_on():
    x, y = data()
    runs = []
    for parts in ([4], [1, 3]):
        trainer, saved = trainer_of(adam, ("m", "v")), None
        for epochs in parts:
            if saved is not None:
                trainer = fp.Trainer(
                    trainer.model, "mse", optim.Custom(adam, lr=0.05, state=["m", "v"])
                )
                trainer.optimizer.load_state_dict(saved)
            trainer.fit(x, y, epochs=epochs, batch_size=8, shuffle=False, verbose=False)
            saved = trainer.optimizer.state_dict()
        runs.append(weights_of(trainer.model))
    assert runs[0] == runs[1]


def test_groups_have_their_rates():
    a, b = Parameter(np.zeros(2)), Parameter(np.zeros(2))

    def sgd(w, g, state, lr, step):
        w -= lr * g

    optimizer = optim.Custom(sgd, [{"params": a, "lr": 0.5}, {"params": b}], lr=0.25)
    F.sum(a + b).backward()
    optimizer.step()
    assert (a.data.tolist(), b.data.tolist()) == ([-0.5, -0.5], [-0.25, -0.25])


def test_what_the_rule_gets():
    seen = []

    def rule(w, g, state, lr, step):
        seen.append((w.shape, g.flags.writeable, {k: v.shape for k, v in state.items()}, lr, step))

    p = Parameter(np.zeros((2, 3)))
    unused = Parameter(np.zeros(1))
    optimizer = optim.Custom(rule, [p, unused], lr=0.5, state=["a", "b"])
    for _ in range(2):
        optimizer.zero_grad()
        F.sum(p).backward()
        optimizer.step()
    state = {"a": (2, 3), "b": (2, 3)}
    assert seen == [((2, 3), False, state, 0.5, 1), ((2, 3), False, state, 0.5, 2)]


def test_a_loss_that_turns_infinite():
    trainer = trainer_of(dtype="float32", lr=1e30)
    before = weights_of(trainer.model)
    with pytest.raises(fp.train.NonFiniteError, match="epoch 1, step 2"):
        trainer.fit(*data("float32"), epochs=2, batch_size=8, shuffle=False, verbose=False)
    assert weights_of(trainer.model) == before


def returns_a_weight(w, g, state, lr, step):
    return w - lr * g


@pytest.mark.parametrize(
    ("make_it", "error", "message"),
    [
        (lambda: optim.Custom(3), TypeError, r"Custom: rule must be a function of \(w, g, state"),
        (lambda: optim.Custom(optim.SGD), TypeError, "Custom: rule must be a function"),
        (
            lambda: optim.Custom(momentum, state=[3]),
            TypeError,
            "Custom: state must be names, got 3",
        ),
        (lambda: optim.Custom(momentum, state=["m", "m"]), ValueError, "Custom: state has a name"),
        (lambda: optim.Custom(momentum, lr=-1), ValueError, "Custom: lr must be"),
        (lambda: optim.Custom(momentum).step(), RuntimeError, "Custom.step: no parameters"),
        (
            lambda: trainer_of(returns_a_weight).train_step(*data()),
            TypeError,
            r"Custom: rule must overwrite w in place .*, got ndarray; write w -= lr \* g",
        ),
    ],
)
def test_bad_input(make_it, error, message):
    with pytest.raises(error, match=message):
        make_it()


def test_rules_of_the_tests_are_custom_rules_as_well():
    """The oracle's Lion, through Custom: what a user would port from a paper."""
    options = optim.Lion(lr=0.003)

    def rule(w, g, state, lr, step):
        class Options:
            betas, weight_decay, rate = options.betas, options.weight_decay, lr

        kept = {"m": state["m"].copy()}
        RULES["Lion"](w, g, kept, step, Options)
        state["m"][...] = kept["m"]

    x, y, weights = problem()
    mine, other = parameters_of(weights), parameters_of(weights)
    losses = trajectory(optim.Custom(rule, mine, lr=0.003, state=["m"]), mine, x, y, 20)
    expected = trajectory(optim.Lion(other, lr=0.003), other, x, y, 20)
    np.testing.assert_allclose(losses, expected, rtol=1e-10)


def test_inside_an_average():
    x, y = data()
    averages = []
    for inner in (optim.Custom(momentum, lr=0.05, state="m"), optim.SGD(lr=0.05, momentum=0.9)):
        fp.seed(1)
        model = nn.Dense(3, 2, dtype="float64")
        optimizer = optim.EMA(inner, decay=0.5)
        trainer = fp.Trainer(model, "mse", optimizer)
        trainer.fit(x, y, epochs=3, batch_size=8, verbose=False)
        averages.append(optimizer.averages[0])
    np.testing.assert_allclose(averages[0], averages[1], rtol=1e-12)


def test_in_a_compiled_function():
    x, y = data()
    found = []
    for compiled in (True, False):
        trainer = trainer_of(adam, ("m", "v"))
        model, optimizer = trainer.model, trainer.optimizer

        def step(a, b, model=model, optimizer=optimizer):
            optimizer.zero_grad()
            loss = fp.losses.mse(model(a), b)
            loss.backward()
            optimizer.step()
            return loss

        run = fp.compile(step) if compiled else step
        values = [run(fp.tensor(x), fp.tensor(y)).item() for _ in range(5)]
        found.append((values, weights_of(model), optimizer.steps))
    assert found[0] == found[1]


def test_a_constraint_follows_the_rule():
    trainer = trainer_of(lr=5.0)
    model = trainer.model
    trainer = fp.Trainer(model, "mse", trainer.optimizer, constraint=fp.regularizers.MaxNorm(0.5))
    trainer.train_step(*data())
    norms = np.linalg.norm(model[0].weight.data, axis=0)
    assert norms.max() <= 0.5 + 1e-12


def test_an_error_in_the_rule_ends_the_run():
    calls = []

    def rule(w, g, state, lr, step):
        calls.append(step)
        if step == 3:
            raise ZeroDivisionError("third step")
        w -= lr * g

    trainer = trainer_of(rule, ())
    with pytest.raises(ZeroDivisionError, match="third step"):
        trainer.fit(*data(), epochs=2, batch_size=8, verbose=False)
    assert calls == [1, 1, 1, 1, 2, 2, 2, 2, 3]
    assert all(np.isfinite(p.data).all() for p in trainer.model.parameters())


def replacing(w, g, state, lr, step):
    state["m"] = 0.9 * state["m"] + g  # the dict's entry, not the array that is kept
    w -= lr * state["m"]


def test_a_rule_that_replaces_its_state():
    message = r"Custom: rule must overwrite state\['m'\] in place.*write state\['m'\]\[\.\.\.\] = "
    trainer = fp.Trainer(nn.Dense(3, 1), "mse", optim.Custom(replacing, state=["m"]))
    with pytest.raises(TypeError, match=message):
        trainer.fit(np.ones((4, 3)), np.ones(4))
    p = Parameter(np.ones(2))
    optimizer = optim.Custom(replacing, [p], state=["m"])
    p.sum().backward()
    with pytest.raises(TypeError, match=message):
        optimizer.step()
