"""compile: a function on Tensors, traced into a Program."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from types import MethodType
from typing import Any, NamedTuple, SupportsIndex

import numpy as np

from fastprop import _core
from fastprop.graph import anomaly
from fastprop.graph.effects import effects_suppressed
from fastprop.graph.op import Spec, is_grad_enabled
from fastprop.graph.parameter import Buffer, Parameter
from fastprop.graph.program import Program
from fastprop.graph.tensor import DTYPES, Tensor, as_supported_array, as_tensor
from fastprop.graph.trace import TraceError, is_tracing
from fastprop.graph.user_line import line_of
from fastprop.random import (
    Step,
    check_seed,
    counts_calls,
    current_step,
    default_generator,
    drawing_as,
)
from fastprop.registry import type_name
from fastprop.tracing.capture import Argument, Capture
from fastprop.tracing.structure import Structure, put_together, take_apart
from fastprop.tracing.variant import Variant
from fastprop.tracing.watched import Watched

_KEPT = 32  # Programs of one function
Array = np.ndarray[Any, Any]


def compile(
    function: Callable[..., Any] | None = None,
    *,
    threads: int | None = None,
    seed: SupportsIndex | None = None,
) -> Any:
    """Trace a function once, and from then on run it as one Program.

    The function may call modules, losses, :func:`fastprop.grad`, ``backward()`` and
    ``optimizer.step()``, and return Tensors in tuples, lists and dicts. It gives what it gives
    without ``compile``, but that gradients which one of its own optimizers has used are not kept in
    ``grad``. Its results can be differentiated, to any order, by arguments and by parameters that
    it read: the derivatives are a Program, too, which goes on from what the call has kept.

    NumPy arrays, numbers of NumPy and Tensors among the arguments may differ from call to call. All
    other arguments (Python numbers, strings, modules) are part of what is traced: a call with
    others is traced anew. If all arrays with as many rows as the first one can be treated as a
    batch, one Program serves any number of rows; else there is one for each shape.

    Python runs only while the function is traced. So it must not choose by the value of a Tensor
    (use :func:`fastprop.where`). What it reads by name besides its arguments, Parameters and
    Buffers (closures, globals, attributes) is compared before each call. Random numbers of modules
    such as dropout are new in every call.

    Args:
        function: The function, or a module. Left out, this is a decorator with options.
        threads: Threads of a run; ``None`` lets a cost model choose. Results do not depend on it.
        seed: Of whatever is random in the function: the numbers of a call depend on it and on how
            many calls there were before. By default a call takes them from the generator of
            :func:`fastprop.seed`, as an eager op does, so that no two functions draw the same.

    Returns:
        A :class:`CompiledFunction`.

    Raises:
        TypeError: `function` cannot be called. From a call: an argument holds numbers, but is
            neither an array nor a Tensor.
        TraceError: From a call: the function asks for the value of a Tensor while it is traced.
    """
    if function is None:
        return functools.partial(compile, threads=threads, seed=seed)
    if not callable(function):
        raise TypeError(f"compile: expects a function or a module, got {type_name(function)}")
    own_seed = None if seed is None else check_seed("compile", seed)
    return CompiledFunction(function, threads, own_seed)


class Signature(NamedTuple):
    """What a function was called with, but for the numbers in the arrays.

    Attributes:
        structure: Of the arguments.
        arguments: The arrays; of those that are batches the first extent is 0 here.
        grad_enabled: Whether derivatives were recorded.
        repeats: Whether this repeats a call, whose effects are not done again.
    """

    structure: Structure
    arguments: tuple[Argument, ...]
    grad_enabled: bool
    repeats: bool

    @property
    def batched(self) -> bool:
        return any(a.spec.batched for a in self.arguments)


class CompiledFunction:
    """A function, and its Programs; :func:`compile` makes one.

    Attributes:
        function: The function as it was.
        calls: How often the compiled one was called.
        traces: How often it was traced: twice for a new kind of arguments, once for another number
            of rows or a model that has changed.
        notes: Why there is a Program for each shape, where one does not serve all numbers of rows.
    """

    def __init__(self, function: Callable[..., Any], threads: int | None, seed: int | None) -> None:
        self.function = function
        self.traces = 0
        self._threads = threads
        self._seed = seed
        self._table = _core.CallTable(seed)
        self._call = self._table.function()
        self._variants: dict[Signature, list[Variant]] = {}
        self._whole: dict[Signature, str] = {}  # that do not go by rows, and why
        self._warned = False
        functools.update_wrapper(self, function, updated=())
        counts_calls(self)

    @property
    def calls(self) -> int:
        return self._table.calls

    @calls.setter
    def calls(self, value: int) -> None:
        self._table.calls = value

    @property
    def programs(self) -> list[Program]:
        """The Programs that there are at present."""
        return [v.program for variants in self._variants.values() for v in variants]

    @property
    def notes(self) -> list[str]:
        """Why arguments are traced for each shape anew, where they are."""
        reasons = dict.fromkeys(self._whole.values())
        return [f"traced for each number of rows, as it does not go by rows: {r}" for r in reasons]

    def __call__(self, *args: Any, **options: Any) -> Any:
        # Arrays alone, as most calls have them, go to their Program without more of Python.
        if not options:
            result = self._call(args)
            if result is not NotImplemented:
                return result
        leaves: list[Any] = []
        structure = take_apart((args, options), _is_array, leaves)
        # A part of something larger is traced with that; without numbers there is nothing to do.
        if is_tracing() or any(leaf.size == 0 for leaf in leaves):
            return self._as_written(structure, leaves)
        if anomaly.active() is not None:
            return self._op_by_op(structure, leaves)
        arrays = [as_supported_array("compile", leaf) for leaf in leaves]
        signature, rows = _signature(structure, leaves, arrays, by_rows=True)
        if signature in self._whole:
            signature, rows = _signature(structure, leaves, arrays, by_rows=False)
        variant = self._find(signature, rows)
        if variant is None:
            try:
                variant = self._trace(signature, rows)
            except (ValueError, TypeError) as reason:
                if not signature.batched:
                    raise
                # What does not go by rows may well go as a whole; if not, that error says why.
                by_rows = signature
                signature, rows = _signature(structure, leaves, arrays, by_rows=False)
                variant = self._find(signature, rows) or self._trace_whole(signature, rows, reason)
                self._whole[by_rows] = f"{type_name(reason)}: {reason} ({line_of(reason)})"
        traced = variant.call
        if not options and len(args) == len(leaves) and all(x.dtype in DTYPES for x in leaves):
            self._table.add(args, [a.spec.batched for a in signature.arguments], traced)
        return self._table.run(traced, tuple(leaves), tuple(arrays), rows)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """A function in a class is a method of its instances, compiled or not."""
        if instance is None or not hasattr(type(self.function), "__get__"):
            return self
        return MethodType(self, instance)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy has the same function, and traces by itself."""
        return CompiledFunction, (self.function, self._threads, self._seed)

    def cache_clear(self) -> None:
        """Forget all Programs; the next call traces anew."""
        self._variants.clear()
        self._whole.clear()
        self._table.clear()

    def _as_written(self, structure: Structure, leaves: Sequence[Any]) -> Any:
        """The function itself, on Tensors as it gets them while it is traced."""
        args, options = put_together(structure, map(as_tensor, leaves))
        return self.function(*args, **options)

    def _op_by_op(self, structure: Structure, leaves: Sequence[Any]) -> Any:
        """A call where NaN is looked for, with the random numbers that it has otherwise."""
        generator, outer = default_generator(), current_step()
        own = generator.state if self._seed is None else (self._seed, self.calls)
        self.calls += 1
        step = Step(*own) if outer is None else outer
        with drawing_as(step):
            result = self._as_written(structure, leaves)
        if outer is None and self._seed is None and step.streams:
            generator.next_stream()  # which this call has used
        return result

    def _find(self, signature: Signature, rows: int) -> Variant | None:
        found = (v for v in self._variants.get(signature, ()) if v.serves(rows))
        return next(found, None)

    def _trace(self, signature: Signature, rows: int) -> Variant:
        """A variant for these arguments: a known one if it turns out to do, else a new one."""
        self._table.clear()
        known = self._variants.get(signature, [])
        capture = self._capture(signature, rows)
        fingerprint = capture.fingerprint()
        for variant in known:
            if variant.fingerprint == fingerprint and rows <= variant.capacity:
                variant.also_serves(capture, rows, self._watched(signature, capture))
                return variant
        if not known and self._capture(signature, rows).fingerprint() != fingerprint:
            raise TraceError(
                f"{self._name}: the function does not do the same each time that it is traced; "
                "what it reads besides its arguments, Parameters and Buffers must not change. "
                "Random numbers of NumPy, counters and files are such things: pass them as "
                "arguments"
            )
        watched = self._watched(signature, capture)
        made = Variant(self._name, capture, fingerprint, rows, self._threads, watched)
        smaller = [v for v in known if v.fingerprint == fingerprint]
        for variant in smaller:
            made.know(variant.sizes)
        self._variants[signature] = [*[v for v in known if v not in smaller][-_KEPT:], made]
        self._forget_oldest()
        return made

    def _watched(self, signature: Signature, capture: Capture) -> Watched:
        modules = [module for module, _ in capture.trace.modes.values()]
        return Watched(self.function, signature.structure, modules, capture.read)

    def _trace_whole(self, signature: Signature, rows: int, reason: Exception) -> Variant:
        """:meth:`_trace` of what does not go by rows for that reason."""
        try:
            return self._trace(signature, rows)
        except (ValueError, TypeError) as error:
            if type(error) is type(reason) and str(error) == str(reason):
                raise error from None  # it is no matter of rows: once is enough
            raise

    def _forget_oldest(self) -> None:
        """Arguments that are others in every call must not fill the memory with Programs."""
        if len(self._variants) <= _KEPT:
            return
        self._variants.pop(next(iter(self._variants)))
        if len(self._whole) > _KEPT:
            self._whole.clear()
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"{self._name}: traced for more than {_KEPT} kinds of arguments, of which the "
                "oldest are forgotten now. Python numbers and objects are part of what is traced: "
                "give a number that changes as an array, np.float32(value)"
                + "".join(f". Besides, it is {note}" for note in self.notes[:1]),
                RuntimeWarning,
                stacklevel=2,
            )

    def _capture(self, signature: Signature, rows: int) -> Capture:
        def call(placeholders: list[Tensor]) -> Any:
            args, options = put_together(signature.structure, iter(placeholders))
            return self.function(*args, **options)

        self.traces += 1
        arguments = [_with_rows(a, rows) for a in signature.arguments]
        return Capture(call, arguments)

    @property
    def _name(self) -> str:
        return f"compile({getattr(self.function, '__name__', type_name(self.function))})"

    def __repr__(self) -> str:
        programs = self.programs
        instructions = ", ".join(str(p.num_instructions) for p in programs)
        about = f"{len(programs)} Programs of {instructions} instructions" if programs else "new"
        return f"<{'; '.join([f'{self._name}: {about}', *self.notes])}>"


