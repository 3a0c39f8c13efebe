"""Learning curves as a picture."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

from fastprop.inspect.figure import INK, load_matplotlib, style_axes

if TYPE_CHECKING:
    from pathlib import Path

    from fastprop.train.history import History

_TRAINING = "#2a6fbb"
_VALIDATION = "#d1590f"
# Inches: a panel, and the margins that its labels need.
_PANEL_WIDTH, _PANEL_HEIGHT = 5.4, 3.6
_LEFT, _RIGHT, _TOP, _BOTTOM = 0.65, 1.35, 0.4, 0.55
_LOG_SCALE_FROM = 30.0  # a loss that falls by more than this factor is drawn on a log scale
_STEPS = [1, 2, 5, 10]  # of the axes' ticks
_LABEL_GAP = 0.075  # least distance of two labels, as a share of the panel's height


def plot_history(
    history: History, path: str | os.PathLike[str], *, title: str = "", dpi: int = 130
) -> Path:
    """Draw loss and metrics by epoch, training beside validation, one panel each.

    A loss that falls by more than a factor of 30 gets a logarithmic axis.

    Args:
        history: What ``Trainer.fit`` returned.
        path: File to write; its ending chooses the format (``.png``, ``.svg``, ``.pdf``).
        title: Line above the panels.
        dpi: Dots per inch of pixel formats.

    Returns:
        The path.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: The history has no epochs, or the ending of `path` is no picture format.
        OSError: The file cannot be written.
    """
    if not history.epoch:
        raise ValueError("plot_history: the history has no epochs to draw")
    figure_class, canvas_class, ticker = load_matplotlib("learning curves")
    names = [name for name in history if not name.startswith("val_")]
    columns = min(len(names), 3)
    rows = math.ceil(len(names) / columns)
    head = 0.42 if title else 0.0
    width, height = columns * _PANEL_WIDTH, rows * _PANEL_HEIGHT + head
    figure = figure_class(figsize=(width, height))
    canvas_class(figure)
    for place, name in enumerate(names):
        row, column = divmod(place, columns)
        axes = figure.add_axes(_panel(row, column, width, height, head))
        axes.xaxis.set_major_locator(ticker.MaxNLocator(nbins=6, steps=_STEPS, integer=True))
        axes.yaxis.set_major_locator(ticker.MaxNLocator(nbins=6, steps=_STEPS))
        _draw_panel(axes, history, name, ticker)
        if place + columns >= len(names):
            axes.set_xlabel("epoch", color=INK)
    if title:
        figure.text(_LEFT / width, 1 - 0.32 / height, title, color=INK, fontsize=12)
    from pathlib import Path

    target = Path(path)
    figure.savefig(target, dpi=dpi)
    return target


def _panel(
    row: int, column: int, width: float, height: float, head: float
) -> tuple[float, float, float, float]:
    """Left, bottom, width and height of a panel as shares of the figure.

    Laid out by hand: matplotlib's layout engines draw everything once more to measure it.
    """
    left = column * _PANEL_WIDTH + _LEFT
    bottom = height - head - (row + 1) * _PANEL_HEIGHT + _BOTTOM
    inner = _PANEL_WIDTH - _LEFT - _RIGHT, _PANEL_HEIGHT - _BOTTOM - _TOP
    return left / width, bottom / height, inner[0] / width, inner[1] / height


def _draw_panel(axes: Any, history: History, name: str, ticker: Any) -> None:
    epochs = history.epoch
    series = [("training", name, _TRAINING)]
    if f"val_{name}" in history:
        series.append(("validation", f"val_{name}", _VALIDATION))
    values = [v for _, key, _ in series for v in history[key] if math.isfinite(v)]
    if (
        name == "loss"
        and values
        and min(values) > 0
        and max(values) > _LOG_SCALE_FROM * min(values)
    ):
        axes.set_yscale("log")
        if max(values) < 1e4 * min(values):  # few powers of ten: mark 3, 30, … as well
            axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 3.0)))
        plain = ticker.FuncFormatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_major_formatter(plain)
        axes.yaxis.set_minor_locator(ticker.NullLocator())
    labels = []
    for label, key, color in series:
        line = list(history[key])
        axes.plot(
            epochs, line, color=color, lw=1.8, marker="o" if len(line) < 3 else None, ms=4, zorder=3
        )
        if math.isfinite(line[-1]):
            labels.append((line[-1], f"{label} {line[-1]:.4g}", color))
    _style(axes, name)
    _label_ends(axes, epochs[-1], labels)


def _style(axes: Any, name: str) -> None:
    title = name.replace("_", " ")
    # A given height saves matplotlib from looking for one.
    axes.set_title(title, loc="left", y=1.03, color=INK, fontsize=11, fontweight="bold")
    style_axes(axes)
    axes.margins(x=0.02, y=0.06)


def _label_ends(axes: Any, epoch: float, labels: list[tuple[float, str, str]]) -> None:
    """Name every line at its right end instead of in a legend, and keep the names apart."""
    low, high = axes.get_ylim()
    log = axes.get_yscale() == "log"

    def height(value: float) -> float:
        if log:
            return math.log(value / low) / math.log(high / low)
        return (value - low) / (high - low)

    placed = sorted((height(value), text, color) for value, text, color in labels)
    if len(placed) == 2 and placed[1][0] - placed[0][0] < _LABEL_GAP:
        middle = (placed[0][0] + placed[1][0]) / 2
        middle = min(max(middle, _LABEL_GAP / 2), 1 - _LABEL_GAP / 2)
        placed = [
            (middle + sign * _LABEL_GAP / 2, text, color)
            for sign, (_, text, color) in zip((-1, 1), placed, strict=True)
        ]
    for y, text, color in placed:
        axes.annotate(
            text,
            xy=(1.0, y),
            xycoords="axes fraction",
            xytext=(6, 0),
            textcoords="offset points",
            color=color,
            fontsize=9,
            va="center",
            annotation_clip=False,
        )
