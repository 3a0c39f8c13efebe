"""Datasets that are read while a model learns: the same bits as from memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.training import classes, network, regression, weights_of

import fastprop as fp
from fastprop import data, nn
from fastprop.data.windows import Reading
from fastprop.train.feed import ArrayFeed
from fastprop.train.streams import StreamFeed

ROWS = 1003


class Blocks(data.StreamDataset):
    """Arrays in blocks of the lengths that a test wants."""

    def __init__(
        self, x, y, lengths, *, known: bool = True, window_rows: int | None = None
    ) -> None:
        self.x, self.y = x, y
        self.ends = np.cumsum([0, *lengths])
        self.block_rows = [int(n) if known else None for n in lengths]
        self.window_rows = window_rows

    def read(self, block: int, epoch: int) -> Iterator[data.Batch]:
        begin, end = self.ends[block], self.ends[block + 1]
        for at in range(begin, end, 37):
            rows = slice(at, min(at + 37, end))
            yield data.Batch(self.x[rows], self.y[rows])


def lengths(kind: str) -> list[int]:
    return {
        "one": [ROWS],
        "even": [100] * 10 + [3],
        "uneven": [1, 500, 0, 2, 300, 200],
        "single rows": [1] * ROWS,
    }[kind]


def trained(*arguments, model=None, loss="mse", seed: int = 3, epochs: int = 3, **options):
    model = network(3, 16, 1) if model is None else model
    trainer = fp.Trainer(model, loss, "adam", seed=seed, metrics=options.pop("metrics", ()))
    history = trainer.fit(*arguments, epochs=epochs, **options)
    return weights_of(model), history.to_dict(), trainer


def same(a, b) -> None:
    assert a[1] == b[1]
    assert a[0] == b[0]


# -- the same bits ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["one", "even", "uneven", "single rows"])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("window_rows", [None, 1, 100, 5000])
@pytest.mark.parametrize("drop_last", [False, True])
def test_in_order_it_is_training_in_memory(
    kind: str, known: bool, window_rows: int | None, drop_last: bool
) -> None:
    x, y = regression(ROWS)
    stream = Blocks(x, y, lengths(kind), known=known, window_rows=window_rows)
    options = {"shuffle": False, "drop_last": drop_last, "batch_size": 32}
    same(trained(stream, **options), trained(x, y, **options))


@pytest.mark.parametrize("known", [True, False])
def test_a_window_for_all_rows_shuffles_as_in_memory(known: bool) -> None:
    x, y = regression(ROWS)
    # Blocks of unknown length come in a random order, as nobody knows that one window is enough.
    stream = Blocks(x, y, lengths("even") if known else [ROWS], known=known)
    same(trained(stream), trained(x, y))


@pytest.mark.parametrize("window_rows", [64, 200, 960])
@pytest.mark.parametrize("kind", ["even", "uneven"])
def test_shuffled_it_is_training_in_memory_in_that_order(kind: str, window_rows: int) -> None:
    x, y = regression(ROWS)
    stream = Blocks(x, y, lengths(kind), window_rows=window_rows)
    orders = [stream.order(epoch, batch_size=32, seed=3) for epoch in (1, 2)]
    assert not np.array_equal(*orders)
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(ROWS))
    streamed = trained(stream, epochs=2)
    model = network(3, 16, 1)
    trainer = fp.Trainer(model, "mse", "adam", seed=3)
    for order in orders:
        trainer.fit(x[order], y[order], shuffle=False)
    assert weights_of(model) == streamed[0]


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    x, y = regression(ROWS)
    a = Blocks(x, y, lengths("even"), window_rows=100)
    b = Blocks(x, y, lengths("even"), window_rows=100)
    a.order(9, batch_size=32)
    np.testing.assert_array_equal(
        a.order(2, batch_size=32, seed=5), b.order(2, batch_size=32, seed=5)
    )
    assert not np.array_equal(a.order(2, batch_size=32, seed=5), a.order(2, batch_size=32, seed=6))
    with pytest.raises(ValueError, match="number of rows is not known"):
        Blocks(x, y, [ROWS], known=False).order(1, batch_size=32)


def test_threads_and_runs_do_not_matter() -> None:
    x, y = regression(ROWS)
    stream = Blocks(x, y, lengths("uneven"), window_rows=200)

    class Watch(fp.Callback):
        def step_end(self, step: int, loss: float) -> None:
            pass

    found = set()
    for threads in (1, 2):
        model = network(3, 16, 1)
        fp.Trainer(model, "mse", "adam", threads=threads).fit(stream, epochs=2)
        found.add(weights_of(model))
    model = network(3, 16, 1)
    fp.Trainer(model, "mse", "adam").fit(stream, epochs=2, callbacks=Watch())
    found.add(weights_of(model))
    assert len(found) == 1


def test_a_second_fit_goes_on_where_the_first_ended() -> None:
    x, y = regression(ROWS)
    stream = Blocks(x, y, lengths("even"), window_rows=100)
    model = network(3, 16, 1)
    trainer = fp.Trainer(model, "mse", "adam", seed=3)
    trainer.fit(stream, epochs=1)
    trainer.fit(stream, epochs=2)
    assert weights_of(model) == trained(stream, epochs=3)[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("source", ["u1", "i8", "f2", "f4", "f8", "bool"])
def test_dtypes_are_converted_window_by_window(dtype: str, source: str) -> None:
    x, y = regression(ROWS)
    x = (x > 0).astype(source) if source == "bool" else np.abs(10 * x).astype(source)
    stream = Blocks(x, y, lengths("even"), window_rows=100)
    memory = trained(x, y, model=network(3, 8, 1, dtype=dtype), shuffle=False)
    streamed = trained(stream, model=network(3, 8, 1, dtype=dtype), shuffle=False)
    assert memory[0] == streamed[0]
    notes = streamed[2].history.notes
    said = any(f"x is converted from {x.dtype} to {dtype}" in note for note in notes)
    assert said == (x.dtype != dtype)


@pytest.mark.parametrize("labels", ["u1", "i4", "i8", "bool"])
def test_labels_are_those_of_memory(labels: str) -> None:
    x, y = classes(ROWS)
    y = (y % 2 if labels == "bool" else y).astype(labels)
    options = {"loss": "cross_entropy", "metrics": ["accuracy"], "shuffle": False}
    memory = trained(x, y, model=network(2, 8, 3), **options)
    stream = Blocks(x, y, lengths("even"), window_rows=100)
    same(trained(stream, model=network(2, 8, 3), **options), memory)


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Dense(2, 4), nn.Dense(1, 4)
        self.out = nn.Dense(4, 1)

    def forward(self, a, b):
        return self.out(fp.tanh(self.left(a) + self.right(b)))


def test_several_inputs_and_weights() -> None:
    x, y = regression(ROWS)
    weight = np.random.default_rng(0).uniform(0.5, 2, ROWS)
    weight[:200] = 0  # a whole piece without weight
    inputs = (x[:, :2].copy(), x[:, 2:].copy())

    def make(*arguments, **options):
        fp.seed(0)
        return trained(*arguments, model=TwoInputs(), shuffle=False, **options)

    memory = make(inputs, y, sample_weight=weight)
    items = [
        ((inputs[0][i : i + 50], inputs[1][i : i + 50]), y[i : i + 50], weight[i : i + 50])
        for i in range(0, ROWS, 50)
    ]
    same(make(data.from_iterable(items)), memory)
    same(make(data.ArrayDataset(inputs, y, weight)), memory)
    same(make(data.ArrayDataset(inputs, y, weight).stream(window_rows=64)), memory)
    streamed = data.from_iterable(items)
    trainer = make(streamed)[2]
    np.testing.assert_array_equal(trainer.predict(streamed), trainer.predict(inputs))
    assert trainer.evaluate(streamed) == trainer.evaluate(inputs, y, sample_weight=weight)


@pytest.mark.parametrize("rows", [1, 31, 32, 33, ROWS])
def test_evaluate_and_predict(rows: int) -> None:
    x, y = classes(rows)
    trainer = fp.Trainer(network(2, 8, 3), "cross_entropy", "adam", metrics=["accuracy"])
    for dataset in (
        data.ArrayDataset(x, y),
        Blocks(x, y, [rows], window_rows=100),
        Blocks(x, y, [rows], known=False, window_rows=100),
        data.ArrayDataset(x, y).stream(window_rows=64),
    ):
        for batch_size in (None, 7):
            assert trainer.evaluate(dataset, batch_size=batch_size) == pytest.approx(
                trainer.evaluate(x, y, batch_size=batch_size), rel=1e-12
            )
            np.testing.assert_allclose(
                trainer.predict(dataset, batch_size=batch_size),
                trainer.predict(x, batch_size=batch_size),
                rtol=1e-6,
            )


def test_validation() -> None:
    x, y = regression(ROWS)
    stream = Blocks(x, y, lengths("even"), window_rows=100)
    memory = trained(x, y, validation_data=(x[:300], y[:300]), shuffle=False)
    held_out = data.ArrayDataset(x[:300], y[:300])
    for validation in (held_out, held_out.stream(), (x[:300], y[:300])):
        same(trained(stream, validation_data=validation, shuffle=False), memory)
        same(trained(x, y, validation_data=validation, shuffle=False), memory)
    with pytest.raises(ValueError, match=r"data\.split\(dataset"):
        trained(stream, validation_split=0.2)
    whole = trained(data.ArrayDataset(x, y), validation_split=0.2)
    same(whole, trained(x, y, validation_split=0.2))


def test_array_dataset_of_some_rows() -> None:
    x, y = regression(ROWS)
    rows = np.arange(1, ROWS, 3)
    part = data.ArrayDataset(x, y).take(rows)
    np.testing.assert_array_equal(part.x, x[rows])
    same(trained(part), trained(x[rows], y[rows]))
    same(trained(part.stream()), trained(x[rows], y[rows]))
    same(trained(part.map(lambda x, y: (x, y))), trained(x[rows], y[rows]))
    np.testing.assert_array_equal(part.take([2, 0]).x, x[rows[[2, 0]]])
    part = part.take(np.arange(len(rows)) % 2 == 0)
    same(
        trained(part, validation_split=0.25),
        trained(x[rows[::2]], y[rows[::2]], validation_split=0.25),
    )
    for rows, message in [([], "wanted are numbers"), ([False] * len(part), "leaves no row")]:
        with pytest.raises(ValueError, match=message):
            part.take(rows)
    with pytest.raises(IndexError):
        part.take([ROWS])


def test_memory_mapped_files(tmp_path: Path) -> None:
    x, y = regression(ROWS)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "wide.npy", x.astype(np.float64))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    memory = trained(x, y, shuffle=False)
    same(trained(mapped, y, shuffle=False), memory)
    same(trained(data.ArrayDataset(mapped, y), shuffle=False), memory)
    same(trained(data.ArrayDataset(mapped, y).stream(window_rows=64), shuffle=False), memory)
    wide = np.load(tmp_path / "wide.npy", mmap_mode="r")
    same(trained(data.ArrayDataset(wide, y).stream(window_rows=64), shuffle=False), memory)


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


def jitter(x, y, rng):
    return x + rng.normal(0, 0.1, x.shape).astype(x.dtype), y


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


# -- transforms ------------------------------------------------------------------------------------


def test_transforms_see_the_batches_of_training() -> None:
    x, y = regression(ROWS)
    sizes = []

    def scale(x, y):
        sizes.append(len(x))
        return 2 * x - 1, y

    memory = trained(2 * x - 1, y, epochs=1)
    for dataset in (data.ArrayDataset(x, y), data.ArrayDataset(x, y).stream()):
        sizes.clear()
        same(trained(dataset.map(scale), epochs=1), memory)
        assert sizes[1:] == [32] * 31 + [11]  # the first one is the look before


def test_transforms_may_change_shape_and_dtype() -> None:
    x, y = classes(ROWS)
    images = np.stack([x, x], axis=2)

    def flatten(x, y):
        return x.reshape(len(x), -1).astype(np.float64), y.astype(np.uint8)

    dataset = data.ArrayDataset(images, y).map(flatten).map(lambda x, y: (x[:, ::2], y))
    memory = trained(x, y, model=network(2, 8, 3), loss="cross_entropy")
    same(trained(dataset, model=network(2, 8, 3), loss="cross_entropy"), memory)
    trainer = memory[2]
    np.testing.assert_array_equal(trainer.predict(dataset), trainer.predict(x))


def test_random_transforms_repeat() -> None:
    x, y = regression(ROWS)
    dataset = data.ArrayDataset(x, y).map(jitter)
    a, b = trained(dataset), trained(dataset)
    same(a, b)
    assert trained(dataset, seed=4)[0] != a[0]
    first, second = (next(dataset.batches(32, epoch=e)) for e in (1, 2))
    assert not np.array_equal(first.x, second.x)


def test_transforms_that_are_wrong() -> None:
    x, y = regression(ROWS)
    dataset = data.ArrayDataset(x, y)
    for function, message in [
        (lambda x, y: x, r"must return \(x, y\), got ndarray"),
        (lambda x, y: (x[1:], y[1:]), "got 256 rows and returned 255"),
        (lambda x, y: (x, y[1:]), "x has 256 rows, y has 255"),
        (lambda x, y: (x[:, :2], y), "x has 2 columns, the model takes 3"),
    ]:
        with pytest.raises(ValueError, match=message):
            trained(dataset.map(function))
    with pytest.raises(TypeError, match="wanted is a function"):
        dataset.map(3)
    with pytest.raises(TypeError, match=r"does not take \(x, y\)"):
        dataset.map(lambda x: x)
    with pytest.raises(TypeError, match="encode text"):
        trained(dataset.map(lambda x, y: (np.full(x.shape, "a"), y)))

    def late(x, y):
        return (x if len(x) > 20 else x * np.nan), y  # the last batch of an epoch

    with pytest.raises(ValueError, match=r"x is nan at row 0.*epoch 1, step 32"):
        trained(dataset.map(late))


# -- iterables and generators ----------------------------------------------------------------------


def pieces(x, y, size: int = 70):
    return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]


def test_iterables_and_generators() -> None:
    x, y = regression(ROWS)
    memory = trained(x, y)
    same(trained(data.from_iterable(pieces(x, y))), memory)
    same(trained(data.from_iterable(pieces(x, y), rows=ROWS)), memory)
    same(trained(data.from_generator(lambda: iter(pieces(x, y)))), memory)
    windows = data.from_iterable(pieces(x, y), window_rows=100)
    same(trained(windows, shuffle=False), trained(x, y, shuffle=False))
    once = trained(x, y, epochs=1)
    same(trained(data.from_iterable(iter(pieces(x, y))), epochs=1), once)
    same(trained(data.from_iterable(iter(pieces(x, y))).map(lambda x, y: (x, y)), epochs=1), once)
    lists = [(a.tolist(), b.tolist()) for a, b in pieces(x, y)]
    np.testing.assert_allclose(trained(data.from_iterable(lists))[1]["loss"], memory[1]["loss"])


def test_generators_may_know_the_epoch() -> None:
    x, y = regression(200)
    seen = []

    def generate(epoch):
        seen.append(epoch)
        yield x[::epoch], y[::epoch]

    history = trained(data.from_generator(generate), epochs=3, shuffle=False)[1]
    assert seen == [1, 1, 2, 3]
    assert len(history["loss"]) == 3


def test_an_iterator_gives_its_rows_once() -> None:
    x, y = regression(ROWS)
    dataset = data.from_iterable(iter(pieces(x, y)))
    with pytest.raises(ValueError, match=r"gives its rows once.*from_generator"):
        trained(dataset, epochs=2)
    empty = iter(())
    with pytest.raises(ValueError, match="gave no rows; has it been used already"):
        trained(data.from_iterable(empty))


def test_iterables_that_are_wrong() -> None:
    x, y = regression(200)
    for items, message in [
        ([(x[:100], y[:100]), (x[100:, :2], y[100:])], r"x has rows of shape \(2,\), the first"),
        ([(x[:100], y[:99])], "item 0: x has 100 rows, y has 99"),
        ([(x[:100], y[:100]), x[100:]], "got x; the first rows had x, y"),
        ([(x, y, y, y)], "item 0 is a tuple of 4"),
        ([(1.0, 2.0)], "item 0: x is a single number"),
        ([], "gave no rows"),
        ([(x[:0], y[:0])], "gave no rows"),
    ]:
        with pytest.raises(ValueError, match=message):
            trained(data.from_iterable(items))
    with pytest.raises(ValueError, match="ended after 1 items with 200 rows of 300"):
        trained(data.from_iterable([(x, y)], rows=300))
    with pytest.raises(ValueError, match="item 1 is beyond the 300 rows"):
        trained(data.from_iterable([(x, y), (x, y)], rows=300))
    with pytest.raises(TypeError, match="from_iterable: item 0: x has dtype <U1"):
        trained(data.from_iterable([(np.array(["a", "b"]), y[:2])]))
    for value in (3, "text", None):
        with pytest.raises(TypeError, match="wanted is an iterable"):
            data.from_iterable(value)
        with pytest.raises(TypeError, match="wanted is a generator function"):
            data.from_generator(value)
    with pytest.raises(TypeError, match="takes neither no argument nor the epoch"):
        data.from_generator(lambda a, b: [])
    with pytest.raises(TypeError, match="the function gave int, no iterator"):
        trained(data.from_generator(lambda: 3))
    for rows in (0, -1):
        with pytest.raises(ValueError, match="rows must be at least 1"):
            data.from_iterable([x], rows=rows)
    with pytest.raises(TypeError, match="rows must be an integer"):
        data.from_iterable([x], rows=1.5)


def test_a_generator_that_is_empty_in_a_later_epoch() -> None:
    x, y = regression(200)

    def generate(epoch):
        if epoch < 3:
            yield x, y

    with pytest.raises(ValueError, match="gave no rows in epoch 3"):
        trained(data.from_generator(generate), epochs=4)


def test_errors_of_the_thread_reach_the_user() -> None:
    x, y = regression(ROWS)

    def generate():
        for i, item in enumerate(pieces(x, y)):
            if i == 9:
                raise OSError("the disk is gone")
            yield item

    dataset = data.from_generator(generate, window_rows=96)
    model = network(3, 16, 1)
    trainer = fp.Trainer(model, "mse", "adam")
    with pytest.raises(OSError, match="the disk is gone") as caught:
        trainer.fit(dataset, epochs=2, shuffle=False)
    assert any(entry.name == "generate" for entry in caught.traceback)
    # 630 rows came before it: six windows, which were trained on
    assert trainer.optimizer.steps == 18
    for use in (trainer.evaluate, trainer.predict):
        with pytest.raises(OSError, match="the disk is gone"):
            use(dataset)


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


# -- what is asked of fit --------------------------------------------------------------------------


def test_arguments_that_do_not_go_with_a_dataset() -> None:
    x, y = regression(ROWS)
    dataset = data.ArrayDataset(x, y)
    stream = dataset.stream()
    with pytest.raises(ValueError, match="leave out y"):
        trained(dataset, y)
    with pytest.raises(ValueError, match="leave out y"):
        trained(stream, sample_weight=np.ones(ROWS))
    unknown = Blocks(x, y, [ROWS], known=False)
    with pytest.raises(ValueError, match="batch_size=None means all rows"):
        trained(unknown, batch_size=None)
    same(trained(stream, batch_size=None), trained(x, y, batch_size=None))
    trainer = fp.Trainer(network(3, 4, 1), "mse", "adam")
    for call in (trainer.train_step, trainer.report):
        with pytest.raises(TypeError, match="takes arrays, got"):
            call(stream)
    with pytest.raises(ValueError, match="needs targets"):
        trained(data.ArrayDataset(x))
    with pytest.raises(ValueError, match="x has 3 columns, the model takes 2"):
        fp.Trainer(network(2, 4, 1), "mse", "adam").fit(stream)
    with pytest.raises(ValueError, match="drop_last leaves no batch"):
        trained(stream, batch_size=2000, drop_last=True)


def test_array_dataset_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="x has 3 rows, y has 2"):
        data.ArrayDataset(np.ones((3, 1)), np.ones(2))
    with pytest.raises(ValueError, match="x has 3 rows, sample_weight has 2"):
        data.ArrayDataset(np.ones((3, 1)), np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match="is empty"):
        data.ArrayDataset(np.ones((0, 1)))
    with pytest.raises(ValueError, match="x is a single number"):
        data.ArrayDataset(3.0)
    with pytest.raises(TypeError, match=r"ArrayDataset: y has dtype <U1"):
        data.ArrayDataset(np.ones((1, 1)), np.array(["a"]))
    stream = Blocks(*regression(10), [10])
    stream.block_rows = [11]
    with pytest.raises(ValueError, match="block 0 has 10 rows, block_rows says 11"):
        trained(stream)


def test_frames() -> None:
    pd = pytest.importorskip("pandas")
    x, y = regression(ROWS)
    frame = pd.DataFrame(x, columns=["a", "b", "c"])
    dataset = data.ArrayDataset(frame, pd.Series(y))
    assert dataset.feature_names == ("a", "b", "c")
    same(trained(dataset), trained(x, y))
    mixed = pd.DataFrame({"a": x[:, 0], "b": np.arange(ROWS), "c": x[:, 2] > 0})
    plain = np.column_stack([x[:, 0].astype(np.float64), np.arange(ROWS), x[:, 2] > 0])
    same(trained(data.ArrayDataset(mixed, y)), trained(plain, y))
    mixed["city"] = "Rome"
    with pytest.raises(TypeError, match="column 'city'"):
        data.ArrayDataset(mixed, y)


# -- memory ----------------------------------------------------------------------------------------


def test_memory_does_not_grow_with_the_data() -> None:
    import tracemalloc

    def peak(blocks: int) -> int:
        def generate():
            for i in range(blocks):
                rng = np.random.default_rng(i)
                yield rng.uniform(size=(500, 100)).astype(np.float32), np.zeros(500, np.float32)

        dataset = data.from_generator(generate, window_rows=1000)
        trainer = fp.Trainer(network(100, 4, 1), "mse", "adam")
        trainer.fit(dataset, batch_size=100)  # programs are made
        tracemalloc.start()
        try:
            trainer.fit(dataset, batch_size=100)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few, many = peak(10), peak(100)  # 2 MB and 20 MB
    assert many < few + 300_000
    assert many < 3_000_000
