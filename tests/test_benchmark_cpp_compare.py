"""Two files of Google Benchmark's results, compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks.cpp import compare


def _entry(name: str, time: float, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "run_name": name,
        "run_type": "iteration",
        "real_time": 2 * time,
        "cpu_time": time,
        "time_unit": "us",
        **more,
    }


def _write(path: Path, *entries: dict[str, Any], cpu: str = "a CPU") -> str:
    path.write_text(json.dumps({"context": {"cpu": cpu}, "benchmarks": list(entries)}))
    return str(path)


def test_what_got_slower_comes_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = _write(
        tmp_path / "old",
        _entry("same", 10),
        _entry("gemm", 100, **{"peak%": 90.0}),
        _entry("gone", 1),
        _entry("better", 30),
    )
    new = _write(
        tmp_path / "new",
        _entry("same", 10.2),
        _entry("gemm", 125, **{"peak%": 72.0}),
        _entry("better", 20),
        _entry("added", 1),
        cpu="another CPU",
    )
    assert compare.main([old, new]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "note: cpu was a CPU, is another CPU"
    assert [line.split()[0] for line in lines[2:5]] == ["gemm", "same", "better"]
    assert "1.25  90 % -> 72 %  SLOWER" in lines[2]
    assert "SLOWER" not in lines[3]
    assert lines[5].startswith("1 of 3 slower by more than 5 %, 1 faster")
    assert lines[6:] == ["only in the old file: gone", "only in the new file: added"]


@pytest.mark.parametrize(("percent", "status"), [("24", 1), ("26", 0)])
def test_fail_above_sets_the_exit_status(tmp_path: Path, percent: str, status: int) -> None:
    old = _write(tmp_path / "old", _entry("gemm", 100))
    new = _write(tmp_path / "new", _entry("gemm", 125))
    assert compare.main([old, new, "--fail-above", percent]) == status
    assert compare.main([old, new, "--fail-above", percent, "--filter", "gem{1}m?"]) == status


def test_a_benchmark_that_failed_fails_the_comparison(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = _entry("gemm", 0, error_occurred=True, error_message="wrong result at 3")
    old = _write(tmp_path / "old", _entry("gemm", 100), _entry("adam", 5))
    new = _write(tmp_path / "new", wrong, _entry("adam", 5))
    assert compare.main([old, new, "--fail-above", "10"]) == 1
    assert "failed in the new file: gemm: wrong result at 3" in capsys.readouterr().out


def test_the_least_of_the_repetitions_counts_and_no_aggregate(tmp_path: Path) -> None:
    path = tmp_path / "runs"
    _write(
        path,
        _entry("a", 12),
        _entry("a", 10),
        _entry("a", 11),
        {**_entry("a_mean", 1), "run_name": "a", "run_type": "aggregate"},
        _entry("team/real_time", 10),
    )
    _, runs = compare.read(path)
    assert runs["a"].nanoseconds == 10_000
    assert runs["team/real_time"].nanoseconds == 20_000


@pytest.mark.parametrize("text", ["", "[]", '{"benchmarks": [{"name": "a"}]}'])
def test_other_files_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    path = tmp_path / "bad"
    path.write_text(text)
    assert compare.main([str(path), str(path)]) == 2
    assert f"{path}: not a file of --benchmark_out" in capsys.readouterr().err


def test_files_without_a_common_benchmark_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = _write(tmp_path / "old", _entry("a", 1)), _write(tmp_path / "new", _entry("b", 1))
    assert compare.main([old, new]) == 2
    assert "no benchmark is in both" in capsys.readouterr().err
