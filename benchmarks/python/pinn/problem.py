"""Burgers' equation, u_t + u u_x = (0.01 / pi) u_xx: the points, and the first weights."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

WIDTHS = (2, *[20] * 8, 1)
VISCOSITY = 0.01 / np.pi
LEARNING_RATE = 1e-3
STEPS = 5  # of a turn

Layers = list[tuple[np.ndarray, np.ndarray]]


def points(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(x, t) inside of the domain, on its edge, and u there; float32."""
    rng = np.random.default_rng(0)
    inside = rng.uniform((-1, 0), (1, 1), (count, 2))
    edge = np.concatenate(
        [
            np.stack([rng.uniform(-1, 1, 100), np.zeros(100)], axis=1),
            np.stack([rng.choice([-1.0, 1.0], 100), rng.uniform(0, 1, 100)], axis=1),
        ]
    )
    values = -np.sin(np.pi * edge[:, :1]) * (edge[:, 1:] == 0)
    return inside.astype("f"), edge.astype("f"), values.astype("f")


def weights() -> Layers:
    """Xavier's, for every contestant the same; W is [in, out]."""
    rng = np.random.default_rng(1)
    layers = []
    for i, o in pairwise(WIDTHS):
        spread = np.sqrt(6 / (i + o))
        layers.append((rng.uniform(-spread, spread, (i, o)).astype("f"), np.zeros(o, "f")))
    return layers
