"""``fastprop demo``: a small network learns to read handwritten digits."""

from __future__ import annotations

import gzip
import importlib.util
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastprop import _core, nn, optim
from fastprop import random as fprandom
from fastprop.data import train_test_split
from fastprop.inspect.curves import plot_history
from fastprop.train import History, Trainer

WIDTHS = (64, 128, 64, 10)
LEARNING_RATE = 2e-3


class DemoError(Exception):
    """Something the user can mend; the message says how."""


@dataclass(frozen=True)
class DemoResult:
    """What a run of the demo found."""

    accuracy: float
    seconds: float
    step_microseconds: float
    history: History
    picture: Path


def load_digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """scikit-learn's 1797 digits of 8 by 8 pixels, scaled to [0, 1], and their labels.

    Reads the file from scikit-learn's folder: importing scikit-learn for it would take longer than
    everything else here.

    Raises:
        DemoError: scikit-learn is not installed, or has no such file.
    """
    found = importlib.util.find_spec("sklearn")
    if found is None or not found.submodule_search_locations:
        raise DemoError(
            "the digits come with scikit-learn, which is not installed: "
            "pip install 'fastprop-nn[demo]'"
        )
    path = Path(found.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    try:
        lines = gzip.decompress(path.read_bytes()).decode("ascii").splitlines()
    except OSError as error:
        raise DemoError(f"scikit-learn's digits cannot be read: {error}") from None
    table = np.loadtxt(lines, delimiter=",", dtype=np.float32)
    return table[:, :-1] / np.float32(16), table[:, -1].astype(np.int64)


def build_model(seed: int) -> nn.Module:
    """A 64-128-64-10 network with ReLU."""
    fprandom.seed(seed)
    pairs = list(pairwise(WIDTHS))
    hidden = [nn.Dense(i, o, activation="relu") for i, o in pairs[:-1]]
    return nn.Sequential(*hidden, nn.Dense(*pairs[-1]))


def run(
    *,
    epochs: int = 30,
    batch_size: int = 32,
    seed: int = 0,
    threads: int | None = None,
    output: Path = Path("learning_curves.png"),
    verbose: bool | None = None,
) -> DemoResult:
    """Train, test, draw, and print what came out.

    Raises:
        DemoError: A package is missing, or the picture cannot be written.
    """
    require_matplotlib()
    if not output.parent.is_dir():
        raise DemoError(f"the picture {output} cannot be written: there is no folder for it")
    x, y = load_digits()
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.25, seed=seed)
    trainer = Trainer(
        build_model(seed),
        loss="cross_entropy",
        optimizer=optim.Adam(lr=LEARNING_RATE),
        metrics=["accuracy"],
        seed=seed,
        threads=threads,
    )
    print(f"Training {'-'.join(map(str, WIDTHS))} on {len(x_train)} of {len(x)} handwritten digits")
    sys.stdout.flush()
    started = time.perf_counter()
    history = trainer.fit(
        x_train,
        y_train,
        epochs=epochs,
        batch_size=batch_size,
        validation_data=(x_test, y_test),
        verbose=verbose,
    )
    seconds = time.perf_counter() - started
    accuracy = trainer.evaluate(x_test, y_test)["accuracy"]
    steps = -(-len(x_train) // min(batch_size, len(x_train)))
    step = 1e6 * float(np.median(history.seconds)) / steps
    picture = draw(history, accuracy, output)
    report(trainer, len(x_test), accuracy, seconds, epochs, step, picture)
    return DemoResult(accuracy, seconds, step, history, picture)


def require_matplotlib() -> None:
    if importlib.util.find_spec("matplotlib") is None:
        raise DemoError(
            "the picture needs matplotlib, which is not installed: pip install 'fastprop-nn[demo]'"
        )


def draw(history: History, accuracy: float, output: Path) -> Path:
    """The learning curves as a picture file; returns its full path."""
    title = f"Handwritten digits, {'-'.join(map(str, WIDTHS))}: test accuracy {accuracy:.4f}"
    try:
        return plot_history(history, output, title=title).resolve()
    except (OSError, ValueError) as error:
        raise DemoError(f"the picture {output} cannot be written: {error}") from None


def report(
    trainer: Trainer,
    tested: int,
    accuracy: float,
    seconds: float,
    epochs: int,
    step: float,
    picture: Path,
) -> None:
    """Print the summary."""
    program = trainer.program
    assert program is not None
    parameters = trainer.model.count_parameters()
    rows = {
        "test accuracy": f"{accuracy:.4f}  ({tested} digits never seen in training)",
        "training": f"{seconds:.3f} s for {epochs} epochs, validation included",
        "a step": f"{step:.1f} µs  (forward, backward, Adam)",
        "network": f"{parameters:,} parameters, float32, ReLU",
        "threads": f"{program.threads} of {_core.available_threads()}",
        "level": _core.config()["level"],
        "picture": str(picture),
    }
    width = max(map(len, rows))
    print("\n".join(f"  {name:<{width}}  {value}" for name, value in rows.items()))
