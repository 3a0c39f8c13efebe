"""What the tests of optimizers share: their settings, a small problem, and every rule written out
in NumPy, one array operation after the other, as its paper or PyTorch's documentation has it."""

from __future__ import annotations

import numpy as np

from fastprop import Parameter, optim
from fastprop import functional as F
from fastprop.optim import schedules

STEPS = 100

SETTINGS = {
    "sgd": ("SGD", {"lr": 0.05}),
    "sgd momentum": ("SGD", {"lr": 0.05, "momentum": 0.9}),
    "sgd dampening": ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.3}),
    "sgd nesterov": ("SGD", {"lr": 0.05, "momentum": 0.8, "nesterov": True}),
    "sgd decay": ("SGD", {"lr": 0.05, "weight_decay": 0.1}),
    "sgd all": ("SGD", {"lr": 0.02, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    "rmsprop": ("RMSprop", {"lr": 0.01}),
    "rmsprop momentum": ("RMSprop", {"lr": 0.003, "momentum": 0.9, "weight_decay": 0.1}),
    "rmsprop centered": ("RMSprop", {"lr": 0.01, "centered": True, "alpha": 0.9}),
    "rmsprop all": (
        "RMSprop",
        {"lr": 0.001, "centered": True, "momentum": 0.7, "weight_decay": 0.1, "eps": 1e-4},
    ),
    "adagrad": ("Adagrad", {"lr": 0.1}),
    "adagrad all": (
        "Adagrad",
        {"lr": 0.1, "lr_decay": 0.01, "weight_decay": 0.1, "initial_accumulator_value": 0.2},
    ),
    "adadelta": ("Adadelta", {}),
    "adadelta all": ("Adadelta", {"lr": 0.5, "rho": 0.8, "eps": 1e-4, "weight_decay": 0.1}),
    "adam": ("Adam", {"lr": 0.01}),
    "adam betas": ("Adam", {"lr": 0.01, "betas": (0.5, 0.8), "eps": 1e-3}),
    "adam decay": ("Adam", {"lr": 0.01, "weight_decay": 0.1}),
    "adam amsgrad": ("Adam", {"lr": 0.01, "betas": (0.9, 0.6), "amsgrad": True}),
    "adamw": ("AdamW", {"lr": 0.01}),
    "adamw decay": ("AdamW", {"lr": 0.01, "betas": (0.8, 0.9), "weight_decay": 0.3}),
    "adamw amsgrad": ("AdamW", {"lr": 0.01, "betas": (0.9, 0.6), "amsgrad": True}),
    "adamax": ("Adamax", {"lr": 0.01}),
    "adamax all": ("Adamax", {"lr": 0.01, "betas": (0.7, 0.9), "weight_decay": 0.1, "eps": 1e-3}),
    "nadam": ("NAdam", {"lr": 0.01}),
    "nadam all": ("NAdam", {"lr": 0.01, "betas": (0.8, 0.9), "weight_decay": 0.1}),
    "nadam decoupled": (
        "NAdam",
        {"lr": 0.01, "weight_decay": 0.3, "decoupled_weight_decay": True, "momentum_decay": 0.1},
    ),
    "radam": ("RAdam", {"lr": 0.01}),
    "radam never": ("RAdam", {"lr": 0.01, "betas": (0.8, 0.5), "weight_decay": 0.1}),
    "radam decoupled": (
        "RAdam",
        {"lr": 0.01, "betas": (0.8, 0.9), "weight_decay": 0.3, "decoupled_weight_decay": True},
    ),
    "lion": ("Lion", {"lr": 0.003}),
    "lion decay": ("Lion", {"lr": 0.003, "betas": (0.8, 0.9), "weight_decay": 0.3}),
    "lamb": ("LAMB", {"lr": 0.01}),
    "lamb all": ("LAMB", {"lr": 0.01, "betas": (0.8, 0.9), "weight_decay": 0.3, "eps": 1e-3}),
    "rprop": ("Rprop", {}),
    "rprop all": ("Rprop", {"lr": 0.02, "etas": (0.4, 1.5), "step_sizes": (1e-3, 0.05)}),
}

RATES = {
    "constant": lambda lr: lr,
    "exponential": lambda lr: schedules.Exponential(lr, gamma=0.97),
    "warm-up and cosine": lambda lr: schedules.Warmup(10, then=schedules.Cosine(lr, 90)),
}
"""Learning rates from a setting's own one."""


def make(setting, parameters=None, rate="constant", **more):
    """The optimizer of a setting; Rprop's lr is no rate."""
    name, options = SETTINGS[setting]
    options = {**options, **more}
    if rate != "constant" and name != "Rprop":
        options["lr"] = RATES[rate](options.get("lr", 1.0))
    return getattr(optim, name)(parameters, **options)


def problem(dtype=np.float64):
    """Data, and a network with its weights."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 3)), rng.normal(size=(20, 2))
    shapes = [(3, 5), (5,), (5, 2), (2,)]
    weights = [rng.normal(size=s) for s in shapes]
    return x.astype(dtype), y.astype(dtype), [w.astype(dtype) for w in weights]


def parameters_of(weights):
    return [Parameter(w) for w in weights]


def loss_of(x, y, parameters):
    W1, b1, W2, b2 = parameters
    return F.mean(F.square(F.dense(F.tanh(F.dense(x, W1, b1)), W2, b2) - y))


def trajectory(optimizer, parameters, x, y, steps):
    found = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = loss_of(x, y, parameters)
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


# -- the rules ---
# rule(w, g, s, t, o): weight, gradient, state by name, step from 1, options; w and s are changed.


def sgd(w, g, s, t, o):
    g = g + o.weight_decay * w
    if o.momentum:
        s["b"] = g.copy() if t == 1 else o.momentum * s["b"] + (1 - o.dampening) * g
        g = g + o.momentum * s["b"] if o.nesterov else s["b"]
    w -= o.rate * g


def rmsprop(w, g, s, t, o):
    g = g + o.weight_decay * w
    s["v"] = o.alpha * s.get("v", 0) + (1 - o.alpha) * g**2
    s["a"] = o.alpha * s.get("a", 0) + (1 - o.alpha) * g
    spread = s["v"] - s["a"] ** 2 if o.centered else s["v"]
    s["b"] = o.momentum * s.get("b", 0) + g / (np.sqrt(spread) + o.eps)
    w -= o.rate * s["b"]


def adagrad(w, g, s, t, o):
    g = g + o.weight_decay * w
    s["sum"] = s.get("sum", o.initial_accumulator_value) + g**2
    w -= o.rate / (1 + (t - 1) * o.lr_decay) * g / (np.sqrt(s["sum"]) + o.eps)


def adadelta(w, g, s, t, o):
    g = g + o.weight_decay * w
    s["v"] = o.rho * s.get("v", 0) + (1 - o.rho) * g**2
    d = np.sqrt(s.get("u", 0) + o.eps) / np.sqrt(s["v"] + o.eps) * g
    s["u"] = o.rho * s.get("u", 0) + (1 - o.rho) * d**2
    w -= o.rate * d


def _moments(g, s, o):
    beta1, beta2 = o.betas
    s["m"] = beta1 * s.get("m", 0) + (1 - beta1) * g
    s["v"] = beta2 * s.get("v", 0) + (1 - beta2) * g**2
    return beta1, beta2


def _decayed(w, g, o, decoupled):
    if decoupled:
        w *= 1 - o.rate * o.weight_decay
        return g
    return g + o.weight_decay * w


def adam(w, g, s, t, o, decoupled=False):
    g = _decayed(w, g, o, decoupled)
    beta1, beta2 = _moments(g, s, o)
    v = s["v"]
    if o.amsgrad:
        v = s["largest"] = np.maximum(s.get("largest", 0), v)
    w -= o.rate * (s["m"] / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + o.eps)


def adamw(w, g, s, t, o):
    adam(w, g, s, t, o, decoupled=True)


def adamax(w, g, s, t, o):
    g = g + o.weight_decay * w
    beta1, beta2 = o.betas
    s["m"] = beta1 * s.get("m", 0) + (1 - beta1) * g
    s["u"] = np.maximum(beta2 * s.get("u", 0), np.abs(g) + o.eps)
    w -= o.rate / (1 - beta1**t) * s["m"] / s["u"]


def nadam(w, g, s, t, o):
    g = _decayed(w, g, o, o.decoupled_weight_decay)
    beta1, beta2 = _moments(g, s, o)
    mu, ahead = (beta1 * (1 - 0.5 * 0.96 ** (k * o.momentum_decay)) for k in (t, t + 1))
    s["product"] = s.get("product", 1) * mu
    m = (1 - mu) * g / (1 - s["product"]) + ahead * s["m"] / (1 - s["product"] * ahead)
    w -= o.rate * m / (np.sqrt(s["v"] / (1 - beta2**t)) + o.eps)


def radam(w, g, s, t, o):
    g = _decayed(w, g, o, o.decoupled_weight_decay)
    beta1, beta2 = _moments(g, s, o)
    most = 2 / (1 - beta2) - 1
    length = most - 2 * t * beta2**t / (1 - beta2**t)
    step = s["m"] / (1 - beta1**t)
    if length > 5:
        share = (length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length)
        step = step * np.sqrt(share) * np.sqrt(1 - beta2**t) / (np.sqrt(s["v"]) + o.eps)
    w -= o.rate * step


def lion(w, g, s, t, o):
    beta1, beta2 = o.betas
    m = s.get("m", np.zeros_like(w))
    w -= o.rate * (np.sign(beta1 * m + (1 - beta1) * g) + o.weight_decay * w)
    s["m"] = beta2 * m + (1 - beta2) * g


def lamb(w, g, s, t, o):
    beta1, beta2 = _moments(g, s, o)
    r = s["m"] / (1 - beta1**t) / (np.sqrt(s["v"] / (1 - beta2**t)) + o.eps) + o.weight_decay * w
    norms = np.linalg.norm(w), np.linalg.norm(r)
    w -= o.rate * (norms[0] / norms[1] if all(norms) else 1) * r


def rprop(w, g, s, t, o):
    agreement = np.sign(g) * np.sign(s.get("g", np.zeros_like(g)))
    factor = np.where(agreement > 0, o.etas[1], np.where(agreement < 0, o.etas[0], 1))
    s["size"] = np.clip(s.get("size", np.full_like(w, o.lr)) * factor, *o.step_sizes)
    s["g"] = np.where(agreement < 0, 0, g)
    w -= np.sign(s["g"]) * s["size"]


RULES = {
    "SGD": sgd,
    "RMSprop": rmsprop,
    "Adagrad": adagrad,
    "Adadelta": adadelta,
    "Adam": adam,
    "AdamW": adamw,
    "Adamax": adamax,
    "NAdam": nadam,
    "RAdam": radam,
    "Lion": lion,
    "LAMB": lamb,
    "Rprop": rprop,
}


class Options:
    """An optimizer's hyper-parameters, and the rate of a step, as attributes."""

    def __init__(self, optimizer, step):
        vars(self).update(optimizer.defaults)
        self.rate = float(optimizer.learning_rates(step, 1)[0])


def oracle(optimizer, weights, x, y, steps):
    """Losses and weights by the rule in NumPy, from NumPy's own gradients in float64."""
    rule = RULES[type(optimizer).__name__]
    weights = [w.astype(np.float64) for w in weights]
    states = [{} for _ in weights]
    losses = []
    for step in range(steps):
        W1, b1, W2, b2 = weights
        h = np.tanh(x @ W1 + b1)
        difference = h @ W2 + b2 - y
        losses.append(np.mean(difference**2))
        dz = 2 * difference / difference.size
        dh = (dz @ W2.T) * (1 - h**2)
        gradients = [x.T @ dh, dh.sum(0), h.T @ dz, dz.sum(0)]
        options = Options(optimizer, step)
        for w, g, s in zip(weights, gradients, states, strict=True):
            rule(w, g, s, step + 1, options)
    return losses, weights
