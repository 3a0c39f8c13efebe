"""Trainings that are killed again and again end with the bits of one that was left alone."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("killed_training.py")
KILLS = 54


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")
def test_killed_at_random_moments(tmp_path: Path) -> None:
    """Every child runs on 1 or 2 threads, by chance; half of them die while they write."""
    seed = int(os.environ.get("FASTPROP_KILL_SEED", random.SystemRandom().randrange(10**6)))
    print(f"FASTPROP_KILL_SEED={seed}")  # seen if it fails; moments of time do not come again
    result = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path), str(KILLS), str(seed)],
        capture_output=True,
        text=True,
        timeout=600,
    )
    print(result.stdout, result.stderr)
    assert result.returncode == 0
    counts = re.findall(r"(\d+) killed, (\d+) of them in a write", result.stdout)
    assert sum(int(killed) for killed, _ in counts) >= 50
    assert sum(int(writing) for _, writing in counts) >= 5
