"""Eager mode in one thread: the overhead of single ops, with a gradient, and whole training steps.

Steps come in three ways: eager; with a compiled forward pass, and loss and update outside; and
compiled as a whole; ``Trainer.train_step`` beside them.

python -m benchmarks.python.eager
python -m benchmarks.python.eager --threads 2 --json eager.json

Operands are so small that an op's own work hardly counts. "With gradient" is a call with its
history and its part of a backward pass: both together, less a pass without an op. PyTorch does the
same beside it where it is installed, in alternating rounds; the figure is the least mean time of a
call over the rounds, which are short and many, so that all find a fast moment of the machine. For
steps it is the median.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import fastprop as fp
from fastprop import _core, nn, optim
from fastprop import functional as F

from .eager_ops import Call, backward_call, empty_pass, own_calls, torch_calls

_LIMIT = 3.0
"""Microseconds that an op should take at most, its part of a backward pass included."""
STEPS = {"tiny": ((4, 64, 64, 1), 32), "mnist": ((784, 512, 512, 10), 128)}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.python.eager",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=100, help="default %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="of large ops, default %(default)s")
    parser.add_argument("--only", default="", help="only ops with this in their name; no steps")
    parser.add_argument("--json", type=Path, help="write the figures")
    options = parser.parse_args(argv)
    for name in ("rounds", "threads"):
        if getattr(options, name) < 1:
            parser.error(f"--{name}: at least 1")
    # 0: as many as an op's shapes are worth, of those that the process may use.
    _core.set_eager_threads(1 if options.threads == 1 else 0)
    torch = _torch(options.threads)
    figures = ops(torch, options.rounds, options.only)
    if not options.only:
        figures.update(steps(torch, max(1, options.rounds // 4)))
    width = max(map(len, figures))
    for name, row in figures.items():
        print(f"{name:<{width}}  " + "  ".join(f"{who} {value:8.2f}" for who, value in row.items()))
    slow = [name for name, row in figures.items() if "step" not in name and _of_op(row) > _LIMIT]
    print(f"\nAbove {_LIMIT:g} µs: {', '.join(slow) or 'none'}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def _of_op(row: dict[str, float]) -> float:
    return max(row["fastprop"], row.get("fastprop with gradient", 0.0))


def _torch(threads: int) -> Any:
    try:
        torch: Any = importlib.import_module("torch")
    except ImportError:
        return None
    torch.set_num_threads(threads)
    return torch


# -- single ops ------------------------------------------------------------------------------------


def ops(torch: Any, rounds: int, named: str) -> dict[str, dict[str, float]]:
    """Microseconds of each op and its history, and of the op with its part of a backward pass.

    That part is what a pass takes longer than one from a leaf, in which there is no op.
    """
    found = {"fastprop": own_calls()}
    if torch is not None:
        found["PyTorch"] = torch_calls(torch)
    calls: dict[tuple[str, str], Call] = {}
    for who, library in found.items():
        calls[_EMPTY, who] = empty_pass(library.leaves)
        for name, call in library.of_ops.items():
            if named in name:
                calls[name, who] = call
                both = backward_call(call, library.leaves)
                if both is not None:
                    calls[name + _BACK, who] = both
    # In the order of the names, the libraries side by side.
    measured = _measured(dict(sorted(calls.items(), key=_place(calls))), 50, rounds, min, " µs")
    empty = measured.pop(_EMPTY + " µs")
    passes = {n: measured.pop(n) for n in list(measured) if n.endswith(_BACK + " µs")}
    for name, row in passes.items():
        figures = measured[name.replace(_BACK, "")]
        whole = {who: round(row[who] - empty[who], 2) for who in found if who in row}
        figures.update({f"{who} with gradient": value for who, value in whole.items()})
        if "PyTorch" in whole and whole["fastprop"] > 0.0:  # a difference: noise may exceed it
            figures["ratio with gradient"] = round(whole["PyTorch"] / whole["fastprop"], 2)
    return measured


_EMPTY = "a pass without an op"
_BACK = " and a pass back"


def _place(calls: dict[tuple[str, str], Call]) -> Callable[[Any], int]:
    """Sorts by the first place of a name."""
    first: dict[str, int] = {}
    for name, _ in calls:
        first.setdefault(name, len(first))
    return lambda item: first[item[0][0]]


# -- training steps --------------------------------------------------------------------------------


def steps(torch: Any, rounds: int) -> dict[str, dict[str, float]]:
    """Microseconds of zero_grad, forward, loss, backward, Adam's step and loss.item()."""
    calls: dict[tuple[str, str], Call] = {}
    for name, (widths, rows) in STEPS.items():
        rng = np.random.default_rng(0)
        x = rng.standard_normal((rows, widths[0]), dtype=np.float32)
        y: Any = rng.standard_normal((rows, 1), dtype=np.float32)
        if widths[-1] > 1:
            y = rng.integers(0, widths[-1], rows)
        for how in ("", ", forward compiled", ", all compiled"):
            calls[f"step of {name}{how}", "fastprop"] = _own_step(widths, x, y, how)
        calls[f"step of {name}, train_step", "fastprop"] = _trainer_step(widths, x, y)
        if torch is not None:
            calls[f"step of {name}", "PyTorch"] = _torch_step(torch, widths, x, y)
    return _measured(calls, 20, rounds, statistics.median, " µs")


