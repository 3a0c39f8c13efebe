"""What is done to gradients before the update: clipping, and rules of the user."""

from __future__ import annotations

import math

import numpy as np
import pytest
from training import assert_same, network, training_step, weights

import fastprop as fp
from fastprop import functional as F
from fastprop import gradients, nn, optim

rng = np.random.default_rng(0)
X = (3 * rng.normal(size=(64, 4))).astype(np.float32)
Y = 10 * X[:, :1]

RULES = {
    "value": lambda: gradients.ClipValue(0.3),
    "norm": lambda: gradients.ClipNorm(0.5),
    "global": lambda: gradients.ClipGlobalNorm(0.7),
    "adaptive": lambda: gradients.AdaptiveClip(0.05),
}


def in_numpy(name: str, w: list[np.ndarray], g: list[np.ndarray]) -> list[np.ndarray]:
    """The formulas in float64."""
    if name == "value":
        return [np.clip(a, -0.3, 0.3) for a in g]
    if name == "norm":
        return [a * min(1.0, 0.5 / (np.linalg.norm(a) + 1e-6)) for a in g]
    if name == "global":
        norm = math.sqrt(sum(float((a**2).sum()) for a in g))
        return [a * min(1.0, 0.7 / (norm + 1e-6)) for a in g]
    clipped = []
    for a, b in zip(w, g, strict=True):
        axis = 0 if a.ndim == 2 else None
        most = 0.05 * np.maximum(np.linalg.norm(a, axis=axis, keepdims=True), 1e-3)
        clipped.append(
            b
            * np.minimum(1.0, most / np.maximum(np.linalg.norm(b, axis=axis, keepdims=True), 1e-6))
        )
    return clipped


