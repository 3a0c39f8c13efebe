"""The ``fastprop`` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fastprop._version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = _parser().parse_args(arguments)
    if options.command == "info":
        from fastprop.installation import show_config

        show_config()
        return 0
    if options.command == "demo":
        return _demo(options)
    if options.command == "bench":
        return _bench(options)
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
    _add_bench(commands)
    commands.add_parser(
        "info", help="show version, instruction-set level, threads, caches, compiler"
    )
    return parser


def _add_bench(commands: Any) -> None:
    bench = commands.add_parser(
        "bench",
        help="time training steps beside what this machine allows",
        description="Train multilayer perceptrons on made-up data with Trainer.fit, and print the "
        "time of a step with its share of the machine's limit: products at the peak of "
        "multiply-adds, the update at the bandwidth.",
    )
    bench.add_argument(
        "works",
        nargs="*",
        metavar="WIDTHS",
        help="widths from inputs to outputs, such as 784-512-512-10; default: a few of all sizes",
    )
    bench.add_argument(
        "--batch",
        type=_at_least(1),
        help="rows of a step; default: 128, but the standard networks have their own",
    )
    bench.add_argument(
        "--threads",
        type=_threads,
        default=(None,),
        metavar="N,…",
        help="numbers of threads, such as 1,2; auto lets fastprop choose; default: auto",
    )
    bench.add_argument(
        "--dtype",
        choices=("float32", "float64"),
        default="float32",
        help="default: %(default)s",
    )
    bench.add_argument("--optimizer", default="adam", help="default: %(default)s")
    bench.add_argument("--activation", default="relu", help="default: %(default)s")
    bench.add_argument("--loss", help="default: mse for one output, else cross_entropy")
    bench.add_argument(
        "--seconds", type=_positive, default=1.0, help="length of a timing; default: %(default)s"
    )
    bench.add_argument(
        "--report", action="store_true", help="also show where the time of a step goes"
    )
    bench.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _threads(text: str) -> tuple[int | None, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part == "auto" or (part.isascii() and part.isdigit()) for part in parts):
        raise argparse.ArgumentTypeError(f"expects numbers such as 1,2, or auto, got {text!r}")
    number = _at_least(1)
    return tuple(None if part == "auto" else number(part) for part in parts)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be positive, got {text}")
    return value


def _at_least(least: int) -> Callable[[str], int]:
    def integer(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {value}")
        return value

    return integer


def _bench(options: argparse.Namespace) -> int:
    from fastprop import bench

    given = [(text, options.batch or 128) for text in options.works] or [
        (text, options.batch or batch) for text, batch in bench.STANDARD
    ]
    chosen = bench.Options(
        dtype=options.dtype,
        optimizer=options.optimizer,
        activation=options.activation,
        loss=options.loss,
        threads=options.threads,
        seconds=options.seconds,
        report=options.report,
    )
    try:
        works = [(bench.parse_widths(text), batch) for text, batch in given]
        results = []
        for result in bench.run(works, chosen):
            results.append(result)
            if sys.stderr.isatty():
                total = len(works) * len(chosen.threads)
                print(f"\r{len(results)} of {total} ", end="", file=sys.stderr, flush=True)
        if sys.stderr.isatty():
            print("\r", end="", file=sys.stderr)
    except (ValueError, bench.BenchError) as error:
        print(f"fastprop bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("fastprop bench: interrupted", file=sys.stderr)
        return 130
    if options.json:
        print(bench.as_json(results, chosen))
    else:
        print(f"{bench.heading(chosen)}\n\n{bench.table(results)}")
    return 0


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
