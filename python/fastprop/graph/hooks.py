"""Functions that are called with a Tensor's gradient during a backward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastprop.graph.op import now
from fastprop.registry import type_name

if TYPE_CHECKING:
    from fastprop.graph.tensor import Tensor

Hook = Callable[["Tensor", "Tensor"], "Tensor | None"]
"""``hook(tensor, gradient)``; what it returns, unless None, takes the gradient's place."""

RETAIN = 0
"""The number of the hook that keeps the gradient: one, and the last to be called."""


class HookHandle:
    """A hook on a Tensor's gradient, and the way to be rid of it."""

    def __init__(self, hooks: dict[int, Hook], hook: Hook) -> None:
        self._hooks, self._number = hooks, now()
        hooks[self._number] = hook

    def remove(self) -> None:
        """Do not call the hook any more."""
        self._hooks.pop(self._number, None)


def keep_gradient(tensor: Tensor, gradient: Tensor) -> None:
    """The hook behind ``retain_grad``."""
    tensor.grad = gradient if tensor.grad is None else tensor.grad + gradient


def call_hooks(tensor: Tensor, gradient: Tensor) -> Tensor:
    """The gradient as the Tensor's hooks, in the order of their registration, leave it.

    Raises:
        TypeError: A hook returns something else than a Tensor or None.
        ValueError: A hook returns a Tensor of another shape or dtype.
    """
    hooks = tensor.hooks or {}
    for number in sorted(hooks, key=lambda n: (n == RETAIN, n)):
        changed = hooks[number](tensor, gradient)
        if changed is None:
            continue
        check_gradient("hook: must return", changed, gradient)
        gradient = changed
    return gradient


def check_gradient(where: str, value: Any, like: Any) -> None:
    """Refuses what cannot be the gradient of a Tensor, or take the place of another one.

    Args:
        where: What is wanted by whom; starts the message.
        value: What was given.
        like: A Tensor of the shape and dtype that it must have.

    Raises:
        TypeError: It is no Tensor.
        ValueError: It has another shape or dtype.
    """
    if not hasattr(value, "spec"):
        raise TypeError(f"{where} a Tensor or None, got {type_name(value)}")
    if value.shape != like.shape or value.dtype != like.dtype:
        raise ValueError(
            f"{where} {like.dtype} {like.shape} as the Tensor itself, got {value.dtype} "
            f"{value.shape}"
        )
