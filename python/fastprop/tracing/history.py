"""Derivatives through a compiled function: its results remember the call that made them.

The rule of a call is a Program, too: the derivatives by what is wanted, from the values that the
call has saved. Where derivatives of these may be asked for, it is the function's graph once more,
as a checkpoint does it, with the derivatives behind it. That has results with a history of the same
kind, so derivatives of any order come by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from fastprop import _core
from fastprop.graph.autodiff import NO_HISTORY, gradients_within
from fastprop.graph.op import Op, Spec, grad_mode, is_grad_enabled, now
from fastprop.graph.scope import scoped
from fastprop.graph.tensor import Tensor
from fastprop.graph.trace import Effect, TraceError, is_tracing, topological_order, tracing
from fastprop.tracing.capture import Graph
from fastprop.tracing.executable import Call, Executable
from fastprop.tracing.overwritten import freed_within, outdated, refuse_overwritten
from fastprop.tracing.saved import replacing, worth_saving

if TYPE_CHECKING:
    import numpy as np

_KEPT = 16  # Programs for derivatives of one graph


class History:
    """How the results of a graph are connected to what they were computed from.

    Args:
        name: What errors call the function.
        graph: What was computed.
        results: Those that derivatives may be asked of.
        overwritten: What the function did beside.
        threads: Of the Programs; ``None`` chooses.
        saves: Called when calls are to keep values for their derivatives from now on; ``None``:
            they keep nothing.

    Attributes:
        saved: Values that a call has to keep for its derivatives. None before somebody has
            differentiated: who never does, pays nothing.
        connection: Lets the results of a call remember it.
    """

    def __init__(
        self,
        name: str,
        graph: Graph,
        results: Sequence[Tensor],
        overwritten: Sequence[Effect],
        threads: int | None,
        saves: Callable[[], None] | None = None,
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
        freed = freed_within(distinct, graph.trace.freed)
        others = _without(distinct, freed)
        late = outdated(others, overwritten)
        self._results = _without(others, late)
        # What to differentiate by: arguments, and Tensors from outside that the function read.
        self._sources = _sources(self._results)
        self._pull = _core.Pull(self._differentiate)
        # Losses are added up over many steps: a history that nobody can use would add up, too.
        no_history = {
            NO_HISTORY: f"was differentiated inside of {name}, whose backward() gave its graph "
            "back; give that one retain_graph=True"
        }
        arguments = {id(p): i for i, p in enumerate(graph.placeholders)}
        places = {id(t): i for i, t in enumerate(graph.wanted)}
        self._connected = bool(distinct)
        self.connection = _core.Connection(
            Op(name, _unknown, self._pull.function()),
            Op(name, _unknown, self._refuse),
            _RESULT,
            no_history,
            [places[id(t)] for t in self._results],
            [places[id(t)] for t in freed],
            [places[id(t)] for t in late],
            [arguments.get(id(t), t) for t in self._sources],
        )

    def __bool__(self) -> bool:
        return self._connected

    def _refuse(self, dy: Tensor, y: Tensor, inputs: Sequence[Tensor], wanted: Any) -> list[Any]:
        raise RuntimeError(
            f"backward: the result of shape {y.shape} depends on a parameter that {self._name} "
            "changes after it has used it; differentiate inside of the function"
        )

    def _differentiate(
        self,
        dy: Tensor | _core.Cotangents,
        y: Tensor,
        inputs: Sequence[Tensor],
        wanted: Sequence[bool],
    ) -> list[Any]:
        """The rule of a call: derivatives by its inputs, as far as they are wanted."""
        if is_tracing():
            raise TraceError(
                f"{self._name}: its result is differentiated while another function is being "
                "traced into a Program, which it came into from outside; call it inside, or take "
                "its result with detach()"
            )
        given = dy.terms if isinstance(dy, _core.Cotangents) else [(0, dy)]
        record = is_grad_enabled()
        looks = [(k, record and d.requires_grad) for k, d in given]
        key = (tuple(looks), tuple(wanted), record)
        derivative = self._derivatives.get(key)
        if derivative is None:
            derivative = self._derivative(*key)
            if len(self._derivatives) >= _KEPT:
                self._derivatives.clear()
                self._pull.clear()
            self._derivatives[key] = derivative
            if not record:  # C++ finds it from now on
                self._pull.add([k for k, _ in given], tuple(wanted), derivative.run)
        call: Call = y.attrs["call"]
        saved = y.attrs["saved"] if derivative.resumes else ()
        if derivative.resumes and not saved:  # it was made before anybody had differentiated
            saved = self.saver.run.saved(call)
        return derivative.run.run(y, call, saved, [d for _, d in given])

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
        if self._saves is not None and not record:
            if not self.saved:
                full = pullback
                if len(results) < len(self._results) or not all(wanted):
                    every = [False] * len(self._results)
                    full = Pullback(self._graph, self._results, every, self._sources, False)
                self.saved = worth_saving(full.wanted, full.begun)
                if self.saved:
                    self._saves()
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
        program: Its Program.
        run: Gives the derivatives of a call.
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
        # Constants of rules are made with the pullback, and nobody changes them.
        read = (t for t in topological_order(pullback.tensors) if not t.symbolic)
        reads = [t for t in read if t.time < pullback.begun]
        refuse_overwritten(name, reads, results, overwritten)
        graph = pullback.resumed(saved) if saved else pullback
        executable = Executable(graph, threads)
        self.program = executable.program
        gradients = pullback.tensors if pullback.recorded else []
        history = History(name, pullback, gradients, overwritten, threads)
        places = {id(t): i for i, t in enumerate(graph.wanted)}
        self.run = _core.TracedDerivative(
            executable.run,
            history.connection if history else None,
            # What requires a gradient is an input of the call, at which the pass itself looks.
            [t for t in reads if not t.requires_grad],
            [r.dtype for r in results],
            [places.get(id(g), g) for g in pullback.gradients],
            self.resumes,
            self._changed_error,
            self._dtype_error,
        )

    def _changed_error(self, tensor: Tensor) -> RuntimeError:
        return RuntimeError(
            f"backward: a Tensor of shape {tensor.shape} was changed in place after "
            f"{self._name} had used it; differentiate first, then change it"
        )

    def _dtype_error(self, found: np.dtype[Any], wanted: np.dtype[Any]) -> TypeError:
        return TypeError(
            f"backward: the gradient is {found}, the result of {self._name} {wanted}; "
            "convert one with astype"
        )


def _unknown(name: str, specs: Sequence[Spec], attrs: dict[str, Any]) -> Spec:
    raise AssertionError("the results of a compiled function are known when they are made")


_RESULT = Op("result of compile", _unknown, (_core.one_result,))  # type: ignore[arg-type]
"""One of several results of a call, which is a node of its own."""


def _without(tensors: Iterable[Tensor], others: Iterable[Tensor]) -> list[Tensor]:
    left_out = set(map(id, others))
    return [t for t in tensors if id(t) not in left_out]


def _sources(results: Sequence[Tensor]) -> list[Tensor]:
    """Where the derivatives of results lead: arguments, and Tensors that hold data."""
    return [
        t for t in topological_order(results)
        if t.requires_grad and (t.op is None or not t.symbolic)
    ]  # fmt: skip
