"""The works that are timed: an MLP, its data and its first weights, equal for every contestant.

A work is drawn from NumPy's generator with a fixed seed, so every worker process makes the same
arrays without sending any.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEARNING_RATE = 1e-3
MOMENTUM = 0.9  # of SGD
ACTIVATIONS = ("relu", "tanh", "gelu")  # gelu is the exact one, with erf
_LOSSES = ("mse", "cross_entropy")
_OPTIMIZERS = ("adam", "sgd")
_DTYPES = ("float32", "float64")
_NORMS = ("layernorm", "batchnorm")
DECAY = 1e-2  # of the weights, added to their gradients
_SEED = 20240607


@dataclass(frozen=True)
class Work:
    """A stack of dense layers, and how it is trained.

    Attributes:
        name: What the tables call it.
        sizes: Widths from the inputs to the outputs.
        batch: Rows of a step.
        loss: ``"mse"`` or ``"cross_entropy"``.
        steps: Steps of a timed call, which is one epoch over ``steps * batch`` rows.
        activation: Of every layer but the last, one of `ACTIVATIONS`.
        optimizer: ``"adam"``, or ``"sgd"`` with momentum.
        dtype: ``"float32"`` or ``"float64"``.
        skip: Hidden layers of equal widths add their input to their output.
        norm: What follows the activation of a hidden layer: ``"layernorm"``, ``"batchnorm"`` or
            nothing.
        decay: Weights decay by `DECAY`, through their gradients.
    """

    name: str
    sizes: tuple[int, ...]
    batch: int
    loss: str
    steps: int
    activation: str = "relu"
    optimizer: str = "adam"
    dtype: str = "float32"
    skip: bool = False
    norm: str = ""
    decay: bool = False

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
        """What the optimizer cannot avoid to move: Adam reads w, m, v and the gradient and writes
        w, m, v; SGD has one array of state."""
        arrays = 7 if self.optimizer == "adam" else 5
        return float(arrays * self.itemsize * self.parameters)

    @property
    def update_footprint(self) -> float:
        """Bytes of the arrays among which the update moves them."""
        arrays = 4 if self.optimizer == "adam" else 3
        return float(arrays * self.itemsize * self.parameters)

    @property
    def itemsize(self) -> int:
        return np.dtype(self.dtype).itemsize

    def adds_input(self, layer: int) -> bool:
        """Does this layer have a skip connection?"""
        n_in, n_out = self.layers[layer]
        return self.skip and n_in == n_out and layer < len(self.layers) - 1

    @property
    def title(self) -> str:
        shape = _widths(self.sizes)
        named = shape if "@" in self.name else f"{self.name} {shape}"
        text = f"{named}, batch {self.batch}"
        return ", ".join([text, *self._peculiarities])

    @property
    def _peculiarities(self) -> list[str]:
        """What differs from a ReLU network in float32 that Adam trains."""
        words = [
            # A classifier is what one expects, but for those works whose name tells.
            self.loss if self.loss == "mse" and "@" in self.name else "",
            self.activation if self.activation != "relu" else "",
            self.optimizer if self.optimizer != "adam" else "",
            self.dtype if self.dtype != "float32" else "",
            "skip" if self.skip else "",
            self.norm,
            "decay" if self.decay else "",
        ]
        return [word for word in words if word]

    def data(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Inputs ``[rows, sizes[0]]``; targets ``[rows, sizes[-1]]`` or class numbers ``[rows]``.

        The targets depend on the inputs, so that there is something to learn: gradients do not fade
        into denormals, which would slow some contestants and not others.
        """
        rng = np.random.default_rng(_SEED)
        x = rng.standard_normal((self.rows, self.sizes[0]), dtype=np.float32)
        teacher = rng.standard_normal((self.sizes[0], self.sizes[-1]), dtype=np.float32)
        scores = x @ teacher / np.sqrt(np.float32(self.sizes[0]))
        noise = rng.standard_normal(scores.shape, dtype=np.float32)
        inputs = x.astype(self.dtype, copy=False)
        if self.loss == "mse":
            targets = np.tanh(scores) + np.float32(0.1) * noise
            return inputs, targets.astype(self.dtype, copy=False)
        return inputs, np.argmax(scores + noise, axis=1).astype(np.int64)

    def weights(self) -> list[tuple[NDArray[Any], NDArray[Any]]]:
        """``(W [in, out], b [out])`` of every layer, He's uniform initialization."""
        rng = np.random.default_rng(_SEED + 1)
        pairs = []
        for n_in, n_out in self.layers:
            # Sums of many branches would grow from layer to layer.
            bound = np.sqrt(6.0 / n_in) * (0.3 if self.skip else 1.0)
            w = rng.uniform(-bound, bound, (n_in, n_out)).astype(self.dtype)
            pairs.append((w, np.zeros(n_out, self.dtype)))
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
    """A work by its name, or one of your own: widths, batch, and what differs from the usual.

    ``300-150-32-150-300@64:mse:tanh:sgd:float64:skip:layernorm:decay``; without words it is a
    ReLU network that Adam trains on cross-entropy in float32. ``128x16`` stands for sixteen layers
    of 128.

    Raises:
        ValueError: Neither a known name nor of that form.
    """
    if text in WORKS:
        return WORKS[text]
    width = r"\d+(?:x\d+)?"
    match = re.fullmatch(rf"({width}(?:-{width})+)@(\d+)((?::\w+)*)", text)
    if match is None:
        raise ValueError(
            f"unknown work {text!r}; known are {', '.join(WORKS)}, "
            "and forms like 64-32-10@128:mse:tanh"
        )
    sizes = tuple(n for word in match[1].split("-") for n in _repeated(word))
    batch, words = int(match[2]), match[3].split(":")[1:]
    if len(sizes) < 2 or min(*sizes, batch) < 1:
        raise ValueError(f"work {text!r}: widths and batch must be at least 1")
    work = Work(text, sizes, batch, "cross_entropy", 1)
    for word in words:
        work = replace(work, **_option(text, word))
    return replace(work, steps=_steps(work))


def _repeated(word: str) -> list[int]:
    """``128x3`` is 128, 128, 128."""
    width, _, times = word.partition("x")
    return [int(width)] * int(times or 1)


def _option(text: str, word: str) -> dict[str, Any]:
    known = {
        **dict.fromkeys(_LOSSES, "loss"),
        **dict.fromkeys(ACTIVATIONS, "activation"),
        **dict.fromkeys(_OPTIMIZERS, "optimizer"),
        **dict.fromkeys(_DTYPES, "dtype"),
        **dict.fromkeys(_NORMS, "norm"),
    }
    if word in ("skip", "decay"):
        return {word: True}
    if word not in known:
        raise ValueError(
            f"work {text!r}: unknown {word!r}; known are {', '.join(known)}, skip, decay"
        )
    return {known[word]: word}


def _steps(work: Work) -> int:
    """About a tenth of a second at 50 GFLOP/s, and no more than 64 MB of rows."""
    row = work.itemsize * (work.sizes[0] + work.sizes[-1])
    return max(2, int(min(4096, 5e9 / work.flops, (64 << 20) // (row * work.batch))))


def _widths(sizes: tuple[int, ...]) -> str:
    """``128-(128x16)-10``: runs of one width are written once."""
    hidden = sizes[1:-1]
    if len(hidden) > 3 and len(set(hidden)) == 1:
        return f"{sizes[0]}-({hidden[0]}x{len(hidden)})-{sizes[-1]}"
    return "-".join(map(str, sizes))
