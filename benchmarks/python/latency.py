"""Latency of calls from Python, in one thread: predict, train_step, the start of fit, short epochs.

python -m benchmarks.python.latency
python -m benchmarks.python.latency --json latency.json

PyTorch and scikit-learn do the same beside it where they are installed, with the same weights, and
their outputs are compared first. In every round each gets its turn; the figure is the median over
the rounds of the mean time of a call.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import fastprop as fp
from fastprop import nn, optim
from fastprop.graph.program import Program

WIDTHS = (64, 128, 64, 10)
ROWS = 32
TINY = (4, 64, 64, 1)
DEEP = (64,) * 50 + (10,)
STARTS = {  # widths and threads
    "tiny": (TINY, 1),
    "small": (WIDTHS, 1),
    "mnist": ((784, 512, 512, 10), 1),
    "50 layers": (DEEP, 1),
    "50 layers, 2 threads": (DEEP, 2),
}
Call = Callable[[], Any]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.python.latency",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=15, help="default %(default)s")
    parser.add_argument("--json", type=Path, help="write the figures")
    options = parser.parse_args(argv)
    if options.rounds < 1:
        parser.error("--rounds: at least 1")
    figures = {**starts(options.rounds), **calls(options.rounds), **epochs(options.rounds)}
    width = max(map(len, figures))
    for name, value in figures.items():
        print(f"{name:<{width}}  {value:g}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


# -- single calls ----------------------------------------------------------------------------------


def calls(rounds: int) -> dict[str, float]:
    """Microseconds of ``predict`` and ``train_step``, and of a step inside ``fit``."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, WIDTHS[0]), dtype=np.float32)
    y = rng.integers(0, WIDTHS[-1], ROWS)
    model = network(WIDTHS)
    trainer = fp.Trainer(model, "cross_entropy", optim.Adam(), threads=1)
    expected = trainer.predict(x)
    peers = {name: made for name, make in PEERS.items() if (made := make(model, x, y, expected))}
    many = 128
    xs, ys = np.tile(x, (many, 1)), np.tile(y, many)
    row = x[:1]
    timed: dict[str, tuple[Call, int, int]] = {
        "predict of 1 row, µs": (lambda: trainer.predict(row), 2000, 1),
        "predict of 32 rows, µs": (lambda: trainer.predict(x), 500, 1),
        "train_step of 32 rows, µs": (lambda: trainer.train_step(x, y), 200, 1),
        "the same step inside fit, µs": (
            lambda: trainer.fit(xs, ys, batch_size=ROWS, verbose=False), 2, many,
        ),
    }  # fmt: skip
    for name, functions in peers.items():
        for what, function in functions.items():
            timed[f"{name}: {what}, µs"] = (function, 200, 1)
    return medians(timed, rounds)


def medians(timed: dict[str, tuple[Call, int, int]], rounds: int) -> dict[str, float]:
    """Microseconds a call, from (function, calls in a block, calls that one of them counts for)."""
    times: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(rounds + 1):
        for name, (function, block, each) in timed.items():
            start = time.perf_counter()
            for _ in range(block):
                function()
            times[name].append(1e6 * (time.perf_counter() - start) / (block * each))
    return {name: round(statistics.median(found[1:]), 2) for name, found in times.items()}


