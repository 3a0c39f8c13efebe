"""Looking into training: learning curves."""

from __future__ import annotations

from fastprop.inspect.curves import plot_history

__all__ = ["plot_history"]
