"""The command, the demo, and its picture."""

from __future__ import annotations

import builtins
import importlib.util
import subprocess
import sys

import numpy as np
import pytest

import fastprop as fp
from fastprop import cli, demo
from fastprop.inspect import plot_history

PNG = b"\x89PNG\r\n\x1a\n"


def needs(*modules: str):
    missing = [m for m in modules if importlib.util.find_spec(m) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")


@needs("sklearn")
def test_digits_are_scikit_learns() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    x, y = demo.load_digits()
    expected_x, expected_y = datasets.load_digits(return_X_y=True)
    np.testing.assert_array_equal(x * 16, expected_x)
    np.testing.assert_array_equal(y, expected_y)


@needs("sklearn", "matplotlib")
@pytest.mark.parametrize("seed", [0, 1])
def test_demo(seed: int, tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "curves.png"
    assert cli.main(["demo", "--seed", str(seed), "--output", str(picture)]) == 0
    out = capsys.readouterr().out
    accuracy = float(out.split("test accuracy")[1].split()[0])
    assert accuracy >= 0.97
    assert str(picture.resolve()) in out
    assert picture.read_bytes()[:8] == PNG
    for word in ("µs", "threads", "level", "parameters"):
        assert word in out


@needs("sklearn", "matplotlib")
def test_demo_as_a_command(tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fastprop", "demo", "--epochs", "2", "--threads", "1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "test accuracy" in done.stdout
    assert done.stderr == ""
    assert (tmp_path / "learning_curves.png").read_bytes()[:8] == PNG


@needs("sklearn", "matplotlib")
def test_demo_cannot_write(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "no" / "such" / "folder.png"
    assert cli.main(["demo", "--epochs", "1", "--output", str(target)]) == 1
    shown = capsys.readouterr()
    assert "cannot be written: there is no folder" in shown.err
    assert not shown.out, "nothing is trained for it"
    target = tmp_path / "picture.unknown"
    assert cli.main(["demo", "--epochs", "1", "--output", str(target)]) == 1
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["sklearn", "matplotlib"])
def test_demo_says_what_is_missing(missing: str, monkeypatch, capsys, tmp_path) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *a: None if name == missing else find_spec(name, *a),
    )
    monkeypatch.chdir(tmp_path)
    if missing == "sklearn" and find_spec("matplotlib") is None:
        pytest.skip("needs matplotlib")
    assert cli.main(["demo", "--epochs", "1"]) == 1
    assert "pip install 'fastprop-nn[demo]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--epochs", "0"], ["--batch-size", "x"], ["--threads", "-1"]]
)
def test_demo_options_are_checked(arguments: list[str], capsys) -> None:
    with pytest.raises(SystemExit):
        cli.main(["demo", *arguments])
    assert arguments[0] in capsys.readouterr().err


def test_info_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info"]) == 0
    assert "level" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out.split() == ["fastprop", fp.__version__]
    assert cli.main([]) == 0
    assert "demo" in capsys.readouterr().out


# -- learning curves -------------------------------------------------------------------------------


def history(epochs: int = 5, **series: float) -> fp.History:
    h = fp.History()
    for e in range(1, epochs + 1):
        h.append(e, {name: value / e for name, value in (series or {"loss": 1.0}).items()})
    return h


@needs("matplotlib")
@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_picture_formats(ending: str, tmp_path) -> None:
    path = history().plot(tmp_path / f"curves.{ending}")
    assert path.stat().st_size > 1000


@needs("matplotlib")
@pytest.mark.parametrize(
    "h",
    [
        history(1),
        history(100, loss=100.0, val_loss=200.0),
        history(3, loss=0.0, accuracy=1.0, val_loss=0.0, val_accuracy=1.0),
        history(3, loss=float("nan"), val_loss=float("inf")),
        history(3, loss=-1.0),
        history(3, **{f"metric_{i}": float(i) for i in range(7)}),
    ],
)
def test_curves_of_all_kinds(h: fp.History, tmp_path) -> None:
    assert plot_history(h, tmp_path / "curves.png", title="a title").exists()


@needs("matplotlib")
def test_curves_do_not_touch_pyplot(tmp_path) -> None:
    code = (
        "import sys, fastprop as fp; h = fp.History(); h.append(1, {'loss': 1.0});"
        f"h.plot({str(tmp_path / 'c.png')!r}); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_epochs_no_curves(tmp_path) -> None:
    with pytest.raises(ValueError, match="no epochs"):
        fp.History().plot(tmp_path / "curves.png")


def test_curves_without_matplotlib(monkeypatch, tmp_path) -> None:
    real_import = builtins.__import__

    def without(name, *arguments, **options):
        if name.partition(".")[0] == "matplotlib":
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real_import(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install 'fastprop-nn\[plot\]'"):
        history().plot(tmp_path / "curves.png")
