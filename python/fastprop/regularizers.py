r"""Penalties on weights, which a Trainer adds to the loss, and constraints, which it restores.

``Trainer(model, loss, optimizer, penalty=L2(1e-4), constraint=MaxNorm(3.0))``. Both concern the
weights of the whole model, that is every parameter with two axes or more that is not frozen; biases
and the scales of normalizations are left alone. ``of=`` picks modules or parameters instead, as
objects or by their names in the model:

``penalty=[L2(1e-4, of=model[0]), L1(1e-5, of="2.weight")]``

A penalty is part of the loss and of its gradient, so it is in the losses that are reported;
decoupled weight decay (``optim.AdamW``) is not. A function ``model -> scalar Tensor`` of your own
is a penalty as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fastprop import functional as F
from fastprop.checks import real_number
from fastprop.graph.effects import effect
from fastprop.graph.op import grad_mode
from fastprop.graph.ops_reduction import sum_squares
from fastprop.graph.parameter import Parameter
from fastprop.graph.tensor import Tensor
from fastprop.nn import Module
from fastprop.registry import lookup, type_name

Item = Module | Parameter | str
Of = Item | Sequence[Item] | None

__all__ = ["ElasticNet", "L1", "L2", "MaxNorm"]


class _OfWeights:
    """What penalties and constraints share: which weights they are about.

    Attributes:
        of: Modules, parameters and names of such in the model; or ``None`` for all of it.
    """

    def __init__(self, of: Of) -> None:
        self.of: tuple[Item, ...] | None = None
        self._names: list[str] | None = None  # of those in `of`, in the model that it is used for
        if of is not None:
            self.of = (of,) if isinstance(of, Module | Parameter | str) else tuple(of)
            for item in self.of:
                if not isinstance(item, Module | Parameter | str):
                    raise TypeError(
                        f"{type_name(self)}: of must be modules, parameters or their names, "
                        f"got {type_name(item)}"
                    )

    def weights(self, model: Module) -> list[Parameter]:
        """The parameters of `model` that are meant and not frozen, each once.

        Raises:
            ValueError: A name that is not the model's.
        """
        found = {id(p): p for p in self._candidates(model) if p.requires_grad}
        return list(found.values())

    def _candidates(self, model: Module) -> Iterator[Parameter]:
        for item in (model,) if self.of is None else self.of:
            given = _named(type_name(self), model, item) if isinstance(item, str) else item
            if isinstance(given, Parameter):
                yield given
            else:
                yield from (p for p in given.parameters() if p.ndim >= 2)

    def bind(self, where: str, model: Module) -> None:
        """Refuse what is not about `model`.

        Raises:
            ValueError: There are no such weights, or they are another model's.
        """
        own = {id(p) for p in model.parameters()}
        candidates = list(self._candidates(model))
        if not candidates:
            raise ValueError(f"{where}: {self!r} finds no parameter with two axes or more")
        for parameter in candidates:
            if id(parameter) not in own:
                raise ValueError(
                    f"{where}: {type_name(self)} is of a parameter of shape {parameter.shape} that "
                    "is not the model's"
                )
        names = {id(item): name for name, item in _items(model).items()}
        if self.of is not None:
            self._names = [i if isinstance(i, str) else names[id(i)] for i in self.of]

    def config(self) -> dict[str, Any]:
        """The arguments that make one like this, with names for `of` once a Trainer has it."""
        return {} if self.of is None else {"of": self._names or list(self.of)}


def _items(model: Module) -> dict[str, Module | Parameter]:
    """Modules and parameters by their names."""
    return {**dict(model.named_modules()), **dict(model.named_parameters())}


def _named(where: str, model: Module, name: str) -> Module | Parameter:
    known = {label: item for label, item in _items(model).items() if label}
    return lookup(where, "module or parameter", name, known)


class ElasticNet(_OfWeights):
    r"""Both penalties, :math:`\lambda_1 \sum |w| + \lambda_2 \sum w^2` (Zou & Hastie 2005).

    Args:
        l1: :math:`\lambda_1`, 0 or more.
        l2: :math:`\lambda_2`, 0 or more; its gradient is :math:`2 \lambda_2 w`.
        of: Modules, parameters, or their names; ``None`` for the model.

    Raises:
        ValueError: A strength that is negative or not finite.
        TypeError: A strength that is no number, or another `of`.
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0, of: Of = None) -> None:
        super().__init__(of)
        self.l1 = real_number(type_name(self), "l1", l1)
        self.l2 = real_number(type_name(self), "l2", l2)

    def __call__(self, model: Module) -> Tensor:
        """The penalty as a scalar Tensor."""
        total: Tensor | None = None
        weights = self.weights(model) if self.l1 or self.l2 else []
        for weight in weights:
            rows = weight if weight.ndim else F.reshape(weight, (1,))
            part = F.sum(F.elastic_net_rows(rows, self.l1, self.l2))
            total = part if total is None else total + part
        return Tensor(np.zeros((), model.parameter_dtype())) if total is None else total

    def config(self) -> dict[str, Any]:
        return {"l1": self.l1, "l2": self.l2, **super().config()}

    def __repr__(self) -> str:
        return f"{type_name(self)}(l1={self.l1:g}, l2={self.l2:g})"


