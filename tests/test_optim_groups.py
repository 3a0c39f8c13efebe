"""Parameter groups: against PyTorch's, and the flag that spares biases and norms weight decay."""

import numpy as np
import pytest
from optim_cases import SETTINGS, make, parameters_of, problem, trajectory

import fastprop as fp
from fastprop import Parameter, Tensor, losses, nn, optim
from fastprop.optim import schedules

GROUPS = {
    "SGD": ({"momentum": 0.9}, {"lr": 0.02, "weight_decay": 0.1, "momentum": 0.5}),
    "RMSprop": ({"momentum": 0.9}, {"lr": 0.002, "centered": True, "momentum": 0.0}),
    "Adagrad": ({"lr": 0.1}, {"lr_decay": 0.1, "initial_accumulator_value": 0.5}),
    "Adadelta": ({}, {"lr": 0.3, "rho": 0.5}),
    "Adam": ({"lr": 0.01}, {"lr": 0.02, "betas": (0.5, 0.9), "amsgrad": True}),
    "AdamW": ({"lr": 0.01}, {"lr": 0.02, "weight_decay": 0.5}),
    "Adamax": ({"lr": 0.01}, {"betas": (0.5, 0.9)}),
    "NAdam": ({"lr": 0.01}, {"momentum_decay": 0.1, "decoupled_weight_decay": True}),
    "RAdam": ({"lr": 0.01}, {"betas": (0.5, 0.9), "weight_decay": 0.5}),
    "Rprop": ({}, {"lr": 0.05, "etas": (0.3, 1.5)}),
}


def split(parameters, own):
    return [{"params": parameters[:1]}, {"params": parameters[1:], **own}]


