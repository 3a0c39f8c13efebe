"""fp.kernels: steps of the optimizers against their rules in NumPy (SGD and Adam are in
test_kernels_other.py)."""

from types import SimpleNamespace

import numpy as np
import pytest
from helpers import DTYPES, uniform
from optim_cases import RULES

from fastprop import kernels

BETAS = {"betas": (0.8, 0.95)}

CASES = {
    "adamax": ("Adamax", ["m", "u"], {**BETAS, "eps": 1e-3, "weight_decay": 0.1}, {}),
    "rmsprop": (
        "RMSprop",
        ["v"],
        {"alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1},
        {"momentum": 0.0, "centered": False},
    ),
    "rmsprop, momentum": (
        "RMSprop",
        ["v", "buf"],
        {"alpha": 0.9, "eps": 1e-3, "weight_decay": 0.0, "momentum": 0.7},
        {"centered": False},
    ),
    "rmsprop, centered": (
        "RMSprop",
        ["v", "buf", "mean"],
        {"alpha": 0.9, "eps": 1e-2, "weight_decay": 0.1, "momentum": 0.7},
        {"centered": True},
    ),
    "adagrad": (
        "Adagrad",
        ["total"],
        {"eps": 1e-6, "weight_decay": 0.1},
        {"lr_decay": 0.0, "initial_accumulator_value": 0.0},
    ),
    "adadelta": ("Adadelta", ["v", "u"], {"rho": 0.8, "eps": 1e-4, "weight_decay": 0.1}, {}),
    "lion": ("Lion", ["m"], {**BETAS, "weight_decay": 0.1}, {}),
    "rprop": (
        "Rprop",
        ["previous", "size"],
        {"etas": (0.4, 1.5), "step_sizes": (1e-3, 0.5)},
        {"lr": 0.05},
    ),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_like_the_rule(case, dtype):
    rule, names, options, more = CASES[case]
    update = getattr(kernels, f"{rule.lower()}_update")
    for shape in ((1,), (5, 9)):
        w = uniform(shape, dtype=dtype)
        state = {name: np.full_like(w, 0.05 if name == "size" else 0.0) for name in names}
        expected, theirs = w.astype(np.float64), {}
        for step in range(1, 6):
            g = uniform(shape, dtype=dtype, seed=step)
            steps = {"step": step} if rule == "Adamax" else {}
            rate = {} if rule == "Rprop" else {"lr": 0.05}
            update(g, w, **state, **steps, **rate, **options)
            settings = SimpleNamespace(rate=0.05, **options, **more)
            RULES[rule](expected, g.astype(np.float64), theirs, step, settings)
        tolerance = 2e-5 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(w, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda a: kernels.rmsprop_update(a, np.ones(4), np.ones(4), momentum=0.9),
            TypeError,
            "rmsprop_update: buf must be a NumPy array, got None",
        ),
        (
            lambda a: kernels.adamax_update(a, np.ones(4), np.ones(4), np.ones(4), 0),
            ValueError,
            "adamax_update: step must be 1 or more, got 0",
        ),
        (
            lambda a: kernels.lion_update(a, np.ones(4), np.ones(3)),
            ValueError,
            r"lion_update: m must have shape \(4,\)",
        ),
        (
            lambda a: kernels.rprop_update(a, np.ones(4), np.ones(4, "float32"), np.ones(4)),
            TypeError,
            "rprop_update: previous must be float64, got float32",
        ),
        (
            lambda a: kernels.adadelta_update(a, np.ones(4), a, np.ones(4)),
            ValueError,
            "adadelta_update: v shares memory with an input",
        ),
    ],
)
def test_messages(call, error, message):
    with pytest.raises(error, match=message):
        call(np.ones(4))
