"""The arena of whole trainings: how little it is, and that the order that makes it so keeps all
bits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from benchmarks.python.contestants.fastprop_ import first_weights, trainer
from benchmarks.python.footprint import arena, kept_bytes
from benchmarks.python.works import Work, parse_work

import fastprop as fp
from fastprop.graph import arrange


def trained(work: Work, threads: int, steps: int = 2, **options: object) -> fp.Trainer:
    work = dataclasses.replace(work, steps=steps)
    run = trainer(work, threads=threads, **options)
    run.model.load_state_dict(first_weights(run.model, work))
    run.fit(*work.data(), batch_size=work.batch, verbose=False)
    return run


def share_of_kept(work: Work, threads: int, *, with_loss: bool = False) -> float:
    """The arena without packed weights and gradients, and what the backward pass must keep."""
    program = trained(work, threads).program
    assert program is not None
    figures = arena(program)
    rest = figures["arena_bytes"] - figures["packed_weight_bytes"] - figures["gradient_bytes"]
    # The derivative of the loss needs predictions and targets.
    of_loss = 2 * work.batch * work.sizes[-1] * work.itemsize if with_loss else 0
    return rest / (kept_bytes(work) + of_loss)


@pytest.mark.parametrize(
    "text",
    [
        "128-128x16-10@128",
        "784-512-512-10@128",
        "100-256-128-10@256",
        "4-64-64-1@32:mse",
        "512-256-128-64-32-16-8-1@256:mse:tanh",
        "1024-700-700-10@128:float64",  # sums longer than those that stay in registers
        "128-128x10-10@64:gelu",
        "128-128x10-10@64:skip",
        "128-128x10-10@64:tanh:skip",
    ],
)
def test_one_thread_holds_what_must_be_kept(text: str) -> None:
    assert share_of_kept(parse_work(text), 1) <= 1.1


def test_predictions_give_their_place_to_their_gradient() -> None:
    """They are as wide as what must be kept."""
    work = parse_work("300-150-32-150-300@256:mse:tanh")
    assert share_of_kept(work, 1, with_loss=True) <= 1.05


@pytest.mark.parametrize(
    "text",
    [
        "784-512-512-10@128",
        "784-512-512-10@2048",
        "128-128x16-10@128",
    ],
)
def test_two_threads_hold_no_more(text: str) -> None:
    """Steps that long can afford a barrier or two a layer."""
    assert share_of_kept(parse_work(text), 2) <= 1.1


def test_two_threads_hold_one_gradient_at_a_time_where_these_outweigh_activations() -> None:
    """Each dW is made in the phase of its update, though dx then finds no place to take."""
    work = parse_work("1024-2048-2048-1000@64")
    program = trained(work, 2).program
    assert program is not None
    largest = 2048 * 2048 * work.itemsize
    assert program.arena_bytes <= 1.1 * (kept_bytes(work) + largest)


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        "17-40x4-3@50",
        "9-33-700-5@30:mse:tanh",
        "20-24x5-2@40:skip",
        "20-24x5-2@40:gelu:sgd",
        "30-40x3-3@21:float64",
    ],
)
def test_the_order_changes_no_bits(text: str, clip: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fewest barriers, all that may be, and one thread, which has none."""
    work = parse_work(text)

    def weights(threads: int, share: float) -> list[np.ndarray]:
        monkeypatch.setattr(arrange, "BARRIER_SHARE", share)
        # All gradients live at once where they are clipped: no order saves enough there.
        monkeypatch.setattr(arrange, "WORTH", 0.0)
        options = {"clip": fp.gradients.ClipGlobalNorm(0.1)} if clip else {}
        run = trained(work, threads, steps=5, **options)
        assert run.program is not None
        barriers.append(run.program.barriers)
        return list(run.model.state_dict().values())

    barriers: list[int] = []
    wanted = [np.array(w) for w in weights(2, 0.0)]
    for threads, share in ((1, 0.0), (2, 1e6), (3, 1e6)):
        for got, want in zip(weights(threads, share), wanted, strict=True):
            np.testing.assert_array_equal(got, want)
    assert barriers[0] < barriers[2] == barriers[3]
    assert barriers[1] == 0


def test_what_only_predicts_holds_two_layers() -> None:
    """The input and the output of the widest one."""
    work = parse_work("64-256-512-128-10@200")
    run = trained(work, 1)
    run.predict(work.data()[0], batch_size=200)
    (program,) = (k.program for k in run._programs._kept.values() if k.program is not run.program)
    assert program.arena_bytes <= 1.02 * 4 * 200 * (256 + 512)
