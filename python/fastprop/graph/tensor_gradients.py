"""Which derivatives a Tensor records, the one that it got, and what is called with that."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastprop.graph.hooks import RETAIN, Hook, HookHandle, check_gradient, keep_gradient

if TYPE_CHECKING:
    from fastprop.graph.op import Op
    from fastprop.graph.tensor import Tensor


class TensorGradients:
    """The part of a Tensor that :meth:`Tensor.backward` fills and looks at."""

    __slots__ = ("_grad", "_requires_grad", "hooks")

    hooks: dict[int, Hook] | None
    _grad: Tensor | None
    _requires_grad: bool

    if TYPE_CHECKING:
        shape: tuple[int, ...]
        dtype: np.dtype[Any]
        op: Op | None

    @property
    def requires_grad(self) -> bool:
        """Whether derivatives by this Tensor are recorded; of a leaf it may be set."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    @property
    def grad(self) -> Tensor | None:
        """What :meth:`backward` has added up; may be set to ``None`` or to a Tensor."""
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            check_gradient("Tensor.grad: expects", value, self)
        self._grad = value

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> HookHandle:
        """Call ``hook(gradient)`` when the derivative by this Tensor is complete.

        What the hook returns, unless ``None``, takes the place of the gradient, here and further
        back. ``remove()`` of the handle ends that.

        Raises:
            RuntimeError: This Tensor does not require a gradient.
            TypeError: `hook` cannot be called.
        """
        if not callable(hook):
            raise TypeError(f"Tensor.register_hook: expects a function, got {type(hook).__name__}")
        if not self.requires_grad:
            raise RuntimeError("Tensor.register_hook: this Tensor does not require a gradient")
        if self.hooks is None:
            self.hooks = {}
        return HookHandle(self.hooks, lambda _, gradient: hook(gradient))

    def retain_grad(self) -> None:
        """Have :meth:`backward` fill ``grad`` although this Tensor is the result of an op."""
        if not self.requires_grad:
            raise RuntimeError("Tensor.retain_grad: this Tensor does not require a gradient")
        if self.op is not None:
            self.hooks = {**(self.hooks or {}), RETAIN: keep_gradient}

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Start or stop to record derivatives by this leaf.

        Raises:
            RuntimeError: It is the result of an op.
            TypeError: It is an integer Tensor.
        """
        if self.op is not None and requires_grad is not self._requires_grad:
            raise RuntimeError("Tensor.requires_grad: only leaves can be changed; use detach()")
        if not isinstance(requires_grad, bool):
            raise TypeError(f"Tensor.requires_grad: must be True or False, got {requires_grad!r}")
        if requires_grad:
            self._check_can_require_grad()
        self._requires_grad = requires_grad
        return self  # type: ignore[return-value]

    def _check_can_require_grad(self) -> None:
        if self.dtype.kind != "f":
            raise TypeError(f"Tensor: only float Tensors can require a gradient, got {self.dtype}")
