"""PyTorch: eager, and with the model and its loss compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..works import DECAY, LEARNING_RATE, MOMENTUM, Work

Step = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class TorchEager:
    """Eager PyTorch at its best: fused Adam, gradients set to None, losses never waited for.

    Args:
        threads: 0 leaves the number to PyTorch.
    """

    def __init__(self, threads: int) -> None:
        if threads:
            torch.set_num_threads(threads)
        self.versions = {"torch": torch.__version__}

    def prepare(self, work: Work) -> None:
        self.build(work, *work.data())
        self.losses(2)

    def build(self, work: Work, x: NDArray[Any], y: NDArray[Any]) -> None:
        """Model and optimizer for this data."""
        self.work = work
        self.x, self.y = torch.from_numpy(x), torch.from_numpy(y)
        self.model = _mlp(work)
        self.optimizer = _optimizer(self.model, work)
        self.loss = self._loss(self.model, work)

    def _loss(self, model: nn.Module, work: Work) -> Step:
        criterion = nn.MSELoss() if work.loss == "mse" else nn.CrossEntropyLoss()
        return lambda x, y: criterion(model(x), y)

    def losses(self, steps: int) -> list[float]:
        self.reset(0)
        return [float(loss) for loss in self.train(self.order[:steps])]

    def reset(self, epoch: int) -> None:
        self.order = self.work.order(epoch)
        layers = [m for m in self.model.modules() if isinstance(m, nn.Linear)]
        with torch.no_grad():
            for layer, (w, b) in zip(layers, self.work.weights(), strict=True):
                layer.weight.copy_(torch.from_numpy(w).T)
                layer.bias.copy_(torch.from_numpy(b))
            for module in self.model.modules():
                if isinstance(module, tuple(_NORMS.values())):
                    module.reset_parameters()
            for state in self.optimizer.state.values():
                for tensor in state.values():
                    tensor.zero_()

    def epoch(self, steps: int) -> int:
        return len(self.train(self.order[:steps]))

    def train(self, order: NDArray[np.int64]) -> list[torch.Tensor]:
        """One step for each line of `order`, ``[steps, batch]``."""
        losses = []
        for rows in torch.from_numpy(order):
            x = torch.index_select(self.x, 0, rows)
            y = torch.index_select(self.y, 0, rows)
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.loss(x, y)
            loss.backward()
            self.optimizer.step()
            losses.append(loss.detach())
        return losses

    def notes(self) -> dict[str, Any]:
        return {"threads": torch.get_num_threads()}

    def release(self) -> None:
        del self.x, self.y, self.model, self.optimizer, self.loss


class TorchCompiled(TorchEager):
    """``torch.compile`` of model and loss, so of their backward as well; Adam stays fused."""

    def _loss(self, model: nn.Module, work: Work) -> Step:
        torch.compiler.reset()
        return torch.compile(super()._loss(model, work), fullgraph=True, dynamic=False)


class _Residual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.inner(x)


_NORMS = {"layernorm": nn.LayerNorm, "batchnorm": nn.BatchNorm1d}
_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}


def _mlp(work: Work) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i, (n_in, n_out) in enumerate(work.layers):
        linear = nn.Linear(n_in, n_out, dtype=getattr(torch, work.dtype))
        pair = [linear, _ACTIVATIONS[work.activation]()]
        layers += [_Residual(nn.Sequential(*pair))] if work.adds_input(i) else pair
        if work.norm and i < len(work.layers) - 1:
            layers.append(_NORMS[work.norm](n_out, dtype=linear.weight.dtype))
    return nn.Sequential(*layers[:-1])


def _optimizer(model: nn.Module, work: Work) -> torch.optim.Optimizer:
    parameters = model.parameters()
    usual = {"lr": LEARNING_RATE, "weight_decay": DECAY if work.decay else 0.0, "fused": True}
    if work.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=MOMENTUM, **usual)
    return torch.optim.Adam(parameters, **usual)
