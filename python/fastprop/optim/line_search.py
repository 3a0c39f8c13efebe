"""A line search for the strong Wolfe conditions, on numbers of Python."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from numpy.typing import NDArray

_SUFFICIENT = 1e-4  # of the decrease that the slope at the start promises
_CURVATURE = 0.9  # of the slope at the start may be left


class Point(NamedTuple):
    """The loss along a direction.

    Attributes:
        t: How far along.
        loss: Its loss.
        slope: The loss's derivative along the direction.
        gradient: All of its gradient.
    """

    t: float
    loss: float
    slope: float
    gradient: NDArray[Any]


def strong_wolfe(
    evaluate: Callable[[float], Point], start: Point, t: float, smallest: float, most: int
) -> tuple[Point, int]:
    """A point with enough decrease and a slope flat enough, or the best one that was found.

    Nocedal & Wright, "Numerical optimization", algorithms 3.5 and 3.6, with the safeguards of
    Schmidt's minFunc that PyTorch uses too, so that both visit the same points.

    Args:
        evaluate: Gives the point at some t.
        start: The point at 0, of negative slope.
        t: The first one to try.
        smallest: Intervals shorter than this are not divided.
        most: How many evaluations after the first one.

    Returns:
        The point, and the number of evaluations.
    """

    def too_high(point: Point) -> bool:
        limit = start.loss + _SUFFICIENT * point.t * start.slope
        return not point.loss <= limit  # also where the loss is not finite

    def flat(point: Point) -> bool:
        return abs(point.slope) <= -_CURVATURE * start.slope

    before, point = start, evaluate(t)
    for count in range(most):
        if too_high(point) or (count > 1 and point.loss >= before.loss):
            break
        if flat(point):
            return point, count + 1
        if point.slope >= 0:
            break
        low, high = point.t + 0.01 * (point.t - before.t), 10 * point.t
        before, point = point, evaluate(_cubic_minimum(before, point, low, high))
    else:
        return (start if start.loss <= point.loss else point), most + 1
    return _zoom(evaluate, too_high, flat, (before, point), smallest, most, count)


def _zoom(
    evaluate: Callable[[float], Point],
    too_high: Callable[[Point], bool],
    flat: Callable[[Point], bool],
    bracket: tuple[Point, Point],
    smallest: float,
    most: int,
    count: int,
) -> tuple[Point, int]:
    """Narrows down an interval that has a point which is right."""
    low, high = sorted(bracket, key=lambda p: p.loss if p.loss == p.loss else math.inf)
    stuck = False
    while count < most and not abs(low.t - high.t) < smallest:
        t, stuck = _trial(low, high, stuck)
        point = evaluate(t)
        count += 1
        if too_high(point) or point.loss >= low.loss:
            high = point
            if high.loss < low.loss:
                low, high = high, low
            continue
        if flat(point):
            return point, count + 1
        if point.slope * (high.t - low.t) >= 0:
            high = low
        low = point
    return low, count + 1


def _trial(low: Point, high: Point, stuck: bool) -> tuple[float, bool]:
    """Where to look in an interval: not near one end twice in a row, nor at it."""
    first, last = min(low.t, high.t), max(low.t, high.t)
    t = _cubic_minimum(low, high, first, last)
    margin = 0.1 * (last - first)
    if min(last - t, t - first) >= margin:
        return t, False
    if not stuck and first < t < last:
        return t, True
    return (last - margin if abs(t - last) < abs(t - first) else first + margin), False


def _cubic_minimum(a: Point, b: Point, low: float, high: float) -> float:
    """Where the cubic through two points and their slopes is lowest, within bounds."""
    if a.t > b.t:
        a, b = b, a
    middle = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = middle**2 - a.slope * b.slope
    if not square >= 0 or not math.isfinite(square):
        return (low + high) / 2
    root = math.sqrt(square)
    t = b.t - (b.t - a.t) * ((b.slope + root - middle) / (b.slope - a.slope + 2 * root))
    return min(max(t, low), high)
