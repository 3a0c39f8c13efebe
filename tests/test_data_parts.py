"""Caches of decoded rows, and parts of datasets."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from tests.data_sets import same, trained
from tests.training import network, regression, weights_of

import fastprop as fp
from fastprop import data


def test_shares_are_a_list() -> None:
    dataset = data.ArrayDataset(*regression(10))
    with pytest.raises(TypeError, match=r"split: fractions must be a list of numbers, got 0\.9"):
        data.split(dataset, 0.9)
    with pytest.raises(TypeError, match="split: fractions must be numbers, got 'h'"):
        data.split(dataset, "half")


# -- caches ----------------------------------------------------------------------------------------


def rows_of(dataset) -> np.ndarray:
    return np.concatenate([b.x for b in dataset.batches(50)])


def test_cache_of_a_generator(tmp_path: Path) -> None:
    x, y = regression(1003)
    calls = []

    def generate():
        calls.append(1)
        for i in range(0, 1003, 100):
            yield x[i : i + 100], y[i : i + 100]

    stream = data.from_generator(generate, window_rows=200).map(lambda x, y: (2 * x, y))
    kept = stream.cache(tmp_path / "cache")
    count = len(calls)
    assert (kept.rows, kept.window_rows) == (1003, 200)
    np.testing.assert_array_equal(rows_of(kept), 2 * x)
    assert len(calls) == count
    np.testing.assert_array_equal(np.load(tmp_path / "cache" / "x.npy"), x)
    np.testing.assert_array_equal(np.load(tmp_path / "cache" / "y.npy"), y)
    stream.cache(tmp_path / "cache")  # who knows what it gives now
    assert len(calls) > count
    found = []
    for dataset in (stream, kept):
        model = network(3, 8, 1)
        fp.Trainer(model, "mse", "adam").fit(dataset, epochs=2, shuffle=False)
        found.append(weights_of(model))
    assert found[0] == found[1]


def test_cache_of_files_is_used_again(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path, folder = tmp_path / "t.csv", tmp_path / "cache"
    path.write_text("a,b,y\n1,2,3\n4,5,6\n")
    first = data.from_csv(path, "y", stream=True).cache(folder)
    np.testing.assert_array_equal(rows_of(first), [[1, 2], [4, 5]])
    written = (folder / "x.npy").stat().st_mtime_ns
    data.from_csv(path, "y", stream=True).cache(folder)
    assert (folder / "x.npy").stat().st_mtime_ns == written
    other = data.from_csv(path, "y", columns=["b"], stream=True).cache(folder)
    np.testing.assert_array_equal(rows_of(other), [[2], [5]])
    path.write_text("a,b,y\n7,8,9\n")
    changed = data.from_csv(path, "y", columns=["b"], stream=True).cache(folder)
    np.testing.assert_array_equal(rows_of(changed), [[8]])
    np.testing.assert_array_equal(rows_of(first), [[1, 2], [4, 5]])  # it is still mapped
    (folder / "cache.json").write_text("{")
    np.testing.assert_array_equal(
        rows_of(data.from_csv(path, "y", columns=["b"], stream=True).cache(folder)), [[8]]
    )


def test_a_cache_that_was_cut_short_is_not_used(tmp_path: Path) -> None:
    x, y = regression(100)
    broken = True

    def generate():
        yield x[:50], y[:50]
        if broken:
            raise OSError("the disk is gone")
        yield x[50:], y[50:]

    stream = data.from_generator(generate)
    with pytest.raises(OSError, match="the disk is gone"):
        stream.cache(tmp_path)
    assert list(tmp_path.iterdir()) == []
    broken = False
    np.testing.assert_array_equal(rows_of(stream.cache(tmp_path)), x)
    temporary = stream.cache()
    np.testing.assert_array_equal(rows_of(temporary), x)
    ragged = data.from_iterable([(x, y), (x.astype(np.float64), y)])
    with pytest.raises(ValueError, match="dtype float64, those before had"):
        ragged.cache(tmp_path / "ragged")


# -- parts -----------------------------------------------------------------------------------------


def test_split_of_arrays() -> None:
    x = np.arange(1003).reshape(-1, 1)
    dataset = data.ArrayDataset(x, x[:, 0])
    parts = data.split(dataset, [0.8, 0.1, 0.1], seed=3)
    assert [len(p) for p in parts] == [802, 101, 100]
    found = np.concatenate([p.x[:, 0] for p in parts])
    np.testing.assert_array_equal(np.sort(found), x[:, 0])
    for part in parts:
        np.testing.assert_array_equal(part.x[:, 0], part.y)
        assert np.all(np.diff(part.y) > 0)
    again = data.split(dataset, [0.8, 0.1, 0.1], seed=3)
    np.testing.assert_array_equal(again[1].y, parts[1].y)
    other = data.split(dataset, [0.8, 0.1, 0.1], seed=4)
    assert not np.array_equal(other[1].y, parts[1].y)
    half = data.split(dataset, [0.5])[0]
    assert len(half) == 502
    nested = data.split(half, [0.5, 0.5])
    assert set(nested[0].y) | set(nested[1].y) == set(half.y)


@pytest.mark.parametrize("known", [True, False])
def test_split_of_streams(known: bool) -> None:
    x = np.arange(20_000).reshape(-1, 1)

    def stream():
        if known:
            return data.ArrayDataset(x, x[:, 0]).stream(window_rows=5000)
        items = [(x[i : i + 777], x[i : i + 777, 0]) for i in range(0, len(x), 777)]
        return data.from_iterable(items, window_rows=5000)

    parts = data.split(stream(), [0.8, 0.1, 0.1], seed=3)
    rows = [np.concatenate([b.y for b in p.batches(100)]) for p in parts]
    np.testing.assert_array_equal(np.sort(np.concatenate(rows)), x[:, 0])
    for found, wanted, part in zip(rows, [16_000, 2_000, 2_000], parts, strict=True):
        assert abs(len(found) - wanted) < 0.05 * wanted
        assert part.rows == (len(found) if known else None)
        assert np.all(np.diff(found) > 0)
    later = np.concatenate([b.y for b in parts[1].batches(100, first_step=7)])
    np.testing.assert_array_equal(later, rows[1][700:])
    shuffled = np.concatenate([b.y for b in parts[0].batches(100, shuffle=True)])
    np.testing.assert_array_equal(np.sort(shuffled), rows[0])


def test_k_fold() -> None:
    x = np.arange(103).reshape(-1, 1)
    for dataset in (data.ArrayDataset(x, x[:, 0]), data.ArrayDataset(x, x[:, 0]).stream()):
        seen = []
        for train, validation in data.k_fold(dataset, 4, seed=1):
            inside = np.concatenate([b.y for b in train.batches(10)])
            outside = np.concatenate([b.y for b in validation.batches(10)])
            np.testing.assert_array_equal(np.sort([*inside, *outside]), x[:, 0])
            seen.append(outside)
        assert len(seen) == 4
        np.testing.assert_array_equal(np.sort(np.concatenate(seen)), x[:, 0])


@pytest.mark.parametrize(("rows", "k"), [(103, 4), (60, 5), (57, 2), (211, 10)])
def test_stratified_folds(rows: int, k: int) -> None:
    rng = np.random.default_rng(rows)
    labels = rng.choice([3, 7, 8], size=rows, p=[0.7, 0.2, 0.1])
    labels[: 3 * k] = np.tile([3, 7, 8], k)  # as many as there are folds, at least
    names = np.array(["a"] * 9)
    names[[3, 7, 8]] = ["blue", "red", "green"]
    one_hot = (labels[:, None] == [3, 7, 8]).astype(np.float32)
    x = np.arange(rows).reshape(-1, 1)
    found = []
    for y, stratify in ((labels, True), (one_hot, True), (x, labels), (None, names[labels])):
        dataset = data.ArrayDataset(x, y)
        folds = list(data.k_fold(dataset, k, seed=5, stratify=stratify))
        for train, validation in folds:
            np.testing.assert_array_equal(np.sort([*train.x[:, 0], *validation.x[:, 0]]), x[:, 0])
        found.append([validation.x[:, 0] for _, validation in folds])
    held_out = found[0]
    np.testing.assert_array_equal(np.sort(np.concatenate(held_out)), x[:, 0])
    sizes = [len(fold) for fold in held_out]
    assert max(sizes) - min(sizes) <= 1
    for label in (3, 7, 8):
        counts = [int((labels[fold] == label).sum()) for fold in held_out]
        assert max(counts) - min(counts) <= 1, label
    for other in (found[1], found[2]):  # the same classes in the same order
        for mine, its in zip(held_out, other, strict=True):
            np.testing.assert_array_equal(mine, its)
    other_seed = next(data.k_fold(data.ArrayDataset(x, labels), k, seed=6, stratify=True))[1]
    assert set(other_seed.x[:, 0]) != set(held_out[0])
    assert not np.all(np.diff(labels[held_out[0]]) == 0)


def test_stratified_folds_are_drawn_at_random() -> None:
    labels = np.repeat([0, 1], [80, 20])
    dataset = data.ArrayDataset(np.arange(100), labels)
    times = np.zeros(100)
    for seed in range(200):
        _, validation = next(data.k_fold(dataset, 5, seed=seed, stratify=True))
        times[validation.x] += 1
    assert times.sum() == 200 * 20
    assert times.min() > 15  # 40 of 200 on average, each with a deviation of 5.7
    assert times.max() < 65


def test_stratified_folds_are_as_even_as_those_of_sklearn() -> None:
    selection = pytest.importorskip("sklearn.model_selection")
    rng = np.random.default_rng(3)
    labels = rng.choice(4, size=150, p=[0.5, 0.3, 0.15, 0.05])
    dataset = data.ArrayDataset(np.arange(150), labels)

    def counts(folds) -> list[list[int]]:
        return sorted(sorted(np.bincount(labels[rows], minlength=4)) for rows in folds)

    theirs = selection.StratifiedKFold(5, shuffle=True, random_state=0)
    ours = counts(v.x for _, v in data.k_fold(dataset, 5, stratify=True))
    for a, b in zip(ours, counts(v for _, v in theirs.split(labels, labels)), strict=True):
        assert np.abs(np.subtract(a, b)).max() <= 1


def test_stratified_split() -> None:
    labels = np.repeat([0, 1, 2], [500, 300, 40])
    x = np.arange(840)
    parts = data.split(data.ArrayDataset(x, labels), [0.7, 0.2, 0.05], seed=2, stratify=True)
    plain = data.split(data.ArrayDataset(x, labels), [0.7, 0.2, 0.05], seed=2)
    assert [len(p) for p in parts] == [len(p) for p in plain] == [588, 168, 42]
    assert len(set(np.concatenate([p.x for p in parts]))) == 798
    for part, share in zip(parts, [0.7, 0.2, 0.05], strict=True):
        counts = np.bincount(part.y, minlength=3)
        np.testing.assert_allclose(counts, share * np.array([500, 300, 40]), atol=1.5)


def test_folds_that_cannot_be_stratified() -> None:
    x = np.arange(12).reshape(-1, 1)
    few = data.ArrayDataset(x, np.repeat([0, 1], [10, 2]))
    with pytest.warns(UserWarning, match="class 1 has 2 rows for 4 folds"):
        folds = list(data.k_fold(few, 4, stratify=True))
    assert [len(v) for _, v in folds] == [3] * 4
    with pytest.raises(ValueError, match="k is 11, but no class has more than 10 rows"):
        data.k_fold(few, 11, stratify=True)
    with pytest.raises(ValueError, match=r"one class for each of the 12 rows.*shape \(3,\)"):
        data.k_fold(few, 2, stratify=[1, 2, 3])
    with pytest.raises(ValueError, match=r"k_fold: stratify: targets must be classes"):
        data.k_fold(data.ArrayDataset(x, x + 0.5), 2, stratify=True)
    with pytest.raises(ValueError, match=r"stratify: needs one array of targets, got 0"):
        data.split(data.ArrayDataset(x), [0.5], stratify=True)
    with pytest.raises(TypeError, match=r"k_fold: the classes .* got \['int', 'str'\]"):
        data.k_fold(few, 2, stratify=np.array([1, "a"] * 6, object))
    with pytest.raises(ValueError, match="stratify needs all rows in memory"):
        data.k_fold(few.stream(), 2, stratify=True)


def test_parts_keep_transforms() -> None:
    x, y = regression(100)
    for dataset in (data.ArrayDataset(x, y), data.ArrayDataset(x, y).stream()):
        train, _ = data.split(dataset.map(lambda x, y: (x + 100, y)), [0.5, 0.5])
        assert np.all(rows_of(train) > 50)


def test_parts_that_are_wrong() -> None:
    dataset = data.ArrayDataset(np.ones((10, 1)))
    for fractions in ([0.8, 0.3], [0.0, 0.5], [1.5], [], [-0.1], [float("nan")]):
        with pytest.raises(ValueError, match="split: fractions must be"):
            data.split(dataset, fractions)
    with pytest.raises(TypeError, match="fractions must be numbers"):
        data.split(dataset, ["a"])
    with pytest.raises(ValueError, match="a part of 10 rows would have none"):
        data.split(dataset, [0.99, 0.01])
    with pytest.raises(TypeError, match=r"expects a dataset, got ndarray; data\.ArrayDataset"):
        data.split(np.ones((10, 1)), [0.5])
    with pytest.raises(IndexError, match=r"ArrayDataset\.take: of 10 rows: index 10 is out of"):
        dataset.take([3, 10])
    for wrong in (2, -0.5):
        with pytest.raises(ValueError, match=r"train_test_split: test_size must be in \[0, 1\)"):
            data.train_test_split(np.ones(10), test_size=wrong)
    with pytest.raises(TypeError, match="k must be an integer"):
        list(data.k_fold(dataset, 2.5))
    with pytest.raises(ValueError, match="k must be at least 2"):
        list(data.k_fold(dataset, 1))
    with pytest.raises(ValueError, match="would have none"):
        list(data.k_fold(dataset, 11))


@pytest.mark.skipif(sys.platform == "win32", reason="limits on files are POSIX's")
def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    import resource
    import signal

    x, y = regression(5000)
    stream = data.ArrayDataset(x, y).stream()
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cache: decoded rows cannot be written.*another folder"):
        stream.cache(tmp_path / "file")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # as if the disk were full
    try:
        with pytest.raises(OSError, match=r"cache: decoded rows cannot be written here") as caught:
            stream.cache(tmp_path / "full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert caught.value.filename == str(tmp_path / "full")
    assert not list((tmp_path / "full").iterdir())
    cached = stream.cache(tmp_path / "full")  # now that there is room
    same(trained(cached, shuffle=False), trained(x, y, shuffle=False))
