"""Regression with a module of your own: residual blocks learn a function of two variables."""

import numpy as np

import fastprop as fp
from fastprop import nn, optim


class Residual(nn.Module):
    """x + f(x), with f two dense layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Dense(width, width, activation="silu")
        self.outer = nn.Dense(width, width)

    def forward(self, x):
        return x + self.outer(self.inner(x))


class Surface(nn.Module):
    """Two numbers in, one out. The blocks' outputs are added up as well."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.enter = nn.Dense(2, width)
        self.blocks = nn.ModuleList([Residual(width) for _ in range(blocks)])
        self.leave = nn.Dense(width, 1)

    def forward(self, x):
        h = self.enter(x)
        total = h
        for block in self.blocks:
            h = block(h)
            total = total + h
        return self.leave(total)


def main() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, (4000, 2))
    y = np.sin(2 * x[:, 0]) * np.cos(x[:, 1]) + 0.05 * rng.standard_normal(4000)

    fp.seed(0)
    model = Surface(width=32, blocks=3)
    trainer = fp.Trainer(model, loss="huber", optimizer=optim.AdamW(lr=2e-3), metrics=["r2"])
    history = trainer.fit(x, y, epochs=30, batch_size=64, validation_split=0.2)

    print(f"validation r2 after {len(history.epoch)} epochs: {history['val_r2'][-1]:.4f}")
    program = trainer.program
    print(f"a step is {program.num_instructions} instructions with {program.barriers} barriers")


if __name__ == "__main__":
    main()
