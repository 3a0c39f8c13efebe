"""Command-line options that several of the commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import placement
from .contestants import CONTESTANTS
from .pool import usable_cpus
from .works import WORKS, Work, parse_work


def parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """A parser that prints the module's docstring as it is."""
    return argparse.ArgumentParser(
        prog=f"python -m benchmarks.python.{module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_works(options: argparse.ArgumentParser, default: list[Work]) -> None:
    options.add_argument(
        "--works",
        type=list_of(parse_work),
        default=default,
        help=f"of {', '.join(WORKS)}, or like 64-32-10@128:mse:tanh:sgd:float64:skip",
    )


def add_contestants(options: argparse.ArgumentParser, default: list[str] | None = None) -> None:
    usual = ",".join(default) if default else "all, as far as the mode goes"
    options.add_argument(
        "--contestants",
        type=list_of(_contestant),
        default=default,
        help=f"of {', '.join(CONTESTANTS)}; default {usual}",
    )


def add_threads(options: argparse.ArgumentParser, default: list[int]) -> None:
    options.add_argument(
        "--threads",
        type=list_of(threads),
        default=default,
        help=f"numbers of threads, at most the {len(usable_cpus())} CPUs of this process",
    )


def add_rounds(options: argparse.ArgumentParser) -> None:
    """How many rounds, and which turns count."""
    options.add_argument("--rounds", type=positive, help="turns of each contestant")
    placement.add_option(options)


def add_outputs(options: argparse.ArgumentParser) -> None:
    options.add_argument("--json", type=Path, help="write all times")
    options.add_argument(
        "--markdown", type=Path, help="write the tables, between the marks if the file has them"
    )
    options.add_argument("--png", type=Path, help="write a plot")


def list_of(parse: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    def parse_list(text: str) -> list[Any]:
        try:
            return [parse(item.strip()) for item in text.split(",")]
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse_list


def one_of(what: str, known: list[str]) -> Callable[[str], str]:
    def parse_name(text: str) -> str:
        if text not in known:
            raise ValueError(f"unknown {what} {text!r}; known are {', '.join(known)}")
        return text

    return parse_name


_contestant = one_of("contestant", list(CONTESTANTS))


def threads(text: str) -> int:
    count, usable = int(text), len(usable_cpus())
    if not 1 <= count <= usable:
        raise ValueError(f"from 1 to the {usable} CPUs that this process may use")
    return count


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number
