"""Models in files: ``fp.save(model, path)`` and ``fp.load(path)``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray

from fastprop._version import __version__
from fastprop.checks import most_allowed
from fastprop.nn import Module
from fastprop.random import BoundedGenerator, drawing_from
from fastprop.registry import type_name
from fastprop.saving import format as safetensors
from fastprop.saving.atomic import replacing
from fastprop.saving.describe import Decoder, Encoder
from fastprop.saving.errors import SavedFileError

FORMAT_VERSION = 1
# The first fastprop that reads files of this format version.
_NEEDS = "0.1.0"
_LEAST_NUMBERS = 4096  # widths are believed up to this, even where a file holds fewer numbers


def save(model: Module, path: str | os.PathLike[str]) -> None:
    """Write a model's parameters and its description to one safetensors file.

    The file is written whole or not at all: what was there before stays until then. Other programs
    find the parameters under the names of ``model.state_dict()``.

    Args:
        model: A module. One that is made of this library's modules can be rebuilt from the file
            alone, others with their classes; see :func:`load`.
        path: The file; ``model.safetensors`` is usual.

    Raises:
        TypeError: No module.
        OSError: The file cannot be written.
    """
    if not isinstance(model, Module):
        raise TypeError(f"save: expects a Module, got {type_name(model)}")
    encoder = Encoder()
    description = {"kind": "model", "model": describe_model(model, encoder)}
    arrays = {**model.state_dict(copy=False), **encoder.arrays}
    with replacing(path) as stream:
        safetensors.write(stream, arrays, header_strings(description))


def load(
    path: str | os.PathLike[str], *, classes: Sequence[type] = (), model: Module | None = None
) -> Module:
    """The model in a file that :func:`save`, ``Trainer.save`` or a checkpoint wrote.

    Nothing in a file is run as code. Modules of this library are made anew from the file; classes
    of your own have to be passed, or the whole model to load the parameters into.

    Args:
        path: The file.
        classes: Your classes of modules that the model is made of: they are called with the
            arguments that they were called with then.
        model: A model of the same structure: its parameters are set, and it is given back. So it
            also takes files of others, whose arrays have the names of ``model.state_dict()``.

    Raises:
        SavedFileError: It is no safetensors file, damaged, newer than this version, of another
            model, or needs `classes` or `model`.
        OSError: It cannot be read.
    """
    where = os.fspath(path)
    if model is not None and not isinstance(model, Module):
        raise TypeError(f"load: model must be a Module, got {type_name(model)}")
    arrays, metadata = safetensors.read(path)
    if model is not None and "fastprop" not in metadata:
        return _with_state(where, model, arrays)
    described = read_header(where, metadata)
    return rebuild_model(where, described, arrays, classes, model)


# -- what is in every file of ours ------------------------------------------------------------


def header_strings(description: Mapping[str, Any]) -> dict[str, str]:
    """The metadata of a file: versions, and a description as JSON."""
    return {
        "fastprop": __version__,
        "format_version": str(FORMAT_VERSION),
        "needs": _NEEDS,
        "description": json.dumps(description, separators=(",", ":"), allow_nan=False),
    }


def read_header(where: str, metadata: Mapping[str, str]) -> dict[str, Any]:
    """The description in a file of ours, from its metadata.

    Raises:
        SavedFileError: It is of others, from the future, or malformed.
    """
    if "fastprop" not in metadata:
        raise SavedFileError(
            f"{where}: holds arrays but no description of a model; to load them into one, call "
            "fastprop.load(path, model=model)"
        )
    version = metadata.get("format_version", "")
    if not (version.isascii() and version.isdigit() and len(version) < 10):
        raise SavedFileError(f"{where}: damaged, the format version is {version[:20]!r}")
    if int(version) > FORMAT_VERSION:
        raise SavedFileError(
            f"{where}: was written by fastprop {metadata['fastprop']} and needs fastprop "
            f"{metadata.get('needs', metadata['fastprop'])} or later; this is {__version__}"
        )
    try:
        description = json.loads(metadata["description"])
        if description["kind"] in ("model", "training") and isinstance(description["model"], dict):
            return dict(description)
    except (KeyError, TypeError, ValueError, RecursionError):
        pass
    raise SavedFileError(f"{where}: damaged, the description cannot be read")


# -- models -----------------------------------------------------------------------------------


def describe_model(model: Module, encoder: Encoder) -> dict[str, Any]:
    """What a model is made of, parameters aside, as JSON values."""
    state = model.state_dict(copy=False)
    named: dict[int, list[str]] = {}
    for name, array in state.items():
        named.setdefault(id(array), []).append(name)
    return {
        "module": encoder.encode(model, "$model"),  # no parameter can have a name like this
        "shared": [names for names in named.values() if len(names) > 1],
        "frozen": [n for n, p in model.named_parameters() if not p.requires_grad],
        "evaluating": [name for name, module in model.named_modules() if not module.training],
    }


def rebuild_model(
    where: str,
    description: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    classes: Sequence[type],
    model: Module | None,
) -> Module:
    """The model that :func:`describe_model` described, with its parameters.

    Args:
        where: The file; starts the messages.
        description: What :func:`read_header` gave.
        arrays: All arrays of the file.
        classes: The user's classes.
        model: Take this one instead of making one.
    """
    described = description["model"]
    prefix = "model." if description["kind"] == "training" else ""
    state = {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix) and not name.startswith("$")
    }
    try:
        if model is None:
            decoder = Decoder(where, arrays, classes)
            advice = "pass model=, a model of the same structure"
            with bounded_by(arrays):
                model = decoder.make(described["module"], "the model", advice)
            if not isinstance(model, Module):
                raise SavedFileError(f"{where}: describes {type_name(model)} instead of a model")
            _share(model, described["shared"])
        frozen, evaluating = set(described["frozen"]), set(described["evaluating"])
    except SavedFileError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise SavedFileError(f"{where}: damaged, the description is wrong: {error!r}") from error
    _with_state(where, model, state)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name not in frozen
    for name, module in model.named_modules():
        object.__setattr__(module, "training", name not in evaluating)
    return model


@contextmanager
def bounded_by(arrays: Mapping[str, NDArray[Any]]) -> Iterator[None]:
    """What is made inside the block is no larger than a file of these arrays accounts for.

    It draws from a generator of its own, too.
    """
    numbers = max(sum(array.size for array in arrays.values()), _LEAST_NUMBERS)
    token = most_allowed.set(numbers)
    try:
        with drawing_from(BoundedGenerator(numbers)):
            yield
    finally:
        most_allowed.reset(token)


def _share(model: Module, groups: Sequence[Sequence[str]]) -> None:
    """Make parameters that were one object one object again."""
    modules = dict(model.named_modules(remove_duplicate=False))

    def owner(name: str) -> tuple[Module, str]:
        path, _, attribute = name.rpartition(".")
        return modules[path], attribute

    for first, *others in groups:
        shared = getattr(*owner(first))
        for name in others:
            if getattr(*owner(name)) is not shared:
                setattr(*owner(name), shared)


def _with_state(where: str, model: Module, state: Mapping[str, NDArray[Any]]) -> Module:
    try:
        mine = model.state_dict(copy=False)
        for name, array in state.items():
            if name in mine and mine[name].dtype != array.dtype:
                raise ValueError(f"{name!r} is {array.dtype}, the model's is {mine[name].dtype}")
        model.load_state_dict(state)
    except (ValueError, TypeError) as error:
        raise SavedFileError(f"{where}: does not fit {type_name(model)}: {error}") from error
    return model
