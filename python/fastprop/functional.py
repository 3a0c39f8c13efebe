"""Functions on Tensors. They take arrays and numbers too, and run at once or are recorded."""

from fastprop._arguments import hinted
from fastprop._lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "graph.creation": (
            "arange", "eye", "full", "full_like", "linspace", "ones", "ones_like", "rand", "randn",
            "randn_like", "zeros", "zeros_like",
        ),
        "graph.indexing": ("getitem",),
        "graph.loss_rows": (
            "binary_cross_entropy_rows", "binary_focal_rows", "cross_entropy_rows",
            "elastic_net_rows", "focal_rows", "gaussian_nll_rows", "hinge_rows", "huber_rows",
            "kl_div_rows", "log_cosh_rows", "mae_rows", "mse_rows", "poisson_nll_rows",
            "quantile_rows",
        ),
        "graph.normalization": ("batch_norm", "group_norm", "layer_norm", "normalize", "rms_norm"),
        "graph.ops_activation": (
            "ACTIVATIONS", "activation", "celu", "elu", "gelu", "gelu_tanh", "hard_sigmoid",
            "hard_swish", "identity", "leaky_relu", "mish", "prelu", "relu", "selu", "sigmoid",
            "silu", "softplus", "softsign", "tanh",
        ),
        "graph.ops_arrange": (
            "expand", "flip", "one_hot", "pad", "permute", "split", "squeeze", "stack", "unsqueeze",
        ),
        "graph.ops_axes": (
            "chunk", "flatten", "moveaxis", "repeat", "roll", "swapaxes", "tile", "unbind",
        ),
        "graph.ops_data": ("binary_correct", "gather_rows", "top_k_correct"),
        "graph.ops_derived": (
            "allclose", "exp2", "isclose", "log10", "log_sigmoid", "masked_fill",
            "nan_to_num",
        ),
        "graph.ops_diagonal": ("diag", "diagonal", "trace", "tril", "triu"),
        "graph.ops_elementwise": (
            "abs", "acos", "acosh", "add", "asin", "asinh", "atan", "atanh", "clip", "copy", "cos",
            "cosh", "div", "equal", "erf", "exp", "expm1", "greater", "greater_equal", "less",
            "less_equal", "log", "log1p", "log2", "maximum", "minimum", "mul", "neg", "not_equal",
            "pow", "reciprocal", "rsqrt", "sign", "sin", "sinh", "sqrt", "square", "sub", "tan",
            "where",
        ),
        "graph.ops_index": ("concatenate", "gather", "scatter_add", "take"),
        "graph.ops_linear": ("dense", "matmul"),
        "graph.ops_logic": (
            "all", "any", "isfinite", "isinf", "isnan", "logical_and", "logical_not", "logical_or",
            "logical_xor",
        ),
        "graph.ops_order": ("argsort", "cumprod", "cumsum", "diff", "logcumsumexp", "sort", "topk"),
        "graph.ops_pairs": ("atan2", "hypot", "logaddexp"),
        "graph.ops_products": ("dot", "einsum", "outer"),
        "graph.ops_quantile": ("median", "quantile"),
        "graph.ops_random": ("alpha_dropout", "dropout", "gaussian_noise"),
        "graph.ops_reduction": ("broadcast_to", "max", "mean", "min", "sum"),
        "graph.ops_rounding": (
            "ceil", "floor", "floor_divide", "fmod", "remainder", "round", "trunc",
        ),
        "graph.ops_shape": ("cast", "reshape", "stop_gradient", "transpose"),
        "graph.ops_softmax": ("log_softmax", "softmax"),
        "graph.ops_statistics": ("argmax", "argmin", "logsumexp", "norm", "prod", "std", "var"),
    },
    hints="FUNCTIONS",
    ready=hinted,
)  # fmt: skip
