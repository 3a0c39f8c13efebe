"""Classify handwritten digits with a multilayer perceptron, and draw the learning curves.

Needs scikit-learn and matplotlib: pip install "fastprop-nn[demo]"
"""

import sys

from sklearn.datasets import load_digits

import fastprop as fp
from fastprop import nn, optim


class StopWhenGood(fp.Callback):
    """Ends the training once the validation accuracy is good enough."""

    def on_epoch_end(self, trainer, epoch, logs):
        return logs["val_accuracy"] > 0.985


def main(picture: str = "digits.png") -> None:
    x, y = load_digits(return_X_y=True)
    x /= 16

    fp.seed(0)
    model = nn.Sequential(
        nn.Dense(64, 128, activation="relu"),
        nn.Dense(128, 64, activation="relu"),
        nn.Dense(64, 10),
    )
    trainer = fp.Trainer(
        model, loss="cross_entropy", optimizer=optim.Adam(lr=2e-3), metrics=["accuracy"]
    )
    history = trainer.fit(
        x, y, epochs=40, batch_size=32, validation_split=0.25, callbacks=[StopWhenGood()]
    )

    print(model)
    print(f"{len(history.epoch)} epochs, validation accuracy {history['val_accuracy'][-1]:.4f}")
    print("learning curves:", history.plot(picture))


if __name__ == "__main__":
    main(*sys.argv[1:])
