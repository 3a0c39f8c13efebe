"""Connected elementwise instructions become one that runs all of them on a block after the other.

Alone each of them reads and writes whole arrays, which come from the second or third cache.
Together they read what comes from outside and write what somebody outside reads; the rest never
leaves the first cache, nor does it take memory in the arena. Every element goes through the same
operations, so the bits stay the same.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise

from fastprop import _core
from fastprop.graph.ir import Instruction, Value, instruction, kernel
from fastprop.graph.schedule import dependencies, earliest_phases

_OPS = ("add", "sub", "mul", "div", "neg", "square")
_SLOPES = ("relu", "sigmoid", "tanh")
"""Activations with a cheap derivative, in the order of ChainOp in elementwise_chain.h."""
_MOST_STEPS = 24
_MOST = 40
"""Steps, with those that compute something again, and scalars: each may need a register."""
_MOST_RECOMPUTED = 4


def fuse_elementwise(instructions: list[Instruction], kept: set[Value]) -> list[Instruction]:
    """Chains of the elementwise instructions of one shape that vary with the batch.

    What does not vary with it is small, or it is updated in one pass already.

    Args:
        instructions: In dependency order.
        kept: Base values that somebody outside reads.
    """
    codes = [_code(item) for item in instructions]
    if sum(code is not None for code in codes) < 2:
        return instructions
    depends = dependencies(instructions)
    units = _Units(depends)
    kinds = _kinds(instructions, codes, depends, units)
    makers = {v.base: i for i, item in enumerate(instructions) for v in item.outputs}
    # What makes a value joins who uses it, before those that only read the same do: so a value that
    # is used late is computed late.
    for i, kind in kinds.items():
        for value in instructions[i].inputs:
            maker = None if value is None else makers.get(value.base)
            if maker is not None and maker < i and kinds.get(maker) == kind:
                units.join(maker, i)
    readers: dict[Value, list[int]] = {}
    for i in kinds:
        for value in instructions[i].inputs:
            if value is not None and value.batched:
                readers.setdefault(value.base, []).append(i)
    for together in readers.values():
        for i, j in pairwise(together):
            if kinds[i] == kinds[j]:
                units.join(i, j)
    emission = _Emission(instructions, codes, kinds, kept)
    return [*emission.reversed(units.ordered())][::-1]


@cache
def _codes() -> dict[tuple[str, float], int]:
    """ChainOp by name, and by kind of an activation's derivative."""
    kinds = [name for name, _ in _core.activation_info()]
    codes = {(name, -1.0): code for code, name in enumerate(_OPS)}
    for code, name in enumerate(_SLOPES, len(_OPS)):
        codes["activation_backward", float(kinds.index(name))] = code
    return codes


def _code(item: Instruction) -> int | None:
    """The instruction as a step of a chain, if it can be one."""
    out = item.outputs[0]
    if not out.batched or out.dtype.kind != "f" or item.overwrites or item.when >= 0:
        return None
    code = _codes().get((item.name, item.attrs.get("kind", -1.0)))
    if code is None or not all(_fits(value, out) for value in item.inputs):
        return None
    return code


def _fits(value: Value | None, out: Value) -> bool:
    """Whether a step can read it: an array like the output, or a single number."""
    if value is None:
        return False
    return value.shape == out.shape if value.batched else math.prod(value.shape) == 1


def _kinds(
    instructions: Sequence[Instruction],
    codes: Sequence[int | None],
    depends: list[dict[int, bool]],
    units: _Units,
) -> dict[int, tuple[object, ...]]:
    """What those that may become one have in common: beside shape and dtype the phase, so that none
    of them has to wait for a barrier more, and what has been overwritten before."""
    phases = earliest_phases(depends, [0] * len(instructions))
    overwriting = sum(1 << i for i, item in enumerate(instructions) if item.overwrites)
    return {
        i: (item.outputs[0].shape, item.outputs[0].dtype, phases[i], units.before[i] & overwriting)
        for i, item in enumerate(instructions)
        if codes[i] is not None
    }


