"""Datasets that are read while a model learns: the same bits as from memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.data_sets import ROWS, Blocks, lengths, same, trained
from tests.training import classes, network, regression, weights_of

import fastprop as fp
from fastprop import data, nn

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
    for rows, message in [([], "expects numbers"), ([False] * len(part), "leaves no row")]:
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


def test_numbers_out_of_range() -> None:
    x, y = regression(50)
    for wrong, error in ((0, ValueError), (-5, ValueError), ("a", TypeError), (True, TypeError)):
        with pytest.raises(error, match="stream: window_rows must be"):
            data.ArrayDataset(x, y).stream(window_rows=wrong)
        with pytest.raises(error, match="from_iterable: window_rows must be"):
            data.from_iterable([(x, y)], window_rows=wrong)
        with pytest.raises(error, match="window_rows must be"):
            trained(Blocks(x, y, [50], window_rows=wrong))
        for dataset in (data.ArrayDataset(x, y), Blocks(x, y, [50])):
            with pytest.raises(error, match="batches: batch_size must be"):
                list(dataset.batches(wrong))
    for name in ("epoch", "first_step", "seed"):
        with pytest.raises(ValueError, match=f"batches: {name} must be"):
            list(data.ArrayDataset(x, y).batches(8, **{name: -1}))
    with pytest.raises(ValueError, match=r"LBFGS needs all rows .* unknown number .*rows="):
        fp.Trainer(network(3, 4, 1), "mse", "lbfgs").fit(data.from_iterable([(x, y)]))
    known = data.from_iterable([(x, y)], rows=50)
    fp.Trainer(network(3, 4, 1), "mse", "lbfgs").fit(known, batch_size=None, epochs=2)
    once = data.from_iterable(iter([(x, y)]))
    with pytest.raises(ValueError, match="as many epochs as there is time for"):
        fp.Trainer(network(3, 4, 1), "mse", "adam").fit(once, max_seconds=1)


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
