"""Focal loss, Kullback-Leibler divergence and Dice: against PyTorch, and where they end."""

import numpy as np
import pytest

import fastprop as fp
from fastprop import functional as F
from fastprop import losses, tensor

ROWS, CLASSES = 9, 5
WEIGHTS = np.array([0.5, 2.0, 0.0, 1.0, 3.0, 0.25, 1.5, 1.0, 0.1])
CLASS_WEIGHT = np.array([1.0, 0.5, 2.0, 0.25, 3.0])


def data():
    rng = np.random.default_rng(0)
    return 3 * rng.normal(size=(ROWS, CLASSES)), rng.integers(0, CLASSES, ROWS)


def compare(ours, theirs, pred, reduction, weights):
    """Value and gradient by `pred`, where `theirs` gives the losses of the rows by PyTorch."""
    torch = pytest.importorskip("torch")
    p, tp = tensor(pred, requires_grad=True), torch.tensor(pred, requires_grad=True)
    value = ours(p, reduction=reduction, sample_weight=weights)
    F.sum(value).backward()
    w = torch.ones(len(pred)) if weights is None else torch.tensor(weights)
    rows = w * theirs(tp)
    want = rows if reduction == "none" else rows.sum()
    want = want / w.sum() if reduction == "mean" else want
    want.sum().backward()
    np.testing.assert_allclose(value.data, want.detach().numpy(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(p.grad.data, tp.grad.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("class_weight", [None, CLASS_WEIGHT], ids=["alike", "class_weight"])
@pytest.mark.parametrize("kind", ["labels", "probabilities"])
def test_focal_like_torch(kind, class_weight, reduction, weights):
    torch = pytest.importorskip("torch")
    pred, labels = data()
    q = np.eye(CLASSES)[labels] if kind == "labels" else np.full((ROWS, CLASSES), 1 / CLASSES)
    c = torch.tensor(np.ones(CLASSES) if class_weight is None else class_weight)

    def theirs(p):
        log_p = torch.log_softmax(p, 1)
        return -(c * torch.tensor(q) * (1 - log_p.exp()) ** 1.5 * log_p).sum(1)

    def ours(p, **options):
        target = labels if kind == "labels" else q
        return losses.focal(p, target, gamma=1.5, class_weight=class_weight, **options)

    compare(ours, theirs, pred, reduction, weights)


def test_focal_without_focus_is_cross_entropy():
    pred, labels = data()
    for target in (labels, np.eye(CLASSES)[labels]):
        np.testing.assert_allclose(
            losses.focal(pred, target, gamma=0.0).item(),
            losses.cross_entropy(pred, target).item(),
            rtol=1e-14,
        )
    binary = (pred > 1).astype(float)
    np.testing.assert_allclose(
        losses.binary_focal(pred, binary, gamma=0.0, alpha=None).item(),
        losses.binary_cross_entropy(pred, binary).item(),
        rtol=1e-14,
    )


def test_focal_of_labels_and_of_their_distributions_agree():
    pred, labels = data()
    by_label = losses.focal(pred, labels, class_weight=CLASS_WEIGHT).item()
    by_share = losses.focal(pred, np.eye(CLASSES)[labels], class_weight=CLASS_WEIGHT).item()
    assert by_label == pytest.approx(by_share, rel=1e-13)


@pytest.mark.parametrize(
    ("target", "options", "error", "message"),
    [
        (np.array([0, 1, 4]), {}, ValueError, r"focal: target\[2\] is 4, expected a label in"),
        (np.array([0.0, 1.0, 2.0]), {}, TypeError, "focal: labels must be integers, got float64"),
        (np.array([0, 1]), {}, ValueError, r"focal: targets have shape \(2,\)"),
        (
            np.zeros(3, int),
            {"gamma": -1},
            ValueError,
            "gamma must be a finite number, not negative, got -1",
        ),
        (np.zeros(3, int), {"class_weight": np.ones(3)}, ValueError, "one for each class"),
    ],
)
def test_focal_refuses(target, options, error, message):
    with pytest.raises(error, match=message):
        losses.focal(np.ones((3, 4)), target, **options)


# -- Kullback-Leibler divergence ---


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("log_target", [False, True])
def test_kl_div_like_torch(log_target, reduction, weights):
    torch = pytest.importorskip("torch")
    pred, _ = data()
    share = np.random.default_rng(1).dirichlet(np.ones(CLASSES), ROWS)
    share[0] = [0, 0.5, 0, 0.5, 0]
    with np.errstate(divide="ignore"):
        target = np.log(share) if log_target else share
    target[0] = np.where(np.isinf(target[0]), -800.0, target[0])  # PyTorch's own gives NaN

    def theirs(p):
        log_p = torch.log_softmax(p, 1)
        elements = torch.nn.functional.kl_div(
            log_p, torch.tensor(target), reduction="none", log_target=log_target
        )
        return elements.sum(1)

    def ours(p, **options):
        return losses.kl_div(F.log_softmax(p), target, log_target=log_target, **options)

    compare(ours, theirs, pred, reduction, weights)


def test_kl_div_is_zero_for_the_same_distribution():
    share = np.random.default_rng(1).dirichlet(np.ones(CLASSES), ROWS)
    assert abs(losses.kl_div(np.log(share), share).item()) < 1e-15
    certain = np.eye(3)
    with np.errstate(divide="ignore"):
        assert losses.kl_div(np.log(certain), certain).item() == 0.0


# -- Dice ---


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("from_logits", [False, True])
def test_dice_like_torch(from_logits, squared, reduction, weights):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    pred = rng.normal(size=(ROWS, 3, 4)) if from_logits else rng.uniform(size=(ROWS, 3, 4))
    target = (rng.uniform(size=(ROWS, 3, 4)) < 0.3).astype(float)

    def theirs(p):
        p = (torch.sigmoid(p) if from_logits else p).reshape(ROWS, -1)
        t = torch.tensor(target).reshape(ROWS, -1)
        sizes = (p**2 + t**2 if squared else p + t).sum(1)
        return 1 - (2 * (p * t).sum(1) + 0.5) / (sizes + 0.5)

    def ours(p, **options):
        return losses.dice(
            p, target, smooth=0.5, squared=squared, from_logits=from_logits, **options
        )

    compare(ours, theirs, pred, reduction, weights)


def test_dice_at_its_ends():
    target = np.array([[1.0, 0, 0, 1], [0, 0, 0, 0]])
    right = np.where(target > 0, 50.0, -50.0)
    np.testing.assert_allclose(losses.dice(right, target, reduction="none").data, 0, atol=1e-15)
    wrong = losses.dice(-right, target, reduction="none").data
    np.testing.assert_allclose(wrong, [1 - 1 / 5, 1 - 1 / 5], rtol=1e-12)


def test_derivatives_by_differences():
    rng = np.random.default_rng(3)
    pred, target = rng.normal(size=(3, 4)), rng.uniform(0.1, 0.9, size=(3, 4))
    for function in (
        lambda p, t: losses.dice(p, t, squared=True),
        lambda p, t: losses.dice(p, t),
        lambda p, t: losses.kl_div(F.log_softmax(p), t),
        lambda p, t: losses.focal(p, t),
        lambda p, t: losses.binary_focal(p, t),
    ):
        fp.gradcheck(function, [pred, target])
        fp.gradgradcheck(function, [pred, target])
