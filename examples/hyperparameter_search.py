"""Choose width and learning rate by 5-fold cross-validation: 60 networks in one call."""

import itertools

import numpy as np

import fastprop as fp
from fastprop import nn, optim

WIDTHS = (4, 16, 64)
RATES = (3e-4, 1e-3, 3e-3, 1e-2)
FOLDS = 5


def make_trainer(width: int, rate: float, seed: int) -> fp.Trainer:
    fp.seed(seed)
    model = nn.Sequential(
        nn.Dense(5, width, activation="tanh"),
        nn.Dense(width, width, activation="tanh"),
        nn.Dense(width, 1),
    )
    return fp.Trainer(model, loss="mse", optimizer=optim.Adam(lr=rate), seed=seed)


def main() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(600, 5))
    # Friedman's function, with noise of standard deviation 1.
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2
    y = y + 10 * x[:, 3] + 5 * x[:, 4] + rng.normal(size=len(x))
    y = (y - y.mean()) / y.std()

    parts = np.array_split(rng.permutation(len(x)), FOLDS)
    settings = list(itertools.product(WIDTHS, RATES))
    trainers, rows, validation_rows = [], [], []
    for width, rate in settings:
        for fold, held_out in enumerate(parts):
            trainers.append(make_trainer(width, rate, seed=fold))
            rows.append(np.concatenate([part for part in parts if part is not held_out]))
            validation_rows.append(held_out)

    histories = fp.fit_many(
        trainers, x, y, rows=rows, validation_rows=validation_rows, epochs=40, batch_size=32
    )

    errors = np.array([history["val_loss"][-1] for history in histories])
    errors = errors.reshape(len(WIDTHS), len(RATES), FOLDS).mean(axis=2)
    print("validation error, mean of", FOLDS, "folds")
    print("width \\ rate" + "".join(f"{rate:>10g}" for rate in RATES))
    for width, line in zip(WIDTHS, errors, strict=True):
        print(f"{width:>12}" + "".join(f"{error:>10.4f}" for error in line))
    width, rate = settings[int(errors.argmin())]
    print(f"best: width {width}, learning rate {rate:g}")


if __name__ == "__main__":
    main()
