"""Names that other libraries have: the error says what they are here, and that exists."""

from __future__ import annotations

import copy
import inspect
import pickle
import pydoc
import re
from collections.abc import Callable

import numpy as np
import pytest

import fastprop as fp
from fastprop import functional, hints, nn, optim
from fastprop.optim import schedules

X = fp.tensor([[1.0, 2.0]])


@pytest.mark.parametrize(
    ("owner", "name", "advice"),
    [
        (fp, "cat", "fp.concatenate"),
        (fp, "randperm", "NumPy's"),
        (fp, "lerp", "x + weight * (y - x)"),
        (fp, "clone", "x.clone(…)"),
        (fp, "numel", "x.size"),
        (fp, "layer_norm", "fp.functional.layer_norm"),
        (functional, "mse_loss", "fp.losses.mse"),
        (nn, "Linear", "nn.Dense, whose weight is [in, out]"),
        (nn, "Hardswish", "nn.HardSwish"),
        (optim, "lr_scheduler", "fp.optim.schedules"),
        (schedules, "CosineAnnealingLR", "fp.optim.schedules.Cosine"),
        (X, "view", "reshape"),
        (X, "clamp", "clip"),
        (X, "repeat", "tile; or fp.repeat"),
        (X, "movedim", "moveaxis"),
        (X, "where", "fp.where(x, …)"),
        (X, "isclose", "fp.isclose(x, …)"),
        (X, "add_", "write x = x + 1"),
        (X, "to", "on the CPU"),
    ],
)
def test_what_to_use_instead(owner: object, name: str, advice: str) -> None:
    with pytest.raises(AttributeError, match=f"no attribute '{name}'; here: .*{re.escape(advice)}"):
        getattr(owner, name)


@pytest.mark.parametrize("owner", [fp, functional, nn, optim, schedules, X])
def test_unknown_names_get_the_usual_message(owner: object) -> None:
    for name in ("nothing_like_it", "__array_struct__"):
        with pytest.raises(AttributeError, match=f"no attribute '{name}'$"):
            getattr(owner, name)
        assert not hasattr(owner, name)


def test_no_hint_is_about_a_name_that_exists() -> None:
    for known, owner in (
        (hints.FUNCTIONS, fp), (hints.MODULES, nn), (hints.OPTIMIZERS, optim),
        (hints.SCHEDULES, schedules), (hints.METHODS, X),
    ):  # fmt: skip
        assert [name for name in known if hasattr(owner, name)] == []


