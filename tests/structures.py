"""Trainers of many structures, for tests of what they share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from training import regression

import fastprop as fp
from fastprop import functional as F
from fastprop import gradients, losses, metrics, nn, optim
from fastprop.regularizers import L1, L2, ElasticNet, MaxNorm

X, Y = regression(48)
LABELS = (np.arange(48) % 4).astype(np.int64)
Make = Callable[[int], fp.Trainer]


def made(model: nn.Module, loss: Any = "mse", optimizer: Any = None, **options: Any) -> fp.Trainer:
    return fp.Trainer(model, loss, optimizer or optim.Adam(lr=0.01), **options)


def data_of(trainer: fp.Trainer) -> tuple[Any, Any]:
    loss = trainer.loss
    return X, LABELS if getattr(loss, "takes_classes", False) else Y


def net(*between: Callable[[], nn.Module], out: int = 1, activation: Any = "relu") -> nn.Module:
    layers = [make() for make in between]
    return nn.Sequential(nn.Dense(3, 8, activation), *layers, nn.Dense(8, out))


def _seeded(make: Callable[[], fp.Trainer]) -> Make:
    def trainer(seed: int) -> fp.Trainer:
        fp.seed(seed)
        return make()

    return trainer


def _frozen() -> fp.Trainer:
    trainer = made(net())
    trainer.model[0].requires_grad_(False)
    return trainer


def _groups(**second: Any) -> fp.Trainer:
    model = net()
    parameters = list(model.parameters())
    groups = [{"params": parameters[:2]}, {"params": parameters[2:], **second}]
    return made(model, optimizer=optim.Adam(groups, lr=0.01))


def _with_shared_layer() -> fp.Trainer:
    layer = nn.Dense(8, 8, "tanh")
    return made(nn.Sequential(nn.Dense(3, 8), layer, layer, nn.Dense(8, 1)))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "plain": net,
    "wider": lambda: nn.Sequential(nn.Dense(3, 9, "relu"), nn.Dense(9, 1)),
    "deeper": lambda: net(lambda: nn.Dense(8, 8, "relu")),
    "no bias": lambda: nn.Sequential(nn.Dense(3, 8, "relu", bias=False), nn.Dense(8, 1)),
    "float64": lambda: nn.Sequential(
        nn.Dense(3, 8, "relu", dtype="float64"), nn.Dense(8, 1, dtype="float64")
    ),
    "tanh": lambda: net(activation="tanh"),
    "gelu": lambda: net(activation="gelu"),
    "prelu": lambda: net(activation="prelu"),
    "leaky 0.1": lambda: net(activation=nn.LeakyReLU(0.1)),
    "leaky 0.2": lambda: net(activation=nn.LeakyReLU(0.2)),
    "elu 0.5": lambda: net(activation=nn.ELU(0.5)),
    "function": lambda: net(activation=F.softplus),
    "dropout 0.3": lambda: net(lambda: nn.Dropout(0.3)),
    "dropout 0.4": lambda: net(lambda: nn.Dropout(0.4)),
    "alpha dropout": lambda: net(lambda: nn.AlphaDropout(0.3)),
    "noise 0.1": lambda: net(lambda: nn.GaussianNoise(0.1)),
    "noise 0.2": lambda: net(lambda: nn.GaussianNoise(0.2)),
    "batch norm": lambda: net(lambda: nn.BatchNorm(8)),
    "batch norm momentum": lambda: net(lambda: nn.BatchNorm(8, momentum=0.3)),
    "batch norm cumulative": lambda: net(lambda: nn.BatchNorm(8, momentum=None)),
    "batch norm eps": lambda: net(lambda: nn.BatchNorm(8, eps=1e-3)),
    "layer norm": lambda: net(lambda: nn.LayerNorm(8)),
    "layer norm eps": lambda: net(lambda: nn.LayerNorm(8, eps=1e-3)),
    "rms norm": lambda: net(lambda: nn.RMSNorm(8)),
    "group norm": lambda: net(lambda: nn.GroupNorm(2, 8)),
    "group norm of 4": lambda: net(lambda: nn.GroupNorm(4, 8)),
    "standardize": lambda: nn.Sequential(nn.Standardize(3), net()),
    "nested": lambda: nn.Sequential(net(), nn.Sequential(nn.Tanh())),
}
LOSSES: dict[str, Any] = {
    "huber 0.1": losses.Loss("huber", delta=0.1),
    "huber 0.2": losses.Loss("huber", delta=0.2),
    "huber partial": partial(losses.huber, delta=0.3),
    "mae": "mae",
    "quantile 0.3": losses.Loss("quantile", q=0.3),
    "quantile 0.6": losses.Loss("quantile", q=0.6),
}
CLASS_LOSSES: dict[str, Any] = {
    "cross entropy": "cross_entropy",
    "smoothing 0.1": losses.Loss("cross_entropy", label_smoothing=0.1),
    "smoothing 0.2": losses.Loss("cross_entropy", label_smoothing=0.2),
    "focal 1": losses.Loss("focal", gamma=1.0),
    "focal 3": losses.Loss("focal", gamma=3.0),
}
OPTIMIZERS: dict[str, Callable[[], optim.Optimizer]] = {
    "sgd": lambda: optim.SGD(lr=0.1),
    "sgd momentum": lambda: optim.SGD(lr=0.1, momentum=0.9),
    "sgd momentum 0.8": lambda: optim.SGD(lr=0.1, momentum=0.8),
    "sgd nesterov": lambda: optim.SGD(lr=0.1, momentum=0.9, nesterov=True),
    "sgd decay": lambda: optim.SGD(lr=0.1, weight_decay=0.1),
    "adam eps": lambda: optim.Adam(lr=0.01, eps=1e-4),
    "adam betas": lambda: optim.Adam(lr=0.01, betas=(0.8, 0.99)),
    "adam decay": lambda: optim.Adam(lr=0.01, weight_decay=0.1),
    "adam decay of weights": lambda: optim.Adam(
        lr=0.01, weight_decay=0.1, decay_bias_and_norm=False
    ),
    "amsgrad": lambda: optim.Adam(lr=0.01, amsgrad=True),
    "adamw": lambda: optim.AdamW(lr=0.01),
    "adamax": lambda: optim.Adamax(lr=0.01),
    "nadam": lambda: optim.NAdam(lr=0.01),
    "radam": lambda: optim.RAdam(lr=0.01),
    "rmsprop": lambda: optim.RMSprop(lr=0.01),
    "rmsprop centered": lambda: optim.RMSprop(lr=0.01, centered=True),
    "adagrad": lambda: optim.Adagrad(lr=0.01),
    "adadelta": lambda: optim.Adadelta(),
    "lion": lambda: optim.Lion(lr=0.001),
    "lamb": lambda: optim.LAMB(lr=0.01),
    "ema": lambda: optim.EMA(optim.Adam(lr=0.01), 0.9),
    "ema of sgd": lambda: optim.EMA(optim.SGD(lr=0.01), 0.9),
    "swa": lambda: optim.SWA(optim.Adam(lr=0.01)),
    "accumulate": lambda: optim.Accumulate(optim.Adam(lr=0.01), 3),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "clip 1": {"clip": 1.0},
    "clip 2": {"clip": 2.0},
    "clip value": {"clip": gradients.ClipValue(1.0)},
    "clip adaptive": {"clip": gradients.AdaptiveClip(0.1)},
    "clip adaptive eps": {"clip": gradients.AdaptiveClip(0.1, eps=1e-2)},
    "l1": {"penalty": L1(0.01)},
    "l2": {"penalty": L2(0.01)},
    "l2 0.02": {"penalty": L2(0.02)},
    "l2 of a layer": {"penalty": L2(0.01, of="0")},
    "elastic": {"penalty": [ElasticNet(0.01, 0.02), L1(0.1, of="1.weight")]},
    "max norm 1": {"constraint": MaxNorm(1.0)},
    "max norm 2": {"constraint": MaxNorm(2.0)},
    "mae too": {"metrics": ["mae"]},
    "r2 too": {"metrics": ["mae", "r2"]},
    "checkpoint": {"checkpoint": 2},
}

VARIANTS: dict[str, tuple[Make, dict[str, Any]]] = {
    **{k: (_seeded(lambda m=m: made(m())), {}) for k, m in MODELS.items()},
    **{k: (_seeded(lambda v=v: made(net(), v)), {}) for k, v in LOSSES.items()},
    **{k: (_seeded(lambda v=v: made(net(out=4), v)), {}) for k, v in CLASS_LOSSES.items()},
    **{k: (_seeded(lambda m=m: made(net(), optimizer=m())), {}) for k, m in OPTIMIZERS.items()},
    **{k: (_seeded(lambda o=o: made(net(), **o)), {}) for k, o in OPTIONS.items()},
    "rate": (_seeded(lambda: made(net(), optimizer=optim.Adam(lr=0.02))), {}),
    "schedule": (
        _seeded(lambda: made(net(), optimizer=optim.Adam(lr=optim.schedules.Cosine(0.1, 9)))),
        {},
    ),
    "frozen": (_seeded(_frozen), {}),
    "groups": (_seeded(_groups), {}),
    "groups decay": (_seeded(lambda: _groups(weight_decay=0.1)), {}),
    "groups rate": (_seeded(lambda: _groups(lr=0.1)), {}),
    "shared layer": (_seeded(_with_shared_layer), {}),
    "top 2": (
        _seeded(lambda: made(net(out=4), "cross_entropy", metrics=[metrics.TopKAccuracy(2)])),
        {},
    ),
    "top 3": (
        _seeded(lambda: made(net(out=4), "cross_entropy", metrics=[metrics.TopKAccuracy(3)])),
        {},
    ),
    "mixup 0.2": (_seeded(lambda: made(net())), {"mixup": 0.2}),
    "mixup 0.4": (_seeded(lambda: made(net())), {"mixup": 0.4}),
}
# Learning rates are numbers of a step, not of its instructions.
SAME = {"rate": "plain", "schedule": "plain", "groups rate": "groups"}


class OwnLayer(nn.Dense):
    pass


def own_loss(pred: Any, target: Any) -> Any:
    return F.mean(F.square(pred - target))


def _hooked() -> fp.Trainer:
    trainer = made(net())
    trainer.model[0].weight.register_hook(lambda g: None)
    return trainer


def _patched() -> fp.Trainer:
    model = net()
    forward = model[1].forward
    object.__setattr__(model[1], "forward", lambda x: forward(x) * 2)
    return made(model)


def _constant() -> fp.Trainer:
    model = net()
    object.__setattr__(model[1], "constant", fp.tensor(np.ones(2, np.float32)))
    return made(model)


NO_KEY: dict[str, Make] = {
    "a class": _seeded(lambda: made(nn.Sequential(OwnLayer(3, 1)))),
    "a lambda": _seeded(lambda: made(net(activation=lambda x: F.relu(x)))),
    "a loss": _seeded(lambda: made(net(), own_loss)),
    "a metric": _seeded(lambda: made(net(), metrics=[lambda p, t: F.mae_rows(p, t)])),
    "a penalty": _seeded(lambda: made(net(), penalty=lambda m: F.sum(F.square(m[0].weight)))),
    "a rule": _seeded(lambda: made(net(), clip=lambda parameters, gradients: gradients)),
    "a hook": _seeded(_hooked),
    "a forward": _seeded(_patched),
    "a constant": _seeded(_constant),
    "an array": _seeded(
        lambda: made(net(out=4), losses.Loss("cross_entropy", class_weight=np.ones(4)))
    ),
    "steps in Python, full batch": _seeded(lambda: made(net(), optimizer=optim.LBFGS())),
}

CLASSES: list[Callable[[], nn.Module]] = [
    lambda: nn.Dense(3, 3),
    lambda: nn.LeakyReLU(0.1),
    lambda: nn.Dropout(0.5),
    lambda: nn.GaussianNoise(0.5),
    lambda: nn.BatchNorm(3),
    lambda: nn.LayerNorm(3),
    lambda: nn.RMSNorm(3),
    lambda: nn.GroupNorm(3, 3),
    lambda: nn.ELU(0.5),
]
