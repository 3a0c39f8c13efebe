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
from fastprop.saving.models import (
    bounded_by,
    describe_model,
    header_strings,
    read_header,
    rebuild_model,
)

if TYPE_CHECKING:
    from fastprop.data import Dataset
    from fastprop.nn import Module
    from fastprop.train.streams import StreamData
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
            "groups": _groups(trainer, encoder),
            "optimizer_state": encoder.encode(optimizer.state_dict(copy=False), "optimizer"),
            "loss": encoder.encode(trainer.loss, "$loss"),
            "metrics": encoder.encode(trainer.metrics, "$metrics"),
            "penalty": encoder.encode(trainer.regularization.penalties, "$penalty"),
            "constraint": encoder.encode(trainer.regularization.constraints, "$constraint"),
            "clip": encoder.encode(trainer.regularization.rules, "$clip"),
            "seed": trainer.seed,
            "checkpoint": trainer.checkpoint,
            "generator": list(generator.state),
            "epoch": trainer.epoch,
            "history": encoder.encode(trainer.history.state_dict(), "history"),
            "fit": None if fitting is None else encoder.encode(fitting.state_dict(), "fit"),
        }
        weights = {f"model.{k}": a for k, a in trainer.model.state_dict(copy=False).items()}
        return Snapshot(description, {**weights, **arguments, **encoder.arrays})


def _groups(trainer: Trainer, encoder: Encoder) -> list[dict[str, Any]]:
    """The optimizer's parameters by their names, ``None`` for one that is not the model's, with the
    hyper-parameters of their groups.
    """
    names = {id(p): name for name, p in trainer.model.named_parameters()}
    return [
        {
            "params": [names.get(id(p)) for p in group.params],
            "own": encoder.encode(group.own, f"$group.{i}"),
        }
        for i, group in enumerate(trainer.optimizer.param_groups)
    ]


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
    optimizer: Optimizer | None,
    again: Mapping[str, Any],
    threads: int | None,
    classes: Sequence[type],
) -> T:
    """The Trainer in a checkpoint; see ``Trainer.resume``.

    Args:
        cls: The Trainer's class.
        path: The file.
        model: Take this one, ``None`` to make it.
        optimizer: Likewise.
        again: Other arguments of the Trainer, ``None`` for those in the file.
        threads: The Trainer's.
        classes: The user's classes.
    """
    where = os.fspath(path)
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"Trainer.resume: optimizer must be an Optimizer, got {type_name(optimizer)}"
        )
    arrays, metadata = safetensors.read(path)
    described = read_header(where, metadata)
    described.setdefault("clip", [])  # files of 0.1 before there was clipping
    if described["kind"] != "training":
        raise SavedFileError(f"{where}: holds a model, no training; fastprop.load gives the model")
    decoder = Decoder(where, arrays, classes)
    try:
        model = rebuild_model(where, described, arrays, classes, model)
        with bounded_by(arrays):
            optimizer = _optimizer(where, described, decoder, model, optimizer)
        given = {
            name: decoder.make(described[name], f"the {name}", f"pass {name}=")
            if value is None
            else value
            for name, value in again.items()
        }
        own = {"seed": described["seed"], "checkpoint": described.get("checkpoint")}
        trainer = cls(model, optimizer=optimizer, threads=threads, **own, **given)
        with bounded_by(arrays):
            _restore(where, trainer, described, decoder)
        seed, counter = described["generator"]
        default_generator().state = seed, counter
    except SavedFileError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise SavedFileError(f"{where}: cannot be resumed: {error}") from error
    return trainer


def _optimizer(
    where: str,
    described: Mapping[str, Any],
    decoder: Decoder,
    model: Module,
    optimizer: Optimizer | None,
) -> Optimizer:
    """The optimizer, with the parameters that it had."""
    advice = "pass optimizer="
    if optimizer is None:
        optimizer = decoder.make(described["optimizer"], "the optimizer", advice)
    if not isinstance(optimizer, Optimizer):
        raise SavedFileError(f"{where}: damaged, the optimizer is a {type_name(optimizer)}")
    if optimizer.parameters:
        return optimizer
    named = dict(model.named_parameters())
    groups = []
    for group in described["groups"]:
        if None in group["params"]:
            raise SavedFileError(
                f"{where}: the optimizer had parameters that are not the model's: {advice} with "
                "them"
            )
        own = decoder.make(group["own"], "a group of the optimizer", f"{advice} with its groups")
        groups.append({"params": [named[name] for name in group["params"]], **own})
    optimizer.bind(groups if len(groups) > 1 or len(groups[0]) > 1 else groups[0]["params"])
    return optimizer


def _restore(where: str, trainer: Trainer, described: Mapping[str, Any], decoder: Decoder) -> None:
    """Put a Trainer where the checkpoint was taken."""
    state = decoder.make(described["optimizer_state"], "the optimizer's state", "")
    history = decoder.make(described["history"], "the history", "")
    fit = decoder.make(described["fit"], "the state of fit", "")
    trainer.optimizer.load_state_dict(state)
    trainer.epoch = int(described["epoch"])
    trainer.history.load_state_dict(history)
    if fit is not None:
        trainer.resume_point = ResumePoint(where, dict(fit), history)


def fingerprint(data: Dataset | StreamData) -> int:
    """A number that other data will hardly have: a checksum of some rows, of the first ones where
    data are read while they are used.
    """
    arrays = [*data.inputs, *data.targets, *([] if data.weight is None else [data.weight])]
    checksum = zlib.crc32(json.dumps([str((a.shape, a.dtype)) for a in arrays]).encode())
    for array in arrays:
        rows = np.unique(np.linspace(0, len(array) - 1, _SAMPLED_ROWS).astype(np.int64))
        checksum = zlib.crc32(np.ascontiguousarray(array[rows]).data, checksum)
    return checksum
