"""The same work in fastprop and in its peers, in the same run.

Run from the root of the repository, with fastprop installed::

    python -m benchmarks.python.compare
    python -m benchmarks.python.startup
"""
