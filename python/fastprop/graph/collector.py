"""The garbage collector waits while a step is traced and planned."""

from __future__ import annotations

import gc


class collector_paused:
    """A block in which Python looks for no garbage in cycles; after it all is as before.

    To plan a step takes tens of thousands of objects, which reference counts free. Python would
    look at every object of the process for each some thousand of them: 50 layers took 1.15 to 1.3
    times as long, in a process that has loaded nothing but NumPy.
    """

    __slots__ = ("_was_enabled",)

    def __enter__(self) -> None:
        self._was_enabled = gc.isenabled()
        gc.disable()

    def __exit__(self, *error: object) -> None:
        if self._was_enabled:
            gc.enable()