class L1(ElasticNet):
    r"""Absolute values, :math:`\lambda \sum |w|`: makes many weights vanish (Tibshirani 1996).

    Args:
        strength: :math:`\lambda`, 0 or more.
        of: Modules, parameters, or their names; ``None`` for the model.

    Raises:
        ValueError: A strength that is negative or not finite.
        TypeError: A strength that is no number, or another `of`.
    """

    def __init__(self, strength: float = 0.01, of: Of = None) -> None:
        super().__init__(l1=strength, of=of)

    def config(self) -> dict[str, Any]:
        return {"strength": self.l1, **_OfWeights.config(self)}

    def __repr__(self) -> str:
        return f"L1({self.l1:g})"


class L2(ElasticNet):
    r"""Squares, :math:`\lambda \sum w^2`: keeps weights small (ridge, Hoerl & Kennard 1970).

    The gradient is :math:`2 \lambda w`, so for plain SGD ``L2(s)`` is ``weight_decay=2 * s``.

    Args:
        strength: :math:`\lambda`, 0 or more.
        of: Modules, parameters, or their names; ``None`` for the model.

    Raises:
        ValueError: A strength that is negative or not finite.
        TypeError: A strength that is no number, or another `of`.
    """

    def __init__(self, strength: float = 0.01, of: Of = None) -> None:
        super().__init__(l2=strength, of=of)

    def config(self) -> dict[str, Any]:
        return {"strength": self.l2, **_OfWeights.config(self)}

    def __repr__(self) -> str:
        return f"L2({self.l2:g})"


class MaxNorm(_OfWeights):
    r"""After each update, no unit's incoming weights are longer than :math:`c`.

    A column :math:`w` of a weight ``[in, out]`` becomes :math:`w \min(1, c / \|w\|_2)`; of a weight
    with more axes, what belongs to one index of the last axis. Srivastava et al., "Dropout", JMLR
    15, 2014.

    Args:
        max_norm: :math:`c`, positive.
        of: Modules, parameters, or their names; ``None`` for the model.

    Raises:
        ValueError: A norm that is not positive and finite.
        TypeError: A norm that is no number, or another `of`.
    """

    def __init__(self, max_norm: float = 3.0, of: Of = None) -> None:
        super().__init__(of)
        self.max_norm = real_number("MaxNorm", "max_norm", max_norm, above=True)

    def __call__(self, model: Module) -> None:
        """Shorten the weights that are too long; while tracing, in every step."""
        for weight in self.weights(model):
            with grad_mode(False):
                # Threads share the units, not their rows: that axis must be the first one.
                norms = F.sqrt(sum_squares(weight, axis=tuple(range(weight.ndim - 1))))
                least = float(np.finfo(weight.dtype).tiny)
                share = F.minimum(self.max_norm / F.maximum(norms, least), 1.0)
                effect("mul", [weight, share], [weight])  # in place: no pass to copy it back

    def config(self) -> dict[str, Any]:
        return {"max_norm": self.max_norm, **super().config()}

    def __repr__(self) -> str:
        return f"MaxNorm({self.max_norm:g})"
