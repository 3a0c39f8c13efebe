"""Activation functions as modules. Formulas and defaults are PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from numpy.typing import DTypeLike

from fastprop import functional as F
from fastprop.checks import positive_int
from fastprop.graph.parameter import Parameter
from fastprop.graph.tensor import Tensor
from fastprop.nn import init
from fastprop.nn.module import Module
from fastprop.random import check_float_dtype


class Activation(Module):
    """Base of the modules below: :attr:`function` of the input and of the arguments given here."""

    function: ClassVar[Callable[..., Tensor]]

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options

    def forward(self, x: Any) -> Tensor:
        return type(self).function(x, **self.options)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.options.items())


class Identity(Activation):
    """:math:`y = x`."""

    def forward(self, x: Any) -> Any:
        return x


class ReLU(Activation):
    r""":math:`\max(x, 0)` (Nair & Hinton, ICML 2010)."""

    function = staticmethod(F.relu)

    def __init__(self) -> None:
        super().__init__()


class LeakyReLU(Activation):
    r""":math:`x` where :math:`x > 0`, else ``negative_slope`` :math:`x` (Maas et al., 2013)."""

    function = staticmethod(F.leaky_relu)

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__(negative_slope=negative_slope)


class PReLU(Module):
    r""":math:`x` where it is positive, else :math:`a x` with a learned :math:`a` (He et al. 2015).

    Args:
        num_parameters: 1 slope for all features, or one for each index of axis 1.
        init: Initial slope.
        dtype: float32 or float64.

    Attributes:
        slope: Parameter of shape ``[num_parameters]``.
    """

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, dtype: DTypeLike = "float32"
    ) -> None:
        super().__init__()
        self.num_parameters = positive_int("PReLU", "num_parameters", num_parameters)
        self.slope = Parameter(_constant(self.num_parameters, init, dtype))

    def forward(self, x: Any) -> Tensor:
        return F.prelu(x, self.slope)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


def _constant(count: int, value: float, dtype: DTypeLike) -> Any:
    return init.constant((count,), check_float_dtype("PReLU", dtype), value=value)


class ELU(Activation):
    r""":math:`x` where :math:`x > 0`, else :math:`\alpha (e^x - 1)` (Clevert et al., ICLR 2016)."""

    function = staticmethod(F.elu)

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__(alpha=alpha)


class SELU(Activation):
    """ELU scaled to keep zero mean and unit variance (Klambauer et al., NeurIPS 2017)."""

    function = staticmethod(F.selu)

    def __init__(self) -> None:
        super().__init__()


class CELU(Activation):
    r""":math:`x` where :math:`x > 0`, else :math:`\alpha (e^{x / \alpha} - 1)` (Barron, 2017)."""

    function = staticmethod(F.celu)

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__(alpha=alpha)


class GELU(Activation):
    r""":math:`x \Phi(x)`; ``approximate="tanh"`` for a faster form (Hendrycks & Gimpel, 2016)."""

    function = staticmethod(F.gelu)

    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None:
        super().__init__(approximate=approximate)
        if approximate not in ("none", "tanh"):
            raise ValueError(f"GELU: approximate must be 'none' or 'tanh', got {approximate!r}")


class SiLU(Activation):
    r""":math:`x \sigma(x)`, also called swish (Elfwing et al., 2017)."""

    function = staticmethod(F.silu)

    def __init__(self) -> None:
        super().__init__()


class Mish(Activation):
    r""":math:`x \tanh(\ln(1 + e^x))` (Misra, BMVC 2020)."""

    function = staticmethod(F.mish)

    def __init__(self) -> None:
        super().__init__()


class Softplus(Activation):
    r""":math:`\ln(1 + e^{\beta x}) / \beta`, or :math:`x` where :math:`\beta x >` ``threshold``."""

    function = staticmethod(F.softplus)

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__(beta=beta, threshold=threshold)


class Softsign(Activation):
    r""":math:`x / (1 + |x|)`."""

    function = staticmethod(F.softsign)

    def __init__(self) -> None:
        super().__init__()


class Sigmoid(Activation):
    r""":math:`1 / (1 + e^{-x})`."""

    function = staticmethod(F.sigmoid)

    def __init__(self) -> None:
        super().__init__()


class HardSigmoid(Activation):
    r""":math:`\min(\max(x / 6 + 1/2, 0), 1)`."""

    function = staticmethod(F.hard_sigmoid)

    def __init__(self) -> None:
        super().__init__()


class HardSwish(Activation):
    r""":math:`x` times the hard sigmoid of :math:`x` (Howard et al., ICCV 2019)."""

    function = staticmethod(F.hard_swish)

    def __init__(self) -> None:
        super().__init__()


class Tanh(Activation):
    r""":math:`\tanh x`."""

    function = staticmethod(F.tanh)

    def __init__(self) -> None:
        super().__init__()


class Softmax(Activation):
    r""":math:`e^{x_i} / \sum_j e^{x_j}` along an axis.

    ``loss="cross_entropy"`` wants logits: it has the softmax inside.
    """

    function = staticmethod(F.softmax)

    def __init__(self, axis: int = -1) -> None:
        super().__init__(axis=axis)


class LogSoftmax(Activation):
    r""":math:`x_i - \ln \sum_j e^{x_j}` along an axis."""

    function = staticmethod(F.log_softmax)

    def __init__(self, axis: int = -1) -> None:
        super().__init__(axis=axis)
