"""fit_many: callbacks of each training and of all, and progress."""

from __future__ import annotations

import numpy as np
import pytest
from training import assert_same_training, regression, small, twins

import fastprop as fp
from fastprop.train import loop

THREADS = [1, 2, 3]


class Record(fp.Callback):
    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def on_epoch_end(self, trainer, epoch, logs):
        self.seen.append((trainer.seed, epoch))


class StopAt(fp.Callback):
    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_epoch_end(self, trainer, epoch, logs):
        return epoch == self.epoch


def test_callbacks_of_each_and_of_all() -> None:
    x, y = regression(50)
    trainers = [small(i) for i in range(4)]
    shared = Record()
    fp.fit_many(trainers, x, y, epochs=2, callbacks=shared, threads=2)
    assert sorted(shared.seen) == [(i, e) for i in range(4) for e in (1, 2)]
    shared = Record()
    fp.fit_many(trainers, x, y, callbacks=(shared, Record()), threads=2)
    assert sorted(shared.seen) == [(i, 3) for i in range(4)]
    own = [Record() for _ in trainers]
    callbacks = [own[0], [own[1], StopAt(5)], (), own[3]]
    fp.fit_many(trainers, x, y, epochs=4, callbacks=callbacks, threads=2)
    assert own[0].seen == [(0, e) for e in (4, 5, 6, 7)]
    assert own[1].seen == [(1, e) for e in (4, 5)]
    assert own[2].seen == []
    assert [t.epoch for t in trainers] == [7, 5, 7, 7]


def test_epochs_that_nobody_watches_give_the_same(monkeypatch) -> None:
    """Several epochs in one run, one in each, or cut into runs of a step."""
    x, y = regression(70)
    found = []
    for seconds, callbacks in ((10.0, ()), (10.0, Record()), (1e-9, ())):
        monkeypatch.setattr(loop, "_UNWATCHED_SECONDS", seconds)
        trainers = [small(i) for i in range(3)]
        fp.fit_many(trainers, x, y, epochs=6, batch_size=16, callbacks=callbacks, threads=2)
        found.append(trainers)
    for others in found[1:]:
        for a, b in zip(found[0], others, strict=True):
            assert_same_training(a, b)


def test_a_training_cannot_be_begun_twice() -> None:
    x, y = regression(50)

    class Again(fp.Callback):
        def on_epoch_end(self, trainer, epoch, logs):
            fp.fit_many([trainer], x, y)

    with pytest.raises(ValueError, match=r"trainers\[0\] is training already"):
        fp.fit_many([small(0)], x, y, callbacks=Again())


def test_other_trainings_inside_a_callback() -> None:
    x, y = regression(50)
    inner, alone = twins(small, 2)

    class Nested(fp.Callback):
        def on_train_end(self, trainer):
            fp.fit_many(inner, x, y, threads=2)

    fp.fit_many([small(5), small(6)], x, y, callbacks=[Nested(), ()], threads=2)
    for a, b in zip(inner, alone, strict=True):
        b.fit(x, y)
        assert_same_training(a, b)


def test_one_bar_for_all(capsys) -> None:
    x, y = regression(50)
    trainers = [small(i) for i in range(3)]
    fp.fit_many(trainers, x, y, epochs=[2, 0, 3], verbose=True, threads=2)
    shown = capsys.readouterr().err
    best = min(h for t in trainers for h in t.history.get("loss", [np.inf]))
    assert "network 3/3" in shown
    assert f"best loss {best:.4g}" in shown
    fp.fit_many(trainers, x, y, verbose=False)
    assert capsys.readouterr().err == ""
