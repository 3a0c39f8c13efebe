"""What it takes to begin: import time, the demo, the size of the wheel.

python -m benchmarks.python.startup
python -m benchmarks.python.startup --wheel dist/*.whl --json startup.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

_RUNS = 15


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.python.startup",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--wheel", type=Path, help="report the size of this wheel and its parts")
    parser.add_argument(
        "--runs", type=int, default=_RUNS, help="processes to start; default %(default)s"
    )
    parser.add_argument("--json", type=Path, help="write the figures")
    options = parser.parse_args(argv)
    figures = {**imports(options.runs), **demo()}
    if options.wheel:
        figures |= wheel(options.wheel)
    width = max(map(len, figures))
    for name, value in figures.items():
        print(f"{name:<{width}}  {value}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


_IMPORTS = """
import time
times = [time.perf_counter()]
import numpy as np
times.append(time.perf_counter())
import fastprop as fp
times.append(time.perf_counter())
nn = fp.nn
model = nn.Sequential(nn.Dense(4, 64, "relu"), nn.Dense(64, 64, "relu"), nn.Dense(64, 1))
trainer = fp.Trainer(model, loss="mse", optimizer="adam")
trainer.fit(np.ones((32, 4), np.float32), np.ones((32, 1), np.float32), verbose=False)
times.append(time.perf_counter())
print(times[1] - times[0], times[2] - times[1], times[3] - times[1])
"""


def imports(runs: int) -> dict[str, Any]:
    """Milliseconds of ``import numpy``, of ``import fastprop`` after it, and from there on to the
    end of the first step of a small network, in new processes.
    """
    found = []
    for _ in range(runs + 1):
        done = subprocess.run(
            [sys.executable, "-c", _IMPORTS], capture_output=True, text=True, check=True
        )
        found.append([1e3 * float(word) for word in done.stdout.split()])
    # The first one fills the disk cache.
    numpy_ms, own_ms, step_ms = zip(*found[1:], strict=True)
    return {
        "import numpy, ms": round(statistics.median(numpy_ms), 1),
        "import fastprop beyond numpy, ms": round(statistics.median(own_ms), 1),
        "import fastprop and a first step, ms": round(statistics.median(step_ms), 1),
    }


def demo() -> dict[str, Any]:
    """Seconds from the shell prompt back to it, and what the demo says itself."""
    times, output = [], ""
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(4):
            command = [sys.executable, "-m", "fastprop.cli", "demo"]
            start = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
            times.append(time.perf_counter() - start)
            if done.returncode:
                return {"demo": f"failed: {(done.stderr.strip() or done.stdout).splitlines()[-1]}"}
            output = done.stdout
    said = dict(_said(line) for line in output.splitlines() if line.startswith("  "))
    wanted = ("test accuracy", "training", "a step", "threads")
    return {
        "demo, s": round(statistics.median(times[1:]), 2),
        **{f"demo: {key}": said[key] for key in wanted if key in said},
    }


def _said(line: str) -> tuple[str, str]:
    name, _, value = line.strip().partition("  ")
    return name, value.strip()


def wheel(path: Path) -> dict[str, Any]:
    """Megabytes of a wheel, and of the extension of each level inside it, compressed."""
    sizes = {"wheel, MB": round(path.stat().st_size / 1e6, 2)}
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.filename.endswith((".so", ".pyd", ".dylib")) or ".so." in info.filename:
                sizes[f"wheel: {Path(info.filename).name}, MB"] = round(info.compress_size / 1e6, 2)
    return sizes


if __name__ == "__main__":
    sys.exit(main())