def _bits(mask: int) -> Iterator[int]:
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


class _Units:
    """Instructions, some of which have become one, and what must come before each unit.

    Sets of instructions are the bits of integers.
    """

    def __init__(self, depends: list[dict[int, bool]]) -> None:
        self.leader = list(range(len(depends)))
        self.members = [1 << i for i in self.leader]
        self._needs = [sum(1 << j for j in needed) for needed in depends]
        self.before: list[int] = []  # with what that needs in turn
        for needed in depends:
            before = 0
            for j in needed:
                before |= self.before[j] | 1 << j
            self.before.append(before)

    def join(self, i: int, j: int) -> None:
        """Make the units of two instructions one, unless that is too large or something has to run
        between the two."""
        a, b = sorted((self.leader[i], self.leader[j]))
        members = self.members[a] | self.members[b]
        if a == b or members.bit_count() > _MOST_STEPS:
            return
        if self._is_between(a, b, members) or self._is_between(b, a, members):
            return
        before = (self.before[a] | self.before[b]) & ~members
        for k in _bits(self.members[b]):
            self.leader[k] = a
        self.members[a] = members
        self._needs[a] = (self._needs[a] | self._needs[b]) & ~members
        self.before[a] = before
        for k, needed in enumerate(self.before):
            if needed & members:
                self.before[k] = needed | before | members

    def _is_between(self, first: int, second: int, members: int) -> bool:
        """Whether the second unit needs another one that needs the first."""
        found = self.members[first]
        return any(
            self.before[self.leader[k]] & found for k in _bits(self._needs[second] & ~members)
        )

    def ordered(self) -> list[list[int]]:
        """The members of each unit: units in dependency order, otherwise by their last members."""
        waiting: dict[int, int] = {}
        users: dict[int, list[int]] = {}
        for unit in dict.fromkeys(self.leader):
            needs = {self.leader[k] for k in _bits(self._needs[unit])}
            waiting[unit] = len(needs)
            for k in needs:
                users.setdefault(k, []).append(unit)
        ready = [(self.members[u].bit_length(), u) for u, count in waiting.items() if count == 0]
        heapq.heapify(ready)
        order: list[list[int]] = []
        while ready:
            unit = heapq.heappop(ready)[1]
            order.append([*_bits(self.members[unit])])
            for user in users.get(unit, ()):
                waiting[user] -= 1
                if waiting[user] == 0:
                    heapq.heappush(ready, (self.members[user].bit_length(), user))
        return order


