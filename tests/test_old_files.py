"""Files that earlier versions wrote load, and go on.

Every format version has its file here, written once by ``python -m tests.test_old_files PATH`` with
the version that introduced it; it is never written again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import fastprop as fp
from fastprop import nn, optim, regularizers
from fastprop.optim import schedules
from fastprop.saving.models import FORMAT_VERSION
from fastprop.train import EarlyStopping, ModelCheckpoint

FILES = {
    int(path.stem.rpartition("-")[2]): path
    for path in (Path(__file__).parent / "files").glob("training-format-*.safetensors")
}
X = np.linspace(-1, 1, 90, dtype=np.float32).reshape(30, 3)
Y = X[:, :1] * X[:, 1:2]
ARGUMENTS = {"epochs": 6, "batch_size": 8, "validation_data": (X[:5], Y[:5])}


class Ends(fp.Callback):
    def on_save_point(self, trainer):
        if trainer.optimizer.steps == 10:  # 4 steps an epoch: in the midst of the third one
            raise KeyboardInterrupt


def write(path: Path) -> None:
    fp.seed(11)
    model = nn.Sequential(nn.Dense(3, 4, "tanh"), nn.PReLU(4), nn.Dense(4, 1, bias=False))
    lr = schedules.Warmup(3, then=schedules.Cosine(0.05, steps=20))
    trainer = fp.Trainer(
        *(model, fp.losses.Loss("huber", delta=0.5), optim.AdamW(lr=lr, weight_decay=0.1), ["mae"]),
        seed=3,
        penalty=regularizers.L2(1e-3, of="2.weight"),
    )
    callbacks = [ModelCheckpoint(path, every_steps=2), EarlyStopping(patience=9), Ends()]
    try:
        trainer.fit(X, Y, callbacks=callbacks, **ARGUMENTS)
    except KeyboardInterrupt:
        return


@pytest.mark.parametrize("version", sorted(FILES))
def test_they_load_and_go_on(version: int) -> None:
    trainer = fp.Trainer.resume(FILES[version])
    assert trainer.optimizer.steps == 10
    assert trainer.epoch == 2
    assert trainer.seed == 3
    assert repr(trainer.optimizer.lr).startswith("Warmup(steps=3, then=Cosine(lr=0.05, steps=20")
    assert repr(trainer.loss) == "Loss('huber', delta=0.5)"
    assert repr(trainer.regularization.penalties) == "[L2(0.001)]"
    before = list(trainer.history["val_loss"])
    history = trainer.fit(X, Y, callbacks=[EarlyStopping(patience=9)], **ARGUMENTS)
    assert history.epoch == [1, 2, 3, 4, 5, 6]
    assert history["val_loss"][:2] == before
    model = fp.load(FILES[version])
    assert model.count_parameters() == 3 * 4 + 4 + 4 + 4


def test_there_is_one_of_every_version() -> None:
    assert sorted(FILES) == list(range(1, FORMAT_VERSION + 1))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
