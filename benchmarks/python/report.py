"""Results for people: a line while it runs, tables in Markdown, a plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .contestants import CONTESTANTS, label
from .race import Result

BEGIN = "<!-- benchmarks:begin -->"
END = "<!-- benchmarks:end -->"


def line(result: Result) -> str:
    """One work, short."""
    times = [f"{key} {_duration(result.median(key))}" for key in result.microseconds]
    text = "  " + ", ".join(times or ["no times"])
    if result.ratio:
        text += f"; {result.ratio:.2f} x the best peer"
    return text


def markdown(facts: dict[str, Any], results: list[Result]) -> str:
    """A table for each number of threads, and under them how they came about."""
    keys = [k for k in CONTESTANTS if any(k in r.microseconds for r in results)]
    counts = sorted({r.threads for r in results}, reverse=True)
    tables = [_table(n, keys, [r for r in results if r.threads == n]) for n in counts]
    return "\n\n".join([*tables, _caption(facts, results)])


def _table(threads: int, keys: list[str], results: list[Result]) -> str:
    plural = "s" if threads > 1 else ""
    header = [
        f"{threads} thread{plural}",
        *map(label, keys),
        "best peer ÷ fastprop",
        "share of the limit",
    ]
    rows = [header, ["---", *["---:"] * (len(header) - 1)]]
    for result in results:
        cells = [_cell(result, key) for key in keys]
        own = result.median("fastprop")
        share = f"{100 * result.limit / own:.0f} %" if own and result.limits else "-"
        ratio = f"{result.ratio:.2f}" if result.ratio else "-"
        rows.append([result.work.title, *cells, ratio, share])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _cell(result: Result, key: str) -> str:
    if key in result.microseconds:
        text = _duration(result.median(key))
        best = result.best_peer is not None and result.median(key) == min(
            filter(None, map(result.median, result.microseconds))
        )
        return f"**{text}**" if best else text
    if key in result.mismatched:
        return "wrong"
    return "failed" if key in result.errors else "-"


def _caption(facts: dict[str, Any], results: list[Result]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(facts["versions"].items()))
    spreads = [s for r in results for k in r.microseconds if (s := r.spread(k)) is not None]
    spread = f", median absolute deviation at most {100 * max(spreads):.0f} %" if spreads else ""
    lines = [
        f"Time of a training step (float32, ReLU, Adam): median of {facts['rounds']} rounds in "
        f"which the contestants took turns{spread}. {facts['cpu']}, {facts['date']}; {versions}. "
        "Limit: the products' operations at the machine's peak plus the update's bytes at its "
        f"bandwidth, both measured in the same rounds ({facts['limit']})."
    ]
    lines += [f"{label(key)} was absent: {why}." for key, why in facts["absent"].items()]
    for result in results:
        for key, why in result.errors.items():
            first = why.splitlines()[0]
            lines.append(f"{label(key)} on {result.work.name}, {result.threads} threads: {first}.")
    return "\n\n".join(lines)


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


def plot(path: Path, facts: dict[str, Any], results: list[Result]) -> None:
    """Bars of the time per step relative to fastprop's, one panel a number of threads."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    counts = sorted({r.threads for r in results}, reverse=True)
    keys = [k for k in CONTESTANTS if any(k in r.microseconds for r in results)]
    figure, axes = plt.subplots(
        len(counts), 1, figsize=(9, 0.6 + 3.0 * len(counts)), squeeze=False, layout="constrained"
    )
    for axis, threads in zip(axes[:, 0], counts, strict=True):
        _bars(axis, keys, [r for r in results if r.threads == threads])
        axis.set_title(f"{threads} thread{'s' if threads > 1 else ''}", loc="left", fontsize=10)
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    figure.supylabel("time of a training step, fastprop = 1", fontsize=10)
    figure.supxlabel(f"{facts['cpu']}, {facts['date']}", fontsize=8, color="0.4")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _bars(axis: Any, keys: list[str], results: list[Result]) -> None:
    colors = ["#d1495b", "#30638e", "#7fa7c9", "#3c7a5a", "#8fc1a3"]
    width = 0.8 / (len(keys) + 1)
    for i, key in enumerate(keys):
        for j, result in enumerate(results):
            time, unit = result.median(key), _unit(result)
            if time is None or unit is None:
                continue
            at = j + (i - (len(keys) - 1) / 2) * width
            name = label(key) if j == 0 else None
            axis.bar(at, time / unit, width * 0.92, color=colors[i % len(colors)], label=name)
            axis.text(
                at,
                time / unit,
                f" {_duration(time)}",
                rotation=90,
                ha="center",
                va="bottom",
                fontsize=7,
            )
    for j, result in enumerate(results):
        unit = _unit(result)
        if unit and result.limits:
            ends = (j - 0.45, j + 0.45)
            name = "machine's limit" if j == 0 else None
            axis.plot(ends, [result.limit / unit] * 2, color="0.2", lw=1.2, ls="--", label=name)
    axis.set_xticks(range(len(results)), [_label(r) for r in results], fontsize=6.5)
    axis.set_yscale("log")
    low, high = axis.get_ylim()
    axis.set_ylim(min(low, 0.4), high * 2.5)  # room for the numbers
    axis.spines[["top", "right"]].set_visible(False)


def _label(result: Result) -> str:
    name, _, shape = result.work.title.partition(" ")
    return f"{name}\n{shape}"


def _unit(result: Result) -> float | None:
    """fastprop's time, or the best one where it has none."""
    return result.median("fastprop") or min(
        filter(None, map(result.median, result.microseconds)), default=None
    )


def _duration(microseconds: float | None) -> str:
    if microseconds is None:
        return "-"
    if microseconds < 1000:
        return f"{microseconds:.3g} µs" if microseconds < 100 else f"{microseconds:.0f} µs"
    return (
        f"{microseconds / 1000:.3g} ms" if microseconds < 1e5 else f"{microseconds / 1000:.0f} ms"
    )
