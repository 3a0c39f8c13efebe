"""Tensors, ops and derivative rules; tracing and lowering to Programs."""
