"""Losses as a Trainer uses them: found by name, with parameters, checking targets before a run."""

import functools

import numpy as np
import pytest

from fastprop import functional as F
from fastprop import losses
from fastprop.graph.tensor import Tensor

WEIGHTS = np.array([0.5, 2.0, 0.0, 1.0, 3.0, 0.25, 1.5])


def data(name, shape=(7, 4)):
    rng = np.random.default_rng(1)
    target = rng.normal(size=shape)
    if name == "hinge":
        target = np.sign(target)
    if name in ("poisson_nll", "binary_cross_entropy", "binary_focal", "dice", "kl_div"):
        target = (target > 0).astype(float)
    return 2 * rng.normal(size=shape), target


# -- Loss objects ---


def test_unknown_names():
    message = (
        r"Trainer: unknown loss 'mss'; did you mean 'mse'\? Known: binary_cross_entropy, .*, mse"
    )
    with pytest.raises(ValueError, match=message):
        losses.get("mss", where="Trainer")
    with pytest.raises(ValueError, match=r"unknown loss 'zzzz'\. Known:"):
        losses.get("zzzz")
    with pytest.raises(ValueError, match="huber: unknown parameter 'dleta'; did you mean 'delta'"):
        losses.Loss("huber", dleta=1.0)
    for bad in (3, None, losses.Loss):
        with pytest.raises(TypeError, match="loss must be a name, a Loss or a function"):
            losses.get(bad)


NOT_ALIKE = (
    *("gaussian_nll", "cross_entropy", "focal", "cosine_embedding", "contrastive"),
    "triplet_margin",
)


@pytest.mark.parametrize("name", [n for n in losses.LOSSES if n not in NOT_ALIKE])
def test_loss_objects_call_their_functions(name):
    pred, target = data(name)
    for loss in (losses.get(name), losses.get(getattr(losses, name)), losses.Loss(name)):
        assert loss.name == name
        assert losses.get(loss) is loss
        assert loss(pred, target).item() == getattr(losses, name)(pred, target).item()
        weighted = getattr(losses, name)(pred, target, sample_weight=WEIGHTS)
        assert loss(pred, target, WEIGHTS).item() == weighted.item()


def test_parameters_of_loss_objects():
    pred, target = data("huber")
    want = losses.huber(pred, target, delta=0.2).item()
    for loss in (
        losses.Loss("huber", delta=0.2),
        losses.get(functools.partial(losses.huber, delta=0.2)),
    ):
        assert loss(pred, target).item() == want
        assert repr(loss) == "Loss('huber', delta=0.2)"


def test_gaussian_takes_mean_and_variance():
    pred, target = data("mse")
    loss = losses.get("gaussian_nll")
    value = loss((Tensor(pred), Tensor(np.ones_like(pred))), target)
    assert value.item() == pytest.approx(0.5 * np.mean((pred - target) ** 2))
    with pytest.raises(TypeError, match=r"the model must return \(mean, variance\)"):
        loss(Tensor(pred), target)


def test_losses_of_several_outputs_say_which():
    a, b = (Tensor(np.random.default_rng(i).normal(size=(7, 4))) for i in range(2))
    signs = np.array([1, -1, 1, 1, -1, -1, 1])
    loss = losses.Loss("cosine_embedding", margin=0.2)
    want = losses.cosine_embedding(a, b, signs, margin=0.2, sample_weight=WEIGHTS)
    assert loss([a, b], signs, WEIGHTS).item() == want.item()
    triplet = losses.get("triplet_margin")
    assert not triplet.needs_targets
    assert triplet((a, b, -b), None).item() == losses.triplet_margin(a, b, -b).item()
    with pytest.raises(TypeError, match=r"return \(anchor, positive, negative\), got 2 Tensors"):
        triplet((a, b), None)
    with pytest.raises(TypeError, match=r"must return \(x1, x2\), got one Tensor"):
        loss(a, signs)
    with pytest.raises(ValueError, match="unknown parameter 'marign'; did you mean 'margin'"):
        losses.Loss("contrastive", marign=1.0)


