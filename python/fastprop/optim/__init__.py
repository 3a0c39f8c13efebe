"""Optimizers: hyper-parameters, state and learning-rate schedules; the arithmetic is C++."""

from fastprop._lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "optim.accumulate": ("Accumulate",),
        "optim.adam": ("Adam", "AdamW"),
        "optim.adam_variants": ("Adamax", "NAdam", "RAdam"),
        "optim.adaptive": ("Adadelta", "Adagrad", "RMSprop"),
        "optim.average": ("EMA", "SWA"),
        "optim.custom": ("Custom",),
        "optim.groups": ("ParamGroup",),
        "optim.lamb": ("LAMB",),
        "optim.lbfgs": ("LBFGS",),
        "optim.optimizer": ("Optimizer",),
        "optim.sgd": ("SGD",),
        "optim.sign": ("Lion", "Rprop"),
        "optim.names": ("OPTIMIZERS", "get"),
    },
    ("schedules",),
    hints="OPTIMIZERS",
)
