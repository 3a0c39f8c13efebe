"""The ``fastprop`` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from fastprop._version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = _parser().parse_args(arguments)
    if options.command == "info":
        from fastprop.config import show_config

        show_config()
        return 0
    if options.command == "demo":
        return _demo(options)
    _parser().print_help()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastprop",
        description="Neural networks by backpropagation, as fast as the machine allows.",
    )
    parser.add_argument("--version", action="version", version=f"fastprop {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command")
    demo = commands.add_parser(
        "demo",
        help="train a network on scikit-learn's handwritten digits",
        description="Train a network on scikit-learn's 1797 handwritten digits, test it on a "
        "quarter of them, and draw its learning curves.",
    )
    demo.add_argument("--epochs", type=_at_least(1), default=30, help="default: %(default)s")
    demo.add_argument("--batch-size", type=_at_least(1), default=32, help="default: %(default)s")
    demo.add_argument("--seed", type=_at_least(0), default=0, help="default: %(default)s")
    demo.add_argument("--threads", type=_at_least(1), default=None, help="default: as many as pay")
    demo.add_argument(
        "--output",
        type=Path,
        default=Path("learning_curves.png"),
        metavar="FILE",
        help="where the picture goes; default: %(default)s",
    )
    commands.add_parser(
        "info", help="show version, instruction-set level, threads, caches, compiler"
    )
    return parser


def _at_least(least: int) -> Callable[[str], int]:
    def integer(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {value}")
        return value

    return integer


def _demo(options: argparse.Namespace) -> int:
    from fastprop.demo import DemoError, run

    try:
        run(
            epochs=options.epochs,
            batch_size=options.batch_size,
            seed=options.seed,
            threads=options.threads,
            output=options.output,
        )
    except DemoError as error:
        print(f"fastprop demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("fastprop demo: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
