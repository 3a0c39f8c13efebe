"""Benchmarks of fastprop. `python/` compares with other frameworks, `cpp/` times single kernels."""
