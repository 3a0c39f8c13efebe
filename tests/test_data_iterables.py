"""Transforms of batches, iterables and generators."""

from __future__ import annotations

import numpy as np
import pytest
from tests.data_sets import ROWS, jitter, pieces, same, trained
from tests.training import classes, network, regression

import fastprop as fp
from fastprop import data

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
    with pytest.raises(TypeError, match="expects a function"):
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
        with pytest.raises(TypeError, match="expects an iterable"):
            data.from_iterable(value)
        with pytest.raises(TypeError, match="expects a generator function"):
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


def test_an_iterator_for_several_epochs_is_refused_at_the_door() -> None:
    x, y = regression(ROWS)
    once = data.from_iterable(iter(pieces(x, y)))
    with pytest.raises(ValueError, match="3 epochs of an iterator, which gives its rows once"):
        trained(once)
    with pytest.raises(ValueError, match="validation_data: 2 epochs of an iterator"):
        trained(x, y, validation_data=data.from_iterable(iter(pieces(x, y))), epochs=2)
    assert sum(len(b.y) for b in once.batches(32)) == ROWS  # nothing was read
