"""Functions made from functions: value and gradient, Jacobian, Hessian, products with them.

Each call differentiates by *places* of its own: an argument that is being differentiated further
out enters through the op `alias`, whose derivative is 1, so calls nest and each level sees its own
variable. Reverse mode is the only mode; a product with the Jacobian from the right comes from two
passes back, since dx = Jᵀ u is linear in u and its derivative by u is J (J. Townsend, "A new trick
for calculating Jacobian vector products", 2017).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastprop.graph.autodiff import depends_on_others, grad
from fastprop.graph.op import grad_mode, is_grad_enabled
from fastprop.graph.ops_arrange import stack
from fastprop.graph.ops_reduction import broadcast_to
from fastprop.graph.ops_reduction import sum as reduce_sum
from fastprop.graph.ops_shape import alias, reshape
from fastprop.graph.tensor import Tensor, as_tensor
from fastprop.registry import type_name

Function = Callable[..., Any]


def _check_function(name: str, fn: Any) -> None:
    if not callable(fn):
        raise TypeError(f"{name}: expects a function, got {type_name(fn)}")


def _place(name: str, position: int, value: Any) -> Tensor:
    """An argument as a Tensor to differentiate by, connected to what it came from."""
    x = as_tensor(value)
    if x.dtype.kind != "f":
        raise TypeError(
            f"{name}: argument {position} is {x.dtype}; derivatives are by float32 or float64"
        )
    if x.symbolic or (x.requires_grad and is_grad_enabled()):
        y = alias(x)
        y._requires_grad = True
        return y
    return Tensor(x.data, requires_grad=True)


def _places(name: str, args: Sequence[Any], argnums: Sequence[int]) -> tuple[list[Any], list[Any]]:
    """The arguments with places for the differentiated ones, and these places."""
    for i in argnums:
        if not -len(args) <= i < len(args):
            raise ValueError(f"{name}: argnums has {i}, the function got {len(args)} arguments")
    chosen = [i % len(args) for i in argnums]
    full = [_place(name, i, a) if i in chosen else a for i, a in enumerate(args)]
    return full, [full[i] for i in chosen]


def _value(name: str, value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: the function must return a Tensor, got {type(value).__name__}")
    return value


def _gradients(y: Tensor, places: Sequence[Tensor], seed: Tensor | None, record: bool) -> list[Any]:
    """Derivatives by the places; zeros by those that `y` does not depend on."""
    if not y.requires_grad:
        return [_zeros(x) for x in places]
    found = grad(y, places, seed, create_graph=record, allow_unused=True)
    return [_zeros(x) if d is None else d for x, d in zip(places, found, strict=True)]


def _zeros(x: Tensor) -> Tensor:
    return broadcast_to(Tensor(np.zeros((), x.dtype)), x)


def _constant(x: Tensor, record: bool) -> Tensor:
    """A result without history, unless something outside is being differentiated by."""
    return x if record else x.detach()


def value_and_grad(
    fn: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., tuple[Any, Any]]:
    """A function that gives the value of `fn` and its gradient.

    Args:
        fn: Function of arrays or Tensors with a scalar Tensor as its value.
        argnums: Position of the argument to differentiate by, or several.
        has_aux: `fn` gives ``(value, something else)``, which is handed on as it is.

    Returns:
        A function ``(*args, **kwargs) -> (value, gradient)``, with ``(value, aux)`` in the place of
        the value if `has_aux`; one gradient, or a tuple of them as `argnums` is. They carry history
        if an argument, or something else that `fn` used, requires a gradient.

    Raises:
        TypeError: An argument to differentiate by is no float, or the value is no Tensor.
        ValueError: The value is not a scalar.
    """
    return _value_and_grad("value_and_grad", fn, argnums, has_aux)


def _value_and_grad(
    name: str, fn: Function, argnums: int | Sequence[int], has_aux: bool = False
) -> Callable[..., tuple[Any, Any]]:
    _check_function(name, fn)
    single = isinstance(argnums, int)
    wanted = [argnums] if isinstance(argnums, int) else list(argnums)

    def function(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        with grad_mode(True):
            full, places = _places(name, args, wanted)
            result = fn(*full, **kwargs)
        value, aux = result if has_aux else (result, None)
        y = _value(name, value)
        if y.size != 1:
            raise ValueError(f"{name}: the value must be a scalar, got shape {y.shape}")
        record = is_grad_enabled() and depends_on_others(y, places)
        gradients = _gradients(y, places, None, record)
        y = _constant(y, record)
        return (y, aux) if has_aux else y, gradients[0] if single else tuple(gradients)

    return function


def vjp(fn: Function, *primals: ArrayLike) -> tuple[Tensor, Callable[..., Any]]:
    r"""The value of a function, and the product of a vector with its Jacobian.

    Args:
        fn: Function of arrays or Tensors with a Tensor as its value.
        primals: Where to evaluate it.

    Returns:
        ``(y, pull)``, where ``pull(u)`` is :math:`J^\top u`, one Tensor for each of the primals (a
        tuple if there are several). It may be called again and again.

    Raises:
        TypeError: A primal is no float, or the value is no Tensor.
    """
    _check_function("vjp", fn)
    with grad_mode(True):
        places, _ = _places("vjp", primals, range(len(primals)))
        y = _value("vjp", fn(*places))
    record = is_grad_enabled() and depends_on_others(y, places)

    def pull(cotangent: ArrayLike | Tensor) -> Any:
        u = _vector("vjp", "cotangent", cotangent, y)
        with grad_mode(True):
            found = _gradients(y, places, u, record or u.requires_grad)
        return found[0] if len(found) == 1 else tuple(found)

    return _constant(y, record), pull


def _vector(name: str, what: str, value: Any, like: Tensor) -> Tensor:
    u = as_tensor(value, like=like)
    if u.shape != like.shape or u.dtype != like.dtype:
        raise ValueError(
            f"{name}: {what} is {u.dtype} {u.shape}, expected {like.dtype} {like.shape}"
        )
    return u


def _aligned(name: str, primals: Any, vectors: Any) -> tuple[list[Any], list[Any]]:
    if not isinstance(primals, tuple | list) or not isinstance(vectors, tuple | list):
        raise TypeError(f"{name}: primals and vectors must be tuples, one entry for each argument")
    if len(primals) != len(vectors):
        raise ValueError(f"{name}: {len(primals)} primals but {len(vectors)} vectors")
    return list(primals), list(vectors)


def jvp(fn: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Tensor, Tensor]:
    r"""The value of a function, and the product of its Jacobian with a vector.

    .. math:: \dot y = J \dot x, \qquad \text{as } \frac{d}{du} \langle J^\top u, \dot x \rangle

    Args:
        fn: Function of arrays or Tensors with a Tensor as its value.
        primals: Its arguments, a tuple.
        tangents: One vector for each of them, of its shape.

    Returns:
        ``(y, dy)``. Costs two passes back: about three times the function.

    Raises:
        TypeError: A primal is no float, the value is no Tensor, or no tuples are given.
        ValueError: The tangents have other shapes.
    """
    _check_function("jvp", fn)
    points, directions = _aligned("jvp", primals, tangents)
    with grad_mode(True):
        places, _ = _places("jvp", points, range(len(points)))
        v = [_vector("jvp", "tangent", t, x) for t, x in zip(directions, places, strict=True)]
        y = _value("jvp", fn(*places))
    record = is_grad_enabled() and (depends_on_others(y, places) or any(t.requires_grad for t in v))
    return _constant(y, record), _constant(_push(y, places, v), record)


def _push(y: Tensor, places: Sequence[Tensor], vectors: Sequence[Tensor]) -> Tensor:
    """The Jacobian of `y` by the places times vectors, as the derivative of a pass back."""
    with grad_mode(True):
        u = Tensor(np.zeros(y.shape, y.dtype), requires_grad=True)
        pulled = _gradients(y, places, u, True)
        live = [(g, t) for g, t in zip(pulled, vectors, strict=True) if g.requires_grad]
        if not live:
            return _zeros(y)
        d = grad([g for g, _ in live], u, [t for _, t in live], create_graph=True,
                 allow_unused=True)  # fmt: skip
    return _zeros(y) if d is None else d


def hvp(fn: Function, primals: Sequence[Any], vectors: Sequence[Any]) -> tuple[Tensor, Any]:
    r"""The value of a scalar function, and the product of its Hessian with a vector.

    Args:
        fn: Function of arrays or Tensors with a scalar Tensor as its value.
        primals: Its arguments, a tuple.
        vectors: One vector for each of them, of its shape.

    Returns:
        ``(y, H v)``, the second a Tensor or, for several arguments, a tuple. The gradient is
        differentiated along the vector, :math:`H v = \nabla \langle \nabla f, v \rangle`, at about
        four times the cost of the function; the Hessian itself is never made.

    Raises:
        TypeError: A primal is no float, the value is no Tensor, or no tuples are given.
        ValueError: The vectors have other shapes, or the value is not a scalar.
    """
    _check_function("hvp", fn)
    points, directions = _aligned("hvp", primals, vectors)
    with grad_mode(True):
        places, _ = _places("hvp", points, range(len(points)))
        v = [_vector("hvp", "vector", t, x) for t, x in zip(directions, places, strict=True)]
        y = _value("hvp", fn(*places))
        if y.size != 1:
            raise ValueError(f"hvp: the value must be a scalar, got shape {y.shape}")
        record = depends_on_others(y, places) or any(t.requires_grad for t in v)
        first = _gradients(y, places, None, True)
        slope = reduce_sum(first[0] * v[0])
        for g, t in zip(first[1:], v[1:], strict=True):
            slope = slope + reduce_sum(g * t)
    record = record and is_grad_enabled()
    found = _gradients(slope, places, None, record)
    return _constant(y, record), found[0] if len(found) == 1 else tuple(found)


def jacobian(fn: Function, argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    r"""A function that gives the Jacobian of `fn`, :math:`J_{ij} = \partial y_i / \partial x_j`.

    One pass back for each element of the value, or two for the whole and one for each element of
    the argument, whichever are fewer.

    Args:
        fn: Function of arrays or Tensors with a Tensor as its value.
        argnums: Position of the argument to differentiate by, or several.

    Returns:
        A function of the same arguments that gives a Tensor ``[*y.shape, *x.shape]``, or a tuple of
        them as `argnums` is, with history as :func:`value_and_grad` says.

    Raises:
        TypeError: An argument to differentiate by is no float, or the value is no Tensor.
    """
    _check_function("jacobian", fn)
    single = isinstance(argnums, int)
    wanted = [argnums] if isinstance(argnums, int) else list(argnums)

    def function(*args: Any, **kwargs: Any) -> Any:
        with grad_mode(True):
            full, places = _places("jacobian", args, wanted)
            y = _value("jacobian", fn(*full, **kwargs))
        record = is_grad_enabled() and depends_on_others(y, places)
        if len(places) == 1 and places[0].size < y.size:
            found = [_by_columns(y, places[0], record)]
        else:
            found = _by_rows(y, places, record)
        return found[0] if single else tuple(found)

    return function


def _units(like: Tensor) -> list[Tensor]:
    """Arrays with a single one, for each place of it."""
    return [Tensor(row.reshape(like.shape)) for row in np.eye(like.size, dtype=like.dtype)]


def _by_rows(y: Tensor, places: Sequence[Tensor], record: bool) -> list[Tensor]:
    rows = [_gradients(y, places, unit, record) for unit in _units(y)]
    return [
        reshape(stack([row[i] for row in rows]), (*y.shape, *x.shape)) if rows
        else Tensor(np.zeros((*y.shape, *x.shape), x.dtype))
        for i, x in enumerate(places)
    ]  # fmt: skip


def _by_columns(y: Tensor, x: Tensor, record: bool) -> Tensor:
    columns = [_constant(_push(y, [x], [unit]), record) for unit in _units(x)]
    if not columns:
        return Tensor(np.zeros((*y.shape, *x.shape), x.dtype))
    return reshape(stack(columns, axis=y.ndim), (*y.shape, *x.shape))


def hessian(fn: Function, argnum: int = 0) -> Callable[..., Tensor]:
    r"""A function that gives the Hessian of `fn`.

    .. math:: H_{ij} = \frac{\partial^2 y}{\partial x_i\, \partial x_j}

    Args:
        fn: Function of arrays or Tensors with a scalar Tensor as its value.
        argnum: Position of the argument to differentiate by.

    Returns:
        A function of the same arguments that gives a Tensor ``[*x.shape, *x.shape]``.

    Raises:
        TypeError: The argument is no float, or the value is no Tensor.
        ValueError: The value is not a scalar.
    """
    gradient = _value_and_grad("hessian", fn, argnum)
    return jacobian(lambda *args, **kwargs: gradient(*args, **kwargs)[1], argnum)
