"""Losses of embeddings against PyTorch, by differences, and what they refuse."""

import numpy as np
import pytest

import fastprop as fp
from fastprop import functional as F
from fastprop import losses, nn, tensor

ROWS, SIZE = 9, 5
WEIGHTS = np.array([0.5, 2.0, 0.0, 1.0, 3.0, 0.25, 1.5, 1.0, 0.1])
SIGNS = np.array([1.0, -1, 1, 1, -1, -1, 1, -1, -1])
RNG = np.random.default_rng(0)
EMBEDDINGS = [RNG.normal(size=(ROWS, SIZE)) for _ in range(3)]


def theirs():
    torch = pytest.importorskip("torch")
    nf = torch.nn.functional

    def contrastive(a, b, t, margin):
        d = (a - b).norm(dim=1)
        return 0.5 * (t * d**2 + (1 - t) * torch.relu(margin - d) ** 2)

    return torch, {
        "cosine_embedding": lambda a, b, t, margin: nf.cosine_embedding_loss(
            a, b, t, margin=margin, reduction="none"
        ),
        "contrastive": contrastive,
        "triplet_margin": lambda a, b, c, **options: nf.triplet_margin_loss(
            a, b, c, reduction="none", **options
        ),
    }


CASES = [
    ("cosine_embedding", {"margin": 0.0}),
    ("cosine_embedding", {"margin": 0.3}),
    ("contrastive", {"margin": 3.0}),
    ("triplet_margin", {}),
    ("triplet_margin", {"margin": 2.5, "swap": True}),
    ("triplet_margin", {"margin": 2.5, "p": 1.0}),
    ("triplet_margin", {"margin": 2.5, "p": 3.0, "eps": 1e-3}),
]


def arguments(name):
    """What is differentiated by, and the rest."""
    if name == "triplet_margin":
        return EMBEDDINGS, []
    return EMBEDDINGS[:2], [SIGNS if name == "cosine_embedding" else (SIGNS + 1) / 2]


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_like_torch(name, options, reduction, weights):
    torch, reference = theirs()
    by, rest = arguments(name)
    ours = [tensor(a, requires_grad=True) for a in by]
    value = getattr(losses, name)(
        *ours, *rest, reduction=reduction, sample_weight=weights, **options
    )
    F.sum(value).backward()
    other = [torch.tensor(a, requires_grad=True) for a in by]
    w = torch.ones(ROWS) if weights is None else torch.tensor(weights)
    rows = w * reference[name](*other, *map(torch.tensor, rest), **options)
    want = rows if reduction == "none" else rows.sum()
    want = want / w.sum() if reduction == "mean" else want
    want.sum().backward()
    np.testing.assert_allclose(value.data, want.detach().numpy(), rtol=1e-10, atol=1e-12)
    for a, b in zip(ours, other, strict=True):
        np.testing.assert_allclose(a.grad.data, b.grad.numpy(), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_derivatives_by_differences(name, options):
    by, rest = arguments(name)
    by, rest = [a[:4, :3] for a in by], [a[:4] for a in rest]
    fp.gradcheck(lambda *a: getattr(losses, name)(*a, *rest, **options), by)
    fp.gradgradcheck(lambda *a: getattr(losses, name)(*a, *rest, **options), by)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equal_and_vanishing_embeddings_have_finite_gradients(dtype):
    a = np.zeros((4, 3), dtype)
    a[2:] = 1
    for function in (
        lambda x, y: losses.cosine_embedding(x, y, [1, -1, 1, -1]),
        lambda x, y: losses.contrastive(x, y, [1, 0, 1, 0]),
        lambda x, y: losses.triplet_margin(x, y, y),
    ):
        x, y = tensor(a, requires_grad=True), tensor(a, requires_grad=True)
        value = function(x, y)
        value.backward()
        assert value.dtype == dtype
        assert np.isfinite([value.item(), *x.grad.data.flat, *y.grad.data.flat]).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a, b: losses.cosine_embedding(a, b, SIGNS, margin=2), r"in \[-1, 1\], got 2"),
        (lambda a, b: losses.cosine_embedding(a, b, SIGNS * 2), r"target\[0\] is 2.0, expected 1"),
        (lambda a, b: losses.cosine_embedding(a, b, SIGNS[:3]), "one for each of the 9 rows"),
        (lambda a, b: losses.contrastive(a, b, SIGNS), r"target\[1\] is -1.0, expected a number"),
        (
            lambda a, b: losses.contrastive(a, b, SIGNS, margin=0),
            "margin must be a finite number above 0",
        ),
        (lambda a, b: losses.contrastive(a, b[:, :2], SIGNS), r"x2 is float64 of shape \(9, 2\)"),
        (lambda a, b: losses.contrastive(a[0], b, SIGNS), r"x1 must be \[rows, size\], got shape"),
        (
            lambda a, b: losses.triplet_margin(a, b, b, p=-1),
            "triplet_margin: p must be a finite number above 0",
        ),
        (lambda a, b: losses.triplet_margin(a, b, b[:4]), r"negative is float64 of shape \(4, 5\)"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(*EMBEDDINGS[:2])


class Triplets(nn.Module):
    def __init__(self):
        super().__init__()
        fp.seed(0)
        self.net = nn.Sequential(nn.Dense(4, 16, "tanh"), nn.Dense(16, 2))

    def forward(self, anchor, positive, negative):
        return self.net(anchor), self.net(positive), self.net(negative)


def test_a_trainer_separates_classes_by_triplets():
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(3, 4))
    labels = rng.integers(0, 3, 600)
    other = (labels + rng.integers(1, 3, 600)) % 3
    x = tuple(
        (centers[c] + 0.3 * rng.normal(size=(600, 4))).astype("float32")
        for c in (labels, labels, other)
    )
    trainer = fp.Trainer(Triplets(), "triplet_margin", fp.optim.Adam(lr=0.01))
    before = trainer.evaluate(x)["loss"]
    history = trainer.fit(x, epochs=10, batch_size=50)
    assert trainer.evaluate(x)["loss"] < 0.1 < before
    assert history["loss"][-1] < history["loss"][0]
    with pytest.raises(ValueError, match="triplet_margin: takes no targets"):
        trainer.fit(x, labels)


def test_a_trainer_takes_pairs_and_their_targets():
    class Pairs(nn.Module):
        def __init__(self):
            super().__init__()
            fp.seed(0)
            self.net = nn.Dense(4, 3)

        def forward(self, a, b):
            return self.net(a), self.net(b)

    rng = np.random.default_rng(0)
    x1, x2 = (rng.normal(size=(100, 4)) for _ in range(2))
    same = rng.integers(0, 2, 100)
    for name, y in (("contrastive", same), ("cosine_embedding", 2 * same - 1)):
        trainer = fp.Trainer(Pairs(), name, fp.optim.SGD(lr=0.1))
        a, b = Pairs().forward(x1.astype("float32"), x2.astype("float32"))
        want = getattr(losses, name)(a, b, y).item()
        assert trainer.evaluate((x1, x2), y)["loss"] == pytest.approx(want, rel=1e-5)
        trainer.fit((x1, x2), y[:, None], epochs=1)
