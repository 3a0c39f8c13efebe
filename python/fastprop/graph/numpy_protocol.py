"""NumPy's functions on Tensors: ours where there is one, NumPy's on constants, else an error.

``np.exp(x)`` and ``array + x`` give Tensors with derivatives. A function that has no counterpart
here runs on the data of Tensors that need no gradient and gives NumPy arrays; on a Tensor that
requires one it is refused, as its result would silently be a constant.
"""

from __future__ import annotations

from typing import Any

from fastprop import functional
from fastprop.graph.numpy_functions import FUNCTIONS
from fastprop.graph.tensor import Tensor

_UFUNCS = {
    "absolute": "abs", "add": "add", "arccos": "acos", "arccosh": "acosh", "arcsin": "asin",
    "arcsinh": "asinh", "arctan": "atan", "arctan2": "atan2", "arctanh": "atanh", "ceil": "ceil",
    "cos": "cos", "cosh": "cosh", "divide": "div", "equal": "equal", "exp": "exp", "exp2": "exp2",
    "expm1": "expm1", "fabs": "abs", "float_power": "pow", "floor": "floor",
    "floor_divide": "floor_divide", "fmod": "fmod", "greater": "greater",
    "greater_equal": "greater_equal", "hypot": "hypot", "isfinite": "isfinite", "isinf": "isinf",
    "isnan": "isnan", "less": "less", "less_equal": "less_equal", "log": "log", "log10": "log10",
    "log1p": "log1p", "log2": "log2", "logaddexp": "logaddexp", "logical_and": "logical_and",
    "logical_not": "logical_not", "logical_or": "logical_or", "logical_xor": "logical_xor",
    "matmul": "matmul", "maximum": "maximum", "minimum": "minimum", "multiply": "mul",
    "negative": "neg", "not_equal": "not_equal", "power": "pow", "reciprocal": "reciprocal",
    "remainder": "remainder", "rint": "round", "sign": "sign", "sin": "sin", "sinh": "sinh",
    "sqrt": "sqrt", "square": "square", "subtract": "sub", "tan": "tan", "tanh": "tanh",
    "trunc": "trunc",
}  # fmt: skip

_MASKS = {"bitwise_and": "and", "bitwise_or": "or", "bitwise_xor": "xor", "invert": "invert"}
"""Operators on masks: NumPy's array on the left hands them to us."""

_REDUCTIONS = {"all", "any", "max", "mean", "median", "min", "prod", "std", "sum", "var"}
"""What follows their axis differs, so it must be named."""


def call_ufunc(ufunc: Any, method: str, inputs: Any, options: Any) -> Any:
    ours = _UFUNCS.get(ufunc.__name__)
    if method == "__call__" and not options:
        if ours is not None:
            return getattr(functional, ours)(*inputs)
        if ufunc.__name__ in _MASKS:
            operator = _MASKS[ufunc.__name__]
            if isinstance(inputs[0], Tensor):
                return getattr(inputs[0], f"__{operator}__")(*inputs[1:])
            return getattr(inputs[1], f"__r{operator}__")(inputs[0])
    name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
    _refuse_out(name, options.get("out", ()))
    return getattr(ufunc, method)(*_constants(name, inputs), **_constants(name, options))


def call_function(function: Any, args: Any, options: Any) -> Any:
    ours = FUNCTIONS.get(function)
    name = f"{function.__module__}.{function.__name__}".removeprefix("numpy.")
    if ours is not None:
        if name in _REDUCTIONS and len(args) > 2:
            raise TypeError(f"np.{name}: on Tensors, pass what follows the axis by name")
        try:
            return ours(*args, **options)
        except TypeError as error:
            if "argument" not in str(error):  # it was called right, and refused its operands
                raise
            raise TypeError(
                f"np.{name}: not with these arguments on Tensors ({error}); "
                f"use fp.functional.{ours.__name__}"
            ) from None
    _refuse_out(name, options.get("out"))
    return function(*_constants(name, args), **_constants(name, options))


def _refuse_out(name: str, out: Any) -> None:
    if any(isinstance(item, Tensor) for item in (out if isinstance(out, tuple) else (out,))):
        raise TypeError(f"np.{name}: out must not be a Tensor")


def _constants(name: str, value: Any) -> Any:
    """The arguments with arrays in place of Tensors, none of which may require a gradient."""
    if isinstance(value, Tensor):
        if value.requires_grad and name not in _VALUES_ONLY:
            raise TypeError(
                f"np.{name}: not on a Tensor that requires a gradient, the result would lose it; "
                "use a function of fp.functional, or x.detach() or x.numpy()"
            )
        return value.data
    if isinstance(value, dict):
        return {key: _constants(name, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_constants(name, item) for item in value)
    return value


# What they give has no derivative anyway.
_VALUES_ONLY = {
    "shape", "ndim", "size", "result_type", "array_repr", "array_str",
    "empty_like", "allclose", "array_equal", "isclose", "isin", "nonzero", "argwhere",
    "count_nonzero", "iscomplexobj", "isrealobj",
}  # fmt: skip
