"""Learning-rate schedules: closed forms, PyTorch's, training with them, and what they refuse."""

import math
import pickle
import warnings
from dataclasses import dataclass

import numpy as np
import pytest

import fastprop as fp
from fastprop import nn, optim
from fastprop.graph import Parameter, Tensor
from fastprop.optim import schedules as S

STEPS = np.arange(1200)

# Each with its rate at step t, written for one step with Python's own arithmetic.
CLOSED_FORMS = {
    "constant": (S.Constant(0.3), lambda t: 0.3),
    "step": (S.Step(0.3, 7, 0.8), lambda t: 0.3 * 0.8 ** (t // 7)),
    "multi-step": (
        S.MultiStep(0.3, [3, 40, 41], 0.5),
        lambda t: 0.3 * (1 if t < 3 else 0.5 if t < 40 else 0.25 if t < 41 else 0.125),
    ),
    "exponential": (S.Exponential(0.3, 0.99), lambda t: 0.3 * math.exp(t * math.log(0.99))),
    "exponential steps": (S.Exponential(1e-6, 2.0, 50), lambda t: 1e-6 * 2 ** (t / 50)),
    "line": (S.Polynomial(0.3, 1000), lambda t: 0.3 * max(0, 1000 - t) / 1000),
    "polynomial": (
        S.Polynomial(0.3, 800, 2.5, 0.1),
        lambda t: 0.1 + 0.2 * (1 - min(t, 800) / 800) ** 2.5,
    ),
    "cosine": (
        S.Cosine(0.3, 500, 0.1),
        lambda t: 0.1 + 0.2 * math.cos(math.pi / 2 * min(t, 500) / 500) ** 2,
    ),
    "restarts": (
        S.CosineRestarts(0.3, 30, min_lr=0.1),
        lambda t: 0.1 + 0.2 * math.cos(math.pi / 2 * (t % 30) / 30) ** 2,
    ),
    # Cycles of 10, 30, 90, 270, 810: they begin at 0, 10, 40, 130, 400.
    "longer restarts": (
        S.CosineRestarts(0.3, 10, 3),
        lambda t: next(
            0.3 * math.cos(math.pi / 2 * (t - b) / n) ** 2
            for b, n in ((400, 810), (130, 270), (40, 90), (10, 30), (0, 10))
            if t >= b
        ),
    ),
    "one cycle": (
        S.OneCycle(0.3, 1000, 0.201, 10, 100, anneal="linear"),
        lambda t: (
            0.03 + 0.27 * t / 200 if t <= 200 else 0.3 + (0.0003 - 0.3) * (min(t, 999) - 200) / 799
        ),
    ),
    "triangular": (
        S.Cyclic(0.1, 0.3, 20, 30),
        lambda t: 0.1 + 0.2 * (t % 50 / 20 if t % 50 <= 20 else (50 - t % 50) / 30),
    ),
    "triangular2": (
        S.Cyclic(0.1, 0.3, 20, mode="triangular2"),
        lambda t: 0.1 + 0.2 * (1 - abs(t % 40 / 20 - 1)) / 2 ** (t // 40),
    ),
    "exp range": (
        S.Cyclic(0.1, 0.3, 20, mode="exp_range", gamma=0.99),
        lambda t: 0.1 + 0.2 * (1 - abs(t % 40 / 20 - 1)) * 0.99**t,
    ),
    # The formula of Vaswani et al., section 5.3, for a width of 512; their steps count from 1.
    "inverse root": (
        S.InverseSqrt((512 * 400) ** -0.5, 400),
        lambda t: 512**-0.5 * min((t + 1) ** -0.5, (t + 1) * 400**-1.5),
    ),
    "warm-up": (
        S.Warmup(20, then=S.Step(0.3, 50, 0.5), start_factor=0.2),
        lambda t: 0.3 * (0.2 + 0.8 * t / 20) if t < 20 else 0.3 * 0.5 ** ((t - 20) // 50),
    ),
    "sequence": (
        S.Sequential([0.5, S.Exponential(0.3, 0.9), S.Warmup(10, 0.2, 0.0)], [4, 30]),
        lambda t: 0.5 if t < 4 else 0.3 * 0.9 ** (t - 4) if t < 30 else 0.02 * min(t - 30, 10),
    ),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_closed_form(name):
    schedule, formula = CLOSED_FORMS[name]
    rates = schedule.rates(STEPS)
    assert rates.dtype == np.float64
    np.testing.assert_allclose(rates, [formula(t) for t in STEPS.tolist()], rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_many_at_once_are_the_same_bits_as_one_by_one(name):
    schedule, _ = CLOSED_FORMS[name]
    rates = schedule.rates(STEPS)
    one = [schedule(t) for t in STEPS.tolist()]
    assert all(type(rate) is float for rate in one)
    np.testing.assert_array_equal(rates, one)
    for chunk in (3, 37, 256):
        parts = [schedule.rates(STEPS[i : i + chunk]) for i in range(0, len(STEPS), chunk)]
        np.testing.assert_array_equal(rates, np.concatenate(parts))
    np.testing.assert_array_equal(schedule.rates(STEPS[::-7]), rates[::-7])
    table = schedule.rates(STEPS.reshape(30, 40).astype(np.int32))
    np.testing.assert_array_equal(table, rates.reshape(30, 40))
    assert schedule.rates(np.arange(0)).shape == (0,)


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_far_steps_stay_finite(name):
    schedule, _ = CLOSED_FORMS[name]
    if name == "exponential steps":  # grows
        with pytest.raises(ValueError, match="Exponential: the rate of step 1000000 must be"):
            schedule(10**6)
    else:
        far = schedule.rates(10**12 + np.arange(3))
        assert np.isfinite(far).all()
        assert (far >= 0).all()


def test_last_rates_are_exact():
    for last in (500, 501, 10**9):
        assert S.Cosine(0.3, 500, 0.1)(last) == 0.1
        assert S.Polynomial(0.3, 500, 2.0, 0.1)(last) == 0.1
        assert S.Warmup(7, S.Constant(0.3))(last) == 0.3
        assert S.OneCycle(0.3, 501, div_factor=4, final_div_factor=8)(last) == 0.3 / 4 / 8


def test_a_cycle_without_a_rise_or_a_fall():
    assert S.OneCycle(0.3, 1)(0) == pytest.approx(0.3 / 25 / 1e4)
    assert S.OneCycle(0.3, 10, pct_start=0.1)(0) == 0.3  # the rise is over at step 0
    rise = S.OneCycle(0.3, 11, pct_start=1.0, anneal="linear")
    np.testing.assert_allclose(rise.rates(np.arange(11)), np.linspace(0.3 / 25, 0.3, 11))
    assert rise(100) == pytest.approx(0.3)


# -- PyTorch ---

AGAINST_TORCH = {
    "step": (S.Step(0.3, 7, 0.8), 0.3, "StepLR", {"step_size": 7, "gamma": 0.8}),
    "multi-step": (
        S.MultiStep(0.3, [3, 40, 41], 0.5),
        0.3,
        "MultiStepLR",
        {"milestones": [3, 40, 41], "gamma": 0.5},
    ),
    "exponential": (S.Exponential(0.3, 0.97), 0.3, "ExponentialLR", {"gamma": 0.97}),
    "polynomial": (
        S.Polynomial(0.3, 150, 1.7),
        0.3,
        "PolynomialLR",
        {"total_iters": 150, "power": 1.7},
    ),
    "cosine": (S.Cosine(0.3, 200, 0.01), 0.3, "CosineAnnealingLR", {"T_max": 200, "eta_min": 0.01}),
    "restarts": (
        S.CosineRestarts(0.3, 10, 2, 0.01),
        0.3,
        "CosineAnnealingWarmRestarts",
        {"T_0": 10, "T_mult": 2, "eta_min": 0.01},
    ),
    "one cycle": (
        S.OneCycle(0.3, 201),
        0.3,
        "OneCycleLR",
        {"max_lr": 0.3, "total_steps": 201, "cycle_momentum": False},
    ),
    "one cycle linear": (
        S.OneCycle(0.3, 250, 0.41, 10, 50, "linear"),
        0.3,
        "OneCycleLR",
        {
            "max_lr": 0.3,
            "total_steps": 250,
            "pct_start": 0.41,
            "div_factor": 10,
            "final_div_factor": 50,
            "anneal_strategy": "linear",
            "cycle_momentum": False,
        },
    ),
    "one cycle without a rise": (
        S.OneCycle(0.3, 201, 0.0),
        0.3,
        "OneCycleLR",
        {"max_lr": 0.3, "total_steps": 201, "pct_start": 0.0, "cycle_momentum": False},
    ),
    **{
        f"cyclic {mode}": (
            S.Cyclic(0.1, 0.3, 13, 9, mode, gamma),
            0.1,
            "CyclicLR",
            {
                "base_lr": 0.1,
                "max_lr": 0.3,
                "step_size_up": 13,
                "step_size_down": 9,
                "mode": mode,
                "gamma": gamma,
                "cycle_momentum": False,
            },
        )
        for mode, gamma in (("triangular", 1.0), ("triangular2", 1.0), ("exp_range", 0.99))
    },
}


def torch_rates(torch, lr, make):
    """Rates of the first 201 steps of PyTorch's scheduler."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler = make(optimizer)
    found = []
    for _ in range(201):
        found.append(float(optimizer.param_groups[0]["lr"]))
        if len(found) < 201:
            optimizer.step()
            scheduler.step()
    return found


@pytest.mark.parametrize("name", AGAINST_TORCH)
def test_like_torch(name):
    torch = pytest.importorskip("torch")
    schedule, lr, kind, options = AGAINST_TORCH[name]
    make = getattr(torch.optim.lr_scheduler, kind)
    expected = torch_rates(torch, lr, lambda optimizer: make(optimizer, **options))
    # PyTorch multiplies from step to step, and so gathers rounding errors.
    np.testing.assert_allclose(schedule.rates(np.arange(201)), expected, rtol=1e-11, atol=1e-15)


def test_warmup_like_torch():
    torch = pytest.importorskip("torch")
    kinds = torch.optim.lr_scheduler

    def make(optimizer):
        parts = [kinds.LinearLR(optimizer, total_iters=20), kinds.ExponentialLR(optimizer, 0.97)]
        return kinds.SequentialLR(optimizer, parts, milestones=[20])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # SequentialLR's own, of its use of itself
        expected = torch_rates(torch, 0.3, make)
    mine = S.Warmup(20, then=S.Exponential(0.3, 0.97))
    np.testing.assert_allclose(mine.rates(np.arange(201)), expected, rtol=1e-11)


def test_defaults_are_torchs():
    torch = pytest.importorskip("torch")
    from inspect import signature

    kinds = torch.optim.lr_scheduler
    pairs = [
        (S.Step, kinds.StepLR, {"gamma": "gamma"}),
        (S.MultiStep, kinds.MultiStepLR, {"gamma": "gamma"}),
        (S.Polynomial, kinds.PolynomialLR, {"power": "power"}),
        (S.Cosine, kinds.CosineAnnealingLR, {"min_lr": "eta_min"}),
        (
            S.CosineRestarts,
            kinds.CosineAnnealingWarmRestarts,
            {"t_mult": "T_mult", "min_lr": "eta_min"},
        ),
        (
            S.OneCycle,
            kinds.OneCycleLR,
            {k: k for k in ("pct_start", "div_factor", "final_div_factor")}
            | {"anneal": "anneal_strategy"},
        ),
        (
            S.Cyclic,
            kinds.CyclicLR,
            {k: k for k in ("step_size_up", "step_size_down", "mode", "gamma")},
        ),
        (S.Warmup, kinds.LinearLR, {"start_factor": "start_factor"}),
    ]
    for mine, theirs, names in pairs:
        for my_name, their_name in names.items():
            my_default = signature(mine).parameters[my_name].default
            assert my_default == signature(theirs).parameters[their_name].default


# -- in an optimizer ---


SCHEDULE = S.Warmup(5, S.CosineRestarts(0.05, 7, 2, min_lr=0.001), start_factor=0.1)


def regression():
    """Data, and a model with its weights."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(90, 3))
    fp.seed(11)
    return x, np.sin(x[:, :2]), nn.Sequential(nn.Dense(3, 8, activation="tanh"), nn.Dense(8, 2))


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam, optim.AdamW])
def test_training_equals_setting_the_rate_by_hand(make):
    batches = [slice(i % 80, i % 80 + 10) for i in range(0, 400, 10)]

    def run(optimizer, prepare):
        x, y, model = regression()
        trainer = fp.Trainer(model, "mse", optimizer)
        losses = []
        for step, rows in enumerate(batches):
            prepare(optimizer, step)
            losses.append(trainer.train_step(x[rows], y[rows]))
        return losses, [p.data.copy() for p in model.parameters()]

    losses, weights = run(make(lr=SCHEDULE), lambda optimizer, step: None)
    by_hand = run(make(lr=0.1), lambda optimizer, step: setattr(optimizer, "lr", SCHEDULE(step)))
    assert losses == by_hand[0]
    for mine, other in zip(weights, by_hand[1], strict=True):
        np.testing.assert_array_equal(mine, other)
    assert losses != run(make(lr=0.05), lambda optimizer, step: None)[0]


def test_fit_equals_a_function_of_the_step():
    def run(lr):
        x, y, model = regression()
        history = fp.Trainer(model, "mse", optim.Adam(lr=lr)).fit(x, y, epochs=6, batch_size=20)
        return history["loss"], [p.data.copy() for p in model.parameters()]

    losses, weights = run(SCHEDULE)
    by_function = run(lambda step: SCHEDULE(step))
    assert losses == by_function[0]
    assert losses != run(0.05)[0]
    for mine, other in zip(weights, by_function[1], strict=True):
        np.testing.assert_array_equal(mine, other)


def test_an_eager_loop_follows_the_schedule():
    x = Parameter(np.zeros(1))
    optimizer = optim.SGD([x], lr=S.Step(1.0, 2, 0.5))
    found = []
    for _ in range(5):
        x.grad = Tensor(np.ones(1))
        optimizer.step()
        found.append(x.data[0])
    assert found == [-1.0, -2.0, -2.5, -3.0, -3.25]


def test_a_resumed_run_continues():
    def run(optimizer, parameter, steps):
        for _ in range(steps):
            parameter.grad = Tensor(np.cos(parameter.data))
            optimizer.step()

    whole, first = Parameter(np.arange(3.0)), Parameter(np.arange(3.0))
    run(optim.Adam([whole], lr=SCHEDULE), whole, 30)
    optimizer = optim.Adam([first], lr=SCHEDULE)
    run(optimizer, first, 13)
    saved = optimizer.state_dict()
    assert "lr" not in saved["hyper_parameters"]
    second = Parameter(first.data.copy())
    resumed = optim.Adam([second], lr=SCHEDULE)
    resumed.load_state_dict(saved)
    assert resumed.lr is SCHEDULE
    run(resumed, second, 17)
    np.testing.assert_array_equal(second.data, whole.data)


def test_rates_of_the_optimizer():
    optimizer = optim.SGD(lr=SCHEDULE)
    np.testing.assert_array_equal(
        optimizer.learning_rates(4, 300), SCHEDULE.rates(np.arange(4, 304))
    )
    np.testing.assert_array_equal(
        optimizer.step_scalars(4, 3)[:, 0], SCHEDULE.rates(np.arange(4, 7))
    )
    optimizer.lr = S.Constant(0.25)
    assert optimizer.step_scalars(4, 1)[0, 0] == 0.25
    assert repr(optim.Adam(lr=S.Cosine(1e-3, 1000, min_lr=1e-5))) == (
        "Adam(lr=Cosine(lr=0.001, steps=1000, min_lr=1e-05), betas=(0.9, 0.999), eps=1e-08, "
        "weight_decay=0.0)"
    )


def test_single_steps_ask_for_a_block_of_rates():
    calls = []

    @dataclass(frozen=True)
    class Counted(S.Schedule):
        def formula(self, steps):
            calls.append(len(steps))
            return np.full(steps.shape, 0.5)

    optimizer = optim.SGD(lr=Counted())
    for step in range(200):
        optimizer.step_scalars(step, 1)
    assert len(calls) == 1


# -- as objects ---


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_schedules_are_values(name):
    schedule, _ = CLOSED_FORMS[name]
    again = eval(repr(schedule), vars(S))
    assert again == schedule
    assert hash(again) == hash(schedule)
    assert again is not schedule
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    others = [other for key, (other, _) in CLOSED_FORMS.items() if key != name]
    assert schedule not in others
    for field in vars(schedule):
        with pytest.raises(AttributeError, match=f"cannot set {field}, a schedule does not"):
            setattr(schedule, field, 1)
        with pytest.raises(AttributeError, match=f"cannot delete {field}"):
            delattr(schedule, field)
    assert schedule == again


def test_settings_are_brought_to_one_type():
    assert S.Cosine(np.float32(0.5), np.int64(10), 0) == S.Cosine(0.5, 10, 0.0)
    assert repr(S.Cosine(1, np.int64(10))) == "Cosine(lr=1.0, steps=10, min_lr=0.0)"
    milestones = [1, 2]
    schedule = S.MultiStep(0.1, milestones)
    milestones.append(3)
    assert schedule.milestones == (1, 2)
    assert S.Warmup(3, 0.5) == S.Warmup(3, S.Constant(0.5))


def test_a_schedule_of_ones_own():
    @dataclass(frozen=True)
    class Harmonic(S.Schedule):
        lr: float

        def formula(self, steps):
            return self.lr / (1.0 + steps)

    chained = S.Sequential([Harmonic(0.5), Harmonic(0.25)], [3])
    np.testing.assert_allclose(
        chained.rates(np.arange(5)), [0.5, 0.25, 0.5 / 3, 0.25, 0.125], rtol=1e-15
    )
    assert Harmonic(0.5) == Harmonic(0.5) != Harmonic(0.25)
    assert S.Warmup(5, Harmonic(0.5)) != S.Warmup(5, Harmonic(0.25))
    assert repr(S.Warmup(5, Harmonic(0.5), 0)).endswith("Harmonic(lr=0.5), start_factor=0.0)")


# -- bad input ---


@dataclass(frozen=True)
class Wrong(S.Schedule):
    """Gives what it is told to, whatever the step."""

    result: object

    def formula(self, steps):
        return self.result


HALF = S.Constant(0.5)

BAD_SETTINGS = [
    (lambda: S.Constant(-0.1), "Constant: lr must be at least 0 and finite, got -0.1"),
    (lambda: S.Constant(math.nan), "Constant: lr must be at least 0 and finite, got nan"),
    (lambda: S.Constant(math.inf), "Constant: lr must be at least 0 and finite, got inf"),
    (lambda: S.Step(0.1, 0), r"Step: step_size must be in \[1, 2\*\*53\], got 0"),
    (lambda: S.Step(0.1, 5, 1.5), "Step: gamma must be above 0 and at most 1, got 1.5"),
    (lambda: S.Step(0.1, 5, 0.0), "Step: gamma must be above 0"),
    (lambda: S.MultiStep(0.1, [3, 3]), r"MultiStep: milestones must increase, got \[3, 3\]"),
    (lambda: S.MultiStep(0.1, [5, 3]), r"MultiStep: milestones must increase, got \[5, 3\]"),
    (lambda: S.MultiStep(0.1, [-2, 3]), r"MultiStep: milestones\[0\] must be in .* got -2"),
    (lambda: S.MultiStep(0.1, [3], 2.0), "MultiStep: gamma must be"),
    (lambda: S.Exponential(0.1, -0.5), "Exponential: gamma must be above 0 and finite, got -0.5"),
    (lambda: S.Exponential(0.1, math.nan), "Exponential: gamma must be"),
    (lambda: S.Exponential(0.1, 0.5, 0), "Exponential: steps must be"),
    (lambda: S.Polynomial(0.1, -3), "Polynomial: steps must be .* got -3"),
    (lambda: S.Polynomial(0.1, 10**30), "Polynomial: steps must be"),
    (lambda: S.Polynomial(0.1, 3, -1.0), "Polynomial: power must be above 0"),
    (lambda: S.Polynomial(0.1, 3, 1.0, 0.2), "Polynomial: min_lr must be .* at most 0.1, got 0.2"),
    (lambda: S.Cosine(-1, 10), "Cosine: lr must be"),
    (lambda: S.Cosine(0.1, 0), "Cosine: steps must be"),
    (lambda: S.Cosine(0.1, 10, 0.2), "Cosine: min_lr must be at least 0 and at most 0.1, got 0.2"),
    (lambda: S.Cosine(0.1, 10, math.nan), "Cosine: min_lr must be"),
    (lambda: S.CosineRestarts(0.1, 10, 0), "CosineRestarts: t_mult must be"),
    (lambda: S.CosineRestarts(0.1, 10, 2, -1), "CosineRestarts: min_lr must be"),
    (lambda: S.OneCycle(0.1, 10, 1.5), "OneCycle: pct_start must be at least 0 and at most 1"),
    (lambda: S.OneCycle(0.1, 10, div_factor=0.5), "OneCycle: div_factor must be at least 1"),
    (lambda: S.OneCycle(0.1, 10, final_div_factor=math.nan), "OneCycle: final_div_factor must be"),
    (lambda: S.OneCycle(0.1, 10, anneal="sin"), "anneal must be one of 'cos', 'linear', got 'sin'"),
    (lambda: S.Cyclic(0.3, 0.1), "Cyclic: max_lr must be at least 0.3 and finite, got 0.1"),
    (lambda: S.Cyclic(0.1, 0.3, 0), "Cyclic: step_size_up must be"),
    (lambda: S.Cyclic(0.1, 0.3, 5, 0), "Cyclic: step_size_down must be"),
    (lambda: S.Cyclic(0.1, 0.3, mode="square"), "Cyclic: mode must be one of 'triangular'"),
    (lambda: S.Cyclic(0.1, 0.3, mode="exp_range", gamma=1.1), "Cyclic: gamma must be"),
    (lambda: S.Cyclic(0.1, 0.3, gamma=0.9), "Cyclic: gamma goes with mode='exp_range' only"),
    (lambda: S.InverseSqrt(0.1, 0), "InverseSqrt: warmup_steps must be"),
    (lambda: S.Warmup(0, HALF), "Warmup: steps must be"),
    (lambda: S.Warmup(5, -0.5), "Warmup: then: Constant: lr must be"),
    (lambda: S.Warmup(5, HALF, 1.5), "Warmup: start_factor must be at least 0 and at most 1"),
    (lambda: S.Warmup(5, HALF, -0.5), "Warmup: start_factor must be"),
    (lambda: S.Sequential([], []), "Sequential: schedules must be at least one, got none"),
    (lambda: S.Sequential([HALF, HALF], []), "Sequential: 2 schedules want 1 milestones, got 0"),
    (lambda: S.Sequential([HALF] * 3, [5, 5]), "Sequential: milestones must increase"),
    (lambda: S.Sequential([HALF, math.nan], [5]), r"Sequential: schedules\[1\]: Constant: lr"),
    (lambda: HALF(-1), "Constant.rates: steps count from 0, got -1"),
    (lambda: HALF.rates([3, -2]), "Constant.rates: steps count from 0, got -2"),
    (lambda: Wrong(np.array([-0.5]))(7), "Wrong: the rate of step 7 must be .* got -0.5"),
    (lambda: Wrong(np.array([math.nan]))(7), "Wrong: the rate of step 7 must be .* got nan"),
    (lambda: Wrong(0.5)(7), r"Wrong.formula: wanted rates of shape \(1,\), got \(\)"),
    (
        lambda: optim.SGD(lr=Wrong(np.array([0.1, math.inf]))).learning_rates(4, 2),
        "Wrong: the rate of step 5 must be a finite number, not negative, got inf",
    ),
    (
        lambda: optim.SGD(lr=lambda step: math.nan).learning_rates(3, 1),
        r"SGD: lr\(3\) must be a finite number, not negative, got nan",
    ),
    (
        lambda: optim.Adam(lr=lambda step: 0.1 - step).learning_rates(0, 5),
        r"Adam: lr\(1\) must be a finite number, not negative, got -0.9",
    ),
]

BAD_TYPES = [
    (lambda: S.Constant("fast"), "Constant: lr must be a number, got 'fast'"),
    (lambda: S.Constant(True), "Constant: lr must be a number, got True"),
    (lambda: S.Cosine(0.1, 10.0), "Cosine: steps must be an integer, got 10.0"),
    (lambda: S.Cosine(0.1, True), "Cosine: steps must be an integer, got True"),
    (lambda: S.MultiStep(0.1, 5), "MultiStep: milestones must be a list of steps, got 5"),
    (lambda: S.MultiStep(0.1, [1.5]), r"MultiStep: milestones\[0\] must be an integer, got 1.5"),
    (lambda: S.Warmup(5, None), "Warmup: then must be a Schedule or a number, got NoneType"),
    (lambda: S.Warmup(5, lambda step: 0.1), "then must be a Schedule or a number, got function"),
    (lambda: S.Sequential(HALF, []), "Sequential: schedules must be a list of Schedules, got Cons"),
    (lambda: S.Sequential(["fast"], []), r"schedules\[0\] must be a Schedule or a number, got str"),
    (lambda: HALF(1.5), r"Constant: step must be an integer, got 1.5; rates\(steps\) takes an"),
    (lambda: HALF.rates([1.5]), "Constant.rates: steps must be integers, got float64"),
    (lambda: optim.SGD(lr=S.Constant), r"SGD: lr is the class Constant; write Constant\(…\)"),
]


@pytest.mark.parametrize(("make", "message"), BAD_SETTINGS)
def test_bad_values(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(("make", "message"), BAD_TYPES)
def test_bad_types(make, message):
    with pytest.raises(TypeError, match=message):
        make()


def test_a_schedule_without_a_formula():
    class Nothing(S.Schedule):
        pass

    with pytest.raises(NotImplementedError, match=r"Nothing: define formula\(self, steps\)"):
        Nothing()(0)
