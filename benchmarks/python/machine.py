"""What this machine allows: peak of multiply-adds, rate of a product, and bandwidth, measured while
the benchmark runs.

A small C file is compiled for exactly this CPU, if there is a C compiler. Without one the rate of a
large float32 product in NumPy stands in for the peak, and the tables say so.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import NamedTuple

import numpy as np

from fastprop import kernels

from .pool import usable_cpus
from .works import Work

_SOURCE = Path(__file__).with_name("peak.c")
_WIDTH, _REPEATS = 512, 4  # of the matrices of `product_rate`: 10 to 15 ms


class Bounds(NamedTuple):
    """What a step takes at least, in seconds, if every multiply-add is done.

    Attributes:
        limit: Its products at the peak of multiply-adds, its update at the bandwidth.
        attainable: Its products at the rate of dense products instead. The difference is what no
            framework can help, as long as its products are not better, or skip zeros.
    """

    limit: float
    attainable: float


class Machine:
    """Rates of `cpus` together.

    Attributes:
        source: How the peak was found, for the table's caption.
    """

    def __init__(self, cpus: list[int]) -> None:
        self._cpus = cpus
        self._library = _compile()
        self.source = (
            "multiply-adds in registers"
            if self._library
            else "NumPy's product of 2048 x 2048 matrices, for want of a C compiler"
        )
        self._arrays: dict[int, list[np.ndarray]] = {}
        ones = [np.ones((_WIDTH, _WIDTH), np.float32) for _ in range(3 * len(cpus))]
        self._matrices = [ones[3 * rank : 3 * rank + 3] for rank in range(len(cpus))]

    def peak(self) -> float:
        """Floating-point operations a second, float32; takes about 20 ms."""
        library = self._library
        if library is None:
            return _product_rate() * len(self._cpus)
        rounds = 100_000

        def run(rank: int) -> float:
            sink = (ctypes.c_float * 16)()
            return min(library.fma_seconds(rounds, sink) for _ in range(5))

        flops = library.fma_flops(rounds)
        return sum(flops / took for took in self._on_each_cpu(run))

    def bandwidth(self, footprint: float) -> float:
        """Bytes a second of y = a + 3 b, over arrays of `footprint` bytes in all.

        Where the update's arrays fit a cache, so do these: the limit must not assume slow memory.
        """
        length = max(4096, int(footprint) // 12 // len(self._cpus))
        rounds = max(1, int(2e7) // (12 * length))

        def run(rank: int) -> float:
            y, a, b = self._workspace(rank, length)
            return min(self._stream(y, a, b, rounds) for _ in range(5))

        return sum(12.0 * length * rounds / took for took in self._on_each_cpu(run))

    def product_rate(self) -> float:
        """Floating-point operations a second of products that each CPU computes on its own.

        What a product reaches, and a loop in registers does not show, is how busy the other
        hardware thread of each core is, and the caches. So it is a mean, as the time of a step is.
        """

        def run(rank: int) -> float:
            a, b, out = self._matrices[rank]
            kernels.matmul(a, b, out=out)  # the first one finds nothing in cache
            return _timed(lambda: [kernels.matmul(a, b, out=out) for _ in range(_REPEATS)])

        flops = 2.0 * _WIDTH**3 * _REPEATS
        return sum(flops / took for took in self._on_each_cpu(run))

    def bounds(self, work: Work) -> Bounds:
        """Of a step of `work`. A register holds half as many float64, so their rates are halved."""
        flops = work.flops * (work.itemsize / 4)
        update = work.update_bytes / self.bandwidth(work.update_footprint)
        return Bounds(flops / self.peak() + update, flops / self.product_rate() + update)

    def _stream(self, y: np.ndarray, a: np.ndarray, b: np.ndarray, rounds: int) -> float:
        if self._library is not None:
            pointers = [v.ctypes.data_as(ctypes.POINTER(ctypes.c_float)) for v in (y, a, b)]
            return float(self._library.stream_seconds(*pointers, len(y), rounds))
        start = time.perf_counter()
        for _ in range(rounds):
            np.add(a, b, out=y)
        return time.perf_counter() - start

    def _workspace(self, rank: int, length: int) -> list[np.ndarray]:
        arrays = self._arrays.get(rank)
        if arrays is None or len(arrays[0]) != length:
            arrays = self._arrays[rank] = [np.ones(length, np.float32) for _ in range(3)]
        return arrays

    def _on_each_cpu(self, run: Callable[[int], float]) -> list[float]:
        """Call `run` at the same time in one thread a CPU; ctypes and NumPy release the GIL."""
        barrier = Barrier(len(self._cpus))

        def pinned(rank: int) -> float:
            if hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(0, [self._cpus[rank]])
            barrier.wait()
            return run(rank)

        with ThreadPoolExecutor(len(self._cpus)) as pool:
            return list(pool.map(pinned, range(len(self._cpus))))


def busy_cpus(seconds: float = 1.0) -> float:
    """How many CPUs other processes keep busy now; 0 where that cannot be seen."""
    before = _busy_ticks()
    time.sleep(seconds)
    return (_busy_ticks() - before) / 100 / seconds


def _busy_ticks() -> float:
    """Hundredths of a second that all CPUs together have worked since the machine's start."""
    try:
        words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    except OSError:
        return 0.0
    user, nice, system, _idle, _iowait, irq, softirq, *_ = map(float, words)
    return user + nice + system + irq + softirq


def cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _compile() -> ctypes.CDLL | None:
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None or os.name == "nt":
        return None
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "peak.so"
        base = [compiler, "-O3", "-ffp-contract=fast", "-shared", "-fPIC"]
        wide = [*base, "-march=native", "-mprefer-vector-width=512"]
        for command in (wide, [*base, "-march=native"], [*base, "-mcpu=native"]):
            done = subprocess.run([*command, _SOURCE, "-o", library], capture_output=True)
            if done.returncode == 0:
                return _typed(ctypes.CDLL(str(library)))
    return None


def _typed(library: ctypes.CDLL) -> ctypes.CDLL:
    floats = ctypes.POINTER(ctypes.c_float)
    library.fma_flops.argtypes = [ctypes.c_long]
    library.fma_seconds.argtypes = [ctypes.c_long, floats]
    library.stream_seconds.argtypes = [*[floats] * 3, ctypes.c_size_t, ctypes.c_long]
    for function in (library.fma_flops, library.fma_seconds, library.stream_seconds):
        function.restype = ctypes.c_double
    return library


def _product_rate() -> float:
    """What one CPU contributes to NumPy's rate, which uses all CPUs of this process."""
    a = np.ones((2048, 2048), np.float32)
    best = min(_timed(lambda: a @ a) for _ in range(3))
    return 2.0 * 2048**3 / best / len(usable_cpus())


def _timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
