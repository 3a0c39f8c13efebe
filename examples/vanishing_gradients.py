"""Thirty layers: with sigmoids the gradient vanishes on its way down, with ReLU, He's initial
weights and batch normalization it arrives, and the network learns. Draws both.

Needs matplotlib: pip install "fastprop-nn[demo]"
"""

import sys
from itertools import pairwise

import numpy as np

import fastprop as fp
from fastprop import nn, optim

DEPTH, WIDTH = 30, 32


def spirals(rows: int = 1024, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points on two spirals that wind around each other, and which of the two."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, rows)
    radius = np.sqrt(rng.uniform(0.05, 1.0, rows))
    angle = 1.5 * np.pi * radius + np.pi * label
    x = radius * np.stack([np.cos(angle), np.sin(angle)]) + rng.normal(0, 0.02, (2, rows))
    return x.T.astype(np.float32), label


def sigmoid_network() -> nn.Sequential:
    """Sigmoids, and the initial weights that were the custom with them."""
    widths = [2, *[WIDTH] * DEPTH]
    layers = [
        nn.Dense(n_in, n_out, activation="sigmoid", init="xavier_uniform")
        for n_in, n_out in pairwise(widths)
    ]
    return nn.Sequential(*layers, nn.Dense(WIDTH, 2))


def normalized_network() -> nn.Sequential:
    """ReLU, He's initial weights, and every layer's sums normalized over the batch."""
    widths = [2, *[WIDTH] * DEPTH]
    layers = []
    for n_in, n_out in pairwise(widths):
        layers += [nn.Dense(n_in, n_out, bias=False, init="he_normal")]
        layers += [nn.BatchNorm(n_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Dense(WIDTH, 2))


def gradient_norms(model: nn.Module, x: np.ndarray, y: np.ndarray) -> list[float]:
    """Length of the loss's gradient by each layer's weights, from the first layer to the last."""
    model.zero_grad()
    fp.losses.cross_entropy(model(x), y).backward()
    weights = [m.weight for m in model.modules() if isinstance(m, nn.Dense)]
    norms = [float(np.linalg.norm(w.grad.data.astype(np.float64))) for w in weights]
    model.zero_grad()
    return norms


def learn(model: nn.Module, x: np.ndarray, y: np.ndarray, epochs: int) -> fp.History:
    """Train with Adam."""
    trainer = fp.Trainer(model, "cross_entropy", optim.Adam(lr=2e-3), metrics=["accuracy"])
    return trainer.fit(x, y, epochs=epochs, batch_size=64, verbose=False)


def main(picture: str = "vanishing_gradients.png", epochs: int = 40) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    x, y = spirals()
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for name, make in (
        (f"{DEPTH} sigmoid layers", sigmoid_network),
        ("ReLU, He, BatchNorm", normalized_network),
    ):
        fp.seed(0)
        model = make()
        norms = gradient_norms(model, x, y)
        history = learn(model, x, y, epochs)
        print(
            f"{name}: gradient {norms[0]:.1e} in the first layer, {norms[-1]:.1e} in the last; "
            f"accuracy {history['accuracy'][-1]:.3f} after {epochs} epochs"
        )
        left.semilogy(range(1, len(norms) + 1), norms, marker=".", label=name)
        right.plot(history.epoch, history["loss"], label=name)
    left.set(xlabel="layer", ylabel="norm of the weights' gradient", title="Before training")
    right.set(xlabel="epoch", ylabel="cross-entropy", title="Training", ylim=(0, None))
    left.legend()
    right.legend()
    figure.savefig(picture, dpi=120)
    print("picture:", picture)


if __name__ == "__main__":
    main(*sys.argv[1:])
