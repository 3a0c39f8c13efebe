"""One function for each contestant: it prepares, and gives a turn that returns the loss."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from .problem import LEARNING_RATE, STEPS, VISCOSITY, WIDTHS, points, weights

Turn = Callable[[], float]
Derivatives = Callable[[Callable[..., Any], Any], tuple[Any, Any, Any]]


def fastprop(count: int, threads: int) -> Turn:
    """``fp.compile``, one call a step."""
    import fastprop as fp
    from fastprop import nn, optim

    layers = [nn.Dense(i, o, "tanh") for i, o in pairwise(WIDTHS[:-1])]
    net = nn.Sequential(*layers, nn.Dense(WIDTHS[-2], 1))
    for layer, (w, b) in zip(net.children(), weights(), strict=True):
        layer.weight.data, layer.bias.data = w, b
    optimizer = optim.Adam(net.parameters(), lr=LEARNING_RATE)

    @fp.compile(threads=threads)
    def step(inside: Any, edge: Any, values: Any) -> Any:
        u = net(inside)
        first = fp.grad(u.sum(), inside, create_graph=True)
        u_x, u_t = first[:, 0:1], first[:, 1:2]
        u_xx = fp.grad(u_x.sum(), inside, create_graph=True)[:, 0:1]
        residual = u_t + u * u_x - VISCOSITY * u_xx
        loss = (residual**2).mean() + ((net(edge) - values) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    inside, edge, values = points(count)
    x = fp.tensor(inside, requires_grad=True)

    def turn() -> float:
        for _ in range(STEPS):
            loss = step(x, edge, values)
        return float(loss)

    return turn


def torch(count: int, threads: int) -> Turn:
    """PyTorch, eager, with its fused Adam."""
    import torch as t

    t.set_num_threads(threads)
    modules: list[Any] = []
    for w, b in weights():
        linear = t.nn.Linear(*w.shape)
        linear.weight.data, linear.bias.data = t.tensor(w.T.copy()), t.tensor(b)
        modules += [linear, t.nn.Tanh()]
    net = t.nn.Sequential(*modules[:-1])
    optimizer = t.optim.Adam(net.parameters(), lr=LEARNING_RATE, fused=True)
    inside, edge, values = map(t.tensor, points(count))
    inside.requires_grad_()

    def turn() -> float:
        for _ in range(STEPS):
            u = net(inside)
            first = t.autograd.grad(u.sum(), inside, create_graph=True)[0]
            u_x, u_t = first[:, 0:1], first[:, 1:2]
            u_xx = t.autograd.grad(u_x.sum(), inside, create_graph=True)[0][:, 0:1]
            residual = u_t + u * u_x - VISCOSITY * u_xx
            loss = (residual**2).mean() + ((net(edge) - values) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return float(loss)

    return turn


def _jax(count: int, derivatives: Derivatives) -> Turn:
    """All steps of a turn inside one jitted ``lax.scan``."""
    import jax
    import jax.numpy as jnp
    import optax  # type: ignore[import-untyped]

    def network(parameters: Any, x: Any) -> Any:
        for w, b in parameters[:-1]:
            x = jnp.tanh(x @ w + b)
        w, b = parameters[-1]
        return x @ w + b

    optimizer = optax.adam(LEARNING_RATE)
    inside, edge, values = map(jnp.array, points(count))

    def loss(parameters: Any) -> Any:
        u, first, u_xx = derivatives(lambda x: network(parameters, x)[:, 0], inside)
        residual = first[:, 1] + u * first[:, 0] - VISCOSITY * u_xx
        return (residual**2).mean() + ((network(parameters, edge) - values) ** 2).mean()

    def step(state: Any, _: Any) -> Any:
        parameters, moments = state
        value, gradient = jax.value_and_grad(loss)(parameters)
        updates, moments = optimizer.update(gradient, moments, parameters)
        return (optax.apply_updates(parameters, updates), moments), value

    epoch = jax.jit(lambda state: jax.lax.scan(step, state, None, length=STEPS))
    parameters = [(jnp.array(w), jnp.array(b)) for w, b in weights()]
    state = (parameters, optimizer.init(parameters))

    def turn() -> float:
        nonlocal state
        state, losses = epoch(state)
        return float(losses[-1])

    return turn


def jax_reverse(count: int, threads: int) -> Turn:
    """JAX, both derivatives in reverse mode, as the other contestants do it."""
    import jax

    def derivatives(u: Callable[..., Any], x: Any) -> tuple[Any, Any, Any]:
        first = jax.grad(lambda z: u(z).sum())
        return u(x), first(x), jax.grad(lambda z: first(z)[:, 0].sum())(x)[:, 0]

    return _jax(count, derivatives)


def jax_mixed(count: int, threads: int) -> Turn:
    """JAX, the second derivative in forward mode over the first in reverse mode."""
    import jax
    import jax.numpy as jnp

    def derivatives(u: Callable[..., Any], x: Any) -> tuple[Any, Any, Any]:
        along_x = jnp.zeros_like(x).at[:, 0].set(1.0)
        first, second = jax.jvp(jax.grad(lambda z: u(z).sum()), (x,), (along_x,))
        return u(x), first, second[:, 0]

    return _jax(count, derivatives)


CONTESTANTS: dict[str, tuple[str, Callable[[int, int], Turn]]] = {
    "fastprop": ("fastprop, fp.compile", fastprop),
    "torch": ("PyTorch, eager", torch),
    "jax_reverse": ("JAX, scan, reverse over reverse", jax_reverse),
    "jax_mixed": ("JAX, scan, forward over reverse", jax_mixed),
}


def tolerance(value: float) -> float:
    """How far a loss may lie from the reference after some steps: sums in float32, amplified."""
    return 1e-3 * np.abs(value)
