"""Noise in training, as modules: dropout for units, and normal noise."""

from __future__ import annotations

from typing import Any

from fastprop import functional as F
from fastprop.checks import real_number
from fastprop.graph.tensor import Tensor
from fastprop.nn.module import Module


class Dropout(Module):
    r"""Each element zero with probability `p` in training, else scaled so that the mean stays.

    .. math:: y_i = m_i x_i / (1 - p), \qquad P(m_i = 1) = 1 - p

    In a Trainer the mask depends on (seed, this call, step, index) alone; an eager call draws from
    the default generator (:func:`fastprop.seed`). In evaluation, the identity.

    Args:
        p: Probability of being dropped, in [0, 1).

    Raises:
        ValueError: `p` is out of range.
        TypeError: `p` is no number.

    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting",
    JMLR 2014.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = real_number(type(self).__name__, "p", p, 0, 1)

    def forward(self, x: Any) -> Tensor:
        return F.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class AlphaDropout(Dropout):
    """Dropout for selu: keeps mean 0 and variance 1 of its input (:func:`fastprop.alpha_dropout`).

    Arguments and errors as for :class:`Dropout`.

    Klambauer et al., "Self-normalizing neural networks", NeurIPS 2017.
    """

    def forward(self, x: Any) -> Tensor:
        return F.alpha_dropout(x, self.p, self.training)


class GaussianNoise(Module):
    r"""Adds normal noise in training, :math:`y_i = x_i + \sigma z_i`; the identity in evaluation.

    Args:
        std: :math:`\sigma`, not negative.

    Raises:
        ValueError: `std` is negative or not finite.
        TypeError: `std` is no number.

    Bishop, "Training with noise is equivalent to Tikhonov regularization", Neural Computation 1995.
    """

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = real_number("GaussianNoise", "std", std, 0)

    def forward(self, x: Any) -> Tensor:
        return F.gaussian_noise(x, self.std, self.training)

    def extra_repr(self) -> str:
        return f"std={self.std}"
