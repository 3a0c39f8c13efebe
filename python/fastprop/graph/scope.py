"""For which module and which part of a step an op is recorded.

Only symbolic Tensors remember it, so that the speed report can say where the time goes in the
user's own terms. Tracing takes no measurably longer for it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from fastprop.nn import Module


class Scope(NamedTuple):
    """What is recorded belongs to.

    Attributes:
        module: A module, or ``None``.
        phase: ``"forward"``, ``"backward"``, ``"loss"``, ``"metrics"`` or ``"update"``.
        when: Which of the step's numbers must not be 0 for it to be done; -1 for always.
    """

    module: Module | None
    phase: str
    when: int = -1


SCOPE: ContextVar[Scope | None] = ContextVar("scope", default=None)

current_scope: Callable[[], Scope | None] = SCOPE.get


class scoped:
    """A block: what is recorded inside belongs to `scope`; after it all is as before."""

    def __init__(self, scope: Scope | None) -> None:
        self._scope = scope

    def __enter__(self) -> None:
        self._token = SCOPE.set(self._scope)

    def __exit__(self, *error: object) -> None:
        SCOPE.reset(self._token)


def differentiate(of: Scope) -> None:
    """What is recorded from now on, in this block, is the derivative of what `of` recorded."""
    SCOPE.set(Scope(of.module, "backward") if of.phase == "forward" else of)