def test_one_target_for_several_quantiles():
    loss = losses.Loss("quantile", q=[0.1, 0.5, 0.9])
    for y in (np.ones(5), np.ones((5, 1))):
        assert loss.check_targets(y, (9, 3)).shape == (5, 1)
    assert loss.check_targets(np.ones((5, 3)), (9, 3)).shape == (5, 3)
    with pytest.raises(ValueError, match=r"targets have shape \(5, 2\), expected \(5, 3\)"):
        loss.check_targets(np.ones((5, 2)), (9, 3))
    with pytest.raises(ValueError, match=r"targets have shape \(5,\), expected \(5, 3\)"):
        losses.Loss("quantile", q=0.5).check_targets(np.ones(5), (9, 3))


def test_functions_of_the_users():
    def fourth_power(pred, target):
        return F.mean((pred - target) ** 4)

    def weighted(pred, target, sample_weight=None):
        return losses.mse(pred, target, sample_weight=sample_weight)

    pred, target = data("mse")
    loss = losses.get(fourth_power)
    assert loss.name == "fourth_power"
    assert loss(Tensor(pred), Tensor(target)).item() == pytest.approx(np.mean((pred - target) ** 4))
    with pytest.raises(ValueError, match="fourth_power: takes no sample weights"):
        loss(Tensor(pred), Tensor(target), WEIGHTS)
    assert losses.get(weighted)(pred, target, WEIGHTS).item() > 0
    rows = losses.get(lambda p, t: F.mse_rows(p, t))
    with pytest.raises(ValueError, match=r"a loss must give a scalar Tensor, got shape \(7,\)"):
        rows(Tensor(pred), Tensor(target))
    with pytest.raises(ValueError, match="a loss must give a scalar Tensor, got float"):
        losses.get(lambda p, t: 1.0)(Tensor(pred), Tensor(target))


# -- targets before a run ---


def test_targets_are_converted_once():
    loss = losses.get("mse")
    y = np.zeros((5, 1), dtype=np.float32)
    assert loss.check_targets(y, (32, 1)) is y or np.shares_memory(
        loss.check_targets(y, (32, 1)), y
    )
    assert loss.check_targets(np.zeros(5, int), (32, 1)).shape == (5, 1)
    assert loss.check_targets([1, 2], (32, 1), "float64").dtype == np.float64
    assert loss.check_targets(np.zeros((5, 1)), (32,)).shape == (5,)
    strided = np.zeros((5, 4))[:, ::2]
    assert loss.check_targets(strided, (32, 2)).flags.c_contiguous
    huge = loss.check_targets(np.array([1e300]), (1, 1))
    assert np.isinf(huge).all()


