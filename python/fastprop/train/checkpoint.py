"""What a training is at a moment: taken down, written to a file, and brought back."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastprop.graph.changes import CHANGES
from fastprop.optim import Optimizer
from fastprop.random import default_generator
from fastprop.registry import type_name
from fastprop.saving import format as safetensors
from fastprop.saving.atomic import replacing
from fastprop.saving.describe import Decoder, Encoder
from fastprop.saving.errors import SavedFileError
from fastprop.saving.models import describe_model, header_strings, read_header, rebuild_model

if TYPE_CHECKING:
    from fastprop.data import Dataset
    from fastprop.nn import Module
    from fastprop.train.trainer import Trainer

T = TypeVar("T", bound="Trainer")
Arrays = Mapping[str, NDArray[Any]]

_SAMPLED_ROWS = 64


class Snapshot(NamedTuple):
    """A training at a moment.

    Attributes:
        description: JSON values of its own: nothing that training goes on to change.
        arrays: The arrays themselves, which training goes on to change.
    """

    description: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


class Photographer:
    """Takes Snapshots of a Trainer; what a model is made of is looked at when that has changed."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._seen = -1
        self._model: tuple[dict[str, Any], dict[str, NDArray[Any]]] = ({}, {})

    def take(self) -> Snapshot:
        trainer = self._trainer
        encoder = Encoder()
        if self._seen != CHANGES.latest:
            own = Encoder()
            self._model = describe_model(trainer.model, own), own.arrays
            self._seen = CHANGES.latest
        described, arguments = self._model
        optimizer, fitting = trainer.optimizer, trainer.fitting
        generator = default_generator()
        description = {
            "kind": "training",
            "model": described,
            "optimizer": encoder.encode(optimizer, "$optimizer"),
            "trained": _trained(trainer),
            "optimizer_state": encoder.encode(optimizer.state_dict(copy=False), "optimizer"),
            "loss": encoder.encode(trainer.loss, "$loss"),
            "metrics": encoder.encode(trainer.metrics, "$metrics"),
            "seed": trainer.seed,
            "generator": list(generator.state),
            "epoch": trainer.epoch,
            "history": encoder.encode(trainer.history.state_dict(), "history"),
            "fit": None if fitting is None else encoder.encode(fitting.state_dict(), "fit"),
        }
        weights = {f"model.{k}": a for k, a in trainer.model.state_dict(copy=False).items()}
        return Snapshot(description, {**weights, **arguments, **encoder.arrays})


def _trained(trainer: Trainer) -> list[str] | None:
    """Names of the parameters that the optimizer has; ``None`` if some are not the model's."""
    names = {id(p): name for name, p in trainer.model.named_parameters()}
    found = [names.get(id(p), "") for p in trainer.optimizer.parameters]
    return found if all(found) else None


def write_snapshot(path: str | os.PathLike[str], snapshot: Snapshot) -> None:
    """Write it whole or not at all.

    Raises:
        OSError: The file cannot be written.
    """
    with replacing(path) as stream:
        safetensors.write(stream, snapshot.arrays, header_strings(snapshot.description))


class ResumePoint(NamedTuple):
    """Where a ``fit`` was when its checkpoint was written.

    Attributes:
        path: The file.
        state: What ``Fit.state_dict`` gave.
        history: What ``History.state_dict`` gave.
    """

    path: str
    state: dict[str, Any]
    history: dict[str, Any]

    def __repr__(self) -> str:
        return f"ResumePoint({self.path!r}, epochs_done={self.state['epochs_done']})"


def resume(
    cls: type[T],
    path: str | os.PathLike[str],
    model: Module | None,
    loss: Any,
    optimizer: Optimizer | None,
    metrics: Sequence[Any] | None,
    threads: int | None,
    classes: Sequence[type],
) -> T:
    """The Trainer in a checkpoint; see ``Trainer.resume``."""
    where = os.fspath(path)
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"Trainer.resume: optimizer must be an Optimizer, got {type_name(optimizer)}"
        )
    arrays, metadata = safetensors.read(path)
    described = read_header(where, metadata)
    if described["kind"] != "training":
        raise SavedFileError(f"{where}: holds a model, no training; fastprop.load gives the model")
    decoder = Decoder(where, arrays, classes)
    try:
        model = rebuild_model(where, described, arrays, classes, model)
        if optimizer is None:
            optimizer = decoder.make(described["optimizer"], "the optimizer", "pass optimizer=")
        if loss is None:
            loss = decoder.make(described["loss"], "the loss", "pass loss=")
        if metrics is None:
            metrics = decoder.make(described["metrics"], "one of metrics", "pass metrics=")
        if not isinstance(optimizer, Optimizer):
            raise SavedFileError(f"{where}: damaged, the optimizer is a {type_name(optimizer)}")
        _bind(where, optimizer, model, described["trained"])
        trainer = cls(model, loss, optimizer, metrics or (), described["seed"], threads)
        optimizer.load_state_dict(
            decoder.make(described["optimizer_state"], "the optimizer's state", "")
        )
        generator = tuple(described["generator"])
        trainer.epoch = int(described["epoch"])
        history = decoder.make(described["history"], "the history", "")
        trainer.history.load_state_dict(history)
        state = decoder.make(described["fit"], "the state of fit", "")
        if state is not None:
            trainer.resume_point = ResumePoint(where, dict(state), history)
        default_generator().state = generator
    except SavedFileError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise SavedFileError(f"{where}: cannot be resumed: {error}") from error
    return trainer


def _bind(where: str, optimizer: Optimizer, model: Module, trained: Sequence[str] | None) -> None:
    """Give the optimizer the parameters that it had."""
    if optimizer.parameters:
        return
    if trained is None:
        raise SavedFileError(
            f"{where}: the optimizer had parameters that are not the model's: pass optimizer= "
            "with them"
        )
    named = dict(model.named_parameters())
    optimizer.bind([named[name] for name in trained])


def fingerprint(data: Dataset) -> int:
    """A number that other data will hardly have: a checksum of some rows."""
    checksum = zlib.crc32(json.dumps([str((a.shape, a.dtype)) for a in data.sources]).encode())
    rows = np.linspace(0, len(data.sources[0]) - 1, _SAMPLED_ROWS).astype(np.int64)
    for source in data.sources:
        checksum = zlib.crc32(np.ascontiguousarray(source[np.unique(rows)]).data, checksum)
    return checksum
