"""The benchmark commands run, on their own if no other framework is installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _run(module: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"benchmarks.python.{module}", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def _compare(*options: str) -> subprocess.CompletedProcess[str]:
    return _run("compare", *options)


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "options", "printed"),
    [
        (
            "general",
            ("--groups", "regression", "--part", "1/6", "--contestants", "fastprop"),
            "| 10-1, batch 32, mse, 1 thread |",
        ),
        ("sweep", ("depth", "--contestants", "fastprop"), "from 8 to 32: fastprop"),
        ("sweep", ("threads", "--contestants", "fastprop"), "### threads for 784-512-512-10"),
        ("pinn", ("--points", "50", "--threads", "1", "--rounds", "1"), "fastprop, fp.compile | "),
        (
            "checkpointing",
            ("--layers", "4", "--width", "8", "--segments", "2", "--threads", "1", "--rounds", "1"),
            "| 2 | ",
        ),
        (
            "accumulation",
            ("--works", "6-16-3@8", "--rows", "64", "--threads", "1", "--rounds", "1"),
            "| 16 | 4 |",
        ),
        (
            "checkpoint",
            ("--megabytes", "1", "--threads", "1", "--rounds", "1"),
            "| held up |",
        ),
        ("threads", ("--widths", "4,8", "--batches", "1"), "of 2 more than 5 % slower"),
        ("extras", ("--works", "6-16-16-3@8", "--threads", "1"), "6-16-16-3@8, 1 thread:"),
    ],
)
def test_commands_print_their_tables(module: str, options: tuple[str, ...], printed: str) -> None:
    done = _run(module, *options, "--rounds", "1")
    assert done.returncode == 0, done.stderr
    assert printed in done.stdout


@pytest.mark.slow
def test_streams_give_the_weights_of_arrays_in_memory(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    figures = tmp_path / "figures.json"
    done = _run("streaming", "--rows", "700", "--rounds", "1", "--json", str(figures))
    assert done.returncode == 0, done.stderr
    assert set(json.loads(figures.read_text())["kinds"]) > {"memory", "mapped-stream", "parquet"}


@pytest.mark.slow
def test_many_networks(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    sizes = ("--nets", "6", "--peer-nets", "1", "--rounds", "2")
    done = _run("many", *sizes, "--json", str(figures))
    assert done.returncode == 0, done.stderr
    content = json.loads(figures.read_text())
    found = content["milliseconds"]
    assert "fastprop, 1 thread" in found
    gains = content["gains"]  # one thread, several, and as many processes take turns for them
    assert all(len(ratios) == 2 and min(ratios) > 0 for ratios in gains.values())
    assert sum(turn["counted"] for turn in content["turns"]) == 2 * (len(found) + len(gains))
    assert all(len(times) == 2 and min(times) > 0 for times in found.values())
    assert "fastprop trained 6 networks" in done.stdout


@pytest.mark.slow
def test_memory_of_fastprop_and_of_pytorch_if_it_is_there(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    done = _run("memory", "--works", "6-16-3@8", "--json", str(figures))
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(figures.read_text())
    if sys.platform == "linux":  # elsewhere the system may not tell
        assert found["fastprop"]["peak_bytes"] > found["fastprop"]["imported_bytes"] > 1e6
    assert found["fastprop"]["arena_bytes"] > found["kept_bytes"]
    if "absent" in found["torch"]:
        assert "PyTorch is absent: " in done.stdout
        pytest.skip("PyTorch is not installed, so its footprint was not taken")
    assert "peak_bytes" in found["torch"]


@pytest.mark.slow
def test_saved_results_are_listed_again(tmp_path: Path) -> None:
    saved = tmp_path / "saved.json"
    done = _compare(
        *("--works", "6-16-3@8", "--contestants", "fastprop", "--threads", "1", "--rounds", "1"),
        *("--json", str(saved)),
    )
    assert done.returncode == 0, done.stderr
    done = _run("general", "--from", str(saved), str(saved))
    assert done.stdout.count("| 6-16-3, batch 8, 1 thread |") == 2, done.stderr


@pytest.mark.slow
def test_eager_writes_its_figures(tmp_path: Path) -> None:
    results = tmp_path / "eager.json"
    done = _run("eager", "--rounds", "1", "--json", str(results))
    assert done.returncode == 0, done.stderr
    figures = json.loads(results.read_text())
    assert {"x + y µs", "x[index] µs", "step of tiny µs", "step of mnist µs"} <= set(figures)
    assert all(row["fastprop"] > 0 for row in figures.values())
    assert _run("eager", "--rounds", "0").returncode == 2
