"""Streams and trainings for the tests of datasets."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from tests.training import network, weights_of

import fastprop as fp
from fastprop import data

ROWS = 1003


class Blocks(data.StreamDataset):
    """Arrays in blocks of the lengths that a test wants."""

    def __init__(
        self, x, y, lengths, *, known: bool = True, window_rows: int | None = None
    ) -> None:
        self.x, self.y = x, y
        self.ends = np.cumsum([0, *lengths])
        self.block_rows = [int(n) if known else None for n in lengths]
        self.window_rows = window_rows

    def read(self, block: int, epoch: int) -> Iterator[data.Batch]:
        begin, end = self.ends[block], self.ends[block + 1]
        for at in range(begin, end, 37):
            rows = slice(at, min(at + 37, end))
            yield data.Batch(self.x[rows], self.y[rows])


def lengths(kind: str) -> list[int]:
    return {
        "one": [ROWS],
        "even": [100] * 10 + [3],
        "uneven": [1, 500, 0, 2, 300, 200],
        "single rows": [1] * ROWS,
    }[kind]


def trained(*arguments, model=None, loss="mse", seed: int = 3, epochs: int = 3, **options):
    model = network(3, 16, 1) if model is None else model
    trainer = fp.Trainer(model, loss, "adam", seed=seed, metrics=options.pop("metrics", ()))
    history = trainer.fit(*arguments, epochs=epochs, **options)
    return weights_of(model), history.to_dict(), trainer


def same(a, b) -> None:
    assert a[1] == b[1]
    assert a[0] == b[0]


def jitter(x, y, rng):
    return x + rng.normal(0, 0.1, x.shape).astype(x.dtype), y


def pieces(x, y, size: int = 70):
    return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]
