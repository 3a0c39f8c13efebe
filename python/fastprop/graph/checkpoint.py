"""checkpoint: values that are computed again when the backward pass needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from fastprop import random
from fastprop.graph.autodiff import gradients_within
from fastprop.graph.effects import without_effects
from fastprop.graph.op import Op, Spec, grad_mode, is_grad_enabled, now
from fastprop.graph.ops_shape import after
from fastprop.graph.tensor import Tensor
from fastprop.graph.trace import current_trace


def checkpoint(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call a function without keeping what its derivative needs; compute that again when it is due.

    Values and derivatives of any order are those of ``function(*args, **options)``, what is random
    in it included: bit by bit, unless a Tensor is used inside and outside of the function, whose
    derivatives are then added in another order. A chain of :math:`n` layers in :math:`\\sqrt n`
    segments keeps about :math:`2 \\sqrt n` activations instead of :math:`n`, for one forward pass
    more.

    Args:
        function: A module or a function on Tensors. It is called again in the backward pass, with
            the same arguments, so it must do the same then; what it assigns to Buffers is assigned
            once.
        args: Its arguments.
        options: Its arguments by name.

    Returns:
        What the function returns: a Tensor, or a tuple or list of them.

    Raises:
        TypeError: No function, or one that returns something else.

    Chen, Xu, Zhang & Guestrin, "Training deep nets with sublinear memory cost", 2016.
    """
    if not callable(function):
        raise TypeError(f"checkpoint: expects a function, got {type(function).__name__}")
    if not is_grad_enabled():
        return function(*args, **options)
    segment = _Segment(function, args, options)
    result = segment.forward()
    if isinstance(result, Tensor):
        return segment.output(0, result)
    if not isinstance(result, tuple | list) or not all(isinstance(t, Tensor) for t in result):
        raise TypeError(
            "checkpoint: the function must return a Tensor, or a tuple or list of Tensors, got "
            f"{type(result).__name__}"
        )
    return type(result)(segment.output(i, t) for i, t in enumerate(result))


class _Segment:
    """One checkpointed call: how to do it again, and between which Tensors it lies."""

    def __init__(
        self, function: Callable[..., Any], args: Sequence[Any], options: dict[str, Any]
    ) -> None:
        self._function = function
        self._args = args
        self._options = options
        self._random = _random_state()
        self._inputs: list[Tensor] = []

    def forward(self) -> Any:
        """Call the function for its values, and note what they were computed from."""
        start = now()
        # Symbolic Tensors know where they come from in any case; others only while it is recorded.
        with grad_mode(current_trace() is None):
            result = self._function(*self._args, **self._options)
        outputs = [result] if isinstance(result, Tensor) else list(result)
        found: dict[int, Tensor] = {}
        seen: set[int] = set()
        stack = [t for t in outputs if isinstance(t, Tensor)]
        while stack:
            tensor = stack.pop()
            if id(tensor) in seen:
                continue
            seen.add(id(tensor))
            if tensor.op is not None and tensor.time > start:
                stack.extend(tensor.inputs)
            elif tensor.requires_grad:
                found[id(tensor)] = tensor
        self._inputs = list(found.values())
        return result

    def output(self, index: int, value: Tensor) -> Tensor:
        """An output whose history is this segment."""
        if not self._inputs:
            return value
        tensor = Tensor.__new__(Tensor)
        tensor._set(value._data, value.spec, True)
        rule = partial(self._gradients, index)
        tensor.op = Op("checkpoint", _first, rule, view=True)
        # The value of a symbolic output is its first input, which is differentiated by its parts.
        tensor.inputs = (value, *self._inputs) if value.symbolic else tuple(self._inputs)
        tensor.time = now()
        return tensor

    def _gradients(
        self,
        index: int,
        dy: Tensor,
        y: Tensor,
        inputs: Sequence[Tensor],
        wanted: Sequence[bool],
    ) -> list[Any]:
        """Derivatives of an output by all inputs that are wanted, in one pass."""
        places = {id(t): t for t in self._inputs}
        trace = current_trace()
        args, options = tuple(self._args), self._options
        if trace is not None:
            # Not before what comes later in the network is done: else its values would be kept.
            waits = [*trace.last_segment, dy]
            # The batch itself, too: a first segment that is not repeated would be kept as a whole.
            needed = {**places, **{id(t): t for t in _tensors((args, options))}}
            with grad_mode(True):
                gated = {key: after(t, waits) for key, t in needed.items() if t.symbolic}
            args, options = _replace(args, gated), _replace(options, gated)
            places |= {key: gated[key] for key in places if key in gated}
        with _random_from(self._random), without_effects(), grad_mode(True):
            result = self._function(*args, **options)
        outputs = [result] if isinstance(result, Tensor) else list(result)
        others = len(inputs) - len(self._inputs)  # the value of a symbolic output
        chosen = [i for i, t in enumerate(inputs) if i >= others and wanted[i]]
        targets = [places[id(inputs[i])] for i in chosen]
        found = gradients_within("checkpoint", [outputs[index]], targets, [dy])
        if trace is not None:
            trace.last_segment = [d for d in found if isinstance(d, Tensor)]
        gradients: list[Any] = [None] * len(inputs)
        for i, gradient in zip(chosen, found, strict=True):
            gradients[i] = gradient
        return gradients


def _tensors(value: Any) -> Iterator[Tensor]:
    """The Tensors in arguments."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list | dict):
        for v in value.values() if isinstance(value, dict) else value:
            yield from _tensors(v)


def _replace(value: Any, gated: dict[int, Tensor]) -> Any:
    if isinstance(value, tuple | list):
        return type(value)(_replace(v, gated) for v in value)
    if isinstance(value, dict):
        return {name: _replace(v, gated) for name, v in value.items()}
    return gated.get(id(value), value)


def _first(name: str, specs: Sequence[Spec], attrs: dict[str, Any]) -> Spec:
    return specs[0]


class _RandomState(NamedTuple):
    """What decides about the next random numbers."""

    generator: tuple[int, int]
    streams: int
    calls: list[tuple[random.Counting, int]]


def _random_state() -> _RandomState:
    place = current_trace() or random.current_step()
    streams = 0 if place is None else place.streams
    return _RandomState(random.default_generator().state, streams, random.call_counts())


def _set_random_state(state: _RandomState) -> None:
    random.default_generator().state = state.generator
    place = current_trace() or random.current_step()
    if place is not None:
        place.streams = state.streams
    for function, calls in state.calls:
        function.calls = calls


@contextmanager
def _random_from(state: _RandomState) -> Iterator[None]:
    """Inside the block the same random numbers are drawn as after `state` was taken."""
    before = _random_state()
    _set_random_state(state)
    try:
        yield
    finally:
        _set_random_state(before)
