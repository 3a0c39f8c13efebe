"""A report as a picture: a bar for every layer, stacked by phase."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastprop.inspect.figure import INK, load_matplotlib, style_axes
from fastprop.inspect.report import PHASES

if TYPE_CHECKING:
    from fastprop.inspect.report import Report

_COLORS = {
    "gather": "#8c8c8c",
    "forward": "#2a6fbb",
    "loss": "#8e5bb5",
    "metrics": "#b99ad1",
    "dx": "#d1590f",
    "dW": "#eda247",
    "db": "#f4d19b",
    "update": "#2e8b57",
    "pack": "#93c9a6",
    "other": "#c0c0c0",
    "barrier wait": "#b03a3a",
    "end of step": "#595959",
}
# Inches: the bars' width, a row, what is above and below, and a character of a label.
_BARS, _ROW, _ABOVE, _BELOW, _CHARACTER = 6.0, 0.30, 0.85, 0.55, 0.075
_LEGEND = 1.35


def plot_report(report: Report, path: str | os.PathLike[str], *, dpi: int = 130) -> Path:
    """Draw a report; see :meth:`Report.plot`."""
    figure_class, canvas_class, ticker = load_matplotlib("pictures of a report")
    entries = report.entries
    layers = [*report.layers, "threads"]
    left = 0.25 + _CHARACTER * max(map(len, layers))
    width = left + _BARS + _LEGEND
    height = _ABOVE + _BELOW + _ROW * len(layers)
    figure = figure_class(figsize=(width, height))
    canvas_class(figure)
    axes = figure.add_axes(
        (left / width, _BELOW / height, _BARS / width, _ROW * len(layers) / height)
    )
    ends = dict.fromkeys(layers, 0.0)
    for phase in PHASES:
        members = [e for e in entries if e.phase == phase]
        if not members:
            continue
        axes.barh(
            [layers.index(e.layer) for e in members],
            [1e6 * e.seconds for e in members],
            left=[1e6 * ends[e.layer] for e in members],
            height=0.72,
            color=_COLORS[phase],
            label=phase,
        )
        for entry in members:
            ends[entry.layer] += entry.seconds
    _finish(axes, layers, ticker)
    axes.legend(
        loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False, fontsize=8, labelcolor=INK
    )
    share = f"{100 * report.share_of_limit:.0f} % of the machine's limit"
    step = f"{1e6 * report.step_seconds:,.1f} µs a step, {share}"
    x = left / width
    figure.text(x, 1 - 0.32 / height, step, color=INK, fontsize=11, fontweight="bold")
    threads = f"{report.threads.used} thread" + ("s" if report.threads.used > 1 else "")
    words = f"{report.title}, batch {report.batch_size}, {report.dtype}, {threads}"
    figure.text(x, 1 - 0.58 / height, words, color="#666666", fontsize=9)
    target = Path(path)
    figure.savefig(target, dpi=dpi)
    return target


def _finish(axes: Any, layers: list[str], ticker: Any) -> None:
    style_axes(axes)
    axes.grid(False, axis="y")
    axes.set_yticks(range(len(layers)), layers)
    axes.set_ylim(len(layers) - 0.4, -0.6)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(nbins=7, steps=[1, 2, 5, 10]))
    axes.set_xlabel("time of a step in µs, mean over the threads", color=INK, fontsize=9)
