"""fastprop, as a user runs it: one epoch of ``Trainer.fit``."""

from __future__ import annotations

from typing import Any

import fastprop as fp
from fastprop import nn, optim

from ..works import LEARNING_RATE, Work


class _Losses(fp.Callback):
    def __init__(self) -> None:
        self.values: list[float] = []

    def on_steps_end(self, trainer: fp.Trainer, first_step: int, losses: Any) -> None:
        self.values += losses.tolist()


class Fastprop:
    """``fit`` checks the data, draws the order and records the losses inside the timed call.

    The number of threads is left to the cost model, which may use all CPUs that the worker has.
    """

    def __init__(self, threads: int) -> None:
        config = fp.config()
        if config["available_threads"] != threads:
            raise RuntimeError(f"{threads} threads wanted, {config['available_threads']} available")
        self.versions = {"fastprop": f"{fp.__version__} ({config['level']})"}

    def prepare(self, work: Work) -> None:
        self.work = work
        self.x, self.y = work.data()
        *hidden, last = work.layers
        layers = [nn.Dense(n_in, n_out, activation="relu") for n_in, n_out in hidden]
        self.trainer = fp.Trainer(
            nn.Sequential(*layers, nn.Dense(*last)),
            loss=work.loss,
            optimizer=optim.Adam(lr=LEARNING_RATE),
        )
        self.losses(2)

    def losses(self, steps: int) -> list[float]:
        self.reset(0)
        rows = self.work.order(0)[:steps].ravel()
        seen = _Losses()
        self.trainer.fit(
            self.x[rows],
            self.y[rows],
            batch_size=self.work.batch,
            shuffle=False,
            callbacks=[seen],
            verbose=False,
        )
        return seen.values

    def reset(self, epoch: int) -> None:
        state = {}
        for i, (w, b) in enumerate(self.work.weights()):
            state[f"{i}.weight"], state[f"{i}.bias"] = w, b
        self.trainer.model.load_state_dict(state)
        for arrays in self.trainer.optimizer.state.values():
            for array in arrays:
                array[...] = 0
        self.trainer.optimizer.steps = 0

    def epoch(self, steps: int) -> int:
        self.trainer.fit(self.x, self.y, batch_size=self.work.batch, verbose=False)
        return self.work.steps

    def notes(self) -> dict[str, Any]:
        program = self.trainer.program
        assert program is not None
        return {
            "threads": program.threads,
            "arena_bytes": program.arena_bytes,
            "instructions": program.num_instructions,
            "barriers": program.barriers,
        }

    def release(self) -> None:
        del self.trainer, self.x, self.y
