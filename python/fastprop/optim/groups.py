"""Parameter groups: some parameters, and the hyper-parameters that they have for themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from fastprop.graph.parameter import Parameter
from fastprop.graph.tensor import Tensor
from fastprop.registry import type_name

if TYPE_CHECKING:
    from fastprop.optim.optimizer import Optimizer

Parameters = Iterable[Tensor] | Iterable[Mapping[str, Any]]


class ParamGroup(Mapping[str, Any]):
    """Parameters and their hyper-parameters, read and assigned as in PyTorch: ``group["lr"]``.

    A hyper-parameter that was not given for the group is the optimizer's, also if that is changed
    later.

    Attributes:
        params: The group's Tensors.
        own: The hyper-parameters that the group has for itself.
    """

    def __init__(self, optimizer: Optimizer, params: list[Tensor], own: dict[str, Any]) -> None:
        self._optimizer = optimizer
        self.params = params
        self.own = own

    def __getitem__(self, name: str) -> Any:
        if name == "params":
            return self.params
        return self.own[name] if name in self.own else self._optimizer.defaults[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._optimizer.change(name, value, self.own)

    def __iter__(self) -> Iterator[str]:
        return iter(("params", *self._optimizer.hyper_parameters))

    def __len__(self) -> int:
        return 1 + len(self._optimizer.hyper_parameters)

    def __repr__(self) -> str:
        count = f"{len(self.params)} parameter{'s' if len(self.params) != 1 else ''}"
        return ", ".join([count, *(f"{key}={value!r}" for key, value in self.own.items())])


def split_groups(where: str, params: Any) -> list[tuple[list[Tensor], dict[str, Any]]]:
    """Parameters and own hyper-parameters of every group; a list of Tensors is one group.

    Raises:
        TypeError: Something that is neither Tensors nor groups, or has no gradient.
        ValueError: No parameters, or one of them twice; a group without ``"params"``.
    """
    if isinstance(params, Tensor):
        raise TypeError(f"{where}: params must be a list of Tensors, got one; write [tensor]")
    if callable(getattr(params, "parameters", None)):
        raise TypeError(
            f"{where}: params must be a list of Tensors, got {type_name(params)}; "
            "write model.parameters()"
        )
    if not isinstance(params, Iterable) or isinstance(params, str | Mapping):
        raise TypeError(f"{where}: params must be a list of Tensors, got {type_name(params)}")
    entries = list(params)
    seen: set[int] = set()
    if not any(isinstance(entry, Mapping) for entry in entries):
        _check_parameters(where, "params", entries, seen)
        return [(entries, {})]
    groups = []
    for i, entry in enumerate(entries):
        label = f"params[{i}]"
        if not isinstance(entry, Mapping):
            raise TypeError(
                f"{where}: {label} must be a dict as the others, got {type_name(entry)}"
            )
        if "params" not in entry:
            raise ValueError(f'{where}: {label} needs the key "params", got {sorted(entry)}')
        own = {str(key): value for key, value in entry.items() if key != "params"}
        inner = entry["params"]
        tensors = [inner] if isinstance(inner, Tensor) else inner
        if not isinstance(tensors, Iterable) or isinstance(tensors, str | Mapping):
            raise TypeError(
                f'{where}: {label}["params"] must be a list of Tensors, got {type_name(tensors)}'
            )
        tensors = list(tensors)
        _check_parameters(where, f'{label}["params"]', tensors, seen)
        groups.append((tensors, own))
    return groups


def _check_parameters(where: str, label: str, parameters: list[Any], seen: set[int]) -> None:
    if not parameters:
        named = "" if label == "params" else f" in {label}"
        raise ValueError(f"{where}: got no parameters{named}")
    for i, parameter in enumerate(parameters):
        if not isinstance(parameter, Tensor):
            raise TypeError(f"{where}: {label}[{i}] must be a Tensor, got {type_name(parameter)}")
        # A frozen Parameter may be thawed later.
        trained = parameter.requires_grad or isinstance(parameter, Parameter)
        if not trained or parameter.op is not None:
            raise TypeError(
                f"{where}: {label}[{i}] of shape {parameter.shape} is not a parameter: "
                "it was computed, or does not require a gradient"
            )
        if id(parameter) in seen:
            raise ValueError(f"{where}: {label}[{i}] of shape {parameter.shape} is there twice")
        seen.add(id(parameter))
