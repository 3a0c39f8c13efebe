"""How long a step takes, roughly: enough to choose a number of threads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fastprop import _core
from fastprop.graph.fuse_updates import makes_gradient
from fastprop.graph.ir import ALONE, BATCH, Instruction, Value, columns_of
from fastprop.graph.schedule import Schedule

# Nanoseconds, as measured on 2-core x86-64 machines; a factor of two either way changes little.
_NS_PER_PRODUCT_FLOP = 1 / 60
_NS_PER_BYTE = 1 / 15
_NS_PER_INSTRUCTION = 40.0
_NS_PER_BARRIER = 1000.0
# One more, where cores share a cache: 6 and 29 instead of 2 took 0.98 to 1.01 of the time.
_NS_PER_FURTHER_BARRIER = 1000.0
# What another core wrote has to be fetched. Fitted: 4-64-64-1 took 38 µs on two threads, 18 on one.
_NS_PER_SHARED_BYTE = 0.3

# To bring an element of W into panels, where that is done: from this size of W and for more rows.
_NS_PER_PACKED_ELEMENT = 0.35
_LEAST_PACKED_BYTES = 16 * 1024
_LEAST_PACKED_ROWS = 13
# To fetch a byte that another core wrote while a product runs: part of it is hidden.
_NS_PER_FETCHED_BYTE = 0.04
# A wait for the slower of two threads costs more than the barrier: 26 µs in two of them.
_NS_PER_WAIT = 5000.0

_PRODUCTS = ("matmul", "dense")


def choose_threads(schedule: Schedule, capacity: int) -> int:
    """The number of threads with the shortest predicted step, at most what the process may use."""
    if _core.available_threads() == 1:
        return 1
    times = predicted_ns(schedule, capacity)
    best = 1
    for threads, time in times.items():
        if time < 0.9 * times[best]:
            best = threads
    return best


def predicted_ns(schedule: Schedule, capacity: int) -> dict[int, float]:
    """Predicted time of a step for every number of threads that the process may use."""
    work = [instruction_ns(item) for item in schedule.instructions]
    counts = range(1, _core.available_threads() + 1)
    return {threads: _step_ns(schedule, work, capacity, threads) for threads in counts}


def affordable_barriers(schedule: Schedule, capacity: int, threads: int, share: float) -> int:
    """How many barriers more take at most that share of the predicted time of a step."""
    work = [instruction_ns(item) for item in schedule.instructions]
    step = _step_ns(schedule, work, capacity, threads)
    return int(share * step / (_NS_PER_FURTHER_BARRIER * math.log2(threads)))


def _step_ns(schedule: Schedule, work: list[float], capacity: int, threads: int) -> float:
    if threads == 1:
        return sum(work)
    shared = sum(
        value.nbytes
        for item in schedule.instructions
        for value, own in item.reads()
        if value.in_arena and not own
    )
    time = schedule.barriers * _NS_PER_BARRIER * math.log2(2 * threads)
    time += shared * _NS_PER_SHARED_BYTE * (threads - 1) / threads
    for item, ns in zip(schedule.instructions, work, strict=True):
        extent = columns_of(item.key) or {BATCH: capacity, ALONE: 1}.get(item.key, item.key)
        time += max(ns / min(threads, max(extent, 1)), _NS_PER_INSTRUCTION)
    return time


def gain_by_columns(item: Instruction, capacity: int, threads: int) -> float:
    """Nanoseconds that a product saves if it is sliced by columns instead of rows of the batch."""
    x, out = item.inputs[0], item.outputs[0]
    if x is None or not out.batched:
        return 0.0
    inner, columns, itemsize = x.shape[-1], out.shape[-1], out.dtype.itemsize
    rows = math.prod(x.shape[1:-1])
    share = math.ceil(capacity / threads) * rows
    rows *= capacity
    unit = max(_core.panel_width(out.dtype), 64 // itemsize)
    widest = max(column_shares(columns, unit, threads))
    gain = _product_share_ns(share, inner, columns, itemsize)
    gain -= _product_share_ns(rows, inner, widest, itemsize)
    gain -= rows * inner * itemsize * (1.0 - 1.0 / threads) * _NS_PER_FETCHED_BYTE
    return gain - 2.0 * _NS_PER_WAIT * math.log2(threads)


def column_shares(columns: int, unit: int, threads: int) -> list[int]:
    """How many columns each thread has; ``Team::columns`` in C++."""
    units = columns // unit
    begins = [units * rank // threads * unit for rank in range(threads)]
    return [b - a for a, b in zip(begins, [*begins[1:], columns], strict=True)]


def _product_share_ns(rows: int, inner: int, columns: int, itemsize: int) -> float:
    """What a thread takes for so many rows and columns, with what it packs for them."""
    elements = inner * columns
    ns = 2.0 * rows * elements * _NS_PER_PRODUCT_FLOP
    if rows >= _LEAST_PACKED_ROWS and elements * itemsize > _LEAST_PACKED_BYTES:
        ns += elements * _NS_PER_PACKED_ELEMENT
    return ns


def instruction_ns(item: Instruction) -> float:
    """Predicted time on one thread."""
    values = [v for v in (*item.inputs, *item.outputs) if v is not None and v.source is None]
    return _NS_PER_INSTRUCTION + kernel_ns(sum(v.nbytes for v in values), product_flops(item))


def product_flops(item: Instruction) -> float:
    """2 m k n of a product with all rows, else 0."""
    if makes_gradient(item):
        return kernel_flops(
            "dense_backward_weights", _shape(item.inputs[0]), item.outputs[0].shape, {}
        )
    x = item.inputs[0] if item.inputs else None
    return kernel_flops(item.name, _shape(x), item.outputs[0].shape, item.attrs)


def _shape(value: Value | None) -> tuple[int, ...]:
    return () if value is None else value.shape


def kernel_ns(moved_bytes: int, flops: float) -> float:
    """Predicted time of a kernel: to move its bytes or to multiply, whichever is longer."""
    return max(moved_bytes * _NS_PER_BYTE, flops * _NS_PER_PRODUCT_FLOP)


def kernel_flops(
    name: str, x: tuple[int, ...], out: tuple[int, ...], attrs: Mapping[str, Any]
) -> float:
    """2 m k n of a product with all rows, from the shapes of its first operand and its result;
    else 0. For packed operands from the row-major ones."""
    if not name.startswith(_PRODUCTS) or not x or name == "dense_backward_bias":
        return 0.0
    if name.startswith("dense_backward_weights"):
        return 2.0 * math.prod(x) * out[-1]
    return 2.0 * math.prod(out) * (x[-2] if attrs.get("transpose_a") else x[-1])