def test_hints_name_what_exists() -> None:
    tables = (hints.FUNCTIONS, hints.MODULES, hints.OPTIMIZERS, hints.SCHEDULES)
    for hint in [hint for table in tables for hint in table.values()]:
        for path in re.findall(r"\b(?:fp|nn)\.[\w.]+", hint):
            found: object = {"fp": fp, "nn": nn}[path[:2]]
            for part in path.split(".")[1:]:
                found = getattr(found, part)
    methods = [hint for hint in hints.METHODS.values() if re.fullmatch(r"\w+", hint)]
    assert len(methods) > 10
    assert all(hasattr(X, hint) for hint in methods)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: X.mean(dim=1), TypeError, r"^Tensor\.mean\(\) got an unexpected .*'dim'"),
        (lambda: fp.sum(X, axis="a"), TypeError, "^sum: axis must be an integer.* got 'a'"),
        (lambda: fp.sum(X, axis=1.0), TypeError, "^sum: axis must be an integer"),
        (lambda: fp.sum(X, axis=(0, None)), TypeError, "^sum: axis must be an integer"),
        (lambda: fp.concatenate(X, X), TypeError, "^concatenate: axis .* got Tensor$"),
        (lambda: fp.tensor(None), TypeError, "^Tensor: expects real numbers, got NoneType"),
        (lambda: X + "a", TypeError, "expects real numbers, got str"),
        (lambda: fp.tensor([[1], [1, 2]]), ValueError, "^Tensor: the data cannot become an array"),
        (lambda: fp.grad(X.sum(), 3), TypeError, "^grad: inputs must be .*, got int"),
        (lambda: fp.grad(3, X), TypeError, "^grad: outputs must be .*, got int"),
        (lambda: fp.grad(X.sum(), [X, 3]), TypeError, "^grad: inputs must be Tensors, got int"),
        (
            lambda: np.linalg.inv(fp.tensor(np.eye(2), requires_grad=True)),
            TypeError,
            r"^np\.linalg\.inv: ",
        ),
        (lambda: bool(X), ValueError, r"ambiguous; use x\.any\(\) or x\.all\(\)"),
        (
            lambda: fp.tensor([1.0], np.float64),
            TypeError,
            "^tensor: requires_grad must be .* got .*float64.*; a dtype goes by its name",
        ),
        (lambda: fp.reshape(X, "a"), TypeError, "^reshape: shape must be integers, got 'a'"),
        (lambda: fp.einsum(3, X), TypeError, "^einsum: subscripts must be a string, got int"),
        (lambda: fp.norm(X, ord="fro"), TypeError, "^norm: ord must be a number, got 'fro'"),
        (lambda: fp.jacobian(3), TypeError, "^jacobian: expects a function, got int"),
        (lambda: fp.value_and_grad(X), TypeError, "^value_and_grad: .* got Tensor"),
        (lambda: fp.vjp(None, X), TypeError, "^vjp: expects a function, got NoneType"),
        (lambda: fp.checkpoint(3), TypeError, "^checkpoint: expects a function, got int"),
        (lambda: fp.losses.huber(X, X, delta="a"), TypeError, "^huber: delta must be a number"),
        (
            lambda: fp.losses.cosine_embedding(X, X, [1], margin="a"),
            TypeError,
            "^cosine_embedding: margin must be a number, got 'a'",
        ),
        (
            lambda: fp.losses.focal(X, [0], gamma=-1),
            ValueError,
            "^focal: gamma must be a finite number, not negative, got -1",
        ),
        (
            lambda: fp.losses.cross_entropy(X, [0], label_smoothing=1.5),
            ValueError,
            r"^cross_entropy: label_smoothing must be in \[0, 1\], got 1.5",
        ),
        (
            lambda: fp.optim.Custom(lambda w, g: None),
            TypeError,
            r"^Custom: rule must take \(w, g, state, lr, step\), but takes \(w, g\)",
        ),
        (
            lambda: fp.data.to_array("fit: x", {"a": [1]}),
            TypeError,
            "^fit: x is a dict, expected an array",
        ),
        (lambda: fp.data.to_array("fit: x", iter([1])), TypeError, "expected an array, a frame"),
    ],
)
def test_wrong_uses_name_the_function(call, kind: type, message: str) -> None:
    with pytest.raises(kind, match=message):
        call()


def test_clip_takes_the_names_of_numpy_and_pytorch() -> None:
    x = np.linspace(-2, 2, 9)
    for bounds in ({"min": -1}, {"max": 0.5}, {"min": -1, "max": 0.5}):
        expected = np.clip(x, bounds.get("min"), bounds.get("max"))
        np.testing.assert_array_equal(fp.tensor(x).clip(**bounds).data, expected)
        np.testing.assert_array_equal(fp.clip(x, **bounds).data, expected)


def test_no_grad_decorates_functions() -> None:
    w = fp.tensor([1.0], requires_grad=True)

    @fp.no_grad()
    def twice(x):
        """Docs."""
        return 2 * x

    for _ in range(2):
        assert not twice(w).requires_grad
    assert (2 * w).requires_grad
    assert twice.__doc__ == "Docs."


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: X.mean(dim=1), "Tensor.mean() got an unexpected keyword argument 'dim'; "
         "here: axis="),
        (lambda: fp.mean(X, axis=1, keepdim=True), "argument 'keepdim'; here: keepdims="),
        (lambda: functional.softmax(X, dim=-1), "argument 'dim'; here: axis="),
        (lambda: fp.concatenate([X, X], dim=0), "here: axis="),
        (lambda: fp.stack(arrays=[X]), "here: tensors="),
        (lambda: X.unsqueeze(dim=0), "here: axis="),
        (lambda: X.var(correction=1), "here: ddof="),
        (lambda: X.flatten(start_dim=0), "here: start="),
        (lambda: X.swapaxes(dim0=0, dim1=1), "here: axis1="),
        (lambda: X.permute(dims=(1, 0)), "here: axes, without a name"),
        (lambda: X.tile(dims=(2, 1)), "here: repeats, without a name"),
        (lambda: fp.roll(X, shifts=1), "here: shift="),
        (lambda: fp.one_hot([0, 1], num_classes=2), "here: classes="),
        (lambda: fp.zeros(size=(2, 3)), "here: shape, without a name"),
        (lambda: nn.Softmax(dim=1), "Softmax() got an unexpected keyword argument 'dim'; "
         "here: axis="),
        (lambda: nn.Dropout(inplace=True), "Dropout() got an unexpected keyword argument "
         "'inplace'; here: not needed, memory is reused wherever that is safe"),
        (lambda: nn.ReLU(inplace=True), "memory is reused wherever that is safe"),
        (lambda: nn.Dense(3, 4, device="cpu"), "here: not needed, Tensors are NumPy's memory on "
         "the CPU"),
        (lambda: nn.Dense(3, units=4), "Dense() got an unexpected keyword argument 'units'; "
         "here: out_features="),
        (lambda: nn.BatchNorm(3, epsilon=1e-3), "here: eps="),
        (lambda: nn.Flatten(start_dim=1), "Flatten() got an unexpected keyword argument "
         "'start_dim'; here: ()"),
        (lambda: nn.Sequential(layers=[]), "here: (*modules)"),
        (lambda: optim.Adam(foreach=True), "Adam() got an unexpected keyword argument 'foreach'; "
         "here: not needed, an update is one pass of C++ anyway"),
        (lambda: optim.SGD(maximize=True), "here: minimize -loss"),
        (lambda: optim.AdamW(learning_rate=1e-3), "here: lr="),
        (lambda: optim.Rprop(beta=1), "here: (params, lr, etas, step_sizes)"),
        (lambda: optim.SGD(clipnorm=1.0), "here: Trainer(clip=…), or fp.gradients"),
        (lambda: X.std(unbiased=False), "here: (axis, keepdims, ddof)"),
    ],
)  # fmt: skip
def test_names_of_arguments(call: Callable[[], object], message: str) -> None:
    with pytest.raises(TypeError, match=re.escape(message) + "$"):
        call()


