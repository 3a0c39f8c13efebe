"""Tensors, ops and derivative rules; tracing and lowering to Programs."""

from fastprop.graph.autodiff import grad
from fastprop.graph.tensor import Parameter, Tensor, no_grad, tensor

__all__ = ["Parameter", "Tensor", "grad", "no_grad", "tensor"]
