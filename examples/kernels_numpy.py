"""Backpropagation step by step, with the kernels as plain functions on NumPy arrays.

Every line of a training step is there: weighted sums, activations, error terms, weight increments.
"""

import numpy as np

from fastprop import kernels as k


def main(steps: int = 300, rate: float = 0.5) -> None:
    rng = np.random.default_rng(0)
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    target = np.array([[0], [1], [1], [0]], np.float32)  # exclusive or
    W1 = rng.normal(0, 1, (2, 8)).astype(np.float32)
    W2 = rng.normal(0, 1, (8, 1)).astype(np.float32)
    b1, b2 = np.zeros(8, np.float32), np.zeros(1, np.float32)

    for step in range(1, steps + 1):
        h = k.dense_forward(x, W1, b1, activation="tanh")
        z = k.dense_forward(h, W2, b2)
        p = k.sigmoid_forward(z)

        dz = (p - target) / len(x)  # of the mean binary cross-entropy
        dW2, db2 = k.dense_backward_weights(h, dz), k.dense_backward_bias(dz)
        dh = k.dense_backward_data(dz, W2, h, activation="tanh")
        dW1, db1 = k.dense_backward_weights(x, dh), k.dense_backward_bias(dh)

        for weights, gradient in ((W1, dW1), (b1, db1), (W2, dW2), (b2, db2)):
            weights -= rate * gradient
        if step % 100 == 0:
            print(f"step {step}: outputs {p.ravel().round(3)}")


if __name__ == "__main__":
    main()
