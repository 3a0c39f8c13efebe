"""Tensors, ops and derivative rules; tracing and lowering to Programs."""

from fastprop.graph.autodiff import grad
from fastprop.graph.checkpoint import checkpoint
from fastprop.graph.dlpack import from_dlpack
from fastprop.graph.parameter import Parameter
from fastprop.graph.tensor import Tensor, no_grad, tensor
from fastprop.graph.trace import TraceError

__all__ = [
    "Parameter",
    "Tensor",
    "TraceError",
    "checkpoint",
    "from_dlpack",
    "grad",
    "no_grad",
    "tensor",
]