def _own_model(widths: tuple[int, ...]) -> nn.Sequential:
    layers = [nn.Dense(i, o, "relu") for i, o in pairwise(widths[:-1])]
    return nn.Sequential(*layers, nn.Dense(*widths[-2:]))


def _own_step(widths: tuple[int, ...], x: np.ndarray, y: np.ndarray, how: str) -> Call:
    model = _own_model(widths)
    optimizer = optim.Adam(model.parameters())
    rows, targets = fp.tensor(x), fp.tensor(y)
    forward = fp.compile(model, threads=1) if "forward" in how else model

    def step(rows: fp.Tensor, targets: fp.Tensor) -> fp.Tensor:
        optimizer.zero_grad()
        out = forward(rows)
        loss = (
            F.cross_entropy_rows(out, targets).mean()
            if y.dtype.kind == "i"
            else ((out - targets) ** 2).mean()
        )
        loss.backward()
        optimizer.step()
        return loss  # type: ignore[no-any-return]

    whole = fp.compile(step, threads=1) if "all" in how else step
    return lambda: whole(rows, targets).item()


def _trainer_step(widths: tuple[int, ...], x: np.ndarray, y: np.ndarray) -> Call:
    loss = "cross_entropy" if y.dtype.kind == "i" else "mse"
    trainer = fp.Trainer(_own_model(widths), loss, optim.Adam(), threads=1)
    return lambda: trainer.train_step(x, y)


def _torch_step(torch: Any, widths: tuple[int, ...], x: np.ndarray, y: np.ndarray) -> Call:
    layers: list[Any] = []
    for i, o in pairwise(widths):
        layers += [torch.nn.Linear(i, o), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    rows, targets = torch.tensor(x), torch.tensor(y)

    def step() -> float:
        optimizer.zero_grad()
        out = model(rows)
        loss = (
            torch.nn.functional.cross_entropy(out, targets)
            if y.dtype.kind == "i"
            else ((out - targets) ** 2).mean()
        )
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


def _measured(
    calls: dict[tuple[str, str], Call],
    block: int,
    rounds: int,
    summary: Callable[[list[float]], float],
    unit: str,
) -> dict[str, dict[str, float]]:
    times: dict[tuple[str, str], list[float]] = {key: [] for key in calls}
    for _ in range(rounds + 1):
        for key, call in calls.items():
            start = time.perf_counter()
            for _ in range(block):
                call()
            times[key].append(1e6 * (time.perf_counter() - start) / block)
    figures: dict[str, dict[str, float]] = {}
    for (name, who), found in times.items():
        figures.setdefault(name + unit, {})[who] = round(summary(found[1:]), 2)
    for row in figures.values():
        if "PyTorch" in row:
            row["ratio"] = round(row["PyTorch"] / row["fastprop"], 2)
    return figures


if __name__ == "__main__":
    sys.exit(main())
