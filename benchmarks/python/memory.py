"""Memory of a training run beside PyTorch's, and what fastprop's arena holds.

    python -m benchmarks.python.memory
    python -m benchmarks.python.memory --works wide,300-150-32@64:mse:gelu --json m.json

Each run is a process of its own, which loads its data from a file. Bounds: the peak of a fit is
data + arena + parameters x (1 + gradient + state) + 40 MB; an arena is 1.1 times what the backward
pass must keep, without packed weights and without the gradients that lie there when it is fullest,
which the first bound counts with the parameters. Figures beyond a bound are marked with "!".
FASTPROP_NUM_THREADS=1 gives the figures of one thread.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from . import options
from .footprint import kept_bytes
from .works import WORKS, Work

_ROOT = Path(__file__).resolve().parents[2]
_FIXED_BYTES = 40_000_000
_ARENA_FACTOR = 1.1

Figures = dict[str, Any]


def main(argv: list[str] | None = None) -> int:
    arguments = _options(argv)
    found = [measure(work) for work in arguments.works]
    text = f"{peaks(found)}\n\n{arenas(found)}"
    print(text)
    if arguments.markdown:
        arguments.markdown.write_text(text + "\n", encoding="utf-8")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


def measure(work: Work) -> Figures:
    """Figures of both frameworks for one work, in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        x, y = work.data()
        np.save(Path(folder) / "x.npy", x)
        np.save(Path(folder) / "y.npy", y)
        (Path(folder) / "work.json").write_text(json.dumps(vars(work)))
        runs = {key: _run(key, folder) for key in ("fastprop", "torch")}
    arrays = 4 if work.optimizer == "adam" else 3  # the parameters, their gradient, state
    own = runs["fastprop"]
    return {
        "work": work.title,
        "data_bytes": x.nbytes + y.nbytes,
        "parameter_bytes": work.parameters * work.itemsize,
        "kept_bytes": kept_bytes(work),
        "bound_bytes": x.nbytes
        + y.nbytes
        + own["arena_bytes"]
        + arrays * work.parameters * work.itemsize
        + _FIXED_BYTES,
        **runs,
    }


def _run(key: str, folder: str) -> Figures:
    command = [sys.executable, "-m", f"{__package__}.footprint", key, folder]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{key} failed:\n{done.stderr[-2000:]}")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def peaks(found: list[Figures]) -> str:
    """Peak of resident memory, in Markdown."""
    header = ["MB", "data", "parameters", "arena", "bound", "fastprop", "of it imports"]
    header += ["PyTorch", "of it imports"]
    rows = []
    for f in found:
        own, torch = f["fastprop"], f["torch"]
        peak = own["peak_bytes"]
        mark = " !" if peak is not None and peak > f["bound_bytes"] else ""
        sizes = [f["data_bytes"], f["parameter_bytes"], own["arena_bytes"], f["bound_bytes"]]
        rows.append(
            [
                f["work"],
                *map(_megabytes, sizes),
                _megabytes(peak) + mark,
                _megabytes(own["imported_bytes"]),
                _megabytes(torch.get("peak_bytes")),
                _megabytes(torch.get("imported_bytes")),
            ]
        )
    absent = {f["torch"]["absent"] for f in found if "absent" in f["torch"]}
    return "\n\n".join([_table(header, rows), *(f"PyTorch is absent: {why}." for why in absent)])


def arenas(found: list[Figures]) -> str:
    """The arena beside what must be kept, in Markdown."""
    header = ["KB", "threads", "kept", "arena", "packed weights", "gradients", "the rest"]
    header += ["rest ÷ kept", "at its fullest"]
    rows = []
    for f in found:
        own, kept = f["fastprop"], f["kept_bytes"]
        gradients = min(own["gradient_bytes"], f["parameter_bytes"])
        rest = own["arena_bytes"] - own["packed_weight_bytes"] - gradients
        mark = " !" if rest > _ARENA_FACTOR * kept else ""
        holds = ", ".join(f"{name} {n / 1e3:.1f}" for name, n in list(own["fullest"].items())[:5])
        sizes = [kept, own["arena_bytes"], own["packed_weight_bytes"], gradients, rest]
        kilobytes = [f"{n / 1e3:.1f}" for n in sizes]
        rows.append([f["work"], str(own["threads"]), *kilobytes, f"{rest / kept:.2f}{mark}", holds])
    return _table(header, rows)


def _table(header: list[str], rows: list[list[str]]) -> str:
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def _megabytes(nbytes: int | None) -> str:
    return "-" if nbytes is None else f"{nbytes / 1e6:.1f}"


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = options.parser("memory", __doc__)
    options.add_works(parser, list(WORKS.values()))
    parser.add_argument("--json", type=Path, help="write all figures, in bytes")
    parser.add_argument("--markdown", type=Path, help="write the tables")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