@pytest.mark.parametrize("name", GROUPS)
def test_like_torchs_groups(name):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    defaults, own = GROUPS[name]
    x, y, weights = problem()
    parameters = parameters_of(weights)
    mine = getattr(optim, name)(split(parameters, own), **defaults)
    theirs = [torch.tensor(w, requires_grad=True) for w in weights]
    initial = own.get("initial_accumulator_value")  # PyTorch takes Adagrad's from the defaults
    other = getattr(torch.optim, name)(split(theirs, own), **defaults)
    if initial is not None:
        for p in theirs[1:]:
            other.state[p]["sum"].fill_(initial)
    for _ in range(20):
        trajectory(mine, parameters, x, y, 1)
        for p, t in zip(parameters, theirs, strict=True):
            t.grad = torch.tensor(p.grad.numpy())
        other.step()
        for p, t in zip(parameters, theirs, strict=True):
            np.testing.assert_allclose(p.data, t.detach().numpy(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("setting", SETTINGS)
def test_groups_of_one_are_no_different(setting):
    """A group for each parameter gives the bits of one group for all."""
    x, y, weights = problem()
    whole, parts = parameters_of(weights), parameters_of(weights)
    a = trajectory(make(setting, whole), whole, x, y, 10)
    b = trajectory(make(setting, [{"params": p} for p in parts]), parts, x, y, 10)
    assert a == b


def test_a_group_reads_what_it_does_not_have():
    x = parameters_of(problem()[2])
    optimizer = optim.Adam([{"params": x[:2]}, {"params": x[2:], "lr": 0.5}], lr=0.1)
    first, second = optimizer.param_groups
    assert (first["lr"], second["lr"], second["eps"]) == (0.1, 0.5, 1e-8)
    optimizer.lr, optimizer.eps = 0.2, 1e-3
    assert (first["lr"], second["lr"], second["eps"]) == (0.2, 0.5, 1e-3)
    first["betas"] = (0.5, 0.5)
    assert (optimizer.betas, second["betas"]) == ((0.9, 0.999), (0.9, 0.999))
    assert list(first) == ["params", *optimizer.hyper_parameters]
    assert first["params"] == x[:2]
    assert "groups=[2 parameters, betas=(0.5, 0.5); 2 parameters, lr=0.5]" in repr(optimizer)


def test_rates_of_groups():
    x = parameters_of(problem()[2])
    asked = []
    groups = [
        {"params": x[:1]},
        {"params": x[1:2], "lr": schedules.Step(1.0, 2)},
        {"params": x[2:], "lr": lambda step: asked.append(step) or 0.25},
    ]
    optimizer = optim.SGD(groups, lr=0.125)
    rows = optimizer.step_scalars(1, 3)[:, ::2]
    np.testing.assert_allclose(rows, [[0.125, 1, 0.25], [0.125, 0.1, 0.25], [0.125, 0.1, 0.25]])
    assert asked == [1, 2, 3]
    for p in x:
        p.data, p.grad = np.zeros(p.shape), Tensor(np.ones(p.shape))
    optimizer.step()
    assert [p.data.flat[0] for p in x] == [-0.125, -1, -0.25, -0.25]


DECAYING = [name for name in optim.OPTIMIZERS if hasattr(optim.get(name), "decay_bias_and_norm")]


@pytest.mark.parametrize("name", DECAYING)
def test_biases_and_norms_can_be_spared_weight_decay(name):
    make = optim.OPTIMIZERS[name]
    runs = {}
    for key, options in {
        "all": {"weight_decay": 0.25},
        "none": {"weight_decay": 0.0},
        "matrices": {"weight_decay": 0.25, "decay_bias_and_norm": False},
    }.items():
        parameters = [Parameter(np.full((3, 2), 2.0)), Parameter(np.full(2, 2.0))]
        optimizer = make(parameters, lr=0.1, **options)
        for _ in range(3):
            for p in parameters:
                p.grad = Tensor(np.full(p.shape, 0.01))
            optimizer.step()
        runs[key] = [p.data.copy() for p in parameters]
    np.testing.assert_array_equal(runs["matrices"][0], runs["all"][0])
    np.testing.assert_array_equal(runs["matrices"][1], runs["none"][1])
    assert (runs["all"][1] != runs["none"][1]).all() or name == "rprop"


def test_a_trainer_with_groups():
    """The compiled step gives the eager step's bits, each group by its own numbers."""
    x, y, weights = problem()
    results = []
    for compiled in (True, False):
        model = nn.Sequential(
            nn.Dense(3, 5, "tanh", dtype="float64"), nn.Dense(5, 2, dtype="float64")
        )
        parameters = list(model.parameters())
        for p, w in zip(parameters, weights, strict=True):
            p.data = w
        groups = [
            {"params": parameters[:2], "lr": schedules.Cosine(0.01, 12), "betas": (0.5, 0.9)},
            {"params": parameters[2:], "weight_decay": 0.3},
        ]
        optimizer = optim.AdamW(groups, lr=0.03, decay_bias_and_norm=False)
        trainer = fp.Trainer(model, "mse", optimizer, threads=1)
        if compiled:
            trainer.fit(x, y, epochs=12, batch_size=None, shuffle=False, verbose=False)
        else:
            for _ in range(12):
                optimizer.zero_grad()
                losses.mse(model(fp.tensor(x)), fp.tensor(y)).backward()
                optimizer.step()
        results.append([p.data.tobytes() for p in parameters])
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        ([{"lr": 0.1}], ValueError, r'params\[0\] needs the key "params", got \[\'lr\'\]'),
        ([{"params": []}], ValueError, r'got no parameters in params\[0\]\["params"\]'),
        ([{"params": 3}], TypeError, r'params\[0\]\["params"\] must be a list of Tensors, got int'),
        ([{"params": [3]}], TypeError, r'params\[0\]\["params"\]\[0\] must be a Tensor, got int'),
        ([{"params": "W"}, Parameter(np.ones(1))], TypeError, "must be a list of Tensors, got str"),
        (
            [{"params": [Parameter(np.ones(1))]}, Parameter(np.ones(1))],
            TypeError,
            r"params\[1\] must be a dict as the others, got Parameter",
        ),
        (
            [{"params": [Parameter(np.ones(1))], "momentum": 0.9}],
            ValueError,
            "Adam: unknown hyper-parameter 'momentum'. Known: amsgrad, betas",
        ),
        ([{"params": [Parameter(np.ones(1))], "lr": -1}], ValueError, "Adam: lr must be"),
    ],
)
def test_bad_groups(groups, error, message):
    with pytest.raises(error, match=message):
        optim.Adam(groups)


def test_a_parameter_in_two_groups_is_refused():
    p = Parameter(np.ones(1))
    with pytest.raises(ValueError, match=r'params\[1\]\["params"\]\[0\] .* is there twice'):
        optim.SGD([{"params": p}, {"params": [p]}])


def test_a_bad_assignment_to_a_group_changes_nothing():
    x = parameters_of(problem()[2])
    optimizer = optim.SGD([{"params": x[:1]}, {"params": x[1:], "momentum": 0.9}], momentum=0.5)
    second = optimizer.param_groups[1]
    for name, value in (("momentum", 1.0), ("lr", np.nan), ("nesterov", 1)):
        before = dict(second)
        with pytest.raises((ValueError, TypeError), match=f"SGD: {name} must be"):
            second[name] = value
        assert dict(second) == before
    optimizer.nesterov = True
    with pytest.raises(ValueError, match="nesterov needs momentum"):
        second["momentum"] = 0.0
    with pytest.raises(ValueError, match="unknown hyper-parameter 'params'"):
        second["params"] = []
    assert second["momentum"] == 0.9


def test_a_rate_of_zero_freezes_a_group():
    x, y, weights = problem()
    parameters = parameters_of(weights)
    trajectory(optim.Adam(split(parameters, {"lr": 0.0}), lr=0.01), parameters, x, y, 5)
    assert (parameters[0].data != weights[0]).all()
    for p, w in zip(parameters[1:], weights[1:], strict=True):
        np.testing.assert_array_equal(p.data, w)
