"""Two images through one network: it learns a plane where equal digits lie together.

Hadsell, Chopra & LeCun, "Dimensionality reduction by learning an invariant mapping", CVPR 2006.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

import fastprop as fp
from fastprop import functional as F
from fastprop import nn, optim

fp.seed(0)
rng = np.random.default_rng(0)
images, labels = load_digits(return_X_y=True)
images = (images / 16).astype(np.float32)
train, test = np.arange(1300), np.arange(1300, len(images))

tower = nn.Sequential(nn.Dense(64, 128, "relu"), nn.Dense(128, 64, "relu"), nn.Dense(64, 2))
optimizer = optim.Adam(tower.parameters(), lr=1e-3)


@fp.compile
def step(a, b, same):
    """Equal pairs attract, others keep a distance of 1; the tower's weights serve both sides."""
    distance = F.norm(tower(a) - tower(b) + 1e-6, axis=1, keepdims=True)
    loss = (same * distance**2 + (1 - same) * F.relu(1 - distance) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def pairs(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Half of them of one digit."""
    first = rng.choice(train, count)
    second = rng.choice(train, count)
    for i in range(0, count, 2):
        second[i] = rng.choice(train[labels[train] == labels[first[i]]])
    same = (labels[first] == labels[second]).astype(np.float32)[:, None]
    return images[first], images[second], same


def nearest_is_right() -> float:
    """Share of the test images whose nearest training image in the plane is of their digit."""
    known, new = tower(images[train]).numpy(), tower(images[test]).numpy()
    nearest = np.linalg.norm(new[:, None] - known, axis=2).argmin(axis=1)
    return float((labels[train][nearest] == labels[test]).mean())


print(f"before: {nearest_is_right():.0%} of the test images lie next to their digit")
for number in range(1, 601):
    loss = step(*pairs(128))
    if number % 200 == 0:
        print(f"step {number:4}: loss {loss:.4f}, {nearest_is_right():.0%} lie next to their digit")
