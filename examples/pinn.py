"""A physics-informed network solves Burgers' equation from its derivatives alone.

u_t + u u_x = 0.1 u_xx on [-1, 1] x [0, 1], u(x, 0) = -sin(pi x), u(-1, t) = u(1, t) = 0.
The loss holds second derivatives of the network; the whole step is one Program.

Raissi, Perdikaris & Karniadakis, "Physics-informed neural networks", J. Comp. Physics 2019.
"""

from __future__ import annotations

import time

import numpy as np

import fastprop as fp
from fastprop import nn, optim

STEPS = 1200
VISCOSITY = 0.1

fp.seed(0)
rng = np.random.default_rng(0)
network = nn.Sequential(
    nn.Dense(2, 20, "tanh"), *[nn.Dense(20, 20, "tanh") for _ in range(2)], nn.Dense(20, 1)
)
optimizer = optim.Adam(network.parameters(), lr=optim.schedules.Cosine(1e-2, STEPS))


@fp.compile
def step(inside, edge, values):
    inside.requires_grad_()
    u = network(inside)
    first = fp.grad(u.sum(), inside, create_graph=True)
    u_x, u_t = first[:, 0:1], first[:, 1:2]
    u_xx = fp.grad(u_x.sum(), inside, create_graph=True)[:, 0:1]
    residual = u_t + u * u_x - VISCOSITY * u_xx
    loss = (residual**2).mean() + ((network(edge) - values) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def points(count: int) -> np.ndarray:
    """(x, t) inside of the domain."""
    return rng.uniform((-1, 0), (1, 1), (count, 2)).astype(np.float32)


def exact(x: np.ndarray, t: float) -> np.ndarray:
    """Cole's and Hopf's solution, by Gauss-Hermite quadrature."""
    z, w = np.polynomial.hermite.hermgauss(100)
    y = x[:, None] - 2 * np.sqrt(VISCOSITY * t) * z
    weight = w * np.exp(-np.cos(np.pi * y) / (2 * np.pi * VISCOSITY))
    return -(weight * np.sin(np.pi * y)).sum(1) / weight.sum(1)


start = np.stack([np.linspace(-1, 1, 100), np.zeros(100)], axis=1)
sides = np.stack([np.tile([-1.0, 1.0], 50), np.linspace(0, 1, 100)], axis=1)
edge = np.concatenate([start, sides]).astype(np.float32)
values = np.concatenate([-np.sin(np.pi * start[:, :1]), np.zeros((100, 1))]).astype(np.float32)

inside = points(1000)
began = time.perf_counter()
for number in range(STEPS + 1):
    loss = step(inside, edge, values)
    if number % 300 == 0:
        print(f"step {number:5}: loss {loss:.2e}")
print(f"{STEPS / (time.perf_counter() - began):.0f} steps a second")

x = np.linspace(-1, 1, 201)
for t in (0.25, 0.5, 0.75):
    found = network(np.stack([x, np.full_like(x, t)], axis=1).astype(np.float32)).numpy()[:, 0]
    wanted = exact(x, t)
    error = np.linalg.norm(found - wanted) / np.linalg.norm(wanted)
    print(f"t = {t}: relative error {error:.1%}")
