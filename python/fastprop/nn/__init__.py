"""Modules: layers, activations, containers, and how parameters start."""

from fastprop._lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "graph.parameter": ("Buffer", "Parameter"),
        "nn.activations": (
            "CELU", "ELU", "GELU", "SELU", "HardSigmoid", "HardSwish", "Identity", "LeakyReLU",
            "LogSoftmax", "Mish", "PReLU", "ReLU", "Sigmoid", "SiLU", "Softmax", "Softplus",
            "Softsign", "Tanh",
        ),
        "nn.containers": ("ModuleList", "Sequential"),
        "nn.dense": ("Dense",),
        "nn.dropout": ("AlphaDropout", "Dropout", "GaussianNoise"),
        "nn.module": ("Module",),
        "nn.normalization": ("BatchNorm", "GroupNorm", "LayerNorm", "RMSNorm"),
        "nn.shape": ("Flatten",),
        "nn.standardize": ("Standardize",),
    },
    ("init",),
    hints="MODULES",
)  # fmt: skip
