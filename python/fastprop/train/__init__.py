"""Training: the Trainer, callbacks, history."""

from __future__ import annotations

from fastprop.train.callbacks import Callback
from fastprop.train.errors import NonFiniteError
from fastprop.train.history import History
from fastprop.train.trainer import Trainer

__all__ = ["Callback", "History", "NonFiniteError", "Trainer"]
