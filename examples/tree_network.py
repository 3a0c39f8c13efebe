"""A network shaped like its input: it learns to evaluate parsed arithmetic, a new graph every step.

Each expression is parsed into a tree. A digit becomes a vector that is learned; an operator has a
small network of its own that makes one vector out of its two operands'; the vector at the root is
read out as a number. So the graph follows the tree, by plain recursion, and the digits turn out to
be laid out in their order although nobody has told the network what a digit is worth.
"""

import ast

import numpy as np

import fastprop as fp
from fastprop import nn, optim

WIDTH = 8
SYMBOL = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*"}
SCALE = 10.0


class TreeNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.digits = fp.Parameter(0.3 * np.random.default_rng(0).standard_normal((10, WIDTH)))
        self.hidden = nn.ModuleList(nn.Dense(2 * WIDTH, 32, "tanh", dtype="float64") for _ in "+-*")
        self.merge = nn.ModuleList(nn.Dense(32, WIDTH, dtype="float64") for _ in "+-*")
        self.value = nn.Dense(WIDTH, 1, dtype="float64")

    def vector(self, tree):
        """The vector of a subtree: as deep as the tree is."""
        if isinstance(tree, ast.Constant):
            return self.digits[tree.value]
        both = fp.concatenate([self.vector(tree.left), self.vector(tree.right)])
        k = "+-*".index(SYMBOL[type(tree.op)])
        return self.merge[k](self.hidden[k](both))

    def forward(self, trees):
        return self.value(fp.stack([self.vector(tree) for tree in trees]))[:, 0]


def expression(random, depth):
    """A random one: digits, sums, differences and products, in brackets."""
    if depth == 0 or random.random() < 0.2:
        return str(random.integers(10))
    left, right = (expression(random, depth - 1) for _ in range(2))
    operator = random.choice(list("+-*" if len(left) + len(right) < 3 else "+-"))
    return f"({left} {operator} {right})"


def parse(text):
    return ast.parse(text, mode="eval").body


def main(steps=1500):
    random = np.random.default_rng(1)
    model = TreeNetwork()
    optimizer = optim.Adam(model.parameters(), lr=optim.schedules.Cosine(1.5e-2, steps))
    for step in range(1, steps + 1):
        texts = [expression(random, 2) for _ in range(8)]
        targets = fp.tensor(np.array([eval(text) for text in texts]) / SCALE)
        error = model([parse(text) for text in texts]) - targets
        loss = (error**2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % (steps // 5) == 0:
            print(f"step {step}: off by about {SCALE * np.sqrt(loss.item()):.2f}")

    print(f"\n{'expression':>24}  {'value':>5}  network")
    for _ in range(8):
        text = expression(random, 2)
        with fp.no_grad():
            answer = SCALE * model([parse(text)]).item()
        print(f"{text:>24}  {eval(text):>5}  {answer:7.1f}")
    first = np.linalg.svd(model.digits.data - model.digits.data.mean(0))[0][:, 0]
    order = np.argsort(first if first[9] > first[0] else -first)
    print(f"\nThe digits along the main direction of their vectors: {' '.join(map(str, order))}")


if __name__ == "__main__":
    main()
