"""Learning rates as functions of the step.

A schedule stands wherever a learning rate does: ``optim.Adam(lr=schedules.Cosine(1e-3, 1000))``.
All lengths and positions are numbers of optimizer steps, not of epochs; an epoch of ``n`` rows has
``ceil(n / batch_size)`` steps.
"""

from fastprop._lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "optim.schedules.base": ("Schedule",),
        "optim.schedules.combine": ("Scaled", "Sequential", "Warmup"),
        "optim.schedules.cycles": ("CosineRestarts", "Cyclic", "OneCycle"),
        "optim.schedules.decay": (
            "Constant", "Cosine", "Exponential", "InverseSqrt", "MultiStep", "Polynomial", "Step",
        ),
    },
    hints="SCHEDULES",
)  # fmt: skip
