"""Plots of results, as PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastprop.inspect.figure import INK, style_axes

from .contestants import CONTESTANTS, label
from .race import Result
from .report import duration, threads_text

# Told apart by those who see no red or no green, and in grey.
_COLORS = dict(
    zip(CONTESTANTS, ("#d55e00", "#1f5a8c", "#7fb3de", "#6b6b6b", "#b8b8b8"), strict=True)
)
_LIMIT_NAME = "machine's limit"
_LIMIT = {"color": INK, "lw": 1.2, "ls": "--"}
_TITLE = {"loc": "left", "color": INK, "fontsize": 11, "fontweight": "bold"}


def bars(path: Path, facts: dict[str, Any], results: list[Result]) -> None:
    """Bars of the time per step relative to fastprop's, one panel a number of threads."""
    plt = _pyplot()
    counts = sorted({r.threads for r in results}, reverse=True)
    keys = [k for k in CONTESTANTS if any(k in r.microseconds for r in results)]
    figure, axes = plt.subplots(
        len(counts), 1, figsize=(9, 0.6 + 3.0 * len(counts)), squeeze=False, layout="constrained"
    )
    for axis, threads in zip(axes[:, 0], counts, strict=True):
        _bars(axis, keys, [r for r in results if r.threads == threads])
        axis.set_title(threads_text(threads), **_TITLE)
    _legend(figure, axes[0, 0])
    figure.supylabel("time of a training step, fastprop = 1 (log scale)", fontsize=10, color=INK)
    figure.supxlabel(f"{facts['cpu']}, {facts['date']}", fontsize=8, color="0.4")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _legend(figure: Any, axis: Any) -> None:
    """Contestants in their order, then the limit; on one line, or two of those with all five."""
    handles, names = axis.get_legend_handles_labels()
    drawn = sorted(zip(names, handles, strict=True), key=lambda pair: pair[0] == _LIMIT_NAME)
    figure.legend(
        [handle for _, handle in drawn],
        [name for name, _ in drawn],
        loc="outside upper center",
        ncols=4 if len(drawn) <= 4 else 3,
        frameon=False,
        fontsize=9,
    )


def _bars(axis: Any, keys: list[str], results: list[Result]) -> None:
    width = 0.8 / (len(keys) + 1)
    for i, key in enumerate(keys):
        for j, result in enumerate(results):
            time, unit = result.median(key), _unit(result)
            if time is None or unit is None:
                continue
            at = j + (i - (len(keys) - 1) / 2) * width
            name = label(key) if j == 0 else None
            axis.bar(at, time / unit, width * 0.92, color=_COLORS[key], label=name)
            axis.text(
                at,
                time / unit,
                f" {duration(time)}",
                rotation=90,
                ha="center",
                va="bottom",
                fontsize=7,
            )
    for j, result in enumerate(results):
        unit = _unit(result)
        if unit and result.limits:
            ends = (j - 0.45, j + 0.45)
            name = _LIMIT_NAME if j == 0 else None
            axis.plot(ends, [result.limit / unit] * 2, label=name, **_LIMIT)
    axis.set_xticks(range(len(results)), [_label(r) for r in results], fontsize=7)
    _logarithmic(axis)
    low, high = axis.get_ylim()
    axis.set_ylim(min(low, 0.4), high * 4)  # room for the numbers
    style_axes(axis)
    axis.grid(False, axis="x")
    axis.tick_params(axis="x", labelsize=7)


def _label(result: Result) -> str:
    name, _, shape = result.work.title.partition(" ")
    return "\n".join([name, *shape.split(", ", 1)])


def _unit(result: Result) -> float | None:
    """fastprop's time, or the best one where it has none."""
    return result.median("fastprop") or min(
        filter(None, map(result.median, result.microseconds)), default=None
    )


def curves(path: Path, facts: dict[str, Any], panels: dict[str, list[tuple[int, Result]]]) -> None:
    """Time per step over what is varied, both axes logarithmic; one panel a sweep."""
    plt = _pyplot()
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    figure, axes = plt.subplots(
        lines, columns, figsize=(5.4 * columns, 3.6 * lines), squeeze=False, layout="constrained"
    )
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.1)
    for axis in axes.ravel()[len(panels) :]:
        axis.remove()
    for axis, (title, points) in zip(axes.ravel(), panels.items(), strict=False):
        _curve(axis, points)
        axis.set_title(title, **_TITLE)
    _legend(figure, axes[0, 0])
    figure.supylabel("time of a training step, µs (log scale)", fontsize=10, color=INK)
    figure.supxlabel(f"{facts['cpu']}, {facts['date']}", fontsize=8, color="0.4")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _curve(axis: Any, points: list[tuple[int, Result]]) -> None:
    for key in CONTESTANTS:
        known = [(at, time) for at, r in points if (time := r.median(key)) is not None]
        if known:
            style = {"lw": 1.8, "ms": 3.5, "color": _COLORS[key], "label": label(key)}
            axis.plot(*zip(*known, strict=True), "o-", **style)
    limits = [(at, r.limit) for at, r in points if r.limits]
    if limits:
        axis.plot(*zip(*limits, strict=True), label=_LIMIT_NAME, **_LIMIT)
    axis.set_xscale("log", base=2)
    axis.set_xticks([at for at, _ in points], [f"{at:,}" for at, _ in points])
    axis.minorticks_off()
    _logarithmic(axis)
    style_axes(axis)
    axis.margins(x=0.04)


def _logarithmic(axis: Any) -> None:
    """A logarithmic axis of y with plain numbers, and some more of them where it is short."""
    from matplotlib import ticker

    axis.set_yscale("log")
    low, high = axis.get_ylim()
    steps = (1.0,) if high > 100 * low else (1.0, 2.0, 3.0, 4.0, 6.0)
    axis.yaxis.set_major_locator(ticker.LogLocator(subs=steps))
    axis.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.yaxis.set_minor_locator(ticker.NullLocator())


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt
