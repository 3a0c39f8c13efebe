"""Where NaN and infinities come from: op, line, element; forward, backward, in a Trainer."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

import fastprop as fp
from fastprop import functional as F
from fastprop import nn, optim
from fastprop.graph import Parameter, Tensor, anomaly, tensor

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
