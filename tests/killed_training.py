"""A process whose children train and are killed; test_checkpoint_kill.py runs it.

Forked children need not import anything, so one of them takes some 50 ms. Each trains, or goes on
with what the one before left, until it is killed or done. At the end the file that a child wrote
when it was done is compared with that of a child that nobody disturbed.

    python tests/killed_training.py FOLDER KILLS SEED
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import fastprop as fp
from fastprop import nn, optim
from fastprop.optim import schedules
from fastprop.saving import atomic
from fastprop.saving import format as safetensors
from fastprop.train import EarlyStopping, ModelCheckpoint

ROWS, BATCH = 90, 8

DATA = np.random.default_rng(0)
X = DATA.normal(size=(ROWS, 5))
Y = np.sin(2 * X[:, :1]) + 0.1 * DATA.normal(size=(ROWS, 1))
WEIGHT = DATA.uniform(0.5, 1.5, ROWS)


def momentum_and_schedule() -> tuple[fp.Trainer, dict[str, Any]]:
    model = nn.Sequential(nn.Dense(5, 16, "tanh"), nn.Dense(16, 16, nn.PReLU()), nn.Dense(16, 1))
    lr = schedules.Warmup(50, schedules.CosineRestarts(0.05, 400))
    trainer = fp.Trainer(model, "huber", optim.SGD(lr=lr, momentum=0.9, nesterov=True), ["mae"])
    return trainer, {"validation_split": 0.2, "sample_weight": WEIGHT, "epochs": 130}


def adam_in_double_precision() -> tuple[fp.Trainer, dict[str, Any]]:
    model = nn.Sequential(
        nn.Dense(5, 24, "relu", dtype="float64"), nn.Dense(24, 1, dtype="float64")
    )
    trainer = fp.Trainer(model, "mse", optim.AdamW(lr=3e-3, weight_decay=0.1), seed=7)
    return trainer, {"drop_last": True, "epochs": 120}


def stopping_early() -> tuple[fp.Trainer, dict[str, Any]]:
    model = nn.Sequential(nn.Dense(5, 32, "gelu"), nn.Dense(32, 1))
    trainer = fp.Trainer(model, "mse", optim.Adam(lr=5e-3), ["mae", "r2"])
    return trainer, {"validation_data": (X[:30], Y[:30] + 1), "epochs": 140, "shuffle": False}


WORKS = (momentum_and_schedule, adam_in_double_precision, stopping_early)


def train(work: Any, folder: Path, threads: int, resume: bool) -> None:
    """A child's life, if it is left alone."""
    path = folder / "checkpoint.safetensors"
    fp.seed(3)
    trainer, options = work()
    if resume and path.exists():
        trainer = fp.Trainer.resume(path, threads=threads)
    callbacks = [ModelCheckpoint(path, every_steps=7), EarlyStopping("loss", patience=40)]
    history = trainer.fit(X, Y, batch_size=BATCH, callbacks=callbacks, **options)
    found = hashlib.sha256()
    for name, array in trainer.model.state_dict().items():
        found.update(name.encode() + array.tobytes())
    for arrays in trainer.optimizer.state.values():
        for array in arrays:
            found.update(array.tobytes())
    found.update(repr((trainer.optimizer.steps, trainer.epoch, history.to_dict())).encode())
    (folder / "done").write_text(found.hexdigest())


# -- ways to die -----------------------------------------------------------------------------------


def suicide(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class DyingStream:
    """Writes some bytes and dies in the midst of the others."""

    def __init__(self, stream: Any, bytes_left: int) -> None:
        self._stream, self._left = stream, bytes_left

    def write(self, data: Any) -> None:
        data = bytes(data)
        if len(data) >= self._left:
            self._stream.write(data[: self._left])
            self._stream.flush()
            suicide()
        self._left -= len(data)
        self._stream.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __enter__(self) -> DyingStream:
        return self

    def __exit__(self, *_: Any) -> None:
        self._stream.close()


def die_while_writing(rng: random.Random) -> None:
    """Arrange for a death in one of the next writes: in the data, or around the renaming."""
    writes = rng.randrange(1, 25)  # that go well
    place = rng.choice(["data", "data", "sync", "before rename", "after rename"])
    fraction = rng.random()
    count = 0
    real_open, real_sync, real_replace = open, os.fsync, os.replace

    def counting_open(*arguments: Any) -> Any:
        nonlocal count
        stream = real_open(*arguments)
        count += 1
        if count == writes and place == "data":
            return DyingStream(stream, 1 + int(fraction * 9000))
        return stream

    def dying_sync(handle: int) -> None:
        if count >= writes and place == "sync":
            suicide()
        real_sync(handle)

    def dying_replace(source: Any, target: Any) -> None:
        if count >= writes and place == "before rename":
            suicide()
        real_replace(source, target)
        if count >= writes and place == "after rename":
            suicide()

    atomic.open = counting_open  # type: ignore[attr-defined]
    os.fsync, os.replace = dying_sync, dying_replace


# -- the parent ------------------------------------------------------------------------------------


def child(work: Any, folder: Path, threads: int, resume: bool, dying: random.Random | None) -> int:
    """Start one; the number of its process."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        if dying is not None:
            die_while_writing(dying)
        train(work, folder, threads, resume)
        status = 0
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", flush=True)
    finally:
        os._exit(status)


def ended(pid: int) -> bool:
    """Wait for a child; True if it was done, False if it was killed."""
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return False
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit("a child failed")
    return True


def saved_place(path: Path) -> tuple[int, int]:
    """Epochs and steps that a checkpoint holds; it must be whole at any time."""
    if not path.exists():
        return 0, 0
    description = json.loads(safetensors.read(path)[1]["description"])
    return description["epoch"], description["fit"]["steps_done"]


def kill_and_resume(work: Any, folder: Path, kills: int, rng: random.Random) -> tuple[int, int]:
    """Train, killing now and then; how many were killed, and how many of them in a write."""
    undisturbed = folder / "undisturbed"
    undisturbed.mkdir()
    started = time.perf_counter()
    assert ended(child(work, undisturbed, 1, resume=False, dying=None))
    seconds = time.perf_counter() - started
    expected = (undisturbed / "done").read_text()
    killed = writing = 0
    number = 0
    while killed < kills:
        number += 1
        disturbed = folder / f"disturbed{number}"
        disturbed.mkdir()
        done, place = False, (0, 0)
        while not done:
            in_a_write = rng.random() < 0.5
            dying = random.Random(rng.random()) if in_a_write and killed < kills else None
            pid = child(work, disturbed, rng.choice([1, 2]), resume=True, dying=dying)
            if not in_a_write and killed < kills:
                time.sleep(rng.uniform(0.0, 0.6 * seconds))
                os.kill(pid, signal.SIGKILL)  # one that is done already is a zombie: no harm
            done = ended(pid)
            killed += not done
            writing += in_a_write and not done
            before, place = place, saved_place(disturbed / "checkpoint.safetensors")
            if place < before:
                raise SystemExit(f"{work.__name__}: a checkpoint was lost, {place} after {before}")
        found = (disturbed / "done").read_text()
        if found != expected:
            raise SystemExit(f"{work.__name__}: other bits after {killed} kills")
    return killed, writing


def main() -> None:
    folder, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    rng = random.Random(seed)
    for work in WORKS:
        own = folder / work.__name__
        own.mkdir()
        killed, writing = kill_and_resume(work, own, -(-kills // len(WORKS)), rng)
        print(f"{work.__name__}: {killed} killed, {writing} of them in a write", flush=True)


if __name__ == "__main__":
    main()
