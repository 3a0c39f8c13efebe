"""The command ``fastprop bench``."""

from __future__ import annotations

import json

import pytest

from fastprop import bench, cli, optim

QUICK = ["--seconds", "0.001"]


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", "4-8-3", "3-5-1", "--batch", "16", "--threads", "1,2", *QUICK]
    assert cli.main(arguments) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0].startswith("Training steps, float32, relu, adam, on ")
    assert [line.split("  ")[0] for line in lines[2:7]] == [
        "work", "4-8-3, batch 16", "", "3-5-1, batch 16", "",
    ]  # fmt: skip
    assert all(line.endswith("%") for line in lines[3:7])
    assert len({len(line) for line in lines[3:7]}) == 1
    assert lines[7:9] == ["", "cores:"]
    assert [line.split("  ")[:2] for line in lines[9:]] == [
        ["4-8-3, batch 16", "2 threads"],
        ["3-5-1, batch 16", "2 threads"],
    ]
    assert all("a line's round trip takes" in line for line in lines[9:])
    assert captured.err == ""


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", "4-8-3", "--json", "--report", "--dtype", "float64", *QUICK]
    assert cli.main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["dtype"] == "float64"
    (result,) = found["results"]
    assert result["widths"] == [4, 8, 3]
    assert result["batch"] == 128
    assert result["threads_chosen"] is True
    assert result["flops"] == 2 * 128 * (2 * 4 * 8 + 3 * 8 * 3)
    assert result["share_of_limit"] == pytest.approx(
        result["limit_seconds"] / result["step_seconds"]
    )
    assert result["report"]["dtype"] == "float64"


def test_report_below_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "4-8-3", "--threads", "1", "--report", *QUICK]) == 0
    out = capsys.readouterr().out
    assert out.index("share of the limit") < out.index("A training step:")
    assert "1 Dense 8→3" in out


@pytest.mark.parametrize(
    ("loss", "widths"),
    [
        ("mse", "3-4-2"),
        ("mae", "3-2"),
        ("huber", "3-4-2"),
        ("hinge", "3-4-1"),
        ("poisson_nll", "3-4-2"),
        ("binary_cross_entropy", "3-4-2"),
        ("cross_entropy", "3-4-2"),
    ],
)
def test_losses(loss: str, widths: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", widths, "--loss", loss, "--optimizer", "sgd", *QUICK]) == 0
    assert "batch 128" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["784"], "expects widths such as 784-512-10, each at least 1, got '784'"),
        (["8-0-1"], "got '8-0-1'"),
        (["8-x-1"], "got '8-x-1'"),
        (["8--1"], "got '8--1'"),
        (["8-1", "--optimizer", "adamm"], "did you mean 'adam'"),
        (["8-1", "--loss", "msee"], "did you mean 'mse'"),
        (["8-1", "--activation", "rel"], "did you mean 'relu'"),
    ],
)
def test_works_and_names_are_checked(arguments: list[str], message: str, capsys) -> None:
    assert cli.main(["bench", *arguments, *QUICK]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("fastprop bench: ")
    assert message in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch", "0"], "must be at least 1, got 0"),
        (["--threads", "1,"], "expects numbers such as 1,2, or auto, got '1,'"),
        (["--threads", "0"], "must be at least 1, got 0"),
        (["--seconds", "-1"], "must be positive, got -1"),
        (["--dtype", "float16"], "invalid choice"),
    ],
)
def test_options_are_checked(arguments: list[str], message: str, capsys) -> None:
    with pytest.raises(SystemExit):
        cli.main(["bench", "8-1", *arguments])
    assert message in capsys.readouterr().err


def test_standard_works_are_well_formed() -> None:
    for text, batch in bench.STANDARD:
        widths = bench.parse_widths(text)
        assert len(widths) >= 3
        assert batch > 0
        assert bench._steps(widths, batch, 1.0) >= 2


def test_a_loss_that_explodes_is_an_error_not_a_crash(monkeypatch, capsys) -> None:
    monkeypatch.setitem(optim.OPTIMIZERS, "sgd", lambda: optim.SGD(lr=1e30))
    assert cli.main(["bench", "4-8-1", "--optimizer", "sgd", *QUICK]) == 1
    assert "the loss is" in capsys.readouterr().err
