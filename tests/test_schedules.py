"""Learning-rate schedules: closed forms, PyTorch's, and as objects."""

import math
import pickle
import warnings
from dataclasses import dataclass

import numpy as np
import pytest

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
