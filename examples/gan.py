"""A generative adversarial network learns a ring of eight Gaussians; both updates in one Program.

Goodfellow et al., "Generative adversarial nets", NeurIPS 2014.
"""

from __future__ import annotations

import numpy as np

import fastprop as fp
from fastprop import functional as F
from fastprop import nn, optim

CENTERS = 2 * np.stack([(np.cos(a), np.sin(a)) for a in 2 * np.pi * np.arange(8) / 8])

fp.seed(0)
rng = np.random.default_rng(0)
generator = nn.Sequential(nn.Dense(8, 64, "relu"), nn.Dense(64, 64, "relu"), nn.Dense(64, 2))
critic = nn.Sequential(
    nn.Dense(2, 64, "leaky_relu"), nn.Dense(64, 64, "leaky_relu"), nn.Dense(64, 1)
)
g_optimizer = optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.999))
c_optimizer = optim.Adam(critic.parameters(), lr=1e-3, betas=(0.5, 0.999))


@fp.compile
def step(real, noise):
    """One update of the critic, then one of the generator against the critic as it is now."""
    fake = generator(noise)
    c_loss = F.softplus(-critic(real)).mean() + F.softplus(critic(fake.detach())).mean()
    c_optimizer.zero_grad()
    c_loss.backward()
    c_optimizer.step()
    g_loss = F.softplus(-critic(fake)).mean()
    g_optimizer.zero_grad()
    g_loss.backward()
    g_optimizer.step()
    return c_loss, g_loss


def ring(count: int) -> np.ndarray:
    chosen = CENTERS[rng.integers(0, 8, count)]
    return (chosen + 0.1 * rng.normal(size=(count, 2))).astype(np.float32)


def noise(count: int) -> np.ndarray:
    return rng.normal(size=(count, 8)).astype(np.float32)


for number in range(3001):
    c_loss, g_loss = step(ring(256), noise(256))
    if number % 1000 == 0:
        made = generator(noise(2000)).numpy()
        distance = np.linalg.norm(made[:, None] - CENTERS, axis=2)
        near = distance.min(axis=1) < 0.4
        modes = len(np.unique(distance[near].argmin(axis=1))) if near.any() else 0
        print(
            f"step {number:4}: critic {c_loss:.3f}, generator {g_loss:.3f}; "
            f"{near.mean():4.0%} of the points are on the ring, in {modes} of its 8 Gaussians"
        )
