"""The compiled core: picks the highest instruction-set level that this CPU can run.

The extension is built once per level (``_core_v2``, ``_core_v3`` and ``_core_v4`` on x86-64, one
``_core_generic`` elsewhere); the names of the chosen one are this package's names. The environment
variable ``FASTPROP_ISA`` forces a level, by its short or its long name (``v3``, ``x86-64-v3``).
"""

from __future__ import annotations

import importlib
import os

from . import _cpu

_BUILT: tuple[str, ...] = tuple(_cpu.BUILT_LEVELS.split(","))


def usable_levels() -> tuple[str, ...]:
    """Levels that were built and that this CPU can run, lowest first."""
    # A native build was made for the machine it runs on; there is nothing to choose.
    supported = {*_cpu.supported_levels(), "native", "generic"}
    return tuple(level for level in _BUILT if level in supported)


def _choose_level() -> str:
    usable = usable_levels()
    asked = os.environ.get("FASTPROP_ISA", "").strip().lower()
    if asked:
        level = asked.removeprefix("x86-64-")
        if level in usable:
            return level
        why = "this CPU cannot run it" if level in _BUILT else "no such level was built"
        choices = ", ".join(usable) or "none"
        raise ImportError(f"FASTPROP_ISA={asked}: {why}; this machine and build have: {choices}")
    if not usable:
        raise ImportError(
            f"fastprop was built for {', '.join(_BUILT)}, and this CPU can run none of them; "
            "build it here from source with -C cmake.define.FASTPROP_NATIVE=ON"
        )
    return usable[-1]


_level = _choose_level()
_module = importlib.import_module(f"{__name__}._core_{_level}")
globals().update({name: value for name, value in vars(_module).items() if name[0] != "_"})
