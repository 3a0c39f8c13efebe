"""Gradients of several batches, added up before one update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastprop.graph.effects import effect
from fastprop.graph.parameter import Buffer
from fastprop.graph.scope import Scope, scoped
from fastprop.graph.storage import flat_views
from fastprop.graph.tensor import Tensor
from fastprop.graph.trace import Trace
from fastprop.optim.around import Around
from fastprop.optim.hyper import Count, HasHyper, LearningRate
from fastprop.optim.optimizer import Control, Optimizer
from fastprop.optim.rates import Tempo
from fastprop.optim.state import checked_arrays
from fastprop.registry import type_name


class Accumulate(Around):
    r"""An optimizer that updates once for several batches, with the mean of their gradients.

    .. math:: g = \frac{1}{k} \sum_{i=1}^{k} g_i

    A batch of :math:`k \cdot n` rows needs the memory of one of :math:`n` then. What a Trainer
    does to gradients (``clip=``) and after updates is done to the mean, once an update. Steps are
    batches: :attr:`steps` and a checkpoint count those; a Schedule counts updates.

    Example:
        >>> optimizer = optim.Accumulate(optim.Adam(lr=1e-3), 4)
        >>> fp.Trainer(model, "mse", optimizer).fit(x, y, batch_size=32)  # updates of 128 rows

    Args:
        optimizer: What updates.
        count: :math:`k`, batches for an update, at least 1. It has to divide the number of batches
            of an epoch.

    Raises:
        TypeError: `optimizer` is none, or one that has no compiled step; `count` is no integer.
        ValueError: `count` is below 1.
    """

    op = "accumulate_gradient"
    hyper_parameters: ClassVar[tuple[str, ...]] = ("count",)
    outermost = True  # what is in it sees updates, not batches

    count = Count(1)

    def __init__(self, optimizer: Optimizer, count: int) -> None:
        super().__init__(optimizer, "gradients are added up by the compiled step")
        HasHyper.__init__(self, count=count)
        self._done = optimizer.steps * self.count
        self._given: set[int] = set()  # parameters that had a gradient since the latest update
        if optimizer.parameters:
            self._add_state()

    @property
    def state_names(self) -> tuple[str, ...]:
        return ("gradient_sum",)

    def _add_state(self) -> None:
        if not self.state:
            self.state["gradient_sum"] = flat_views([p.data for p in self.parameters])

    # -- steps ---

    @property
    def steps(self) -> int:
        """Batches done so far."""
        return self._done

    @steps.setter
    def steps(self, value: int) -> None:
        self._done = value
        self.optimizer.steps = value // self.count

    def learning_rates(self, first_step: int, count: int) -> NDArray[np.float64]:
        updates = self.updates(first_step, count)
        rates = self.optimizer.learning_rates(int(updates[0]), int(updates[-1] - updates[0]) + 1)
        return rates[updates - updates[0]]

    def updates(self, first_step: int, count: int) -> NDArray[np.int64]:
        return np.arange(first_step, first_step + max(count, 1), dtype=np.int64) // self.count

    def step_scalars(
        self,
        first_step: int,
        count: int,
        learning_rates: NDArray[np.float64] | Tempo | None = None,
    ) -> NDArray[np.float64]:
        updates = self.updates(first_step, count)
        first, number = int(updates[0]), int(updates[-1] - updates[0]) + 1

        def of_updates(given: NDArray[np.float64]) -> NDArray[np.float64]:
            rates = np.empty(number)
            rates[updates - first] = given  # of an update that of its last step
            return rates

        def tempo(lr: LearningRate, *_: int) -> NDArray[np.float64] | None:
            assert callable(learning_rates)
            given = learning_rates(lr, first_step, len(updates))
            return None if given is None else of_updates(given)

        rates: NDArray[np.float64] | Tempo | None = learning_rates
        if rates is not None:
            rates = tempo if callable(rates) else of_updates(rates)
        rows = self.optimizer.step_scalars(first, number, rates)[updates - first]
        place = np.arange(first_step, first_step + len(updates)) % self.count
        own = [place > 0, np.full(len(place), 1.0 / self.count), place == self.count - 1]
        # concatenate makes columns of columns, and a Program reads rows.
        both = np.ascontiguousarray(np.concatenate([rows, np.stack(own, axis=1)], axis=1)[:count])
        both.flags.writeable = False
        return both

    def _step_now(self) -> None:
        self._add_state()
        place, sums = self._done % self.count, self.state["gradient_sum"]
        if place == 0:
            self._given.clear()
        before = [p.grad for p in self.parameters]
        for i, gradient in enumerate(before):
            if gradient is not None:  # the first one of an update takes the place of the old sum
                own = [float(i in self._given), 1.0 / self.count]
                effect(self.op, [gradient], [sums[i]], {}, own)
                self._given.add(i)
        if place == self.count - 1:
            for i, parameter in enumerate(self.parameters):
                parameter.grad = Tensor(sums[i]) if i in self._given else None
            self.optimizer.step()
            for parameter, gradient in zip(self.parameters, before, strict=True):
                parameter.grad = gradient
        self._done += 1

    def record(
        self,
        trace: Trace,
        gradients: Sequence[Tensor | None],
        control: Control | None = None,
        after: Any = None,
    ) -> None:
        self.look_at_frozen()
        start = trace.step_numbers(self)
        own = trace.width - 3
        totals: list[Tensor | None] = []
        for gradient, total in zip(gradients, self.state["gradient_sum"], strict=True):
            totals.append(None if gradient is None else Buffer.over(total))
            if gradient is not None:
                effect(self.op, [gradient], [total], {}, own)
        with scoped(Scope(None, "update", own + 2)):
            found = totals if control is None else control(totals)
            self.optimizer._record(found, start, own - start)
            if after is not None:
                after()

    # -- saving ---

    def config(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer, "count": self.count}

    def state_dict(self, copy: bool = True) -> dict[str, Any]:
        """``{"type", "count", "steps", "state", "optimizer"}``; the last is :attr:`optimizer`'s.

        Args:
            copy: Arrays are copies; else the arrays themselves, which training goes on to change.
        """
        sums = [a.copy() if copy else a for a in self.state.get("gradient_sum", [])]
        return {
            "type": type_name(self),
            "count": self.count,
            "steps": self._done,
            "state": {"gradient_sum": sums},
            "optimizer": self.optimizer.state_dict(copy),
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        where = f"{type_name(self)}.load_state_dict"
        try:
            kind, count, steps, state, inner = (
                saved[key] for key in ("type", "count", "steps", "state", "optimizer")
            )
        except (KeyError, TypeError, IndexError):
            raise ValueError(f"{where}: expects what state_dict gave") from None
        if kind != type_name(self) or count != self.count:
            raise ValueError(f"{where}: this is the state of {kind} of {count} batches")
        arrays = checked_arrays(self, where, ("gradient_sum",), state)
        self.optimizer.load_state_dict(inner)
        for mine, value in zip(self.state["gradient_sum"], arrays["gradient_sum"], strict=True):
            mine[...] = value
        self._done = int(steps)
        self._given = {i for i, a in enumerate(self.state["gradient_sum"]) if a.any()}

    def check_epoch(self, where: str, rows: int, batch: int) -> None:
        steps = -(-rows // batch)
        if steps % self.count:
            raise ValueError(
                f"{where}: an epoch of {rows} rows has {steps} batches of {batch}, which "
                f"{self.count} for each update do not divide; take another batch_size, or "
                "drop_last=True"
            )

    def __repr__(self) -> str:
        return f"{type_name(self)}({self.optimizer!r}, {self.count})"
