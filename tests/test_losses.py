"""Losses against PyTorch, and what they refuse."""

import numpy as np
import pytest

from fastprop import Tensor, losses, tensor
from fastprop import functional as F

ROWS, COLUMNS = 7, 4
WEIGHTS = np.array([0.5, 2.0, 0.0, 1.0, 3.0, 0.25, 1.5])
VALUES = [
    *("mse", "mae", "huber", "log_cosh", "quantile", "hinge", "poisson_nll", "kl_div"),
    *("binary_cross_entropy", "binary_focal", "dice"),
]


def data(name, shape=(ROWS, COLUMNS)):
    rng = np.random.default_rng(1)
    pred = 2 * rng.normal(size=shape)
    target = {
        "hinge": np.sign(rng.normal(size=shape)),
        "poisson_nll": rng.poisson(3.0, size=shape).astype(float),
        "binary_cross_entropy": rng.uniform(size=shape),
        "binary_focal": rng.uniform(size=shape),
        "dice": rng.uniform(size=shape),
        "kl_div": rng.uniform(size=shape),
    }.get(name, rng.normal(size=shape))
    return pred, target


def torch_losses():
    torch = pytest.importorskip("torch")
    nf = torch.nn.functional

    def hinge(p, t, reduction):
        return torch.clamp(1 - t * p, min=0)

    def poisson(p, t, reduction, **options):
        return nf.poisson_nll_loss(p, t, reduction=reduction, **options)

    def focal(p, t, reduction, gamma=2.0, alpha=0.25):
        """torchvision.ops.sigmoid_focal_loss, linear in targets between 0 and 1."""
        on, off = (1, 1) if alpha is None else (alpha, 1 - alpha)
        positive = on * t * torch.sigmoid(-p) ** gamma * nf.logsigmoid(p)
        return -positive - off * (1 - t) * torch.sigmoid(p) ** gamma * nf.logsigmoid(-p)

    def quantile(p, t, reduction, q=0.5):
        q = torch.tensor(q, dtype=p.dtype)
        return torch.maximum(q * (t - p), (q - 1) * (t - p))

    return torch, {
        "log_cosh": lambda p, t, reduction: torch.log(torch.cosh(p - t)),
        "quantile": quantile,
        "binary_focal": focal,
        "mse": nf.mse_loss,
        "mae": nf.l1_loss,
        "huber": nf.huber_loss,
        "hinge": hinge,
        "poisson_nll": poisson,
        "binary_cross_entropy": nf.binary_cross_entropy_with_logits,
    }


def expected(elements, weights, reduction):
    """Reduction of PyTorch's unreduced elements, by the formulas in the documentation."""
    rows = elements.reshape(len(elements), -1)
    w = np.ones(len(rows)) if weights is None else weights
    if reduction == "sum":
        return (w * rows.sum(axis=1)).sum()
    if reduction == "none":
        return w * rows.mean(axis=1)
    return (w * rows.mean(axis=1)).sum() / w.sum()


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(ROWS, COLUMNS), (ROWS,), (ROWS, 2, 3)], ids=str)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mse", {}),
        ("mae", {}),
        ("huber", {}),
        ("huber", {"delta": 0.3}),
        ("log_cosh", {}),
        ("quantile", {}),
        ("quantile", {"q": 0.9}),
        ("binary_focal", {}),
        ("binary_focal", {"gamma": 0.5, "alpha": None}),
        ("hinge", {}),
        ("poisson_nll", {}),
        ("poisson_nll", {"full": True}),
        ("binary_cross_entropy", {}),
        ("binary_cross_entropy", {"pos_weight": 3.0}),
    ],
)
def test_like_torch(name, options, shape, reduction, weights):
    torch, reference = torch_losses()
    pred, target = data(name, shape)
    p = tensor(pred, requires_grad=True)
    value = getattr(losses, name)(p, target, sample_weight=weights, reduction=reduction, **options)
    F.sum(value).backward()

    tp = torch.tensor(pred, requires_grad=True)
    given = {k: torch.tensor(v) if k == "pos_weight" else v for k, v in options.items()}
    elements = reference[name](tp, torch.tensor(target), reduction="none", **given)
    want = expected(elements.detach().numpy(), weights, reduction)
    np.testing.assert_allclose(value.data, want, rtol=1e-10, atol=1e-12)
    tw = torch.ones(ROWS) if weights is None else torch.tensor(weights)
    rows = elements.reshape(ROWS, -1)
    if reduction == "sum":
        total = (tw * rows.sum(1)).sum()
    else:
        total = (tw * rows.mean(1)).sum() / (tw.sum() if reduction == "mean" else 1)
    total.backward()
    np.testing.assert_allclose(p.grad.data, tp.grad.numpy(), rtol=1e-9, atol=1e-11)


def test_poisson_of_rates():
    torch, reference = torch_losses()
    pred, target = data("poisson_nll")
    pred = np.abs(pred)
    value = losses.poisson_nll(pred, target, log_input=False)
    want = reference["poisson_nll"](
        torch.tensor(pred), torch.tensor(target), reduction="mean", log_input=False
    )
    np.testing.assert_allclose(value.item(), want.item(), rtol=1e-10)


