"""Modules made of modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, overload

from fastprop.nn.module import Module
from fastprop.registry import type_name


class _Numbered(Module):
    """Modules under the names "0", "1", …"""

    def __init__(self, modules: Iterable[Module]) -> None:
        super().__init__()
        self.extend(modules)

    def append(self, module: Module) -> None:
        """Add a module at the end."""
        self._check(len(self), module)
        setattr(self, str(len(self)), module)

    def extend(self, modules: Iterable[Module]) -> None:
        """Add several modules at the end; all are checked first."""
        new = list(modules)
        for i, module in enumerate(new):
            self._check(len(self) + i, module)
        for module in new:
            self.append(module)

    def config(self) -> dict[str, Any]:
        """The modules that it holds now; those of a subclass that makes its own are its matter."""
        if type(self).__init__ in (Sequential.__init__, ModuleList.__init__):
            return {"modules": tuple(self)}
        return super().config()

    def _check(self, index: int, module: Any) -> None:
        if isinstance(module, Module):
            return
        hint = ""
        if isinstance(module, type) and issubclass(module, Module):
            hint = f"; make one with {module.__name__}(...)"
        elif isinstance(module, list | tuple):
            hint = f"; write {type_name(self)}(*modules)"
        elif callable(module):
            hint = "; put the function into the forward of a Module"
        got = module.__name__ if isinstance(module, type) else type_name(module)
        raise TypeError(f"{type_name(self)}: item {index} must be a Module, got {got}{hint}")

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def _at(self, index: int) -> Module:
        try:
            return list(self._modules.values())[index]
        except IndexError:
            raise IndexError(
                f"{type_name(self)}: index {index} is out of range for {len(self)} modules"
            ) from None


class Sequential(_Numbered):
    r"""Modules one after the other: :math:`y = f_n(\dots f_2(f_1(x)))`.

    Args:
        *modules: The modules; none at all gives the identity.

    ``model[1]`` is the second one, ``model[:2]`` a Sequential that shares the first two, and the
    parameters are called ``"0.weight"``, ``"0.bias"``, ``"1.weight"``, …

    Raises:
        TypeError: An argument is no Module.
    """

    def __init__(self, *modules: Module) -> None:
        super().__init__(modules)

    def forward(self, x: Any) -> Any:
        for module in self:
            x = module(x)
        return x

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Module:
        if isinstance(index, slice):
            return Sequential(*list(self)[index])
        return self._at(index)


class ModuleList(_Numbered):
    """A list whose modules are found by the module that it is assigned to.

    Args:
        modules: The first items. :meth:`append` and :meth:`extend` add more.

    It has no ``forward``: iterate over it in your own.

    Raises:
        TypeError: An item is no Module.
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__(modules)

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> ModuleList: ...
    def __getitem__(self, index: int | slice) -> Module:
        if isinstance(index, slice):
            return ModuleList(list(self)[index])
        return self._at(index)

    def forward(self, *inputs: Any, **options: Any) -> Any:
        raise TypeError("ModuleList: is no function of its own; call its modules in your forward")
