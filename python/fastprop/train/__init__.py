"""Training: the Trainer, callbacks, history."""

from fastprop._lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "train.callbacks": ("Callback",),
        "train.early_stopping": ("BestWeights", "EarlyStopping", "TerminateOnNaN"),
        "train.errors": ("NonFiniteError",),
        "train.find_lr": ("LearningRateRange",),
        "train.history": ("History",),
        "train.many": ("fit_many",),
        "train.model_checkpoint": ("ModelCheckpoint",),
        "train.pace": ("Pace",),
        "train.plateau": ("ReduceLROnPlateau",),
        "train.trainer": ("Trainer",),
    },
)
