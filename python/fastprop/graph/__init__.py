"""Tensors, ops and derivative rules; tracing and lowering to Programs."""

from fastprop.graph.anomaly import AnomalyError, detect_anomaly
from fastprop.graph.autodiff import grad
from fastprop.graph.checkpoint import checkpoint
from fastprop.graph.custom import custom_op
from fastprop.graph.dlpack import from_dlpack
from fastprop.graph.parameter import Parameter
from fastprop.graph.tensor import Tensor, no_grad, tensor
from fastprop.graph.trace import TraceError

__all__ = [
    "AnomalyError",
    "Parameter",
    "Tensor",
    "TraceError",
    "checkpoint",
    "custom_op",
    "detect_anomaly",
    "from_dlpack",
    "grad",
    "no_grad",
    "tensor",
]
