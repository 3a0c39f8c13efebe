"""The op set inside Programs: the same numbers as eager steps, on one thread and several."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from helpers import uniform

import fastprop as fp
from fastprop import Parameter, Tensor, nn, optim
from fastprop import functional as F

N, ROWS = 12, 7  # two steps an epoch, the second one short

FORWARDS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "columns": lambda x, w, b: (x @ w)[:, 1:3] * x[:, 0:1] + b[1:3],
    "every other": lambda x, w, b: F.flip(x @ w, 1)[:, ::2] + b[:2],
    "join": lambda x, w, b: F.concatenate([x @ w, x, F.sin(x)], 1)[:, 3:9] * 0.5,
    "pad": lambda x, w, b: F.pad(x @ w, ((0, 0), (1, 2)), 0.25) * F.pad(b, (1, 2)),
    "rows of w": lambda x, w, b: x @ F.take(w, [2, 0, 0, 1], 0) + F.flip(b),
    "gather": lambda x, w, b: F.gather(x @ w, 1, F.argsort(x, 1)) + F.sort(b)[0],
    "take": lambda x, w, b: F.take(x @ w, np.array([3, 3, 0]), 1),
    "cumsum": lambda x, w, b: F.cumsum(F.cumsum(x @ w, 1), -1) * F.cumsum(b, 0),
    "topk": lambda x, w, b: F.topk(x @ w, 2)[0],
    "trigonometry": lambda x, w, b: F.atan(F.sinh(x @ w)) + F.tan(b),
    "statistics": lambda x, w, b: F.stack(
        [F.logsumexp(x @ w, 1), F.var(x @ w, 1), F.prod(x @ w, 1), F.norm(x + b, axis=1)], 1
    ),
    "einsum": lambda x, w, b: F.einsum("bi,ij,j->bj", x, w, b),
    "lower": lambda x, w, b: x @ F.tril(w) + F.triu(w)[0],
    "triangle": lambda x, w, b: (x @ F.triu(w)) * F.diagonal(w),
}


class Model(nn.Module):
    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function
        self.w = Parameter(uniform((4, 4), seed=1))
        self.b = Parameter(uniform((4,), 0.3, 1.0, seed=2))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.w, self.b)


def _eager(function: Callable[..., Tensor], x: np.ndarray) -> list[np.ndarray]:
    model = Model(function)
    optimizer = optim.SGD(model.parameters(), lr=0.05)
    for start in (0, ROWS):
        loss = F.mean(F.square(model(Tensor(x[start : start + ROWS]))))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return [p.data.copy() for p in model.parameters()]


@pytest.mark.levels
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", FORWARDS)
def test_traced_steps_are_the_eager_ones(name: str, threads: int) -> None:
    x = uniform((N, 4), seed=3)
    model = Model(FORWARDS[name])
    trainer = fp.Trainer(
        model, lambda y, _: F.mean(F.square(y)), optim.SGD(lr=0.05), threads=threads
    )
    trainer.fit(x, epochs=1, batch_size=ROWS, shuffle=False, verbose=False)
    for traced, eager in zip(model.parameters(), _eager(FORWARDS[name], x), strict=True):
        # Fusion may order the operations of a step differently: a few roundings of numbers near 1.
        np.testing.assert_allclose(traced.data, eager, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(trainer.predict(x), model(Tensor(x)).data, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x, w, b: x[1:] @ w, "slice: only all of the batch axis"),
        (lambda x, w, b: F.flip(x @ w), "slice: only all of the batch axis"),
        (lambda x, w, b: F.concatenate([x, x]), "concatenate: the batch axis"),
        (lambda x, w, b: F.cumsum(x, 0), "cumsum: the batch axis"),
        (lambda x, w, b: F.prod(x, 0), "prod: the batch axis"),
        (lambda x, w, b: F.sort(x, 0)[0], "transpose: axes .* would move the batch axis"),
        (lambda x, w, b: F.take(x, [0, 1], 0), "take: the batch axis"),
        (lambda x, w, b: F.pad(x, 1), "place: only all of the batch axis"),
        (lambda x, w, b: F.var(x, 0, ddof=1) + x, "var: along the batch axis"),
    ],
)
def test_what_would_change_the_batch_is_refused(function, message: str) -> None:
    trainer = fp.Trainer(Model(function), lambda y, _: F.mean(F.square(y)), optim.SGD(lr=0.1))
    with pytest.raises(ValueError, match=message):
        trainer.fit(uniform((N, 4)), epochs=1, batch_size=ROWS, verbose=False)
