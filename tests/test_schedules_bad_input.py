"""Learning-rate schedules refuse settings and rates that make no sense."""

import math
from dataclasses import dataclass

import numpy as np
import pytest

from fastprop import optim
from fastprop.optim import schedules as S


@dataclass(frozen=True)
class Wrong(S.Schedule):
    """Gives what it is told to, whatever the step."""

    result: object

    def formula(self, steps):
        return self.result


HALF = S.Constant(0.5)

BAD_SETTINGS = [
    (lambda: S.Constant(-0.1), "Constant: lr must be a finite number, not negative, got -0.1"),
    (lambda: S.Constant(math.nan), "Constant: lr must be a finite number, not negative, got nan"),
    (lambda: S.Constant(math.inf), "Constant: lr must be a finite number, not negative, got inf"),
    (lambda: S.Step(0.1, 0), r"Step: step_size must be in \[1, 2\*\*53\], got 0"),
    (lambda: S.Step(0.1, 5, 1.5), "Step: gamma must be in \\(0, 1\\], got 1.5"),
    (lambda: S.Step(0.1, 5, 0.0), "Step: gamma must be in \\(0, 1\\]"),
    (lambda: S.MultiStep(0.1, [3, 3]), r"MultiStep: milestones must increase, got \[3, 3\]"),
    (lambda: S.MultiStep(0.1, [5, 3]), r"MultiStep: milestones must increase, got \[5, 3\]"),
    (lambda: S.MultiStep(0.1, [-2, 3]), r"MultiStep: milestones\[0\] must be in .* got -2"),
    (lambda: S.MultiStep(0.1, [3], 2.0), "MultiStep: gamma must be"),
    (
        lambda: S.Exponential(0.1, -0.5),
        "Exponential: gamma must be a finite number above 0, got -0.5",
    ),
    (lambda: S.Exponential(0.1, math.nan), "Exponential: gamma must be"),
    (lambda: S.Exponential(0.1, 0.5, 0), "Exponential: steps must be"),
    (lambda: S.Polynomial(0.1, -3), "Polynomial: steps must be .* got -3"),
    (lambda: S.Polynomial(0.1, 10**30), "Polynomial: steps must be"),
    (lambda: S.Polynomial(0.1, 3, -1.0), "Polynomial: power must be a finite number above 0"),
    (lambda: S.Polynomial(0.1, 3, 1.0, 0.2), "Polynomial: min_lr must be in \\[0, 0.1\\], got 0.2"),
    (lambda: S.Cosine(-1, 10), "Cosine: lr must be"),
    (lambda: S.Cosine(0.1, 0), "Cosine: steps must be"),
    (lambda: S.Cosine(0.1, 10, 0.2), "Cosine: min_lr must be in \\[0, 0.1\\], got 0.2"),
    (lambda: S.Cosine(0.1, 10, math.nan), "Cosine: min_lr must be"),
    (lambda: S.CosineRestarts(0.1, 10, 0), "CosineRestarts: t_mult must be"),
    (lambda: S.CosineRestarts(0.1, 10, 2, -1), "CosineRestarts: min_lr must be"),
    (lambda: S.OneCycle(0.1, 10, 1.5), "OneCycle: pct_start must be in \\[0, 1\\]"),
    (
        lambda: S.OneCycle(0.1, 10, div_factor=0.5),
        "OneCycle: div_factor must be a finite number, at least 1",
    ),
    (lambda: S.OneCycle(0.1, 10, final_div_factor=math.nan), "OneCycle: final_div_factor must be"),
    (lambda: S.OneCycle(0.1, 10, anneal="sin"), "anneal must be one of 'cos', 'linear', got 'sin'"),
    (lambda: S.Cyclic(0.3, 0.1), "Cyclic: max_lr must be a finite number, at least 0.3, got 0.1"),
    (lambda: S.Cyclic(0.1, 0.3, 0), "Cyclic: step_size_up must be"),
    (lambda: S.Cyclic(0.1, 0.3, 5, 0), "Cyclic: step_size_down must be"),
    (lambda: S.Cyclic(0.1, 0.3, mode="square"), "Cyclic: mode must be one of 'triangular'"),
    (lambda: S.Cyclic(0.1, 0.3, mode="exp_range", gamma=1.1), "Cyclic: gamma must be"),
    (lambda: S.Cyclic(0.1, 0.3, gamma=0.9), "Cyclic: gamma goes with mode='exp_range' only"),
    (lambda: S.InverseSqrt(0.1, 0), "InverseSqrt: warmup_steps must be"),
    (lambda: S.Warmup(0, HALF), "Warmup: steps must be"),
    (lambda: S.Warmup(5, -0.5), "Warmup: then: Constant: lr must be"),
    (lambda: S.Warmup(5, HALF, 1.5), "Warmup: start_factor must be in \\[0, 1\\]"),
    (lambda: S.Warmup(5, HALF, -0.5), "Warmup: start_factor must be"),
    (lambda: S.Sequential([], []), "Sequential: schedules must be at least one, got none"),
    (lambda: S.Sequential([HALF, HALF], []), "Sequential: 2 schedules need 1 milestones, got 0"),
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


def test_a_formula_that_gives_no_numbers():
    class Words(S.Schedule):
        def formula(self, steps):
            return np.full(steps.shape, "fast")

    with pytest.raises(TypeError, match=r"Words\.formula: wanted rates, got an array of <U4"):
        Words().rates([0, 1])


def test_functions_of_something_else_than_the_step():
    for wrong in (lambda: 0.1, lambda step, epoch: 0.1):
        with pytest.raises(TypeError, match=r"SGD: lr must take \(step\), but takes \("):
            optim.SGD(lr=wrong)
