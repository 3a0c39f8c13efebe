"""Products that are sliced by columns: where the planner does so, and that no bit depends on it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import fastprop as fp
from fastprop import nn
from fastprop.graph import cost, slices
from fastprop.graph.ir import BATCH, Value, columns_of, instruction

F32 = np.dtype(np.float32)


def product(rows: int, inner: int, columns: int) -> float:
    x = Value((rows, inner), F32, batched=True)
    w = Value((inner, columns), F32, array=np.zeros(0, np.float32))
    y = Value((rows, columns), F32, batched=True)
    return cost.gain_by_columns(instruction("dense", [x, w], [y], own=(0,)), rows, 2)


@pytest.mark.parametrize(("rows", "inner", "columns"), [(128, 784, 512), (1024, 2048, 2048)])
def test_large_weights_pay_for_two_waits(rows: int, inner: int, columns: int) -> None:
    assert product(rows, inner, columns) > 0


@pytest.mark.parametrize(
    ("rows", "inner", "columns"),
    [(256, 100, 256), (128, 128, 128), (128, 512, 10), (8192, 512, 512)],
)
def test_small_weights_few_columns_and_many_rows_do_not(
    rows: int, inner: int, columns: int
) -> None:
    assert product(rows, inner, columns) <= 0


def test_one_row_is_shared_only_by_columns() -> None:
    assert product(1, 2048, 2048) > 0


@pytest.mark.parametrize("columns", [1, 15, 16, 100, 300, 1000])
@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_shares_of_columns_are_whole_units(columns: int, threads: int) -> None:
    shares = cost.column_shares(columns, 16, threads)
    assert len(shares) == threads
    assert sum(shares) == columns
    assert all(share % 16 == 0 for share in shares[:-1])


def plain(dtype: str) -> nn.Module:
    return nn.Sequential(
        nn.Dense(37, 100, "relu", dtype=dtype),
        nn.Dense(100, 33, "tanh", dtype=dtype),
        nn.Dense(33, 130, "gelu", dtype=dtype),
        nn.Dense(130, 3, dtype=dtype),
    )


def with_dropout(dtype: str) -> nn.Module:
    return nn.Sequential(
        nn.Dense(37, 64, "relu", dtype=dtype),
        nn.Dropout(0.3),
        nn.Dense(64, 50, "silu", dtype=dtype),
        nn.Dense(50, 3, dtype=dtype),
    )


def with_batch_norm(dtype: str) -> nn.Module:
    return nn.Sequential(
        nn.Dense(37, 48, dtype=dtype),
        nn.BatchNorm(48, dtype=dtype),
        nn.ReLU(),
        nn.Dense(48, 3, dtype=dtype),
    )


class Skip(nn.Module):
    """Two layers around each of which a value passes by."""

    def __init__(self, dtype: str) -> None:
        super().__init__()
        self.first = nn.Dense(37, 40, "relu", dtype=dtype)
        self.second = nn.Dense(40, 40, "relu", dtype=dtype)
        self.last = nn.Dense(40, 3, dtype=dtype)

    def forward(self, x: fp.Tensor) -> fp.Tensor:
        h = self.first(x)
        return self.last(h + self.second(h))


MODELS = [plain, with_dropout, with_batch_norm, Skip]


def trained(
    make: Callable[[str], nn.Module], dtype: str, batch: int, threads: int
) -> tuple[fp.Trainer, list[np.ndarray]]:
    fp.seed(3)
    trainer = fp.Trainer(make(dtype), "mse", "adam", seed=4, threads=threads)
    rng = np.random.default_rng(5)
    x, y = (rng.normal(size=(3 * batch + 2, n)).astype(dtype) for n in (37, 3))
    trainer.fit(x, y, epochs=2, batch_size=batch, verbose=False)
    weights = [p.data for p in trainer.model.parameters()]
    return trainer, [*weights, trainer.predict(x)]


@pytest.mark.parametrize("batch", [2, 7, 64])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("make", MODELS)
def test_bits_do_not_depend_on_how_products_are_sliced(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[str], nn.Module], dtype: str, batch: int
) -> None:
    _, want = trained(make, dtype, batch, 1)
    monkeypatch.setattr(slices, "gain_by_columns", lambda item, capacity, threads: 1.0)
    for threads in (2, 3, 4):
        trainer, got = trained(make, dtype, batch, threads)
        assert trainer.program is not None
        items = trainer.program.instructions
        for name in ("dense", "dense_backward_data"):
            assert all(columns_of(item.key) for item in items if item.name == name)
        assert "by columns" in trainer.program.describe()
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(a, b)


def test_the_planner_slices_wide_layers_by_columns_and_narrow_ones_by_rows() -> None:
    trainer = fp.Trainer(
        nn.Sequential(nn.Dense(784, 512, "relu"), nn.Dense(512, 10)), "mse", "adam", threads=2
    )
    rng = np.random.default_rng(0)
    x, y = (rng.random((128, n), np.float32) for n in (784, 10))
    trainer.fit(x, y, epochs=1, batch_size=128, verbose=False)
    assert trainer.program is not None
    keys = [item.key for item in trainer.program.instructions if item.name == "dense"]
    assert [columns_of(key) for key in keys] == [512, 0]
    assert keys[1] == BATCH
    assert not trainer.program.prologue  # nobody keeps packed weights
