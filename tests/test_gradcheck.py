"""The check of derivatives finds wrong ones, and says where."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import uniform

import fastprop as fp
from fastprop import functional as F
from fastprop.graph import infer
from fastprop.graph.op import Op, apply

# sinh with a wrong rule: the element at index 1 of the first axis gets twice its derivative.
_FACTOR = np.array([[1.0], [2.0]])


def _wrong(x):
    base = fp.graph.op.OPS["sinh"]
    op = Op("sinh", infer.elementwise, (lambda dy, y, x: dy * F.cosh(x) * _FACTOR,), code=base.code)
    return apply(op, x)


def test_a_right_rule_passes() -> None:
    report = fp.gradcheck(lambda x, n: F.sinh(x) * 2, (uniform((2, 3)), np.arange(3)))
    assert report.ratio < 1
    assert report.elements == 36
    assert fp.gradgradcheck(lambda x: F.sinh(x), uniform((2, 3))).ratio < 1


def test_a_wrong_rule_is_found_and_named() -> None:
    x = np.array([[0.1, 0.2], [0.3, 1.5]])
    with pytest.raises(fp.GradcheckError) as caught:
        fp.gradcheck(lambda a, x: _wrong(x) * a, (np.ones(2), x))
    message = str(caught.value)
    assert "d output[1, 1] / d input 1[1, 1]" in message
    assert f"rules give {2 * np.cosh(1.5):.6f}"[:20] in message
    fp.gradcheck(lambda x: _wrong(x)[:1], x)  # the other rows are right


def test_a_wrong_second_derivative_is_found() -> None:
    """The first one is right: the rule forgets only that it depends on x itself."""

    def fn(x):
        op = Op(
            "sinh", infer.elementwise, (lambda dy, y, x: dy * F.cosh(x).detach(),),
            code=fp.graph.op.OPS["sinh"].code,
        )  # fmt: skip
        return apply(op, x)

    fp.gradcheck(fn, uniform((3,)))
    with pytest.raises(fp.GradcheckError, match="rules give 0, differences"):
        fp.gradgradcheck(fn, uniform((3,)))


def test_nan_is_no_pass() -> None:
    with pytest.raises(fp.GradcheckError, match="nan"):
        fp.gradcheck(lambda x: F.sqrt(x * 0), uniform((2,)))


def test_messages() -> None:
    with pytest.raises(TypeError, match="gradcheck: no input is float32 or float64"):
        fp.gradcheck(lambda n: n, np.arange(3))
    with pytest.raises(TypeError, match="must return a Tensor"):
        fp.gradcheck(lambda x: x.data, np.ones(3))


def test_curvature_is_not_taken_for_an_error() -> None:
    """Near 0 the third derivative of log is so large that plain differences miss by 3e-6."""
    x = np.array([2e-3, 5e-3])
    report = fp.gradcheck(F.log, x)
    assert report.ratio < 1
    with pytest.raises(fp.GradcheckError, match="rules give"):
        fp.gradcheck(lambda x: F.log(x) * (1 + 1e-6 * x.detach()), x + 2.0)


def test_what_is_random_is_refused() -> None:
    values = iter(range(100))
    with pytest.raises(fp.GradcheckError, match="different values for the same arguments"):
        fp.gradcheck(lambda x: x * next(values), np.ones(2))
