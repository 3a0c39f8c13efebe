"""How long a checkpoint holds up the training.

    python -m benchmarks.python.checkpoint
    python -m benchmarks.python.checkpoint --megabytes 400 --folder /mnt/slow

A network whose weights and Adam moments take so many megabytes is trained, with a checkpoint every
few steps and without any, in turns, which count while the cores share a cache. "held up" is the
time from the end of a run of steps until the training may go on: looking at the state and copying
it. "all in all" is what a checkpoint adds to the time of the fit, with the work of the other thread
beside it, which writes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import fastprop as fp
from fastprop import nn, optim
from fastprop.inspect.turns import Turns
from fastprop.train import ModelCheckpoint

from . import options
from .placement import remark, turns_on
from .pool import choose_cpus

_BATCH, _STEPS_BETWEEN, _CHECKPOINTS = 64, 12, 4
_PATIENCE = 20.0  # seconds for turns that are repeated because the cores shared no cache


class Timed(ModelCheckpoint):
    """Notes how long each save holds up the training."""

    def on_train_begin(self, trainer: fp.Trainer) -> None:
        self.held_up: list[float] = []
        super().on_train_begin(trainer)
        self.begun = time.perf_counter()

    def on_save_point(self, trainer: fp.Trainer) -> None:
        started, saved = time.perf_counter(), self._saved_at
        super().on_save_point(trainer)
        if self._saved_at != saved:
            self.held_up.append(time.perf_counter() - started)

    def on_train_end(self, trainer: fp.Trainer) -> None:
        self.seconds = time.perf_counter() - self.begun
        super().on_train_end(trainer)


class Unsaved(Timed):
    """Ends runs at the same steps, but saves nothing."""

    def _save(self, steps: int) -> None:
        self._saved_at = steps


def measure(megabytes: int, folder: Path, rounds: int, turns: Turns) -> dict[str, Any]:
    """Milliseconds of a checkpoint."""
    # 8 arrays of width squared numbers: weights and two moments each, of 2.67 layers.
    width = int((megabytes * 1e6 / 4 / 3 / 2) ** 0.5)
    rng = np.random.default_rng(0)
    rows = _BATCH * _STEPS_BETWEEN * _CHECKPOINTS
    x = rng.normal(size=(rows, width)).astype(np.float32)
    fp.seed(0)
    model = nn.Sequential(nn.Dense(width, width, "relu"), nn.Dense(width, width))
    trainer = fp.Trainer(model, "mse", optim.Adam(lr=1e-4), threads=turns.threads)
    path = folder / "checkpoint.safetensors"

    def fit(kind: type[Timed]) -> tuple[float, list[float]]:
        callback = kind(path, every_steps=_STEPS_BETWEEN)
        trainer.fit(x, x, batch_size=_BATCH, callbacks=callback)
        return callback.seconds, callback.held_up

    found: dict[str, list[float]] = {"held up": [], "all in all": []}
    fit(Unsaved)
    for _ in range(rounds):
        plain, _ = turns.take("without checkpoints", partial(fit, Unsaved))
        saving, held_up = turns.take("with checkpoints", partial(fit, Timed))
        found["held up"] += held_up
        found["all in all"].append((saving - plain) / _CHECKPOINTS)
    return {
        "megabytes": path.stat().st_size / 1e6,
        "step_milliseconds": plain / (rows / _BATCH) * 1e3,
        **{name: [1e3 * s for s in values] for name, values in found.items()},
    }


def main(argv: list[str] | None = None) -> int:
    arguments = _options(argv)
    results = []
    for threads in arguments.threads:
        turns = turns_on(choose_cpus(threads), _PATIENCE, any_placement=arguments.any_placement)
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            found = measure(arguments.megabytes, Path(folder), arguments.rounds or 5, turns)
        print(table(found, threads), flush=True)
        if said := remark(turns.log):
            print(f"\n{said}.")
        log = [turn.to_dict() for turn in turns.log]
        results.append({"threads": threads, **found, "turns": log})
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return 0


def table(found: dict[str, Any], threads: int) -> str:
    """Milliseconds of a checkpoint."""
    lines = [
        f"\n### {found['megabytes']:.0f} MB, steps of {found['step_milliseconds']:.1f} ms on "
        f"{threads} thread{'s' * (threads > 1)}\n",
        "| a checkpoint | median | least | most |",
        "|---|---:|---:|---:|",
    ]
    for name in ("held up", "all in all"):
        values = found[name]
        middle = statistics.median(values)
        lines.append(f"| {name} | {middle:.1f} ms | {min(values):.1f} ms | {max(values):.1f} ms |")
    return "\n".join(lines)


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = options.parser("checkpoint", __doc__)
    parser.add_argument("--megabytes", type=options.positive, default=100)
    parser.add_argument("--folder", type=Path, help="where to write, instead of tempfile's")
    options.add_threads(parser, [len(options.usable_cpus())])
    options.add_rounds(parser)
    parser.add_argument("--json", type=Path, help="write all times")
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
