"""Every loss in a Program: as eager, on any number of threads; several outputs, own losses."""

import numpy as np
import pytest
from helpers import DTYPES
from training import network, regression, weights_of

import fastprop as fp
from fastprop import functional as F
from fastprop import losses, nn
from fastprop.losses.targets import rule_of

ROWS, WIDTH = 45, 3
SINGLE = [
    n
    for n in losses.LOSSES
    if n not in ("gaussian_nll", "cosine_embedding", "contrastive", "triplet_margin")
]


def targets(name: str, rng: np.random.Generator):
    if rule_of(name).kind == "classes":
        return rng.integers(0, WIDTH, ROWS)
    if name == "hinge":
        return np.sign(rng.normal(size=(ROWS, WIDTH)))
    if name == "kl_div":
        return rng.dirichlet(np.ones(WIDTH), ROWS)
    return rng.integers(0, 2, (ROWS, WIDTH)).astype(float)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", SINGLE)
def test_a_step_is_as_by_hand(name: str, weighted: bool, dtype: str) -> None:
    """The fused loss of a Program, its gradient and its evaluation, against eager ones."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, 4)).astype(dtype)
    y = targets(name, rng)
    weight = rng.uniform(0, 2, ROWS) if weighted else None
    trained, by_hand = (network(4, 8, WIDTH, dtype=dtype) for _ in range(2))
    trainer = fp.Trainer(trained, name, fp.optim.SGD(lr=0.1), threads=1)
    eager = losses.get(name)(by_hand(fp.Tensor(x)), y.astype(dtype) if y.ndim > 1 else y, weight)
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    assert trainer.evaluate(x, y, sample_weight=weight)["loss"] == pytest.approx(
        eager.item(), rel=tolerance
    )
    assert trainer.train_step(x, y, sample_weight=weight) == pytest.approx(
        eager.item(), rel=tolerance
    )
    eager.backward()
    for a, b in zip(trained.parameters(), by_hand.parameters(), strict=True):
        wanted = b.data - 0.1 * b.grad.data
        np.testing.assert_allclose(a.data, wanted, rtol=tolerance * 10, atol=tolerance)


@pytest.mark.parametrize("name", SINGLE)
def test_bits_do_not_depend_on_threads(name: str) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(ROWS, 4)), targets(name, rng)
    found = []
    for threads in (1, 2):
        model = network(4, 8, WIDTH)
        trainer = fp.Trainer(model, name, fp.optim.Adam(lr=0.01), threads=threads)
        history = trainer.fit(x, y, epochs=3, batch_size=16)
        found.append((weights_of(model), history["loss"]))
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["focal", "binary_focal", "log_cosh", "quantile", "kl_div"])
def test_value_and_gradient_are_one_pass(name: str) -> None:
    rng = np.random.default_rng(0)
    trainer = fp.Trainer(network(4, 8, WIDTH), name, fp.optim.SGD(lr=0.1))
    trainer.train_step(rng.normal(size=(ROWS, 4)), targets(name, rng))
    assert f"{name}_fused" in trainer.program.describe()


def test_several_quantiles_of_one_target() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (4000, 1))
    y = x[:, 0] + rng.normal(size=4000)  # its quantiles are those of the noise, shifted
    model = network(1, 3)
    loss = losses.Loss("quantile", q=[0.1, 0.5, 0.9])
    trainer = fp.Trainer(model, loss, fp.optim.Adam(lr=0.02))
    trainer.fit(x, y, epochs=30, batch_size=100)
    found = trainer.predict(np.zeros((1, 1), np.float32))[0]
    np.testing.assert_allclose(found, [-1.28, 0.0, 1.28], atol=0.15)


# -- several outputs ---


class Two(nn.Module):
    """Classes and a number from one trunk."""

    def __init__(self) -> None:
        super().__init__()
        fp.seed(0)
        self.trunk = nn.Dense(3, 8, "tanh", dtype="float64")
        self.classes = nn.Dense(8, 4, dtype="float64")
        self.number = nn.Dense(8, 1, dtype="float64")

    def forward(self, x):
        h = self.trunk(x)
        return self.classes(h), self.number(h)


def two_targets():
    x, y = regression(60, "float64")
    return x, (np.arange(60) % 4, y)


@pytest.mark.parametrize("weights", [None, [0.5, 2.0], [1.0, 0.0]])
def test_multi_output_is_the_weighted_sum(weights) -> None:
    x, (labels, y) = two_targets()
    sample = np.random.default_rng(1).uniform(0, 2, 60)
    trainer = fp.Trainer(
        Two(), losses.MultiOutput(["cross_entropy", "mse"], weights), fp.optim.SGD(lr=0.1)
    )
    by_hand = Two()
    scores, number = by_hand(fp.Tensor(x))
    a, b = weights or (1, 1)
    want = a * losses.cross_entropy(scores, labels, sample_weight=sample) + b * losses.mse(
        number, y, sample_weight=sample
    )
    given = (x, (labels, y))
    assert trainer.evaluate(*given, sample_weight=sample)["loss"] == pytest.approx(want.item())
    trainer.train_step(*given, sample_weight=sample)
    want.backward()
    for p, q in zip(trainer.model.parameters(), by_hand.parameters(), strict=True):
        np.testing.assert_allclose(p.data, q.data - 0.1 * q.grad.data, rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_losses_of_outputs_are_reported(weighted: bool) -> None:
    """Unweighted means over all rows, whatever the batches were; the loss is their weighted sum."""
    x, (labels, y) = two_targets()
    weight = np.random.default_rng(1).uniform(0, 2, 60) if weighted else None
    loss = losses.MultiOutput(["cross_entropy", "mse"], [0.5, 2.0])
    trainer = fp.Trainer(Two(), loss, fp.optim.SGD(lr=0.01))
    scores, number = Two()(fp.Tensor(x))
    logs = trainer.evaluate(x, (labels, y), 17, sample_weight=weight)
    assert list(logs) == ["loss", "loss_0", "loss_1"]
    want = losses.cross_entropy(scores, labels, sample_weight=weight).item()
    assert logs["loss_0"] == pytest.approx(want, rel=1e-12)
    assert logs["loss_1"] == pytest.approx(
        losses.mse(number, y, sample_weight=weight).item(), rel=1e-12
    )
    assert logs["loss"] == pytest.approx(0.5 * logs["loss_0"] + 2 * logs["loss_1"], rel=1e-12)
    history = trainer.fit(x, (labels, y), validation_split=0.5, sample_weight=weight, epochs=2)
    total = 0.5 * np.array(history["val_loss_0"]) + 2 * np.array(history["val_loss_1"])
    np.testing.assert_allclose(history["val_loss"], total, rtol=1e-12)
    assert len(history["loss_1"]) == 2


def test_metrics_of_outputs() -> None:
    x, (labels, y) = two_targets()
    metrics = [["accuracy"], ["mae", "r2"]]
    trainer = fp.Trainer(Two(), ["cross_entropy", "mse"], fp.optim.SGD(lr=0.01), metrics)
    scores, number = (t.data for t in Two()(fp.Tensor(x)))
    logs = trainer.evaluate(x, (labels, y), 17)
    assert logs["accuracy_0"] == pytest.approx((scores.argmax(1) == labels).mean())
    assert logs["mae_1"] == pytest.approx(np.abs(number[:, 0] - y).mean(), rel=1e-12)
    assert logs["r2_1"] == pytest.approx(1 - logs["loss_1"] / y.var(), rel=1e-9)
    assert set(trainer.fit(x, (labels, y))) >= {"accuracy_0", "mae_1", "r2_1"}
    again = fp.metrics.OfOutput(**trainer.metrics[1].config())
    assert (again.name, repr(again)) == ("mae_1", "OfOutput(MAE(), 1)")


def test_metrics_of_outputs_that_are_not_there() -> None:
    x, targets = two_targets()
    trainer = fp.Trainer(Two(), ["cross_entropy", "mse"], "sgd", [[], [], ["mae"]])
    with pytest.raises(ValueError, match="mae_2: a metric of output 2, but the number of outputs"):
        trainer.evaluate(x, targets)
    single = fp.Trainer(network(3, 1, dtype="float64"), "mse", "sgd", [["mae"]])
    with pytest.raises(ValueError, match="metric of output 0, but the number of outputs is 1"):
        single.evaluate(x, targets[1])
    with pytest.raises(ValueError, match="there are two metrics called 'mae_0'"):
        fp.metrics.get_all([["mae", "mae"]])


def test_a_list_of_losses_is_multi_output() -> None:
    x, (labels, y) = two_targets()

    def own(pred, target):
        return F.mean((pred - F.reshape(target, pred.shape)) ** 2)

    ends = []
    for loss in (["cross_entropy", "mse"], [losses.cross_entropy, own]):
        trainer = fp.Trainer(Two(), loss, fp.optim.Adam(lr=0.01))
        ends.append(trainer.fit(x, (labels, y), epochs=3, batch_size=20)["loss"][-1])
    assert ends[0] == pytest.approx(ends[1], rel=1e-12)
    assert trainer.loss.name == "cross_entropy + own"


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        (["mse"], ValueError, "1 losses, but the model has 2 outputs and y holds 2"),
        (["mse", "mss"], ValueError, "unknown loss 'mss'; did you mean 'mse'"),
        ([], ValueError, "expects a list with one loss for each output"),
        (["mse", "gaussian_nll"], ValueError, "gaussian_nll takes the outputs mean, variance"),
        (["mse", ["mse"]], ValueError, "a loss of several outputs cannot be one of its losses"),
        (["cross_entropy", "cross_entropy"], ValueError, r"y\[1\]: cross_entropy: the model has"),
    ],
)
def test_multi_output_refuses(loss, error, message) -> None:
    x, y = two_targets()
    with pytest.raises(error, match=message):
        fp.Trainer(Two(), loss, fp.optim.SGD(lr=0.1)).fit(x, y)


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ([1.0], ValueError, "2 losses, but 1 weights"),
        ([1.0, -1.0], ValueError, "finite and not negative, got -1.0"),
        ([1.0, np.nan], ValueError, "finite and not negative, got nan"),
        (["a", 1.0], TypeError, "weights must be numbers, got 'a'"),
    ],
)
def test_weights_of_outputs_are_checked(weights, error, message) -> None:
    with pytest.raises(error, match=message):
        losses.MultiOutput(["mse", "mae"], weights)


# -- losses of the user's own ---


class Center:
    """A loss with state: distance to a point that is read when the loss is recorded."""

    def __init__(self, point: np.ndarray) -> None:
        self.point = point
        self.traced = 0

    def __call__(self, pred, target, sample_weight=None):
        self.traced += 1
        rows = F.logsumexp(F.abs(pred - self.point), axis=1) + F.gather(pred, 1, target)[:, 0] ** 2
        counted = rows if sample_weight is None else rows * sample_weight
        return F.mean(counted)


def test_an_own_loss_with_state_is_compiled() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 4)), rng.integers(0, WIDTH, (64, 1))
    loss, model = Center(np.array([0.5, -1.0, 2.0])), network(4, WIDTH, dtype="float64")
    want = Center(loss.point)(model(fp.Tensor(x)), fp.Tensor(y)).item()
    trainer = fp.Trainer(model, loss, fp.optim.Adam(lr=0.05))
    assert trainer.evaluate(x, y)["loss"] == pytest.approx(want, rel=1e-12)
    before = loss.traced
    history = trainer.fit(x, y, epochs=20, batch_size=16)
    assert loss.traced == before + 1  # once, not in every step
    assert history["loss"][-1] < history["loss"][0]
    trainer.fit(x, y, epochs=1, sample_weight=np.ones(64))


@pytest.mark.parametrize("threads", [1, 2])
def test_an_own_loss_of_many_ops_is_as_eager(threads: int) -> None:
    def loss(pred, target):
        apart = F.einsum("ij,ij->i", pred - target, pred)
        ordered = F.sort(pred, 1)[0]
        gaps = F.sum(F.where(F.less(target, 0), F.tanh(pred), F.erf(pred)), 1)
        spread = F.max(pred, 1) - F.min(pred, 1)
        return F.mean(F.softplus(apart) + F.sum(ordered[:, ::2] ** 2, 1) + gaps * spread)

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(33, 4)), rng.normal(size=(33, WIDTH))
    trained, by_hand = (network(4, WIDTH, dtype="float64") for _ in range(2))
    fp.Trainer(trained, loss, fp.optim.SGD(lr=0.1), threads=threads).train_step(x, y)
    loss(by_hand(fp.Tensor(x)), fp.Tensor(y)).backward()
    for p, q in zip(trained.parameters(), by_hand.parameters(), strict=True):
        np.testing.assert_allclose(p.data, q.data - 0.1 * q.grad.data, rtol=1e-11, atol=1e-14)
