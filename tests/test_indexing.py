"""``x[…]``, pieces and index arrays beside NumPy: values, derivatives, records, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import uniform

import fastprop as fp
from fastprop import Tensor, _core
from fastprop import functional as F

SHAPE = (4, 5, 3)
_MASK = np.array([True, False, True, True])

KEYS: dict[str, Any] = {
    "an integer": 2,
    "a negative integer": -1,
    "a NumPy integer": np.int64(1),
    "a slice": slice(1, 3),
    "a slice backwards": slice(None, None, -2),
    "a slice that is empty": slice(3, 1),
    "a slice beyond the end": slice(2, 100),
    "a slice with NumPy bounds": slice(np.int64(1), np.int64(4)),
    "nothing": (),
    "dots": ...,
    "a new axis": None,
    "several": (slice(None), 1, slice(None, 2)),
    "dots between": (1, ..., -1),
    "new axes between": (None, slice(1, None), None, 2),
    "all of it": (slice(None), slice(None)),
    "more items than a call takes": (*[None] * 4, slice(1, 2), slice(None), slice(0, 3, 2)),
    "indices": np.array([0, 2, 2]),
    "negative indices": np.array([-1, 0, -4]),
    "no indices": np.zeros(0, np.int64),
    "a single index in an array": np.array(3),
    "a matrix of indices": np.array([[0, 1], [3, 0]]),
    "indices of 32 bits": np.array([3, 1], np.int32),
    "unsigned indices": np.array([3, 1], np.uint64),
    "every second index": np.array([3, 0, 1, 0])[::2],
    "a list": [1, 3],
    "indices of the second axis": (slice(None), np.array([4, 0])),
    "indices of the last axis": (slice(None), slice(None), np.array([1, -1, 1])),
    "indices behind a part": (slice(1, 3), np.array([4, 0])),
    "points": (np.array([0, 3]), np.array([1, -1])),
    "points of all axes": (np.array([0, 3]), np.array([1, 2]), np.array([[2], [0]])),
    "points and a slice": (np.array([0, 3]), slice(None), np.array([1, 2])),
    "points and an integer": (np.array([0, 3]), 2),
    "a mask": _MASK,
    "every second element of a mask": np.repeat(_MASK, 2)[::2],
    "a mask of nothing": np.zeros(4, bool),
    "a mask of the second axis": (slice(None), np.array([True, False, False, True, True])),
    "a mask of two axes": np.arange(20).reshape(4, 5) % 3 == 0,
    "a mask of all axes": np.arange(60).reshape(SHAPE) % 7 < 2,
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("name", KEYS)
def test_keys_pick_what_they_pick_in_numpy(name: str, dtype: Any) -> None:
    a = uniform(SHAPE, -9, 9).astype(dtype)
    for _ in range(2):  # planned, and found again
        y = Tensor(a)[KEYS[name]]
        np.testing.assert_array_equal(y.data, a[KEYS[name]])
        assert y.dtype == a.dtype


@pytest.mark.parametrize("name", KEYS)
def test_derivatives_go_where_the_elements_came_from(name: str) -> None:
    a = uniform(SHAPE)
    numbers = np.arange(a.size).reshape(SHAPE)[KEYS[name]]
    seed = uniform(numbers.shape, seed=1)
    expected = np.zeros(a.size)
    np.add.at(expected, numbers.ravel(), seed.ravel())
    for _ in range(2):
        x = Tensor(a, requires_grad=True)
        (x[KEYS[name]] * 1.0).backward(Tensor(seed))
        assert x.grad is not None
        np.testing.assert_array_equal(x.grad.data, expected.reshape(SHAPE))


@pytest.mark.parametrize("name", KEYS)
def test_keys_mean_the_same_in_a_compiled_function(name: str) -> None:
    x = Tensor(uniform(SHAPE), requires_grad=True)
    key = KEYS[name]

    @fp.compile
    def step() -> Tensor:
        x.grad = None
        y = (x[key] * 3.0).sum()
        y.backward()
        return y

    if x.data[key].size == 0:
        return
    np.testing.assert_allclose(step().data, (x.data[key] * 3).sum(), rtol=1e-14)
    assert x.grad is not None
    compiled = x.grad.data.copy()
    x.grad = None
    (x[key] * 3.0).sum().backward()
    np.testing.assert_array_equal(x.grad.data, compiled)


def test_tensors_are_indices_and_masks() -> None:
    a = uniform(SHAPE, dtype=np.float32)
    x, index = Tensor(a, requires_grad=True), Tensor(np.array([-1, 2]))
    np.testing.assert_array_equal(x[index].data, a[[-1, 2]])
    np.testing.assert_array_equal(x[:, index].data, a[:, [-1, 2]])
    np.testing.assert_array_equal(x[index, index].data, a[[-1, 2], [-1, 2]])
    np.testing.assert_array_equal(x[x > 0].data, a[a > 0])
    np.testing.assert_array_equal(x[fp.nn.Buffer(np.array([1, 0]))].data, a[[1, 0]])


def test_an_index_is_read_when_it_is_used() -> None:
    x, index = Tensor(uniform(SHAPE), requires_grad=True), np.array([0, 1])
    y = x[index]
    index[:] = 3
    np.testing.assert_array_equal(x[index].data, x.data[[3, 3]])
    np.testing.assert_array_equal(y.data, x.data[[0, 1]])


def test_what_an_index_does_is_recorded_as_its_op() -> None:
    x = Tensor(uniform(SHAPE), requires_grad=True)
    y = x[np.array([1, 1])]
    assert y.op is not None
    assert y.op.name == "take"
    assert y.inputs[0] is x
    with fp.no_grad():
        assert x[np.array([1, 1])].op is None
        assert x[1:2].op is None


def test_second_derivatives_through_keys() -> None:
    for key in KEYS.values():
        x = Tensor(uniform(SHAPE), requires_grad=True)
        if x.data[key].size:
            (first,) = fp.grad((x[key] ** 3).sum(), [x], create_graph=True)
            (second,) = fp.grad(first.sum(), [x])
            counts = np.zeros(SHAPE)
            np.add.at(counts.reshape(-1), np.arange(60).reshape(SHAPE)[key].ravel(), 1)
            np.testing.assert_allclose(second.data, 6 * x.data * counts, rtol=1e-13)


def test_observers_see_every_op_of_a_key() -> None:
    x = Tensor(uniform(SHAPE), requires_grad=True)
    seen: list[str] = []
    before = _core.set_observer(lambda op, inputs, result: seen.append(op.name))
    try:
        x[1]
        x[np.array([0, 1])]
        x[_MASK]
    finally:
        _core.set_observer(before)
    assert seen == ["slice", "reshape", "take", "take"]


@pytest.mark.parametrize(
    ("key", "kind", "message"),
    [
        (4, IndexError, "index 4 is out of range for axis 0"),
        ((0, -6), IndexError, "index -6 is out of range for axis 1"),
        ((0, 0, 0, 0), IndexError, "4 indices for the 3 axes"),
        ((..., ...), IndexError, "may have one '...' only"),
        (np.array([0, 4]), IndexError, "indices go from 0 to 4, the axis has 4"),
        ((slice(None), np.array([-6])), IndexError, "indices go from -6 to -6, the axis has 5"),
        ((np.array([0]), np.array([5])), IndexError, "indices go from 5 to 5, the axis has 5"),
        ((np.zeros(2, int), np.zeros(3, int)), IndexError, "do not broadcast"),
        (np.ones(3, bool), IndexError, "a mask has extent 3 where axis 0"),
        (np.ones((4, 4), bool), IndexError, "a mask has extent 4 where axis 1"),
        (True, TypeError, "a single True or False is no index"),
        (1.5, TypeError, "indices are integers, slices"),
        ("a", TypeError, "indices are integers, slices"),
        (slice(0, 1.5), TypeError, "slice indices must be integers"),
        (np.array([0.5]), TypeError, "indices are integers, slices"),
    ],
)
def test_keys_that_do_not_fit(key: Any, kind: type[Exception], message: str) -> None:
    x = Tensor(uniform(SHAPE), requires_grad=True)
    for _ in range(2):
        with pytest.raises(kind, match=message.replace("...", r"\.\.\.")):
            x[key]


def test_scalars_have_no_parts() -> None:
    x = Tensor(np.float64(3.0), requires_grad=True)
    for key in (0, slice(None), np.array([0]), np.ones(1, bool)):
        with pytest.raises(IndexError, match="indices for the 0 axes"):
            x[key]
    assert x[()].shape == x[...].shape == ()
    assert x[None].shape == (1,)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("size", [1, 2, 7, [1, 0, 3], [4]])
def test_pieces_of_an_axis(size: Any, axis: int) -> None:
    a = uniform((4, 4, 4))
    x = Tensor(a, requires_grad=True)
    cuts = range(size, 4, size) if isinstance(size, int) else np.cumsum(size)[:-1]
    expected = np.split(a, list(cuts), axis)
    pieces = x.split(size, axis)
    assert len(pieces) == len(expected)
    total = Tensor(0.0, dtype=np.float64)
    for i, (found, wanted) in enumerate(zip(pieces, expected, strict=True)):
        np.testing.assert_array_equal(found.data, wanted)
        total = total + (i + 1) * found.sum()
    total.backward()
    assert x.grad is not None
    weights = [np.full_like(part, i + 1) for i, part in enumerate(expected)]
    np.testing.assert_array_equal(x.grad.data, np.concatenate(weights, axis))


def test_pieces_of_nothing() -> None:
    (piece,) = Tensor(np.zeros((0, 3))).split(2)
    assert piece.shape == (0, 3)
    with pytest.raises(ValueError, match="size must be positive, got 0"):
        Tensor(np.zeros(3)).split(0)
    with pytest.raises(ValueError, match="do not add up"):
        Tensor(np.zeros(3)).split([1, 1])
    with pytest.raises(TypeError, match="narrow"):
        _core.pieces(None, None)
    with pytest.raises(ValueError, match="no axis 3"):
        _core.pieces(lambda *a: a, Tensor(np.zeros(3)), 3, 1)


def test_indices_as_tensors() -> None:
    index = np.array([1, -1])
    found = _core.index_tensor(index, 3)
    np.testing.assert_array_equal(found.data, [1, 2])
    inside = Tensor(np.array([0, 2]))
    assert _core.index_tensor(inside, 3) is inside
    for wrong in (np.array([3]), np.array([-4]), np.array([0], np.int32), [0], 0, None):
        assert _core.index_tensor(wrong, 3) is None


def test_derivatives_of_two_uses_add_up_to_the_bits_of_an_addition() -> None:
    a, b = uniform((7, 3), dtype=np.float32), uniform((7, 3), dtype=np.float32, seed=1)
    for _ in range(2):
        x = Tensor(a, requires_grad=True)
        y = x * Tensor(b) + F.exp(x)
        y.backward(Tensor(b))
        assert x.grad is not None
        np.testing.assert_array_equal(x.grad.data, b * b + b * F.exp(Tensor(a)).data)
        y = x * Tensor(b)
        y.backward(Tensor(b))  # beside what is there
        np.testing.assert_array_equal(x.grad.data, (b * b + b * F.exp(Tensor(a)).data) + b * b)


def test_leaves_that_get_one_derivative_have_memory_of_their_own() -> None:
    x, y = (Tensor(uniform((3, 2), seed=i), requires_grad=True) for i in (0, 1))
    seed = Tensor(uniform((3, 2), seed=2))
    (x + y).backward(seed)
    assert x.grad is not None
    assert y.grad is not None
    np.testing.assert_array_equal(x.grad.data, seed.data)
    assert not np.shares_memory(x.grad.data, y.grad.data)
    assert not np.shares_memory(x.grad.data, seed.data)
    assert x.grad.op is None
