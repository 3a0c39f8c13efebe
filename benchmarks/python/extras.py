"""What regularization and normalization cost: a step with each of them beside the plain step.

    python -m benchmarks.python.extras                         # about a minute
    python -m benchmarks.python.extras --extras dropout --works tabular --rounds 21
    python -m benchmarks.python.extras --without torch

All variants take turns, so that a slow spell of the machine meets all of them alike. On one thread
the stopwatch takes a turn as well: "at best" compares the sums over all instructions of the least
time that each of them took, which other processes hardly change. With PyTorch installed its eager
step with the same layers takes its turns too: the last column is how many times as long it takes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastprop.inspect.turns import Turn, Turns

from . import options, session
from .placement import remark, turns_on
from .pool import choose_cpus
from .session import Effort
from .works import LEARNING_RATE, WORKS, Work

_EFFORT = Effort(rounds=11, seconds=0.06)

Step = Callable[[int], None]
"""Does some training steps."""

_PROFILED_STEPS = 8


class Extra(NamedTuple):
    """A variant of a work's network and of its training.

    Attributes:
        fastprop: What follows a hidden layer of so many units.
        torch: The same of PyTorch, by the names of its modules.
        optimizer: Arguments of Adam, for both.
        clip: Largest global norm of the gradients, or None.
        around: What is around our Adam, which PyTorch does not get.
        options: What our Trainer gets beside, and PyTorch does not.
        fit: What its `fit` gets.
        ours: True if PyTorch's step would be another one.
    """

    fastprop: Callable[[Any, int], list[Any]] = lambda nn, width: []
    torch: Callable[[Any, int], list[Any]] = lambda nn, width: []
    optimizer: dict[str, Any] = {}  # noqa: RUF012
    clip: float | None = None
    around: Callable[[Any, Any], Any] = lambda optim, adam: adam
    options: Callable[[Any], dict[str, Any]] = lambda fp: {}
    fit: dict[str, Any] = {}  # noqa: RUF012
    ours: bool = False


def _ours(**settings: Any) -> Extra:
    return Extra(ours=True, **settings)


EXTRAS: dict[str, Extra] = {
    "plain": Extra(),
    "dropout": Extra(lambda nn, n: [nn.Dropout(0.5)], lambda nn, n: [nn.Dropout(0.5)]),
    "batch-norm": Extra(lambda nn, n: [nn.BatchNorm(n)], lambda nn, n: [nn.BatchNorm1d(n)]),
    "layer-norm": Extra(lambda nn, n: [nn.LayerNorm(n)], lambda nn, n: [nn.LayerNorm(n)]),
    "rms-norm": Extra(lambda nn, n: [nn.RMSNorm(n)], lambda nn, n: [nn.RMSNorm(n)]),
    "weight-decay": Extra(optimizer={"weight_decay": 1e-4}),
    "clipping": Extra(clip=1.0),
    "alpha-dropout": _ours(fastprop=lambda nn, n: [nn.AlphaDropout(0.1)]),
    "noise": _ours(fastprop=lambda nn, n: [nn.GaussianNoise(0.1)]),
    "smoothing": _ours(
        options=lambda fp: {"loss": fp.losses.Loss("cross_entropy", label_smoothing=0.1)}
    ),
    "mixup": _ours(fit={"mixup": 0.2}),
    "l1": _ours(options=lambda fp: {"penalty": fp.regularizers.L1(1e-5)}),
    "l2": _ours(options=lambda fp: {"penalty": fp.regularizers.L2(1e-5)}),
    "max-norm": _ours(options=lambda fp: {"constraint": fp.regularizers.MaxNorm(3.0)}),
    "adamw": _ours(around=lambda optim, adam: optim.AdamW(lr=LEARNING_RATE, weight_decay=1e-2)),
    "clip-value": _ours(options=lambda fp: {"clip": fp.gradients.ClipValue(0.5)}),
    "clip-norm": _ours(options=lambda fp: {"clip": fp.gradients.ClipNorm(1.0)}),
    "adaptive-clip": _ours(options=lambda fp: {"clip": fp.gradients.AdaptiveClip(0.01)}),
    "ema": _ours(around=lambda optim, adam: optim.EMA(adam, 0.999)),
    "swa": _ours(around=lambda optim, adam: optim.SWA(adam)),
    "accumulate-2": _ours(around=lambda optim, adam: optim.Accumulate(adam, 2)),
    "accumulate-8": _ours(around=lambda optim, adam: optim.Accumulate(adam, 8)),
    "all": Extra(
        lambda nn, n: [nn.BatchNorm(n), nn.Dropout(0.5)],
        lambda nn, n: [nn.BatchNorm1d(n), nn.Dropout(0.5)],
        {"weight_decay": 1e-4},
        1.0,
    ),
}
"""The layers of an extra stand between a hidden Dense layer's activation and the next one."""


