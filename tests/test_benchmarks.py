"""The comparison with other frameworks runs, on its own if none of them is installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _compare(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.python.compare", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_compare_writes_its_results(tmp_path: Path) -> None:
    page, results = tmp_path / "page.md", tmp_path / "results.json"
    page.write_text("before\n<!-- benchmarks:begin -->\nold\n<!-- benchmarks:end -->\nafter\n")
    done = _compare(
        *("--works", "6-16-3@8,5-9-1@4:mse", "--contestants", "fastprop", "--threads", "1"),
        *("--rounds", "2", "--markdown", str(page), "--json", str(results)),
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(results.read_text())["results"]
    assert [len(r["microseconds"]["fastprop"]) for r in found] == [2, 2]
    assert all(r["limit_microseconds"] > 0 for r in found)
    text = page.read_text()
    assert text.startswith("before\n<!-- benchmarks:begin -->\n| 1 thread | fastprop |")
    assert text.endswith("<!-- benchmarks:end -->\nafter\n")
    assert "old" not in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--works", "huge"), "unknown work 'huge'; known are tiny, tabular"),
        (("--works", "3-0-1@4"), "at least 1"),
        (("--contestants", "numpy"), "unknown contestant 'numpy'; known are fastprop"),
        (("--threads", "0"), "--threads: from 1 to"),
        (("--rounds", "0"), "--rounds: at least 1"),
    ],
)
def test_compare_refuses_bad_options(options: tuple[str, ...], message: str) -> None:
    done = _compare(*options)
    assert done.returncode == 2
    assert message in done.stderr
