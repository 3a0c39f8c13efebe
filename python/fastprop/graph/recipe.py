"""Rules and functions of ops as lists of kernels, which C++ runs without a call of Python.

A derivative rule, or a function like ``var``, does the same ops whenever shapes, dtypes and
attributes are the same. So it is traced once on symbolic Tensors, and its ops become a *recipe*
(csrc/bindings/recipe.h): the same kernels in the same order, so the same bits, but values in
between take no Tensor. Where derivatives are recorded, something is being traced or observed, or
the operands are so large that a call of Python does not count, the rule or function itself runs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from fastprop import _core
from fastprop.graph.op import Op, Spec, grad_mode
from fastprop.graph.plan import make_plan
from fastprop.graph.scope import scoped
from fastprop.graph.tensor import Tensor
from fastprop.graph.trace import TraceError, topological_order

_MOST_ELEMENTS = 1 << 14
"""Of all values that a recipe computes. From there on a call of Python is not what takes time, and
other Python threads may run meanwhile."""


def _share(spec: Spec) -> Spec:
    shared: Spec = _core.share_spec(spec)
    return shared


class _List(NamedTuple):
    """A recipe, and where it has the Tensors that were asked for and all others."""

    recipe: _core.Recipe
    outputs: list[int]
    numbers: dict[int, int]


def _list(
    operands: Sequence[Tensor], outputs: Sequence[Tensor], kept: frozenset[int] = frozenset()
) -> _List | None:
    """The ops between symbolic Tensors; ``None`` if they are no matter for a recipe."""
    numbers = {id(t): i for i, t in enumerate(operands)}
    own = kept | {id(_memory(t)) for t in outputs}
    values: list[tuple[Any, ...]] = []
    same: dict[Any, int] = {}
    elements = 0
    for t in topological_order(outputs, operands):
        if not t.symbolic:
            key: Any = id(t)
            value: tuple[Any, ...] = (-1, (), (), t.spec, t, False)
        elif t.op is None or (t.op.code < 0 and not t.op.view):
            return None
        else:
            plan = make_plan(t.op, [x.spec for x in t.inputs], t.attrs)
            if plan.threads > 1:
                return None
            begin = None if id(t) in own else _begin(t)
            code = plan.code if begin is None else -1
            encoded = plan.attributes if begin is None else struct.pack("d", begin)
            attributes = struct.unpack(f"{len(encoded) // 8}d", encoded)
            inputs = t.inputs if begin is None else t.inputs[:1]
            sources = tuple(numbers[id(x)] for x in inputs)
            key = (code, sources, encoded, t.spec, id(t) in kept)
            value = (code, sources, attributes, t.spec, None, id(t) in kept)
            elements += t.size
        if key not in same:
            same[key] = len(operands) + len(values)
            values.append(value)
        numbers[id(t)] = same[key]
    if elements > _MOST_ELEMENTS:
        return None
    found = sorted({numbers[id(t)] for t in outputs})
    try:
        recipe = _core.Recipe([t.spec for t in operands], values, found)
    except ValueError:  # too many bytes, or an op that kernels alone cannot do
        return None
    return _List(recipe, found, numbers)


def _memory(t: Tensor) -> Tensor:
    """The Tensor whose memory it is, under whatever shapes."""
    while t.op is not None and t.op.view:
        t = t.inputs[0]
    return t


def _begin(t: Tensor) -> int | None:
    """Where in its input's memory a result lies, in bytes: a view, or a slice that is contiguous;
    ``None``: it has memory of its own."""
    op = t.op
    if op is None or op.name != "slice":
        return 0 if op is not None and op.view else None
    begin, count = 0, 1
    whole = True  # all of the axes so far, from the last one on
    (x,) = t.inputs
    for i in reversed(range(len(t.shape))):
        if t.shape[i] != 1 and (t.attrs["step"][i] != 1 or not whole):
            return None
        whole = whole and t.shape[i] == x.shape[i]
        begin += t.attrs["start"][i] * count
        count *= x.shape[i]
    return begin * t.dtype.itemsize


def _place(spec: Spec, requires_grad: bool = False) -> Tensor:
    place = Tensor.placeholder(spec.shape, spec.dtype)
    place._requires_grad = requires_grad
    return place


Terms = list[tuple[int, "Tensor | None"]]


def _derivation(
    operands: list[Tensor], terms: Terms, kept: Sequence[int]
) -> _core.Derivation | None:
    of_kernels = {id(t) for t in operands[len(operands) - len(kept) :]} if kept else set()
    for _, d in terms:
        while d is not None and d.op is not None and d.op.view and id(d) not in of_kernels:
            d = d.inputs[0]
        if id(d) in of_kernels:  # kept memory is no array
            return None
    found = _list(operands, [d for _, d in terms if d is not None])
    if found is None:
        return None
    at = {number: i for i, number in enumerate(found.outputs)}
    pairs = [(i, -1 if d is None else at[found.numbers[id(d)]]) for i, d in terms]
    return _core.Derivation(found.recipe, pairs, list(kept))


# -- rules ----------------------------------------------------------------------------------------


def make_derivation(node: Tensor, dy: Tensor, wanted: int) -> _core.Derivation | None:
    """The derivatives of a node by inputs (bits of `wanted`) as a recipe, or ``None``."""
    op = node.op
    assert op is not None
    assert op.derivations is not None
    key = (id(node.attrs), wanted, dy.spec, *(x.spec for x in node.inputs))
    if key not in op.derivations:
        if len(op.derivations) >= 4096:
            op.derivations.clear()
        made = None
        if dy.spec == node.spec:
            function = node.attrs.get(_FUNCTION)
            made = function.derivation(wanted) if function else _of_rules(node, wanted)
        op.derivations[key] = (node.attrs, made)  # which keeps the number of `attrs` its own
    return op.derivations[key][1]


def _of_rules(node: Tensor, wanted: int) -> _core.Derivation | None:
    op = node.op
    assert op is not None
    dy, y = _place(node.spec), _place(node.spec)
    inputs = tuple(_place(x.spec, x.requires_grad) for x in node.inputs)
    y.op, y.attrs, y.inputs = op, node.attrs, inputs
    terms: Terms = []
    with grad_mode(False), scoped(None):
        try:
            for i, rule in enumerate(op.vjps[: len(inputs)]):  # type: ignore[index]
                if wanted >> i & 1:
                    terms.append((i, None if rule is None else rule(dy, y, *inputs)))
        except TraceError:  # a rule that looks at values
            return None
    return _derivation([dy, y, *inputs], terms, ())


# -- functions ------------------------------------------------------------------------------------

_FUNCTION = "function"
"""The attribute of a node that stands for a function of ops: the :class:`_Function`."""


class _Function:
    """A function of ops on operands of certain shapes, traced."""

    def __init__(self, inputs: list[Tensor], y: Tensor) -> None:
        self._inputs, self._y = inputs, y
        self._nodes = {id(t) for t in topological_order([y], inputs)}
        self._dy = _place(y.spec)
        self._forward: _List | None = None

    def forward(self, wanted: int) -> _core.Recipe | None:
        """The function itself, which keeps what the derivatives need."""
        _, kept = self._terms(wanted) if wanted else ([], [])
        self._forward = _list(self._inputs, [self._y], frozenset(map(id, kept)))
        return None if self._forward is None else self._forward.recipe

    def derivation(self, wanted: int) -> _core.Derivation | None:
        assert self._forward is not None
        terms, kept = self._terms(wanted)
        numbers = self._forward.numbers
        offsets = [self._forward.recipe.kept_offset(numbers[id(t)]) for t in kept]
        return _derivation([self._dy, self._y, *self._inputs, *kept], terms, offsets)

    def _terms(self, wanted: int) -> tuple[Terms, list[Tensor]]:
        """The terms of the derivatives, and what was computed on the way that they read."""
        targets = {id(x): i for i, x in enumerate(self._inputs) if wanted >> i & 1}
        with grad_mode(False), scoped(None):
            asked = [self._inputs[i] for i in targets.values()]
            pairs = _core.collect_terms("backward", self._y, self._dy, asked)
        terms = [(targets[id(x)], d) for x, d in pairs]
        given = {id(t) for t in (self._dy, self._y, *self._inputs)}
        stack = [d for _, d in terms if d is not None]
        seen: set[int] = set()
        kept: list[Tensor] = []
        while stack:
            t = stack.pop()
            if id(t) in seen or id(t) in given or not t.symbolic:
                continue
            seen.add(id(t))
            if id(t) in self._nodes and not (t.op is not None and t.op.view):
                kept.append(t)
            else:
                stack.extend(t.inputs)
        return terms, kept


def composed(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function of ops as one node where its Tensors hold data.

    Args:
        function: Takes up to eight Tensors and hashable arguments, by position, and gives a Tensor
            that depends on values through ops alone. It is called itself where a recipe does not
            serve, second derivatives included.
    """

    def rule(dy: Tensor, y: Tensor, inputs: Sequence[Tensor], wanted: Sequence[bool]) -> list[Any]:
        own = iter(inputs)
        args = [next(own) if a is _TENSOR else a for a in y.attrs["arguments"]]
        with grad_mode(True):
            again = function(*args)
        targets = [x for x, w in zip(inputs, wanted, strict=True) if w]
        gradients: list[Any] = [NotImplemented] * len(inputs)
        position = {id(x): i for i, x in reversed(list(enumerate(inputs)))}
        for x, d in _core.collect_terms("backward", again, dy, targets):
            at = position[id(x)]
            gradients[at] = (*(() if gradients[at] is NotImplemented else gradients[at]), d)
        return gradients

    op = Op(function.__name__.strip("_"), lambda name, specs, attrs: specs[0], rule)
    op.derivations = {}
    call: Callable[..., Tensor] = _core.composed(function, op, lambda *a: _compose(function, *a))
    return call


_TENSOR = object()
"""Stands for a Tensor among remembered arguments."""


def _compose(
    function: Callable[..., Tensor], op: Op, args: tuple[Any, ...], wanted: int
) -> _core.Composition | None:
    """The function on such arguments as one node; ``None``: it runs by itself."""
    places: list[Tensor] = []
    for a in args:
        if isinstance(a, Tensor):
            places.append(_place(a.spec, bool(wanted >> len(places) & 1)))
    own = iter(places)
    with grad_mode(bool(wanted)), scoped(None):
        try:
            y = function(*(next(own) if isinstance(a, Tensor) else a for a in args))
        except Exception:  # it will be raised by the call itself
            return None
    if not y.symbolic or y.op is None or any(y is p for p in places):
        return None
    if not y.requires_grad:
        wanted = 0
    traced = _Function(places, y)
    recipe = traced.forward(wanted)
    if recipe is None:
        return None
    arguments = tuple(_TENSOR if isinstance(a, Tensor) else a for a in args)
    attrs = {"arguments": arguments, _FUNCTION: traced} if wanted else None
    return _core.Composition(recipe, _share(y.spec), attrs)


_core.bind_recipes(make_derivation)
