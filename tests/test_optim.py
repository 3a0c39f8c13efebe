"""Optimizers in general: binding, rates, the numbers of a step. What each of them computes is in
test_optim_trajectories.py."""

import math

import numpy as np
import pytest

from fastprop import Parameter, Tensor, nn, optim, tensor
from fastprop import functional as F


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
        ("RAdam", {"lr": 0.1}),
        ("Adagrad", {"lr": 0.1, "lr_decay": 0.1}),
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


def test_get():
    assert isinstance(optim.get("adamw"), optim.AdamW)
    given = optim.SGD(lr=0.1)
    assert optim.get(given) is given
    assert repr(given) == (
        "SGD(lr=0.1, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False)"
    )


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


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam, optim.AdamW, optim.NAdam, optim.RAdam])
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
