"""Module: parameters and a function on Tensors."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastprop._arguments import hint_constructor
from fastprop.checks import as_array
from fastprop.graph.changes import Table, changed
from fastprop.graph.parameter import Buffer, Parameter
from fastprop.graph.scope import Scope, scoped
from fastprop.graph.tensor import Tensor
from fastprop.graph.trace import current_trace, forget_gradient
from fastprop.nn.assignment import check_assignment, decides
from fastprop.registry import construct, type_name

M = TypeVar("M", bound="Module")

_STATE = ("_parameters", "_buffers")
_TABLES = (*_STATE, "_modules")
_OWN = (*_TABLES, "training")


class LoadResult(NamedTuple):
    """What :meth:`Module.load_state_dict` passed over."""

    missing: list[str]
    unexpected: list[str]


class Module:
    r"""Parameters, other modules, and a function on Tensors that uses them.

    Derive from it, call ``super().__init__()``, assign Parameters, Buffers and modules to
    attributes, and write :meth:`forward`. Everything assigned is found by :meth:`parameters` and
    :meth:`state_dict` under the attribute's name; a module used in two places is shared, and its
    parameters count once.

    >>> class Residual(nn.Module):
    ...     def __init__(self, width):
    ...         super().__init__()
    ...         self.inner = nn.Dense(width, width, activation="tanh")
    ...
    ...     def forward(self, x):
    ...         return x + self.inner(x)

    Attributes:
        training: True unless :meth:`eval` was called; modules that behave differently then look at
            it.
    """

    training: bool
    _parameters: dict[str, Parameter]
    _buffers: dict[str, Buffer]
    _modules: dict[str, Module]
    _made_with: tuple[tuple[Any, ...], dict[str, Any]]
    _not_saved: ClassVar[tuple[str, ...]] = ()
    """Arguments that only say how parameters start."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        hint_constructor(cls)

    def __new__(cls: type[M], *arguments: Any, **options: Any) -> M:
        made: M = object.__new__(cls)
        object.__setattr__(made, "_made_with", (arguments, options))
        return made

    def __init__(self) -> None:
        own = self.__dict__
        for table in _TABLES:
            own[table] = Table()
        own["training"] = True
        changed()

    # -- what users write and call ---

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Outputs for the inputs; subclasses define it.

        Returns:
            A Tensor, or a tuple of Tensors.
        """
        raise NotImplementedError(f"{type_name(self)}: define forward(self, ...)")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """:meth:`forward`; arrays among the arguments become Tensors of the parameters' dtype.

        Raises:
            TypeError: An array is complex or holds objects or strings.
            ValueError: The inputs do not fit the module.
        """
        if not (len(inputs) == 1 and isinstance(inputs[0], Tensor)):
            inputs = tuple([self._as_input(value) for value in inputs])
        if options:
            options = {name: self._as_input(value) for name, value in options.items()}
        trace = current_trace()
        if trace is None:
            return self.forward(*inputs, **options)
        trace.modes[id(self)] = (self, self.training)
        with scoped(Scope(self, "forward")):
            return self.forward(*inputs, **options)

    def _as_input(self, value: Any) -> Any:
        if isinstance(value, Tensor) or not hasattr(value, "__array__"):
            return value
        return Tensor(_real_array(type_name(self), value), dtype=self.parameter_dtype())

    # -- registration ---

    # Every change of the tables is counted (graph/changes.py).

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _TABLES:
            object.__setattr__(self, name, Table(value))
            changed()
            return
        own = self.__dict__
        if name in own and name != "training" and decides(own[name], value):
            changed()
        kept_in = ""
        if isinstance(value, _KEPT):
            kept_in = next(t for kind, t in _KINDS.items() if isinstance(value, kind))
        if name in own or isinstance(value, _CONTAINERS):  # else there is nothing to replace
            if kept_in in ("", "_modules"):
                check_assignment(self, name, value)
            self._forget(name, but=kept_in)
        if kept_in:
            getattr(self, kept_in)[name] = value
        object.__setattr__(self, name, value)

    def _forget(self, name: str, but: str = "") -> None:
        own = self.__dict__
        for table in _TABLES:
            if table != but and name in own.get(table, ()):
                del own[table][name]

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        self._forget(name)

    def __getattr__(self, name: str) -> Any:
        # Only reached when the attribute does not exist.
        if name in _OWN:
            raise RuntimeError(
                f"{type_name(self)}.__init__: call super().__init__() before assigning parameters "
                "or modules"
            )
        raise AttributeError(f"{type_name(self)!r} object has no attribute {name!r}")

    # -- what is inside ---

    def named_modules(
        self, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module (its name is ``prefix``) and all modules below.

        Args:
            prefix: Name of this module.
            remove_duplicate: Each once, else under each of its names.
        """
        seen: set[int] = set()
        for name, module in self._walk(prefix):
            if not remove_duplicate or id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def modules(self) -> Iterator[Module]:
        """This module and all modules below, each once."""
        return (module for _, module in self.named_modules())

    def children(self) -> Iterator[Module]:
        """The modules assigned to this module itself."""
        return iter(self._modules.values())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Names such as ``"0.weight"`` and the parameters, each once, in the order of assignment.

        Also gives ``parameter.name`` the name seen from the outermost module that was asked.
        """
        seen: set[int] = set()
        for prefix, module in self._walk(""):
            for own, parameter in module._parameters.items():
                if id(parameter) in seen:
                    continue
                seen.add(id(parameter))
                name, known = _join(prefix, own), parameter.name
                if name != known and (not known or name.endswith(f".{known}")):
                    parameter.name = name
                yield name, parameter

    def parameters(self) -> Iterator[Parameter]:
        """The parameters of this module and of all below, each once."""
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """Names such as ``"1.running_mean"`` and the Buffers, each once."""
        seen: set[int] = set()
        for name, buffer in self._walk_tables("_buffers"):
            if id(buffer) not in seen:
                seen.add(id(buffer))
                buffer.name = buffer.name or name
                yield name, buffer

    def buffers(self) -> Iterator[Buffer]:
        """The Buffers of this module and of all below, each once."""
        return (buffer for _, buffer in self.named_buffers())

    def count_parameters(self) -> int:
        """How many numbers training changes."""
        return sum(parameter.size for parameter in self.parameters())

    def parameter_dtype(self) -> np.dtype[Any]:
        """dtype of the first parameter, else of the first float Buffer; float32 without either."""
        for parameter in self.parameters():
            return parameter.dtype
        for buffer in self.buffers():
            if buffer.dtype.kind == "f":
                return buffer.dtype
        return np.dtype(np.float32)

    def _walk(self, prefix: str) -> Iterator[tuple[str, Module]]:
        """Every path to every module. A module inside itself is left out where the path closes."""
        stack: list[tuple[str, Module, tuple[int, ...]]] = [(prefix, self, ())]
        while stack:
            name, module, above = stack.pop()
            if id(module) in above:
                continue
            yield name, module
            if module._modules:
                above = (*above, id(module))
                below = [(_join(name, n), item, above) for n, item in module._modules.items()]
                stack.extend(reversed(below))

    def _walk_tables(self, *tables: str) -> Iterator[tuple[str, Any]]:
        """Every path to everything that the tables hold, module by module."""
        for prefix, module in self._walk(""):
            for table in tables:
                for name, value in getattr(module, table).items():
                    yield _join(prefix, name), value

    # -- state ---

    def state_dict(self, copy: bool = True) -> dict[str, NDArray[Any]]:
        """All parameters and Buffers by name; a shared one has each of its names.

        Args:
            copy: Copies; else the arrays themselves, which training goes on to change.
        """
        arrays = {name: tensor.data for name, tensor in self._walk_tables(*_STATE)}
        return {name: a.copy() for name, a in arrays.items()} if copy else arrays

    def load_state_dict(self, state: Mapping[str, ArrayLike], strict: bool = True) -> LoadResult:
        """Set parameters and Buffers by name. All are checked before the first one is set.

        Args:
            state: What :meth:`state_dict` gave, or arrays under the same names.
            strict: Every name must be there, and no other; else what does not match is passed over.

        Returns:
            The names that were missing or unexpected (both empty if ``strict``).

        Raises:
            ValueError: Missing or unexpected names, or wrong shapes; the message lists them all.
            TypeError: `state` is no mapping, or an array does not hold real numbers.
        """
        where = f"{type_name(self)}.load_state_dict"
        if not isinstance(state, Mapping):
            raise TypeError(
                f"{where}: expects a mapping of names to arrays, got {type_name(state)}"
            )
        mine = dict(self._walk_tables(*_STATE))
        result = LoadResult(
            [name for name in mine if name not in state],
            [str(name) for name in state if name not in mine],
        )
        problems = []
        if strict:
            problems += [f"missing {name!r}" for name in result.missing]
            problems += [f"unexpected {name!r}" for name in result.unexpected]
        arrays = {
            name: _real_array(f"{where}: {name!r}", state[name]) for name in mine if name in state
        }
        problems += [
            f"{name!r} has shape {array.shape}, expected {mine[name].shape}"
            for name, array in arrays.items()
            if array.shape != mine[name].shape
        ]
        if problems:
            raise ValueError(f"{where}: nothing was loaded: {'; '.join(problems)}")
        converted = {name: array.astype(mine[name].dtype) for name, array in arrays.items()}
        for name, array in converted.items():
            mine[name].data = array
        return result

    def train(self: M, mode: bool = True) -> M:
        """Set ``training`` here and in all modules below."""
        for module in self.modules():
            object.__setattr__(module, "training", bool(mode))
        return self

    def eval(self: M) -> M:
        """``train(False)``."""
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Train the parameters of this module and of all below, or freeze them."""
        for parameter in self.parameters():
            parameter.requires_grad = bool(requires_grad)
        return self

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            forget_gradient(parameter)

    def config(self) -> dict[str, Any]:
        """The arguments that make a module like this one, by name; parameters are saved apart.

        They are those that the constructor was given, or its defaults. A module of this library
        that has an attribute of an argument's name gives that, as it may have been changed since.
        """
        given, options = self._made_with
        bound = inspect.signature(type(self).__init__).bind(self, *given, **options)
        bound.apply_defaults()
        found = dict(list(bound.arguments.items())[1:])
        if type(self).__module__.partition(".")[0] == __name__.partition(".")[0]:
            now = {name: self.__dict__.get(name, value) for name, value in found.items()}
            found.update({k: v for k, v in now.items() if not isinstance(v, Tensor)})
        return {name: value for name, value in found.items() if name not in self._not_saved}

    @classmethod
    def from_config(cls: type[M], config: Mapping[str, Any]) -> M:
        """A module made with the arguments that :meth:`config` gave."""
        made: M = construct(cls, config)
        return made

    # -- printing ---

    def extra_repr(self) -> str:
        """Arguments to show in ``repr``, such as ``"64, 128, activation='relu'"``."""
        return ""

    def __repr__(self) -> str:
        lines = self._repr_lines("")
        lines[0] += f"  # {_count(self)}"
        return "\n".join(lines)

    def _repr_lines(self, label: str) -> list[str]:
        head = f"{label}{type_name(self)}({self.extra_repr()}"
        if not self._modules:
            return [f"{head})"]
        lines = [head]
        for name, module in self._modules.items():
            inner = module._repr_lines(f"({name}): ")
            if module._parameters or module._modules:
                inner[0] += f"  # {_count(module)}"
            lines += [f"  {line}" for line in inner]
        return [*lines, ")"]


_KINDS: dict[type, str] = {Parameter: "_parameters", Buffer: "_buffers", Module: "_modules"}
_KEPT = tuple(_KINDS)
_CONTAINERS = (list, tuple, dict)


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _count(module: Module) -> str:
    count = module.count_parameters()
    return f"{count:,} parameter{'' if count == 1 else 's'}"


def _real_array(where: str, value: Any) -> NDArray[Any]:
    array = as_array(f"{where}: the array", value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{where}: expects real numbers, got dtype {array.dtype}")
    return array