def descend(model: nn.Module, name: str, steps: int) -> None:
    """Gradient descent with clipping by NumPy, one step on all rows after the other."""
    for _ in range(steps):
        loss = ((model(fp.tensor(X)) - Y) ** 2).mean()
        model.zero_grad()
        loss.backward()
        parameters = list(model.parameters())
        found = in_numpy(name, [p.data for p in parameters], [p.grad.data for p in parameters])
        for parameter, g in zip(parameters, found, strict=True):
            parameter.data = parameter.data - 0.1 * g


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", RULES)
def test_rules_are_their_formulas(name: str, threads: int) -> None:
    wanted, found = network(4, 9, 1), network(4, 9, 1)
    descend(wanted, name, 4)
    trainer = fp.Trainer(found, "mse", optim.SGD(lr=0.1), clip=RULES[name](), threads=threads)
    trainer.fit(X, Y, epochs=4, batch_size=None)
    for a, b in zip(weights(wanted), weights(found), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", RULES)
def test_compiled_and_eager_are_the_same(name: str) -> None:
    results = []
    for compiled in (False, True):
        model = network(4, 9, 1, dtype="float64")
        optimizer = optim.Adam(model.parameters(), lr=1e-2)
        rule = RULES[name]()

        def step(x, y, model=model, optimizer=optimizer, rule=rule):
            loss = ((model(x) - y) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            parameters = list(model.parameters())
            with fp.no_grad():
                clipped = rule(parameters, [p.grad for p in parameters])
            for parameter, g in zip(parameters, clipped, strict=True):
                parameter.grad = g
            optimizer.step()

        function = fp.compile(step) if compiled else step
        for _ in range(5):
            function(fp.tensor(X.astype(float)), fp.tensor(Y.astype(float)))
        results.append(weights(model))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_number_is_the_global_norm() -> None:
    models = [network(4, 9, 1) for _ in range(2)]
    for model, clip in zip(models, (0.7, gradients.ClipGlobalNorm(0.7)), strict=True):
        fp.Trainer(model, "mse", "adam", clip=clip).fit(X, Y, epochs=2)
    assert_same(*(weights(m) for m in models))


def test_rules_follow_each_other_and_may_be_functions() -> None:
    def double(parameters, found):
        return [None if g is None else g * 2.0 for g in found]

    models = [network(4, 9, 1) for _ in range(2)]
    for model, clip in zip(
        models, ([double, gradients.ClipValue(0.2)], gradients.ClipValue(0.1)), strict=True
    ):
        lr = 0.05 if isinstance(clip, list) else 0.1
        trainer = fp.Trainer(model, "mse", optim.SGD(lr=lr), clip=clip)
        trainer.fit(X, Y, epochs=1, batch_size=None)
    for a, b in zip(*(weights(m) for m in models), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_functions_of_pytorch_by_name() -> None:
    torch = pytest.importorskip("torch")
    model = network(4, 9, 1, dtype="float64")
    ((model(X.astype(float)) - Y.astype(float)) ** 2).mean().backward()
    theirs = [torch.nn.Parameter(torch.tensor(p.data)) for p in model.parameters()]
    for mine, other in zip(model.parameters(), theirs, strict=True):
        other.grad = torch.tensor(mine.grad.data.copy())
    norm = fp.gradients.clip_grad_norm(model.parameters(), 2.0)
    assert norm.item() == pytest.approx(torch.nn.utils.clip_grad_norm_(theirs, 2.0).item())
    fp.gradients.clip_grad_value(model.parameters(), 0.4)
    torch.nn.utils.clip_grad_value_(theirs, 0.4)
    for mine, other in zip(model.parameters(), theirs, strict=True):
        np.testing.assert_allclose(mine.grad.data, other.grad.numpy(), rtol=1e-12)


def test_clip_grad_norm_in_a_compiled_step() -> None:
    results = []
    for compiled in (False, True):
        model = network(4, 9, 1)
        optimizer = optim.SGD(model.parameters(), lr=0.1)

        def step(x, y, model=model, optimizer=optimizer):
            loss = ((model(x) - y) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            norm = fp.gradients.clip_grad_norm(model.parameters(), 1.0)
            optimizer.step()
            return norm

        function = fp.compile(step) if compiled else step
        norms = [function(fp.tensor(X), fp.tensor(Y)).item() for _ in range(3)]
        results.append([np.array(norms), *weights(model)])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_what_explodes_without_clipping_converges_with_it() -> None:
    x = rng.normal(size=(256, 4)).astype(np.float32)
    y = 100 * x[:, :1] ** 3
    plain = fp.Trainer(network(4, 32, 32, 1, activation="relu"), "mse", optim.SGD(lr=0.02))
    with pytest.raises(fp.NonFiniteError):
        plain.fit(x, y, epochs=100)
    clipped = fp.Trainer(
        network(4, 32, 32, 1, activation="relu"), "mse", optim.SGD(lr=0.02), clip=10.0
    )
    losses = clipped.fit(x, y, epochs=200)["loss"]
    assert losses[-1] < 0.1 * losses[0]


def test_frozen_parameters_are_left_alone() -> None:
    model = network(4, 9, 1)
    model[0].weight.requires_grad = False
    before = model[0].weight.data.copy()
    fp.Trainer(model, "mse", "sgd", clip=[1.0, gradients.AdaptiveClip()]).fit(X, Y)
    np.testing.assert_array_equal(model[0].weight.data, before)


def test_layers_are_frozen_and_thawed() -> None:
    model = network(4, 9, 9, 1)
    model[1].requires_grad_(False)
    trainer = fp.Trainer(model, "mse", "adam")
    before = weights(model)
    trainer.fit(X, Y)
    after = weights(model)
    changed = [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    assert changed == [True, True, False, False, True, True]
    model.requires_grad_()
    trainer.fit(X, Y)
    assert all(not np.array_equal(a, b) for a, b in zip(after, weights(model), strict=True))


def test_clipping_is_in_a_checkpoint(tmp_path) -> None:
    rules = [gradients.ClipValue(0.5), 2.0, gradients.AdaptiveClip(0.1, eps=1e-2)]
    trainer = fp.Trainer(network(4, 9, 1), "mse", "adam", clip=rules)
    trainer.fit(X, Y)
    trainer.save(tmp_path / "t.safetensors")
    again = fp.Trainer.resume(tmp_path / "t.safetensors")
    assert repr(again.regularization.rules) == repr(trainer.regularization.rules)
    assert "AdaptiveClip(0.1)" in repr(again.regularization.rules)
    trainer.fit(X, Y)
    again.fit(X, Y)
    assert_same(weights(trainer.model), weights(again.model))


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan, math.inf])
def test_limits_that_cannot_be(wrong: float) -> None:
    for make in (gradients.ClipValue, gradients.ClipNorm, gradients.ClipGlobalNorm):
        with pytest.raises(ValueError, match=r"must be a finite number above 0, got"):
            make(wrong)
    with pytest.raises(ValueError, match=r"AdaptiveClip: eps must be a finite number above 0, got"):
        gradients.AdaptiveClip(eps=wrong)
    with pytest.raises(ValueError, match=r"Trainer: clip must be a finite number above 0, got"):
        fp.Trainer(network(4, 1), "mse", "sgd", clip=wrong)


@pytest.mark.parametrize("wrong", ["1.0", True, gradients.ClipNorm])
def test_what_is_no_rule(wrong) -> None:
    with pytest.raises(TypeError, match="Trainer: clip must be"):
        fp.Trainer(network(4, 1), "mse", "sgd", clip=wrong)
    with pytest.raises(TypeError, match="clip_grad_norm: expects Tensors, got ndarray"):
        gradients.clip_grad_norm([X], 1.0)


def test_rules_that_give_something_else() -> None:
    for rule, message in (
        (lambda p, g: g[:1], "gave 1 gradients for 2 parameters"),
        (lambda p, g: [F.sum(x) for x in g], r"gave a gradient of float32 \(\)"),
    ):
        with pytest.raises(ValueError, match=message):
            fp.Trainer(network(4, 1), "mse", "sgd", clip=rule).fit(X, Y)


def test_no_gradients() -> None:
    model = network(4, 1)
    assert gradients.clip_grad_norm(model.parameters(), 1.0).item() == 0.0
    gradients.clip_grad_value(next(model.parameters()), 1.0)
    step = training_step(model, optim.SGD(model.parameters()))
    step(fp.tensor(X), fp.tensor(Y))