@dataclass(frozen=True)
class Cost:
    """One extra on one work.

    Attributes:
        step: Median microseconds of a step.
        ratio: Median over the rounds of the step divided by the plain one.
        best: The sum of the instructions' least times divided by that of the plain step; ``None``
            on several threads, which wait for each other.
        torch: The same microseconds of PyTorch, or None.
        lead: Median over the rounds of PyTorch's step divided by ours, or None.
    """

    work: str
    extra: str
    threads: int
    step: float
    ratio: float
    best: float | None
    torch: float | None
    lead: float | None


def main(argv: list[str] | None = None) -> int:
    arguments = _options(argv)
    effort = _EFFORT.chosen(arguments)
    extras = ["plain", *(e for e in arguments.extras if e != "plain")]
    found: list[Cost] = []
    log: list[Turn] = []
    for work in arguments.works:
        for threads in arguments.threads:
            turns = turns_on(
                choose_cpus(threads), effort.patience, any_placement=effort.any_placement
            )
            found += compare(work, extras, effort, turns, torch=arguments.without != "torch")
            log += turns.log
            of_this = [c for c in found if (c.work, c.threads) == (work.name, threads)]
            print(table(of_this), flush=True)
    if arguments.json:
        content = {**session.facts(effort), "costs": [asdict(c) for c in found]}
        content["turns"] = [turn.to_dict() for turn in log]
        arguments.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 0


def compare(
    work: Work, extras: list[str], effort: Effort, turns: Turns, *, torch: bool = True
) -> list[Cost]:
    """Time all variants in turns; the first of `extras` is what the others are compared with."""
    threads = turns.threads
    contestants: dict[tuple[str, str], Step] = {}
    for name in extras:
        contestants["fastprop", name] = _fastprop(work, EXTRAS[name], threads)
        rival = _torch(work, EXTRAS[name], threads) if torch and not EXTRAS[name].ours else None
        if rival is not None:
            contestants["torch", name] = rival
    counts = {key: _count(step, work, effort.seconds) for key, step in contestants.items()}
    times: dict[tuple[str, str], list[float]] = {key: [] for key in contestants}
    least: dict[str, Any] = {}

    def microseconds(key: tuple[str, str]) -> float:
        start = time.perf_counter()
        contestants[key](counts[key])
        return 1e6 * (time.perf_counter() - start) / counts[key]

    for number in range(effort.rounds):
        for key in list(contestants)[:: 1 if number % 2 else -1]:
            times[key].append(turns.take(" ".join(key), partial(microseconds, key)))
            step = contestants[key]
            if threads == 1 and isinstance(step, _Fastprop):
                least[key[1]] = np.minimum(least.get(key[1], np.inf), step.instruction_seconds())
    if said := remark(turns.log):
        session.say(said)
    costs = []
    for name in extras:
        ours, theirs = times["fastprop", name], times.get(("torch", name))
        costs.append(
            Cost(
                work.name,
                name,
                threads,
                statistics.median(ours),
                _ratio(ours, times["fastprop", extras[0]]),
                float(least[name].sum() / least[extras[0]].sum()) if least else None,
                theirs and statistics.median(theirs),
                theirs and _ratio(theirs, ours),
            )
        )
    return costs


def _ratio(a: list[float], b: list[float]) -> float:
    return statistics.median(x / y for x, y in zip(a, b, strict=True))


