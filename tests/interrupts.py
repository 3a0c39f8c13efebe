"""Ctrl-C in the middle of training, in a process of its own: one that comes too late would end the
tests. It is sent when steps are seen to be done, however slow the machine is."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

CHANGES = 4  # seen before the signal is sent


def tell_when_training(parameter: np.ndarray) -> None:
    """In the child: say so once the parameter, which only training changes, has changed often."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent may have had it ignored

    def watch() -> None:
        seen, changes = parameter.tobytes(), 0
        while changes < CHANGES:
            time.sleep(0.01)
            now = parameter.tobytes()
            changes += now != seen
            seen = now
        print("training", flush=True)

    threading.Thread(target=watch, daemon=True).start()


def interrupt(code: str, *arguments: Any) -> dict[str, Any]:
    """In the test: run a program, interrupt it when it trains; the JSON that it prints then."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    folder = Path(__file__).parent
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "training\n"
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=300)
        finally:
            process.kill()
    assert process.returncode == 0
    return json.loads(out)
