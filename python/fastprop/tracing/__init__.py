"""Functions of the user as Programs: :func:`compile`."""

from fastprop.tracing.compile import CompiledFunction, compile

__all__ = ["CompiledFunction", "compile"]
