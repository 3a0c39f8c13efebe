"""The benchmarks' works, limits of memory, tables and fits: what needs no other framework."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from benchmarks.python import general, report, sweep, threads
from benchmarks.python.footprint import arena, kept_bytes
from benchmarks.python.machine import Machine
from benchmarks.python.pool import usable_cpus
from benchmarks.python.race import Result
from benchmarks.python.works import WORKS, Work, parse_work


def _result(work: str, own: float, peer: float, threads: int = 1) -> Result:
    times = {"torch": [9 * peer, peer, peer], "fastprop": [own, own, 5 * own]}
    return Result(parse_work(work), threads, times, limits=[own / 2])


FACTS = {"rounds": 3, "cpu": "a CPU", "date": "2026-01-01", "versions": {}, "absent": {}}
FACTS |= {"limit": "multiply-adds in registers"}


def test_parse_work_reads_every_word() -> None:
    work = parse_work("20-30x3-1@8:mse:tanh:sgd:float64:skip")
    assert work.sizes == (20, 30, 30, 30, 1)
    assert (work.batch, work.loss, work.activation) == (8, "mse", "tanh")
    assert (work.optimizer, work.dtype, work.skip) == ("sgd", "float64", True)
    assert [work.adds_input(i) for i in range(4)] == [False, True, True, False]
    assert work.title == "20-30-30-30-1, batch 8, mse, tanh, sgd, float64, skip"
    more = parse_work("20-30-1@8:layernorm:decay")
    assert (more.norm, more.decay, work.norm, work.decay) == ("layernorm", True, "", False)
    assert more.title == "20-30-1, batch 8, layernorm, decay"
    assert parse_work("deep") is WORKS["deep"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("huge", "unknown work 'huge'; known are tiny, tabular"),
        ("5@3", "unknown work"),
        ("3-0-1@4", "at least 1"),
        ("3-1@0", "at least 1"),
        ("3-5x0-1@4x", "unknown work"),
        ("3-1@4:relu6", "unknown 'relu6'; known are mse"),
    ],
)
def test_parse_work_refuses(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_work(text)


def test_flops_and_bytes_of_a_step() -> None:
    work = parse_work("3-5-2@7:float64")
    # Forward and dW of both layers, dx of the second.
    assert work.flops == 2 * 7 * (2 * 15 + 3 * 10)
    assert work.parameters == 3 * 5 + 5 + 5 * 2 + 2
    assert work.update_bytes == 7 * 8 * work.parameters
    assert parse_work("3-5-2@7:sgd").update_bytes == 5 * 4 * work.parameters


@pytest.mark.parametrize("text", ["6-4-3@5", "6-4-1@5:mse:float64", "6-4-4-3@5:skip"])
def test_data_and_weights_are_the_same_every_time_and_of_the_dtype(text: str) -> None:
    work = parse_work(text)
    x, y = work.data()
    again, _ = work.data()
    assert x.shape == (work.rows, 6)
    assert x.dtype == work.dtype
    assert np.array_equal(x, again)
    assert y.shape == ((work.rows, 1) if work.loss == "mse" else (work.rows,))
    for (w, b), (n_in, n_out) in zip(work.weights(), work.layers, strict=True):
        assert w.shape == (n_in, n_out)
        assert b.shape == (n_out,)
        assert w.dtype == b.dtype == work.dtype
    assert sorted(work.order(1).ravel()) == list(range(work.rows))


def test_every_listed_work_can_be_read_and_is_listed_once() -> None:
    texts = [text for group in general.GROUPS.values() for text in group]
    works = [parse_work(text) for text in texts]
    assert len(set(texts)) == len(texts)
    assert all(work.steps >= 2 for work in works)
    for kind in ({"tanh", "gelu"}, {"sgd"}, {"float64"}):
        assert kind <= {w for work in works for w in (work.activation, work.optimizer, work.dtype)}
    assert {1, 4096} <= {work.batch for work in works}
    assert {"layernorm", "batchnorm"} <= {work.norm for work in works}
    assert {True, False} == {work.decay for work in works} == {work.skip for work in works}


def test_a_result_survives_json() -> None:
    result = _result("6-4-1@5:mse", 10, 25, 2)
    again = Result.from_dict(result.to_dict())
    assert again == result
    assert again.ratio == 2.5
    assert again.best_peer == "torch"


def test_a_table_tells_what_products_allow() -> None:
    result = _result("6-4-1@5", 10, 15)
    assert "| 1.50 | 50 % |" in report.by_threads(FACTS, [result])
    result.attainable = [8.0, 7.5, 1.0]
    text = report.by_threads(FACTS, [result])
    assert "| 1.50 (2.00) | 50 % (75 %) |" in text
    assert "512 x 512 x 512" in text
    assert result.to_dict()["attainable_ratio"] == 2.0


def test_bounds_count_products_and_the_update() -> None:
    work = parse_work("6-4-1@5")
    machine = Machine([usable_cpus()[0]])
    machine.peak, machine.product_rate = lambda: 4.0 * work.flops, lambda: 2.0 * work.flops
    machine.bandwidth = lambda footprint: work.update_bytes / (footprint > 0)
    assert machine.bounds(work) == (1.25, 1.5)
    double = replace(work, dtype="float64")
    machine.bandwidth = lambda footprint: double.update_bytes
    assert machine.bounds(double) == (1.5, 2.0)


def test_the_rate_of_products_is_measured_on_every_cpu() -> None:
    assert Machine([usable_cpus()[0]]).product_rate() > 1e6


def test_ranking_begins_with_the_losers() -> None:
    results = [_result("6-4-1@5", 10, 25), _result("7-4-1@5", 10, 8), _result("8-4-1@5", 10, 11)]
    text = report.ranking(FACTS, results)
    rows = [line for line in text.splitlines() if line.startswith("| ") and "batch" in line]
    assert [row.split("-")[0] for row in rows] == ["| 7", "| 8", "| 6"]
    assert "**8.00 µs**" in rows[0]
    assert "| 0.80 | 50 % |" in rows[0]
    assert "slower than its best peer in 1 of 3" in text
    assert "1.10 in the median, 0.80 at least" in text


def test_captions_tell_who_is_missing() -> None:
    result = _result("6-4-1@5", 10, 25)
    result.errors["jax-scan"] = "out of memory\nand more"
    absent = {"jax-step": "No module named 'jax'"}
    left_out = {"torch-compile": "long to compile"}
    text = report.by_threads({**FACTS, "absent": absent, "left_out": left_out}, [result])
    assert "JAX, epoch in one scan on 6-4-1@5, 1 thread: out of memory." in text
    assert "torch.compile was left out: long to compile." in text
    assert "JAX, jit per step was absent: No module named 'jax'." in text


def test_slope_is_the_exponent() -> None:
    x = [1.0, 10.0, 50.0, 3000.0]
    assert math.isclose(sweep.slope(x, [7 * v**1.5 for v in x]), 1.5)


def test_a_sweep_tells_how_time_grows() -> None:
    texts = [sweep.SWEEPS["batch"].pattern.format(n) for n in (1, 2, 4, 8)]
    points = [(n, _result(t, 10.0 * n, 20.0 * n)) for n, t in zip((1, 2, 4, 8), texts, strict=True)]
    text = sweep.section("batch", points)
    assert "from 4 to 8: fastprop 1.00, PyTorch eager 1.00." in text
    team = [(1, _result("tiny", 10, 20)), (2, _result("tiny", 5, 16, 2))]
    assert "Speed-up from 1 to 2 threads: fastprop 2.00, PyTorch eager 1.25." in sweep.section(
        "threads", team
    )


def test_threads_shows_the_worst_first() -> None:
    found = [threads.Comparison(8, 1, 1, 5.0, 5.0, 1.0), threads.Comparison(9, 4, 2, 6, 5, 1.2)]
    text = threads.summary(found).splitlines()
    assert text[1].startswith("width    9, batch    4")
    assert text[-1].startswith("1 of 2 more than 5 % slower")


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("3-5-7-2@4", 3 + 5 + 7),  # inputs of layers are outputs of activations
        ("3-5-7-2@4:gelu", 3 + 2 * 5 + 2 * 7),  # its derivative reads z
        ("3-5-5-2@4:skip", 3 + 5 + 2 * 5),  # relu's reads f(z), the next layer x + f(z)
        ("3-5-7-2@4:float64", 2 * (3 + 5 + 7)),
    ],
)
def test_what_the_backward_pass_must_keep(text: str, columns: int) -> None:
    assert kept_bytes(parse_work(text)) == 4 * 4 * columns


@pytest.mark.parametrize(
    ("threads", "packed"),
    [
        (1, 0),
        # The first layer goes by rows, and x needs no derivative; the second one goes by columns.
        (2, 4 * 200 * 256),
        # By rows, all of it: W of both, and that of the second one transposed.
        (4, 4 * (200 * 256 + 2 * 256 * 512)),
    ],
)
def test_arena_is_told_by_the_instructions_that_fill_it(threads: int, packed: int) -> None:
    from benchmarks.python.contestants.fastprop_ import trainer

    work = Work("packed", (200, 256, 512), 32, "cross_entropy", 2)
    run = trainer(work, threads=threads)
    run.fit(*work.data(), batch_size=32, verbose=False)
    assert run.program is not None
    figures = arena(run.program)
    assert figures["arena_bytes"] == run.program.arena_bytes
    assert figures["packed_weight_bytes"] == packed
    rest = figures["arena_bytes"] - figures["packed_weight_bytes"]
    assert kept_bytes(work) <= sum(figures["fullest"].values()) <= rest
