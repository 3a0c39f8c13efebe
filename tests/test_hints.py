"""Names that other libraries have: the error says what they are here, and that exists."""

from __future__ import annotations

import re

import numpy as np
import pytest

import fastprop as fp
from fastprop import functional, hints, nn

X = fp.tensor([[1.0, 2.0]])


@pytest.mark.parametrize(
    ("owner", "name", "advice"),
    [
        (fp, "cat", "fp.concatenate"),
        (fp, "zeros", "fp.tensor(np.zeros(…))"),
        (functional, "mse_loss", "fp.losses.mse"),
        (nn, "Linear", "nn.Dense, whose weight is [in, out]"),
        (X, "view", "reshape"),
        (X, "clamp", "clip"),
        (X, "add_", "write x = x + 1"),
        (X, "to", "on the CPU"),
    ],
)
def test_what_to_use_instead(owner: object, name: str, advice: str) -> None:
    with pytest.raises(AttributeError, match=f"no attribute '{name}'; here: .*{re.escape(advice)}"):
        getattr(owner, name)


@pytest.mark.parametrize("owner", [fp, functional, nn, X])
def test_unknown_names_get_the_usual_message(owner: object) -> None:
    for name in ("nothing_like_it", "__array_struct__"):
        with pytest.raises(AttributeError, match=f"no attribute '{name}'$"):
            getattr(owner, name)
        assert not hasattr(owner, name)


def test_no_hint_is_about_a_name_that_exists() -> None:
    for known, owner in ((hints.FUNCTIONS, fp), (hints.MODULES, nn), (hints.METHODS, X)):
        assert [name for name in known if hasattr(owner, name)] == []


def test_hints_name_what_exists() -> None:
    for hint in {**hints.FUNCTIONS, **hints.MODULES}.values():
        for path in re.findall(r"\b(?:fp|nn)\.[\w.]+", hint):
            found: object = {"fp": fp, "nn": nn}[path[:2]]
            for part in path.split(".")[1:]:
                found = getattr(found, part)
    methods = [hint for hint in hints.METHODS.values() if re.fullmatch(r"\w+", hint)]
    assert len(methods) > 10
    assert all(hasattr(X, hint) for hint in methods)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: X.mean(dim=1), TypeError, r"^Tensor\.mean\(\) got an unexpected .*'dim'"),
        (lambda: fp.sum(X, axis="a"), TypeError, "^sum: axis must be an integer.* got 'a'"),
        (lambda: fp.sum(X, axis=1.0), TypeError, "^sum: axis must be an integer"),
        (lambda: fp.sum(X, axis=(0, None)), TypeError, "^sum: axis must be an integer"),
        (lambda: fp.concatenate(X, X), TypeError, "^concatenate: axis .* got Tensor$"),
        (lambda: fp.tensor(None), TypeError, "^Tensor: expects real numbers, got NoneType"),
        (lambda: X + "a", TypeError, "expects real numbers, got str"),
        (lambda: fp.tensor([[1], [1, 2]]), ValueError, "^Tensor: the data cannot become an array"),
        (lambda: fp.grad(X.sum(), 3), TypeError, "^grad: inputs must be .*, got int"),
        (lambda: fp.grad(3, X), TypeError, "^grad: outputs must be .*, got int"),
        (lambda: fp.grad(X.sum(), [X, 3]), TypeError, "^grad: inputs must be Tensors, got int"),
        (
            lambda: np.linalg.inv(fp.tensor(np.eye(2), requires_grad=True)),
            TypeError,
            r"^np\.linalg\.inv: ",
        ),
        (lambda: bool(X), ValueError, r"ambiguous; use x\.any\(\) or x\.all\(\)"),
    ],
)
def test_wrong_uses_name_the_function(call, kind: type, message: str) -> None:
    with pytest.raises(kind, match=message):
        call()
