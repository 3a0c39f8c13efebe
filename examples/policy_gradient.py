"""A policy learns to balance a pole, from rewards alone: REINFORCE, its step compiled.

The environment is a loop in Python, the policy's update one Program for any number of steps.

Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement
learning", Machine Learning 1992; Barto, Sutton & Anderson, IEEE Trans. SMC 1983 (the cart-pole).
"""

from __future__ import annotations

import numpy as np

import fastprop as fp
from fastprop import functional as F
from fastprop import nn, optim

LONGEST = 200

fp.seed(0)
rng = np.random.default_rng(0)
policy = nn.Sequential(nn.Dense(4, 32, "tanh"), nn.Dense(32, 2))
optimizer = optim.Adam(policy.parameters(), lr=1e-2)
probabilities = fp.compile(lambda states: F.softmax(policy(states)))


@fp.compile
def improve(states, actions, advantages):
    """A step up the gradient of the log-probability of what was done, weighted by how it went."""
    chosen = F.gather(F.log_softmax(policy(states)), 1, actions)
    loss = -(chosen * advantages).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def move(state: np.ndarray, push: np.ndarray) -> np.ndarray:
    """0.02 seconds of many carts with a pole on each: position, speed, angle, angular speed."""
    _, v, angle, spin = state.T
    sin, cos = np.sin(angle), np.cos(angle)
    force = np.where(push == 1, 10.0, -10.0)
    thrust = (force + 0.05 * spin**2 * sin) / 1.1
    turn = (9.8 * sin - cos * thrust) / (0.5 * (4 / 3 - 0.1 * cos**2 / 1.1))
    push_x = thrust - 0.05 * turn * cos / 1.1
    return state + 0.02 * np.stack([v, push_x, spin, turn], axis=1)


def play(games: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """States, actions and advantages of some games, and how long they lasted on average."""
    state = rng.uniform(-0.05, 0.05, (games, 4))
    alive = np.ones(games, bool)
    lengths = np.zeros(games)
    seen, done, who = [], [], []
    for _ in range(LONGEST):
        p = probabilities(state.astype(np.float32)).numpy()
        action = (rng.random(games) < p[:, 1]).astype(np.int64)
        seen.append(state[alive])
        done.append(action[alive])
        who.append(np.flatnonzero(alive))
        lengths[alive] += 1
        state = move(state, action)
        alive &= (np.abs(state[:, 0]) < 2.4) & (np.abs(state[:, 2]) < 0.21)
        if not alive.any():
            break
    left = np.concatenate([lengths[w] - t for t, w in enumerate(who)])  # steps until the end
    advantages = (left - left.mean()) / (left.std() + 1e-8)
    states = np.concatenate(seen).astype(np.float32)
    actions = np.concatenate(done)[:, None]
    return states, actions, advantages.astype(np.float32)[:, None], float(lengths.mean())


for number in range(41):
    states, actions, advantages, length = play(games=32)
    improve(states, actions, advantages)
    if number % 10 == 0:
        print(f"update {number:3}: the pole stays up for {length:5.1f} of {LONGEST} steps")
