"""What is called otherwise in PyTorch and NumPy, for the messages about names that do not exist."""

from __future__ import annotations

from collections.abc import Sequence, Set
from types import FunctionType

_INDEXING = "x[…], with integers, slices or arrays"
_NUMPY = "NumPy's, whose arrays serve: fp.tensor(array)"
_PRODUCT = "c + a @ b"
_IN_PLACE = "Tensors are values: write x = x + 1, or assign x.data of a leaf"
_DEVICE = "Tensors are NumPy's memory on the CPU; astype changes the dtype"

FUNCTIONS = {
    **dict.fromkeys(
        ("empty", "logspace", "meshgrid", "randint", "randperm", "tril_indices", "triu_indices"),
        _NUMPY,
    ),
    **dict.fromkeys(("addmm", "addmv", "baddbmm", "addr"), _PRODUCT),
    "absolute": "fp.abs", "arccos": "fp.acos", "arcsin": "fp.asin", "arctan": "fp.atan",
    "arctan2": "fp.atan2", "addcmul": "c + value * a * b", "addcdiv": "c + value * a / b",
    "as_tensor": "fp.tensor", "asarray": "fp.tensor", "array": "fp.tensor", "from_numpy":
    "fp.tensor", "array_equal": "(x == y).all()", "bernoulli": "(fp.rand(n) < p)", "concat":
    "fp.concatenate", "cosine_similarity": "(x * y).sum(-1) / (x.norm(axis=-1) * y.norm(axis=-1))",
    "count_nonzero": "(x != 0).sum()", "cdist": "(x[:, None] - y).norm(axis=-1)", "diag_embed":
    "x[..., None] * fp.eye(n)", "divide": "fp.div", "empty_like": "fp.zeros_like", "eq": "fp.equal",
    "erfc": "1 - fp.erf(x)",
    "frac": "x - fp.trunc(x)", "ge": "fp.greater_equal", "gt": "fp.greater", "le": "fp.less_equal",
    "lt": "fp.less", "ne": "fp.not_equal", "index_select": "fp.take", "inner": "fp.dot", "lerp":
    "x + weight * (y - x)", "logit": "fp.log(p / (1 - p))", "matrix_transpose": "x.mT", "mod":
    "fp.remainder", "movedim": "fp.moveaxis", "multiply": "fp.mul", "mv": "fp.matmul", "nanmean":
    "fp.where(fp.isnan(x), 0, x), its sum, and the count", "nansum":
    "fp.where(fp.isnan(x), 0, x).sum()", "negative": "fp.neg", "numel": "x.size", "power": "fp.pow",
    "repeat_interleave": "fp.repeat", "rint": "fp.round", "scatter": "fp.scatter_add, fp.where",
    "select": _INDEXING, "narrow": _INDEXING, "subtract": "fp.sub", "swapdims": "fp.swapaxes",
    "t": "x.T", "take_along_dim": "fp.gather", "tensordot": "fp.einsum", "true_divide": "fp.div",
    "unstack": "fp.unbind", "var_mean": "x.var(), x.mean()", "xlogy": "x * fp.log(y)",
    "logsigmoid": "fp.log_sigmoid", "relu6": "fp.clip(x, 0, 6)", "hardtanh": "fp.clip(x, -1, 1)",
    "hardsigmoid": "fp.hard_sigmoid", "hardswish": "fp.hard_swish", "softmin": "fp.softmax(-x)",
    "glu": "a * fp.sigmoid(b) of a, b = fp.chunk(x, 2, -1)", "threshold": "fp.where",
    "scaled_dot_product_attention": "fp.softmax(q @ k.mT / d ** 0.5) @ v",
    "amax": "fp.max", "amin": "fp.min", "bmm": "fp.matmul", "cat": "fp.concatenate",
    "clamp": "fp.clip", "clamp_max": "fp.minimum", "clamp_min": "fp.maximum",
    "hstack": "np.hstack or fp.concatenate", "linear": "fp.dense, whose weight is [in, out]",
    "inference_mode": "fp.no_grad", "set_grad_enabled": "fp.no_grad and fp.enable_grad",
    "manual_seed": "fp.seed", "masked_select": "x[mask]", "mm": "fp.matmul",
    "ravel": "fp.reshape(x, -1)", "set_num_threads": "Trainer(threads=…) or FASTPROP_NUM_THREADS",
    "vstack": "np.vstack or fp.concatenate",
    "cross_entropy": "fp.losses.cross_entropy", "l1_loss": "fp.losses.mae",
    "mse_loss": "fp.losses.mse", "huber_loss": "fp.losses.huber",
    "smooth_l1_loss": "fp.losses.huber", "kl_div": "fp.losses.kl_div",
    "binary_cross_entropy": "fp.losses.binary_cross_entropy, of logits",
    "binary_cross_entropy_with_logits": "fp.losses.binary_cross_entropy",
    "nll_loss": "fp.losses.cross_entropy, of logits",
}  # fmt: skip

