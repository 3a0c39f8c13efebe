"""Training: the Trainer, callbacks, history."""

from __future__ import annotations

from fastprop.train.callbacks import Callback
from fastprop.train.early_stopping import BestWeights, EarlyStopping, TerminateOnNaN
from fastprop.train.errors import NonFiniteError
from fastprop.train.find_lr import LearningRateRange
from fastprop.train.history import History
from fastprop.train.many import fit_many
from fastprop.train.model_checkpoint import ModelCheckpoint
from fastprop.train.pace import Pace
from fastprop.train.plateau import ReduceLROnPlateau
from fastprop.train.trainer import Trainer

__all__ = [
    "BestWeights",
    "Callback",
    "EarlyStopping",
    "History",
    "LearningRateRange",
    "ModelCheckpoint",
    "NonFiniteError",
    "Pace",
    "ReduceLROnPlateau",
    "TerminateOnNaN",
    "Trainer",
    "fit_many",
]
