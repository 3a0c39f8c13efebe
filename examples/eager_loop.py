"""A training loop by hand, op by op: a network learns to solve u'' = -u, u(0) = 0, u'(0) = 1.

The loss holds the network's own second derivative, which is differentiated once more for the
weights. The solution is the sine.
"""

import numpy as np

import fastprop as fp
from fastprop import nn, optim


def solution(model, t):
    """t + t² N(t): meets both conditions at t = 0, whatever the network N gives."""
    return t + t * t * model(t)


def main(steps: int = 400) -> None:
    fp.seed(0)
    model = nn.Sequential(
        nn.Dense(1, 24, activation="tanh", dtype="float64"), nn.Dense(24, 1, dtype="float64")
    )
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    t = fp.tensor(np.linspace(0, 3, 64).reshape(-1, 1), requires_grad=True)

    for step in range(1, steps + 1):
        u = solution(model, t)
        du = fp.grad(u.sum(), t, create_graph=True)
        d2u = fp.grad(du.sum(), t, create_graph=True)
        loss = ((d2u + u) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 0:
            error = np.abs(solution(model, t).data - np.sin(t.data)).max()
            print(f"step {step}: loss {loss.item():.2e}, largest error {error:.2e}")


if __name__ == "__main__":
    main()