MODULES = {
    "Linear": "nn.Dense, whose weight is [in, out]", "BatchNorm1d": "nn.BatchNorm",
    "MSELoss": "fp.losses.mse", "L1Loss": "fp.losses.mae", "HuberLoss": "fp.losses.huber",
    "SmoothL1Loss": "fp.losses.huber", "CrossEntropyLoss": "fp.losses.cross_entropy",
    "NLLLoss": "fp.losses.cross_entropy, of logits", "KLDivLoss": "fp.losses.kl_div",
    "BCEWithLogitsLoss": "fp.losses.binary_cross_entropy",
    "BCELoss": "fp.losses.binary_cross_entropy, of logits",
    "TripletMarginLoss": "fp.losses.triplet_margin", "functional": "fp.functional",
    "GaussianNLLLoss": "fp.losses.gaussian_nll", "PoissonNLLLoss": "fp.losses.poisson_nll",
    "CosineEmbeddingLoss": "fp.losses.cosine_embedding", "Hardsigmoid": "nn.HardSigmoid",
    "Hardswish": "nn.HardSwish", "LazyLinear": "nn.Dense, whose weight is [in, out]",
    "ReLU6": "fp.clip(x, 0, 6)", "Hardtanh": "fp.clip(x, -1, 1)", "LogSigmoid": "fp.log_sigmoid",
    "utils": "fp.gradients.clip_grad_norm clips",
}  # fmt: skip

OPTIMIZERS = {
    "lr_scheduler": "fp.optim.schedules, which are values of lr=", "swa_utils":
    "fp.optim.SWA, fp.optim.EMA", "ASGD": "fp.optim.SWA of fp.optim.SGD", "SparseAdam":
    "fp.optim.Adam",
}  # fmt: skip

SCHEDULES = {
    "CosineAnnealingLR": "fp.optim.schedules.Cosine", "CosineAnnealingWarmRestarts":
    "fp.optim.schedules.CosineRestarts", "StepLR": "fp.optim.schedules.Step", "MultiStepLR":
    "fp.optim.schedules.MultiStep", "ExponentialLR": "fp.optim.schedules.Exponential",
    "PolynomialLR": "fp.optim.schedules.Polynomial", "OneCycleLR": "fp.optim.schedules.OneCycle",
    "CyclicLR": "fp.optim.schedules.Cyclic", "ConstantLR": "fp.optim.schedules.Constant",
    "LinearLR": "fp.optim.schedules.Warmup", "SequentialLR": "fp.optim.schedules.Sequential",
    "LambdaLR": "lr=, a function of the step", "ReduceLROnPlateau": "fp.train.ReduceLROnPlateau",
}  # fmt: skip

METHODS = {
    **dict.fromkeys(("addmm", "addmv", "baddbmm", "addr"), _PRODUCT),
    **dict.fromkeys(("select", "narrow", "index"), _INDEXING),
    **dict.fromkeys(("cpu", "cuda", "device", "to"), _DEVICE),
    **dict.fromkeys(("new_zeros", "new_empty"), "fp.zeros"),
    "absolute": "abs", "add": "+", "amax": "max", "amin": "min", "arctan2": "atan2", "bmm": "@",
    "bool": "x != 0, a mask", "clamp": "clip", "clamp_max": "minimum", "clamp_min": "maximum",
    "contiguous": "nothing to do, Tensors are contiguous", "copy": "clone", "count_nonzero":
    "(x != 0).sum()", "dim": "ndim", "div": "/", "divide": "/", "double": "astype('float64')",
    "eq": "==", "expand_as": "fp.broadcast_to", "float": "astype('float32')", "floor_divide": "//",
    "frac": "x - x.trunc()", "ge": ">=", "grad_fn": "op", "gt": ">", "half":
    "astype('float32'), the smallest float", "index_add": "scatter_add", "index_fill":
    "fp.where(mask, value, x)", "index_select": "take", "inner": "dot", "int": "astype('int64')",
    "inverse": "np.linalg.inv of its data", "is_floating_point": "dtype", "le": "<=", "lerp":
    "x + weight * (y - x)", "long": "astype('int64')", "lt": "<", "masked_select": "x[mask]",
    "mm": "@", "movedim": "moveaxis", "mul": "*", "multiply": "*", "mv": "@", "ne": "!=",
    "neg": "-x", "negative": "-x", "nelement": "size", "new_ones": "fp.ones", "new_full": "fp.full",
    "new_tensor": "fp.tensor", "nonzero": "np.nonzero(x)", "numel": "size", "ravel": "flatten",
    "repeat": "tile; or fp.repeat, which repeats the elements one by one", "repeat_interleave":
    "fp.repeat", "reshape_as": "reshape", "scatter": "fp.scatter_add, fp.where", "sub": "-",
    "subtract": "-", "swapdims": "swapaxes", "t": "T", "take_along_dim": "gather", "true_divide":
    "/", "type": "dtype", "type_as": "astype(y.dtype)", "unflatten": "reshape", "view": "reshape",
    "view_as": "reshape", "zero_": "x.grad = None, or optimizer.zero_grad()", "copy_":
    "x.data = values, of a leaf", "fill_": "x.data[...] = value, of a leaf", "uniform_":
    "nn.init, or x.data = values", "normal_": "nn.init, or x.data = values",
}  # fmt: skip


