"""L-BFGS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprop.checks import integer
from fastprop.graph.op import grad_mode
from fastprop.graph.tensor import Tensor
from fastprop.optim.groups import Parameters, ParamGroup
from fastprop.optim.hyper import Choice, Count, LearningRate, Number
from fastprop.optim.line_search import Point, strong_wolfe
from fastprop.optim.python_step import NonFiniteLoss, PythonOptimizer

Array = NDArray[Any]


class LBFGS(PythonOptimizer):
    r"""L-BFGS: Newton's method with a Hessian that is estimated from the latest gradients.

    One step is up to `max_iter` iterations, each along :math:`-H g` with :math:`H` from the latest
    `history_size` differences of gradients and parameters; all rows in every step. It evaluates the
    loss several times a step: ``Trainer.fit(…, batch_size=None)`` does that, and so does
    ``step(closure)`` as in PyTorch.

    Example:
        >>> optimizer = optim.LBFGS(model.parameters(), line_search_fn="strong_wolfe")
        >>> def closure():
        ...     optimizer.zero_grad()
        ...     loss = losses.mse(model(x), y)
        ...     loss.backward()
        ...     return loss
        >>> optimizer.step(closure)

    Args:
        params: Tensors to train, in one group; None if a Trainer will bind them.
        lr: How far along the direction: at first, or always without a line search.
        max_iter: Iterations of a step at most.
        max_eval: Evaluations of a step at most; 5/4 of `max_iter` if None.
        tolerance_grad: A step ends where no element of the gradient is larger.
        tolerance_change: A step ends where parameters or loss change less.
        history_size: Differences that are kept; they take ``2 * history_size`` times the memory of
            the parameters.
        line_search_fn: ``"strong_wolfe"``, or None for steps of `lr`.

    Raises:
        ValueError: A number out of its range; several groups; parameters of different dtypes.
        TypeError: Something that is no number or no parameter.

    Liu & Nocedal, "On the limited memory BFGS method for large scale optimization", Math.
    Programming 1989. PyTorch's rules for first steps and for ending. Where the loss is not finite,
    the line search goes back; without one that is an error, with the parameters as before.
    """

    full_batch = True

    max_iter = Count(1)
    max_eval = Count(1)
    tolerance_grad = Number()
    tolerance_change = Number()
    history_size = Count(size=True)
    line_search_fn = Choice(None, "strong_wolfe")

    def __init__(
        self,
        params: Parameters | None = None,
        lr: LearningRate = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        if max_eval is None:
            max_eval = max(1, integer("LBFGS", "max_iter", max_iter, 1) * 5 // 4)
        super().__init__(
            params,
            lr=lr,
            max_iter=max_iter,
            max_eval=max_eval,
            tolerance_grad=tolerance_grad,
            tolerance_change=tolerance_change,
            history_size=history_size,
            line_search_fn=line_search_fn,
        )

    # -- state: of all parameters together ---

    def _check_groups(self, groups: list[ParamGroup]) -> None:
        if len(groups) != 1 or groups[0].own:
            raise ValueError(f"LBFGS: takes all parameters in one group, got {len(groups)}")
        dtypes = sorted({str(p.dtype) for p in groups[0].params})
        if len(dtypes) > 1:
            raise ValueError(f"LBFGS: takes parameters of one dtype, got {' and '.join(dtypes)}")

    def _state_names(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        return ("direction", "gradient", "changes", "moves", "numbers")

    def _state_like(self, name: str) -> list[Array]:
        size, dtype = sum(p.size for p in self.parameters), self.parameters[0].dtype
        if name == "numbers":
            return [np.empty(len(_Memory.NAMES) + self.history_size)]
        shape = (self.history_size, size) if name in ("changes", "moves") else (size,)
        return [np.empty(shape, dtype)]

    # -- steps ---

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor:  # type: ignore[override]
        """Up to `max_iter` iterations.

        Args:
            closure: Clears the gradients, computes the loss, calls ``backward()`` and returns the
                loss.

        Returns:
            The loss before the step.

        Raises:
            TypeError: No closure, or one that gives no Tensor of one number.
            FloatingPointError: The loss is not finite.
            RuntimeError: There are no parameters yet, or the call is in a compiled function.
        """
        if closure is None or not callable(closure):
            raise TypeError(
                "LBFGS.step: needs a function that computes the loss and its gradients, as "
                f"step(closure), got {closure!r}"
            )
        self._check_eager()
        losses: list[Tensor] = []

        def evaluate() -> float:
            with grad_mode(True):
                loss = closure()
            if not isinstance(loss, Tensor) or loss.size != 1:
                raise TypeError(f"LBFGS.step: closure must return the loss, got {loss!r}")
            losses.append(loss)
            self.gradients = [p.grad for p in self.parameters]
            return float(loss.item())

        self.advance(evaluate, float(self.learning_rates(self.steps, 1)[0]))
        self.steps += 1
        return losses[0]

    def advance(self, evaluate: Callable[[], float], rate: float) -> None:
        loss = evaluate()
        if not np.isfinite(loss):
            raise NonFiniteLoss(f"LBFGS: the loss is {loss}")
        memory = _Memory(self.state, self.history_size)
        memory.evaluations += 1
        point = Point(0.0, loss, 0.0, self._flat_gradient())
        evaluations = 1
        for iteration in range(1, self.max_iter + 1):
            if _largest(point.gradient) <= self.tolerance_grad:
                break
            memory.look(point.gradient, point.loss)
            t = rate
            if memory.iterations == 1:
                t *= min(1.0, 1.0 / _dot(np.abs(point.gradient), np.ones_like(point.gradient)))
            before = point._replace(t=0.0, slope=_dot(point.gradient, memory.direction))
            if before.slope > -self.tolerance_change:
                break
            point, used = self._search(
                evaluate, before, t, memory, self.max_eval - evaluations, iteration
            )
            memory.length = point.t
            evaluations += used
            memory.evaluations += used
            if evaluations >= self.max_eval:
                break
            if _largest(memory.direction) * point.t <= self.tolerance_change:
                break
            if abs(point.loss - before.loss) < self.tolerance_change:
                break

    def _search(
        self,
        evaluate: Callable[[], float],
        before: Point,
        t: float,
        memory: _Memory,
        most: int,
        iteration: int,
    ) -> tuple[Point, int]:
        """Moves the parameters along the direction; where that ends, and how often it looked."""
        start = [p.data.copy() for p in self.parameters]

        def look(t: float) -> Point:
            self._move(start, memory.direction, t)
            loss, gradient = evaluate(), self._flat_gradient()
            return Point(t, loss, _dot(gradient, memory.direction), gradient)

        try:
            if self.line_search_fn is not None:
                smallest = self.tolerance_change / _largest(memory.direction)
                point, used = strong_wolfe(look, before, t, smallest, most)
                self._move(start, memory.direction, point.t)
                return point, used
            if iteration == self.max_iter:  # nobody asks for the loss there
                self._move(start, memory.direction, t)
                return before._replace(t=t), 0
            point = look(t)
            if not np.isfinite(point.loss):
                raise NonFiniteLoss(
                    f"LBFGS: the loss is {point.loss} after a step of lr {t:g}; the parameters are "
                    'as before that step. A smaller lr, or line_search_fn="strong_wolfe", helps'
                )
        except BaseException:
            self._move(start, memory.direction, 0.0)
            raise
        return point, 1

    def _move(self, start: list[Array], direction: Array, t: float) -> None:
        first = 0
        for parameter, origin in zip(self.parameters, start, strict=True):
            part = direction[first : first + origin.size].reshape(origin.shape)
            parameter.data = origin + part * t if t else origin
            first += origin.size

    def _flat_gradient(self) -> Array:
        return np.concatenate(
            [
                np.zeros(p.size, p.dtype) if g is None else g.data.ravel()
                for p, g in zip(self.parameters, self.gradients, strict=True)
            ]
        )


class _Memory:
    """The arrays that go on from step to step, and the estimate of the Hessian in them."""

    NAMES = ("iterations", "evaluations", "count", "newest", "length", "scale", "loss")

    iterations: float
    evaluations: float
    count: float  # pairs that are kept
    newest: float  # where the latest pair is
    length: float  # of the latest move, in directions
    scale: float  # of the first estimate
    loss: float  # before the latest move

    def __init__(self, state: Mapping[str, list[Array]], size: int) -> None:
        (self.direction,), (self._gradient,) = state["direction"], state["gradient"]
        (self._changes,), (self._moves,), (numbers,) = (
            state[name] for name in ("changes", "moves", "numbers")
        )
        self.__dict__["_numbers"] = numbers
        self._products = numbers[len(self.NAMES) :]  # 1 / (change · move)
        self._size = size

    def __getattr__(self, name: str) -> float:
        return float(self.__dict__["_numbers"][self.NAMES.index(name)])

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.NAMES:
            self.__dict__["_numbers"][self.NAMES.index(name)] = value
        else:
            self.__dict__[name] = value

    def look(self, gradient: Array, loss: float) -> None:
        """Sets :attr:`direction` for the gradient where the latest move led."""
        self.iterations += 1
        if self.iterations == 1:
            self.direction[...] = -gradient
            self.scale = 1.0
        else:
            self._add(gradient - self._gradient, self.direction * self.length)
            self.direction[...] = self._newton(gradient)
        self._gradient[...] = gradient
        self.loss = loss

    def _add(self, change: Array, move: Array) -> None:
        product = _dot(change, move)
        if not product > 1e-10:
            return
        place = int(self.newest + 1) % self._size if self.count else 0
        self._changes[place], self._moves[place] = change, move
        self._products[place] = 1.0 / product
        self.newest, self.count = place, min(self.count + 1, self._size)
        self.scale = product / _dot(change, change)

    def _newton(self, gradient: Array) -> Array:
        """Minus the estimated inverse Hessian times the gradient: the two loops of the paper."""
        places = [int(self.newest - k) % self._size for k in range(int(self.count))]
        q, factors = -gradient, {}
        for place in places:
            factors[place] = _dot(self._moves[place], q) * float(self._products[place])
            q -= factors[place] * self._changes[place]
        q *= self.scale
        for place in reversed(places):
            factor = _dot(self._changes[place], q) * float(self._products[place])
            q += (factors[place] - factor) * self._moves[place]
        return q


def _dot(a: Array, b: Array) -> float:
    """By the library's own kernels: BLAS may sum in another order on more threads."""
    return float((Tensor(a) * Tensor(b)).sum().item())


def _largest(x: Array) -> float:
    return float(np.abs(x).max())
