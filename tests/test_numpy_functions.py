"""NumPy's functions on Tensors: the same numbers with derivatives, or a refusal that says why."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import uniform

import fastprop as fp
from fastprop import Tensor, tensor

A = uniform((2, 3), 0.5, 0.9)
S = uniform((4, 4), seed=1)
INDEX = np.array([[0, 2, 1], [1, 1, 0]])

WORK = {
    "exp": np.exp, "sum": lambda x: np.sum(x, axis=0), "left": lambda x: A + x,
    "product": lambda x: A @ np.transpose(x), "maximum": lambda x: np.maximum(x, 0.7),
    "concatenate": lambda x: np.concatenate([x, A]), "where": lambda x: np.where(A > 0.7, x, 0),
    "mean": np.mean, "scalar": lambda x: np.float64(2) * x, "clip": lambda x: np.clip(x, 0.6, 0.8),
    "clip by name": lambda x: np.clip(x, a_min=0.6, a_max=None), "var": lambda x: np.var(x, 1),
    "einsum": lambda x: np.einsum("ij->i", x), "sort": lambda x: np.sort(x, axis=0),
    "cumsum": np.cumsum, "cumsum 1": lambda x: np.cumsum(x, axis=1), "ravel": np.ravel,
    "split": lambda x: np.split(x, 3, axis=1)[1], "parts": lambda x: np.split(x, [1], axis=-1)[1],
    "parts beyond": lambda x: np.split(x, [0, 1, 9], axis=1)[2],
    "dot of matrices": lambda x: np.dot(x, A.T), "dot with a number": lambda x: np.dot(2.0, x),
    "outer of matrices": lambda x: np.outer(x, A[0]),
    "swapaxes": lambda x: np.swapaxes(x, 0, -1), "moveaxis": lambda x: np.moveaxis(x, 0, -1),
    "vstack": lambda x: np.vstack([x, x[0]]), "hstack": lambda x: np.hstack([x, x]),
    "hstack of vectors": lambda x: np.hstack([x[0], x[1]]),
    "along": lambda x: np.take_along_axis(x, INDEX, 1), "pad": lambda x: np.pad(x, 1),
    "pad with": lambda x: np.pad(x, ((1, 0), (0, 2)), constant_values=3.0),
    "norm": np.linalg.norm, "norms": lambda x: np.linalg.norm(x, ord=1, axis=1),
    "norm of rows": lambda x: np.linalg.norm(x, axis=1, keepdims=True),
    "prod": np.prod, "std": np.std, "max": lambda x: np.max(x, axis=0), "min": np.min,
    "stack": lambda x: np.stack([x, x], axis=1), "flip": lambda x: np.flip(x, 1),
    "take": lambda x: np.take(x, [0, 2], axis=1), "outer": lambda x: np.outer(x[0], x[1]),
    "dot": lambda x: np.dot(x[0], x[1]), "squeeze": lambda x: np.squeeze(x[:1]),
    "expand_dims": lambda x: np.expand_dims(x, 0), "reshape": lambda x: np.reshape(x, (3, 2)),
    "broadcast_to": lambda x: np.broadcast_to(x, (4, 2, 3)), "tril": np.tril, "triu": np.triu,
    "remainder": lambda x: np.remainder(1.0, x), "fmod": lambda x: np.fmod(3 * x, 0.8),
    "mod": lambda x: np.mod(3 * x, A + 0.3), "operator": lambda x: (A[0] + 1.1) % x,
    "arctan2": lambda x: np.arctan2(A, x), "hypot": lambda x: np.hypot(x, A),
    "logaddexp": lambda x: np.logaddexp(x, A),
    "log2": np.log2, "log10": np.log10, "exp2": np.exp2, "roll": lambda x: np.roll(x, 1, axis=1),
    "roll all": lambda x: np.roll(x, 2), "tile": lambda x: np.tile(x, (2, 1, 2)),
    "repeat": lambda x: np.repeat(x, 2), "repeat 1": lambda x: np.repeat(x, [1, 0, 2], axis=1),
    "diagonal": np.diagonal, "diagonal 1": lambda x: np.diagonal(x[None], 1, axis1=2, axis2=1),
    "diag": np.diag, "diag of a vector": lambda x: np.diag(x[0]), "trace": np.trace,
    "trace 1": lambda x: np.trace(x[None], 1, 1, 2), "cumprod": np.cumprod,
    "cumprod 1": lambda x: np.cumprod(x, axis=1), "diff": np.diff,
    "diff 2": lambda x: np.diff(x, 2, axis=1), "median": np.median,
    "median 1": lambda x: np.median(x, axis=1, keepdims=True),
    "quantile": lambda x: np.quantile(x, 0.3), "quantiles": lambda x: np.quantile(x, [0.3, 1], 0),
    "percentile": lambda x: np.percentile(x, 30, axis=1), "nan_to_num": np.nan_to_num,
    "arctanh": np.arctanh, "power": lambda x: np.power(x, 3), "divide": lambda x: np.divide(1, x),
}  # fmt: skip
VALUES = {
    "argmax": np.argmax, "argmin": lambda x: np.argmin(x, axis=1), "isfinite": np.isfinite,
    "argsort": lambda x: np.argsort(x, axis=0), "any": lambda x: np.any(x > 0.7, axis=0),
    "all": lambda x: np.all(x > 0.4), "less": lambda x: np.less(x, 0.7),
    "and": lambda x: (A > 0.6) & (x < 0.8), "not": lambda x: np.logical_not(x),
    "invert": lambda x: np.invert(x > 0.7), "shape": np.shape,
    "isclose": lambda x: np.isclose(x, A),
    "floor": lambda x: np.floor(9 * x), "ceil": lambda x: np.ceil(9 * x), "rint": lambda x:
    np.rint(9 * x), "trunc": lambda x: np.trunc(-9 * x), "round": lambda x: np.round(x, 1),
    "floor_divide": lambda x: np.floor_divide(9 * x, A), "full_like": lambda x: np.full_like(x, 3),
    "ones_like": np.ones_like, "zeros_like": np.zeros_like, "nonzero": np.nonzero, "sign": np.sign,
}  # fmt: skip


@pytest.mark.parametrize("name", WORK)
def test_the_same_with_a_derivative(name: str) -> None:
    x = tensor(A, requires_grad=True)
    y = WORK[name](x)
    assert isinstance(y, Tensor)
    np.testing.assert_allclose(y.data, WORK[name](A), rtol=1e-14)
    fp.gradcheck(WORK[name], A)


@pytest.mark.parametrize("name", VALUES)
def test_values_only(name: str) -> None:
    np.testing.assert_array_equal(VALUES[name](tensor(A, requires_grad=True)), VALUES[name](A))


CONSTANTS = {
    "fmax": lambda x: np.fmax(x, 2.0), "svd": np.linalg.svd, "inv": np.linalg.inv,
    "reduce": np.add.reduce, "accumulate": np.multiply.accumulate, "histogram": np.histogram,
    "interp": lambda x: np.interp(0.5, [0, 1, 2, 3], x[0]), "cbrt": np.cbrt, "kron":
    lambda x: np.kron(x, x), "convolve": lambda x: np.convolve(x[0], x[1]), "fft": np.fft.fft,
    "spacing": np.spacing, "gradient": lambda x: np.gradient(x, axis=0),
    "cross": lambda x: np.cross(x[:2, :3], x[2:, :3]),
    "matrix norm": lambda x: np.linalg.norm(x, ord=2),
    "nuclear norm": lambda x: np.linalg.norm(x, ord="nuc"),
    "edge": lambda x: np.pad(x, 1, mode="edge"),
}  # fmt: skip


@pytest.mark.parametrize("name", CONSTANTS)
def test_what_has_no_counterpart(name: str) -> None:
    with pytest.raises(TypeError, match=r"^np\..*on (a Tensor that requires|Tensors)"):
        CONSTANTS[name](tensor(S, requires_grad=True))
    if name not in ("matrix norm", "nuclear norm", "edge"):
        found, expected = CONSTANTS[name](tensor(S)), CONSTANTS[name](S)
        for ours, theirs in (
            zip(found, expected, strict=True)
            if isinstance(expected, tuple)
            else [(found, expected)]
        ):
            np.testing.assert_array_equal(ours, theirs)


def test_messages() -> None:
    x = tensor(A, requires_grad=True)
    with pytest.raises(TypeError, match=r"np.sum: not with these arguments .*dtype"):
        np.sum(x, dtype=np.float32)
    with pytest.raises(TypeError, match="out must not be a Tensor"):
        np.add(A, A, out=(x,))
    with pytest.raises(TypeError, match="pass what follows the axis by name"):
        np.mean(x, 0, np.float32)
    with pytest.raises(ValueError, match=r"np.split: 3 along axis 1 do not make 2 equal parts"):
        np.split(x, 2, axis=1)
    with pytest.raises(TypeError, match="Tensor &: for masks"):
        np.arange(3) & tensor([1, 2, 3])
