"""The picture of a learning-rate range test."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from fastprop.inspect.figure import INK, load_matplotlib, style_axes

if TYPE_CHECKING:
    from pathlib import Path

    from fastprop.train.find_lr import LearningRateRange

_RAW, _SMOOTHED, _MARK = "#b9cde4", "#2a6fbb", "#d1590f"


def draw(found: LearningRateRange, path: str | os.PathLike[str], *, dpi: int = 130) -> Path:
    """Draw loss and smoothed loss over the rate, with the suggestion.

    Args:
        found: What ``Trainer.find_lr`` returned.
        path: File to write; its ending chooses the format (``.png``, ``.svg``, ``.pdf``).
        dpi: Dots per inch of pixel formats.

    Returns:
        The path.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: The ending of `path` is no picture format.
        OSError: The file cannot be written.
    """
    figure_class, canvas_class, ticker = load_matplotlib("pictures of range tests")
    figure = figure_class(figsize=(6.4, 4.0))
    canvas_class(figure)
    axes = figure.add_axes((0.12, 0.14, 0.84, 0.72))
    style_axes(axes)
    axes.set_xscale("log")
    axes.plot(found.rates, found.losses, color=_RAW, lw=1.0, label="each step")
    axes.plot(found.rates, found.smoothed, color=_SMOOTHED, lw=2.0, label="smoothed")
    _limit(axes, found)
    if found.suggestion is not None:
        axes.axvline(
            found.suggestion,
            color=_MARK,
            lw=1.5,
            ls="--",
            label=f"suggestion: {found.suggestion:.2g}",
        )
    axes.yaxis.set_major_locator(ticker.MaxNLocator(6))
    axes.set_xlabel("learning rate", color=INK)
    axes.set_ylabel("training loss", color=INK)
    figure.text(0.12, 0.945, "Learning-rate range test", color=INK, fontsize=11, fontweight="bold")
    axes.legend(  # above the lines, which go everywhere
        frameon=False, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, labelcolor=INK
    )
    from pathlib import Path

    target = Path(path)
    figure.savefig(target, dpi=dpi)
    return target


def _limit(axes: Any, found: LearningRateRange) -> None:
    """Leave the explosion out of the picture: it would press all else flat."""
    low, first = float(found.losses.min()), float(found.losses[0])
    usual = max(float(found.smoothed[: found.smoothed.argmin() + 1].max()), first)
    margin = 0.08 * (usual - low) or 1.0
    axes.set_ylim(low - margin, usual + 6 * margin)