def test_functions_with_hints_are_functions() -> None:
    assert pickle.loads(pickle.dumps(fp.mean)) is fp.mean
    assert copy.deepcopy(functional.softmax) is functional.softmax is fp.softmax
    assert list(inspect.signature(fp.mean).parameters) == ["x", "axis", "keepdims"]
    assert list(inspect.signature(X.mean).parameters) == ["axis", "keepdims"]
    assert "Mean over axes" in pydoc.render_doc(fp.mean)
    assert repr(fp.mean).startswith("<function mean at")
    assert fp.Tensor.mean(X, 1).tolist() == fp.compile(fp.mean)(X, axis=1).tolist() == [1.5]
    assert [f(X).item() for f in (fp.sum, fp.Tensor.sum)] == [3, 3]
    for call, error, message in (
        (lambda: fp.mean(), TypeError, r"mean\(\) missing 1 required positional argument: 'x'"),
        (lambda: fp.mean(X, axis=2), ValueError, "axis 2 is out of range"),
        (lambda: fp.mean(X, axis="row"), TypeError, "axis"),
        (lambda: fp.mean("text", axis=0), TypeError, "Tensor: expects real numbers"),
    ):
        with pytest.raises(error, match=message):
            call()


def test_constructors_with_hints_are_constructors() -> None:
    assert list(inspect.signature(nn.Dense).parameters)[:3] == [
        "in_features", "out_features", "activation",
    ]  # fmt: skip
    assert "__init__(self, in_features" in pydoc.plain(pydoc.render_doc(nn.Dense))
    layer = nn.Dense(2, 3, bias=False)
    for made in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(made(X).data, layer(X).data)
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        nn.Dense(in_features=3)
    with pytest.raises(TypeError, match=r"^Dropout: p must be a number, got 'a'"):
        nn.Dropout(p="a")


def test_constructors_of_the_user_are_left_alone() -> None:
    class Mine(nn.Dropout):
        def __init__(self, p: float, name: str = "") -> None:
            super().__init__(p=p)

    assert inspect.isfunction(vars(Mine)["__init__"])
    with pytest.raises(TypeError, match=r"__init__\(\) got an unexpected keyword argument 'dim'$"):
        Mine(0.5, dim=1)
    assert Mine(0.5).p == 0.5


def constructors() -> list[Callable[..., object]]:
    classes = [getattr(package, name) for package in (nn, optim) for name in package.__all__]
    return [kind.__init__ for kind in classes if inspect.isclass(kind)]


def test_no_argument_that_needs_no_counterpart_exists() -> None:
    known = {name for made in constructors() for name in inspect.signature(made).parameters}
    assert known & hints.NO_ARGUMENTS.keys() == set()


def test_every_argument_that_is_hinted_at_exists() -> None:
    functions = [getattr(functional, name) for name in functional.__all__]
    functions += constructors()
    functions += [member for kind in fp.Tensor.__mro__ for member in vars(kind).values()]
    hinted = [f for f in functions if callable(f) and hasattr(f, "__wrapped__")]
    known = {name for f in hinted for name in inspect.signature(f).parameters}
    assert {here for names in hints.ARGUMENTS.values() for here in names} <= known
