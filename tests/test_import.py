"""What an import loads, and packages whose names are loaded when they are asked for."""

from __future__ import annotations

import ast
import pickle
import pydoc
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import fastprop as fp
from fastprop._lazy import lazy_names

ROOT = Path(fp.__file__).parent
STUBS = [path for path in sorted(ROOT.rglob("*.pyi")) if path.parent.name != "_core"]

# What takes milliseconds to load, and is not needed to train.
HEAVY = {
    "argparse", "asyncio", "concurrent.futures", "csv", "dataclasses", "email", "gzip", "http",
    "importlib.metadata", "json", "logging", "multiprocessing", "numpy.ma", "queue", "shutil",
    "socket", "ssl", "tempfile", "unittest", "urllib.request", "zipfile",
}  # fmt: skip
# And of the library itself.
OTHERS = {
    "data.stream", "gradients", "graph.checkpoint", "graph.custom", "graph.ops_mixup",
    "graph.strips", "hints", "inspect", "kernels", "nn.normalization", "optim.accumulate",
    "optim.around", "optim.lbfgs", "saving", "tracing", "train.early_stopping", "train.many",
    "train.streams",
}  # fmt: skip

FIRST_STEP = """
import fastprop as fp
nn = fp.nn
model = nn.Sequential(nn.Dense(4, 64, "relu"), nn.Dense(64, 64, "relu"), nn.Dense(64, 1))
trainer = fp.Trainer(model, loss="mse", optimizer=fp.optim.Adam(lr=1e-3))
trainer.fit(np.ones((32, 4), np.float32), np.ones((32, 1), np.float32), verbose=False)
"""


def output_of(code: str) -> list[str]:
    """The lines that a new interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def loaded_by(code: str) -> set[str]:
    """Modules that a new interpreter loads for this beyond NumPy's."""
    return set(
        output_of(
            f"import sys, numpy as np\nbefore = {{*sys.modules}}\n{code}\n"
            "print(*({*sys.modules} - before), sep='\\n')"
        )
    )


@pytest.mark.parametrize(
    ("code", "most"),
    [("import fastprop", 6), (FIRST_STEP, 117)],
    ids=["import", "first step"],
)
def test_no_more_is_loaded_than_is_used(code, most):
    """Every module takes about half a millisecond. One more that every step needs may be worth
    that; one that few need is loaded by those.
    """
    loaded = loaded_by(code)
    own = sorted(name for name in loaded if name.partition(".")[0] == "fastprop")
    assert len(own) <= most, own
    assert len(loaded) - len(own) <= 12, sorted(loaded - {*own})
    assert not loaded & (HEAVY | {f"fastprop.{name}" for name in OTHERS})


def package_of(stub: Path) -> str:
    parts = stub.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def names_in(stub: Path) -> dict[str, str]:
    """Which names a stub has, and the modules that it says they are from."""
    found = {}
    for node in ast.parse(stub.read_text()).body:
        assert isinstance(node, ast.ImportFrom), ast.unparse(node)
        for alias in node.names:
            assert alias.asname == alias.name  # what makes it a name of the package
            found[alias.name] = str(node.module)
    return found


def test_there_are_lazy_packages():
    assert {"fastprop", "fastprop.nn", "fastprop.optim"} <= {package_of(stub) for stub in STUBS}


@pytest.mark.parametrize("stub", STUBS, ids=package_of)
def test_stubs_say_what_packages_have(stub):
    name = package_of(stub)
    package = import_module(name)
    modules = names_in(stub)
    assert sorted(modules) == sorted(package.__all__)
    assert set(package.__all__) <= {*dir(package)}
    for attribute, module in modules.items():
        value = getattr(package, attribute)
        if module == name:
            assert value is import_module(f"{name}.{attribute}")
        else:
            defined = getattr(import_module(module), attribute)
            assert defined in (value, getattr(value, "__wrapped__", None))


