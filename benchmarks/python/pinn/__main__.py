"""A step of a physics-informed network (Burgers' equation) in all contestants.

    python -m benchmarks.python.pinn
    python -m benchmarks.python.pinn --threads 1 --points 2000 --rounds 9

2-20x8-1, tanh, 10,000 points, Adam. Each contestant runs in a process of its own on the same CPUs;
they take turns of five steps. All losses must agree. Exit status 1 if they do not.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time

from .. import options
from ..placement import remark, turns_on
from ..pool import choose_cpus
from .contestants import CONTESTANTS, tolerance
from .problem import STEPS

_PATIENCE = 30.0  # seconds for turns that are repeated because the cores shared no cache


class Worker:
    """A contestant in its process."""

    def __init__(self, name: str, count: int, cpus: list[int]) -> None:
        self.name, self.label = name, CONTESTANTS[name][0]
        self.losses: list[float] = []  # after each turn, also of those that are repeated
        number = str(len(cpus))
        flags = "--xla_cpu_multi_thread_eigen=" + ("true" if len(cpus) > 1 else "false")
        environment = {**os.environ, "OMP_NUM_THREADS": number, "XLA_FLAGS": flags}
        command = [sys.executable, "-m", "benchmarks.python.pinn", "--worker", name]
        self._process = subprocess.Popen(
            [*command, "--points", str(count), "--threads", number],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            preexec_fn=lambda: os.sched_setaffinity(0, cpus),
        )

    def turn(self) -> tuple[float, float] | None:
        """Seconds of a step and the loss, or ``None`` if it cannot run."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return None
        line = self._process.stdout.readline()
        if not line:
            return None
        seconds, loss = json.loads(line)
        self.losses.append(loss)
        return seconds, loss

    def close(self) -> str:
        """The last line of what went wrong, if anything did."""
        _, error = self._process.communicate()
        return error.strip().splitlines()[-1] if error.strip() else ""


def work(name: str, count: int, threads: int) -> None:
    turn = CONTESTANTS[name][1](count, threads)
    for _ in sys.stdin:
        started = time.perf_counter()
        loss = turn()
        print(json.dumps([(time.perf_counter() - started) / STEPS, loss]), flush=True)


def compare(count: int, threads: int, rounds: int, *, any_placement: bool) -> bool:
    cpus = choose_cpus(threads)
    workers = [Worker(name, count, cpus) for name in CONTESTANTS]
    first = {w.name: w.turn() for w in workers}  # compiles
    times: dict[str, list[float]] = {w.name: [] for w in workers if first[w.name] is not None}
    turns = turns_on(cpus, _PATIENCE, any_placement=any_placement)
    for _ in range(rounds):
        for worker in workers:
            if worker.name in times:
                found = turns.take(worker.name, worker.turn)
                assert found is not None
                times[worker.name].append(found[0])
    errors = {w.name: w.close() for w in workers}
    own = statistics.median(times["fastprop"])
    # Who repeated a turn has trained for longer.
    common = min(len(w.losses) for w in workers if w.name in times) - 1
    losses = {w.name: w.losses[common] for w in workers if w.name in times}
    agree = True
    print(f"\n### {threads} thread{'s' * (threads > 1)}, {count} points\n")
    print("| contestant | ms a step | of fastprop's | loss |\n| --- | ---: | ---: | ---: |")
    for worker in workers:
        if worker.name not in times:
            print(f"| {worker.label} | absent: {errors[worker.name]} | | |")
            continue
        middle, loss = statistics.median(times[worker.name]), losses[worker.name]
        right = abs(loss - losses["fastprop"]) <= tolerance(losses["fastprop"])
        agree &= right
        mark = "" if right else " (differs)"
        print(f"| {worker.label} | {1e3 * middle:.2f} | {middle / own:.2f} | {loss:.6f}{mark} |")
    if said := remark(turns.log):
        print(f"\n{said}.")
    return agree


def main(argv: list[str] | None = None) -> int:
    parser = options.parser("pinn", __doc__)
    options.add_threads(parser, [1, 2])
    options.add_rounds(parser)
    parser.add_argument("--points", type=options.positive, default=10_000, help="inside the domain")
    parser.add_argument("--worker", choices=list(CONTESTANTS), help="used by the command itself")
    arguments = parser.parse_args(argv)
    if arguments.worker:
        work(arguments.worker, arguments.points, arguments.threads[0])
        return 0
    rounds, everything = arguments.rounds or 7, arguments.any_placement
    agree = [
        compare(arguments.points, n, rounds, any_placement=everything) for n in arguments.threads
    ]
    return 0 if all(agree) else 1


if __name__ == "__main__":
    sys.exit(main())