def test_pos_weight_of_each_column():
    torch, reference = torch_losses()
    pred, target = data("binary_cross_entropy")
    weight = np.array([1.0, 2.0, 0.5, 3.0])
    value = losses.binary_cross_entropy(pred, target, pos_weight=weight)
    want = reference["binary_cross_entropy"](
        torch.tensor(pred), torch.tensor(target), pos_weight=torch.tensor(weight)
    )
    np.testing.assert_allclose(value.item(), want.item(), rtol=1e-10)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("var_shape", [(ROWS, COLUMNS), (ROWS, 1), (ROWS,)], ids=str)
def test_gaussian_like_torch(var_shape, full, reduction):
    torch, _ = torch_losses()
    pred, target = data("mse")
    variance = np.random.default_rng(2).uniform(0.0, 2.0, size=var_shape)
    variance.flat[0] = 0.0
    p, v = tensor(pred, requires_grad=True), tensor(variance, requires_grad=True)
    value = losses.gaussian_nll(p, target, v, full=full, reduction=reduction)
    value.backward()
    tp = torch.tensor(pred, requires_grad=True)
    tv = torch.tensor(variance, requires_grad=True)
    want = torch.nn.functional.gaussian_nll_loss(
        tp, torch.tensor(target), tv, full=full, reduction=reduction
    )
    want.backward()
    np.testing.assert_allclose(value.item(), want.item(), rtol=1e-10)
    np.testing.assert_allclose(p.grad.data, tp.grad.numpy(), rtol=1e-9)
    np.testing.assert_allclose(v.grad.data, tv.grad.numpy(), rtol=1e-9)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("class_weight", [None, np.array([1.0, 0.5, 2.0, 0.0])])
