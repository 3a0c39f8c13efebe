"""Smooth functions of two numbers: the angle and the length of a point, a sum of logarithms."""

from __future__ import annotations

import math

from fastprop.graph.ops_elementwise import binary, equal, exp, where
from fastprop.graph.tensor import Tensor, TensorLike


def _without_zero(length: Tensor) -> Tensor:
    return where(equal(length, 0), 1, length)


def _angle_by(numerator: Tensor, dz: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """dz numerator / (x^2 + y^2), without squares that overflow; 0 at the origin."""
    length = _without_zero(hypot(x, y))
    return dz * (numerator / length / length)


def _weight(x: Tensor, z: Tensor) -> Tensor:
    """e^x / e^z, the share of `x` in the sum; 0 where the sum is nothing."""
    return exp(x - where(equal(z, -math.inf), 0, z))


#                                    dx = vjp(dy, z, x, y)
_atan2 = binary(
    "atan2",
    "The angle of the point (y, x)",
    lambda dy, z, x, y: _angle_by(y, dy, x, y),
    lambda dy, z, x, y: -_angle_by(x, dy, x, y),
    integers=False,
)
hypot = binary(
    "hypot",
    "The length of the vector (x, y), sqrt(x^2 + y^2), without overflow",
    lambda dy, z, x, y: dy * (x / _without_zero(z)),
    lambda dy, z, x, y: dy * (y / _without_zero(z)),
    note="At the origin the derivative is taken to be zero.",
    integers=False,
)
logaddexp = binary(
    "logaddexp",
    "log(e^x + e^y), without overflow",
    lambda dy, z, x, y: dy * _weight(x, z),
    lambda dy, z, x, y: dy * _weight(y, z),
    note="Where both are -inf (both probabilities 0), the derivative is taken to be zero.",
    integers=False,
)


def atan2(y: TensorLike, x: TensorLike) -> Tensor:
    """The angle of the point ``(x, y)`` from the first axis, in (-pi, pi], element by element.

    Args:
        y: The second coordinate; Tensor, array or number of any dtype (integers as float32).
        x: The first coordinate, of the same dtype; the shapes broadcast as in NumPy.

    Returns:
        Tensor of the broadcast shape; of zeros the angle that their signs tell, as in NumPy. At the
        origin the derivative is taken to be zero.

    Raises:
        TypeError: One is float32, the other float64.
        ValueError: The shapes do not broadcast.
    """
    return _atan2(y, x)