def _count(step: Step, work: Work, seconds: float) -> int:
    """Steps of a turn; the first call traces, the second one is timed."""
    step(8)
    start = time.perf_counter()
    step(8)
    count = min(work.steps, int(8 * seconds / (time.perf_counter() - start)))
    # Whole updates, where gradients of up to 8 steps are added up.
    return max(8, count // 8 * 8)


class _Fastprop:
    """Our training steps."""

    def __init__(self, trainer: Any, work: Work, fit: dict[str, Any]) -> None:
        self._trainer = trainer
        self._batch = work.batch
        self._data = work.data()
        self._fit = fit

    def __call__(self, count: int) -> None:
        x, y = (array[: count * self._batch] for array in self._data)
        self._trainer.fit(x, y, batch_size=self._batch, verbose=False, **self._fit)

    def instruction_seconds(self) -> Any:
        """Of a step, by instruction, on the first thread."""
        from fastprop.inspect.measure import StepRunner
        from fastprop.train.runs import TracedProgram

        trainer = self._trainer
        data = trainer._reader.dataset("extras", *self._data, None, False, [])
        traced = TracedProgram(trainer.program)
        runner = StepRunner("extras", trainer, traced, data, self._batch)
        return runner.profile(_PROFILED_STEPS)[0, :-1, 0]


def _fastprop(work: Work, extra: Extra, threads: int) -> Step:
    import fastprop as fp
    from fastprop import nn, optim

    layers: list[nn.Module] = []
    for i, (n_in, n_out) in enumerate(work.layers):
        hidden = i < len(work.layers) - 1
        activation = work.activation if hidden else None
        layers.append(nn.Dense(n_in, n_out, activation=activation, dtype=work.dtype))
        layers += extra.fastprop(nn, n_out) if hidden else []
    optimizer = extra.around(optim, optim.Adam(lr=LEARNING_RATE, **extra.optimizer))
    model = nn.Sequential(*layers)
    own = {"loss": work.loss, "clip": extra.clip} | extra.options(fp)
    trainer = fp.Trainer(model, optimizer=optimizer, threads=threads, **own)
    return _Fastprop(trainer, work, extra.fit)


def _torch(work: Work, extra: Extra, threads: int) -> Step | None:
    """PyTorch's eager step with its fused Adam; None if it is not installed."""
    try:
        import torch
    except ImportError:
        return None
    nn = torch.nn
    torch.set_num_threads(threads)
    layers: list[Any] = []
    for i, (n_in, n_out) in enumerate(work.layers):
        layers.append(nn.Linear(n_in, n_out, dtype=getattr(torch, work.dtype)))
        if i < len(work.layers) - 1:
            layers += [_TORCH_ACTIVATIONS[work.activation](nn), *extra.torch(nn, n_out)]
    model = nn.Sequential(*layers)
    optimizer = torch.optim.Adam(
        model.parameters(), lr=LEARNING_RATE, fused=True, **extra.optimizer
    )
    x, y = (torch.from_numpy(array) for array in work.data())
    loss_of = (
        nn.functional.cross_entropy if work.loss == "cross_entropy" else nn.functional.mse_loss
    )

    def step(count: int) -> None:
        for start in range(0, count * work.batch, work.batch):
            rows = slice(start, start + work.batch)
            optimizer.zero_grad()
            loss_of(model(x[rows]), y[rows]).backward()
            if extra.clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), extra.clip)
            optimizer.step()

    return step


_TORCH_ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": lambda nn: nn.ReLU(),
    "tanh": lambda nn: nn.Tanh(),
    "gelu": lambda nn: nn.GELU(),
}


def table(costs: list[Cost]) -> str:
    """One line for each extra."""
    first = costs[0]
    lines = [
        f"{first.work}, {first.threads} thread{'s' * (first.threads > 1)}:",
        f"  {'':14}{'µs/step':>10}{'cost':>9}{'at best':>9}{'PyTorch':>10}{'lead':>8}",
    ]
    for c in costs:
        theirs = f"{c.torch:10.0f}{c.lead:7.2f}x" if c.torch and c.lead else f"{'-':>10}{'-':>8}"
        best = f"{'-':>9}" if c.best is None else f"{100 * (c.best - 1):+8.1f}%"
        lines.append(f"  {c.extra:14}{c.step:10.1f}{100 * (c.ratio - 1):+8.1f}%{best}{theirs}")
    return "\n".join(lines)


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = options.parser("extras", __doc__)
    options.add_works(parser, [WORKS["mnist"]])
    known = options.one_of("extra", list(EXTRAS))
    parser.add_argument(
        "--extras",
        type=options.list_of(known),
        default=list(EXTRAS),
        help=f"of {', '.join(EXTRAS)}",
    )
    options.add_threads(parser, [1, 2] if len(options.usable_cpus()) > 1 else [1])
    options.add_rounds(parser)
    parser.add_argument("--without", choices=["torch"], help="leave PyTorch out")
    parser.add_argument("--json", type=Path, help="write all times")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