@pytest.mark.parametrize("kind", ["labels", "probabilities"])
def test_cross_entropy_like_torch(kind, class_weight, smoothing, reduction):
    torch, _ = torch_losses()
    rng = np.random.default_rng(3)
    pred = 3 * rng.normal(size=(ROWS, COLUMNS))
    target = rng.integers(0, COLUMNS, size=ROWS)
    if kind == "probabilities":
        target = rng.dirichlet(np.ones(COLUMNS), size=ROWS)
    p = tensor(pred, requires_grad=True)
    value = losses.cross_entropy(
        p, target, class_weight=class_weight, label_smoothing=smoothing, reduction=reduction
    )
    F.sum(value).backward()
    tp = torch.tensor(pred, requires_grad=True)
    want = torch.nn.functional.cross_entropy(
        tp,
        torch.tensor(target),
        weight=None if class_weight is None else torch.tensor(class_weight),
        label_smoothing=smoothing,
        reduction=reduction,
    )
    want.sum().backward()
    np.testing.assert_allclose(value.data, want.detach().numpy(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(p.grad.data, tp.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_cross_entropy_with_both_kinds_of_weights():
    rng = np.random.default_rng(4)
    pred, labels = rng.normal(size=(ROWS, COLUMNS)), rng.integers(0, COLUMNS, size=ROWS)
    class_weight = np.array([1.0, 2.0, 0.5, 1.0])
    value = losses.cross_entropy(pred, labels, sample_weight=WEIGHTS, class_weight=class_weight)
    log_p = pred - np.log(np.exp(pred).sum(axis=1, keepdims=True))
    w = WEIGHTS * class_weight[labels]
    np.testing.assert_allclose(
        value.item(), -(w * log_p[np.arange(ROWS), labels]).sum() / w.sum(), rtol=1e-12
    )


def test_weights_of_zero_give_zero():
    p = tensor(np.ones((3, 2)), requires_grad=True)
    value = losses.mse(p, np.zeros((3, 2)), sample_weight=np.zeros(3))
    value.backward()
    assert value.item() == 0.0
    np.testing.assert_array_equal(p.grad.data, 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_logits_stay_finite(dtype):
    big = np.array([[1e4, -1e4, 0.0]], dtype=dtype)
    assert losses.cross_entropy(big, np.array([1])).item() == pytest.approx(2e4)
    assert losses.binary_cross_entropy(big, np.array([[1, 0, 1]])).item() < 1
    assert losses.cross_entropy(big, np.array([0])).dtype == dtype


# -- shapes and dtypes ---


@pytest.mark.parametrize("name", VALUES)
def test_a_trailing_axis_of_one_does_not_matter(name):
    pred, target = data(name, (ROWS, 1))
    loss = getattr(losses, name)
    same = loss(pred, target).item()
    assert loss(pred, target[:, 0]).item() == pytest.approx(same, rel=1e-12)
    assert loss(pred[:, 0], target).item() == pytest.approx(same, rel=1e-12)
    assert loss(pred, target, sample_weight=np.ones((ROWS, 1))).item() == pytest.approx(same)


@pytest.mark.parametrize("name", VALUES)
def test_nothing_is_broadcast(name):
    loss = getattr(losses, name)
    pred, target = data(name)
    message = rf"{name}: targets have shape \(7, 1\), predictions have \(7, 4\); they must agree"
    with pytest.raises(ValueError, match=message):
        loss(pred, target[:, :1])
    for shape in ((4,), (1, 4), (7,), (8, 4), ()):
        with pytest.raises(ValueError, match=f"{name}: targets have shape"):
            loss(pred, np.ones(shape))
    with pytest.raises(ValueError, match="sample_weight has shape"):
        loss(pred, target, sample_weight=np.ones(3))
    with pytest.raises(ValueError, match="reduction must be 'mean', 'sum' or 'none', got 'avg'"):
        loss(pred, target, reduction="avg")
    with pytest.raises(ValueError, match="need a batch axis"):
        loss(np.float64(1), np.float64(1))
    with pytest.raises(TypeError, match="predictions must be float32 or float64, got int64"):
        loss(np.ones((2, 2), dtype=int), np.ones((2, 2)))


def test_integers_and_arrays_of_other_floats_are_converted():
    pred = np.ones((3, 2), dtype=np.float32)
    assert losses.mse(pred, np.zeros((3, 2), dtype=int)).dtype == np.float32
    assert losses.mse(Tensor(pred), np.zeros((3, 2))).dtype == np.float32
    assert losses.mse(Tensor(pred), Tensor(np.zeros((3, 2), dtype=int))).item() == 1.0
    with pytest.raises(TypeError, match="dtype"):
        losses.mse(Tensor(pred), Tensor(np.zeros((3, 2))))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda p: losses.huber(p, p, delta=0.0),
            ValueError,
            "huber: delta must be a finite number above 0",
        ),
        (
            lambda p: losses.poisson_nll(p, p, eps=-1.0),
            ValueError,
            "eps must be a finite number above 0",
        ),
        (lambda p: losses.gaussian_nll(p, p, -p), ValueError, "var must not be negative"),
        (lambda p: losses.gaussian_nll(p, p, p[:2]), ValueError, "variances have shape"),
        (
            lambda p: losses.binary_cross_entropy(p, p, pos_weight=np.ones(2)),
            ValueError,
            r"pos_weight has shape \(2,\)",
        ),
        (lambda p: losses.quantile(p, p, q=1.0), ValueError, "q must be between 0 and 1, got 1.0"),
        (lambda p: losses.quantile(p, p, q=[0.1, 0.5]), ValueError, r"q has shape \(2,\)"),
        (
            lambda p: losses.binary_focal(p, p, gamma=-1.0),
            ValueError,
            "gamma must be a finite number, not negative",
        ),
        (
            lambda p: losses.binary_focal(p, p, gamma=np.inf),
            ValueError,
            "gamma must be a finite number, not negative",
        ),
        (lambda p: losses.binary_focal(p, p, alpha=1.5), ValueError, "alpha must be in \\[0, 1\\]"),
        (lambda p: losses.kl_div(p, -p), ValueError, "kl_div: target must not be negative"),
        (
            lambda p: losses.dice(p, p, smooth=0.0),
            ValueError,
            "dice: smooth must be a finite number above 0",
        ),
        (
            lambda p: losses.binary_cross_entropy(p, p, pos_weight=-1.0),
            ValueError,
            "pos_weight must be finite and not negative",
        ),
    ],
)
def test_parameters_are_checked(call, error, message):
    with pytest.raises(error, match=message):
        call(np.ones((ROWS, COLUMNS)))


@pytest.mark.parametrize(
    ("target", "options", "error", "message"),
    [
        (np.array([0, 1, 4]), {}, ValueError, r"target\[2\] is 4, expected a label in \[0, 4\)"),
        (np.array([0, -1, 3]), {}, ValueError, r"target\[1\] is -1"),
        (np.array([0.0, 1.0, 2.0]), {}, TypeError, "labels must be integers, got float64"),
        (np.array([0, 1]), {}, ValueError, r"targets have shape \(2,\)"),
        (np.zeros((3, 3)), {}, ValueError, r"need labels \(3,\) or probabilities \(3, 4\)"),
        (np.zeros(3, int), {"label_smoothing": 1.5}, ValueError, r"must be in \[0, 1\], got 1.5"),
        (np.zeros(3, int), {"class_weight": np.ones(3)}, ValueError, "one for each class"),
        (np.zeros(3, int), {"class_weight": [1, 1, 1, -1]}, ValueError, "not negative"),
    ],
)
def test_cross_entropy_refuses(target, options, error, message):
    with pytest.raises(error, match=message):
        losses.cross_entropy(np.ones((3, 4)), target, **options)


def test_cross_entropy_wants_a_matrix():
    with pytest.raises(
        ValueError, match=r"predictions must be \[rows, classes\], got shape \(3,\)"
    ):
        losses.cross_entropy(np.ones(3), np.zeros(3, int))


def test_two_outputs_are_not_one():
    p = Tensor(np.ones((2, 2)))
    with pytest.raises(TypeError, match="expects one Tensor of predictions, got 2"):
        losses.mse((p, p), np.ones((2, 2)))
