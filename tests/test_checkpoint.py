"""fp.checkpoint: the same bits with less memory."""

from __future__ import annotations

import numpy as np
import pytest
from training import assert_same, training_step, weights

import fastprop as fp
from fastprop import functional as F
from fastprop import nn, optim
from fastprop.graph.parameter import Buffer

rng = np.random.default_rng(0)
X = rng.normal(size=(33, 16)).astype(np.float32)
Y = X[:, :1] * X[:, 1:2]


class Deep(nn.Module):
    """Equal layers, checkpointed in segments (0: not at all)."""

    def __init__(self, layers: int, segments: int, width: int = 16, dtype="float32") -> None:
        super().__init__()
        fp.seed(0)
        self.blocks = nn.ModuleList(
            [nn.Dense(width, width, "tanh", dtype=dtype) for _ in range(layers)]
        )
        self.head = nn.Dense(width, 1, dtype=dtype)
        self.segments = segments

    def run(self, x, first: int, count: int):
        for block in list(self.blocks)[first : first + count]:
            x = block(x)
        return x

    def forward(self, x):
        count = -(-len(self.blocks) // max(self.segments, 1))
        for first in range(0, len(self.blocks), count):
            part = fp.checkpoint if self.segments else lambda f, *args: f(*args)
            x = part(self.run, x, first, count)
        return self.head(x)


@pytest.mark.parametrize("segments", [1, 2, 3, 7])
def test_eager_gradients_are_the_same(segments: int) -> None:
    found = []
    for model in (Deep(7, 0), Deep(7, segments)):
        x = fp.tensor(X, requires_grad=True)
        loss = ((model(x) - Y) ** 2).mean()
        loss.backward()
        found.append([loss.data, x.grad.data, *(p.grad.data for p in model.parameters())])
    assert_same(*found)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("segments", [1, 2, 3, 7])
def test_training_is_the_same(segments: int, threads: int) -> None:
    found = []
    for model in (Deep(7, 0), Deep(7, segments)):
        trainer = fp.Trainer(model, "mse", optim.Adam(lr=1e-2), threads=threads)
        trainer.fit(X, Y, epochs=3, batch_size=10)
        found.append(weights(model))
    assert_same(*found)


def test_a_compiled_step_is_the_same() -> None:
    found = []
    for model in (Deep(7, 0), Deep(7, 3)):
        step = fp.compile(training_step(model, optim.SGD(model.parameters(), lr=0.1)))
        losses = [step(X, Y).data for _ in range(3)]
        found.append([*losses, *weights(model)])
    assert_same(*found)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_deep_network_needs_a_quarter_of_the_memory(threads: int) -> None:
    x = rng.normal(size=(512, 64)).astype(np.float32)
    y = x[:, :1]
    arenas = []
    for segments in (None, "auto"):
        model = nn.Sequential(*[nn.Dense(64, 64, "relu") for _ in range(64)], nn.Dense(64, 1))
        trainer = fp.Trainer(model, "mse", optim.SGD(lr=1e-3), threads=threads, checkpoint=segments)
        trainer.fit(x, y, batch_size=512)
        assert trainer.program is not None
        arenas.append(trainer.program.arena_bytes)
    assert arenas[1] <= arenas[0] / 4


@pytest.mark.parametrize("segments", [4, "auto", 16])
def test_two_threads_need_no_more_memory_than_one(segments) -> None:
    """A repeated segment's derivatives take the place of its values there, too."""
    x = rng.normal(size=(512, 128)).astype(np.float32)
    arenas = []
    for threads in (1, 2):
        model = nn.Sequential(*[nn.Dense(128, 128, "relu") for _ in range(31)])
        trainer = fp.Trainer(model, "mse", optim.SGD(), threads=threads, checkpoint=segments)
        trainer.fit(x, x, batch_size=512)
        assert trainer.program is not None
        packed = sum(v.nbytes for item in trainer.program.prologue for v in item.outputs)
        arenas.append(trainer.program.arena_bytes - packed)
    assert arenas[1] <= 1.02 * arenas[0]


def test_what_happened_between_the_segments_is_there() -> None:
    """A Tensor from outside that the function does not get as an argument."""
    found = []
    for part in (lambda f, *args: f(*args), fp.checkpoint):
        x, w = fp.tensor(X, requires_grad=True), fp.tensor(X.T[:, :3], requires_grad=True)
        middle = x * 2.0
        y = part(lambda a, middle=middle, w=w: F.tanh(a @ w) * middle[:, :3], F.exp(x * 0.1))
        (y * y).sum().backward()
        found.append([y.data, x.grad.data, w.grad.data])
    assert_same(*found)


def test_a_path_around_the_segment_counts_once() -> None:
    found = []
    for part in (lambda f, *args: f(*args), fp.checkpoint):
        x = fp.tensor(X, requires_grad=True)
        h = F.tanh(x)
        y = part(lambda a, b: a * b + a, h, x)
        (y + h).sum().backward()
        found.append(x.grad.data)
    np.testing.assert_allclose(*found, rtol=1e-6)  # the same three terms in another order


def test_several_outputs() -> None:
    found = []
    for part in (lambda f, *args: f(*args), fp.checkpoint):
        x = fp.tensor(X, requires_grad=True)
        a, b = part(lambda x: (F.sin(x), F.cos(x)), x)
        (a * 3.0 + a * b).sum().backward()
        found.append([a.data, b.data, x.grad.data])
    assert_same(*found)


@pytest.mark.parametrize("compiled", [False, True])
def test_derivatives_of_higher_order(compiled: bool) -> None:
    found = []
    for segments in (0, 2):
        model = Deep(4, segments, dtype="float64")

        def second(x, model=model):
            first = fp.grad(model(x).sum(), x, create_graph=True)
            return fp.grad((first**2).sum(), x)

        function = fp.compile(second) if compiled else second
        found.append([function(fp.tensor(X.astype(np.float64), requires_grad=True)).data])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_segments_within_segments() -> None:
    found = []
    for inner in (lambda f, *args: f(*args), fp.checkpoint):
        model = Deep(4, 0)
        x = fp.tensor(X, requires_grad=True)
        y = fp.checkpoint(
            lambda x, model=model, inner=inner: model.run(inner(model.run, x, 0, 2), 2, 2), x
        )
        y.sum().backward()
        found.append([y.data, x.grad.data, *(p.grad.data for p in model.blocks.parameters())])
    assert_same(*found)


class Counting(nn.Module):
    """Counts the rows that it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = Buffer(np.zeros((), np.float32))
        self.scale = nn.Parameter(np.ones(16, np.float32))

    def forward(self, x):
        self.calls.assign(self.calls + 1.0)
        return F.tanh(x * self.scale)


@pytest.mark.parametrize("compiled", [False, True])
def test_buffers_are_assigned_once(compiled: bool) -> None:
    module = Counting()
    optimizer = optim.SGD(module.parameters(), lr=0.1)

    def step(x):
        optimizer.zero_grad()
        fp.checkpoint(module, x).sum().backward()
        optimizer.step()

    function = fp.compile(step) if compiled else step
    for _ in range(3):
        function(fp.tensor(X))
    assert module.calls.item() == 3


def test_nothing_to_differentiate() -> None:
    with fp.no_grad():
        np.testing.assert_array_equal(fp.checkpoint(F.exp, fp.tensor(X)).data, F.exp(X).data)
    y = fp.checkpoint(F.exp, fp.tensor(X))
    assert not y.requires_grad
    np.testing.assert_array_equal(y.data, F.exp(X).data)


def test_a_function_that_gives_something_else() -> None:
    with pytest.raises(TypeError, match="checkpoint: the function must return a Tensor"):
        fp.checkpoint(lambda x: {"y": x}, fp.tensor(X, requires_grad=True))


# -- Trainer(checkpoint=…) -------------------------------------------------------------------------


def sequential(layers: int = 6) -> nn.Sequential:
    fp.seed(0)
    blocks = [nn.Dense(16, 16, "tanh") for _ in range(layers - 1)]
    return nn.Sequential(*blocks, nn.Dropout(0.3), nn.Dense(16, 1))


@pytest.mark.parametrize("segments", [1, 2, 5, "auto"])
def test_a_trainer_makes_segments(segments, tmp_path) -> None:
    found = []
    for checkpoint in (None, segments):
        trainer = fp.Trainer(sequential(), "mse", optim.Adam(lr=1e-2), checkpoint=checkpoint)
        trainer.fit(X, Y, epochs=3, batch_size=10)
        found.append([*weights(trainer.model), trainer.predict(X)])
    assert_same(*found)
    trainer.save(tmp_path / "trainer.safetensors")
    assert fp.Trainer.resume(tmp_path / "trainer.safetensors").checkpoint == segments


def test_a_sequential_in_segments_by_hand() -> None:
    model = sequential().eval()
    np.testing.assert_array_equal(
        fp.checkpoint_sequential(model, 3, fp.tensor(X)).data, model(X).data
    )


def test_segments_that_cannot_be() -> None:
    with pytest.raises(TypeError, match=r"Trainer: checkpoint: segments are those of an nn\.Seq"):
        fp.Trainer(Deep(3, 0), "mse", "sgd", checkpoint=2)
    with pytest.raises(ValueError, match="segments must be from 1 to 7, the modules of the model"):
        fp.Trainer(sequential(), "mse", "sgd", checkpoint=8)
    for wrong in ("all", 2.5, True):
        with pytest.raises(TypeError, match="segments must be a number or 'auto'"):
            fp.Trainer(sequential(), "mse", "sgd", checkpoint=wrong)


def test_hooks_of_what_a_segment_reads_are_called_once() -> None:
    weight = fp.Parameter(X[0])
    calls = []
    weight.register_hook(lambda g: calls.append(1) or g * 2.0)
    found = []
    for part in (fp.checkpoint, lambda f, x: f(x)):
        weight.grad = None
        x = fp.tensor(X, requires_grad=True)
        x.register_hook(lambda g: calls.append(2) or g * 3.0)
        part(lambda t: (t * weight) ** 2, x).sum().backward()
        found.append([weight.grad.data, x.grad.data])
    assert_same(*found)
    assert sorted(calls) == [1, 1, 2, 2]


def test_gradients_of_one_pass_are_not_those_of_another() -> None:
    """Several outputs and passes, with derivatives by them that live as long as a pass."""
    for _ in range(3):
        x = fp.tensor(X, requires_grad=True)
        a, b = fp.checkpoint(lambda t: (t * t, t * 3.0), x)
        for k in (1.0, 2.0, 5.0):
            seed = np.full_like(X, k)
            np.testing.assert_array_equal(fp.grad(a, x, fp.tensor(seed)), 2 * k * X)
            np.testing.assert_array_equal(fp.grad(b, x, fp.tensor(seed)), 3 * seed)
        same = fp.tensor(np.ones_like(X))
        np.testing.assert_array_equal(fp.grad(a, x, same), 2 * X)
        x.data = X + 1  # the same derivative by the output, but the input is another one
        with pytest.raises(RuntimeError, match="was changed in place"):
            fp.grad(a, x, same)


def test_only_what_is_wanted_is_differentiated() -> None:
    weight = fp.Parameter(X[0])
    seen = []
    spy = fp.custom_op(lambda a: a * 2.0, lambda dy, y, a: seen.append(a.shape) or dy * 2.0)
    x = fp.tensor(X, requires_grad=True)
    y = fp.checkpoint(lambda t: spy(t) * spy(weight), x)
    fp.grad(y.sum(), x)
    assert seen == [X.shape]
    fp.grad(y.sum(), [weight])
    assert seen == [X.shape, weight.shape]
