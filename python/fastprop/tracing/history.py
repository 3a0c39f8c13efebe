"""Derivatives through a compiled function: its results remember the call that made them.

The rule of a call is a Program, too: the derivatives by what is wanted, from the values that the
call has saved. Where derivatives of these may be asked for, it is the function's graph once more,
as a checkpoint does it, with the derivatives behind it. That has results with a history of the same
kind, so derivatives of any order come by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastprop.graph.autodiff import NO_HISTORY, gradients_within
from fastprop.graph.op import Op, Spec, grad_mode, is_grad_enabled, now
from fastprop.graph.scope import scoped
from fastprop.graph.tensor import Tensor
from fastprop.graph.trace import Effect, TraceError, is_tracing, topological_order, tracing
from fastprop.tracing.capture import Graph
from fastprop.tracing.executable import Call, Executable
from fastprop.tracing.overwritten import freed_within, outdated, refuse_overwritten
from fastprop.tracing.saved import replacing, worth_saving

_KEPT = 16  # Programs for derivatives of one graph
_NOTHING = np.zeros(0, np.float32)


class Cotangents:
    """Derivatives by the results of a call, as far as they have arrived; the others are zero.

    They take the place of the derivative by one Tensor in a backward pass, so they add up as that
    does.
    """

    __slots__ = ("by_result",)

    _data = None  # nothing to look at, for detect_anomaly

    def __init__(self, by_result: dict[int, Tensor]) -> None:
        self.by_result = by_result

    def __add__(self, other: Cotangents) -> Cotangents:
        total = dict(self.by_result)
        for k, d in other.by_result.items():
            total[k] = total[k] + d if k in total else d
        return Cotangents(total)


class History:
    """How the results of a graph are connected to what they were computed from.

    Args:
        name: What errors call the function.
        graph: What was computed.
        results: Those that derivatives may be asked of.
        overwritten: What the function did beside.
        threads: Of the Programs; ``None`` chooses.
        saves: Whether calls may keep values for their derivatives.

    Attributes:
        saved: Values that a call has to keep for its derivatives. None before somebody has
            differentiated: who never does, pays nothing.
    """

    def __init__(
        self,
        name: str,
        graph: Graph,
        results: Sequence[Tensor],
        overwritten: Sequence[Effect],
        threads: int | None,
        *,
        saves: bool = False,
    ) -> None:
        self.saved: list[Tensor] = []
        self._saves = saves
        self._saver: Executable | None = None
        self._name = name
        self._graph = graph
        self._overwritten = overwritten
        self._threads = threads
        self._derivatives: dict[tuple[Any, ...], Derivative] = {}
        distinct = dict.fromkeys(t for t in results if t.symbolic and t.requires_grad)
        self._freed = freed_within(distinct, graph.trace.freed)
        freed = set(map(id, self._freed))
        others = [t for t in distinct if id(t) not in freed]
        self._late = outdated(others, overwritten)
        late = set(map(id, self._late))
        self._results = [t for t in others if id(t) not in late]
        # What to differentiate by: arguments, and Tensors from outside that the function read.
        self._sources = _sources(self._results)
        positions = {id(p): i for i, p in enumerate(graph.placeholders)}
        self._arguments = [positions.get(id(t)) for t in self._sources]
        self._op = Op(name, _unknown, self._pull)
        self._refusal = Op(name, _unknown, self._refuse)
        # Losses are added up over many steps: a history that nobody can use would add up, too.
        self._no_history = {
            NO_HISTORY: f"was differentiated inside of {name}, whose backward() gave its graph "
            "back; give that one retain_graph=True"
        }

    def __bool__(self) -> bool:
        return bool(self._results or self._freed or self._late)

    def connect(
        self, values: dict[int, Tensor], call: Call, saved: Sequence[np.ndarray[Any, Any]]
    ) -> None:
        """Let the values of results remember the call, and what it has saved."""
        for result in self._freed:
            values[id(result)].attrs = self._no_history
        for result in self._late:
            _remember(values[id(result)], self._refusal, (), {})
        if not self._results:
            return
        inputs = tuple(
            source if at is None else call.leaves[at]
            for source, at in zip(self._sources, self._arguments, strict=True)
        )
        if len(self._results) == 1:
            result = values[id(self._results[0])]
            _remember(result, self._op, inputs, {"call": call, "saved": saved})
            return
        node = Tensor.__new__(Tensor)
        node._set(_NOTHING, Spec(_NOTHING.shape, _NOTHING.dtype), True)
        _remember(node, self._op, inputs, {"call": call, "saved": saved})
        for i, result in enumerate(self._results):
            _remember(values[id(result)], _RESULT, (node,), {"index": i})

    def _refuse(self, dy: Tensor, y: Tensor, inputs: Sequence[Tensor], wanted: Any) -> list[Any]:
        raise RuntimeError(
            f"backward: the result of shape {y.shape} depends on a parameter that {self._name} "
            "changes after it has used it; differentiate inside of the function"
        )

    def _pull(
        self, dy: Tensor | Cotangents, y: Tensor, inputs: Sequence[Tensor], wanted: Sequence[bool]
    ) -> list[Any]:
        """The rule of a call: derivatives by its inputs, as far as they are wanted."""
        if is_tracing():
            raise TraceError(
                f"{self._name}: its result is differentiated while another function is being "
                "traced into a Program, which it came into from outside; call it inside, or take "
                "its result with detach()"
            )
        given = sorted(dy.by_result.items()) if isinstance(dy, Cotangents) else [(0, dy)]
        record = is_grad_enabled()
        looks = [(k, record and d.requires_grad) for k, d in given]
        key = (tuple(looks), tuple(wanted), record)
        derivative = self._derivatives.get(key)
        if derivative is None:
            derivative = self._derivative(*key)
            if len(self._derivatives) >= _KEPT:
                self._derivatives.pop(next(iter(self._derivatives)))
            self._derivatives[key] = derivative
        call: Call = y.attrs["call"]
        saved = y.attrs["saved"] if derivative.resumes else ()
        if derivative.resumes and not saved:  # it was made before anybody had differentiated
            saved = self.saver.run(call).saved
        return derivative(y, call, saved, [d for _, d in given])

    @property
    def saver(self) -> Executable:
        """The function once more, with what is saved, and without its effects."""
        if self._saver is None:
            self._saver = Executable(self._graph, self._threads, self.saved, effects=False)
        return self._saver

    def _derivative(
        self, given: tuple[tuple[int, bool], ...], wanted: tuple[bool, ...], record: bool
    ) -> Derivative:
        results = [self._results[k] for k, _ in given]
        sources = [t if flag else None for t, flag in zip(self._sources, wanted, strict=True)]
        pullback = Pullback(self._graph, results, [flag for _, flag in given], sources, record)
        saved: list[Tensor] = []
        if self._saves and not record:
            if not self.saved:
                full = pullback
                if len(results) < len(self._results) or not all(wanted):
                    every = [False] * len(self._results)
                    full = Pullback(self._graph, self._results, every, self._sources, False)
                self.saved = worth_saving(full.wanted, full.begun)
            saved = self.saved
        return Derivative(self._name, pullback, results, self._overwritten, self._threads, saved)


class Pullback(Graph):
    """Derivatives by sources, as a graph behind that of a function.

    Args:
        graph: Of the function.
        results: Of which derivatives are given: more arguments.
        differentiable: For each of them, whether these may be differentiated by.
        sources: What is differentiated by; ``None`` is left out.
        record: Whether the derivatives may be differentiated.

    Attributes:
        gradients: The derivatives: Tensors, or what stands for zero, as rules give them.
        recorded: `record`.
        begun: When it was made.
    """

    def __init__(
        self,
        graph: Graph,
        results: Sequence[Tensor],
        differentiable: Sequence[bool],
        sources: Sequence[Tensor | None],
        record: bool,
    ) -> None:
        given = [Tensor.placeholder(r.shape, r.dtype, batched=r.batched) for r in results]
        for placeholder, flag in zip(given, differentiable, strict=True):
            placeholder.requires_grad = flag
        super().__init__([*graph.placeholders, *given])
        self.recorded = record
        self.begun = now()
        wanted = [t for t in sources if t is not None]
        with tracing() as self.trace, grad_mode(record), scoped(None):
            found = iter(gradients_within("backward", results, wanted, given))
            self.gradients = [None if t is None else next(found) for t in sources]
            self.want(self.tensors)

    def resumed(self, saved: Sequence[Tensor]) -> Graph:
        """The same from what the function has saved: `gradients` are what they are there."""
        places = [Tensor.placeholder(t.shape, t.dtype, batched=t.batched) for t in saved]
        graph = Graph([*self.placeholders, *places])
        graph.trace = self.trace
        replaced = replacing({id(t): p for t, p in zip(saved, places, strict=True)})
        self.gradients = [replaced(g) if isinstance(g, Tensor) else g for g in self.gradients]
        graph.want(self.tensors)
        return graph

    @property
    def tensors(self) -> list[Tensor]:
        """The derivatives that are not zero."""
        return [g for g in self.gradients if isinstance(g, Tensor)]


class Derivative:
    """A pullback, as a Program whose results remember their call.

    Args:
        name: What errors call the function.
        pullback: The graph.
        results: Of the function, which are differentiated.
        overwritten: What the function did beside.
        threads: Of the Program; ``None`` chooses.
        saved: What a call has saved; with nothing, the function is repeated.

    Attributes:
        resumes: Whether it goes on from what a call has saved.
    """

    def __init__(
        self,
        name: str,
        pullback: Pullback,
        results: Sequence[Tensor],
        overwritten: Sequence[Effect],
        threads: int | None,
        saved: Sequence[Tensor],
    ) -> None:
        self._name = name
        self.resumes = bool(saved)
        self._dtypes = [r.dtype for r in results]
        # Constants of rules are made with the pullback, and nobody changes them.
        read = (t for t in topological_order(pullback.tensors) if not t.symbolic)
        reads = [t for t in read if t.time < pullback.begun]
        refuse_overwritten(name, reads, results, overwritten)
        # What requires a gradient is an input of the call, at which the pass itself looks.
        self._reads = [t for t in reads if not t.requires_grad]
        graph = pullback.resumed(saved) if saved else pullback
        self._gradients = pullback.gradients
        self._executable = Executable(graph, threads)
        gradients = pullback.tensors if pullback.recorded else []
        self._history = History(name, pullback, gradients, overwritten, threads)

    def __call__(
        self,
        y: Tensor,
        call: Call,
        saved: Sequence[np.ndarray[Any, Any]],
        given: Sequence[Tensor],
    ) -> list[Any]:
        """The derivatives, from those by the results of the call that made `y`."""
        for tensor in (*self._reads, *call.leaves):
            if isinstance(tensor, Tensor) and tensor.time > y.time:
                raise RuntimeError(
                    f"backward: a Tensor of shape {tensor.shape} was changed in place after "
                    f"{self._name} had used it; differentiate first, then change it"
                )
        for d, dtype in zip(given, self._dtypes, strict=True):
            if d.dtype != dtype:
                raise TypeError(
                    f"backward: the gradient is {d.dtype}, the result of {self._name} {dtype}; "
                    "convert one with astype"
                )
        arrays = [np.asarray(d._data, order="C") for d in given]
        values, _ = self._executable.run(call, [*arrays, *saved])
        if self._history:
            call = call._replace(leaves=[*call.leaves, *given], arrays=[*call.arrays, *arrays])
            self._history.connect(values, call, ())
        return [values.get(id(g), g) for g in self._gradients]


def _remember(tensor: Tensor, op: Op, inputs: tuple[Tensor, ...], attrs: dict[str, Any]) -> None:
    tensor.op, tensor.inputs, tensor.attrs = op, inputs, attrs
    tensor._requires_grad, tensor.time = True, now()


def _unknown(name: str, specs: Sequence[Spec], attrs: dict[str, Any]) -> Spec:
    raise AssertionError("the results of a compiled function are known when they are made")


def _one_result(dy: Tensor, y: Tensor, node: Tensor) -> Cotangents:
    return Cotangents({y.attrs["index"]: dy})


_RESULT = Op("result of compile", _unknown, (_one_result,))  # type: ignore[arg-type]
"""One of several results of a call, which is a node of its own."""


def _sources(results: Sequence[Tensor]) -> list[Tensor]:
    """Where the derivatives of results lead: arguments, and Tensors that hold data."""
    return [
        t for t in topological_order(results)
        if t.requires_grad and (t.op is None or not t.symbolic)
    ]  # fmt: skip
