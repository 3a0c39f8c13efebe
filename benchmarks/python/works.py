"""The works that are timed: an MLP, its data and its first weights, equal for every contestant.

A work is drawn from NumPy's generator with a fixed seed, so every worker process makes the same
arrays without sending any.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEARNING_RATE = 1e-3
_SEED = 20240607


@dataclass(frozen=True)
class Work:
    """A stack of dense layers with ReLU between them, trained by Adam in float32.

    Attributes:
        name: What the tables call it.
        sizes: Widths from the inputs to the outputs.
        batch: Rows of a step.
        loss: ``"mse"`` or ``"cross_entropy"``.
        steps: Steps of a timed call, which is one epoch over ``steps * batch`` rows.
    """

    name: str
    sizes: tuple[int, ...]
    batch: int
    loss: str
    steps: int

    @property
    def rows(self) -> int:
        return self.steps * self.batch

    @property
    def layers(self) -> list[tuple[int, int]]:
        return list(zip(self.sizes[:-1], self.sizes[1:], strict=True))

    @property
    def parameters(self) -> int:
        return sum(n_in * n_out + n_out for n_in, n_out in self.layers)

    @property
    def flops(self) -> float:
        """Operations of a step's products: forward, dW, and dx but for the first layer."""
        products = [2.0 * self.batch * n_in * n_out for n_in, n_out in self.layers]
        return 3 * sum(products) - products[0]

    @property
    def update_bytes(self) -> float:
        """What Adam cannot avoid to move: w, m, v and the gradient read, w, m and v written."""
        return 7.0 * 4 * self.parameters

    @property
    def title(self) -> str:
        return f"{self.name} {_widths(self.sizes)}, batch {self.batch}"

    def data(self) -> tuple[NDArray[np.float32], NDArray[np.float32] | NDArray[np.int64]]:
        """Inputs ``[rows, sizes[0]]``; targets ``[rows, sizes[-1]]`` or class numbers ``[rows]``.

        The targets depend on the inputs, so that there is something to learn: gradients do not fade
        into denormals, which would slow some contestants and not others.
        """
        rng = np.random.default_rng(_SEED)
        x = rng.standard_normal((self.rows, self.sizes[0]), dtype=np.float32)
        teacher = rng.standard_normal((self.sizes[0], self.sizes[-1]), dtype=np.float32)
        scores = x @ teacher / np.sqrt(np.float32(self.sizes[0]))
        noise = rng.standard_normal(scores.shape, dtype=np.float32)
        if self.loss == "mse":
            return x, np.tanh(scores) + np.float32(0.1) * noise
        return x, np.argmax(scores + noise, axis=1).astype(np.int64)

    def weights(self) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """``(W [in, out], b [out])`` of every layer, He's uniform initialization."""
        rng = np.random.default_rng(_SEED + 1)
        pairs = []
        for n_in, n_out in self.layers:
            bound = np.sqrt(6.0 / n_in)
            w = rng.uniform(-bound, bound, (n_in, n_out)).astype(np.float32)
            pairs.append((w, np.zeros(n_out, np.float32)))
        return pairs

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The rows of an epoch, shuffled, ``[steps, batch]``."""
        rng = np.random.default_rng((_SEED + 2, epoch))
        return rng.permutation(self.rows).astype(np.int64).reshape(self.steps, self.batch)


_DEEP = (128, *[128] * 16, 10)

WORKS = {
    work.name: work
    for work in (
        Work("tiny", (4, 64, 64, 1), 32, "mse", 4096),
        Work("tabular", (100, 256, 128, 10), 256, "cross_entropy", 320),
        Work("mnist", (784, 512, 512, 10), 128, "cross_entropy", 64),
        Work("deep", _DEEP, 128, "cross_entropy", 100),
        Work("wide", (1024, 2048, 2048, 1000), 1024, "cross_entropy", 4),
    )
}


def parse_work(text: str) -> Work:
    """A work by its name, or one of one's own written as ``300-150-32-150-300@64:mse``.

    Raises:
        ValueError: Neither a known name nor of that form.
    """
    if text in WORKS:
        return WORKS[text]
    match = re.fullmatch(r"(\d+(?:-\d+)+)@(\d+)(?::(mse|cross_entropy))?", text)
    if match is None:
        raise ValueError(
            f"unknown work {text!r}; known are {', '.join(WORKS)}, "
            "and forms like 64-32-10@128:cross_entropy"
        )
    sizes = tuple(int(n) for n in match[1].split("-"))
    work = Work("custom", sizes, int(match[2]), match[3] or "cross_entropy", 1)
    if min(*sizes, work.batch) < 1:
        raise ValueError(f"work {text!r}: widths and batch must be at least 1")
    # About a tenth of a second at 50 GFLOP/s, and no more than 64 MB of rows.
    affordable = (64 << 20) // (4 * work.batch * (sizes[0] + sizes[-1]))
    steps = int(min(4096, 5e9 / work.flops, affordable))
    return Work(text, sizes, work.batch, work.loss, max(2, steps))


def _widths(sizes: tuple[int, ...]) -> str:
    """``128-(128x16)-10``: runs of one width are written once."""
    hidden = sizes[1:-1]
    if len(hidden) > 3 and len(set(hidden)) == 1:
        return f"{sizes[0]}-({hidden[0]}x{len(hidden)})-{sizes[-1]}"
    return "-".join(map(str, sizes))
