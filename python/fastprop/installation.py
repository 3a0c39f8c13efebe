"""What this installation is made of: :func:`config` as a dict, :func:`show_config` for people."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _core


def config() -> dict[str, Any]:
    """Return what fastprop was built with and what it finds on this machine.

    Returns
    -------
    dict
        ``version``, ``level`` (instruction-set level in use), ``usable_levels``,
        ``simd_width_float32`` and ``simd_width_float64`` (elements per register), ``cpu``,
        ``available_threads``, ``l1d_bytes``, ``l2_bytes``, ``l3_bytes``, ``compiler``, ``eigen``,
        ``openmp``, ``cuda_built``, ``cuda``, ``python``, ``numpy``, ``platform``.
    """
    import platform

    return {
        **_core.config(),
        "usable_levels": _core.usable_levels(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": platform.platform(terse=True),
    }


def show_config() -> None:
    """Print :func:`config` as a table: version, level, threads, caches, compiler, CUDA.

    With it where the threads' cores are now, which takes some milliseconds.
    """
    from fastprop.inspect.placement import measure_placement

    values = config()
    print(format_config(values | {"cores": measure_placement(values["available_threads"])}))


def format_config(values: dict[str, Any]) -> str:
    """Lay out the dict of :func:`config` as lines of a name and a value.

    ``cores`` is a Placement, or missing.
    """
    widths = f"{values['simd_width_float32']} float32, {values['simd_width_float64']} float64"
    caches = ", ".join(
        f"{name} {_format_bytes(values[key])}"
        for name, key in (("L1d", "l1d_bytes"), ("L2", "l2_bytes"), ("L3", "l3_bytes"))
        if values[key]
    )
    rows = {
        "fastprop": values["version"],
        "level": f"{values['level']} (a register holds {widths})",
        "usable levels": ", ".join(values["usable_levels"]),
        "CPU": values["cpu"],
        "threads": values["available_threads"],
        **({"cores": f"{cores}, now"} if (cores := values.get("cores")) else {}),
        "caches": caches,
        "compiler": values["compiler"],
        "Eigen": values["eigen"],
        "OpenMP": "yes" if values["openmp"] else "no",
        "CUDA": values["cuda"],
        "Python": f"{values['python']}, NumPy {values['numpy']}, {values['platform']}",
    }
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows.items())


def _format_bytes(count: int) -> str:
    """Whole KiB or MiB, as caches come: 49152 is ``48 KiB``."""
    return f"{count // 1024} KiB" if count < 1024 * 1024 else f"{count / 1024**2:g} MiB"
