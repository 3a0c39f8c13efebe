"""A guard against slowness that does not depend on the machine: instructions, counted by valgrind.

A small training step and one kernel of each family run on one thread at one instruction-set level
(x86-64-v3). What N more repetitions cost is compared with the recorded counts; more than 5 % either
way fails, so that a gain is recorded too. Another compiler gives other counts: those are printed
and do not fail. Without valgrind or the program there is nothing to do, and a line says so.

    python tests/instruction_counts.py build/fastprop_instructions_v3 --check
    python tests/instruction_counts.py build/fastprop_instructions_v3 --update
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

RECORDED = Path(__file__).with_name("instruction_counts.json")
TOLERANCE = 0.05
REPETITIONS = 8


def count(program: Path, work: str, repetitions: int) -> int:
    """Instructions of one whole process."""
    command = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    done = subprocess.run(
        [*command, str(program), work, str(repetitions)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    found = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
    if done.returncode != 0 or found is None:
        raise RuntimeError(f"valgrind failed on {work!r}:\n{done.stderr[-2000:]}")
    return int(found[1].replace(",", ""))


def counts(program: Path, names: list[str]) -> dict[str, int]:
    """Instructions of one repetition of each piece of work; what starts and ends a run cancels."""
    runs = [(name, n) for name in names for n in (REPETITIONS, 2 * REPETITIONS)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        totals = dict(zip(runs, pool.map(lambda run: count(program, *run), runs), strict=True))
    return {
        name: round((totals[name, 2 * REPETITIONS] - totals[name, REPETITIONS]) / REPETITIONS)
        for name in names
    }


def family(compiler: str) -> str:
    """``GCC 12.2.0, Eigen 3.4.0`` -> ``GCC 12, Eigen 3.4``: what counts may depend on."""
    return re.sub(r"(\S+ \d+)[^,]*, Eigen (\d+\.\d+).*", r"\1, Eigen \2", compiler)


def compare(measured: dict[str, int], recorded: dict[str, int]) -> list[str]:
    """Print a line for each; return the names of those that differ by more than the tolerance."""
    failed = []
    for name, now in measured.items():
        before = recorded.get(name)
        ratio = now / before if before else float("nan")
        wrong = before is not None and abs(ratio - 1) > TOLERANCE
        failed += [name] * wrong
        told = f"{before:>12,}  {ratio:6.3f}" if before else f"{'-':>12}"
        print(f"{name:28}{now:>12,}{told}{'  <-- off by more than 5 %' * wrong}")
    return failed


def update(key: str, measured: dict[str, int]) -> None:
    everything = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    everything[key] = measured
    RECORDED.write_text(json.dumps(everything, indent=2, sort_keys=True) + "\n")
    print(f"recorded for {key} in {RECORDED}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("program", type=Path, help="fastprop_instructions_v3 of a build")
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--check", action="store_true", help="compare with the recorded counts")
    mode.add_argument("--update", action="store_true", help="record the counts")
    arguments = parser.parse_args()

    if shutil.which("valgrind") is None or not arguments.program.exists():
        print(f"no valgrind here, or no {arguments.program}: instruction counts are SKIPPED")
        return 0
    listing = subprocess.run([arguments.program], capture_output=True, text=True, check=True)
    compiler, *names = listing.stdout.splitlines()
    key = family(compiler)
    measured = counts(arguments.program, names)
    if arguments.update:
        update(key, measured)
        return 0
    recorded = json.loads(RECORDED.read_text()).get(key) if RECORDED.exists() else None
    if recorded is None:
        compare(measured, {})
        print(f"nothing is recorded for {key}: nothing to compare with")
        return 0
    failed = compare(measured, recorded)
    if failed or set(recorded) != set(measured):
        print(f"changed: {', '.join(failed) or 'the list of work'}. If that is meant: --update")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