def torch_calls(
    model: nn.Module, x: np.ndarray, y: np.ndarray, expected: np.ndarray
) -> dict[str, Call] | None:
    """The same network in PyTorch, eager."""
    try:
        torch: Any = importlib.import_module("torch")
    except ImportError:
        return None
    torch.set_num_threads(1)
    layers: list[Any] = []
    weights = list(model.state_dict().values())
    for w, b in zip(weights[::2], weights[1::2], strict=True):
        layer = torch.nn.Linear(*w.shape)
        layer.weight.data, layer.bias.data = torch.tensor(w.T.copy()), torch.tensor(b)
        layers += [layer, torch.nn.ReLU()]
    peer = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(peer.parameters(), fused=True)
    rows, labels, row = torch.tensor(x), torch.tensor(y), torch.tensor(x[:1])

    def predict(batch: Any) -> Any:
        with torch.inference_mode():
            return peer(batch)

    def train_step() -> Any:
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(peer(rows), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    agree("PyTorch", predict(rows).numpy(), expected)
    return {
        "predict of 1 row": lambda: predict(row),
        "predict of 32 rows": lambda: predict(rows),
        "train_step of 32 rows": train_step,
    }


def sklearn_calls(
    model: nn.Module, x: np.ndarray, y: np.ndarray, expected: np.ndarray
) -> dict[str, Call] | None:
    """The same network in scikit-learn's MLPClassifier; its predictions are probabilities."""
    try:
        neural: Any = importlib.import_module("sklearn.neural_network")
    except ImportError:
        return None
    peer = neural.MLPClassifier(WIDTHS[1:-1], batch_size=ROWS)
    peer.partial_fit(x, y, classes=np.arange(WIDTHS[-1]))
    weights = list(model.state_dict().values())
    peer.coefs_, peer.intercepts_ = weights[::2], weights[1::2]
    shifted = np.exp(expected - expected.max(axis=1, keepdims=True))
    agree("scikit-learn", peer.predict_proba(x), shifted / shifted.sum(axis=1, keepdims=True))
    row = x[:1]
    return {
        "predict of 1 row": lambda: peer.predict_proba(row),
        "predict of 32 rows": lambda: peer.predict_proba(x),
        "train_step of 32 rows": lambda: peer.partial_fit(x, y),
    }


PEERS = {"PyTorch": torch_calls, "scikit-learn": sklearn_calls}


def agree(name: str, found: np.ndarray, expected: np.ndarray) -> None:
    error = float(np.abs(found - expected).max())
    if not error < 1e-4:
        raise SystemExit(f"{name} and fastprop differ by {error:.2g}; nothing was timed")


# -- the start of fit ------------------------------------------------------------------------------


class _FirstStep(Exception):
    """Raised in the place of the first step."""


@contextmanager
def stopped_at_the_first_step() -> Iterator[None]:
    """Inside the block ``fit`` ends where its first step would begin."""
    run = Program.run

    def stop(*arguments: Any, **options: Any) -> Any:
        raise _FirstStep

    Program.run = stop  # type: ignore[method-assign]
    try:
        yield
    finally:
        Program.run = run  # type: ignore[method-assign]


def starts(rounds: int) -> dict[str, float]:
    """Milliseconds from the call of ``fit`` on a new Trainer to its first step.

    The first layer is of another width in every round, as equal models share what was planned.
    """
    rng = np.random.default_rng(0)
    figures = {}
    times: dict[str, list[float]] = {name: [] for name in STARTS}
    for number in range(rounds + 1):
        for name, (usual, threads) in STARTS.items():
            widths = (usual[0], usual[1] + number, *usual[2:])
            x = rng.standard_normal((256, widths[0]), dtype=np.float32)
            single = widths[-1] == 1
            y = x[:, :1].copy() if single else rng.integers(0, widths[-1], 256)
            loss = "mse" if single else "cross_entropy"
            trainer = fp.Trainer(network(widths), loss, optim.Adam(), threads=threads)
            with stopped_at_the_first_step():
                start = time.perf_counter()
                try:
                    trainer.fit(x, y, verbose=False)
                except _FirstStep:
                    times[name].append(1e3 * (time.perf_counter() - start))
    for name, found in times.items():
        figures[f"fit to its first step, {name}, ms"] = round(statistics.median(found[1:]), 2)
    first = next(iter(STARTS))
    figures[f"fit to its first step, {first}, first in the process, ms"] = round(times[first][0], 2)
    return figures


# -- short epochs ----------------------------------------------------------------------------------


def epochs(rounds: int) -> dict[str, float]:
    """Microseconds of an epoch of one step, and of such a step inside a long epoch."""
    widths = TINY
    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, widths[0]), dtype=np.float32)
    y = rng.standard_normal((ROWS, 1), dtype=np.float32)
    many = 1000
    xs, ys = np.tile(x, (many, 1)), np.tile(y, (many, 1))
    trainer = fp.Trainer(network(widths), "mse", optim.Adam(), threads=1)
    return medians(
        {
            "epoch of one step, tiny, µs": (
                lambda: trainer.fit(x, y, epochs=many, verbose=False), 1, many,
            ),
            "the same step in a long epoch, µs": (
                lambda: trainer.fit(xs, ys, verbose=False), 1, many,
            ),
        },
        rounds,
    )  # fmt: skip


def network(widths: tuple[int, ...]) -> nn.Sequential:
    layers = [nn.Dense(i, o, "relu") for i, o in pairwise(widths[:-1])]
    return nn.Sequential(*layers, nn.Dense(widths[-2], widths[-1]))


if __name__ == "__main__":
    sys.exit(main())