def _is_array(value: Any) -> bool:
    if isinstance(value, Tensor):
        return not isinstance(value, Parameter | Buffer)
    if isinstance(value, np.ndarray | np.generic):
        return True
    if hasattr(type(value), "__array__"):
        raise TypeError(
            f"compile: an argument is a {type_name(value)}, whose numbers would become constants; "
            "give np.asarray(argument) or a Tensor"
        )
    return False


def _signature(
    structure: Structure, leaves: Sequence[Any], arrays: Sequence[Array], *, by_rows: bool
) -> tuple[Signature, int]:
    """The signature of a call, and the rows of its batch (1 if it has none)."""
    rows = next((len(a) for a in arrays if a.ndim), 1) if by_rows else 1
    arguments = []
    for leaf, array in zip(leaves, arrays, strict=True):
        batched = by_rows and array.ndim > 0 and len(array) == rows
        shape = (0, *array.shape[1:]) if batched else array.shape
        differentiable = isinstance(leaf, Tensor) and leaf.requires_grad
        arguments.append(Argument(Spec(shape, array.dtype, batched), differentiable))
    looks = Signature(structure, tuple(arguments), is_grad_enabled(), effects_suppressed())
    return looks, rows


def _with_rows(argument: Argument, rows: int) -> Argument:
    spec = argument.spec
    if not spec.batched:
        return argument
    return argument._replace(spec=spec._replace(shape=(rows, *spec.shape[1:])))