@pytest.mark.parametrize("stub", STUBS, ids=package_of)
def test_no_name_is_that_of_another_module(stub):
    """Loading ``optim/adam.py`` sets ``optim.adam``, whatever that was before."""
    name = package_of(stub)
    own = {path.stem for path in stub.parent.glob("*") if stub.stem == "__init__"}
    assert not [n for n, module in names_in(stub).items() if n in own and module != name]


def test_names_are_there_right_after_the_import():
    assert output_of(
        "import fastprop as fp\n"
        "print(fp.train.EarlyStopping.__name__, fp.optim.schedules.Cosine.__name__)\n"
        "print(fp.__version__ == fp.config()['version'], fp.config.__name__)\n"
        "from fastprop import compile, nn, load\n"
        "print(compile.__name__, nn.init.__name__, load.__module__)\n"
        "import fastprop.installation, fastprop.tracing.compile, fastprop.graph.tensor\n"
        "print(callable(fp.config), callable(fp.compile), callable(fp.tensor))\n"
    ) == [
        "EarlyStopping Cosine",
        "True config",
        "compile fastprop.nn.init fastprop.saving.models",
        "True True True",
    ]


@pytest.mark.parametrize(
    "code",
    [
        "x = fp.tensor([3.0], requires_grad=True); (x * x).sum().backward(); print(x.grad.item())",
        "x = fp.tensor([3.0], requires_grad=True); print(fp.grad((x * x).sum(), x).item())",
        "x = fp.Parameter([3.0]); (x @ x).backward(); print(x.grad.item())",
        "print(fp.kernels.relu_forward(np.float32([6]))[0])",
        "print(fp.kernels.mse(np.float64([[0]]), np.float64([[6**0.5]]))[0].__round__())",
        "print(np.sum(fp.tensor([2.0, 4.0])).item())",
        "print(fp.tensor([2.0, 6.0])[1].item())",
        "print(fp.compile(lambda x: x + 3.0)(np.float32([3])).item())",
        "print(fp.custom_op(lambda x: 2 * x, lambda dy, y, x: dy)(fp.tensor([3.0])).item())",
        "print(fp.checkpoint(lambda x: 2 * x, fp.tensor([3.0])).item())",
        "print(fp.hessian(lambda x: (x * x * x).sum())(fp.tensor([1.0])).item())",
        "print(fp.losses.mse(fp.tensor([[0.0]]), fp.tensor([[6**0.5]])).data.round())",
        "print(6.0 if fp.optim.get('lbfgs').full_batch else 0)",
    ],
)
def test_whatever_is_used_first_finds_what_it_needs(code):
    """Modules that register something are loaded by those who look for it."""
    (line,) = output_of(f"import numpy as np\nimport fastprop as fp\n{code}")
    assert float(line) == 6.0


def test_star_brings_all_names():
    assert output_of(
        "from fastprop import *\nimport fastprop\n"
        "print({*fastprop.__all__} - {*globals()}, Tensor.__name__)"
    ) == ["set() Tensor"]


def test_help_and_pickle_know_the_classes():
    assert "Adam" in pydoc.plain(pydoc.render_doc(fp.optim))
    assert pickle.loads(pickle.dumps(fp.nn.Dense)) is fp.nn.Dense


@pytest.mark.parametrize("package", [fp, fp.nn, fp.train, fp.optim, fp.data, fp.functional])
def test_other_names_are_errors(package):
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'yx'"):
        _ = package.yx
    assert not hasattr(package, "__wrapped__")
    with pytest.raises(ImportError, match="yx"):
        exec(f"from {package.__name__} import yx")


def test_a_name_is_looked_for_once():
    """It is a global of the package then, which Python finds without asking."""
    name = "fastprop.graph"
    namespace = vars(sys.modules[name])
    exported, load, names = lazy_names(name, {"graph.tensor": ("Tensor",)})
    assert exported == ["Tensor"]
    assert "Tensor" in names()
    try:
        assert load("Tensor") is fp.Tensor is namespace["Tensor"]
    finally:
        namespace.pop("Tensor", None)
