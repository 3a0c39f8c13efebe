"""Where NaN and infinities come from: op, line, element; forward, backward, in a Trainer."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

import fastprop as fp
from fastprop import Parameter, Tensor, nn, optim, tensor
from fastprop import functional as F
from fastprop.graph import anomaly

X = np.array([[1.0, 4.0], [0.0, 2.0]])


def leaf(array: np.ndarray = X) -> Tensor:
    return tensor(array, requires_grad=True)


@contextmanager
def found(message: str, kind: type[Exception] = fp.AnomalyError) -> Iterator[pytest.ExceptionInfo]:
    """A block of anomaly detection that ends in an error."""
    with pytest.raises(kind, match=message) as caught, fp.detect_anomaly():
        yield caught


def logarithm(x: Tensor) -> Tensor:
    return F.log(x)  # this line


def test_forward() -> None:
    with found("detect_anomaly") as caught:
        logarithm(leaf() * 1.0).sum()
    assert str(caught.value) == (
        "detect_anomaly: log gave -inf at [1, 0], where operand 0 is 0, called at "
        f"test_anomaly.py:{logarithm.__code__.co_firstlineno + 1} in logarithm: "
        "return F.log(x)  # this line"
    )
    assert (caught.value.op, caught.value.backward) == ("log", False)
    assert "logarithm" in caught.value.line


@pytest.mark.parametrize(
    ("name", "function", "value", "operands"),
    [
        ("div", lambda x: 1 / x, "inf", "operand 0 is 1, operand 1 is 0"),
        ("exp", lambda x: F.exp(500 * x), "inf", "operand 0 is 2000"),
        ("sqrt", lambda x: F.sqrt(x - 1), "nan", "operand 0 is -1"),
        (
            "matmul",
            lambda x: (1e200 * x) @ (1e200 * x),
            "inf",
            r"operand 0 \(2, 2\) goes from 0 to",
        ),
        ("sum", lambda x: F.sum(x * 4e307), "inf", r"operand 0 \(2, 2\) goes from 0 to 1.6e\+308"),
        ("square", lambda x: (x * 1e200) ** 2, "inf", r"operand 0 is 1e\+200"),
    ],
)
def test_ops_name_themselves(name: str, function, value: str, operands: str) -> None:
    with found(f"{name} gave {value}.*{operands}"):
        function(leaf())


def test_an_operand_that_is_bad_already() -> None:
    x = tensor(np.array([1.0, np.nan]), requires_grad=True)
    with found(r"operand 1 of mul, Tensor of shape \(2,\), holds nan"):
        _ = tensor(np.ones(2)) * x
    before = F.log(leaf())
    with found("operand 0 of neg, .*holds -inf already"):
        _ = -before


def test_backward() -> None:
    with found("detect_anomaly") as caught:
        x = leaf()
        y = F.sqrt(x)  # forward
        total = (y * 2).sum()
        total.backward()
    message = str(caught.value)
    assert message.startswith(
        "detect_anomaly: the backward pass of sqrt gave inf as the derivative by its operand 0 at "
        "[1, 0], where operand 0 is 0, the derivative by its result is 2; sqrt was called at "
    )
    assert message.endswith("in test_backward: y = F.sqrt(x)  # forward")
    assert caught.value.backward
    assert caught.value.op == "sqrt"
    early = F.sqrt(leaf()).sum()
    with found("backward pass of sqrt .*a line before the block"):
        early.backward()


def test_a_gradient_from_outside() -> None:
    y = leaf() * 3
    with found("mul got nan as the derivative by its result"):
        y.backward(np.full((2, 2), np.nan))


def test_second_derivatives() -> None:
    with found("backward pass of sqrt .*called at test_anomaly.py"):
        x = leaf(np.array([0.0, 1.0]))
        first = fp.grad(F.sqrt(x + 1e-300).sum(), x, create_graph=True)
        first.sum().backward()


def test_what_rules_hide_is_no_anomaly() -> None:
    """The rule of pow computes 0 to the power of -1 where it then takes 0."""
    x, p = leaf(np.array([0.0, 2.0])), leaf(np.array([0.0, 3.0]))
    with fp.detect_anomaly():
        ((x + 0.0) ** p).sum().backward()
        F.norm(leaf(np.zeros(3)) * 1.0).backward()
    np.testing.assert_allclose(x.grad.data, [0.0, 12.0])


def test_infinities_can_be_meant() -> None:
    scores = leaf()
    with fp.detect_anomaly(infinities=False):
        y = F.softmax(F.where(X > 1, scores, -np.inf), 1)
        np.testing.assert_array_equal(y.data, [[0, 1], [0, 1]])
        with pytest.raises(fp.AnomalyError, match="sub gave nan"):
            F.log(scores) - F.log(scores)
    with found("operand 2 of where, .* holds -inf already"):
        F.where(X > 1, scores, -np.inf)


def test_outside_of_the_block_nothing_is_checked() -> None:
    block = fp.detect_anomaly()
    with block, fp.detect_anomaly(), block:
        F.exp(leaf())
        assert block._lines == {}  # the innermost block keeps the lines, of what is alive
    assert np.isneginf(F.log(leaf()).data).any()
    assert anomaly.active() is None
    other: list[np.ndarray] = []
    with fp.detect_anomaly():
        thread = threading.Thread(target=lambda: other.append(F.log(leaf()).data))
        thread.start()
        thread.join()
    assert np.isneginf(other[0]).any()


def test_results_are_not_kept_alive() -> None:
    with fp.detect_anomaly() as _:
        block = anomaly.active()
        y = F.exp(leaf())
        assert len(block._lines) == 1
        del y
        gc.collect()
        assert block._lines == {}


# -- training -------------------------------------------------------------------------------------


class Net(nn.Module):
    """Its logarithm is fine until row 5 comes, or until the weights have grown."""

    def __init__(self) -> None:
        super().__init__()
        self.w = Parameter(np.array([[0.5]]))

    def forward(self, x: Tensor) -> Tensor:
        return F.log(x @ self.w)  # bad


def _trainer(lr: float = 0.01) -> fp.Trainer:
    return fp.Trainer(Net(), "mse", optim.SGD(lr=lr), seed=0)


def test_fit_names_op_and_line() -> None:
    x, y = np.arange(1.0, 9.0)[:, None], np.zeros((8, 1))
    x[5] = 0.0
    trainer = _trainer(1e-3)
    with found("Trainer.fit", fp.NonFiniteError) as caught:
        trainer.fit(x, y, epochs=1, batch_size=2, shuffle=False, verbose=False)
    message = str(caught.value)
    assert message.startswith("Trainer.fit: the loss is inf in epoch 1, step 3 of 4; the last good")
    assert "log gave -inf at [1, 0], where operand 0 is 0, called at test_anomaly.py:" in message
    assert "in forward: return F.log(x @ self.w)  # bad" in message
    assert isinstance(caught.value.__cause__, fp.AnomalyError)
    reference = _trainer(1e-3)
    with pytest.raises(fp.NonFiniteError) as plain:
        reference.fit(x, y, epochs=1, batch_size=2, shuffle=False, verbose=False)
    assert plain.value.__cause__ is None
    np.testing.assert_array_equal(trainer.model.w.data, reference.model.w.data)
    assert trainer.optimizer.steps == reference.optimizer.steps


def test_fit_after_an_update_that_went_too_far() -> None:
    x, y = np.arange(1.0, 5.0)[:, None], np.full((4, 1), -9.0)
    trainer = _trainer(10.0)
    with found(r"step 2 of 4; .*log gave nan .* operand 0 is -", fp.NonFiniteError):
        trainer.fit(x, y, epochs=1, batch_size=1, shuffle=False, verbose=False)
    assert np.isfinite(trainer.model.w.data).all()


def test_train_step_names_op_and_line() -> None:
    trainer = _trainer()
    before = trainer.model.w.data.copy()
    with found(r"as before\. detect_anomaly: log gave .*# bad", fp.NonFiniteError):
        trainer.train_step(np.array([[0.0]]), np.array([[1.0]]))
    np.testing.assert_array_equal(trainer.model.w.data, before)


def test_compiled_functions_are_looked_into() -> None:
    step = fp.compile(lambda x: logarithm(x).sum())
    x = tensor(X)
    assert np.isneginf(step(x).data)
    with found("log gave -inf .* in logarithm"):
        step(x)


class Unlucky(nn.Module):
    """Fails only where the mask of one step drops the first element of all rows."""

    def __init__(self) -> None:
        super().__init__()
        self.w = Parameter(np.ones((1, 1)))

    def forward(self, x: Tensor) -> Tensor:
        kept = F.dropout(x @ self.w, 0.5)
        return F.log(kept.sum(axis=0, keepdims=True)) * x  # bad


@pytest.mark.parametrize("mixup", [0.0, 0.4])
@pytest.mark.parametrize("seed", range(4))
def test_the_explanation_has_the_random_numbers_of_the_step(seed: int, mixup: float) -> None:
    """One step of several drops all rows; only the same masks show it."""
    x, y = np.ones((64, 1)), np.ones((64, 1))
    trainer = fp.Trainer(Unlucky(), "mse", optim.SGD(lr=1e-6), seed=seed)
    with found("log gave -inf at .* # bad", fp.NonFiniteError) as caught:
        trainer.fit(x, y, epochs=4, batch_size=2, verbose=False, mixup=mixup)
    assert caught.value.__cause__ is not None
    single = fp.Trainer(Unlucky(), "mse", optim.SGD(lr=1e-6), seed=seed)
    with found("log gave -inf at .* # bad", fp.NonFiniteError):
        for _ in range(100):
            single.train_step(x[:2], y[:2])


def test_compiled_functions_draw_the_same_numbers_op_by_op() -> None:
    def function(x: Tensor) -> Tensor:
        h = F.dropout(x * 2.0, 0.5)
        return fp.checkpoint(lambda t: F.gaussian_noise(t, 0.1), h) + inner(x)

    inner = fp.compile(lambda x: F.alpha_dropout(x, 0.2))
    calls = []
    for watched in (False, True):
        compiled = fp.compile(function, seed=5)
        results = []
        for _ in range(3):
            x = tensor(np.ones((6, 2)))
            x.requires_grad = True
            if watched:
                with fp.detect_anomaly():
                    y = compiled(x)
                    y.sum().backward()
            else:
                y = compiled(x)
                y.sum().backward()
            results.extend([y.data, x.grad.data])
        calls.append(results)
    for a, b in zip(*calls, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_backward_pass_of_a_compiled_function() -> None:
    compiled = fp.compile(lambda x: (F.sqrt(x), x.sum()))
    x = leaf(np.array([0.0, 1.0]))
    y, total = compiled(x)
    with found("backward pass of compile.* gave inf as the derivative by its operand 0"):
        (y.sum() + total).backward()
    y = fp.compile(F.sqrt)(x)
    with found(r"backward pass of compile\(sqrt\) gave inf as the derivative by its operand 0"):
        y.sum().backward()
