"""Mixup inside of a Program, against steps by hand on rows that NumPy has mixed."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import DTYPES
from training import classes, network, regression, weights_of

import fastprop as fp
from fastprop import Tensor, grad, losses
from fastprop.graph.ops_mixup import mixup


def share_of(alpha: float, seed: int, step: int) -> float:
    """What a row keeps of itself."""
    return float(mixup(np.array([1.0, 0.0]), alpha, seed=seed, step=step).data[0])


def shift_of(rows: int, seed: int, step: int) -> int:
    """How much further on the partner of a row is."""
    if rows < 2:
        return 0
    first = np.arange(rows) == 0
    seen = mixup(first.astype(float), 50.0, seed=seed, step=step).data
    (partner,) = set(np.flatnonzero(seen)) - {0}
    return rows - partner


def mixed(a: np.ndarray, share: float, seed: int, step: int, back: bool = False) -> np.ndarray:
    shift = shift_of(len(a), seed, step)
    return share * a + (1 - share) * np.roll(a, shift if back else -shift, axis=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1,), (4,), (5, 3), (6, 2, 9), (3, 33), (0, 2)])
def test_the_op(shape, dtype) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    y = mixup(x, 0.3, seed=5, step=2)
    assert y.dtype == dtype
    tolerance = 1e-6 if dtype == "float32" else 1e-15
    np.testing.assert_allclose(
        y.data, mixed(x, share_of(0.3, 5, 2), 5, 2), rtol=tolerance, atol=1e-7
    )


def test_derivatives() -> None:
    x = np.random.default_rng(0).normal(size=(5, 3))
    fp.gradcheck(lambda a: mixup(a, 0.3, seed=1, step=0) ** 2, [x])
    fp.gradgradcheck(lambda a: mixup(a, 0.3, seed=1, step=0) ** 3, [x])
    a = Tensor(x, requires_grad=True)
    weights = np.arange(15.0).reshape(5, 3)
    found = grad((mixup(a, 0.3, seed=1, step=0) * weights).sum(), a).data
    np.testing.assert_allclose(
        found, mixed(weights, share_of(0.3, 1, 0), 1, 0, back=True), rtol=1e-14
    )


def test_shares_depend_on_seed_and_step() -> None:
    shares = {share_of(0.4, seed, step) for seed in (0, 1, 2**40) for step in range(20)}
    assert len(shares) == 60
    assert all(0.5 <= s <= 1 for s in shares)
    assert share_of(0.4, 2**40, 3) == share_of(0.4, 2**40, 3)


def test_all_pairs_are_equally_likely() -> None:
    """Whatever order the rows have: the first and the middle ones of a sorted batch, too."""
    rows, steps = 6, 6000
    pairs = np.bincount([shift_of(rows, 3, step) for step in range(steps)], minlength=rows)
    assert pairs[0] == 0  # never with itself
    np.testing.assert_allclose(pairs[1:], steps / (rows - 1), atol=5 * (steps / 5) ** 0.5)
    assert [shift_of(2, seed, 1) for seed in range(9)] == [1] * 9


def test_the_op_refuses() -> None:
    with pytest.raises(TypeError, match="mixup: expects float32 or float64"):
        mixup(np.arange(3), 0.2)
    with pytest.raises(ValueError, match="mixup: x must have a first axis of rows"):
        mixup(np.float64(1), 0.2)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["labels", "one-hot", "numbers"])
def test_steps_are_as_by_hand(kind: str, weighted: bool) -> None:
    """Whole runs: order of rows, a short last batch, shares, targets, weights."""
    if kind == "numbers":
        x, y = regression(70, "float64")
        loss, width, soft = losses.mse, 1, y[:, None]
    else:
        x, y = classes(70)
        x, soft = x.astype("float64"), np.eye(3)[y]
        loss, width, y = losses.cross_entropy, 3, y if kind == "labels" else soft
    weight = np.random.default_rng(1).uniform(0, 2, 70) if weighted else None
    model, by_hand = (network(x.shape[1], 6, width, dtype="float64") for _ in range(2))
    trainer = fp.Trainer(model, loss, fp.optim.SGD(lr=0.2), seed=9)
    options = {"sample_weight": weight, "shuffle": False, "batch_size": 32}
    history = trainer.fit(x, y, epochs=2, mixup=0.5, **options)
    optimizer, found, step = fp.optim.SGD(by_hand.parameters(), lr=0.2), [], 0
    for _ in range(2):
        for start in (0, 32, 64):
            rows = slice(start, min(start + 32, 70))
            share = share_of(0.5, 9, step)
            w = None if weight is None else mixed(weight[rows], share, 9, step)
            pred = by_hand(Tensor(mixed(x[rows], share, 9, step)))
            value = loss(pred, mixed(soft[rows], share, 9, step), sample_weight=w)
            value.backward()
            optimizer.step()
            optimizer.zero_grad()
            found.append((value.item(), len(pred) if w is None else w.sum()))
            step += 1
    for p, q in zip(model.parameters(), by_hand.parameters(), strict=True):
        np.testing.assert_allclose(p.data, q.data, rtol=1e-11, atol=1e-14)
    values = np.array(found).reshape(2, 3, 2)
    expected = (values[..., 0] * values[..., 1]).sum(1) / values[..., 1].sum(1)
    np.testing.assert_allclose(history["loss"], expected, rtol=1e-12)


def test_bits_do_not_depend_on_threads_or_cuts() -> None:
    x, y = classes(200)
    ends = []
    for threads, epochs in ((1, [4]), (2, [4]), (2, [1, 1, 2])):
        model = network(2, 33, 3)
        trainer = fp.Trainer(model, "cross_entropy", fp.optim.Adam(lr=0.02), threads=threads)
        for count in epochs:
            trainer.fit(x, y, epochs=count, batch_size=32, mixup=0.2)
        ends.append(weights_of(model))
    assert ends[0] == ends[1] == ends[2]


def test_only_training_is_mixed() -> None:
    x, y = classes(300)
    trainer = fp.Trainer(network(2, 16, 3), "cross_entropy", fp.optim.Adam(lr=0.02), ["accuracy"])
    history = trainer.fit(x, y, epochs=10, mixup=1.0, validation_data=(x, y))
    found = trainer.evaluate(x, y)
    assert found["loss"] == history["val_loss"][-1] < 0.8 * history["loss"][-1]
    assert found["accuracy"] > 0.95
    assert history["accuracy"][-1] > 0.75  # a row keeps the most of itself
    plain = fp.Trainer(network(2, 16, 3), "cross_entropy", fp.optim.Adam(lr=0.02))
    plain.fit(x, y, epochs=10)
    with_zero = fp.Trainer(network(2, 16, 3), "cross_entropy", fp.optim.Adam(lr=0.02))
    with_zero.fit(x, y, epochs=10, mixup=0)
    assert weights_of(plain.model) == weights_of(with_zero.model) != weights_of(trainer.model)


def test_a_second_fit_may_mix_otherwise() -> None:
    x, y = classes(64)
    model, other = network(2, 8, 3), network(2, 8, 3)
    trainer, fresh = (fp.Trainer(m, "cross_entropy", fp.optim.SGD(lr=0.1)) for m in (model, other))
    trainer.fit(x, y, mixup=0.5)
    mixed_program = trainer.program
    trainer.fit(x, y)
    assert trainer.program is not mixed_program
    trainer.fit(x, y, mixup=0.5)
    assert trainer.program is mixed_program
    fresh.fit(x, y, mixup=0.5)
    assert weights_of(model) != weights_of(other)


def test_several_outputs_are_mixed() -> None:
    class Two(fp.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            fp.seed(0)
            self.classes, self.number = (fp.nn.Dense(2, n, dtype="float64") for n in (3, 1))

        def forward(self, x):
            return self.classes(x), self.number(x)

    x, y = classes(40)
    x, number = x.astype("float64"), x[:, :1].astype("float64")
    trainer = fp.Trainer(Two(), ["cross_entropy", "mse"], fp.optim.SGD(lr=0.1), seed=4)
    by_hand = Two()
    share = share_of(0.3, 4, 0)
    scores, pred = by_hand(Tensor(mixed(x, share, 4, 0)))
    want = losses.cross_entropy(scores, mixed(np.eye(3)[y], share, 4, 0)).item()
    want += losses.mse(pred, mixed(number, share, 4, 0)).item()
    history = trainer.fit(x, (y, number), batch_size=None, shuffle=False, mixup=0.3)
    assert history["loss"][0] == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize(
    ("alpha", "error", "message"),
    [
        (-0.1, ValueError, "mixup must be 0 or from 1e-06 to 1e[+]06, got -0.1"),
        (np.nan, ValueError, "mixup must be 0 or from"),
        (np.inf, ValueError, "mixup must be 0 or from"),
        ("0.2", TypeError, "mixup must be a number, got '0.2'"),
        (True, TypeError, "mixup must be a number, got True"),
    ],
)
def test_the_parameter_is_checked(alpha, error, message) -> None:
    x, y = classes(20)
    trainer = fp.Trainer(network(2, 3), "cross_entropy", "sgd")
    with pytest.raises(error, match=message):
        trainer.fit(x, y, mixup=alpha)


def test_targets_that_cannot_be_mixed() -> None:
    x, y = classes(20)
    trainer = fp.Trainer(network(2, 3), lambda p, t: losses.cross_entropy(p, t), "sgd")
    with pytest.raises(ValueError, match="has targets of int64; give floating numbers"):
        trainer.fit(x, y, mixup=0.2)
    trainer.fit(x, np.eye(3)[y], mixup=0.2)
    for name in ("cosine_embedding", "triplet_margin"):
        other = fp.Trainer(network(2, 3), name, "sgd")
        with pytest.raises(ValueError, match=f"mixup does not go with the loss {name}"):
            other.fit(x, y, mixup=0.2)
