"""fastprop, as a user runs it: one epoch of ``Trainer.fit``."""

from __future__ import annotations

from typing import Any

import fastprop as fp
from fastprop import nn, optim

from ..works import DECAY, LEARNING_RATE, MOMENTUM, Work


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
        self.trainer = trainer(work)
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
        self.trainer.model.load_state_dict(first_weights(self.trainer.model, self.work))
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


class _Residual(nn.Module):
    """x + f(x)"""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: fp.Tensor) -> fp.Tensor:
        return x + self.inner(x)


_NORMS = {"layernorm": nn.LayerNorm, "batchnorm": nn.BatchNorm}


def trainer(work: Work, **options: Any) -> fp.Trainer:
    """A Trainer of the work's network, with weights of its own."""
    layers: list[nn.Module] = []
    for i, (n_in, n_out) in enumerate(work.layers):
        activation = work.activation if i < len(work.layers) - 1 else None
        layer = nn.Dense(n_in, n_out, activation=activation, dtype=work.dtype)
        layers.append(_Residual(layer) if work.adds_input(i) else layer)
        if work.norm and activation is not None:
            layers.append(_NORMS[work.norm](n_out, dtype=work.dtype))
    return fp.Trainer(nn.Sequential(*layers), loss=work.loss, optimizer=_optimizer(work), **options)


def first_weights(model: nn.Module, work: Work) -> dict[str, Any]:
    """The state dict of a model of :func:`trainer` that has the work's first weights."""
    arrays = [array for pair in work.weights() for array in pair]
    if work.norm:
        fresh = trainer(work).model.state_dict()
        dense = {id(p) for m in model.modules() if isinstance(m, nn.Dense) for p in m.parameters()}
        names = [name for name, p in model.named_parameters() if id(p) in dense]
        return fresh | dict(zip(names, arrays, strict=True))
    return dict(zip(model.state_dict(), arrays, strict=True))


def _optimizer(work: Work) -> optim.Optimizer:
    decay = DECAY if work.decay else 0.0
    if work.optimizer == "sgd":
        return optim.SGD(lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=decay)
    return optim.Adam(lr=LEARNING_RATE, weight_decay=decay)
