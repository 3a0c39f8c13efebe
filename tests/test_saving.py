"""Models in files: rebuilt from the file alone, or with their classes; nothing in a file is run."""

from __future__ import annotations

import io
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastprop as fp
from fastprop import functional as F
from fastprop import losses, metrics, nn, optim
from fastprop.optim import schedules
from fastprop.random import default_generator
from fastprop.saving import atomic
from fastprop.saving import format as safetensors
from fastprop.saving.describe import Decoder, Encoder, names
from fastprop.saving.errors import SavedFileError


def there_and_back(original: nn.Module, tmp_path: Path, **options: Any) -> nn.Module:
    path = tmp_path / "model.safetensors"
    fp.save(original, path)
    return fp.load(path, **options)


def assert_same(found: nn.Module, model: nn.Module) -> None:
    assert repr(found) == repr(model)
    state, expected = found.state_dict(), model.state_dict()
    assert list(state) == list(expected)
    for name, array in expected.items():
        assert state[name].dtype == array.dtype
        np.testing.assert_array_equal(state[name], array)


# -- modules of the library ------------------------------------------------------------------------

MODELS = {
    "mlp": lambda: nn.Sequential(nn.Dense(3, 8, "relu"), nn.Dense(8, 2)),
    "double": lambda: nn.Dense(3, 2, "gelu", dtype=np.float64, bias=False),
    "empty": lambda: nn.Sequential(),
    "nested": lambda: nn.Sequential(nn.Sequential(nn.Dense(2, 2), nn.Tanh()), nn.Flatten()),
    "prelu by name": lambda: nn.Dense(3, 2, "prelu"),
    "module inside": lambda: nn.Dense(3, 2, nn.LeakyReLU(0.3)),
    "function": lambda: nn.Dense(3, 2, F.softplus),
    "own init": lambda: nn.Dense(3, 2, init=lambda shape, dtype, generator: np.ones(shape, dtype)),
    "list": lambda: nn.ModuleList([nn.Dense(2, 2), nn.ReLU()]),
    "parametric": lambda: nn.Sequential(nn.PReLU(4, init=0.5), nn.Softplus(beta=2.0), nn.ELU(0.5)),
}


@pytest.mark.parametrize("name", MODELS)
def test_rebuilt_from_the_file_alone(name: str, tmp_path: Path) -> None:
    fp.seed(5)
    model = MODELS[name]()
    generator = default_generator().state
    assert_same(there_and_back(model, tmp_path), model)
    assert default_generator().state == generator  # nothing was drawn from it


@pytest.mark.parametrize("name", sorted(k for k in names() if k.startswith("nn.")))
def test_every_module_has_a_description(name: str) -> None:
    """What nn exports is found again under its name, and its default arguments describe it."""
    value = names()[name]
    if isinstance(value, type) and issubclass(value, nn.Module) and value is not nn.Module:
        try:
            made = value()
        except TypeError:  # arguments are needed
            return
        encoder = Encoder()
        found = Decoder("here", encoder.arrays).make(encoder.encode(made, "m"), "it", "")
        assert type(found) is value
        assert repr(found) == repr(made)


def test_what_was_changed_since_it_was_made(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Dense(3, 8, "relu"), nn.Dense(8, 2))
    model[0].activation = F.tanh
    model.append(nn.Softmax())
    found = there_and_back(model, tmp_path)
    assert_same(found, model)
    assert found[0].activation is F.tanh


def test_shared_modules_and_parameters(tmp_path: Path) -> None:
    shared = nn.Dense(4, 4, "tanh")
    model = nn.Sequential(shared, nn.Dense(4, 4), shared, nn.Dense(4, 4))
    model[3].weight = model[1].weight
    found = there_and_back(model, tmp_path)
    assert found[0] is found[2]
    assert found[3].weight is found[1].weight
    assert found.count_parameters() == model.count_parameters()
    assert_same(found, model)


def test_frozen_parameters_and_modes(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Dense(3, 3), nn.Dense(3, 3))
    model[0].weight.requires_grad = False
    model[1].eval()
    found = there_and_back(model, tmp_path)
    assert [p.requires_grad for p in found.parameters()] == [False, True, True, True]
    assert [m.training for m in found.modules()] == [True, True, False]


def test_a_trained_model(tmp_path: Path) -> None:
    """Its parameters lie in one flat buffer; predictions are the same to the bit."""
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    trainer = fp.Trainer(MODELS["mlp"](), "mse", "adam")
    trainer.fit(x, x[:, :2], epochs=3)
    found = there_and_back(trainer.model, tmp_path)
    np.testing.assert_array_equal(fp.Trainer(found, "mse", "adam").predict(x), trainer.predict(x))


