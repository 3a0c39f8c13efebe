"""What is called otherwise in PyTorch and NumPy, for the messages about names that do not exist."""

from __future__ import annotations

_ARRAYS = "NumPy's arrays serve: fp.tensor(np.zeros(…))"
_IN_PLACE = "Tensors are values: write x = x + 1, or assign x.data of a leaf"
_DEVICE = "Tensors are NumPy's memory on the CPU; astype changes the dtype"

FUNCTIONS = {
    **dict.fromkeys(
        ("arange", "empty", "eye", "full", "full_like", "linspace", "ones", "ones_like", "rand",
         "randn", "zeros", "zeros_like"),
        _ARRAYS,
    ),
    "amax": "fp.max", "amin": "fp.min", "bmm": "fp.matmul", "cat": "fp.concatenate",
    "chunk": "fp.split", "clamp": "fp.clip", "flatten": "fp.reshape(x, -1)",
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
    "add": "+", "amax": "max", "amin": "min", "clamp": "clip", "cpu": _DEVICE, "cuda": _DEVICE,
    "device": _DEVICE, "dim": "ndim", "div": "/", "double": "astype('float64')", "eq": "==",
    "flatten": "reshape(-1)", "float": "astype('float32')", "ge": ">=", "gt": ">",
    "index_select": "take", "int": "astype('int64')", "le": "<=", "long": "astype('int64')",
    "lt": "<", "masked_fill": "fp.where(mask, value, x)", "masked_select": "x[mask]", "mm": "@",
    "mT": "transpose", "mul": "*", "ne": "!=", "neg": "-x", "nonzero": "np.nonzero(x)",
    "numel": "size", "ravel": "reshape(-1)", "repeat": "expand or fp.concatenate", "sub": "-",
    "swapaxes": "np.swapaxes(x, …)", "t": "T", "to": _DEVICE, "type": "dtype", "view": "reshape",
    "view_as": "reshape", "expand_as": "fp.broadcast_to", "where": "fp.where(condition, x, y)",
    "zero_": "x.grad = None, or optimizer.zero_grad()",
}  # fmt: skip


def missing(message: str, name: str, known: dict[str, str]) -> AttributeError:
    """The error for a name that does not exist: the usual message, and what to use instead."""
    hint = known.get(name)
    if hint is None and known is METHODS and name.endswith("_") and not name.startswith("_"):
        hint = _IN_PLACE
    return AttributeError(message if hint is None else f"{message}; here: {hint}")
