"""Optimizers against PyTorch, their state, and what they refuse."""

import math

import numpy as np
import pytest

from fastprop import functional as F
from fastprop import nn, optim
from fastprop.graph import Parameter, Tensor, tensor

STEPS = 60

SETTINGS = {
    "sgd": ("SGD", {"lr": 0.05}),
    "sgd momentum": ("SGD", {"lr": 0.05, "momentum": 0.9}),
    "sgd dampening": ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.3}),
    "sgd nesterov": ("SGD", {"lr": 0.05, "momentum": 0.8, "nesterov": True}),
    "sgd decay": ("SGD", {"lr": 0.05, "weight_decay": 0.1}),
    "sgd all": ("SGD", {"lr": 0.02, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    "adam": ("Adam", {"lr": 0.01}),
    "adam betas": ("Adam", {"lr": 0.01, "betas": (0.5, 0.8), "eps": 1e-3}),
    "adam decay": ("Adam", {"lr": 0.01, "weight_decay": 0.1}),
    "adamw": ("AdamW", {"lr": 0.01}),
    "adamw decay": ("AdamW", {"lr": 0.01, "betas": (0.8, 0.9), "weight_decay": 0.3}),
}


def problem(dtype=np.float64):
    """Data, and a network with its weights."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 3)), rng.normal(size=(20, 2))
    shapes = [(3, 5), (5,), (5, 2), (2,)]
    weights = [rng.normal(size=s) for s in shapes]
    return x.astype(dtype), y.astype(dtype), [w.astype(dtype) for w in weights]


def loss_of(x, y, parameters):
    W1, b1, W2, b2 = parameters
    return F.mean(F.square(F.dense(F.tanh(F.dense(x, W1, b1)), W2, b2) - y))


def trajectory(optimizer, parameters, x, y, steps):
    found = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = loss_of(x, y, parameters)
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


@pytest.mark.parametrize("setting", SETTINGS)
def test_trajectory_like_torch(setting):
    torch = pytest.importorskip("torch")
    name, options = SETTINGS[setting]
    x, y, weights = problem()
    parameters = [Parameter(w) for w in weights]
    optimizer = getattr(optim, name)(parameters, **options)
    losses = trajectory(optimizer, parameters, x, y, STEPS)

    theirs = [torch.tensor(w, requires_grad=True) for w in weights]
    other = getattr(torch.optim, name)(theirs, **options)
    tx, ty = torch.tensor(x), torch.tensor(y)
    expected = []
    for _ in range(STEPS):
        other.zero_grad()
        W1, b1, W2, b2 = theirs
        loss = ((torch.tanh(tx @ W1 + b1) @ W2 + b2 - ty) ** 2).mean()
        loss.backward()
        other.step()
        expected.append(loss.item())
    np.testing.assert_allclose(losses, expected, rtol=1e-9)
    for mine, their in zip(parameters, theirs, strict=True):
        np.testing.assert_allclose(mine.data, their.detach().numpy(), rtol=1e-9, atol=1e-12)
    assert optimizer.steps == STEPS


def test_defaults_are_torchs():
    torch = pytest.importorskip("torch")
    for name in ("SGD", "Adam", "AdamW"):
        mine = getattr(optim, name)()
        theirs = getattr(torch.optim, name)([torch.zeros(1, requires_grad=True)]).defaults
        for key in mine.hyper_parameters:
            assert getattr(mine, key) == theirs[key]


@pytest.mark.parametrize("setting", SETTINGS)
def test_float32(setting):
    name, options = SETTINGS[setting]
    runs = []
    for dtype in (np.float32, np.float64):
        x, y, weights = problem(dtype)
        parameters = [Parameter(w) for w in weights]
        optimizer = getattr(optim, name)(parameters, **options)
        runs.append(trajectory(optimizer, parameters, x, y, 20))
        assert parameters[0].dtype == dtype
    np.testing.assert_allclose(runs[0], runs[1], rtol=1e-4)


def test_a_tensor_is_updated_in_place():
    x = tensor(np.array([1.0, 2.0]), requires_grad=True)
    memory = x.data
    optimizer = optim.SGD([x], lr=0.5)
    F.sum(F.square(x)).backward()
    optimizer.step()
    assert x.data is memory
    np.testing.assert_allclose(memory, [0.0, 0.0], atol=1e-15)
    optimizer.zero_grad()
    assert x.grad is None


def test_parameters_without_gradient_are_left_alone():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    start, gradients = rng.normal(size=(2, 3)), rng.normal(size=(5, 2, 3))
    used = [(True, False), (True, True), (False, True), (True, True), (False, True)]
    for name, options in (
        ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5}),
        ("Adam", {"lr": 0.1}),
    ):
        mine = [Parameter(w) for w in start]
        theirs = [torch.tensor(w, requires_grad=True) for w in start]
        a = getattr(optim, name)(mine, **options)
        b = getattr(torch.optim, name)(theirs, **options)
        for g, which in zip(gradients, used, strict=True):
            for i in range(2):
                mine[i].grad = Tensor(g[i]) if which[i] else None
                theirs[i].grad = torch.tensor(g[i]) if which[i] else None
            a.step()
            b.step()
        for m, t in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(m.data, t.detach().numpy(), rtol=1e-12)


# -- the learning rate ---


def test_learning_rate_as_a_function():
    optimizer = optim.SGD(lr=lambda step: 1.0 / (step + 1))
    np.testing.assert_allclose(optimizer.learning_rates(2, 3), [1 / 3, 1 / 4, 1 / 5])
    x = tensor(np.zeros(1), requires_grad=True)
    optimizer.bind([x])
    for _ in range(3):
        x.grad = Tensor(np.ones(1))
        optimizer.step()
    assert x.data[0] == pytest.approx(-(1 + 1 / 2 + 1 / 3))
    optimizer.lr = 0.25
    assert optimizer.learning_rates(0, 2).tolist() == [0.25, 0.25]


def test_step_scalars():
    sgd = optim.SGD(lr=0.1, momentum=0.9, dampening=0.25)
    np.testing.assert_allclose(sgd.step_scalars(0, 3), [[0.1, 1.0], [0.1, 0.75], [0.1, 0.75]])
    np.testing.assert_allclose(sgd.step_scalars(4, 1, np.array([0.5])), [[0.5, 0.75]])
    adam = optim.Adam(lr=0.1, betas=(0.5, 0.75))
    rows = adam.step_scalars(1, 2)
    for row, t in zip(rows, (2, 3), strict=True):
        np.testing.assert_allclose(row, [0.1, 0.1 / (1 - 0.5**t), 1 / math.sqrt(1 - 0.75**t)])
    assert rows.dtype == np.float64
    with pytest.raises(
        ValueError, match=r"SGD.step_scalars: 2 steps but learning rates of shape \(3,\)"
    ):
        sgd.step_scalars(0, 2, np.ones(3))


def test_late_steps_stay_finite():
    rows = optim.Adam().step_scalars(10**9, 2)
    np.testing.assert_allclose(rows, [[1e-3, 1e-3, 1.0]] * 2)


# -- binding and state ---


def test_bind():
    model = nn.Dense(3, 2)
    optimizer = optim.Adam(lr=0.1)
    assert optimizer.steps == 0
    optimizer.bind(model.parameters())
    assert [a.shape for a in optimizer.state["exp_avg"]] == [(3, 2), (2,)]
    assert not any(a.any() for a in optimizer.state["exp_avg_sq"])
    optimizer.state["exp_avg"][0][...] = 1
    optimizer.bind(model.parameters())
    assert optimizer.state["exp_avg"][0].all()
    with pytest.raises(ValueError, match="Adam: has other parameters already"):
        optimizer.bind(nn.Dense(3, 2).parameters())
    assert optim.SGD(model.parameters()).state == {}
    assert list(optim.SGD(model.parameters(), momentum=0.9).state) == ["momentum_buffer"]


def test_momentum_can_come_later():
    x = tensor(np.zeros(2), requires_grad=True)
    optimizer = optim.SGD([x], lr=1.0)
    optimizer.momentum = 0.5
    x.grad = Tensor(np.ones(2))
    optimizer.step()
    optimizer.step()
    np.testing.assert_allclose(x.data, -2.5)


@pytest.mark.parametrize("setting", ["sgd", "sgd all", "sgd dampening", "adam", "adamw decay"])
def test_a_saved_run_continues(setting):
    name, options = SETTINGS[setting]
    x, y, weights = problem()
    whole = [Parameter(w) for w in weights]
    straight = trajectory(getattr(optim, name)(whole, **options), whole, x, y, 10)

    first = [Parameter(w) for w in weights]
    optimizer = getattr(optim, name)(first, **options)
    halves = trajectory(optimizer, first, x, y, 5)
    saved, at = optimizer.state_dict(), [p.data.copy() for p in first]
    trajectory(optimizer, first, x, y, 2)  # must not reach into what was saved

    second = [Parameter(w) for w in at]
    resumed = getattr(optim, name)(second)
    resumed.load_state_dict(saved)
    assert repr(resumed) == repr(optimizer)
    assert resumed.steps == 5
    halves += trajectory(resumed, second, x, y, 5)
    assert halves == straight


def test_loading_writes_into_the_arrays():
    x = Parameter(np.zeros(3))
    optimizer = optim.Adam([x])
    memory = optimizer.state["exp_avg"][0]
    saved = optimizer.state_dict()
    saved["state"]["exp_avg"][0][...] = 5
    optimizer.load_state_dict(saved)
    assert optimizer.state["exp_avg"][0] is memory
    assert memory.tolist() == [5, 5, 5]


def test_steps_can_be_set():
    optimizer = optim.Adam([Parameter(np.zeros(3)), Parameter(np.zeros(2))])
    optimizer.steps = 12
    assert optimizer.steps == 12
    assert optimizer.state_dict()["steps"] == [12, 12]


def test_a_learning_rate_function_is_not_saved():
    saved = optim.SGD([Parameter(np.zeros(1))], lr=lambda step: 0.1).state_dict()
    assert "lr" not in saved["hyper_parameters"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.update(type="SGD"), "Adam.load_state_dict: this is the state of SGD"),
        (lambda s: s.pop("steps"), "expects what state_dict gave"),
        (lambda s: s["state"].pop("exp_avg"), "expects the arrays"),
        (lambda s: s["state"].update(exp_avg=[np.zeros(3)]), r"exp_avg has shapes \[\(3,\)\]"),
        (lambda s: s.update(steps=[1, 2]), "count of steps for each of 1"),
        (lambda s: s["hyper_parameters"].update(lr=-1.0), "lr must be"),
        (lambda s: s["hyper_parameters"].update(momentum=1.0), "unknown hyper-parameters"),
    ],
)
def test_loading_refuses_and_changes_nothing(change, message):
    optimizer = optim.Adam([Parameter(np.zeros(2))], lr=0.5)
    saved = optim.Adam([Parameter(np.zeros(2))], lr=0.1).state_dict()
    saved["state"]["exp_avg_sq"][0][...] = 1
    change(saved)
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(saved)
    assert optimizer.lr == 0.5
    assert not optimizer.state["exp_avg_sq"][0].any()


# -- bad input ---


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: optim.SGD(lr=-1),
            ValueError,
            "SGD: lr must be a finite number, not negative, got -1",
        ),
        (lambda: optim.SGD(lr=math.nan), ValueError, "SGD: lr must be"),
        (lambda: optim.Adam(lr=math.inf), ValueError, "Adam: lr must be"),
        (lambda: optim.Adam(lr="fast"), TypeError, "Adam: lr must be a number, got 'fast'"),
        (lambda: optim.SGD(lr=True), TypeError, "SGD: lr must be a number"),
        (lambda: optim.SGD(momentum=-0.1), ValueError, "SGD: momentum must be"),
        (lambda: optim.SGD(dampening=math.nan), ValueError, "SGD: dampening must be"),
        (lambda: optim.SGD(weight_decay=-1), ValueError, "SGD: weight_decay must be"),
        (lambda: optim.SGD(nesterov=True), ValueError, "SGD: nesterov wants momentum > 0"),
        (
            lambda: optim.SGD(nesterov=True, momentum=0.9, dampening=0.1),
            ValueError,
            "nesterov wants momentum > 0 and dampening 0",
        ),
        (
            lambda: optim.Adam(betas=(1.0, 0.9)),
            ValueError,
            r"Adam: betas\[0\] must be in \[0, 1\), got 1",
        ),
        (lambda: optim.Adam(betas=(0.9, -0.1)), ValueError, r"Adam: betas\[1\] must be in"),
        (lambda: optim.Adam(betas=0.9), TypeError, "Adam: betas must be two numbers, got 0.9"),
        (lambda: optim.AdamW(eps=-1e-8), ValueError, "AdamW: eps must be"),
        (lambda: optim.AdamW(weight_decay=math.nan), ValueError, "AdamW: weight_decay must be"),
        (lambda: optim.Adam([]), ValueError, "Adam: got no parameters"),
        (lambda: optim.Adam(nn.ReLU().parameters()), ValueError, "Adam: got no parameters"),
        (lambda: optim.Adam(Parameter(np.zeros(1))), TypeError, r"got one; write \[tensor\]"),
        (lambda: optim.Adam({"a": 1}), TypeError, "must be a list of Tensors, got dict"),
        (lambda: optim.Adam(5), TypeError, "must be a list of Tensors, got int"),
        (
            lambda: optim.Adam([np.zeros(1)]),
            TypeError,
            r"params\[0\] must be a Tensor, got ndarray",
        ),
        (lambda: optim.Adam([Tensor(np.zeros(1))]), TypeError, "does not require a gradient"),
        (lambda: optim.Adam([Parameter(np.zeros(1)) * 2]), TypeError, "it was computed"),
        (
            lambda: optim.SGD([Parameter(np.zeros(1))] * 2),
            ValueError,
            r"params\[1\] .* is there twice",
        ),
        (lambda: optim.SGD().step(), RuntimeError, "SGD.step: no parameters"),
        (lambda: optim.SGD().load_state_dict({}), RuntimeError, "bind them first"),
        (
            lambda: optim.SGD(lr=lambda step: -1.0).learning_rates(3, 1),
            ValueError,
            r"SGD: lr\(3\) must be",
        ),
        (
            lambda: optim.get("adm", where="Trainer"),
            ValueError,
            r"Trainer: unknown optimizer 'adm'; did you mean 'adam'\? Known: adam, adamw, sgd",
        ),
        (lambda: optim.get(3), TypeError, "must be a name or an Optimizer"),
        (lambda: optim.get(optim.Adam), TypeError, "must be a name or an Optimizer"),
    ],
)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_bad_assignment_changes_nothing():
    optimizer = optim.SGD(lr=0.5)
    with pytest.raises(ValueError, match="SGD: lr must be"):
        optimizer.lr = -2
    assert optimizer.lr == 0.5


def test_a_gradient_of_another_shape_stops_the_whole_step():
    a, b = Parameter(np.ones(2)), Parameter(np.ones(3))
    optimizer = optim.SGD([a, b], lr=1.0)
    a.grad, b.grad = Tensor(np.ones(2)), Tensor(np.ones(2))
    with pytest.raises(ValueError, match="parameter 1 is float64"):
        optimizer.step()
    np.testing.assert_array_equal(a.data, 1)
    assert optimizer.steps == 0


def test_get():
    assert isinstance(optim.get("adamw"), optim.AdamW)
    given = optim.SGD(lr=0.1)
    assert optim.get(given) is given
    assert repr(given) == (
        "SGD(lr=0.1, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False)"
    )


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam, optim.AdamW])
def test_step_scalars_do_not_depend_on_how_they_are_asked_for(make) -> None:
    optimizer = make(lr=0.1)
    whole = make(lr=0.1).step_scalars(0, 1000).copy()
    for first, count in [(0, 1), (1, 1), (200, 100), (3, 5), (999, 1), (256, 300)]:
        rows = optimizer.step_scalars(first, count)
        np.testing.assert_array_equal(rows, whole[first : first + count])
        assert not rows.flags.writeable


def test_step_scalars_follow_the_hyper_parameters() -> None:
    adam, sgd = optim.Adam(lr=0.1), optim.SGD(lr=0.1, momentum=0.9)
    adam.step_scalars(0, 1), sgd.step_scalars(0, 1)
    adam.lr, adam.betas, sgd.dampening = 0.2, (0.5, 0.9), 0.25
    np.testing.assert_array_equal(
        adam.step_scalars(1, 1), optim.Adam(lr=0.2, betas=(0.5, 0.9)).step_scalars(1, 1)
    )
    np.testing.assert_allclose(sgd.step_scalars(1, 1), [[0.1, 0.75]])
    calls = []
    adam.lr = lambda step: calls.append(step) or 0.5
    for _ in range(2):
        assert adam.step_scalars(7, 1)[0, 0] == 0.5
    assert calls == [7, 7]  # a function may look at the clock


def test_rates_of_a_subclass_are_asked_for_every_time() -> None:
    class Restarted(optim.SGD):
        rate = 0.1

        def learning_rates(self, first_step, count):
            return np.full(count, self.rate)

    optimizer = Restarted()
    assert optimizer.step_scalars(0, 1)[0, 0] == 0.1
    optimizer.rate = 0.2
    assert optimizer.step_scalars(1, 1)[0, 0] == 0.2
