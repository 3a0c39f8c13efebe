"""Positions in streams: reading begins at any step, goes back, and is resumed."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from tests.data_sets import ROWS, Blocks, jitter, lengths, pieces, trained
from tests.training import classes, network, regression, weights_of

import fastprop as fp
from fastprop import data
from fastprop.data.reading import Reading
from fastprop.train import streams
from fastprop.train.feed import ArrayFeed
from fastprop.train.streams import StreamFeed

# -- position --------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("transformed", [False, True])
def test_reading_can_begin_at_any_step(known: bool, transformed: bool) -> None:
    x, y = regression(ROWS)
    stream = Blocks(x, y, lengths("uneven"), known=known, window_rows=96)
    if transformed:
        stream = stream.map(jitter)
    options = {"shuffle": True, "seed": 4, "epoch": 3}
    whole = list(stream.batches(32, **options))
    assert len(whole) == -(-ROWS // 32)
    for first in (0, 1, 2, 3, 4, 17, len(whole) - 1, len(whole)):
        rest = list(stream.batches(32, first_step=first, **options))
        assert len(rest) == len(whole) - first
        for a, b in zip(rest, whole[first:], strict=True):
            np.testing.assert_array_equal(a.x, b.x)
            np.testing.assert_array_equal(a.y, b.y)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("window_rows", [1, 96, 500, 5000])
def test_arrays_are_taken_in_the_order_that_is_told(window_rows: int, drop_last: bool) -> None:
    rows = np.arange(ROWS)
    x = rows.reshape(-1, 1).astype(np.float32)
    direct = data.ArrayDataset(x, rows).stream(window_rows=window_rows)
    copied = data.ArrayDataset(np.column_stack([x, x])[:, :1], rows).stream(window_rows=window_rows)
    some = data.ArrayDataset(x, rows).take(rows[::2]).stream(window_rows=window_rows)
    for stream, there in ((direct, rows), (copied, rows), (some, rows[::2])):
        order = there[stream.order(5, batch_size=32, seed=2)]
        if drop_last:
            order = order[: len(order) - len(order) % 32]
        for first in (0, 3, 7):
            options = {"epoch": 5, "seed": 2, "shuffle": True, "drop_last": drop_last}
            batches = list(stream.batches(32, first_step=first, **options))
            np.testing.assert_array_equal(
                np.concatenate([b.y for b in batches]), order[32 * first :]
            )
            assert all(np.array_equal(b.x[:, 0], b.y) for b in batches)


def feeds(x, y):
    """Every kind of feed over the same rows in the same order."""
    stream = Blocks(x, y, lengths("uneven"), window_rows=96)
    trainer = fp.Trainer(network(3, 4, 1), "mse", "adam")
    reading = Reading(32, shuffle=False)
    for dataset in (stream, data.ArrayDataset(x, y).map(lambda x, y: (x, y))):
        opened = trainer._reader.source("test", dataset, None, None, True)
        yield StreamFeed(opened, reading, 2)
    yield ArrayFeed(trainer._reader.dataset("test", x, y, None, True), reading)


def test_feeds_know_no_position_but_epoch_and_step() -> None:
    x, y = regression(ROWS)
    y = y.reshape(-1, 1)
    for feed in feeds(x, y):
        assert (feed.rows, feed.steps) == (ROWS, 32)
        for epoch, step in [(1, 0), (1, 1), (1, 31), (2, 5), (2, 6), (1, 20), (1, 19), (2, 0)]:
            chunk = feed.at(epoch, step)
            rows = chunk.rows_of(step, 1)
            wanted = slice(32 * step, min(32 * step + 32, ROWS))
            np.testing.assert_array_equal(chunk.sources[0][rows], x[wanted])
            np.testing.assert_array_equal(chunk.sources[1][rows], y[wanted])
        assert feed.at(1, 32) is None
        feed.close()


def test_how_long_an_epoch_is_shows_at_its_end() -> None:
    x, y = regression(ROWS)
    trainer = fp.Trainer(network(3, 4, 1), "mse", "adam")
    stream = Blocks(x, y, lengths("uneven"), known=False, window_rows=96)
    for first in (0, 1, 30, 31, 32):  # where a fit goes on
        opened = trainer._reader.source("test", stream, None, None, True)
        feed = StreamFeed(opened, Reading(32, shuffle=False), 2)
        step = first
        while (chunk := feed.at(1, step)) is not None:
            assert (feed.rows, feed.steps) == (None, None)
            step += chunk.steps
        assert step == 32
        # Going on behind the last step, it has seen no row, and knows no more than before.
        assert feed.steps == (None if first == 32 else 32)
        while (chunk := feed.at(2, step % 32)) is not None:
            step += chunk.steps
            if step == 64:
                break
        assert feed.at(2, 32) is None
        assert (feed.rows, feed.steps) == (ROWS, 32)
        feed.close()


def test_reading_ahead_goes_on_into_the_next_epoch_and_ends() -> None:
    x, y = regression(ROWS)
    for feed in feeds(x, y):
        for epoch in (1, 2):
            step = 0
            while (chunk := feed.at(epoch, step)) is not None:
                assert chunk.first == step
                step += chunk.steps
            assert step == 32
        feed.close()


@pytest.mark.parametrize(("seconds", "room"), [(0.001, False), (0.05, True)])
def test_training_makes_room_for_long_readings_alone(
    seconds: float, room: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = regression(480)
    at_work, go_on, clock = threading.Event(), threading.Event(), [0.0]

    class Slow(Blocks):
        def read(self, block, epoch):
            clock[0] += seconds
            if block == 2:
                at_work.set()
                assert go_on.wait(10)
            yield from super().read(block, epoch)

    monkeypatch.setattr(streams.time, "thread_time", lambda: clock[0])
    trainer = fp.Trainer(network(3, 4, 1), "mse", "adam")
    dataset = Slow(x, y, [96] * 5, window_rows=96)
    opened = trainer._reader.source("test", dataset, None, None, True)
    feed = streams.StreamFeed(opened, Reading(32, shuffle=False), 1)
    try:
        assert not feed.reading  # nobody has asked for anything
        assert feed.at(1, 0) is not None
        assert feed.at(1, 3) is not None  # which gives the first window back, for the third block
        assert at_work.wait(10)
        assert feed.reading == room
    finally:
        go_on.set()
        feed.close()
    assert not feed.reading


def test_no_thread_is_left_behind() -> None:
    x, y = regression(ROWS)
    before = threading.active_count()
    stream = Blocks(x, y, lengths("even"), window_rows=64)
    trained(stream)

    class Stop(fp.Callback):
        def on_steps_end(self, *arguments) -> None:
            raise RuntimeError("enough")

        def epoch_end(self, *arguments) -> None:
            raise RuntimeError("enough")

    for hook in ("epoch_end", "on_epoch_end"):
        callback = type("Stop", (fp.Callback,), {hook: Stop.epoch_end})()
        if hasattr(fp.Callback, hook):
            with pytest.raises(RuntimeError, match="enough"):
                trained(stream, callbacks=callback)
    assert threading.active_count() == before


# -- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "value", "message"),
    [
        (
            700,
            np.nan,
            r"x is nan at row 26, column 1.*\(counted in block 6, from row 74 on\)",
        ),
        (700, np.inf, "x is inf at row 26"),
    ],
)
def test_numbers_that_are_not_finite(row: int, value: float, message: str) -> None:
    x, y = regression(ROWS)
    x[row, 1] = value
    stream = Blocks(x, y, [100] * 6 + [403])
    with pytest.raises(ValueError, match=message):
        trained(stream)
    trained(stream, check_finite=False, epochs=0)


def test_labels_out_of_range_are_found_in_any_piece() -> None:
    x, y = classes(ROWS)
    y[900] = 7
    stream = Blocks(x, y, lengths("even"), window_rows=64)
    with pytest.raises(ValueError, match=r"7.*\(counted in block 9, from row 0 on\)"):
        trained(stream, model=network(2, 8, 3), loss="cross_entropy", shuffle=False)


def test_a_loss_that_turns_infinite_goes_back_to_the_last_good_parameters() -> None:
    x, y = regression(ROWS)
    y[640:] = 1e30  # its square is too large
    options = {"shuffle": False, "check_finite": False}
    model = network(3, 16, 1)
    trainer = fp.Trainer(model, "mse", "adam", seed=3)
    with pytest.raises(fp.NonFiniteError, match="in epoch 1, step 21") as caught:
        trainer.fit(Blocks(x, y, lengths("even"), window_rows=96), **options)
    assert caught.value.step == 21
    memory = network(3, 16, 1)
    with pytest.raises(fp.NonFiniteError, match="step 21 of 32"):
        fp.Trainer(memory, "mse", "adam", seed=3).fit(x, y, **options)
    assert weights_of(model) == weights_of(memory)
    before = network(3, 16, 1)
    fp.Trainer(before, "mse", "adam", seed=3).fit(x[:608], y[:608], shuffle=False)
    assert weights_of(before) == weights_of(model)


def test_rows_that_cannot_be_read_again() -> None:
    x, y = regression(ROWS)
    y[640:] = 1e30
    model = network(3, 16, 1)
    before = weights_of(model)
    trainer = fp.Trainer(model, "mse", "adam", seed=3)
    once = data.from_iterable(iter(pieces(x, y)), window_rows=96)
    with pytest.raises(fp.NonFiniteError, match="in epoch 1, step 21"):
        trainer.fit(once, shuffle=False, check_finite=False)
    assert weights_of(model) == before  # the latest copy
    assert trainer.optimizer.steps == 0


class FailAt(fp.Callback):
    """Ends a fit after a step, before that is saved."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_steps_end(self, trainer, first_step, losses) -> None:
        if first_step + len(losses) >= self.step:
            raise RuntimeError("the lights went out")


