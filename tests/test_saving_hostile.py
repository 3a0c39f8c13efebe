"""Model files that are forged, or that a later version wrote: an error, and nothing is run."""

from __future__ import annotations

import json
import math
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastprop as fp
from fastprop import nn, optim
from fastprop.saving import format as safetensors
from fastprop.saving.describe import names
from fastprop.saving.errors import SavedFileError
from fastprop.saving.models import header_strings

# -- versions and hostile descriptions -------------------------------------------------------------


def forged(path: Path, description: Any, arrays: Any = None, **metadata: str) -> Path:
    text = description if isinstance(description, str) else json.dumps(description)
    strings = {**header_strings({}), "description": text, **metadata}
    with open(path, "wb") as stream:
        safetensors.write(stream, arrays or {"weight": np.ones(3, np.float32)}, strings)
    return path


def model_of(module: Any, **more: Any) -> dict[str, Any]:
    rest = {"shared": [], "frozen": [], "evaluating": [], **more}
    return {"kind": "model", "model": {"module": module, **rest}}


def new(name: str, number: Any = 0, **arguments: Any) -> dict[str, Any]:
    return {"$": "new", "class": name, "number": number, "arguments": arguments}


def test_files_from_the_future(tmp_path: Path) -> None:
    path = forged(tmp_path / "m", {}, fastprop="9.1.0", format_version="7", needs="9.0.0")
    with pytest.raises(
        SavedFileError,
        match=r"written by fastprop 9\.1\.0 and needs fastprop 9\.0\.0 or later; this",
    ):
        fp.load(path)
    for version in ("", "-1", "1.5", "x", "²", "9" * 5000):
        with pytest.raises(SavedFileError, match="the format version is"):
            fp.load(forged(tmp_path / "m", {}, format_version=version))


def deep(levels: int) -> str:
    """Text: json.dumps would not go that deep."""
    items = '{"$":"tuple","items":[' * levels + "1" + "]}" * levels
    return '{"kind":"model","model":{"module":' + items + ',"shared":[]}}'


DENSE = {"in_features": 3, "out_features": 1}
BAD_DESCRIPTIONS = {
    "no table": [1],
    "no model": {"kind": "model"},
    "other kind": {"kind": "weights", "model": {}},
    "not a module": model_of(5),
    "a list": model_of([1]),
    "unknown kind": model_of({"$": "pickle", "data": "gASV"}),
    "kind is a list": model_of({"$": ["new"]}),
    "unknown class": model_of(new("os.system", command="true")),
    "a builtin": model_of(new("builtins.eval", expression="1")),
    "a function as class": model_of(new("optim.get", optimizer="sgd")),
    "the base class": model_of(new("nn.Parameter", data=[1])),
    "private name": model_of({"$": "name", "name": "nn.__doc__"}),
    "an optimizer": model_of(new("optim.SGD")),
    "own class": model_of({**new("Dense"), "$": "own"}),
    "arguments missing": model_of({"$": "new", "class": "nn.Dense", "number": 0}),
    "arguments a list": model_of({**new("nn.Dense"), "arguments": [3, 1]}),
    "unknown argument": model_of(new("nn.Dense", **DENSE, rank=1)),
    "too few arguments": model_of(new("nn.Dense")),
    "negative width": model_of(new("nn.Dense", in_features=-3, out_features=1)),
    "a string as width": model_of(new("nn.Dense", in_features="3", out_features=1)),
    "number is a list": model_of(new("nn.Dense", number=[1], **DENSE)),
    "again of nothing": model_of({"$": "again", "number": 7}),
    "array that is not there": model_of({"$": "array", "name": "x"}),
    "dict of lists": model_of({"$": "dict", "pairs": [[[1], 2]]}),
    "pairs of three": model_of({"$": "dict", "pairs": [[1, 2, 3]]}),
    "float": model_of({"$": "float", "value": "1e400"}),
    "other widths": model_of(new("nn.Dense", in_features=4, out_features=1)),
    "huge": model_of(new("nn.Dense", in_features=10**9, out_features=10**9)),
    "huge in one": model_of(new("nn.Dense", in_features=1, out_features=10**12)),
    "large product": model_of(new("nn.Dense", in_features=4000, out_features=4000)),
    "huge slopes": model_of(new("nn.PReLU", num_parameters=10**11)),
    "huge norm": model_of(new("nn.LayerNorm", normalized_shape=[4000, 4000, 4000])),
    "huge statistics": model_of(new("nn.BatchNorm", num_features=10**11)),
    "beyond integers": model_of(new("nn.PReLU", num_parameters=10**30)),
    "deep": deep(300),
    "deeper": deep(100_000),
    "shared of nothing": model_of(new("nn.PReLU"), shared=[["slope", "x.y"]]),
    "shared of none": model_of(new("nn.PReLU"), shared=[[]]),
    "shared of no lists": model_of(new("nn.PReLU"), shared=5),
    "frozen no list": model_of(new("nn.PReLU"), frozen=5),
    "modules of modules": model_of(new("nn.Sequential", modules=3)),
    "modules of numbers": model_of(new("nn.Sequential", modules=[1, 2])),
}


@pytest.mark.parametrize("name", BAD_DESCRIPTIONS)
def test_hostile_descriptions(name: str, tmp_path: Path) -> None:
    path = forged(tmp_path / "hostile", BAD_DESCRIPTIONS[name])
    tracemalloc.start()
    try:
        with pytest.raises(SavedFileError, match="hostile: "):
            fp.load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000


def test_nothing_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are those of the table: no import, no attribute of anything."""
    monkeypatch.setattr(os, "system", lambda command: pytest.fail("run"))
    for name in ("os.system", "fastprop.saving.models.os.system", "nn.os.system", "__import__"):
        with pytest.raises(SavedFileError):
            fp.load(forged(tmp_path / "m", model_of({"$": "name", "name": name})))
    assert not any(value in (eval, exec, open, __import__) for value in names().values())


# -- forged trainings ------------------------------------------------------------------------------

HUGE = 10**12
BAD_TRAININGS: dict[str, Any] = {
    "epoch is infinite": lambda d: d.update(epoch=math.inf),
    "no table of fit": lambda d: d.update(fit=[1]),
    "steps are infinite": lambda d: d["optimizer_state"].update(steps=[math.inf] * 2),
    "generator of one": lambda d: d.update(generator=[1]),
    "huge history": lambda d: d["optimizer"]["arguments"].update(history_size=HUGE),
    "history of state": lambda d: d["optimizer_state"]["hyper_parameters"].update(
        history_size=HUGE
    ),
    "history of a group": lambda d: d["groups"][0]["own"].update(history_size=HUGE),
    "no groups": lambda d: d.update(groups=[]),
    "unknown parameter": lambda d: d["groups"][0].update(params=["x"]),
}


@pytest.mark.parametrize("name", BAD_TRAININGS)
def test_hostile_trainings(name: str, tmp_path: Path) -> None:
    trainer = fp.Trainer(nn.Sequential(nn.Dense(3, 1)), "mse", optim.LBFGS(history_size=2))
    trainer.save(tmp_path / "good")
    arrays, metadata = safetensors.read(tmp_path / "good")
    description = json.loads(metadata["description"])
    BAD_TRAININGS[name](description)
    path = forged(
        tmp_path / "hostile", json.dumps(description).replace("Infinity", "1e999"), arrays
    )
    tracemalloc.start()
    try:
        with pytest.raises(SavedFileError, match="hostile: "):
            fp.Trainer.resume(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000
