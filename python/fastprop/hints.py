"""What is called otherwise in PyTorch and NumPy, for the messages about names that do not exist."""

from __future__ import annotations

from collections.abc import Sequence
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
    "utils": "fp.gradients.clip_grad_norm clips",
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
    "a": ("x",), "arrays": ("tensors",), "axis0": ("axis1",), "correction": ("ddof",),
    "diagonal": ("offset",), "dim": ("axis",), "dim0": ("axis1",), "dim1": ("axis2",),
    "dims": ("axis", "axes", "repeats"), "end_dim": ("end",), "indices": ("index",),
    "indices_or_sections": ("size",), "input": ("x",), "k": ("offset", "diagonal"),
    "keepdim": ("keepdims",), "num_classes": ("classes",), "p": ("ord",), "reps": ("repeats",),
    "shifts": ("shift",), "size": ("shape",), "split_size": ("size",),
    "split_size_or_sections": ("size",), "src": ("source",), "start_dim": ("start",),
}  # fmt: skip
"""Names of arguments in PyTorch and NumPy, and those that functions here have for them."""


def wrong_names(function: FunctionType, names: Sequence[str]) -> str | None:
    """The message for a call with such names of arguments; ``None`` if they all exist."""
    import inspect  # wanted for an error only

    arguments = inspect.signature(function).parameters
    several = {p.name for p in arguments.values() if p.kind is p.VAR_POSITIONAL}
    unknown = next((n for n in names if n not in arguments or n in several), None)
    if unknown is None:
        return None
    here = next((n for n in ARGUMENTS.get(unknown, ()) if n in arguments), None)
    if here in several:
        hint = f"{here}, without a name"
    else:
        hint = f"({', '.join(n for n in arguments if n != 'self')})" if here is None else f"{here}="
    return f"{function.__qualname__}() got an unexpected keyword argument {unknown!r}; here: {hint}"


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
