"""ModelCheckpoint: when it saves, and what it refuses."""

from __future__ import annotations

import math
import shutil
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest
from tests.checkpoints import (
    ARGUMENTS,
    X,
    Y,
    broken_off,
    everything,
    make,
)

import fastprop as fp
from fastprop.train import ModelCheckpoint

# -- when it saves ---------------------------------------------------------------------------------


def saved_steps(monkeypatch: pytest.MonkeyPatch, **options: Any) -> list[int]:
    """The steps at which a fit of 30 steps saves."""
    from fastprop.train import model_checkpoint

    found: list[int] = []
    t = make()

    class Writer:
        def __init__(self, path: Any) -> None: ...
        def prepare(self, snapshot: Any) -> None: ...
        def submit(self, snapshot: Any) -> None:
            found.append(t.optimizer.steps)

        def failure(self) -> None: ...
        def finish(self) -> None: ...

    monkeypatch.setattr(model_checkpoint, "BackgroundWriter", Writer)
    callbacks = [*options.pop("callbacks", []), ModelCheckpoint("c", **options)]
    t.fit(X, Y, callbacks=callbacks, **ARGUMENTS)
    return found


def test_by_steps(monkeypatch) -> None:
    assert saved_steps(monkeypatch, every_steps=7) == [7, 14, 21, 28]
    assert saved_steps(monkeypatch, every_steps=10) == [10, 20, 30]
    assert saved_steps(monkeypatch, every_steps=100) == []


def test_by_epochs(monkeypatch) -> None:
    assert saved_steps(monkeypatch) == [5, 10, 15, 20, 25, 30]
    assert saved_steps(monkeypatch, every_epochs=4) == [20]
    assert saved_steps(monkeypatch, every_epochs=2, every_steps=7) == [7, 10, 14, 20, 21, 28, 30]


def test_by_the_clock(monkeypatch) -> None:
    from fastprop.train import model_checkpoint

    now = [0.0]

    class Ticks(fp.Callback):
        def steps_until_due(self, trainer):
            return 1

        def on_steps_end(self, trainer, first_step, losses):
            now[0] += 1.0

    monkeypatch.setattr(model_checkpoint, "perf_counter", lambda: now[0])
    found = saved_steps(monkeypatch, every_seconds=8, callbacks=[Ticks()])
    assert found == [8, 16, 24]


def test_best_only(monkeypatch) -> None:
    class Planned(fp.Callback):
        def on_epoch_end(self, trainer, epoch, logs):
            logs["score"] = [3.0, math.nan, 2.0, 2.5, 2.0, 1.0][epoch - 1]

    options = {"monitor": "score", "save_best_only": True, "callbacks": [Planned()]}
    assert saved_steps(monkeypatch, **options) == [5, 15, 30]
    options["callbacks"] = [Planned()]
    assert saved_steps(monkeypatch, mode="max", **options) == [5]


def test_best_only_goes_on(tmp_path: Path) -> None:
    """The best number so far is in the file."""
    path = tmp_path / "c"
    saving = lambda: ModelCheckpoint(path, monitor="loss", mode="max", save_best_only=True)  # noqa: E731
    make().fit(X, Y, callbacks=[saving()], **ARGUMENTS)
    first = path.read_bytes()
    t = fp.Trainer.resume(path)
    assert t.epoch == 1
    t.fit(X, Y, callbacks=[saving()], **ARGUMENTS)
    assert path.read_bytes() == first


BAD = [
    ({"every_steps": 0}, ValueError, "every_steps must be at least 1, got 0"),
    ({"every_steps": 1.5}, TypeError, "every_steps must be an integer"),
    ({"every_seconds": -1}, ValueError, "every_seconds must be a finite number, not negative"),
    ({"every_seconds": "often"}, TypeError, "every_seconds must be a number"),
    ({"every_epochs": 0}, ValueError, "every_epochs must be at least 1"),
    ({"mode": "least"}, ValueError, "mode must be"),
    ({"every_steps": 5, "save_best_only": True}, ValueError, "goes by epochs, not by steps"),
]


@pytest.mark.parametrize(("options", "kind", "message"), BAD)
def test_bad_arguments(options, kind, message) -> None:
    with pytest.raises(kind, match=message):
        ModelCheckpoint("c", **{"save_best_only": "mode" in options, **options})


def test_bad_paths(tmp_path: Path) -> None:
    t = make()
    before = everything(t)
    with pytest.raises(FileNotFoundError, match=r"ModelCheckpoint: the folder .*no does not exist"):
        t.fit(X, Y, callbacks=[ModelCheckpoint(tmp_path / "no" / "c")])
    with pytest.raises(IsADirectoryError, match="is a folder"):
        t.fit(X, Y, callbacks=[ModelCheckpoint(tmp_path)])
    with pytest.raises(TypeError):
        ModelCheckpoint(5)
    assert everything(t) == before


def test_threads_end(tmp_path: Path) -> None:
    before = threading.active_count()
    make().fit(X, Y, callbacks=[ModelCheckpoint(tmp_path / "c", every_steps=3)], **ARGUMENTS)
    broken_off(tmp_path / "c", 7, make(), **ARGUMENTS)
    assert threading.active_count() == before


def test_bits_do_not_depend_on_checkpoints(tmp_path: Path) -> None:
    whole, other = make(), make()
    whole.fit(X, Y, **ARGUMENTS)
    other.fit(X, Y, callbacks=[ModelCheckpoint(tmp_path / "c", every_steps=1)], **ARGUMENTS)
    assert everything(other) == everything(whole)


def test_a_copy_of_the_file_will_do(tmp_path: Path) -> None:
    broken_off(tmp_path / "c", 13, make(), **ARGUMENTS)
    shutil.copy(tmp_path / "c", tmp_path / "d")
    assert fp.Trainer.resume(tmp_path / "d").optimizer.steps == 13
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fp.Trainer.resume(tmp_path / "d").fit(X, Y, **ARGUMENTS)
