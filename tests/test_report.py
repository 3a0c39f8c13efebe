"""Trainer.report: it adds up, changes nothing, and names things as the user does."""

from __future__ import annotations

import importlib.util
import json
import time
from dataclasses import replace

import numpy as np
import pytest
from training import classes, network, regression, weights_of

import fastprop as fp
from fastprop import _core, optim
from fastprop.graph import cost
from fastprop.inspect import Report
from fastprop.inspect.measure import restored
from fastprop.inspect.report import PHASES


def trained(threads: int | None = None, **options):
    x, y = classes()
    options = {"optimizer": optim.Adam(lr=1e-3), "metrics": ["accuracy"], **options}
    trainer = fp.Trainer(network(2, 16, 8, 3), "cross_entropy", threads=threads, **options)
    trainer.fit(x, y, batch_size=32, epochs=2, verbose=False)
    return trainer, x, y


def state_of(trainer: fp.Trainer) -> bytes:
    return b"".join(a.tobytes() for arrays in trainer.optimizer.state.values() for a in arrays)


# -- the profile of a run --------------------------------------------------------------------------


def run_arguments(trainer: fp.Trainer, x, y, batch: int = 32):
    order = np.arange(len(x), dtype=np.int64)
    steps = -(-len(x) // batch)
    scalars = trainer.optimizer.step_scalars(0, steps)
    return ([x, y], order), {"batch_size": batch, "step_scalars": scalars}


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_profile_of_a_run_adds_up(threads: int) -> None:
    trainer, x, y = trained(threads)
    program = trainer.program
    arguments, options = run_arguments(trainer, x, y)
    profile = program.empty_profile()
    assert profile.shape == (threads, program.num_instructions + 2, 2)
    started = time.perf_counter()
    program.run(*arguments, **options, profile=profile)
    wall = 1e9 * (time.perf_counter() - started)
    assert (profile >= 0).all()
    assert (profile.sum(axis=(1, 2)) <= wall).all()
    assert (profile[:, :-2, 0].sum(axis=1) > 0).all()
    once = profile.copy()
    program.run(*arguments, **options, profile=profile)
    assert (profile.sum(axis=(1, 2)) > once.sum(axis=(1, 2))).all()  # it is added to


def test_profile_changes_no_bits() -> None:
    found = []
    for profiled in (False, True):
        trainer, x, y = trained(2)
        arguments, options = run_arguments(trainer, x, y)
        profile = trainer.program.empty_profile() if profiled else None
        result = trainer.program.run(*arguments, **options, profile=profile)
        found.append((weights_of(trainer.model), state_of(trainer), result.values.tobytes()))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "profile",
    [np.zeros((2, 3, 2)), np.zeros((1, 99, 2), np.float32), np.zeros(5), np.zeros((2, 99, 3))],
    ids=["entries", "dtype", "axes", "columns"],
)
def test_profile_must_fit(profile: np.ndarray) -> None:
    trainer, x, y = trained(2)
    arguments, options = run_arguments(trainer, x, y)
    before = weights_of(trainer.model)
    with pytest.raises(ValueError, match=r"profile must be float64 of shape \(2, \d+, 2\)"):
        trainer.program.run(*arguments, **options, profile=profile)
    assert weights_of(trainer.model) == before


# -- the report ------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
def test_report_adds_up(threads: int) -> None:
    trainer, x, y = trained(threads)
    report = trainer.report(x, y, batch_size=32, steps=20)
    assert isinstance(report, Report)
    assert len(report.instructions) == trainer.program.num_instructions
    for item in report.instructions:
        assert len(item.seconds) == len(item.wait_seconds) == threads
        assert item.phase in PHASES
        assert min(*item.seconds, *item.wait_seconds) >= 0
    entries = report.entries
    assert len({(e.layer, e.phase) for e in entries}) == len(entries)
    assert all(e.seconds >= 0 and e.phase in PHASES for e in entries)
    # The mean over the threads of all that a thread did, instruction by instruction.
    total = sum(sum(i.seconds) + sum(i.wait_seconds) for i in report.instructions)
    total += sum(report.end_seconds) + sum(report.end_wait_seconds)
    assert report.step_seconds == pytest.approx(total / threads)
    assert report.step_seconds in [pytest.approx(s) for s in report.run_step_seconds]
    assert list(report.run_step_seconds) == sorted(report.run_step_seconds)
    assert len(report.run_step_seconds) * report.steps >= 20
    assert sum(e.flops for e in entries) == pytest.approx(report.limit.flops)