@pytest.mark.parametrize("step", [2, 4, 21, 34, 65])
@pytest.mark.parametrize("kind", ["blocks", "unknown", "generator", "arrays", "mapped"])
def test_a_resumed_fit_ends_with_the_same_bits(tmp_path: Path, kind: str, step: int) -> None:
    x, y = regression(ROWS)

    def dataset():
        if kind == "generator":
            return data.from_generator(lambda: iter(pieces(x, y)), window_rows=100)
        if kind == "arrays":
            return data.ArrayDataset(x, y)
        if kind == "mapped":
            return data.ArrayDataset(x, y).stream(window_rows=96).map(jitter)
        return Blocks(x, y, lengths("uneven"), known=kind == "blocks", window_rows=96)

    whole = trained(dataset(), epochs=3)
    path = tmp_path / "fit.safetensors"
    trainer = fp.Trainer(network(3, 16, 1), "mse", "adam", seed=3)
    saving = fp.train.ModelCheckpoint(path, every_steps=1)
    with pytest.raises(RuntimeError, match="the lights went out"):
        trainer.fit(dataset(), epochs=3, callbacks=[saving, FailAt(step)])
    resumed = fp.Trainer.resume(path)
    assert resumed.optimizer.steps == step - 1
    history = resumed.fit(dataset(), epochs=3)
    assert weights_of(resumed.model) == whole[0]
    assert history["loss"] == whole[1]["loss"]
