"""Many kinds of networks, sorted by what fastprop gains on them: the losers first.

    python -m benchmarks.python.general                        # about 11 minutes
    python -m benchmarks.python.general --groups widths,float64 --threads 1 --json a.json
    python -m benchmarks.python.general --part 1/10            # the first tenth of the works
    python -m benchmarks.python.general --threads 2 --groups normalization,skip   # on two threads
    python -m benchmarks.python.general --from a.json b.json   # the list of earlier runs

The works are neither large nor chosen for fastprop: odd widths, batches from 1 to 4096, other
activations, losses and optimizers, autoencoders, deep and narrow networks, many inputs, one output
or several, skip connections, normalization, weight decay, float64. Exit status 1 if contestants
disagree about the losses.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import options, report, session
from .pool import usable_cpus
from .session import Effort
from .works import parse_work

GROUPS = {
    "widths": (
        "17-100-300-10@64",
        "100-17-17-3@32",
        "17-17-17-1@32:mse",
        "33-65-129-7@100",
        "300-300-300-17@128",
        "5000-20-5@64",
        "10-20-5000@64",
    ),
    "batches": tuple(f"64-128-64-10@{n}" for n in (1, 4, 16, 64, 256, 1024, 4096)),
    "batches-wide": (
        "784-512-512-10@1",
        "784-512-512-10@8",
        "784-512-512-10@1000",
        "300-300-10@1",
        "300-300-10@4096",
        "20-10-3@1",
        "20-10-3@4096",
    ),
    "activations": (
        "4-64-64-1@32:mse:tanh",
        "4-64-64-1@32:mse:gelu",
        "100-256-128-10@256:tanh",
        "100-256-128-10@256:gelu",
        "784-512-512-10@128:tanh",
        "784-512-512-10@128:gelu",
        "17-100-100-1@1024:mse:gelu",
    ),
    "sgd": (
        "4-64-64-1@32:mse:sgd",
        "100-256-128-10@256:sgd",
        "784-512-512-10@128:sgd",
        "17-100-300-10@64:tanh:sgd",
        "784-10@128:sgd",
    ),
    "autoencoders": (
        "300-150-32-150-300@64:mse",
        "300-150-32-150-300@1:mse",
        "300-150-32-150-300@1000:mse",
        "784-256-32-256-784@128:mse:tanh",
        "300-150-32-150-300@64:mse:gelu:sgd",
    ),
    "narrow": (
        "16-30x16-1@32:mse",
        "16-30x16-1@256:mse:tanh",
        "8-8x30-1@16:mse",
        "100-64x20-10@64",
        "8-8x30-2@1024:gelu",
    ),
    "regression": (
        "10-1@32:mse",
        "13-64-1@64:mse",
        "200-100-50-1@512:mse",
        "1000-1@256:mse",
        "8-300-300-1@100:mse:tanh",
        "1-50-50-1@17:mse:tanh",
    ),
    "few-rows": (
        "64-64-1@1:mse",
        "64-64-1@2:mse",
        "100-256-128-10@1",
        "32-64-32-3@4:mse",
        "2000-1000-500-10@16",
    ),
    "many-rows": (
        "10-32-32-1@2048:mse",
        "8-16-1@2000:mse:tanh",
        "16-16-16-2@4096",
        "3-128-128-3@4096:mse",
        "2-20x8-1@1000:mse:tanh",
    ),
    "inputs": (
        "10000-64-5@32",
        "10000-10@64",
        "500-2@128",
        "200-1@512:mse",
        "100-1@1024:mse",
        "30-1@64:mse",
    ),
    "outputs": (
        "30-64-32-3@128:mse",
        "512-512-512@256:mse",
        "100-200-200-100@300:mse:tanh",
        "128-64-128@1024:mse:gelu",
    ),
    "skip": (
        "64-64x8-10@64:skip",
        "128-128x6-10@256:skip:tanh",
        "30-30x10-1@32:mse:skip:gelu",
        "256-256x4-10@128:skip",
    ),
    "normalization": (
        "100-256-128-10@256:layernorm",
        "100-256-128-10@256:batchnorm",
        "784-512-512-10@128:layernorm",
        "784-512-512-10@128:batchnorm",
        "30-64-32-3@64:mse:tanh:batchnorm",
        "128-128x6-10@256:skip:layernorm",
        "300-150-32-150-300@64:mse:gelu:layernorm",
    ),
    "decay": (
        "4-64-64-1@32:mse:decay",
        "100-256-128-10@256:decay",
        "784-512-512-10@128:sgd:decay",
        "17-100-300-10@64:layernorm:decay",
    ),
    "float64": (
        "4-64-64-1@32:mse:float64",
        "100-256-128-10@256:float64",
        "784-512-512-10@128:float64",
        "300-150-32-150-300@64:mse:float64",
        "16-30x16-1@32:mse:tanh:float64",
        "17-100-300-10@64:gelu:float64",
        "30-30x10-1@32:mse:skip:sgd:float64",
    ),
}
_EFFORT = Effort(rounds=5, seconds=0.03, patience=150.0)  # three seconds for each work


def main(argv: list[str] | None = None) -> int:
    chosen = _options(argv)
    if chosen.saved:
        facts, results = session.read_json(chosen.saved)
    else:
        effort = _EFFORT.chosen(chosen)
        facts, results = session.facts(effort), []
        works = [parse_work(text) for group in chosen.groups for text in GROUPS[group]]
        part, parts = chosen.part
        works = works[len(works) * (part - 1) // parts : len(works) * part // parts]
        for threads in chosen.threads:
            results += session.race(works, threads, effort, chosen.contestants, facts)
    table = report.ranking(facts, results)
    print(table)
    if chosen.json:
        session.write_json(chosen.json, facts, results)
    if chosen.markdown:
        report.write_markdown(chosen.markdown, table)
    return 1 if session.failed(results, chosen.contestants) else 0


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = options.parser("general", __doc__)
    parser.add_argument(
        "--groups",
        type=options.list_of(options.one_of("group", list(GROUPS))),
        default=list(GROUPS),
        help=f"of {', '.join(GROUPS)}",
    )
    parser.add_argument(
        "--part", type=_part, default=(1, 1), help="2/3 is the second third of the works"
    )
    options.add_contestants(parser, ["fastprop", "torch", "jax-scan"])
    options.add_threads(parser, sorted({1, min(2, len(usable_cpus()))}))
    options.add_rounds(parser)
    parser.add_argument(
        "--from", type=Path, nargs="+", dest="saved", help="measure nothing, list these results"
    )
    parser.add_argument("--json", type=Path, help="write all times")
    parser.add_argument("--markdown", type=Path, help="write the list")
    return parser.parse_args(argv)


def _part(text: str) -> tuple[int, int]:
    part, _, parts = text.partition("/")
    if not 1 <= int(part) <= int(parts):
        raise argparse.ArgumentTypeError(f"from 1/{parts} to {parts}/{parts}")
    return int(part), int(parts)


if __name__ == "__main__":
    sys.exit(main())