def test_limit() -> None:
    """2 m k n for forward, dW and dx of every layer, but no dx of the first; 28 bytes a number."""
    trainer, x, y = trained(1)
    limit = trainer.report(x, y, batch_size=32, steps=5).limit
    layers = [2 * 16, 16 * 8, 8 * 3]
    assert limit.flops == 2 * 32 * (3 * sum(layers) - layers[0])
    assert limit.update_bytes == 28 * trainer.model.count_parameters()
    assert limit.peak > 1e8
    assert limit.bandwidth > 1e8
    expected = limit.flops / limit.peak + limit.update_bytes / limit.bandwidth
    assert limit.seconds == pytest.approx(expected)


def test_smaller_batch_than_the_program_holds() -> None:
    """The Program of a batch of 32 serves one of 20; operations are those of 20 rows."""
    trainer, x, y = trained(1)
    whole = trainer.report(x, y, batch_size=32, steps=5)
    part = trainer.report(x, y, batch_size=20, steps=5)
    assert part.limit.flops == pytest.approx(whole.limit.flops * 20 / 32)
    assert part.batch_size == 20


@pytest.mark.parametrize("optimizer", [optim.SGD(lr=1e-2, momentum=0.9), optim.AdamW(lr=1e-2)])
@pytest.mark.parametrize("threads", [None, 2])
def test_report_changes_nothing(threads: int | None, optimizer) -> None:
    def train(look: bool):
        x, y = classes()
        same = type(optimizer)(lr=1e-2)
        trainer = fp.Trainer(
            network(2, 16, 8, 3), "cross_entropy", same, metrics=["accuracy"], threads=threads
        )
        weight = np.linspace(0.5, 2, len(x))
        trainer.fit(x, y, batch_size=32, epochs=2, sample_weight=weight, verbose=False)
        if look:
            seen = (
                weights_of(trainer.model),
                state_of(trainer),
                trainer.optimizer.steps,
                trainer.epoch,
                trainer.program,
                trainer.history,
            )
            trainer.report(x, y, batch_size=50, sample_weight=weight, steps=9)
            assert seen == (
                weights_of(trainer.model),
                state_of(trainer),
                trainer.optimizer.steps,
                trainer.epoch,
                trainer.program,
                trainer.history,
            )
        history = trainer.fit(x, y, batch_size=32, epochs=2, sample_weight=weight, verbose=False)
        return weights_of(trainer.model), state_of(trainer), history["loss"]

    assert train(look=True) == train(look=False)


def test_report_before_the_first_fit() -> None:
    x, y = regression()
    trainer = fp.Trainer(network(3, 8, 1), "mse", "sgd")
    before = weights_of(trainer.model)
    report = trainer.report(x, y, steps=3)
    assert report.steps * len(report.run_step_seconds) >= 3
    assert weights_of(trainer.model) == before
    assert trainer.program is None
    assert trainer.optimizer.steps == 0


def test_more_steps_than_the_data_has() -> None:
    x, y = classes(rows=10)
    trainer = fp.Trainer(network(2, 8, 3), "cross_entropy", "adam", threads=1)
    report = trainer.report(x, y, batch_size=4, steps=50)
    assert report.batch_size == 4
    assert report.steps * len(report.run_step_seconds) >= 50
    assert trainer.report(x, y, batch_size=100, steps=2).batch_size == 10
    assert trainer.report(x, y, batch_size=None, steps=2).batch_size == 10


def test_a_loss_that_explodes_leaves_the_model_alone() -> None:
    x, y = regression()
    trainer = fp.Trainer(network(3, 8, 1), "mse", optim.SGD(lr=1e30))
    before = weights_of(trainer.model)
    with pytest.raises(fp.NonFiniteError, match=r"Trainer.report: the loss is .* as before"):
        trainer.report(x, y, steps=50)
    assert weights_of(trainer.model) == before


def test_what_a_run_changed_is_put_back_after_an_error() -> None:
    trainer, x, y = trained(1)
    before = weights_of(trainer.model), state_of(trainer)
    arguments, options = run_arguments(trainer, x, y)

    def fail() -> None:
        with restored(trainer.program):
            trainer.program.run(*arguments, **options)
            assert weights_of(trainer.model) != before[0]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert (weights_of(trainer.model), state_of(trainer)) == before


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"steps": 0}, ValueError, "Trainer.report: steps must be at least 1, got 0"),
        ({"steps": 2.5}, TypeError, "Trainer.report: steps must be an integer, got 2.5"),
        ({"batch_size": 0}, ValueError, "Trainer.report: batch_size must be at least 1, got 0"),
        ({"x": np.zeros((300, 5))}, ValueError, "Trainer.report: x has 5 columns"),
        ({"y": np.full(300, 7)}, ValueError, "Trainer.report: .*7"),
        ({"sample_weight": [1.0]}, ValueError, "Trainer.report: .*sample_weight"),
    ],
)
def test_bad_arguments(arguments, kind, message: str) -> None:
    trainer, x, y = trained(1)
    with pytest.raises(kind, match=message):
        trainer.report(**{"x": x, "y": y, **arguments})


