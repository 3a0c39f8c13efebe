"""An optimizer's state is saved and loaded, and runs go on from it bit by bit."""

import json

import numpy as np
import pytest
from optim_cases import SETTINGS, make, parameters_of, problem, trajectory

from fastprop import Parameter, optim
from fastprop.graph.storage import flat_views
from fastprop.optim import schedules


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_saved_run_continues(setting):
    x, y, weights = problem()
    whole = parameters_of(weights)
    straight = trajectory(make(setting, whole), whole, x, y, 10)

    first = parameters_of(weights)
    optimizer = make(setting, first)
    halves = trajectory(optimizer, first, x, y, 5)
    saved, at = optimizer.state_dict(), [p.data.copy() for p in first]
    trajectory(optimizer, first, x, y, 2)  # must not reach into what was saved

    second = parameters_of(at)
    resumed = type(optimizer)(second)
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


def test_what_is_saved_can_be_written_as_json_and_arrays():
    parameters = parameters_of(problem()[2])
    optimizer = optim.AdamW([{"params": parameters[:1], "lr": 0.5}, {"params": parameters[1:]}])
    saved = optimizer.state_dict()
    text = json.dumps({key: value for key, value in saved.items() if key != "state"})
    optimizer.lr, optimizer.betas = 0.25, (0.5, 0.5)
    optimizer.param_groups[0]["lr"] = 0.125
    optimizer.load_state_dict({**json.loads(text), "state": saved["state"]})
    assert (optimizer.lr, optimizer.betas) == (1e-3, (0.9, 0.999))
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert optimizer.param_groups[1].own == {}


def test_a_schedule_of_a_group_stays():
    def fresh():
        x = parameters_of(problem()[2])
        groups = [{"params": x[:1], "lr": schedules.Step(0.1, 2)}, {"params": x[1:], "eps": 1e-3}]
        return optim.Adam(groups)

    saved, other = fresh().state_dict(), fresh()
    assert saved["param_groups"] == [{"params": [0]}, {"params": [1, 2, 3], "eps": 1e-3}]
    other.load_state_dict(saved)
    assert other.param_groups[0]["lr"] == schedules.Step(0.1, 2)


def test_late_momentum_is_loaded():
    x = Parameter(np.zeros(2))
    optimizer = optim.SGD([x])
    saved = optim.SGD([Parameter(np.zeros(2))], momentum=0.9).state_dict()
    saved["state"]["momentum_buffer"][0][...] = 3
    optimizer.load_state_dict(saved)
    assert optimizer.momentum == 0.9
    assert optimizer.state["momentum_buffer"][0].tolist() == [3, 3]


def test_groups_of_other_sizes_are_refused():
    x = parameters_of(problem()[2])
    optimizer = optim.Adam([{"params": x[:1]}, {"params": x[1:]}])
    for other in ([{"params": x[:2]}, {"params": x[2:]}], x, [{"params": x}]):
        saved = optim.Adam(other).state_dict()
        with pytest.raises(ValueError, match=r"the optimizer has \[1, 3\]"):
            optimizer.load_state_dict(saved)
    saved = optim.Adam(x[:3]).state_dict()
    with pytest.raises(ValueError, match=r"groups of \[3\] parameters, the optimizer has \[4\]"):
        optim.Adam(x).load_state_dict(saved)


def test_groups_are_made_as_they_were_saved():
    """Where the optimizer has no groups of its own, as after a checkpoint was read."""
    runs = []
    for cut in (False, True):
        x, y, weights = problem()
        parameters = parameters_of(weights)
        groups = [{"params": parameters[:1], "lr": 0.5}, {"params": parameters[1:], "eps": 1e-3}]
        optimizer = optim.Adam(groups, lr=0.01)
        trajectory(optimizer, parameters, x, y, 3)
        if cut:
            saved, optimizer = optimizer.state_dict(), optim.Adam(parameters)
            optimizer.load_state_dict(saved)
            assert [dict(g.own) for g in optimizer.param_groups] == [{"lr": 0.5}, {"eps": 1e-3}]
        runs.append(trajectory(optimizer, parameters, x, y, 3))
    assert runs[0] == runs[1]


@pytest.mark.parametrize("shape", [(3,), (600, 1000)])  # of small pages, and of huge ones
def test_state_is_zeros_one_behind_the_other_on_cache_lines(shape):
    like = [np.ones(shape, np.float32), np.ones((), np.float64), np.ones((0, 2), np.float32)]
    views = flat_views([*like, *like])
    ends = 0
    for view, array in zip(views, [*like, *like], strict=True):
        assert (view.shape, view.dtype) == (array.shape, array.dtype)
        assert not view.any()
        begins = view.__array_interface__["data"][0]
        assert begins % 64 == 0
        assert begins >= ends
        ends = begins + view.nbytes
    views[0][...] = 1
    assert not any(view.any() for view in views[1:])
