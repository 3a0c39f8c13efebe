"""Memory of datasets that are read while a model learns: how much, and whose."""

from __future__ import annotations

import numpy as np
import pytest
from tests.data_sets import ROWS, Blocks, lengths, same, trained
from tests.training import network, regression

import fastprop as fp
from fastprop import data


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


def opened(x, mapped: bool):
    stream = data.ArrayDataset(x, x[:, :1]).stream(window_rows=1000)
    return stream.map(lambda x, y: (x + 1, y)) if mapped else stream


@pytest.mark.parametrize("mapped", [False, True])
def test_one_reading_leaves_its_memory_to_the_next(mapped: bool) -> None:
    import gc
    import tracemalloc

    x = np.random.default_rng(0).uniform(-1, 1, (4000, 100))  # float64, so it is converted
    dataset = opened(x, mapped)
    parts = data.split(dataset, [0.7, 0.3])
    assert parts[0].spare is parts[1].spare is dataset.spare
    trainer = fp.Trainer(network(100, 4, 1), "mse", "adam")
    trainer.fit(dataset, batch_size=100)  # makes Programs
    del parts, dataset
    dataset = opened(x, mapped)
    gc.disable()  # nothing may wait for it, either
    tracemalloc.start()
    try:
        trainer.fit(dataset, batch_size=100)
        kept = tracemalloc.get_traced_memory()[0]
        assert kept > 800_000  # two windows
        for _ in range(3):
            tracemalloc.reset_peak()
            trainer.fit(dataset, batch_size=100)
            now, peak = tracemalloc.get_traced_memory()
            assert now < kept + 100_000
            assert peak < kept + 400_000
        del dataset
        assert tracemalloc.get_traced_memory()[0] < kept - 600_000
    finally:
        tracemalloc.stop()
        gc.enable()


def test_readings_at_the_same_time_have_memory_of_their_own() -> None:
    x, y = regression(ROWS)
    stream = Blocks(x, y, lengths("even"), window_rows=96)
    wanted = trained(stream)

    class Looks(fp.Callback):
        def on_steps_end(self, trainer, first_step, losses) -> None:
            found = np.concatenate([batch.x for batch in stream.batches(50)])
            np.testing.assert_array_equal(found, x)
            begun.append(next(batches).x.copy())
            trainer.evaluate(stream)

    for _ in range(2):  # at first there is no memory to use again
        begun, batches = [], stream.batches(7)
        same(trained(stream, callbacks=[Looks()], epochs=3), wanted)
        np.testing.assert_array_equal(np.concatenate(begun), x[: 7 * len(begun)])


def test_copies_of_a_dataset_take_no_memory_along() -> None:
    import copy
    import pickle

    x, y = regression(ROWS)
    stream = Blocks(x, y, lengths("even"), window_rows=400)
    stream.head()  # stays with it
    fresh = len(pickle.dumps(stream))
    wanted = trained(stream)
    assert len(pickle.dumps(stream)) < fresh + 200
    for twin in (copy.deepcopy(stream), pickle.loads(pickle.dumps(stream))):
        assert twin.spare is not stream.spare
        same(trained(twin), wanted)
