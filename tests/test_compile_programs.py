"""fp.compile on training steps as people write them, compared with the same step without it."""

from __future__ import annotations

import numpy as np
import pytest
from training import assert_same, network, training_step, weights

import fastprop as fp
from fastprop import functional as F
from fastprop import losses, nn, optim

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 4)).astype(np.float32)
Y = np.sin(X[:, :1])


def gan(threads: int | None):
    """A generator and a discriminator, and the step that trains both."""
    fp.seed(3)
    g = nn.Sequential(nn.Dense(2, 8, "relu"), nn.Dense(8, 4))
    d = nn.Sequential(nn.Dense(4, 8, "leaky_relu"), nn.Dense(8, 1))
    g_opt, d_opt = optim.Adam(g.parameters(), lr=1e-2), optim.Adam(d.parameters(), lr=1e-2)

    def step(real, noise):
        fake = g(noise)
        d_loss = F.softplus(-d(real)).mean() + F.softplus(d(fake.detach())).mean()
        d_opt.zero_grad()
        d_loss.backward()
        d_opt.step()
        g_loss = F.softplus(-d(fake)).mean()  # by the discriminator as it is now
        g_opt.zero_grad()
        g_loss.backward()
        g_opt.step()
        return d_loss, g_loss

    return g, d, step if threads is None else fp.compile(step, threads=threads)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_gan_step(threads: int) -> None:
    noise = rng.normal(size=(40, 2)).astype(np.float32)
    runs = []
    for choice in (None, threads):
        g, d, step = gan(choice)
        found = [step(fp.tensor(X[:n]), fp.tensor(noise[:n])) for n in (40, 40, 11, 40)]
        runs.append([*(t.data for pair in found for t in pair), *weights(g, d)])
    for a, b in zip(*runs, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-7)


def test_a_pinn_step() -> None:
    def make(compiled: bool):
        fp.seed(1)
        net = nn.Sequential(nn.Dense(2, 9, "tanh"), nn.Dense(9, 9, "tanh"), nn.Dense(9, 1))
        optimizer = optim.Adam(net.parameters(), lr=1e-2)

        def step(inside, edge, values):
            u = net(inside)
            first = fp.grad(u.sum(), inside, create_graph=True)
            u_x, u_t = first[:, 0:1], first[:, 1:2]
            u_xx = fp.grad(u_x.sum(), inside, create_graph=True)[:, 0:1]
            residual = u_t + u * u_x - 0.01 * u_xx
            loss = (residual**2).mean() + ((net(edge) - values) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        return net, fp.compile(step) if compiled else step

    inside, edge = X[:, :2], X[:7, 2:]
    results = []
    for compiled in (False, True):
        net, step = make(compiled)
        x = fp.tensor(inside, requires_grad=True)
        found = [step(x, fp.tensor(edge), fp.tensor(Y[:7])).item() for _ in range(5)]
        results.append([np.array(found), *weights(net)])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_policy_gradient_step() -> None:
    def make(compiled: bool):
        fp.seed(2)
        policy = nn.Sequential(nn.Dense(4, 8, "tanh"), nn.Dense(8, 3))
        optimizer = optim.Adam(policy.parameters(), lr=1e-2)

        def step(states, actions, returns):
            chosen = F.gather(F.log_softmax(policy(states)), 1, actions)
            loss = -(chosen * returns).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        return policy, fp.compile(step) if compiled else step

    actions = rng.integers(0, 3, (40, 1))
    results = []
    for compiled in (False, True):
        policy, step = make(compiled)
        for n in (40, 13, 40):
            step(fp.tensor(X[:n]), fp.tensor(actions[:n]), fp.tensor(Y[:n]))
        results.append(weights(policy))
    assert_same(*results)


def test_a_siamese_net() -> None:
    def make(compiled: bool):
        fp.seed(4)
        tower = nn.Sequential(nn.Dense(4, 8, "relu"), nn.Dense(8, 3))
        optimizer = optim.SGD(tower.parameters(), lr=0.1)

        def step(a, b, same):
            distance = F.norm(tower(a) - tower(b) + 1e-6, axis=1, keepdims=True)
            apart = F.relu(1.0 - distance) ** 2
            loss = (same * distance**2 + (1.0 - same) * apart).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        return tower, fp.compile(step) if compiled else step

    same = (rng.random((40, 1)) < 0.5).astype(np.float32)
    results = []
    for compiled in (False, True):
        tower, step = make(compiled)
        for n in (40, 13, 40):
            step(fp.tensor(X[:n]), fp.tensor(X[::-1][:n].copy()), fp.tensor(same[:n]))
        results.append(weights(tower))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_an_optimizer_that_steps_twice() -> None:
    def make(compiled: bool):
        model = network(4, 9, 1)
        optimizer = optim.Adam(model.parameters(), lr=1e-2)
        step = training_step(model, optimizer)

        def twice(x, y):
            return step(x, y), step(x, y)

        return model, optimizer, fp.compile(twice) if compiled else twice

    results = []
    for compiled in (False, True):
        model, optimizer, twice = make(compiled)
        for _ in range(3):
            twice(fp.tensor(X), fp.tensor(Y))
        assert optimizer.steps == 6
        results.append(weights(model))
    assert_same(*results)


def test_cross_entropy_with_class_numbers() -> None:
    def make(compiled: bool):
        fp.seed(0)
        model = nn.Dense(4, 3)
        optimizer = optim.SGD(model.parameters(), lr=0.1)

        def step(x, labels):
            loss = losses.cross_entropy(model(x), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        return model, fp.compile(step) if compiled else step

    labels = rng.integers(0, 3, 40)
    results = []
    for compiled in (False, True):
        model, step = make(compiled)
        for n in (40, 13):
            step(fp.tensor(X[:n]), fp.tensor(labels[:n]))
        results.append(weights(model))
    assert_same(*results)