def test_labels_are_converted_once():
    loss = losses.get("cross_entropy")
    for y in (np.array([0, 2, 1], np.uint8), np.array([[0], [2], [1]]), [0, 2, 1]):
        labels = loss.check_targets(y, (32, 3))
        assert labels.dtype == np.int64
        assert labels.tolist() == [0, 2, 1]
    one_hot = loss.check_targets(np.eye(3, dtype=int), (32, 3))
    assert one_hot.dtype == np.float32
    assert loss.check_targets([True, False], (32, 2)).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("name", "y", "shape", "error", "message"),
    [
        (
            "cross_entropy",
            [0, 3],
            (9, 3),
            ValueError,
            r"cross_entropy: y\[1\] is 3, expected a label in",
        ),
        (
            "cross_entropy",
            [[0], [-1]],
            (9, 3),
            ValueError,
            r"y\[1\] is -1, expected a label in \[0, 3\)",
        ),
        ("cross_entropy", [0.0, 1.0], (9, 3), TypeError, r"must be integers .* y.astype\(int\)"),
        (
            "cross_entropy",
            [[0.5, 0.5]],
            (9, 3),
            ValueError,
            r"labels \(1,\) or probabilities \(1, 3\)",
        ),
        ("cross_entropy", [[-0.5, 1.5, 0]], (9, 3), ValueError, r"y\[0, 0\] is -0.5"),
        (
            "cross_entropy",
            [[1, 0, 0], [1, 1, 0]],
            (9, 3),
            ValueError,
            r"y\[1\] sum to 2, expected 1",
        ),
        ("cross_entropy", [0, 0], (9, 1), ValueError, "one output, .* use binary_cross_entropy"),
        ("cross_entropy", [0, 0], (9,), ValueError, r"must be \[rows, classes\], got shape \(9,\)"),
        ("focal", [0, 3], (9, 3), ValueError, r"focal: y\[1\] is 3, expected a label in"),
        ("focal", [0, 0], (9, 1), ValueError, "one output, .* use binary_focal"),
        ("binary_focal", [0, 2], (9, 1), ValueError, r"y\[1\] is 2, expected a probability"),
        ("dice", [[0, -1]], (9, 2), ValueError, r"dice: y\[0, 1\] is -1, expected a probability"),
        ("kl_div", [[0, 2]], (9, 2), ValueError, r"kl_div: y\[0, 1\] is 2, expected a probability"),
        ("cosine_embedding", [1, 0], (9, 4), ValueError, r"y\[1\] is 0, expected -1 or 1"),
        ("cosine_embedding", np.ones((2, 4)), (9, 4), ValueError, r"\(2, 4\), expected \(2,\) one"),
        ("contrastive", [1, -1], (9, 4), ValueError, r"y\[1\] is -1, expected a probability"),
        ("triplet_margin", [1, 1], (9, 4), ValueError, "triplet_margin: takes no targets"),
        ("hinge", [1, 0], (9, 1), ValueError, r"hinge: y\[1\] is 0, expected -1 or 1"),
        (
            "binary_cross_entropy",
            [0, 2],
            (9, 1),
            ValueError,
            r"y\[1\] is 2, expected a probability",
        ),
        ("poisson_nll", [1.0, -2.0], (9, 1), ValueError, r"y\[1\] is -2.0, expected a count"),
        (
            "mse",
            [[1.0, 2.0]],
            (9, 3),
            ValueError,
            r"targets have shape \(1, 2\), expected \(1, 3\)",
        ),
        ("mse", ["a", "b"], (9, 1), TypeError, "mse: targets must be real numbers, got dtype <U1"),
        ("mse", [1j], (9, 1), TypeError, "complex128"),
        ("mse", 1.0, (9, 1), ValueError, "one entry for each row, got a scalar"),
    ],
)
def test_bad_targets(name, y, shape, error, message):
    with pytest.raises(error, match=message):
        losses.get(name).check_targets(y, shape)


def test_targets_of_a_function_keep_their_kind():
    loss = losses.get(lambda p, t: F.mean(p))
    assert loss.check_targets([1, 2], (9, 5)).dtype == np.int64
    assert loss.check_targets(np.ones((2, 7)), (9, 5)).dtype == np.float32


def test_sample_weights_are_checked():
    check = losses.check_sample_weight
    w = check("fit", [1, 2, 0], 3)
    assert w.dtype == np.float32
    assert w.tolist() == [1, 2, 0]
    assert check("fit", np.ones((3, 1)), 3, "float64").shape == (3,)
    for bad, message in (
        ([1, 2], r"fit: sample_weight has shape \(2,\), expected \(3,\)"),
        ([1, -2, 0], r"fit: sample_weight\[1\] is -2"),
        ([1, np.nan, 0], r"sample_weight\[1\] is nan"),
        ([0, 0, 0], "zero for all 3 rows"),
        ([1, 1, 1e300], r"sample_weight\[2\] is 1e\+300, expected a number that float32 holds"),
    ):
        with pytest.raises(ValueError, match=message):
            check("fit", bad, 3)
    with pytest.raises(TypeError, match="real numbers"):
        check("fit", ["a"] * 3, 3)
