"""Looking into training: learning curves, and where the time of a step goes."""

from __future__ import annotations

from fastprop.inspect.curves import plot_history
from fastprop.inspect.report import Report

__all__ = ["Report", "plot_history"]
