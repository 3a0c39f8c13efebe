"""What optimizers refuse, and that nothing is changed then."""

import math

import numpy as np
import pytest

from fastprop import Parameter, Tensor, nn, optim


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
        (lambda: optim.Adam(lr="1e-3"), TypeError, "Adam: lr must be a number, got '1e-3'"),
        (lambda: optim.Adam(lr="0.1"), TypeError, "Adam: lr must be a number, got '0.1'"),
        (lambda: optim.SGD(lr=True), TypeError, "SGD: lr must be a number"),
        (lambda: optim.SGD(momentum=-0.1), ValueError, "SGD: momentum must be"),
        (lambda: optim.SGD(dampening=math.nan), ValueError, "SGD: dampening must be"),
        (lambda: optim.SGD(weight_decay=-1), ValueError, "SGD: weight_decay must be"),
        (lambda: optim.SGD(nesterov=True), ValueError, "SGD: nesterov needs momentum > 0"),
        (
            lambda: optim.SGD(nesterov=True, momentum=0.9, dampening=0.1),
            ValueError,
            "nesterov needs momentum > 0 and dampening 0",
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
        (lambda: optim.Adam(nn.Sequential(nn.Dense(1, 1))), TypeError, r"write model\.parameters"),
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
            r"Trainer: unknown optimizer 'adm'; did you mean 'adam'\? Known: adadelta, ",
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
    a.grad = Tensor(np.ones(2))
    b._grad = Tensor(np.ones(2))  # past the look of the setter
    with pytest.raises(ValueError, match="parameter 1 is float64"):
        optimizer.step()
    np.testing.assert_array_equal(a.data, 1)
    assert optimizer.steps == 0


NEGATIVE = [
    (name, hyper, value)
    for name, make in optim.OPTIMIZERS.items()
    for hyper in make().hyper_parameters
    for value in (-0.5, math.nan, math.inf, "much")
    if isinstance(getattr(make(), hyper), float) or hyper == "lr"
]


@pytest.mark.parametrize(("name", "hyper", "value"), NEGATIVE)
def test_numbers_out_of_range(name, hyper, value):
    make = optim.OPTIMIZERS[name]
    kind = type(make()).__name__
    error = TypeError if isinstance(value, str) else ValueError
    with pytest.raises(error, match=f"{kind}: {hyper} must be"):
        make(**{hyper: value})
    optimizer = make()
    before = repr(optimizer)
    with pytest.raises(error, match=f"{kind}: {hyper} must be"):
        setattr(optimizer, hyper, value)
    assert repr(optimizer) == before


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_pairs_and_flags(name):
    make = optim.OPTIMIZERS[name]
    for hyper in make().hyper_parameters:
        value = getattr(make(), hyper)
        wrong = [3.0, (0.5,), (-1.0, 0.5), (math.nan, 0.5)] if isinstance(value, tuple) else []
        if hyper == "betas":
            wrong += [(1.0, 0.5), (0.5, 1.0)]
        if isinstance(value, bool):
            wrong = [1, "yes", None]
        for bad in wrong:
            with pytest.raises((TypeError, ValueError), match=rf"{hyper}.* must be"):
                make(**{hyper: bad})


def test_a_gradient_that_does_not_fit_leaves_all_parameters_alone():
    first, second = Parameter(np.ones(3)), Parameter(np.ones((2, 2)))
    optimizer = optim.Adam([first, second])
    first.grad = Tensor(np.ones(3))
    second._grad = Tensor(np.ones(4))  # past the look of the setter
    with pytest.raises(ValueError, match=r"Adam.step: parameter 1 is .* \(2, 2\), its gradient"):
        optimizer.step()
    np.testing.assert_array_equal(first.data, np.ones(3))
    assert optimizer.steps == 0


def test_a_function_of_the_step_is_asked_once_a_step():
    asked = []
    params = [Parameter(np.ones(n)) for n in (1, 2, 3)]
    groups = [{"params": params[:1], "betas": (0.8, 0.9)}, {"params": params[1:]}]

    def rate(step):
        asked.append(step)
        return 0.1

    optimizer = optim.Adam(groups, lr=rate)
    for _ in range(3):
        for p in params:
            p.grad = Tensor(np.ones(p.shape))
        optimizer.step()
    assert asked == [0, 1, 2]
