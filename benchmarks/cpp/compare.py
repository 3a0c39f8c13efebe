"""Two runs of a microbenchmark program, old and new, sorted by how much slower the new one is.

    build/release/fastprop_bench_v3 --benchmark_out=old.json
    …
    build/release/fastprop_bench_v3 --benchmark_out=new.json
    python -m benchmarks.cpp.compare old.json new.json
    python -m benchmarks.cpp.compare old.json new.json --filter gemm --fail-above 10

A ratio is new time ÷ old time, so 1.20 is 20 % slower. Each benchmark's time is the least of its
repetitions (``--benchmark_repetitions``): other processes only ever add to it. Where both runs know
their share of the peak, that is shown too; it does not change with the clock of a shared machine.
Exit status 1 with --fail-above if something is slower by more than that, and 2 if a file cannot
be read or the files have no benchmark in common.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NANOSECONDS = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9}
# Context in which two runs may differ without being incomparable.
_MACHINE = ("cpu", "fastprop_level", "compiler", "num_cpus")


class Unreadable(Exception):
    """A file is not what Google Benchmark writes."""


@dataclass(frozen=True)
class Run:
    """One benchmark of one file.

    Attributes:
        nanoseconds: Time of an iteration, wall time if it was timed so.
        share: Percent of the machine's peak, None where that was not counted.
        error: Why it has no time; empty if it has.
    """

    nanoseconds: float
    share: float | None = None
    error: str = ""


@dataclass(frozen=True)
class Pair:
    name: str
    old: Run
    new: Run

    @property
    def ratio(self) -> float:
        return self.new.nanoseconds / self.old.nanoseconds


def main(argv: list[str] | None = None) -> int:
    options = _options(argv)
    try:
        old_context, old = read(options.old)
        new_context, new = read(options.new)
    except Unreadable as error:
        print(error, file=sys.stderr)
        return 2
    wanted = re.compile(options.filter)
    old, new = ({n: r for n, r in runs.items() if wanted.search(n)} for runs in (old, new))
    pairs = match(old, new)
    if not pairs:
        print("no benchmark is in both files", file=sys.stderr)
        return 2
    threshold = options.threshold if options.fail_above is None else options.fail_above
    for line in differences(old_context, new_context):
        print(line)
    print(table(pairs, threshold))
    for line in leftovers(old, new):
        print(line)
    worse = [p for p in pairs if is_worse(p, threshold)]
    failed = [name for name, run in new.items() if run.error]
    return 1 if options.fail_above is not None and (worse or failed) else 0


def read(path: Path) -> tuple[dict[str, Any], dict[str, Run]]:
    """Context and benchmarks of a file.

    Raises:
        Unreadable: It is not there, or not what Google Benchmark writes.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        entries = content["benchmarks"]
        runs: dict[str, Run] = {}
        for entry in entries:
            if entry.get("run_type") == "aggregate":
                continue
            name = entry.get("run_name", entry["name"])
            run = _run(entry)
            known = runs.get(name)
            if known is None or known.error or (not run.error and _faster(run, known)):
                runs[name] = run
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(f"{path}: not a file of --benchmark_out: {error!r}") from None
    return content.get("context", {}), runs


def _run(entry: dict[str, Any]) -> Run:
    if entry.get("error_occurred"):
        return Run(float("nan"), error=entry.get("error_message") or "failed")
    wall = entry["name"].endswith("/real_time") or "/real_time/" in entry["name"]
    time = entry["real_time" if wall else "cpu_time"] * _NANOSECONDS[entry["time_unit"]]
    if not time > 0:
        raise ValueError(f"{entry['name']} took {time} ns")
    return Run(time, entry.get("peak%"))


def _faster(a: Run, b: Run) -> bool:
    return a.nanoseconds < b.nanoseconds


def match(old: dict[str, Run], new: dict[str, Run]) -> list[Pair]:
    """The benchmarks that have a time in both, those that lost most first."""
    pairs = [
        Pair(name, run, new[name])
        for name, run in old.items()
        if name in new and not run.error and not new[name].error
    ]
    return sorted(pairs, key=lambda p: -p.ratio)


def is_worse(pair: Pair, percent: float) -> bool:
    """Is the new one slower by more than `percent`?"""
    return pair.ratio > 1 + percent / 100


def table(pairs: list[Pair], percent: float) -> str:
    """One line a benchmark, and a summary."""
    width = max(len(p.name) for p in pairs)
    lines = [f"{'benchmark':<{width}}  {'old':>10}  {'new':>10}  ratio  share of peak"]
    for p in pairs:
        shares = ""
        if p.old.share is not None and p.new.share is not None:
            shares = f"{p.old.share:.0f} % -> {p.new.share:.0f} %"
        mark = "  SLOWER" if is_worse(p, percent) else ""
        times = f"{_time(p.old):>10}  {_time(p.new):>10}"
        lines.append(f"{p.name:<{width}}  {times}  {p.ratio:5.2f}  {shares}{mark}".rstrip())
    slower = sum(is_worse(p, percent) for p in pairs)
    faster = sum(p.ratio < 1 / (1 + percent / 100) for p in pairs)
    middle = sorted(p.ratio for p in pairs)[len(pairs) // 2]
    lines.append(
        f"{slower} of {len(pairs)} slower by more than {percent:g} %, {faster} faster; "
        f"median ratio {middle:.2f}"
    )
    return "\n".join(lines)


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What makes the two runs hard to compare."""
    return [
        f"note: {key} was {old.get(key)}, is {new.get(key)}"
        for key in _MACHINE
        if old.get(key) != new.get(key)
    ]


def leftovers(old: dict[str, Run], new: dict[str, Run]) -> list[str]:
    """Benchmarks of one file alone, and those that failed."""
    lines = [f"only in the old file: {name}" for name in old if name not in new]
    lines += [f"only in the new file: {name}" for name in new if name not in old]
    lines += [f"failed in the old file: {n}: {r.error}" for n, r in old.items() if r.error]
    lines += [f"failed in the new file: {n}: {r.error}" for n, r in new.items() if r.error]
    return lines


def _time(run: Run) -> str:
    unit = next((u for u in ("s", "ms", "us") if run.nanoseconds >= _NANOSECONDS[u]), "ns")
    return f"{run.nanoseconds / _NANOSECONDS[unit]:.4g} {unit}"


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cpp.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--filter", default="", help="only names in which this expression is found")
    parser.add_argument(
        "--threshold",
        type=float,
        default=5.0,
        help="percent beyond which a line is marked; default %(default)s",
    )
    parser.add_argument(
        "--fail-above", type=float, help="exit with 1 if something is slower by more percent"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
