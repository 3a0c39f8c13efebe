"""Derivatives against finite differences.

Central differences in float64, (f(x + h) - f(x - h)) / 2 h: their error is h² f''' / 6 from the
series and about 2⁻⁵³ |f| / h from rounding, least for h near the cube root of 2⁻⁵³, where some ten
digits are right. What seems wrong is measured again by Richardson's extrapolation to h = 0 from
three larger steps, whose error is of the order h⁶. The complex step, which needs no step to be
chosen, needs kernels for complex numbers; those here are real.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastprop.autograd.transforms import jacobian, vjp
from fastprop.graph.op import grad_mode
from fastprop.graph.tensor import Tensor, as_tensor

Float64 = NDArray[np.float64]


class GradcheckError(AssertionError):
    """A derivative differs from the finite difference by more than allowed."""


class GradcheckReport(NamedTuple):
    """The element of a Jacobian that differs most from its finite difference.

    Attributes:
        ratio: Its error over the allowed one; above 1 the check fails.
        input: Position of the input that is differentiated by.
        input_index: Index of the element in that input.
        output_index: Index of the element in the output.
        analytic: What the derivative rules give.
        numeric: What the difference gives.
        elements: How many elements were compared.
    """

    ratio: float = 0.0
    input: int = 0
    input_index: tuple[int, ...] = ()
    output_index: tuple[int, ...] = ()
    analytic: float = 0.0
    numeric: float = 0.0
    elements: int = 0

    def __str__(self) -> str:
        return (
            f"of {self.elements} derivatives the worst is d output[{_text(self.output_index)}] / "
            f"d input {self.input}[{_text(self.input_index)}]: rules give {self.analytic:.9g}, "
            f"differences {self.numeric:.9g} (error {abs(self.analytic - self.numeric):.2e}, "
            f"{self.ratio:.3g} of what is allowed)"
        )


def _text(index: tuple[int, ...]) -> str:
    return ", ".join(map(str, index))


def gradcheck(
    fn: Callable[..., Tensor],
    inputs: ArrayLike | Sequence[ArrayLike],
    *,
    eps: float = 6e-6,
    atol: float = 1e-7,
    rtol: float = 1e-6,
) -> GradcheckReport:
    """Compare the Jacobian of a function with central differences, element by element.

    An element that differs by more than allowed is measured again, more exactly.

    Args:
        fn: Function of Tensors with one Tensor as its value; it must give the same for the same.
        inputs: Its arguments, an array or a tuple of them. Float ones are differentiated by, in
            float64; keep them few, and away from points where a derivative jumps.
        eps: Step of the differences; relative for elements larger than 1.
        atol: Allowed error, absolute,
        rtol: and relative to the difference.

    Returns:
        A report about the worst element.

    Raises:
        GradcheckError: An error is larger than ``atol + rtol |difference|``; the message names the
            element, both values, and the error. Or the function gives different values for the same
            arguments.
        TypeError: No input is a float, or the value is no Tensor.
    """
    arrays, chosen = _arguments("gradcheck", inputs)
    _refuse_chance(fn, arrays)
    analytic = jacobian(fn, chosen)(*map(Tensor, arrays))
    report = GradcheckReport()
    for i, found in zip(chosen, analytic, strict=True):
        report = _compare(report, fn, arrays, i, np.asarray(found), eps, atol, rtol)
    if not report.ratio <= 1:
        raise GradcheckError(f"gradcheck: {report}")
    return report


def gradgradcheck(
    fn: Callable[..., Tensor],
    inputs: ArrayLike | Sequence[ArrayLike],
    *,
    eps: float = 6e-6,
    atol: float = 1e-7,
    rtol: float = 1e-6,
) -> GradcheckReport:
    """The same for second derivatives: :func:`gradcheck` of a product with the Jacobian.

    For each input the function ``x, u -> Jᵀ u`` is checked, by x and by the vector u, which has
    fixed values between 1/2 and 3/2. Arguments, result and errors are those of :func:`gradcheck`.
    """
    arrays, chosen = _arguments("gradgradcheck", inputs)
    with grad_mode(False):
        shape = fn(*map(Tensor, arrays)).shape
    u = np.random.default_rng(0).uniform(0.5, 1.5, shape)
    worst = GradcheckReport()
    for i in chosen:

        def pulled(vector: Tensor, *args: Tensor, i: int = i) -> Tensor:
            def by_one(x: Tensor) -> Tensor:
                return fn(*args[:i], x, *args[i + 1 :])

            result: Tensor = vjp(by_one, args[i])[1](vector)
            return result

        report = gradcheck(pulled, (u, *arrays), eps=eps, atol=atol, rtol=rtol)
        worst = max(worst, report, key=lambda r: r.ratio)
    return worst


def _arguments(name: str, inputs: Any) -> tuple[list[Any], list[int]]:
    """Arrays in float64, integers as they are, and the positions of the former."""
    values = list(inputs) if isinstance(inputs, tuple | list) else [inputs]
    arrays = [np.asarray(as_tensor(v)) for v in values]
    arrays = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays]
    chosen = [i for i, a in enumerate(arrays) if a.dtype.kind == "f"]
    if not chosen:
        raise TypeError(f"{name}: no input is float32 or float64")
    return arrays, chosen


def _evaluate(fn: Callable[..., Tensor], arrays: Sequence[Any]) -> Float64:
    """The value on copies: what a function might keep does not change under it."""
    return np.array(fn(*[Tensor(a.copy()) for a in arrays]), dtype=np.float64)


def _compare(
    report: GradcheckReport,
    fn: Callable[..., Tensor],
    arrays: list[Any],
    position: int,
    analytic: NDArray[Any],
    eps: float,
    atol: float,
    rtol: float,
) -> GradcheckReport:
    """The worse of a report and of what the derivatives by one input give."""
    x = arrays[position]
    compared, worst = report.elements + analytic.size, report
    for index in np.ndindex(x.shape):
        column = analytic[(..., *index)]

        def slope(step: float, index: tuple[int, ...] = index) -> Float64:
            step *= max(1.0, abs(float(x[index])))
            values = []
            for sign in (1, -1):
                moved = x.copy()
                moved[index] += sign * step
                values.append(_evaluate(fn, [*arrays[:position], moved, *arrays[position + 1 :]]))
            return (values[0] - values[1]) / (2 * step)

        numeric = slope(eps)
        ratio = _ratio(column, numeric, atol, rtol)
        if ratio.size and ratio.max() > 1:
            closer = _extrapolated(slope, 16 * eps)
            better = _ratio(column, closer, atol, rtol) < ratio
            numeric = np.where(better, closer, numeric)
            ratio = _ratio(column, numeric, atol, rtol)
        if ratio.size and ratio.max() > worst.ratio:
            at = np.unravel_index(int(ratio.argmax()), ratio.shape)
            place = tuple(int(k) for k in at)
            worst = GradcheckReport(
                float(ratio[at]), position, index, place, float(column[at]), float(numeric[at])
            )
    return GradcheckReport(
        worst.ratio, worst.input, worst.input_index, worst.output_index, worst.analytic,
        worst.numeric, compared,
    )  # fmt: skip


def _ratio(found: NDArray[Any], numeric: Float64, atol: float, rtol: float) -> Float64:
    """Errors over allowed ones; what is no number is as bad as can be."""
    ratio = np.abs(found - numeric) / (atol + rtol * np.abs(numeric))
    return np.where(np.isnan(ratio), np.inf, ratio)


def _extrapolated(slope: Callable[[float], Float64], step: float) -> Float64:
    """The slope at step 0 from those at three steps (Richardson 1911)."""
    one, two, four = slope(step), slope(2 * step), slope(4 * step)
    first, second = (4 * one - two) / 3, (4 * two - four) / 3
    return (16 * first - second) / 15


def _refuse_chance(fn: Callable[..., Tensor], arrays: Sequence[Any]) -> None:
    with grad_mode(False):
        first, second = _evaluate(fn, arrays), _evaluate(fn, arrays)
    if not np.array_equal(first, second, equal_nan=True):
        raise GradcheckError(
            "gradcheck: the function gives different values for the same arguments; take what is "
            "random out of it, or fix its seed"
        )
