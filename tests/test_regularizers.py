"""Penalties against derivations and PyTorch, max-norm, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import DTYPES
from training import classes, network, regression, weights_of

import fastprop as fp
from fastprop import functional as F
from fastprop import losses, nn
from fastprop.regularizers import L1, L2, ElasticNet, MaxNorm


def by_hand(model: nn.Module, l1: float, l2: float) -> float:
    weights = [p.data.astype(np.float64) for p in model.parameters() if p.ndim == 2]
    return sum(l1 * np.abs(w).sum() + l2 * (w**2).sum() for w in weights)


@pytest.mark.parametrize(
    ("penalty", "l1", "l2"),
    [
        (L1(0.02), 0.02, 0),
        (L2(0.03), 0, 0.03),
        (ElasticNet(0.02, 0.03), 0.02, 0.03),
        ([L1(0.02), L2(0.03)], 0.02, 0.03),
        (L2(0.0), 0, 0),
        ([], 0, 0),
    ],
    ids=repr,
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_penalty_is_in_the_loss_and_its_gradient(penalty, l1, l2, dtype) -> None:
    x, y = regression(40, dtype)
    model, eager = (network(3, 5, 1, dtype=dtype) for _ in range(2))
    trainer = fp.Trainer(model, "mse", fp.optim.SGD(lr=0.1), penalty=penalty)
    loss = losses.mse(eager(fp.Tensor(x)), y)
    want = loss.item() + by_hand(model, l1, l2)
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    assert trainer.evaluate(x, y)["loss"] == pytest.approx(want, rel=tolerance)
    assert trainer.train_step(x, y) == pytest.approx(want, rel=tolerance)
    loss.backward()
    for p, q in zip(model.parameters(), eager.parameters(), strict=True):
        gradient = q.grad.data
        if q.ndim == 2:  # not a bias
            gradient = gradient + l1 * np.sign(q.data) + 2 * l2 * q.data
        np.testing.assert_allclose(p.data, q.data - 0.1 * gradient, rtol=tolerance, atol=1e-6)


def test_penalties_are_as_in_torch() -> None:
    torch = pytest.importorskip("torch")
    model = network(3, 5, 2, dtype="float64")
    weights = [p for p in model.parameters() if p.ndim == 2]
    other = [torch.tensor(p.data, requires_grad=True) for p in weights]
    ElasticNet(0.3, 0.7)(model).backward()
    sum(0.3 * w.abs().sum() + 0.7 * (w * w).sum() for w in other).backward()
    for p, q in zip(weights, other, strict=True):
        np.testing.assert_allclose(p.grad.data, q.grad.numpy(), rtol=1e-14)
    assert all(p.grad is None for p in model.parameters() if p.ndim == 1)


def test_l2_is_weight_decay_of_plain_sgd() -> None:
    x, y = regression(100, "float64")
    ends = []
    for lr_options, penalty in (({"weight_decay": 0.02}, None), ({}, L2(0.01))):
        fp.seed(0)
        model = nn.Sequential(
            nn.Dense(3, 8, "tanh", bias=False, dtype="float64"),
            nn.Dense(8, 1, bias=False, dtype="float64"),
        )
        optimizer = fp.optim.SGD(lr=0.05, **lr_options)
        fp.Trainer(model, "mse", optimizer, penalty=penalty).fit(x, y, epochs=5)
        ends.append([p.data.copy() for p in model.parameters()])
    for a, b in zip(*ends, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)


def test_penalties_of_layers_and_of_parameters() -> None:
    model = network(3, 5, 4, 1, dtype="float64")
    first, last = model[0], model[2]
    weight, bias = first.weight.data, last.bias
    bias.data = np.array([-3.0])
    assert L1(0.5, of=first)(model).item() == pytest.approx(0.5 * np.abs(weight).sum())
    assert L2(0.5, of=bias)(model).item() == pytest.approx(4.5)
    both = L2(1.0, of=[first, last])(model).item()
    assert both == pytest.approx((weight**2).sum() + (last.weight.data**2).sum())
    twice = L2(1.0, of=[first, first.weight])(model).item()
    assert twice == pytest.approx((weight**2).sum())
    first.weight.requires_grad = False
    assert L2(1.0, of=first)(model).item() == 0.0
    first.weight.requires_grad = True
    by_name = L2(1.0, of=["0", "2.weight"])(model).item()
    assert by_name == pytest.approx(both)
    x, y = regression(50, "float64")
    trainer = fp.Trainer(model, "mse", "sgd", penalty=[L2(1.0, of=last), L1(1.0, of=bias)])
    plain = fp.Trainer(model, "mse", "sgd").evaluate(x, y)["loss"]
    extra = (last.weight.data**2).sum() + 3.0
    assert trainer.evaluate(x, y)["loss"] == pytest.approx(plain + extra)


def test_the_gradient_is_added_in_one_pass() -> None:
    x, y = regression(40)
    trainer = fp.Trainer(network(3, 5, 1), "mse", "sgd", penalty=ElasticNet(1e-3, 1e-3))
    trainer.fit(x, y)
    text = trainer.program.describe()
    assert text.count("elastic_net_add(") == 2
    assert "elastic_net_backward" not in text
    assert "elastic_net_fused" not in text


def test_a_shared_weight_is_penalized_once() -> None:
    layer = nn.Dense(3, 3, dtype="float64")
    model = nn.Sequential(layer, nn.Tanh(), layer)
    assert L2(1.0)(model).item() == pytest.approx((layer.weight.data**2).sum())


def test_a_penalty_of_the_users_own() -> None:
    def orthogonal(model):
        w = model[0].weight
        return 0.1 * F.sum((F.matmul(F.transpose(w), w) - np.eye(2, dtype="float32")) ** 2)

    x, y = classes(200)
    model = network(2, 2, 3)
    trainer = fp.Trainer(model, "cross_entropy", fp.optim.Adam(lr=0.02), penalty=orthogonal)
    trainer.fit(x, y, epochs=30)
    w = model[0].weight.data
    np.testing.assert_allclose(w.T @ w, np.eye(2), atol=0.15)


def test_l1_makes_useless_weights_small() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 10)).astype("float32")
    y = x[:, :2] @ np.array([1.0, -2.0], "float32") + rng.normal(size=500)
    sizes = {}
    for name, penalty in (("plain", None), ("l1", L1(0.3))):
        model = network(10, 1)
        trainer = fp.Trainer(model, "mse", fp.optim.SGD(lr=0.02), penalty=penalty)
        trainer.fit(x, y, epochs=300, batch_size=None)
        sizes[name] = float(np.abs(model[0].weight.data[2:]).max())
    assert sizes["l1"] < 0.01 < 0.05 < sizes["plain"]


@pytest.mark.parametrize(
    ("penalty", "error", "message"),
    [
        (3, TypeError, "Trainer: penalty must be one of fastprop.regularizers, a function"),
        (L2, TypeError, "Trainer: penalty must be one of"),
        (L2(1.0, of=nn.Dense(2, 2)), ValueError, r"L2 is of a parameter of shape \(2, 2\) that"),
        (L1(1.0, of="0.wight"), ValueError, "unknown module or parameter '0.wight'; did you mean"),
        (L1(1.0, of=nn.Tanh()), ValueError, r"L1\(1\) finds no parameter with two axes"),
    ],
)
def test_penalties_are_checked(penalty, error, message) -> None:
    with pytest.raises(error, match=message):
        fp.Trainer(network(2, 3), "mse", "sgd", penalty=penalty)


def test_a_penalty_is_a_scalar() -> None:
    x, y = regression(10)
    for bad, got in ((lambda m: 1.0, "float"), (lambda m: m[0].bias, r"shape \(1,\)")):
        trainer = fp.Trainer(network(3, 1), "mse", "sgd", penalty=bad)
        with pytest.raises(ValueError, match=f"a penalty must give a scalar Tensor, got {got}"):
            trainer.fit(x, y)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: L2(-1.0), ValueError, "L2: l2 must be a finite number, not negative, got -1.0"),
        (lambda: L1(np.nan), ValueError, "L1: l1 must be a finite number, not negative, got nan"),
        (lambda: ElasticNet(1.0, np.inf), ValueError, "ElasticNet: l2 must be a finite number"),
        (lambda: L2("1"), TypeError, "L2: l2 must be a number, got '1'"),
        (lambda: L2(1.0, of=[1.0]), TypeError, "L2: of must be modules, parameters or their names"),
        (
            lambda: MaxNorm(0.0),
            ValueError,
            "MaxNorm: max_norm must be a finite number above 0, got 0",
        ),
        (lambda: MaxNorm(-2.0), ValueError, "max_norm must be a finite number above 0"),
    ],
)
def test_strengths_are_checked(make, error, message) -> None:
    with pytest.raises(error, match=message):
        make()


# -- max-norm ---


def shortened(w: np.ndarray, limit: float) -> np.ndarray:
    norms = np.sqrt((w.astype(np.float64) ** 2).sum(0, keepdims=True))
    return w * np.minimum(limit / np.maximum(norms, 1e-300), 1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_max_norm_shortens_what_is_too_long(dtype: str) -> None:
    layer = nn.Dense(7, 9, dtype=dtype)
    layer.weight.data = np.random.default_rng(0).normal(size=(7, 9)) * np.linspace(0, 3, 9)
    before, bias = layer.weight.data.copy(), layer.bias.data.copy()
    MaxNorm(2.0)(layer)
    after = layer.weight.data
    np.testing.assert_allclose(after, shortened(before, 2.0), rtol=1e-6)
    short = np.sqrt((before**2).sum(0)) < 2
    assert 0 < short.sum() < 9
    np.testing.assert_array_equal(after[:, short], before[:, short])  # bit for bit
    assert np.sqrt((after.astype(np.float64) ** 2).sum(0)).max() < 2.0 + 1e-6
    np.testing.assert_array_equal(layer.bias.data, bias)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_max_norm_holds_after_every_step(optimizer: str) -> None:
    """A traced step is the step without a constraint, then the constraint."""
    x, y = regression(64, "float64")
    make = {"sgd": fp.optim.SGD, "adam": fp.optim.Adam}[optimizer]
    model, other = (network(3, 8, 1, dtype="float64") for _ in range(2))
    trainer = fp.Trainer(model, "mse", make(lr=0.3), constraint=MaxNorm(0.8))
    plain = fp.Trainer(other, "mse", make(lr=0.3))
    for _ in range(5):
        trainer.train_step(x, y)
        plain.train_step(x, y)
        MaxNorm(0.8)(other)
        for p, q in zip(model.parameters(), other.parameters(), strict=True):
            np.testing.assert_allclose(p.data, q.data, rtol=1e-12, atol=1e-15)
    assert np.linalg.norm(model[0].weight.data, axis=0).max() <= 0.8 * (1 + 1e-12)


def test_bits_of_a_constrained_run_do_not_depend_on_threads_or_cuts() -> None:
    x, y = classes(300)
    ends = []
    for threads, epochs in ((1, [4]), (2, [4]), (2, [1, 3])):
        model = network(2, 65, 17, 3)
        trainer = fp.Trainer(
            model,
            "cross_entropy",
            fp.optim.Adam(lr=0.05),
            threads=threads,
            penalty=ElasticNet(1e-4, 1e-3),
            constraint=[MaxNorm(1.0, of=model[1]), MaxNorm(2.0)],
        )
        for count in epochs:
            trainer.fit(x, y, epochs=count, batch_size=32)
        assert np.linalg.norm(model[1].weight.data, axis=0).max() <= 1 + 1e-6
        ends.append(weights_of(model))
    assert ends[0] == ends[1] == ends[2]


def test_max_norm_leaves_frozen_and_other_weights_alone() -> None:
    model = network(3, 5, 1)
    model[0].weight.requires_grad = False
    before = [p.data.copy() for p in model.parameters()]
    MaxNorm(0.01)(model)
    for p, old in zip(model.parameters(), before, strict=True):
        same = np.array_equal(p.data, old)
        assert same == (p is not model[1].weight)
    MaxNorm(0.001, of=model[0])(model)
    np.testing.assert_array_equal(model[0].weight.data, before[0])


def test_a_vanished_unit_stays_zero() -> None:
    layer = nn.Dense(3, 2)
    layer.weight.data = np.array([[0.0, 3.0], [0.0, 4.0], [0.0, 0.0]])
    MaxNorm(1.0)(layer)
    np.testing.assert_allclose(layer.weight.data, [[0, 0.6], [0, 0.8], [0, 0]], rtol=1e-6)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_step_by_hand_is_the_same_eager_and_compiled(threads: int) -> None:
    x, y = classes(48)
    ends = []
    for wrap in (lambda f: f, fp.compile(threads=threads)):
        model = network(2, 9, 3, dtype="float64")
        optimizer = fp.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)

        @wrap
        def step(x, y, model=model, optimizer=optimizer):
            loss = losses.focal(model(x), y) + ElasticNet(1e-3, 1e-2)(model)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            MaxNorm(0.7, of="0")(model)
            return loss

        found = [step(x.astype("float64"), y).item() for _ in range(6)]
        ends.append((found, [p.data.copy() for p in model.parameters()]))
    np.testing.assert_allclose(ends[0][0], ends[1][0], rtol=1e-12)
    for a, b in zip(ends[0][1], ends[1][1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-14)
    assert np.linalg.norm(ends[1][1][0], axis=0).max() <= 0.7 + 1e-12


def test_configs_make_the_same_again() -> None:
    """With names in the place of objects, so that a file can hold them."""
    model, other = network(3, 5, 4, 1), network(3, 5, 4, 1)
    given = [L1(0.1), L2(0.2, of=model[1]), ElasticNet(0.3, 0.4, of=[model[0], model[2].bias])]
    limits = [MaxNorm(0.5, of="1"), MaxNorm(2.0)]
    trainer = fp.Trainer(model, "mse", "sgd", penalty=given, constraint=limits)
    assert trainer.regularization.penalties == given
    configs = [item.config() for item in (*given, *limits)]
    assert configs == [
        {"strength": 0.1},
        {"strength": 0.2, "of": ["1"]},
        {"l1": 0.3, "l2": 0.4, "of": ["0", "2.bias"]},
        {"max_norm": 0.5, "of": ["1"]},
        {"max_norm": 2.0},
    ]
    again = [type(item)(**c) for item, c in zip((*given, *limits), configs, strict=True)]
    for a, b in zip(given, again, strict=False):
        assert a(model).item() == b(other).item()
    twin = fp.Trainer(other, "mse", "sgd", penalty=again[:3], constraint=again[3:])
    x, y = regression(50)
    for each in (trainer, twin):
        each.fit(x, y, epochs=2)
    assert weights_of(model) == weights_of(other)
    multi = losses.MultiOutput(["mse", losses.Loss("huber", delta=2.0)], [1.0, 0.5])
    assert repr(losses.MultiOutput(**multi.config())) == repr(multi)


def test_texts() -> None:
    assert [repr(r) for r in (L1(0.1), L2(1e-4), ElasticNet(0.5, 2), MaxNorm(3))] == [
        "L1(0.1)",
        "L2(0.0001)",
        "ElasticNet(l1=0.5, l2=2)",
        "MaxNorm(3)",
    ]
    assert fp.regularizers.L2 is L2


def test_weights_that_change_twice_are_packed_once() -> None:
    model = nn.Sequential(nn.Dense(64, 256, "relu"), nn.Dense(256, 1))
    trainer = fp.Trainer(model, "mse", "adam", constraint=MaxNorm(0.5), threads=2)
    x = np.random.default_rng(0).standard_normal((64, 64), dtype=np.float32)
    trainer.fit(x, x[:, :1], batch_size=32)
    assert trainer.program is not None
    names = [item.name for item in trainer.program.instructions]
    assert names.count("pack_weights") == 1
    after = names[names.index("pack_weights") - 1 :: -1]
    assert "mul" in after  # the copy is of what MaxNorm leaves
    assert "adam_update" not in names[names.index("pack_weights") :]
