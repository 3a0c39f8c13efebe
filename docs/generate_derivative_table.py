"""Write the table of derivatives in docs/autograd.md from the rules themselves, or check it.

    python docs/generate_derivative_table.py            # after a rule changed
    python docs/generate_derivative_table.py --check    # exit status 1 if the page is stale

Every rule is called on symbolic Tensors, and the graph that it makes is written as a formula.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from fastprop.graph.op import Op, apply, every_op
from fastprop.graph.ops_activation import INFO
from fastprop.graph.ops_index import part_attributes
from fastprop.graph.ops_shape import transpose_attributes
from fastprop.graph.tensor import Tensor

PAGE = Path(__file__).with_name("autograd.md")
BEGIN, END = "<!-- derivatives: begin -->\n", "<!-- derivatives: end -->\n"
INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
PRECEDENCE = {"add": 1, "sub": 1, "mul": 2, "div": 2, "neg": 3}

Example = tuple[str, list[tuple[int, ...]], dict[str, Any]]

CONSTANTS = ("index", "q")  # operands without a derivative

MATRIX, ROWS, ROW = (2, 3), (2,), (3,)
_PART = part_attributes((0, 1), (1, 1), (2, 2))
EXAMPLES: dict[str, Example] = {
    # op: names of the operands, their shapes, attributes
    "reshape": ("x", [MATRIX], {"shape": (3, 2)}),
    "alias": ("x", [MATRIX], {}),
    "transpose": ("x", [MATRIX], transpose_attributes((1, 0))),
    "cast": ("x", [MATRIX], {"dtype": np.dtype(np.float32)}),
    "broadcast_to": ("x", [ROW], {"shape": MATRIX, "batched": False}),
    "broadcast_mean": ("x", [(1, 3)], {"shape": MATRIX, "batched": False}),
    **{
        name: ("x", [MATRIX], {"axes": 2, "keepdims": True})
        for name in ("sum", "sum_squares", "mean", "max", "min")
    },
    "where": ("c x y", [MATRIX] * 3, {}),
    **{f"pow_{name}_slope": ("x y power", [MATRIX] * 3, {}) for name in ("base", "exponent")},
    "slice": ("x", [MATRIX], _PART),
    "place": ("x", [(2, 2)], {**part_attributes((0, 1), (1, 1), MATRIX), "fill": 0.0}),
    "concatenate": ("x y", [MATRIX, MATRIX], {"axis": 0}),
    "take": ("x index", [MATRIX, (4,)], {"axis": 0}),
    "take_add": ("x index", [(4, 3), (4,)], {"axis": 0, "n": 2}),
    "gather": ("x index", [MATRIX, (2, 1)], {"axis": 1}),
    "scatter_add": ("x index", [(2, 1), (2, 1)], {"axis": 1, "n": 3}),
    "cumsum": ("x", [MATRIX], {"axis": 0, "reverse": False}),
    "prelu": ("x slope", [MATRIX, ROW], {}),
    "prelu_backward_data": ("x slope dy", [MATRIX, ROW, MATRIX], {}),
    "prelu_backward_slope": ("x slope dy", [MATRIX, ROW, MATRIX], {}),
    "matmul": ("a b", [MATRIX, (3, 4)], {"transpose_a": False, "transpose_b": False}),
    "dense": ("x W b", [MATRIX, (3, 4), (4,)], {"activation": 0, "p0": 0.0, "p1": 0.0}),
    "dense_backward_weights": ("x dz", [MATRIX, (2, 4)], {}),
    **{name: ("x", [MATRIX], {}) for name in ("softmax", "log_softmax")},
    **{name: ("y dy", [MATRIX] * 2, {}) for name in ("softmax_backward", "log_softmax_backward")},
}
_KIND = {"kind": [name for name, _ in INFO].index("tanh"), "p0": 0.0, "p1": 0.0}
EXAMPLES["activation"] = ("x", [MATRIX], _KIND)
EXAMPLES["activation_backward"] = ("y dy", [MATRIX] * 2, _KIND)
_PAIR, _MEAN = ("pred target", [MATRIX, MATRIX]), {"mean": True}
EXAMPLES.update(
    dict.fromkeys(("mse", "mae", "log_cosh", "hinge", "binary_cross_entropy"), (*_PAIR, _MEAN))
)
EXAMPLES["huber"] = (*_PAIR, {**_MEAN, "delta": 1.0})
EXAMPLES["quantile"] = ("pred target q", [MATRIX, MATRIX, (1,)], _MEAN)
EXAMPLES["kl_div"] = (*_PAIR, {"mean": False, "log_target": False})
EXAMPLES["binary_focal"] = (*_PAIR, {**_MEAN, "gamma": 2.0, "alpha": -1.0})
EXAMPLES["elastic_net"] = ("w target", [MATRIX, MATRIX], {"mean": False, "l1": 0.1, "l2": 0.1})
EXAMPLES["focal"] = ("pred index", [MATRIX, ROWS], {"gamma": 2.0})
_DRAW = {"seed_lo": 0, "seed_hi": 0, "stream": 0, "step": 0}
EXAMPLES["mixup"] = ("x", [MATRIX], {**_DRAW, "alpha": 0.2, "back": 0})
EXAMPLES["poisson_nll"] = (
    *_PAIR, {**_MEAN, "log_input": True, "full": False, "eps": 1e-8}
)  # fmt: skip
EXAMPLES["cross_entropy"] = ("pred index", [MATRIX, ROWS], {"label_smoothing": 0.0})
EXAMPLES["cross_entropy_probs"] = (*_PAIR, {"label_smoothing": 0.0})
_COLUMNS = "mean rstd w b", [ROW] * 4
for _name in ("batch_norm", "normalize"):
    EXAMPLES[_name] = (f"x {_COLUMNS[0]}", [MATRIX, *_COLUMNS[1]], {"eps": 1e-5})
_GROUPS = {"groups": 1, "eps": 1e-5, "centered": True}
EXAMPLES["layer_norm"] = ("x moments w b", [MATRIX, (2, 1, 2), ROW, ROW], _GROUPS)
_STREAM = {"seed_lo": 0, "seed_hi": 0, "stream": 0, "step": 0}
EXAMPLES["dropout"] = ("mask x", [MATRIX] * 2, {"scale": 2.0, "shift": 0.0, "fill": 0.0})
EXAMPLES["gaussian_noise"] = ("x", [MATRIX], {**_STREAM, "std": 1.0})
# What these compute is differentiated by itself, so their rules are not formulas.
OF_DEFINITIONS = {
    f"{name}_backward" for name in (
        "mse", "mae", "huber", "log_cosh", "quantile", "hinge", "poisson_nll", "kl_div",
        "binary_cross_entropy", "binary_focal", "elastic_net", "focal", "cross_entropy",
        "cross_entropy_probs",
    )
} | {
    f"{name}_backward_{part}" for name in ("batch_norm", "layer_norm")
    for part in ("data", "weights")
}  # fmt: skip


def _example(op: Op) -> Example:
    if op.name in EXAMPLES:
        return EXAMPLES[op.name]
    if op.attributes:
        raise SystemExit(f"{__file__}: give an example of {op.name} in EXAMPLES")
    return " ".join("xyz"[: len(op.vjps)]), [MATRIX] * len(op.vjps), {}


def formula(tensor: Tensor, names: dict[int, str], outer: int = 0) -> str:
    """The graph behind a Tensor as text; `names` are the Tensors that it starts from."""
    if id(tensor) in names:
        return names[id(tensor)]
    if tensor.op is None:
        return f"{tensor.item():.6g}"
    name, inputs = tensor.op.name, tensor.inputs
    rank = PRECEDENCE.get(name, 4)
    if name in INFIX:
        left = formula(inputs[0], names, rank)
        right = formula(inputs[1], names, rank + (name in ("sub", "div")))
        text = f"{left} {INFIX[name]} {right}"
    elif name == "neg":
        text = f"-{formula(inputs[0], names, rank)}"
    else:
        label = INFO[tensor.attrs["kind"]][0] if name == "activation" else name
        if tensor.attrs.get("reverse"):
            label += "_from_end"
        operands = [
            formula(t, names) + ("ᵀ" if tensor.attrs.get(f"transpose_{side}") else "")
            for t, side in zip(inputs, "ab" + "-" * len(inputs), strict=False)
        ]
        text = f"{label}({', '.join(operands)})"
    return f"({text})" if rank < outer else text


def _rules(op: Op) -> list[str]:
    """The row of one op: its call, and the derivative by each operand."""
    text, shapes, attrs = _example(op)
    labels = text.split()
    inputs = [
        Tensor.placeholder(s, "int64" if label == "index" else "float64")
        for label, s in zip(labels, shapes, strict=True)
    ]
    y = apply(op, *inputs, **attrs)
    if "dy" in labels:
        output, derivative = "dx", "g"
    else:
        output, derivative = "z" if "y" in labels else "y", "dz" if "y" in labels else "dy"
    dy = Tensor.placeholder(y.shape, y.dtype)
    names = {id(t): label for t, label in zip(inputs, labels, strict=True)}
    names.update({id(y): output, id(dy): derivative})
    row = [f"`{output} = {op.name}({', '.join(labels)})`"]
    cells = []
    for label, rule in zip(labels, op.vjps, strict=False):
        if label not in CONSTANTS:
            d = None if rule is None else rule(dy, y, *inputs)
            cells.append(f"`{label}`: " + (f"`{formula(d, names)}`" if d is not None else "0"))
    return [*row, "<br>".join(cells)]


def table() -> str:
    ops = [op for op in every_op() if op.name not in OF_DEFINITIONS and any(op.vjps)]
    rows = ["| " + " | ".join(_rules(op)) + " |\n" for op in ops]
    return "| op | derivative by each operand |\n|---|---|\n" + "".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only tell whether it is up to date")
    check = parser.parse_args().check
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    wanted = before + BEGIN + "\n" + table() + "\n" + END + after
    if check:
        return int(wanted != page)
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