class _Emission:
    """Writes units as instructions, from the last to the first: who reads what is known then."""

    def __init__(
        self,
        instructions: list[Instruction],
        codes: Sequence[int | None],
        kinds: dict[int, tuple[object, ...]],
        kept: set[Value],
    ) -> None:
        self._instructions = instructions
        self._codes = codes
        self._kinds = kinds
        self._makers = {instructions[i].outputs[0]: i for i in kinds}
        self._overwritten = {v for item in instructions if item.overwrites for v in item.writes()}
        self._read = set(kept)  # base values that somebody behind reads, or waits for

    def reversed(self, units: Sequence[Sequence[int]]) -> Iterator[Instruction]:
        for members in reversed(units):
            if members[0] not in self._kinds:
                item = self._instructions[members[0]]
                self._reads(item.inputs)
                yield item
                continue
            steps = self._live(members)
            if steps:
                yield self._emit(steps)

    def _reads(self, values: Iterable[Value | None]) -> None:
        for value in values:
            if value is not None:
                self._read.update((value.base, *value.awaited()))

    def _live(self, members: Sequence[int]) -> list[int]:
        """Those that somebody needs, now that readers behind compute some values themselves."""
        live: list[int] = []
        wanted = set(self._read)
        for i in reversed(members):
            item = self._instructions[i]
            if item.outputs[0] in wanted:
                live.append(i)
                wanted.update(v.base for v in item.inputs if v is not None)
        return live[::-1]

    def _inputs(self, steps: Sequence[int]) -> dict[Value, Value]:
        """What the steps read from outside, by its base."""
        items = [self._instructions[i] for i in steps]
        made = {item.outputs[0] for item in items}
        read = [v for item in items for v in item.inputs if v is not None]
        return {v.base: v for v in read if v.base not in made}

    def _emit(self, live: list[int]) -> Instruction:
        outputs = [o for i in live if (o := self._instructions[i].outputs[0]) in self._read]
        steps = self._with_recomputed(live) if len(live) > 1 else live
        inputs = self._inputs(steps)
        self._reads(inputs.values())
        if len(steps) == 1:
            return self._instructions[steps[0]]
        items = [self._instructions[i] for i in steps]
        # Read by more than a thread's own rows.
        shared = {
            v.base
            for item in items
            for k, v in enumerate(item.inputs)
            if v is not None and k not in item.own
        }
        places = {base: k for k, base in enumerate([*inputs, *outputs])}
        return instruction(
            "elementwise_chain",
            [*inputs.values()],
            outputs,
            _attributes(_steps(items, [self._codes[i] for i in steps], places)),
            own=tuple(k for k, base in enumerate(inputs) if base not in shared),
            # Alone, the output is written by the last step, when nothing else is read any more.
            inplace=tuple(range(len(inputs))) if len(outputs) == 1 else (),
        )

    def _with_recomputed(self, steps: list[int]) -> list[int]:
        """What can be computed from arrays that the chain reads anyway is not read: a few steps in
        the first cache cost less than an array that is written and read."""
        while True:
            inputs = self._inputs(steps)
            for base in inputs:
                more = self._cone(base, inputs, self._kinds[steps[-1]])
                total = sorted({*steps, *more})
                if more and len(total) + sum(not v.batched for v in inputs.values()) <= _MOST:
                    steps = total
                    break
            else:
                return steps

    def _cone(self, base: Value, inputs: dict[Value, Value], kind: tuple[object, ...]) -> set[int]:
        """The few instructions that make a value from others of the inputs; none if there is no
        such way."""
        found: set[int] = set()
        stack = [base]
        while stack:
            value = stack.pop()
            i = self._makers.get(value)
            if i is None or self._kinds[i] != kind or self._codes[i] == _OPS.index("div"):
                return set()
            found.add(i)
            if len(found) > _MOST_RECOMPUTED:
                return set()
            for operand in self._instructions[i].inputs:
                assert operand is not None
                if operand.batched:
                    if operand.base is base or operand.base not in inputs:
                        stack.append(operand.base)
                elif operand.base in self._overwritten:
                    return set()
        return found


def _attributes(steps: list[int]) -> dict[str, float]:
    """By name: how many steps there are, then their numbers, then zeros."""
    names = kernel("elementwise_chain")[1]
    numbers = [len(steps) // 4, *steps, *[0] * (len(names) - 1 - len(steps))]
    return dict(zip(names, map(float, numbers), strict=True))


def _steps(
    items: list[Instruction], codes: Sequence[int | None], places: dict[Value, int]
) -> list[int]:
    """(op, a, b, y) of every step; a register is free again after its last reader."""
    last = {v.base: s for s, item in enumerate(items) for v in item.inputs if v is not None}
    arrays = len(places)
    places = dict(places)
    free: list[int] = []
    used = 0
    steps: list[int] = []
    for s, (item, code) in enumerate(zip(items, codes, strict=True)):
        assert code is not None
        operands = [v.base for v in item.inputs if v is not None]
        read = [places[base] for base in operands]
        free.extend({places[b] for b in operands if last[b] == s and places[b] >= arrays})
        out = item.outputs[0]
        if out not in places:
            if not free:
                free.append(arrays + used)
                used += 1
            places[out] = free.pop()
        steps += [code, read[0], read[-1], places[out]]
    return steps
