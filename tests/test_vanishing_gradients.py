"""The cure for vanishing gradients that examples/vanishing_gradients.py shows, in numbers."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

import fastprop as fp

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "vanishing_gradients.py"


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLE))


def test_the_gradient_vanishes_in_sigmoids(example: dict[str, Any]) -> None:
    """A sigmoid's slope is 1/4 at most, so thirty of them leave less than 4**-30 of it."""
    x, y = example["spirals"]()
    fp.seed(0)
    model = example["sigmoid_network"]()
    norms = example["gradient_norms"](model, x, y)
    assert len(norms) == 31
    assert norms[0] < 1e-15 * norms[-1]
    history = example["learn"](model, x, y, 6)
    assert history["loss"][-1] > 0.68  # log 2 is what a coin has
    assert history["accuracy"][-1] < 0.6


def test_normalized_relu_layers_learn(example: dict[str, Any]) -> None:
    x, y = example["spirals"]()
    fp.seed(0)
    model = example["normalized_network"]()
    norms = example["gradient_norms"](model, x, y)
    assert max(norms) < 1e3 * min(norms)
    history = example["learn"](model, x, y, 25)
    assert history["accuracy"][-1] > 0.9
