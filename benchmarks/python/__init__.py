"""The same work in fastprop and in its peers, in the same run.

Run from the root of the repository, with fastprop installed::

    python -m benchmarks.python.compare     # five works, all peers: the README's table
    python -m benchmarks.python.general     # many kinds of networks, the losers first
    python -m benchmarks.python.sweep       # time over width, batch, depth, threads
    python -m benchmarks.python.threads     # more threads are never slower than one
    python -m benchmarks.python.memory      # peak memory, and what the arena holds
    python -m benchmarks.python.startup     # import, demo, single calls
    python -m benchmarks.python.checkpoint  # how long a checkpoint holds up the training
"""