ARGUMENTS: dict[str, tuple[str, ...]] = {
    "a": ("x",), "arrays": ("tensors",), "axis0": ("axis1",), "beta1": ("betas",),
    "beta2": ("betas",), "beta_1": ("betas",), "beta_2": ("betas",), "correction": ("ddof",),
    "diagonal": ("offset",), "dim": ("axis",), "dim0": ("axis1",), "dim1": ("axis2",),
    "dims": ("axis", "axes", "repeats"), "end_dim": ("end",), "epsilon": ("eps",),
    "indices": ("index",), "indices_or_sections": ("size",), "input": ("x",),
    "k": ("offset", "diagonal"), "keepdim": ("keepdims",), "kernel_initializer": ("init",),
    "learning_rate": ("lr",), "num_classes": ("classes",), "p": ("ord",), "rate": ("p",),
    "reps": ("repeats",), "shifts": ("shift",), "size": ("shape",), "split_size": ("size",),
    "split_size_or_sections": ("size",), "src": ("source",), "start_dim": ("start",),
    "units": ("out_features",), "use_bias": ("bias",),
}  # fmt: skip
"""Names of arguments in PyTorch, NumPy and Keras, and those that functions here have for them."""

_ONE_PASS = "not needed, an update is one pass of C++ anyway"
_CLIP = "Trainer(clip=…), or fp.gradients"

NO_ARGUMENTS = {
    **dict.fromkeys(("foreach", "fused", "capturable", "differentiable"), _ONE_PASS),
    **dict.fromkeys(("clipnorm", "clipvalue", "global_clipnorm", "max_grad_norm"), _CLIP),
    "maximize": "minimize -loss", "inplace": "not needed, memory is reused wherever that is safe",
    "device": "not needed, Tensors are NumPy's memory on the CPU",
}  # fmt: skip
"""Arguments of theirs that need no counterpart, and what to do instead."""


def wrong_names(function: FunctionType, names: Sequence[str]) -> str | None:
    """The message for a call with such names of arguments; ``None`` if they all exist."""
    import inspect  # wanted for an error only

    arguments = inspect.signature(function).parameters
    if any(p.kind is p.VAR_KEYWORD for p in arguments.values()):
        return None  # it takes all names, and says itself what is wrong with them
    several = {p.name for p in arguments.values() if p.kind is p.VAR_POSITIONAL}
    unknown = next((n for n in names if n not in arguments or n in several), None)
    if unknown is None:
        return None
    called = function.__qualname__.removesuffix(".__init__")
    return (
        f"{called}() got an unexpected keyword argument {unknown!r}; here: "
        f"{_argument_here(unknown, [n for n in arguments if n != 'self'], several)}"
    )


def _argument_here(unknown: str, arguments: Sequence[str], several: Set[str]) -> str:
    here = next((n for n in ARGUMENTS.get(unknown, ()) if n in arguments), None)
    if here is not None:
        return f"{here}, without a name" if here in several else f"{here}="
    every = ", ".join(f"*{n}" if n in several else n for n in arguments)
    return NO_ARGUMENTS.get(unknown) or f"({every})"


def _elsewhere(name: str, known: dict[str, str]) -> str | None:
    """Where a function is that exists, but not here."""
    from fastprop import functional
    from fastprop.graph.tensor import Tensor

    if known is METHODS:
        return f"fp.{name}(x, …)" if name in dir(functional) else None
    if known is FUNCTIONS and name in dir(functional):
        return f"fp.functional.{name}"
    method = getattr(Tensor, name, None) if known is FUNCTIONS else None
    return None if method is None else f"x.{name}" + "(…)" * callable(method)


def missing(message: str, name: str, known: dict[str, str]) -> AttributeError:
    """The error for a name that does not exist: the usual message, and what to use instead."""
    hint = known.get(name)
    if hint is None and not name.startswith("_"):
        in_place = known is METHODS and name.endswith("_")
        hint = _IN_PLACE if in_place else _elsewhere(name, known)
    return AttributeError(message if hint is None else f"{message}; here: {hint}")
