"""Many small networks: fp.fit_many beside loops over scikit-learn's MLPRegressor and PyTorch.

python -m benchmarks.python.many
python -m benchmarks.python.many --nets 50 --rounds 3 --json many.json

Every network is 10-32-32-1 with ReLU, trained on 1,000 rows for 20 epochs in batches of 32 with
Adam. First all train one from the same weights on rows in the same order, and what they predict
then is compared. In every round each gets its turn: fastprop trains all networks in one call, on
one thread and on all; the others (PyTorch is eager) train a few, one after the other on one thread,
and the time of all is scaled from those. Times hold everything from the arrays to the trained
networks, with the making of the models.

Last, what the threads bring: one thread's time divided by that of all, of the call alone and with
the making of the models, and the same for as many processes, which train a share each on one thread
and have nothing in common. What those do not reach the machine does not give.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastprop as fp
from fastprop import _core, nn, optim
from fastprop.inspect.turns import Turns

from . import placement
from .placement import remark, turns_on
from .pool import usable_cpus

WIDTHS = (10, 32, 32, 1)
ROWS, EPOCHS, BATCH, RATE = 1000, 20, 32, 1e-3
CHECKED_EPOCHS = 3
_PATIENCE = 30.0  # seconds for turns that are repeated because the cores shared no cache
TOLERANCE = 2e-4  # scikit-learn adds epsilon before the bias correction, the others after it
Array = NDArray[np.float32]
Train = Callable[[int], Any]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.python.many",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--nets", type=int, default=200, help="default %(default)s")
    parser.add_argument("--peer-nets", type=int, default=4, help="that peers train, %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default %(default)s")
    placement.add_option(parser)
    parser.add_argument("--json", type=Path, help="write the figures")
    options = parser.parse_args(argv)
    for name in ("nets", "peer_nets", "rounds"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')}: at least 1")
    x, y = data()
    peers = {name: made for name, make in PEERS.items() if (made := make(x, y))}
    check(x, y, peers)
    # The same condition for all, though only some of them use several threads.
    turns = turns_on(usable_cpus(), _PATIENCE, any_placement=options.any_placement)
    figures = measure(x, y, peers, options.nets, options.peer_nets, options.rounds, turns)
    show(figures, options.nets, options.peer_nets)
    gains = compare_threads(x, y, options.nets, options.rounds, turns)
    for name, ratios in gains.items():
        print(f"{name}: {statistics.median(ratios):.2f} times as fast as one thread")
    if said := remark(turns.log):
        print(said)
    if options.json:
        content = {
            "milliseconds": figures,
            "gains": gains,
            "turns": [turn.to_dict() for turn in turns.log],
        }
        options.json.write_text(json.dumps(content, indent=2) + "\n")
    return 0


def data() -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, WIDTHS[0]), dtype=np.float32)
    y = np.sin(2 * x[:, :1]) + x[:, 1:2] * x[:, 2:3]
    return x, y.astype(np.float32)


# -- the work --------------------------------------------------------------------------------------


def trainers(count: int) -> list[fp.Trainer]:
    made = []
    for seed in range(count):
        fp.seed(seed)
        a, b, c, d = WIDTHS
        model = nn.Sequential(nn.Dense(a, b, "relu"), nn.Dense(b, c, "relu"), nn.Dense(c, d))
        made.append(fp.Trainer(model, "mse", optim.Adam(lr=RATE), seed=seed))
    return made


def train(made: list[fp.Trainer], x: Array, y: Array, threads: int) -> None:
    fp.fit_many(made, x, y, epochs=EPOCHS, batch_size=BATCH, threads=threads, verbose=False)


def fit_many(x: Array, y: Array, threads: int) -> Train:
    return lambda count: train(trainers(count), x, y, threads)


def train_share(count: int) -> None:
    """In a process of its own."""
    fit_many(*data(), 1)(count)


class Sklearn:
    """A loop over MLPRegressor."""

    def __init__(self, x: Array, y: Array) -> None:
        self._network = importlib.import_module("sklearn.neural_network")
        self._warning = importlib.import_module("sklearn.exceptions").ConvergenceWarning
        self._x, self._y = x, y[:, 0]

    def _make(self, **options: Any) -> Any:
        return self._network.MLPRegressor(
            hidden_layer_sizes=WIDTHS[1:-1],
            batch_size=BATCH,
            learning_rate_init=RATE,
            alpha=0.0,
            tol=0.0,
            n_iter_no_change=10**9,
            **options,
        )

    def _fit(self, model: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", self._warning)  # it has not converged: that was asked
            model.fit(self._x, self._y)

    def train(self, count: int) -> None:
        for seed in range(count):
            self._fit(self._make(max_iter=EPOCHS, random_state=seed))

    def checked(self, weights: list[Array]) -> Array:
        model = self._make(max_iter=1, shuffle=False, warm_start=True)
        self._fit(model)
        model.coefs_ = [w.copy() for w in weights[::2]]
        model.intercepts_ = [b.copy() for b in weights[1::2]]
        model.set_params(max_iter=CHECKED_EPOCHS)
        self._fit(model)
        return np.asarray(model.predict(self._x), np.float32)


class Torch:
    """A loop over networks in eager PyTorch, with fused Adam, and losses that nobody waits for."""

    def __init__(self, x: Array, y: Array) -> None:
        self._torch: Any = importlib.import_module("torch")
        self._torch.set_num_threads(1)
        self._x, self._y = self._torch.from_numpy(x), self._torch.from_numpy(y)

    def _make(self) -> Any:
        layers = []
        for i, o in pairwise(WIDTHS):
            layers += [self._torch.nn.Linear(i, o), self._torch.nn.ReLU()]
        return self._torch.nn.Sequential(*layers[:-1])

    def _fit(self, model: Any, epochs: int, shuffle: bool) -> None:
        torch = self._torch
        optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
        loss_of = torch.nn.MSELoss()
        for _ in range(epochs):
            order = torch.randperm(ROWS) if shuffle else torch.arange(ROWS)
            for rows in order.split(BATCH):
                loss = loss_of(model(self._x[rows]), self._y[rows])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()

    def train(self, count: int) -> None:
        for seed in range(count):
            self._torch.manual_seed(seed)
            self._fit(self._make(), EPOCHS, True)

    def checked(self, weights: list[Array]) -> Array:
        model = self._make()
        tensors = [self._torch.from_numpy(w.T.copy()) for w in weights]
        for parameter, tensor in zip(model.parameters(), tensors, strict=True):
            parameter.data = tensor
        self._fit(model, CHECKED_EPOCHS, False)
        with self._torch.inference_mode():
            return np.asarray(model(self._x)[:, 0].numpy())


def present(kind: type) -> Callable[[Array, Array], Any]:
    """Makes a peer, or gives ``None`` where it is not installed."""

    def make(x: Array, y: Array) -> Any:
        try:
            return kind(x, y)
        except ImportError:
            print(f"{kind.__name__} is not installed", file=sys.stderr)
            return None

    return make


PEERS = {"scikit-learn": present(Sklearn), "PyTorch": present(Torch)}


# -- checks and times ------------------------------------------------------------------------------


def check(x: Array, y: Array, peers: dict[str, Any]) -> None:
    """All end with the same function when they begin with the same weights.

    Raises:
        ValueError: Somebody does other work.
    """
    (trainer,) = trainers(1)
    weights = list(trainer.model.state_dict().values())
    before = np.asarray(trainer.predict(x))[:, 0]
    fp.fit_many([trainer], x, y, epochs=CHECKED_EPOCHS, batch_size=BATCH, shuffle=False)
    expected = np.asarray(trainer.predict(x))[:, 0]
    moved = float(np.abs(expected - before).max())
    for name, peer in peers.items():
        error = float(np.abs(peer.checked(weights) - expected).max())
        print(
            f"{name}: predictions differ by {error:.1e} at most, training moved them by {moved:.2f}"
        )
        if not error < TOLERANCE * moved:
            raise ValueError(f"{name} does other work: predictions differ by {error}")


def measure(
    x: Array,
    y: Array,
    peers: dict[str, Any],
    nets: int,
    peer_nets: int,
    rounds: int,
    turns: Turns,
) -> dict[str, list[float]]:
    """Milliseconds a network, by contestant and round."""
    threads = _core.available_threads()
    works: dict[str, tuple[Train, int]] = {"fastprop, 1 thread": (fit_many(x, y, 1), nets)}
    if threads > 1:
        works[f"fastprop, {threads} threads"] = (fit_many(x, y, threads), nets)
    works |= {name: (peer.train, peer_nets) for name, peer in peers.items()}
    found: dict[str, list[float]] = {name: [] for name in works}
    for train, _ in works.values():
        train(2)

    def milliseconds(train: Train, count: int) -> float:
        start = time.perf_counter()
        train(count)
        return 1e3 * (time.perf_counter() - start) / count

    for _ in range(rounds):
        for name, work in works.items():
            found[name].append(turns.take(name, partial(milliseconds, *work)))
    return found


def compare_threads(
    x: Array, y: Array, nets: int, rounds: int, turns: Turns
) -> dict[str, list[float]]:
    """How many times as fast as one thread they are, by round; nothing on one CPU."""
    threads = turns.threads
    if threads == 1:
        return {}
    call, whole = f"{threads} threads, the call", f"{threads} threads, with the models made"
    shares = f"{threads} processes, with the models made"
    found: dict[str, list[float]] = {call: [], whole: [], shares: []}
    share = -(-nets // threads)

    def by_threads(count: int) -> tuple[float, float]:
        start = time.perf_counter()
        made = trainers(share * threads)
        between = time.perf_counter()
        train(made, x, y, count)
        return time.perf_counter() - between, time.perf_counter() - start

    with get_context("spawn").Pool(threads) as pool:

        def by_processes() -> float:
            start = time.perf_counter()
            pool.map(train_share, [share] * threads, chunksize=1)
            return time.perf_counter() - start

        by_processes()  # starts them
        for _ in range(rounds):
            one = turns.take("1 thread", partial(by_threads, 1))
            several = turns.take(f"{threads} threads", partial(by_threads, threads))
            processes = turns.take(f"{threads} processes", by_processes)
            found[call].append(one[0] / several[0])
            found[whole].append(one[1] / several[1])
            found[shares].append(one[1] / processes)
    return found


def show(figures: dict[str, list[float]], nets: int, peer_nets: int) -> None:
    """Medians, and medians of the ratios of a round."""
    ours = [name for name in figures if name.startswith("fastprop")]
    width = max(map(len, figures))
    print(f"{'':{width}}  ms a network" + "".join(f"{'x ' + name:>22}" for name in ours))
    for name, times in figures.items():
        ratios = [statistics.median(map(float.__truediv__, times, figures[own])) for own in ours]
        print(f"{name:{width}}  {statistics.median(times):12.2f}"
              + "".join(f"{ratio:22.2f}" for ratio in ratios))  # fmt: skip
    print(f"fastprop trained {nets} networks, the others {peer_nets} of them, on one thread.")


if __name__ == "__main__":
    sys.exit(main())
