"""Worker processes, as their parent sees them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

from .works import Work

_ROOT = Path(__file__).resolve().parents[2]


class WorkerError(Exception):
    """A contestant could not do what was asked; the message says why."""


class Worker:
    """One contestant in a process of its own.

    Args:
        key: Which contestant.
        cpus: The CPUs that it may use; their number is its number of threads.

    Attributes:
        versions: Of the framework, once :meth:`started` was called.
    """

    def __init__(self, key: str, cpus: list[int]) -> None:
        self.key = key
        self.versions: dict[str, str] = {}
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the worker
        command = [sys.executable, "-m", f"{__package__}.worker", key, ",".join(map(str, cpus))]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=_ROOT,
            env=_environment(len(cpus)),
            text=True,
        )

    def started(self) -> str:
        """Wait for the start. Empty if all is well, else why this contestant is absent."""
        answer = self.answer()
        self.versions = answer.get("versions", {})
        return str(answer.get("absent", ""))

    def send(self, **command: Any) -> None:
        """Give a command; :meth:`answer` waits for its end."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """The answer to the last command.

        Raises:
            WorkerError: It failed, or its process ended.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(f"its process ended with status {self._process.wait()}\n{self.log()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def ask(self, **command: Any) -> dict[str, Any]:
        self.send(**command)
        return self.answer()

    def send_work(self, work: Work) -> None:
        self.send(do="prepare", work=vars(work))

    def log(self) -> str:
        """The end of what it printed."""
        self._log.seek(0)
        return self._log.read()[-2000:]

    def close(self) -> None:
        """End the process; harmless if it has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def choose_cpus(count: int) -> list[int]:
    """CPUs for `count` threads, on different cores as long as there are any.

    Raises:
        ValueError: This process may use fewer.
    """
    usable = usable_cpus()
    if count > len(usable):
        raise ValueError(f"{count} threads asked for, this process may use {len(usable)} CPUs")
    first_of_core: list[int] = []
    siblings: list[int] = []
    seen: set[str] = set()
    for cpu in usable:
        core = _siblings(cpu)
        (siblings if core in seen else first_of_core).append(cpu)
        seen.add(core)
    return sorted([*first_of_core, *siblings][:count])


def usable_cpus() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _siblings(cpu: int) -> str:
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    try:
        return path.read_text().strip()
    except OSError:
        return str(cpu)


def _environment(threads: int) -> dict[str, str]:
    """What the frameworks read: the number of threads, and the CPU even where there is a GPU."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "FASTPROP_NUM_THREADS")
    env = {**os.environ, **dict.fromkeys(names, str(threads)), "JAX_PLATFORMS": "cpu"}
    if threads == 1:
        flags = [env.get("XLA_FLAGS", ""), "--xla_cpu_multi_thread_eigen=false"]
        env["XLA_FLAGS"] = " ".join(flags).strip()
    return env