# -- modules of the user ---------------------------------------------------------------------------


class Residual(nn.Module):
    def __init__(self, width: int, *more: int, scale: float = 1.0, **options: Any) -> None:
        super().__init__()
        self.inner = nn.Dense(width, width, **options)
        self.more = nn.ModuleList(nn.Dense(width, n) for n in more)
        self.count = nn.Buffer(np.zeros(2, np.int64))
        self.width = width * 2  # no argument of the same meaning

    def forward(self, x: Any) -> Any:
        return x + self.inner(x)


class Wrapper(nn.Module):
    def __init__(self, inner: nn.Module, function: Any = F.relu, table: Any = None) -> None:
        super().__init__()
        self.inner, self.function, self.table = inner, function, table

    def forward(self, x: Any) -> Any:
        return self.function(self.inner(x))


class Own(nn.Sequential):
    def __init__(self, width: int) -> None:
        super().__init__(nn.Dense(width, width), nn.ReLU())


def test_own_classes_are_called_as_they_were(tmp_path: Path) -> None:
    model = nn.Sequential(Residual(3, 4, 5, scale=0.5, activation="tanh"), Own(3))
    model[0].count.data = np.array([3, 1 << 60])
    found = there_and_back(model, tmp_path, classes=[Residual, Own])
    assert_same(found, model)
    assert type(found[0]) is Residual
    assert found[0].width == 6


@pytest.mark.parametrize("given", [(), (Own,)])
def test_classes_have_to_be_passed(given, tmp_path: Path) -> None:
    with pytest.raises(
        SavedFileError, match=r"of your class Residual: pass classes=\[Residual\], or pass model="
    ):
        there_and_back(nn.Sequential(Residual(3)), tmp_path, classes=given)


def test_arguments_of_many_kinds(tmp_path: Path) -> None:
    table = {"a": [1, 2.5, None, True, "x"], "b": (np.arange(3.0), {"$": np.inf}), 4: np.float32(2)}
    model = Wrapper(nn.Dense(2, 2), F.tanh, table)
    found = there_and_back(model, tmp_path, classes=[Wrapper])
    assert found.function is F.tanh
    assert found.table["a"] == table["a"]
    np.testing.assert_array_equal(found.table["b"][0], np.arange(3.0))
    assert found.table["b"][1] == {"$": np.inf}
    assert found.table[4] == 2.0


@pytest.mark.parametrize(
    ("argument", "what"),
    [
        (lambda x: x, "the function .*<lambda>"),
        (object(), "an object of class object"),
        (Residual, "the class Residual"),
        (np.array(["a"]), "an array of dtype"),
    ],
)
def test_arguments_that_a_file_cannot_hold(argument, what, tmp_path: Path) -> None:
    model = Wrapper(nn.Dense(2, 2), argument)
    with pytest.raises(
        SavedFileError,
        match=rf"the model\.function is {what}.*, which is not in the file: pass model=",
    ):
        there_and_back(model, tmp_path, classes=[Wrapper])
    other = Wrapper(nn.Dense(2, 2), argument)
    assert there_and_back(model, tmp_path, model=other) is other
    assert_same(other, model)


def test_into_a_model_that_does_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "m"
    fp.save(nn.Dense(3, 2), path)
    other = nn.Dense(3, 4)
    before = other.state_dict()["weight"]
    for model, message in (
        (other, r"'weight' has shape \(3, 2\), expected \(3, 4\)"),
        (nn.Dense(3, 2, bias=False), "unexpected 'bias'"),
        (nn.Dense(3, 2, "prelu"), "missing 'activation.slope'"),
        (nn.Dense(3, 2, dtype="float64"), "'bias' is float32, the model's is float64"),
    ):
        with pytest.raises(SavedFileError, match=message):
            fp.load(path, model=model)
    np.testing.assert_array_equal(other.state_dict()["weight"], before)


def test_files_of_others(tmp_path: Path) -> None:
    path = tmp_path / "m"
    weight, bias = np.ones((3, 2), np.float32), np.zeros(2, np.float32)
    with open(path, "wb") as stream:
        safetensors.write(stream, {"weight": weight, "bias": bias}, {"format": "pt"})
    found = fp.load(path, model=nn.Dense(3, 2))
    np.testing.assert_array_equal(found.weight.data, weight)
    with pytest.raises(SavedFileError, match=r"no description of a model.*load\(path, model=model"):
        fp.load(path)


# -- other objects ---------------------------------------------------------------------------------

