"""What gradient checkpointing saves, and what it costs.

    python -m benchmarks.python.checkpointing
    python -m benchmarks.python.checkpointing --layers 128 --width 256 --segments 8,16,auto

A Sequential of equal layers (64 of 128 with ReLU, batch 512, Adam) trains without and with
segments, in turns, from the same weights: the figures are the median time of a step, and the median
of the ratios to plain in the same round. After the first eight steps they must have the same bits;
exit status 1 if not. The arena is told without packed weights.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from functools import partial

import numpy as np

import fastprop as fp
from fastprop import nn, optim

from . import options
from .placement import remark, turns_on
from .pool import choose_cpus

_STEPS = 8  # of a turn
_PATIENCE = 30.0  # seconds for turns that are repeated because the cores shared no cache


def main(argv: list[str] | None = None) -> int:
    arguments = _options(argv)
    same = [_compare(arguments, threads) for threads in arguments.threads]
    return 0 if all(same) else 1


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = options.parser("checkpointing", __doc__)
    parser.add_argument("--layers", type=options.positive, default=64)
    parser.add_argument("--width", type=options.positive, default=128)
    parser.add_argument("--batch", type=options.positive, default=512)
    parser.add_argument(
        "--segments",
        type=options.list_of(lambda text: text if text == "auto" else int(text)),
        default=[4, 8, "auto", 16],
        help="numbers of segments, or auto",
    )
    options.add_threads(parser, [1, 2])
    options.add_rounds(parser)
    return parser.parse_args(argv)


def _trainer(arguments: argparse.Namespace, segments: int | str | None, threads: int) -> fp.Trainer:
    fp.seed(0)
    width = arguments.width
    layers = [nn.Dense(width, width, "relu") for _ in range(arguments.layers - 1)]
    model = nn.Sequential(*layers, nn.Dense(width, 1))
    return fp.Trainer(model, "mse", optim.Adam(lr=1e-4), threads=threads, checkpoint=segments)


def _compare(arguments: argparse.Namespace, threads: int) -> bool:
    choices = [None, *arguments.segments]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(_STEPS * arguments.batch, arguments.width)).astype("f")
    trainers = [_trainer(arguments, segments, threads) for segments in choices]
    times: list[list[float]] = [[] for _ in choices]
    turns = turns_on(choose_cpus(threads), _PATIENCE, any_placement=arguments.any_placement)

    def fit(trainer: fp.Trainer) -> float:
        started = time.perf_counter()
        trainer.fit(x, x[:, :1], batch_size=arguments.batch, check_finite=False)
        return (time.perf_counter() - started) / _STEPS

    ends = []
    for trainer in trainers:
        fit(trainer)  # traces
        ends.append(b"".join(p.data.tobytes() for p in trainer.model.parameters()))
    for _ in range(arguments.rounds or 5):
        for segments, trainer, seconds in zip(choices, trainers, times, strict=True):
            seconds.append(turns.take(str(segments), partial(fit, trainer)))
    kept = 4 * arguments.layers * arguments.width * arguments.batch
    print(
        f"\n### {arguments.layers} layers of {arguments.width}, batch {arguments.batch}, {threads} "
        f"thread{'s' * (threads > 1)}; their activations are {kept / 1e6:.1f} MB\n"
    )
    print("| segments | arena MB | of plain | ms a step | of plain | same bits |")
    print("| --- | ---: | ---: | ---: | ---: | --- |")
    same = True
    plain = None
    for segments, trainer, bits, seconds in zip(choices, trainers, ends, times, strict=True):
        assert trainer.program is not None
        packed = sum(v.nbytes for item in trainer.program.prologue for v in item.outputs)
        found = (trainer.program.arena_bytes - packed, seconds, bits)
        plain = plain or found
        same &= bits == plain[2]
        ratio = statistics.median(a / b for a, b in zip(seconds, plain[1], strict=True))
        print(
            f"| {segments or 'none'} | {found[0] / 1e6:.1f} | {found[0] / plain[0]:.2f} "
            f"| {1e3 * statistics.median(seconds):.2f} | {ratio:.2f} "
            f"| {'yes' if bits == plain[2] else 'NO'} |"
        )
    if said := remark(turns.log):
        print(f"\n{said}.")
    return same


if __name__ == "__main__":
    sys.exit(main())
