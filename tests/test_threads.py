"""Threads: how many, in forked children, beside each other, and that bits do not depend on them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastprop as fp
from fastprop import functional as F
from fastprop import nn, optim


def trainer(seed: int, threads: int) -> fp.Trainer:
    fp.seed(seed)
    model = nn.Sequential(nn.Dense(7, 33, activation="tanh"), nn.Dense(33, 1))
    return fp.Trainer(model, "mse", optim.Adam(lr=1e-2), seed=seed, threads=threads)


def fit(trainer: fp.Trainer, rows: int = 300) -> np.ndarray:
    rng = np.random.default_rng(trainer.seed)
    x = rng.normal(size=(rows, 7)).astype(np.float32)
    y = np.sin(x[:, :1]).astype(np.float32)
    trainer.fit(x, y, epochs=3, batch_size=64)
    return np.concatenate([p.data.ravel() for p in trainer.model.parameters()])


def train(seed: int, threads: int, rows: int = 300) -> np.ndarray:
    return fit(trainer(seed, threads), rows)


def run_python(code: str, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_bits_do_not_depend_on_threads(threads: int) -> None:
    np.testing.assert_array_equal(train(1, threads), train(1, 1))


@pytest.mark.parametrize("variable", ["FASTPROP_NUM_THREADS", "OMP_NUM_THREADS"])
def test_environment_limits_threads(variable: str) -> None:
    code = "from fastprop import _core; print(_core.available_threads())"
    assert run_python(code, **{variable: "1"}) == "1"


@pytest.mark.parametrize("variable", ["FASTPROP_NUM_THREADS", "OMP_NUM_THREADS"])
def test_what_is_granted_is_so_whatever_the_environment_says(variable: str) -> None:
    code = "from fastprop import _core; print(_core.granted_cpus())"
    assert run_python(code) == run_python(code, **{variable: "1"})


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the platform has no CPU affinity")
def test_affinity_limits_threads() -> None:
    code = (
        "import os; os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1]);"
        "from fastprop import _core; print(_core.available_threads())"
    )
    assert run_python(code) == "1"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
def test_training_in_a_child_forked_after_the_threads_were_used() -> None:
    code = """
import os, sys, warnings
sys.path.insert(0, "tests")
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of fork with threads
import test_threads
before = test_threads.train(3, threads=2)
child = os.fork()
if child == 0:
    same = (test_threads.train(3, threads=2) == before).all()
    os._exit(0 if same else 1)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status))
"""
    assert run_python(code) == "0"


def test_two_models_train_beside_each_other() -> None:
    alone = {seed: train(seed, threads=2) for seed in (5, 6)}
    found: dict[int, np.ndarray] = {}
    trainers = [trainer(seed, 2) for seed in alone]  # made here: they draw from one generator
    workers = [
        threading.Thread(target=lambda t=t: found.__setitem__(t.seed, fit(t))) for t in trainers
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    for seed, weights in alone.items():
        np.testing.assert_array_equal(found[seed], weights)


def _beside_each_other(work: Callable[[int], None], threads: int = 4) -> None:
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, i) for i in range(threads)]:
            done.result()


def test_threads_share_a_compiled_function() -> None:
    """It has one arena: who comes second waits."""
    compiled = fp.compile(lambda x: F.tanh(x @ x.T) @ x)
    x = np.random.default_rng(0).normal(size=(64, 64))
    inputs = [fp.tensor(x + i, requires_grad=True) for i in range(4)]
    expected = [compiled(a) for a in inputs]
    gradients = [fp.grad(y.sum(), a).data for y, a in zip(expected, inputs, strict=True)]

    def work(i: int) -> None:
        for _ in range(50):
            y = compiled(inputs[i])
            np.testing.assert_array_equal(y.data, expected[i].data)
            np.testing.assert_array_equal(fp.grad(y.sum(), inputs[i]).data, gradients[i])

    _beside_each_other(work)


def test_calls_in_threads_draw_numbers_of_their_own() -> None:
    x = np.ones((200, 200), np.float32)

    def drawn(threads: int, calls: int) -> set[bytes]:
        compiled = fp.compile(lambda x: F.dropout(x @ x, 0.5), threads=1, seed=3)
        compiled(x)
        found: list[bytes] = []
        work = lambda _: found.extend(compiled(x).data.tobytes() for _ in range(calls))  # noqa: E731
        _beside_each_other(work, threads)
        return set(found)

    one_after_the_other = drawn(1, 40)
    assert len(one_after_the_other) == 40
    assert drawn(4, 10) == one_after_the_other


def test_threads_share_predict() -> None:
    model = nn.Sequential(nn.Dense(8, 64, "tanh"), nn.Dense(64, 1))
    trainer = fp.Trainer(model, "mse", "sgd")
    x = np.random.default_rng(0).normal(size=(500, 8)).astype("f")
    expected = trainer.predict(x)

    def work(i: int) -> None:
        for rows in (500 - i, 100, 7 + i) * 20:
            np.testing.assert_array_equal(trainer.predict(x[:rows]), expected[:rows])

    _beside_each_other(work)


def test_training_steps_do_not_wait_for_each_other() -> None:
    """Their numbers follow each other, so the error says how threads take turns."""
    inside, go_on = threading.Event(), threading.Event()
    go_on.set()

    def hold(x: np.ndarray) -> np.ndarray:
        inside.set()
        assert go_on.wait(60)
        return x

    held = fp.custom_op(hold, lambda x, y, dy: dy)
    layer = nn.Dense(3, 1)
    adam = optim.Adam(layer.parameters(), lr=0.1)

    @fp.compile
    def step(x: fp.Tensor) -> fp.Tensor:
        loss = (layer(held(x)) ** 2).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        return loss

    x = np.ones((4, 3), np.float32)
    step(x)
    inside.clear()
    go_on.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(step, x)
        try:
            assert inside.wait(60)
            with pytest.raises(ValueError, match=r"another thread is training .* threading\.Lock"):
                step(x)
        finally:
            go_on.set()
        first.result()
    assert adam.steps == 2
    lock, losses = threading.Lock(), []

    def work(i: int) -> None:
        for _ in range(20):
            with lock:
                losses.append(step(x).item())

    _beside_each_other(work)
    assert adam.steps == 82
    assert losses[-1] < losses[0]


def test_a_run_that_waits_for_itself_is_an_error() -> None:
    def forward(x: np.ndarray) -> np.ndarray:
        traced = x[0, 0] == 1  # on ones
        return x if traced or len(x) < 4 else compiled(x[:2]).data.repeat(2, 0)

    again = fp.custom_op(forward)
    compiled = fp.compile(lambda x: again(x * 2.0))
    compiled(np.ones((2, 1)))
    with pytest.raises(ValueError, match="is running already, and a call from inside"):
        compiled(np.ones((4, 1)))
    np.testing.assert_array_equal(compiled(np.ones((2, 1))).data, [[2.0], [2.0]])


def test_denormals_are_restored_after_a_run() -> None:
    train(7, threads=2)
    tiny = np.float32(1e-40)
    assert tiny * np.float32(0.5) > 0
