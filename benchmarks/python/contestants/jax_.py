"""JAX with optax: one jitted step a call, and a whole epoch inside one jitted ``lax.scan``."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]

from ..works import DECAY, LEARNING_RATE, MOMENTUM, Work

State = tuple[Any, Any]


class _Jax:
    """What both ways share: the state is donated, rows are gathered inside."""

    def __init__(self, threads: int) -> None:
        # The number of threads follows the CPU affinity and XLA_FLAGS, which the worker has set.
        if jax.default_backend() != "cpu":
            raise RuntimeError(f"JAX runs on {jax.default_backend()}; set JAX_PLATFORMS=cpu")
        self.versions = {"jax": jax.__version__, "optax": optax.__version__}

    def prepare(self, work: Work) -> None:
        # Float32 works are compiled as most users do, without 64-bit types.
        jax.config.update("jax_enable_x64", work.dtype == "float64")
        self.work = work
        self.optimizer = _optimizer(work)
        self.x, self.y = (jax.device_put(a) for a in work.data())
        self.step = partial(_step, work, self.optimizer)
        self.jitted: Any = None

    def reset(self, epoch: int) -> None:
        parameters = jax.tree.map(jnp.array, _parameters(self.work))
        self.state: State = (parameters, self.optimizer.init(parameters))
        self.order = jax.device_put(self.work.order(epoch).astype(np.int32))
        jax.block_until_ready((self.state, self.order))

    def notes(self) -> dict[str, Any]:
        return {}

    def release(self) -> None:
        del self.x, self.y, self.step, self.state, self.order, self.jitted
        jax.clear_caches()


class JaxStep(_Jax):
    """One jitted step a call."""

    def prepare(self, work: Work) -> None:
        super().prepare(work)
        self.jitted = jax.jit(self.step, donate_argnums=0)
        self.losses(2)

    def reset(self, epoch: int) -> None:
        super().reset(epoch)
        self.batches = list(self.order)
        jax.block_until_ready(self.batches)

    def losses(self, steps: int) -> list[float]:
        self.reset(0)
        return [float(loss) for loss in self._run(steps)]

    def epoch(self, steps: int) -> int:
        return len(self._run(steps))

    def _run(self, steps: int) -> list[jax.Array]:
        losses = []
        for rows in self.batches[:steps]:
            self.state, loss = self.jitted(self.state, self.x, self.y, rows)
            losses.append(loss)
        jax.block_until_ready((self.state, losses))
        return losses


class JaxScan(_Jax):
    """A whole epoch in one call. Two lengths are compiled: the epoch's and the verification's."""

    def prepare(self, work: Work) -> None:
        super().prepare(work)
        self.jitted = jax.jit(partial(_epoch, self.step), donate_argnums=0)
        self.reset(0)
        self.epoch(work.steps)

    def losses(self, steps: int) -> list[float]:
        self.reset(0)
        return [float(loss) for loss in self._run(self.order[:steps])]

    def epoch(self, steps: int) -> int:
        return len(self._run(self.order))

    def _run(self, order: jax.Array) -> jax.Array:
        self.state, losses = self.jitted(self.state, self.x, self.y, order)
        jax.block_until_ready((self.state, losses))
        return losses


def _optimizer(work: Work) -> Any:
    rule = optax.adam(LEARNING_RATE)
    if work.optimizer == "sgd":
        rule = optax.sgd(LEARNING_RATE, momentum=MOMENTUM)
    return optax.chain(optax.add_decayed_weights(DECAY), rule) if work.decay else rule


def _parameters(work: Work) -> Any:
    """``(W, b)`` of every layer, with scale and shift of what normalizes a hidden one."""
    layers = work.weights()
    if not work.norm:
        return layers
    ends = [(w, b, np.ones_like(b), np.zeros_like(b)) for w, b in layers[:-1]]
    return [*ends, layers[-1]]


def _normalized(work: Work, x: jax.Array, scale: jax.Array, shift: jax.Array) -> jax.Array:
    """By row or by column of the batch; nobody keeps running statistics, which others do."""
    axis = 1 if work.norm == "layernorm" else 0
    mean, variance = x.mean(axis, keepdims=True), x.var(axis, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * scale + shift


_ACTIVATIONS = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "gelu": partial(jax.nn.gelu, approximate=False),
}


def _loss(work: Work, parameters: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    activation = _ACTIVATIONS[work.activation]
    for i, (w, b, *norm) in enumerate(parameters[:-1]):
        h = activation(x @ w + b)
        x = x + h if work.adds_input(i) else h
        x = _normalized(work, x, *norm) if norm else x
    w, b = parameters[-1]
    x = x @ w + b
    if work.loss == "mse":
        return jnp.mean((x - y) ** 2)
    return optax.softmax_cross_entropy_with_integer_labels(x, y).mean()


def _step(
    work: Work, optimizer: Any, state: State, x: jax.Array, y: jax.Array, rows: jax.Array
) -> tuple[State, jax.Array]:
    parameters, memory = state
    x, y = (a.at[rows].get(mode="promise_in_bounds") for a in (x, y))
    loss, gradient = jax.value_and_grad(partial(_loss, work))(parameters, x, y)
    updates, memory = optimizer.update(gradient, memory, parameters)
    return (optax.apply_updates(parameters, updates), memory), loss


def _epoch(
    step: Any, state: State, x: jax.Array, y: jax.Array, order: jax.Array
) -> tuple[State, jax.Array]:
    return jax.lax.scan(lambda carried, rows: step(carried, x, y, rows), state, order)