OBJECTS = [
    optim.SGD(lr=0.1, momentum=0.9, nesterov=True),
    optim.Adam(betas=(0.8, 0.99)),
    optim.AdamW(lr=schedules.Warmup(10, schedules.Cosine(1e-3, 90))),
    schedules.Sequential([0.1, schedules.Step(0.1, 3), schedules.Cyclic(0.1, 0.2)], [5, 9]),
    schedules.CosineRestarts(0.1, 5, t_mult=2),
    schedules.MultiStep(0.1, [3, 8], gamma=0.3),
    schedules.Scaled(schedules.OneCycle(0.1, 50), 0.25),
    losses.Loss("huber", delta=2.0),
    losses.Loss("cross_entropy", label_smoothing=0.1),
    metrics.TopKAccuracy(3),
    metrics.BinaryAccuracy(0.5),
    metrics.R2(),
]


@pytest.mark.parametrize("value", OBJECTS, ids=repr)
def test_objects(value: Any) -> None:
    encoder = Encoder()
    text = json.dumps(encoder.encode(value, "it"), allow_nan=False)
    found = Decoder("here", encoder.arrays).make(json.loads(text), "it", "")
    assert repr(found) == repr(value)
    assert type(found) is type(value)


def test_arrays_in_arguments() -> None:
    weight = np.array([0.5, 2.0])
    encoder = Encoder()
    described = encoder.encode({"a": weight, "b": [weight]}, "x")
    found = Decoder("here", encoder.arrays).make(described, "it", "")
    assert found["a"] is weight
    assert found["b"][0] is weight
    other = Encoder()
    other.encode({"a.b": np.zeros(1), "a": {"b": np.ones(1)}}, "x")
    assert len(other.arrays) == 2


def test_a_schedule_of_the_user() -> None:
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Harmonic(schedules.Schedule):
        lr: float

        def formula(self, steps: Any) -> Any:
            return self.lr / (1.0 + steps)

    encoder = Encoder()
    described = encoder.encode(optim.SGD(lr=Harmonic(0.1)), "it")
    assert Decoder("", {}, [Harmonic]).make(described, "it", "").lr == Harmonic(0.1)
    with pytest.raises(SavedFileError, match=r"it\.lr is of your class .*Harmonic"):
        Decoder("", {}).make(described, "it", "")


# -- writing ---------------------------------------------------------------------------------------


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="save: expects a Module, got dict"):
        fp.save({}, tmp_path / "m")
    with pytest.raises(TypeError, match="load: model must be a Module, got str"):
        fp.load(tmp_path / "m", model="m")
    with pytest.raises(FileNotFoundError):
        fp.load(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError):
        fp.save(nn.Dense(1, 1), tmp_path / "no" / "m")
    with pytest.raises(OSError, match=r"directory|denied"):
        fp.load(tmp_path)


def test_a_failure_keeps_what_was_there(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "m"
    first = nn.Dense(3, 2)
    fp.save(first, path)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    for module, name in ((safetensors.zlib, "crc32"), (os, "fsync"), (os, "replace")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, full)
            with pytest.raises(OSError, match="No space"):
                fp.save(nn.Dense(3, 2), path)
        assert [p.name for p in tmp_path.iterdir()] == ["m"]
        assert_same(fp.load(path), first)


def test_what_a_killed_process_left_is_written_over(tmp_path: Path) -> None:
    (tmp_path / ".m.tmp").write_bytes(b"x" * 100_000)
    model = nn.Dense(3, 2)
    fp.save(model, tmp_path / "m")
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
    assert_same(fp.load(tmp_path / "m"), model)


@pytest.mark.skipif(os.name == "nt", reason="links want privileges there")
def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "latest").symlink_to(tmp_path / "real" / "m")
    fp.save(nn.Dense(3, 2), tmp_path / "latest")
    assert (tmp_path / "latest").is_symlink()
    assert (tmp_path / "real" / "m").is_file()
    assert [p.name for p in (tmp_path / "real").iterdir()] == ["m"]


def test_an_error_inside_the_block(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"before")

    def half() -> None:
        with atomic.replacing(tmp_path / "m") as stream:
            stream.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert (tmp_path / "m").read_bytes() == b"before"
    assert len(list(tmp_path.iterdir())) == 1


def test_no_copies_of_arrays_are_made() -> None:
    """Writing takes the header's memory, not the arrays'."""
    arrays = {"w": np.zeros(4_000_000, np.float32)}

    class Nowhere(io.RawIOBase):
        def write(self, data: Any) -> int:
            return len(data)

    tracemalloc.start()
    try:
        safetensors.write(Nowhere(), arrays, {})  # type: ignore[arg-type]
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
