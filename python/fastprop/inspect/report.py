"""Where the time of a training step goes: what ``Trainer.report`` returns."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from fastprop.inspect.turns import Turn

PHASES = (
    "gather",
    "forward",
    "loss",
    "metrics",
    "dx",
    "dW",
    "db",
    "update",
    "pack",
    "other",
    "barrier wait",
    "end of step",
)
"""What the time of a step is divided into, in the order in which it is listed."""


@dataclass(frozen=True)
class InstructionTime:
    """One instruction of a step.

    Attributes:
        name: Op in the C++ table.
        layer: What it belongs to: a layer such as ``"0 Dense 784→512"``, ``"data"``, ``"loss"``,
            ``"metrics"`` or ``"optimizer"``.
        phase: ``"forward"``, ``"dx"``, ``"dW"``, ``"db"``, ``"update"``, ``"pack"``, ``"gather"``,
            ``"loss"``, ``"metrics"`` or ``"other"``.
        flops: Operations of its product in a step, multiplications by zero included (products skip
            them where there are many); 0 for what is no product.
        seconds: Of a step, for each thread.
        wait_seconds: At the barrier before it, for each thread.
    """

    name: str
    layer: str
    phase: str
    flops: float
    seconds: tuple[float, ...]
    wait_seconds: tuple[float, ...]


@dataclass(frozen=True)
class Entry:
    """One line of a report: a layer and a phase.

    Attributes:
        layer: As in :class:`InstructionTime`, or ``"threads"`` for what all threads do together.
        phase: Likewise; ``"barrier wait"`` and ``"end of step"`` besides.
        seconds: Of a step, the mean over the threads. All entries add up to the step.
        flops: Operations of the products in it.
    """

    layer: str
    phase: str
    seconds: float
    flops: float


@dataclass(frozen=True)
class Limit:
    """The shortest time that a step could take if it did all operations: products at the peak, the
    update at the bandwidth. A step whose products skip many zeros may take less.

    Attributes:
        flops: Operations of a step's products.
        update_bytes: What the optimizer has to move: the gradient read, parameter and state read
            and written.
        peak: Operations a second of all threads, on multiply-adds in registers.
        bandwidth: Bytes a second of all threads, over arrays as large as the optimizer's.
    """

    flops: float
    update_bytes: float
    peak: float
    bandwidth: float

    @property
    def seconds(self) -> float:
        return self.flops / self.peak + self.update_bytes / self.bandwidth

    def faster(self, other: Limit) -> Limit:
        """The same work at the higher rates of the two."""
        peak, bandwidth = max(self.peak, other.peak), max(self.bandwidth, other.bandwidth)
        return Limit(self.flops, self.update_bytes, peak, bandwidth)


@dataclass(frozen=True)
class Threads:
    """How many threads run a step, and why.

    Attributes:
        used: Threads of the measured steps.
        available: Threads that the process may use.
        fixed: True if the user asked for this number.
        predicted: The cost model's seconds of a step for each number of threads.
        tried: Seconds of a step on those numbers of threads that were compared.
    """

    used: int
    available: int
    fixed: bool
    predicted: dict[int, float]
    tried: dict[int, float]


@dataclass(frozen=True)
class Memory:
    """Bytes.

    Attributes:
        arena: Activations, gradients and packed weights.
        parameters: What is trained.
        state: The optimizer's arrays.
        peak_resident: The most that the process ever had in memory; ``None`` where the system does
            not tell.
    """

    arena: int
    parameters: int
    state: int
    peak_resident: int | None


@dataclass(frozen=True)
class Report:
    """Where the time of a training step goes. ``print`` shows it as a table.

    Its phases: ``gather`` collects the rows of the batch; ``forward``, ``loss`` and ``metrics``
    compute them; ``dx`` passes the gradient from a layer to the one below, ``dW`` and ``db`` are
    the gradients of its weights and its bias; ``update`` is the optimizer, ``pack`` brings weights
    into the order in which products read them. In ``barrier wait`` threads wait for each other.

    Attributes:
        title: Model and optimizer.
        dtype: Of the parameters.
        batch_size: Rows of a step.
        steps: Steps of the run that is reported; all times are means over them.
        run_step_seconds: Time of a step in every run, the shortest first; the median one is
            reported.
        instructions: Every instruction, in order.
        layers: What they belong to: the data, the model's modules in its order, loss and metrics.
        end_seconds: Of a step, for each thread: to store outputs and record scalars at its end.
        end_wait_seconds: Of a step, for each thread: at the barrier that ends it.
        run_start_seconds: Once a run, for each thread: weights are packed.
        limit: What the machine allows.
        threads: How many there are, and why.
        memory: What it takes.
        barriers: Times that the threads wait for each other in a step.
        parameters: How many numbers are trained.
        turns: The timed runs, those of the limit and the dropped ones as well, in seconds of a
            step; with where the cores were before and after each.
    """

    title: str
    dtype: str
    batch_size: int
    steps: int
    run_step_seconds: tuple[float, ...]
    instructions: tuple[InstructionTime, ...]
    layers: tuple[str, ...]
    end_seconds: tuple[float, ...]
    end_wait_seconds: tuple[float, ...]
    run_start_seconds: tuple[float, ...]
    limit: Limit
    threads: Threads
    memory: Memory
    barriers: int
    parameters: int
    turns: tuple[Turn, ...] = ()

    @property
    def entries(self) -> list[Entry]:
        """The layers with their phases; then the waits."""
        seconds: dict[tuple[str, str], float] = {}
        flops: dict[tuple[str, str], float] = {}
        for item in self.instructions:
            key = (item.layer, item.phase)
            seconds[key] = seconds.get(key, 0.0) + _mean(item.seconds)
            flops[key] = flops.get(key, 0.0) + item.flops
        found = [
            Entry(*key, seconds[key], flops[key])
            for key in sorted(seconds, key=lambda k: (self.layers.index(k[0]), PHASES.index(k[1])))
        ]
        found.append(Entry("threads", "barrier wait", _mean(self.wait_seconds), 0.0))
        found.append(Entry("threads", "end of step", _mean(self.end_seconds), 0.0))
        return found

    @property
    def wait_seconds(self) -> tuple[float, ...]:
        """Of a step, for each thread: at all barriers."""
        waits = [*(item.wait_seconds for item in self.instructions), self.end_wait_seconds]
        return tuple(map(sum, zip(*waits, strict=True)))

    @property
    def step_seconds(self) -> float:
        """Time of a step."""
        return sum(entry.seconds for entry in self.entries)

    @property
    def flops_per_second(self) -> float:
        """Rate of a step: its products' operations by its whole time."""
        return self.limit.flops / self.step_seconds

    @property
    def share_of_limit(self) -> float:
        """The limit's time divided by the step's; 1 would be perfect."""
        return self.limit.seconds / self.step_seconds

    def to_dict(self) -> dict[str, Any]:
        """All of it as numbers, strings, lists and dicts, as JSON takes them; times in seconds."""
        from dataclasses import asdict

        step = self.step_seconds
        parts = asdict(self)
        parts["entries"] = [
            {
                **asdict(entry),
                "share": entry.seconds / step,
                "flops_per_second": entry.flops / entry.seconds if entry.seconds > 0 else 0.0,
            }
            for entry in self.entries
        ]
        parts["turns"] = [turn.to_dict() for turn in self.turns]
        parts["step_seconds"] = step
        parts["flops_per_second"] = self.flops_per_second
        parts["share_of_limit"] = self.share_of_limit
        parts["limit"]["seconds"] = self.limit.seconds
        for name in ("predicted", "tried"):  # JSON knows no numbers as keys
            times = parts["threads"][name]
            parts["threads"][name] = [{"threads": n, "seconds": s} for n, s in times.items()]
        return parts

    def plot(self, path: str | os.PathLike[str], *, dpi: int = 130) -> Path:
        """Draw the time of every layer as a bar, stacked by phase.

        Args:
            path: File to write; its ending chooses the format (``.png``, ``.svg``, ``.pdf``).
            dpi: Dots per inch of pixel formats.

        Returns:
            The path.

        Raises:
            ImportError: matplotlib is not installed.
            ValueError: The ending of `path` is no picture format.
            OSError: The file cannot be written.
        """
        from fastprop.inspect.report_picture import plot_report

        return plot_report(self, path, dpi=dpi)

    def __str__(self) -> str:
        from fastprop.inspect.report_table import format_report

        return format_report(self)


def _mean(values: tuple[float, ...]) -> float:
    return sum(values) / len(values)
