"""fastprop: neural networks by backpropagation, as fast as the machine allows."""

from fastprop import _core as _core  # an installation that does not work says so at once
from fastprop._lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "_version": ("__version__",),
        "installation": ("config", "show_config"),
        "functional": (
            "abs", "acos", "acosh", "add", "all", "any", "argmax", "argmin", "argsort", "asin",
            "asinh", "atan", "atanh", "broadcast_to", "cast", "celu", "clip", "concatenate", "copy",
            "cos", "cosh", "cumsum", "dense", "diagonal", "div", "dot", "einsum", "elu", "equal",
            "erf", "exp", "expand", "expm1", "flip", "gather", "gelu", "gelu_tanh", "greater",
            "greater_equal", "hard_sigmoid", "hard_swish", "isfinite", "isinf", "isnan",
            "leaky_relu", "less", "less_equal", "log", "log1p", "log_softmax", "logical_and",
            "logical_not", "logical_or", "logical_xor", "logsumexp", "matmul", "max", "maximum",
            "mean", "min", "minimum", "mish", "mul", "neg", "norm", "not_equal", "one_hot", "outer",
            "pad", "permute", "pow", "prelu", "prod", "reciprocal", "relu", "reshape", "rsqrt",
            "scatter_add", "selu", "sigmoid", "sign", "silu", "sin", "sinh", "softmax", "softplus",
            "softsign", "sort", "split", "sqrt", "square", "squeeze", "stack", "std",
            "stop_gradient", "sub", "sum", "take", "tan", "tanh", "topk", "transpose", "tril",
            "triu", "unsqueeze", "var", "where",
        ),
        "graph.anomaly": ("AnomalyError", "detect_anomaly"),
        "graph.autodiff": ("grad",),
        "graph.checkpoint": ("checkpoint",),
        "graph.custom": ("custom_op",),
        "graph.dlpack": ("from_dlpack",),
        "graph.parameter": ("Parameter",),
        "graph.tensor": ("Tensor", "enable_grad", "no_grad", "tensor"),
        "graph.trace": ("TraceError",),
        "nn.segments": ("checkpoint_sequential",),
        "random": ("seed",),
        "saving.errors": ("SavedFileError",),
        "saving.models": ("load", "save"),
        "tracing.compile": ("compile",),
        "train.callbacks": ("Callback",),
        "train.history": ("History",),
        "train.errors": ("NonFiniteError",),
        "train.trainer": ("Trainer",),
        "train.many": ("fit_many",),
        "autograd.check": ("GradcheckError", "gradcheck", "gradgradcheck"),
        "autograd.transforms": ("hessian", "hvp", "jacobian", "jvp", "value_and_grad", "vjp"),
    },
    (
        "autograd", "data", "functional", "gradients", "inspect", "kernels", "losses", "metrics",
        "nn", "optim", "regularizers", "train",
    ),
    hints="FUNCTIONS",
)  # fmt: skip
