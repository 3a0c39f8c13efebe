"""What callbacks may change while a training goes on, and what they may not."""

from __future__ import annotations

import numpy as np
import pytest
from training import network, regression, weights_of

import fastprop as fp
from fastprop import nn, optim

X, Y = regression(48)


class AtEnd(fp.Callback):
    """Does something at the end of an epoch."""

    def __init__(self, epoch, do) -> None:
        self.epoch, self.do = epoch, do

    def on_epoch_end(self, trainer, epoch, logs):
        if epoch == self.epoch:
            self.do(trainer, logs)


def freeze(trainer, logs=None):
    trainer.model[0].requires_grad_(False)


def thaw(trainer, logs=None):
    trainer.model[0].requires_grad_(True)


def decay(trainer, logs=None):
    trainer.optimizer.weight_decay = 0.3


def momentum(trainer, logs=None):
    trainer.optimizer.momentum = 0.9


CHANGES = {
    "frozen": (lambda: optim.Adam(lr=1e-2), [(2, freeze)]),
    "frozen and thawed": (lambda: optim.Adam(lr=1e-2), [(1, freeze), (3, thaw)]),
    "weight decay": (lambda: optim.EMA(optim.SGD(lr=0.1)), [(2, lambda t, _: decay_of_inner(t))]),
    "decay": (lambda: optim.SGD(lr=0.1, momentum=0.5), [(3, decay)]),
    "momentum": (lambda: optim.SGD(lr=0.1), [(1, momentum)]),
}


def decay_of_inner(trainer):
    trainer.optimizer.optimizer.weight_decay = 0.3


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("name", CHANGES)
def test_changes_hold_from_the_next_epoch_on(name: str, many: bool) -> None:
    """As if every epoch were a fit of its own."""
    make, changes = CHANGES[name]
    at_once = fp.Trainer(network(3, 8, 1), "mse", make())
    callbacks = tuple(AtEnd(epoch, do) for epoch, do in changes)
    if many:
        fp.fit_many([at_once], X, Y, epochs=5, batch_size=16, callbacks=callbacks)
    else:
        at_once.fit(X, Y, epochs=5, batch_size=16, callbacks=callbacks)
    by_epochs = fp.Trainer(network(3, 8, 1), "mse", make())
    for epoch in range(1, 6):
        by_epochs.fit(X, Y, batch_size=16)
        for when, do in changes:
            if when == epoch:
                do(by_epochs, None)
    assert weights_of(at_once.model) == weights_of(by_epochs.model)
    unchanged = fp.Trainer(network(3, 8, 1), "mse", make())
    unchanged.fit(X, Y, epochs=5, batch_size=16)
    assert weights_of(at_once.model) != weights_of(unchanged.model)


def test_a_loss_that_is_not_finite_goes_back_no_further_than_a_change() -> None:
    trainer = fp.Trainer(network(3, 8, 1), "mse", optim.SGD(lr=0.01))
    kept = []

    def explode(trainer, logs):
        freeze(trainer)
        trainer.optimizer.lr = 1e30
        kept.append(trainer.model[0].weight.data.copy())

    with pytest.raises(fp.NonFiniteError):
        trainer.fit(X, Y, epochs=6, batch_size=16, callbacks=AtEnd(3, explode))
    assert all(np.isfinite(p.data).all() for p in trainer.model.parameters())
    np.testing.assert_array_equal(trainer.model[0].weight.data, kept[0])


def test_a_training_inside_itself_is_refused() -> None:
    trainer = fp.Trainer(network(3, 4, 1), "mse", "sgd")
    other = fp.Trainer(nn.Dense(3, 1), "mse", "sgd")

    def nested(trainer, logs):
        other.fit(X, Y)
        logs["other"] = other.evaluate(X, Y)["loss"]
        trainer.fit(X, Y)

    with pytest.raises(RuntimeError, match=r"Trainer\.fit: this trainer is training already"):
        trainer.fit(X, Y, callbacks=AtEnd(1, nested))
    assert other.epoch == 1
    assert trainer.fitting is None


def test_what_is_no_number() -> None:
    trainer = fp.Trainer(network(3, 4, 1), "mse", "sgd")
    words = AtEnd(2, lambda trainer, logs: logs.update(best="yes"))
    with pytest.raises(TypeError, match=r"'best' among the numbers of epoch 2.*got 'yes'"):
        trainer.fit(X, Y, epochs=3, callbacks=words)
    assert trainer.history.epoch == [1]
    assert list(trainer.history) == ["loss"]

    class Due(fp.Callback):
        def steps_until_due(self, trainer):
            return 1.5

    with pytest.raises(TypeError, match="Due: what steps_until_due gives must be an integer, got"):
        trainer.fit(X, Y, callbacks=Due())
