"""Checkpoints that cannot be written: the run goes on, and the previous file stays."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
from tests.training import network, regression, weights_of

import fastprop as fp
from fastprop import optim
from fastprop.saving import atomic
from fastprop.train import ModelCheckpoint, writer
from fastprop.train.checkpoint import Snapshot
from fastprop.train.writer import BackgroundWriter

ROOT = Path(__file__).resolve().parents[1]
X, Y = regression(64)
FULL = OSError(28, "No space left on device")


def trainer(**options) -> fp.Trainer:
    return fp.Trainer(network(3, 8, 1), "mse", optim.Adam(lr=1e-2), **options)


def undisturbed(epochs: int) -> bytes:
    t = trainer()
    t.fit(X, Y, epochs=epochs, batch_size=16)
    return weights_of(t.model)


def run(code: str, *arguments: object) -> str:
    """What a process of its own prints."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """A limit on the size of files is the nearest to a full disk that needs no privileges."""
    pytest.importorskip("resource", reason="limits as on POSIX")
    out = run(
        """
        import resource, signal, sys, warnings
        import numpy as np
        from tests.test_checkpoint_failures import *
        path = Path(sys.argv[1]) / "c"
        trainer().fit(X, Y, epochs=2, batch_size=16, callbacks=[ModelCheckpoint(path)])
        before = path.read_bytes()
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))
        t = trainer()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            t.fit(X, Y, epochs=4, batch_size=16, callbacks=[ModelCheckpoint(path, every_steps=3)])
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print([str(w.message) for w in caught])
        print(weights_of(t.model) == undisturbed(4), path.read_bytes() == before)
        print(sorted(p.name for p in path.parent.iterdir()), fp.Trainer.resume(path).epoch)
        """,
        tmp_path,
    )
    warning, same, left = out.splitlines()
    assert warning.count("ModelCheckpoint: ") == 1  # once, not for every checkpoint
    assert "was not written" in warning
    assert "File too large" in warning
    assert same == "True True"
    assert left == "['c'] 2"


@pytest.mark.skipif(os.name == "nt", reason="permissions as on POSIX")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    out = run(
        """
        import os, sys, warnings
        from tests.test_checkpoint_failures import *
        folder = Path(sys.argv[1]) / "folder"
        folder.mkdir()
        path = folder / "c"
        trainer().fit(X, Y, epochs=2, batch_size=16, callbacks=[ModelCheckpoint(path)])
        before = path.read_bytes()
        for above in (folder, *folder.parents[:3]):
            os.chmod(above, 0o555)
        if os.geteuid() == 0:  # who may do everything
            os.seteuid(65534)
        t = trainer()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            t.fit(X, Y, epochs=4, batch_size=16, callbacks=[ModelCheckpoint(path, every_steps=3)])
        if os.getuid() == 0:
            os.seteuid(0)
        for above in (folder, *folder.parents[:3]):
            os.chmod(above, 0o755)
        print([str(w.message) for w in caught])
        print(weights_of(t.model) == undisturbed(4), path.read_bytes() == before)
        """,
        tmp_path,
    )
    warning, same = out.splitlines()
    assert "Permission denied" in warning
    assert same == "True True"


def test_a_disk_that_gets_room_again(tmp_path: Path, monkeypatch) -> None:
    """Failures at first, then success: the file is there, and there was one warning."""
    path = tmp_path / "c"
    failures = iter([True, True, True])
    real = os.replace

    def replace(source, target):
        if next(failures, False):
            raise FULL
        real(source, target)

    class WaitsForIt(fp.Callback):
        """The writer may give up one that waits for a newer one; here every one is wanted."""

        def __init__(self, saving: ModelCheckpoint) -> None:
            self.saving = saving

        def on_save_point(self, trainer):
            writing = self.saving._writer
            while writing._waiting is not None or len(writing._free) == 0:
                threading.Event().wait(0.001)

    monkeypatch.setattr(atomic.os, "replace", replace)
    saving = ModelCheckpoint(path, every_steps=2)
    t = trainer()
    with pytest.warns(RuntimeWarning, match="No space left on device. The training goes on") as w:
        t.fit(X, Y, epochs=4, batch_size=16, callbacks=[saving, WaitsForIt(saving)])
    assert len(w) == 1
    assert fp.Trainer.resume(path).optimizer.steps == 16
    assert weights_of(t.model) == undisturbed(4)


def test_a_broken_model_is_not_saved(tmp_path: Path) -> None:
    """The last update made a parameter infinite; the checkpoint of the step before is kept."""
    path = tmp_path / "c"
    lr = lambda step: 1e38 if step == 7 else 0.01  # noqa: E731
    t = fp.Trainer(network(3, 8, 1), "mse", optim.SGD(lr=lr))
    saving = ModelCheckpoint(path, every_steps=1)

    def fit() -> None:
        t.fit(X * 100, Y * 100, epochs=2, batch_size=16, shuffle=False, callbacks=[saving])

    with (
        pytest.warns(RuntimeWarning, match=r"was not written: \S+ is not finite"),
        pytest.raises(fp.NonFiniteError),
    ):
        fit()
    resumed = fp.Trainer.resume(path, optimizer=optim.SGD(lr=lr), model=network(3, 8, 1))
    assert resumed.optimizer.steps <= 7
    assert all(np.isfinite(a).all() for a in resumed.model.state_dict().values())


# -- the writer ------------------------------------------------------------------------------------


class Slow:
    """Stands for writing to a file: waits until it may, and notes what it got."""

    def __init__(self) -> None:
        self.begun, self.may = threading.Semaphore(0), threading.Semaphore(0)
        self.written: list[tuple[int, float]] = []

    def __call__(self, path: object, snapshot: Snapshot) -> None:
        self.begun.release()
        self.may.acquire()
        self.written.append((snapshot.description["n"], float(snapshot.arrays["a"].sum())))


def test_the_newest_state_is_written_last(monkeypatch) -> None:
    slow = Slow()
    monkeypatch.setattr(writer, "write_snapshot", slow)
    array = np.zeros(1000)
    background = BackgroundWriter("c")
    background.prepare(Snapshot({"n": 0}, {"a": array}))
    for n in range(1, 6):
        array[:] = n  # the training goes on; what is being written is a copy
        background.submit(Snapshot({"n": n}, {"a": array}))
        if n == 1:
            slow.begun.acquire()
    array[:] = -1
    slow.may.release(9)
    background.finish()
    assert slow.written == [(1, 1000.0), (5, 5000.0)]
    assert background.failure() is None


def test_memory_is_used_again(monkeypatch) -> None:
    places: list[int] = []

    def note(path: object, snapshot: Snapshot) -> None:
        places.append(snapshot.arrays["a"].ctypes.data)

    monkeypatch.setattr(writer, "write_snapshot", note)
    array, other = np.zeros(1000), np.zeros(7)
    background = BackgroundWriter("c")
    background.prepare(Snapshot({}, {"a": array}))
    for arrays in ({"a": array}, {"a": array, "b": other}, {"a": array}):
        background.submit(Snapshot({}, arrays))
        while len(places) < 1 or background._waiting is not None or not background._free:
            threading.Event().wait(0.001)
    background.finish()
    assert len(places) == 3
    assert len(set(places)) == 1


def test_whatever_goes_wrong_is_told(monkeypatch) -> None:
    def fails(path: object, snapshot: Snapshot) -> None:
        raise TypeError("cannot hold it")

    monkeypatch.setattr(writer, "write_snapshot", fails)
    background = BackgroundWriter("c")
    background.prepare(Snapshot({}, {}))
    background.submit(Snapshot({}, {}))
    background.finish()
    assert str(background.failure()) == "cannot hold it"
    assert background.failure() is None


# -- Ctrl-C ----------------------------------------------------------------------------------------


class Interrupts(fp.Callback):
    """Raises at a step, in one of the hooks."""

    def __init__(self, hook: str, error: type[BaseException]) -> None:
        setattr(self, hook, self.interrupt)
        self.error = error

    def interrupt(self, trainer, *_):
        if trainer.optimizer.steps >= 11:
            raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, RuntimeError])
@pytest.mark.parametrize("hook", ["on_save_point", "on_steps_end", "on_epoch_end"])
def test_interrupted(hook: str, error: type[BaseException], tmp_path: Path) -> None:
    """Where all is at rest the last whole step is saved; where it is not, nothing is."""
    path = tmp_path / "c"
    saving = ModelCheckpoint(path, every_epochs=10)
    t = trainer()

    def fit() -> None:
        callbacks = [saving, Interrupts(hook, error)]
        t.fit(X, Y, epochs=5, batch_size=16, callbacks=callbacks)

    with pytest.raises(error):
        fit()
    at_rest = hook == "on_save_point" and error is not RuntimeError
    assert path.exists() == at_rest
    if at_rest:
        resumed = fp.Trainer.resume(path)
        assert resumed.optimizer.steps == t.optimizer.steps
        resumed.fit(X, Y, epochs=5, batch_size=16)
        assert weights_of(resumed.model) == undisturbed(5)


@pytest.mark.skipif(os.name == "nt", reason="signals as on POSIX")
def test_a_signal_in_the_midst_of_a_run(tmp_path: Path) -> None:
    """The run of C++ ends after a whole step, which is saved; then the steps go on from there."""
    code = """
        import signal, sys, threading
        from tests.test_checkpoint_failures import *
        class Stopped(Exception): ...
        def handler(*_):
            raise Stopped
        signal.signal(signal.SIGTERM, handler)
        x = np.tile(X, (40000, 1))  # an epoch takes seconds, nearly all of them in C++
        path = Path(sys.argv[1]) / "c"
        while not path.exists():  # once in a thousand times the signal comes between two runs
            t = trainer()
            t.fit(X, Y)
            threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
            try:
                t.fit(x, x[:, :1], epochs=9**9, batch_size=4, callbacks=[ModelCheckpoint(path)])
            except Stopped:
                stopped = t.fitting, t.optimizer.steps
        print(*stopped)
        resumed = fp.Trainer.resume(path)
        print(resumed.optimizer.steps == t.optimizer.steps, resumed.epoch)
        expected, found = t.train_step(X, Y), resumed.train_step(X, Y)
        print(expected == found)
    """
    stopped, same, step = run(code, tmp_path).splitlines()
    assert stopped.startswith("None ")
    assert same == "True 1"
    assert step == "True"