# -- why so many threads, and what it looks like ---------------------------------------------------


def test_threads_are_explained() -> None:
    trainer, x, y = trained(None)
    threads = trainer.report(x, y, steps=3).threads
    assert threads.available == _core.available_threads()
    assert set(threads.predicted) == set(range(1, threads.available + 1))
    assert not threads.fixed
    program = trainer.program
    planned = cost.choose_threads(program._schedule, program.capacity)
    assert threads.used in (1, planned)
    trainer, x, y = trained(2)
    report = trainer.report(x, y, steps=3)
    assert report.threads.fixed
    assert report.threads.used == 2
    assert "as asked for" in str(report)


def test_table() -> None:
    trainer, x, y = trained(2)
    lines = str(trainer.report(x, y, batch_size=32, steps=5)).splitlines()
    assert lines[0] == ("A training step: Sequential trained by Adam, batch 32, float32, 2 threads")
    head = lines[2]
    assert head.split() == ["layer", "phase", "µs", "a", "step", "share", "GFLOP/s", "of", "peak"]
    layers = [line.split("  ")[0] for line in lines[3 : lines.index("", 3)]]
    assert [name for name in layers if name] == [
        "data", "0 Dense 2→16", "1 Dense 16→8", "2 Dense 8→3", "loss", "metrics", "threads",
    ]  # fmt: skip
    shares = [line for line in lines if line.startswith("the step")]
    assert "100.0 %" in shares[0]
    ends = {line.index(" a step") + len(" a step") for line in lines[2:3]}
    column = ends.pop()
    for line in lines[3 : lines.index("", 3)]:  # numbers stand under their heads, flush right
        assert line[column - 1].isdigit()
        assert line[column] == " "
    for word in ("share of the limit", "barriers", "arena", "parameters", "optimizer's state"):
        assert any(line.startswith(word) for line in lines)


def test_table_explains_products_above_the_peak() -> None:
    trainer, x, y = trained()
    report = trainer.report(x, y, batch_size=32)
    slow = replace(report, limit=replace(report.limit, peak=1.0))
    fast = replace(report, limit=replace(report.limit, peak=1e15))
    assert "multiplications by zero" in str(slow)
    assert "multiplications by zero" not in str(fast)


def test_as_a_dict() -> None:
    trainer, x, y = trained(2)
    report = trainer.report(x, y, batch_size=32, steps=5)
    found = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert found["step_seconds"] == report.step_seconds
    assert sum(e["share"] for e in found["entries"]) == pytest.approx(1)
    assert len(found["instructions"]) == len(report.instructions)
    assert found["limit"]["seconds"] == report.limit.seconds
    assert {"threads", "seconds"} == set(found["threads"]["predicted"][0])
    assert found["memory"]["parameters"] == 4 * trainer.model.count_parameters()
    assert found["memory"]["state"] == 8 * trainer.model.count_parameters()
    assert found["memory"]["arena"] == trainer.program.arena_bytes


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="needs matplotlib")
@pytest.mark.parametrize("ending", ["png", "svg"])
def test_picture(ending: str, tmp_path) -> None:
    trainer, x, y = trained(1)
    path = trainer.report(x, y, steps=3).plot(tmp_path / f"report.{ending}")
    assert path.stat().st_size > 1000


@pytest.mark.parametrize("threads", [1, 2])
def test_report_says_where_the_cores_were(threads: int) -> None:
    trainer, x, y = trained(threads)
    report = trainer.report(x, y, steps=3)
    steps = [turn for turn in report.turns if turn.who == "steps" and turn.counted]
    assert sorted(turn.value for turn in steps) == pytest.approx(report.run_step_seconds)
    limits = [turn for turn in report.turns if turn.who == "limit" and turn.counted]
    assert len(limits) == 2
    assert min(turn.value for turn in limits) >= report.limit.seconds
    saved = json.loads(json.dumps(report.to_dict()))["turns"]
    assert len(saved) == len(report.turns)
    printed = [line for line in str(report).splitlines() if line.startswith("cores ")]
    if threads == 1:
        assert printed == []
        assert saved[0]["before"] is None
    else:
        (line,) = printed
        assert "a line's round trip takes" in line
        assert saved[0]["before"]["round_trip"] > 0
