"""How long a checkpoint holds up the training.

    python -m benchmarks.python.checkpoint
    python -m benchmarks.python.checkpoint --megabytes 400 --folder /mnt/slow

A network whose weights and Adam moments take so many megabytes is trained, with a checkpoint every
few steps and without any, in turns. "held up" is the time from the end of a run of steps until the
training may go on: looking at the state and copying it. "all in all" is what a checkpoint adds to
the time of the fit, with the work of the other thread beside it, which writes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import fastprop as fp
from fastprop import nn, optim
from fastprop.train import ModelCheckpoint

from . import options

_BATCH, _STEPS_BETWEEN, _CHECKPOINTS = 64, 12, 4


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


def measure(megabytes: int, folder: Path, rounds: int) -> dict[str, Any]:
    """Milliseconds of a checkpoint."""
    # 8 arrays of width squared numbers: weights and two moments each, of 2.67 layers.
    width = int((megabytes * 1e6 / 4 / 3 / 2) ** 0.5)
    rng = np.random.default_rng(0)
    rows = _BATCH * _STEPS_BETWEEN * _CHECKPOINTS
    x = rng.normal(size=(rows, width)).astype(np.float32)
    fp.seed(0)
    model = nn.Sequential(nn.Dense(width, width, "relu"), nn.Dense(width, width))
    trainer = fp.Trainer(model, "mse", optim.Adam(lr=1e-4))
    found: dict[str, list[float]] = {"held up": [], "all in all": []}
    path = folder / "checkpoint.safetensors"
    trainer.fit(x, x, batch_size=_BATCH)
    for _ in range(rounds):
        seconds = {}
        for kind in (Unsaved, Timed):
            callback = kind(path, every_steps=_STEPS_BETWEEN)
            trainer.fit(x, x, batch_size=_BATCH, callbacks=callback)
            seconds[kind] = callback.seconds
        found["held up"] += callback.held_up
        found["all in all"].append((seconds[Timed] - seconds[Unsaved]) / _CHECKPOINTS)
    return {
        "megabytes": path.stat().st_size / 1e6,
        "step_milliseconds": seconds[Unsaved] / (rows / _BATCH) * 1e3,
        **{name: [1e3 * s for s in values] for name, values in found.items()},
    }


def main(argv: list[str] | None = None) -> int:
    arguments = _options(argv)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        found = measure(arguments.megabytes, Path(folder), arguments.rounds or 5)
    print(f"{found['megabytes']:.0f} MB, steps of {found['step_milliseconds']:.1f} ms\n")
    print("| a checkpoint | median | least | most |\n|---|---|---|---|")
    for name in ("held up", "all in all"):
        values = found[name]
        middle = statistics.median(values)
        print(f"| {name} | {middle:.1f} ms | {min(values):.1f} ms | {max(values):.1f} ms |")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = options.parser("checkpoint", __doc__)
    parser.add_argument("--megabytes", type=options.positive, default=100)
    parser.add_argument("--folder", type=Path, help="where to write, instead of tempfile's")
    options.add_rounds(parser)
    parser.add_argument("--json", type=Path, help="write all times")
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
