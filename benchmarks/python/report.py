"""Results for people: a line while it runs, tables in Markdown."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from .contestants import CONTESTANTS, label
from .race import Result

BEGIN = "<!-- benchmarks:begin -->"
END = "<!-- benchmarks:end -->"


def line(result: Result) -> str:
    """One work, short."""
    times = [f"{key} {duration(result.median(key))}" for key in result.microseconds]
    text = "  " + ", ".join(times or ["no times"])
    if result.ratio:
        text += f"; {_ratio(result)} x the best peer; {_share(result)} of the limit"
    return f"{text}; {result.remark}" if result.remark else text


def present(results: list[Result]) -> list[str]:
    """The contestants that have times, in the order of the tables."""
    return [k for k in CONTESTANTS if any(k in r.microseconds for r in results)]


def by_threads(facts: dict[str, Any], results: list[Result]) -> str:
    """A table for each number of threads, and under them how they came about."""
    tables = []
    for threads in sorted({r.threads for r in results}, reverse=True):
        rows = [(r.work.title, r) for r in results if r.threads == threads]
        tables.append(table(threads_text(threads), rows))
    return "\n\n".join([*tables, caption(facts, results)])


def ranking(facts: dict[str, Any], results: list[Result]) -> str:
    """One row a work and number of threads: those on which fastprop gains least come first."""
    ranked = sorted(results, key=lambda r: r.ratio or 0.0)
    text = table("work", [(f"{r.work.title}, {threads_text(r.threads)}", r) for r in ranked])
    ratios = [r.ratio for r in ranked if r.ratio]
    if ratios:
        losers = sum(ratio < 1 for ratio in ratios)
        text += (
            f"\n\nfastprop is slower than its best peer in {losers} of {len(ratios)}; "
            f"best peer ÷ fastprop is {statistics.median(ratios):.2f} in the median, "
            f"{ratios[0]:.2f} at least."
        )
    return f"{text}\n\n{caption(facts, results)}"


def table(corner: str, rows: list[tuple[str, Result]]) -> str:
    """A line for each result: times of all contestants, ratio, and share of the limit."""
    keys = present([r for _, r in rows])
    header = [corner, *map(label, keys), "best peer ÷ fastprop", "share of the limit"]
    lines = [header, ["---", *["---:"] * (len(header) - 1)]]
    for name, result in rows:
        name += f" ({result.elsewhere})" if result.elsewhere else ""
        cells = [_cell(result, key) for key in keys]
        lines.append([name, *cells, _ratio(result), _share(result)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def threads_text(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"


def _ratio(result: Result) -> str:
    if not result.ratio:
        return "-"
    bound = result.attainable_ratio
    return f"{result.ratio:.2f}" + (f" ({bound:.2f})" if bound else "")


def _share(result: Result) -> str:
    if result.share is None:
        return "-"
    reached = result.attainable_share
    return f"{100 * result.share:.0f} %" + (f" ({100 * reached:.0f} %)" if reached else "")


def _cell(result: Result, key: str) -> str:
    if key in result.microseconds:
        text = duration(result.median(key))
        best = result.best_peer is not None and result.median(key) == min(
            filter(None, map(result.median, result.microseconds))
        )
        return f"**{text}**" if best else text
    if key in result.mismatched:
        return "wrong"
    return "failed" if key in result.errors else "-"


def caption(facts: dict[str, Any], results: list[Result]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(facts["versions"].items()))
    spreads = [s for r in results for k in r.microseconds if (s := r.spread(k)) is not None]
    spread = f", median absolute deviation at most {100 * max(spreads):.0f} %" if spreads else ""
    lines = [
        f"Time of a training step{_kind(results)}: median of {facts['rounds']} rounds in "
        f"which the contestants took turns{spread}. {facts['cpu']}, {facts['date']}; {versions}. "
        "Limit: the products' operations, zeros included, at the machine's peak plus the update's "
        f"bytes at its bandwidth, both measured in the same rounds ({facts['limit']})."
    ]
    lines += _attainable(results)
    lines += _placements(facts, results)
    lines += [f"{label(key)} was absent: {why}." for key, why in facts["absent"].items()]
    for result in results:
        for key, why in result.errors.items():
            first = why.splitlines()[0]
            where = f"{result.work.name}, {threads_text(result.threads)}"
            lines.append(f"{label(key)} on {where}: {first}.")
    left_out = facts.get("left_out", {}).items()
    lines += [f"{label(key)} was left out: {why}." for key, why in left_out]
    return "\n\n".join(lines)


def _attainable(results: list[Result]) -> list[str]:
    """What a step of nothing but dense products and the update would reach."""
    if not any(result.attainable for result in results):
        return []
    return [
        "In brackets: how far ahead a step would be that consists of the update and of products "
        "without zeros at the rate that 512 x 512 x 512 had in the same rounds, computed by each "
        "core on its own; and the share of that. fastprop skips the zeros that ReLU leaves, so it "
        "may be beyond both limits."
    ]


def _placements(facts: dict[str, Any], results: list[Result]) -> list[str]:
    """What was left out because of where the cores were."""
    turns = [turn for result in results if result.threads > 1 for turn in result.turns]
    if not turns:
        return []
    if facts.get("any_placement"):
        return ["Turns on several threads counted wherever the cores were."]
    dropped = sum(not turn["counted"] for turn in turns)
    return [
        "Turns on several threads counted if the cores shared a last-level cache before and after "
        f"them: {dropped} of {len(turns)} did not, and were taken again."
    ]


def _kind(results: list[Result]) -> str:
    plain = all(
        (r.work.dtype, r.work.activation, r.work.optimizer) == ("float32", "relu", "adam")
        for r in results
    )
    return " (float32, ReLU, Adam)" if plain else " (float32, ReLU and Adam where not said)"


def write_markdown(path: Path, table: str) -> None:
    """Put the tables between the marks of an existing file, or into a file of their own."""
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    block = f"{BEGIN}\n{table}\n{END}"
    if BEGIN in old and END in old:
        before, rest = old.split(BEGIN, 1)
        block = before + block + rest.split(END, 1)[1]
    else:
        block += "\n"
    path.write_text(block, encoding="utf-8")


def duration(microseconds: float | None) -> str:
    if microseconds is None:
        return "-"
    value, unit = (microseconds, "µs") if microseconds < 1000 else (microseconds / 1000, "ms")
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f} {unit}"
