"""A report as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastprop.inspect.turns import cores_text

if TYPE_CHECKING:
    from fastprop.inspect.report import Entry, Report, Threads

_NOTHING = 1e-7  # seconds that looking at the clock takes
_HEAD = ("layer", "phase", "µs a step", "share", "GFLOP/s", "of peak")


def format_report(report: Report) -> str:
    """A line for every layer and phase, then every phase as a whole, then the sums."""
    entries = report.entries
    lines = [f"A training step: {_headline(report)}", ""]
    rows: list[Sequence[str]] = [_HEAD]
    layer = ""
    for entry in entries:
        rows.append(("" if entry.layer == layer else entry.layer, *_cells(entry, report)))
        layer = entry.layer
    rows += [(), *_by_phase(entries, report)]
    lines += align(rows, left=2)
    lines.append("")
    lines += align(list(_totals(report).items()), left=2)
    return "\n".join(lines)


def _headline(report: Report) -> str:
    threads = count(report.threads.used, "thread")
    return f"{report.title}, batch {report.batch_size}, {report.dtype}, {threads}"


def _cells(entry: Entry, report: Report) -> tuple[str, ...]:
    rate = entry.flops / entry.seconds if entry.flops > 0 and entry.seconds > 0 else 0.0
    return (
        entry.phase,
        microseconds(entry.seconds),
        percent(entry.seconds / report.step_seconds),
        f"{rate * 1e-9:,.1f}" if rate else "",
        percent(rate / report.limit.peak) if rate else "",
    )


def _by_phase(entries: Sequence[Entry], report: Report) -> list[Sequence[str]]:
    from fastprop.inspect.report import PHASES, Entry

    rows: list[Sequence[str]] = []
    for phase in PHASES:
        members = [e for e in entries if e.phase == phase]
        if members:
            total = Entry("", phase, sum(e.seconds for e in members), sum(e.flops for e in members))
            rows.append(("" if rows else "all layers", *_cells(total, report)))
    whole = Entry("", "", report.step_seconds, report.limit.flops)
    return [*rows, ("the step", *_cells(whole, report))]


def _totals(report: Report) -> dict[str, str]:
    limit, memory = report.limit, report.memory
    found = {
        "step": f"{microseconds(report.step_seconds)} µs, {_spread(report)}",
        "limit": f"{microseconds(limit.seconds)} µs: {limit.flops * 1e-6:,.1f} MFLOP at "
        f"{limit.peak * 1e-9:,.1f} GFLOP/s and {limit.update_bytes * 1e-6:,.2f} MB of the update "
        f"at {limit.bandwidth * 1e-9:,.1f} GB/s",
        "share of the limit": percent(report.share_of_limit),
        **_zeros(report),
        "threads": f"{report.threads.used} of {report.threads.available}, {_why(report.threads)}",
        **({"cores": cores} if (cores := cores_text(report.turns)) else {}),
        "barriers": f"{report.barriers} a step{_waits(report)}",
        "instructions": str(len(report.instructions)),
        **_start(report),
        "parameters": f"{report.parameters:,} in {bytes_text(memory.parameters)}",
        "optimizer's state": bytes_text(memory.state),
        "arena": f"{bytes_text(memory.arena)} of activations, gradients and packed weights",
    }
    if memory.peak_resident is not None:
        found["peak of the process"] = bytes_text(memory.peak_resident)
    return found


def _zeros(report: Report) -> dict[str, str]:
    """How a product comes to be faster than the peak."""
    rates = (e.flops / e.seconds for e in report.entries if e.seconds > 0)
    if max(rates, default=0.0) <= report.limit.peak:
        return {}
    return {"zeros": "multiplications by zero count as operations, though products skip them"}


def _start(report: Report) -> dict[str, str]:
    """What a run does before its first step: nothing where weights are not kept packed."""
    seconds = max(report.run_start_seconds)
    if seconds < _NOTHING:
        return {}
    return {"start of a run": f"{microseconds(seconds)} µs to pack the weights"}


def _spread(report: Report) -> str:
    runs = report.run_step_seconds
    steps = count(report.steps, "step")
    if len(runs) == 1:
        return f"one run of {steps}"
    span = f"{microseconds(runs[0])} to {microseconds(runs[-1])}"
    return f"median of {len(runs)} runs of {steps} ({span})"


def _waits(report: Report) -> str:
    waits = report.wait_seconds
    if len(waits) == 1:
        return ""
    return f", where threads wait {microseconds(min(waits))} to {microseconds(max(waits))} µs"


def _why(threads: Threads) -> str:
    if threads.fixed:
        return "as asked for"
    if threads.available == 1:
        return "all that the process may use"
    reason = f"as planned: {_times(threads.predicted)} predicted"
    return reason + (f", {_times(threads.tried)} measured" if threads.tried else "")


def _times(seconds: dict[int, float]) -> str:
    """The few that tell most: one thread, and the best others."""
    best = sorted(seconds, key=seconds.__getitem__)[:3]
    return ", ".join(
        f"{microseconds(seconds[n])} µs on {n}" for n in sorted({1, *best} & seconds.keys())
    )


# -- columns of text, and numbers in them ----------------------------------------------------------


def align(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Rows as lines of columns, the first `left` of them flush left; the last is not padded."""
    columns = max(map(len, rows))
    widths = [max((len(row[i]) for row in rows if i < len(row)), default=0) for i in range(columns)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def microseconds(seconds: float) -> str:
    value = 1e6 * seconds
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def bytes_text(number: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.2f} GiB"


def count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
