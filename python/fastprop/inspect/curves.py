"""Learning curves as a picture."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastprop.train.history import History

_TRAINING = "#2a6fbb"
_VALIDATION = "#d1590f"
_INK = "#333333"
_LOG_SCALE_FROM = 30.0  # a loss that falls by more than this factor is drawn on a log scale
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
    figure_class, canvas_class, ticker = _matplotlib()
    names = [name for name in history if not name.startswith("val_")]
    columns = min(len(names), 3)
    rows = math.ceil(len(names) / columns)
    figure = figure_class(figsize=(5.4 * columns, 3.7 * rows + (0.3 if title else 0.0)))
    canvas_class(figure)
    for place, name in enumerate(names, start=1):
        axes = figure.add_subplot(rows, columns, place)
        axes.xaxis.set_major_locator(ticker.MaxNLocator(nbins=6, integer=True))
        axes.yaxis.set_major_locator(ticker.MaxNLocator(nbins=6))
        _draw_panel(axes, history, name)
        if place > len(names) - columns:
            axes.set_xlabel("epoch", color=_INK)
    top = 1.0 - 0.45 / figure.get_figheight() if title else 1.0
    if title:
        figure.suptitle(title, x=0.02, ha="left", color=_INK, fontsize=12)
    figure.tight_layout(rect=(0, 0, 1, top), w_pad=2.5, h_pad=2.0)
    target = Path(path)
    figure.savefig(target, dpi=dpi)
    return target


def _matplotlib() -> tuple[Any, Any, Any]:
    try:
        # Not pyplot: that would choose a window system, and take as long again to import.
        from matplotlib import ticker
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ImportError(
            "learning curves need matplotlib, which is not installed: "
            "pip install 'fastprop-nn[plot]'"
        ) from error
    return Figure, FigureCanvasAgg, ticker


def _draw_panel(axes: Any, history: Mapping[str, Sequence[float]], name: str) -> None:
    epochs = list(history.epoch)  # type: ignore[attr-defined]
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
    axes.set_title(name.replace("_", " "), loc="left", color=_INK, fontsize=11, fontweight="bold")
    axes.grid(True, color="#e6e6e6", lw=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#999999")
    axes.tick_params(colors="#666666", labelsize=9)
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
