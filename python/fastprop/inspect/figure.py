"""matplotlib, without a window system."""

from __future__ import annotations

from typing import Any

INK = "#333333"


def load_matplotlib(what: str) -> tuple[Any, Any, Any]:
    """The classes of a figure and its canvas, and the module of tickers.

    Args:
        what: What needs it, in the plural; starts the message.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        # Not pyplot: that would choose a window system, and take as long again to import.
        from matplotlib import ticker
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{what} need matplotlib, which is not installed: pip install 'fastprop-nn[plot]'"
        ) from error
    return Figure, FigureCanvasAgg, ticker


def style_axes(axes: Any) -> None:
    """A light grid behind the data, and no frame at the top and at the right."""
    axes.grid(True, color="#e6e6e6", lw=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#999999")
    axes.tick_params(colors="#666666", labelsize=9)
