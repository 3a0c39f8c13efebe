"""The example of a graph that follows its data: other trees are other graphs, and it learns."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

import fastprop as fp

EXAMPLE = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "tree_network.py"))


def test_each_tree_has_a_graph_of_its_own() -> None:
    model, parse = EXAMPLE["TreeNetwork"](), EXAMPLE["parse"]
    trees = ["7", "(1 + 2)", "(1 + (2 - 3))", "((1 * 2) - (3 + 4))"]
    together = model([parse(t) for t in trees])
    alone = [model([parse(t)]).item() for t in trees]
    np.testing.assert_allclose(together.data, alone, rtol=1e-12)
    model([parse(trees[1])]).sum().backward()
    used = np.any(model.digits.grad.data != 0, axis=1)
    np.testing.assert_array_equal(np.flatnonzero(used), [1, 2])  # the digits of this tree


def test_it_learns(capsys: pytest.CaptureFixture[str]) -> None:
    fp.seed(0)
    EXAMPLE["main"](steps=300)
    text = capsys.readouterr().out
    errors = [float(e) for e in re.findall(r"off by about ([\d.]+)", text)]
    assert len(errors) == 5
    assert min(errors[-2:]) < 0.6 * errors[0]
    assert len(re.findall(r"^ +\(?.*  +-?\d+ +-?\d+\.\d$", text, re.MULTILINE)) == 8
