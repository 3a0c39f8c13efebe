"""Derivatives of functions: gradients, products with Jacobians, whole Jacobians, and their check.

Everything here is made of :func:`fastprop.grad`, so derivatives of any order come from nesting.
"""

from fastprop.autograd.check import GradcheckError, GradcheckReport, gradcheck, gradgradcheck
from fastprop.autograd.transforms import hessian, hvp, jacobian, jvp, value_and_grad, vjp
from fastprop.graph.autodiff import grad

__all__ = [
    "GradcheckError", "GradcheckReport", "grad", "gradcheck", "gradgradcheck", "hessian", "hvp",
    "jacobian", "jvp", "value_and_grad", "vjp",
]  # fmt: skip
