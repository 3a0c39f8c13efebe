"""What fit_many refuses, before any work; and Ctrl-C."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interrupts import interrupt
from training import network, regression, weights_of

import fastprop as fp
from fastprop import nn, optim
from fastprop.train import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau

X, Y = regression(40)


def trainer(seed: int = 0, inputs: int = 3) -> fp.Trainer:
    return fp.Trainer(network(inputs, 4, 1, seed=seed), "mse", optim.Adam(), seed=seed)


def refuse(kind: type[Exception], message: str, trainers: Any, *data: Any, **options: Any) -> None:
    """It raises, and no trainer has been changed."""
    known = [t for t in trainers if isinstance(t, fp.Trainer)] if trainers is not None else []
    before = [weights_of(t.model) for t in known]
    with pytest.raises(kind, match=message):
        fp.fit_many(trainers, *data, **options)
    assert [weights_of(t.model) for t in known] == before
    assert all(t.epoch == 0 and t.optimizer.steps == 0 and t.fitting is None for t in known)


def test_nothing_to_do() -> None:
    assert fp.fit_many([], X, Y) == []
    assert fp.fit_many(iter([]), X, Y, verbose=True) == []
    assert fp.fit_many([], [], []) == []


def test_trainers() -> None:
    one = trainer()
    with pytest.raises(TypeError, match="trainers must be a list of Trainers, got Trainer"):
        fp.fit_many(one, X, Y)
    with pytest.raises(TypeError, match="trainers must be a list of Trainers, got int"):
        fp.fit_many(3, X, Y)
    refuse(TypeError, r"fit_many: trainers\[1\] must be a Trainer, got Sequential",
           [one, one.model], X, Y)  # fmt: skip
    refuse(ValueError, r"fit_many: trainers\[2\] is there twice", [one, trainer(), one], X, Y)


def test_shared_models() -> None:
    model = network(3, 4, 1)
    sharing = [fp.Trainer(model, "mse", optim.SGD(lr=0.1)) for _ in range(2)]
    refuse(ValueError, r"trainers\[0\] and trainers\[1\] share a model", sharing, X, Y)

    layer = nn.Dense(3, 4)
    models = [nn.Sequential(layer, nn.Dense(4, 1)) for _ in range(2)]
    sharing = [fp.Trainer(m, "mse", optim.SGD(lr=0.1)) for m in models]
    message = r"trainers\[0\] and trainers\[2\] share a parameter of shape \(3, 4\)"
    refuse(ValueError, message, [sharing[0], trainer(), sharing[1]], X, Y)


def test_one_that_changes_what_another_reads() -> None:
    """The second trains its head only, on a body that the first one changes."""
    body = nn.Dense(3, 4)
    first = fp.Trainer(nn.Sequential(body, nn.Dense(4, 1)), "mse", optim.SGD(lr=0.1))
    head = nn.Dense(4, 1)
    second = fp.Trainer(nn.Sequential(body, head), "mse", optim.SGD(head.parameters(), lr=0.1))
    for pair in ([first, second], [second, first]):
        changing = pair.index(first)
        message = rf"trainers\[{changing}\] changes a parameter .* of trainers\[{1 - changing}\]"
        refuse(ValueError, message, pair, X, Y)


def test_a_frozen_body_may_be_shared() -> None:
    body = nn.Dense(3, 4)
    for parameter in body.parameters():
        parameter.requires_grad = False
    heads = [nn.Dense(4, 1) for _ in range(3)]
    trainers = [
        fp.Trainer(nn.Sequential(body, h), "mse", optim.SGD(h.parameters(), lr=0.1)) for h in heads
    ]
    before = weights_of(body)
    histories = fp.fit_many(trainers, X, Y, epochs=5, threads=2)
    assert weights_of(body) == before
    assert all(h["loss"][-1] < h["loss"][0] for h in histories)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": [1, 2, 3]}, r"fit_many: epochs is a list of 3, one for each .* 2 trainers"),
        ({"batch_size": [8]}, "batch_size is a list of 1"),
        ({"sample_weight": [None] * 3}, "sample_weight is a list of 3"),
        ({"validation_data": [(X, Y)]}, "validation_data is a list of 1"),
        ({"callbacks": [fp.Callback()]}, "callbacks is a list of 1"),
        ({"rows": [np.arange(3)]}, "rows is a list of 1"),
        ({"rows": np.arange(3)}, r"rows must have one array .* got one array of shape \(3,\)"),
        ({"rows": [np.arange(3), [40]]}, r"trainers\[1\]: rows: row 40 is not among the 40 rows"),
        ({"rows": [[0], [-1]]}, r"trainers\[1\]: rows: row -1 is not among the 40 rows"),
        ({"rows": [[0], []]}, r"trainers\[1\]: rows is empty"),
        ({"rows": [[0], np.zeros(40, bool)]}, r"trainers\[1\]: rows is empty"),
        ({"rows": [[0], np.ones(7, bool)]}, r"trainers\[1\]: rows has 7 booleans for 40 rows"),
        ({"rows": [[0], [[1, 2]]]}, r"trainers\[1\]: rows must have one axis, got shape \(1, 2\)"),
        ({"validation_rows": [[0], [41]]}, r"trainers\[1\]: validation_rows: row 41"),
        ({"epochs": [1, -1]}, r"trainers\[1\]: epochs must be at least 0, got -1"),
        ({"batch_size": [1, 0]}, r"trainers\[1\]: batch_size must be at least 1, got 0"),
        ({"drop_last": True, "batch_size": 64}, r"trainers\[0\]: drop_last leaves no batch"),
        ({"validation_split": 1.0}, "fit_many: validation_split must be in \\[0, 1\\)"),
        ({"validation_split": 0.2, "validation_rows": [[0], [1]]}, "give one of validation_data"),
        ({"validation_data": (X, Y), "validation_rows": [[0], [1]]}, "give one of validation_data"),
        ({"validation_data": (X,)}, r"trainers\[0\]: validation_data must be"),
        ({"validation_data": (X[:, :2], Y)}, r"trainers\[0\]: validation_data: x has 2 columns"),
        ({"threads": 0}, "fit_many: threads must be at least 1, got 0"),
    ],
)
def test_lists_and_numbers(options: dict[str, Any], message: str) -> None:
    refuse(ValueError, message, [trainer(0), trainer(1)], X, Y, **options)


def test_kinds() -> None:
    pair = [trainer(0), trainer(1)]
    refuse(TypeError, r"trainers\[1\]: rows must be row numbers or booleans, got float64",
           pair, X, Y, rows=[[0], [0.5]])  # fmt: skip
    refuse(TypeError, "callbacks must be", pair, X, Y, callbacks=[(), 3])
    refuse(TypeError, "threads must be an integer", pair, X, Y, threads=1.5)
    refuse(TypeError, r"trainers\[0\]: epochs must be an integer", pair, X, Y, epochs=1.5)


def test_data() -> None:
    refuse(ValueError, r"fit_many: trainers\[1\]: x has 3 columns, the model takes 2",
           [trainer(), trainer(inputs=2)], X, Y)  # fmt: skip
    refuse(ValueError, r"x is a list of 1, one for each", [trainer(), trainer()], [X], Y)
    refuse(ValueError, r"trainers\[1\]: x has 40 rows, y has 39",
           [trainer(), trainer()], X, [Y, Y[:39]])  # fmt: skip
    bad = X.copy()
    bad[3, 1] = np.nan
    refuse(ValueError, r"trainers\[0\]: x .*row 3", [trainer(), trainer()], bad, Y)
    refuse(ValueError, r"trainers\[0\]: the loss mse needs targets", [trainer()], X)


def test_what_fits_the_data_but_not_the_loss_of_one_kind() -> None:
    """Found out when the step is traced: of one of each kind before any work."""
    outputs = fp.Trainer(network(3, 4, 2), lambda p, t: p @ t, "sgd")
    refuse(ValueError, r"fit_many: trainers\[2\]: loss or metrics do not take outputs",
           [trainer(), trainer(1), outputs], X, Y)  # fmt: skip


# How one of many can be wrong, where only its step, its callbacks or its past tell.


def rule_of_one(parameters: Any, gradients: Any) -> Any:
    return gradients[:1]


def penalty_of_one(model: Any) -> Any:
    raise ValueError("no such weight")


def one_of(**options: Any) -> fp.Trainer:
    return fp.Trainer(network(3, 4, 1), "mse", options.pop("optimizer", optim.Adam()), **options)


def with_norm() -> fp.Trainer:
    return fp.Trainer(nn.Sequential(nn.Dense(3, 4), nn.BatchNorm(4), nn.Dense(4, 1)), "mse", "adam")


def frozen() -> fp.Trainer:
    found = one_of()
    found.model.requires_grad_(False)
    return found


WRONG_ONES = {
    "accumulation": (lambda: one_of(optimizer=optim.Accumulate(optim.Adam(), 3)), {}, "do not di"),
    "a rule": (lambda: one_of(clip=rule_of_one), {}, "gave 1 gradients for 4 parameters"),
    "a penalty": (lambda: one_of(penalty=penalty_of_one), {}, "no such weight"),
    "frozen": (frozen, {}, "does not depend on any parameter"),
    "the last batch": (with_norm, {"batch_size": 13}, "no variance for BatchNorm"),
    "a monitor": (one_of, {"callbacks": EarlyStopping()}, "'val_loss' is not recorded"),
    "a plateau": (one_of, {"callbacks": ReduceLROnPlateau()}, "'val_loss' is not recorded"),
    "a folder": (one_of, {"callbacks": ModelCheckpoint("/no/such/folder/c")}, "does not exist"),
    "other data": (
        one_of,
        {"callbacks": EarlyStopping(validation_data=(X[:, :2], Y))},
        "validation_data: x has 2 columns",
    ),
}


@pytest.mark.parametrize("name", WRONG_ONES)
def test_one_of_many_that_cannot_be_trained(name: str) -> None:
    """The others are not trained either, however many there are, and wherever it stands."""
    make, own, message = WRONG_ONES[name]
    trainers = [with_norm() if name == "the last batch" else trainer(i) for i in range(40)]
    trainers[30] = make()
    options = {"batch_size": 8, "callbacks": (), **own}
    usual = {"batch_size": 8, "callbacks": ()}
    each = {key: [usual[key]] * 30 + [options[key]] + [usual[key]] * 9 for key in usual}
    kind = FileNotFoundError if name == "a folder" else ValueError
    refuse(kind, message, trainers, X, Y, threads=1, **each)


def test_one_of_many_that_goes_on_with_another_fit(tmp_path: Path) -> None:
    begun = trainer()
    begun.fit(X, Y, batch_size=4, callbacks=ModelCheckpoint(tmp_path / "c"))
    trainers = [trainer(i) for i in range(30)]
    before = [weights_of(t.model) for t in trainers]
    resumed = fp.Trainer.resume(tmp_path / "c")
    with pytest.raises(ValueError, match="had other arguments: batch_size 8 instead of 4"):
        fp.fit_many([*trainers, resumed], X, Y, batch_size=8)
    assert [weights_of(t.model) for t in trainers] == before


# -- Ctrl-C ----------------------------------------------------------------------------------------

_INTERRUPTED = """
    import json, sys
    import numpy as np
    import fastprop as fp
    from fastprop import nn
    from interrupts import tell_when_training

    threads, watched = int(sys.argv[1]), sys.argv[2] == "watched"
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (96, 3)).astype(np.float32)
    y = x[:, :1] * x[:, 1:2]

    def make(i):
        fp.seed(i)
        return fp.Trainer(nn.Sequential(nn.Dense(3, 4 + i, "tanh"), nn.Dense(4 + i, 1)), "mse",
                          "adam", seed=i)

    class Watch(fp.Callback):
        def on_epoch_end(self, trainer, epoch, logs):
            return False

    trainers = [make(i) for i in range(12)]
    fp.fit_many(trainers, x, y, threads=threads)
    try:
        tell_when_training(trainers[0].model[1].weight.data)
        fp.fit_many(trainers, x, y, epochs=10**6, threads=threads,
                    callbacks=Watch() if watched else ())
        print("not interrupted")
    except KeyboardInterrupt:
        steps = [t.optimizer.steps for t in trainers]
        alike = []
        for i, count in enumerate(steps):  # the same steps again, one after the other
            again = make(i)
            again.fit(x, y, epochs=count // 3)
            order = fp.data.RowOrder(96, shuffle=True, seed=i)(count // 3 + 1)
            for k in range(count % 3):
                rows = order[32 * k : 32 * k + 32]
                again.train_step(x[rows], y[rows])
            alike.append(all(np.array_equal(p.data, q.data) for p, q in
                             zip(again.model.parameters(), trainers[i].model.parameters())))
        print(json.dumps({
            "steps": steps,
            "alike": alike,
            "epochs": [t.epoch == count // 3 for t, count in zip(trainers, steps)],
            "free": all(t.fitting is None for t in trainers),
            "goes on": len(fp.fit_many(trainers, x, y, threads=threads)),
        }))
"""


@pytest.mark.skipif(os.name == "nt", reason="signals as on POSIX")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("watched", ["watched", "unwatched"])
def test_interrupt(threads: int, watched: str) -> None:
    """Every model is as after a whole step: as the same number of steps give alone."""
    found = interrupt(_INTERRUPTED, threads, watched)
    assert found["alike"] == [True] * 12
    assert found["epochs"] == [True] * 12
    assert max(found["steps"]) > 3
    assert found["free"]
    assert found["goes on"] == 12
