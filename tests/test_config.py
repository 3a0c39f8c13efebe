"""The installation: levels and how one is forced, the report, the version."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import textwrap

import pytest

import fastprop as fp
from fastprop import _core
from fastprop.installation import config, format_config

REPORT_LEVEL = "from fastprop import _core; print(_core.level, _core.config()['level'])"


def run_with_isa(value: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "FASTPROP_ISA": value}
    command = [sys.executable, "-c", REPORT_LEVEL]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("level", _core.usable_levels())
@pytest.mark.parametrize("prefix", ["", "x86-64-", "X86-64-"])
def test_isa_forces_a_level(level: str, prefix: str) -> None:
    result = run_with_isa(prefix + level)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [level, level]


def test_empty_isa_picks_the_best() -> None:
    assert run_with_isa("").stdout.split()[0] == _core.usable_levels()[-1]


def test_unknown_isa_is_an_error_that_names_the_choices() -> None:
    result = run_with_isa("avx1024")
    assert result.returncode != 0
    last_line = result.stderr.strip().splitlines()[-1]
    assert last_line.startswith("ImportError: FASTPROP_ISA=avx1024: ")
    assert ", ".join(_core.usable_levels()) in last_line


@pytest.mark.parametrize("level", ["v2", "v3", "v4"])
def test_isa_this_cpu_lacks_is_an_error(level: str) -> None:
    if level in _core.usable_levels():
        pytest.skip("this CPU has it")
    result = run_with_isa(level)
    assert result.returncode != 0
    assert f"FASTPROP_ISA={level}" in result.stderr
    assert "Traceback" in result.stderr  # an exception, not a crash


def test_version_is_the_same_everywhere() -> None:
    assert fp.__version__ == importlib.metadata.version("fastprop-nn") == config()["version"]


def test_config_holds_plausible_values() -> None:
    values = config()
    assert values["level"] == values["usable_levels"][-1] or "FASTPROP_ISA" in os.environ
    assert values["available_threads"] >= 1
    assert values["simd_width_float32"] == 2 * values["simd_width_float64"]
    assert 4096 <= values["l1d_bytes"] <= values["l2_bytes"]
    assert int(values["eigen"].split(".")[0]) >= 3


def test_show_config_prints_every_row(capsys: pytest.CaptureFixture[str]) -> None:
    fp.show_config()
    printed = capsys.readouterr().out
    cores = [line for line in printed.splitlines() if line.startswith("cores ")]
    assert len(cores) == (config()["available_threads"] > 1)  # and one thread has no other's
    assert all("a line's round trip takes" in line for line in cores)
    rest = [line for line in printed.splitlines() if line not in cores]
    assert rest == format_config(config()).splitlines()
    for name in ("level", "threads", "caches", "compiler", "Eigen", "OpenMP", "CUDA"):
        assert f"\n{name}" in printed


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("FASTPROP_NUM_THREADS", "3", 3),  # explicit: may exceed the number of cores
        ("OMP_NUM_THREADS", "1", 1),
        ("FASTPROP_NUM_THREADS", "nonsense", None),
        ("FASTPROP_NUM_THREADS", "-2", None),
    ],
)
def test_thread_count_follows_the_environment(
    variable: str, value: str, expected: int | None
) -> None:
    clean = {
        k: v for k, v in os.environ.items() if k not in ("FASTPROP_NUM_THREADS", "OMP_NUM_THREADS")
    }
    command = [sys.executable, "-c", "from fastprop import _core; print(_core.available_threads())"]

    def count(environment: dict[str, str]) -> int:
        return int(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)

    wanted = count(clean) if expected is None else expected
    assert count({**clean, variable: value}) == wanted


def test_packages_come_when_they_are_asked_for() -> None:
    code = """
        import sys
        import fastprop as fp
        lazy = ["fastprop.kernels", "fastprop.inspect", "logging", "dataclasses"]
        print([name for name in lazy if name in sys.modules and name not in before])
        assert set(fp.__all__) <= set(dir(fp))
        assert fp.kernels.relu_forward and fp.inspect.plot_history
        from fastprop import kernels
        assert kernels is fp.kernels
        try:
            fp.nothing
        except AttributeError as error:
            print(error)
    """
    code = "import sys, numpy; before = set(sys.modules)\n" + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "module 'fastprop' has no attribute 'nothing'"]
