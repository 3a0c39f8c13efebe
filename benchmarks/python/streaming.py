"""Training on data that are read while it goes on, beside the same training on arrays in memory.

    python -m benchmarks.python.streaming
    python -m benchmarks.python.streaming --rounds 5 --folder /tmp/files --kinds memory,mapped

An MNIST-sized work (784-512-512-10, batch 128, Adam, 60,000 rows) is trained for an epoch from
arrays in memory, from memory-mapped files (float32, and uint8 that are converted on the way), and
from Parquet with a column for each pixel: through a cache of decoded rows, as it is by default
(decoded rows stay in memory), and decoded anew in every epoch, as it is in the first one. The same
from a single column, of fixed-size lists and of fixed-size binaries; "plain" is written without
dictionaries and compression. In every round each kind gets its turn, which counts while the cores
share a cache; the figures are the median time of an epoch, the median of the ratios to memory in
the same round, and the processor time that the thread takes which reads. On fewer threads than
CPUs (--threads 1) the thread that reads has a core of its own. The first, untimed round checks that
all kinds give the same weights where the rows stay in order.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import fastprop as fp
from fastprop import data, nn, optim
from fastprop.data.prefetch import Pool
from fastprop.data.reading import Reading
from fastprop.data.windows import Buffer
from fastprop.inspect.turns import Turns

from . import options
from .placement import remark, turns_on
from .pool import choose_cpus

BATCH = 128
KINDS = (
    "memory",
    "mapped",
    "mapped-stream",
    "mapped-uint8",
    "parquet-cached",
    "parquet",
    "parquet-anew",
    "plain-anew",
    "list",
    "list-anew",
    "binary",
    "binary-anew",
    "plainbinary-anew",
)
_PATIENCE = 60.0  # seconds for turns that are repeated because the cores shared no cache


def main(argv: list[str] | None = None) -> int:
    chosen = _options(argv)
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        write_files(folder, chosen.rows)
        sets, seconds = open_sets(folder, chosen.kinds)
        if not chosen.unchecked:
            check(sets)
        cpus = choose_cpus(chosen.threads)
        turns = turns_on(cpus, _PATIENCE, any_placement=chosen.any_placement)
        figures = measure(sets, chosen.rounds or 7, turns)
        read = {kind: reading_seconds(*given) for kind, given in sets.items() if len(given) == 1}
        del sets  # before their files are deleted
    steps = -(-chosen.rows // BATCH)
    print(f"{chosen.rows} rows, {steps} steps an epoch, threads: {chosen.threads}")
    if seconds:
        print(f"writing the cache took {seconds:.2f} s")
    print(f"{'':16}  {'epoch':>8}  {'step':>8}  {'to memory':>9}  {'reading':>8}")
    for kind, (epoch, ratio) in figures.items():
        reading = f"{read[kind]:6.3f} s" if kind in read else f"{'-':>8}"
        print(f"{kind:16}  {epoch:6.3f} s  {epoch / steps * 1e3:5.2f} ms  {ratio:9.3f}  {reading}")
    if said := remark(turns.log):
        print(said)
    if chosen.json:
        record = {"rows": chosen.rows, "cache_seconds": seconds, "kinds": figures, "reading": read}
        record |= {"threads": chosen.threads, "turns": [turn.to_dict() for turn in turns.log]}
        chosen.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 0


def write_files(folder: Path, rows: int) -> None:
    """Images of uint8, four fifths of them zero as MNIST's are; used again if they are there."""
    done = folder / f"{rows}-rows.written"
    if done.exists():
        return
    import pyarrow as pa

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (rows, 784), dtype=np.uint8)
    images[rng.random((rows, 784)) < 0.8] = 0
    labels = rng.integers(0, 10, rows)
    np.save(folder / "uint8.npy", images)
    np.save(folder / "float32.npy", images.astype(np.float32))
    np.save(folder / "labels.npy", labels)
    columns = {f"pixel{i}": images[:, i] for i in range(784)}
    lists = pa.FixedSizeListArray.from_arrays(pa.array(images.ravel()), images.shape[1])
    buffers = [None, pa.py_buffer(images)]
    binary = pa.FixedSizeBinaryArray.from_buffers(pa.binary(images.shape[1]), rows, buffers)
    _write_parquet(folder / "columns.parquet", columns, labels)
    _write_parquet(folder / "plain.parquet", columns, labels, plain=True)
    _write_parquet(folder / "list.parquet", {"pixels": lists}, labels)
    _write_parquet(folder / "binary.parquet", {"pixels": binary}, labels)
    _write_parquet(folder / "plainbinary.parquet", {"pixels": binary}, labels, plain=True)
    done.touch()


def _write_parquet(
    path: Path, columns: dict[str, Any], labels: Any, *, plain: bool = False
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({**columns, "label": labels})
    options = {"use_dictionary": False, "compression": "none"} if plain else {}
    pq.write_table(table, path, row_group_size=16384 if plain else 4096, **options)


def open_sets(folder: Path, kinds: list[str]) -> tuple[dict[str, tuple[Any, ...]], float]:
    """What ``fit`` is given for each kind, and the time that the cache took."""
    y = np.load(folder / "labels.npy")
    mapped = np.load(folder / "float32.npy", mmap_mode="r")
    small = np.load(folder / "uint8.npy", mmap_mode="r")
    columns = folder / "columns.parquet"
    seconds = 0.0
    sets: dict[str, tuple[Any, ...]] = {}
    for kind in kinds:
        if kind == "memory":
            sets[kind] = (np.array(mapped), y)
        elif kind == "mapped":
            sets[kind] = (mapped, y)
        elif kind == "mapped-stream":
            sets[kind] = (data.ArrayDataset(mapped, y).stream(),)
        elif kind == "mapped-uint8":
            sets[kind] = (data.ArrayDataset(small, y).stream(),)
        elif kind == "parquet-cached":
            started = time.perf_counter()
            sets[kind] = (data.from_parquet(columns, "label", stream=True).cache(),)
            seconds = time.perf_counter() - started
        else:
            name, _, anew = kind.partition("-")
            file = columns if name == "parquet" else folder / f"{name}.parquet"
            kept = {"keep_bytes": 0} if anew else {}
            sets[kind] = (data.from_parquet(file, "label", stream=True, **kept),)
    return sets, seconds


def make_trainer(threads: int | None = None) -> fp.Trainer:
    fp.seed(0)
    layers = [nn.Dense(784, 512, "relu"), nn.Dense(512, 512, "relu"), nn.Dense(512, 10)]
    adam = optim.Adam(lr=1e-4)
    return fp.Trainer(nn.Sequential(*layers), "cross_entropy", adam, threads=threads)


def check(sets: dict[str, tuple[Any, ...]]) -> None:
    """All kinds must give the same bits where the order is the same."""
    found = {}
    for kind, given in sets.items():
        trainer = make_trainer()
        trainer.fit(*given, batch_size=BATCH, shuffle=False)
        found[kind] = [a.tobytes() for a in trainer.model.state_dict().values()]
    different = [kind for kind, bits in found.items() if bits != next(iter(found.values()))]
    if different:
        raise RuntimeError(f"other weights than those of the first kind: {different}")


def reading_seconds(dataset: Any) -> float:
    """Processor time to read, decode and convert an epoch, in one thread and beside nothing."""
    trainer = make_trainer()
    trainer.evaluate(dataset, batch_size=BATCH)  # what may be kept is
    head = trainer._reader.source("streaming", dataset, None, None, True, [])
    pool: Pool[Buffer] = Pool([Buffer()])
    started = time.thread_time()
    for buffer, _ in dataset.windows(Reading(BATCH, True), 1, 0, pool, head.conversion):
        pool.give_back(buffer)
    return time.thread_time() - started


def measure(
    sets: dict[str, tuple[Any, ...]], rounds: int, turns: Turns
) -> dict[str, tuple[float, float]]:
    """Median time of an epoch, and median ratio to memory, of each kind."""
    trainers = {kind: make_trainer(turns.threads) for kind in sets}
    times: dict[str, list[float]] = {kind: [] for kind in sets}

    def epoch(kind: str) -> float:
        started = time.perf_counter()
        trainers[kind].fit(*sets[kind], batch_size=BATCH, verbose=False)
        return time.perf_counter() - started

    for _ in range(rounds):
        for kind in sets:
            times[kind].append(turns.take(kind, partial(epoch, kind)))
    memory = times.get("memory")
    return {
        kind: (
            statistics.median(spent),
            statistics.median(a / b for a, b in zip(spent, memory, strict=True))
            if memory
            else float("nan"),
        )
        for kind, spent in times.items()
    }


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = options.parser("streaming", __doc__)
    options.add_rounds(parser)
    cpus = len(options.usable_cpus())
    parser.add_argument("--threads", type=options.threads, default=cpus, help="of the training")
    parser.add_argument("--rows", type=options.positive, default=60_000)
    parser.add_argument("--kinds", type=options.list_of(_kind), default=list(KINDS))
    parser.add_argument("--folder", type=Path, help="keep the files there, for the next time")
    parser.add_argument("--unchecked", action="store_true", help="leave out the comparison")
    parser.add_argument("--json", type=Path, help="write the figures")
    return parser.parse_args(argv)


def _kind(text: str) -> str:
    if text not in KINDS:
        raise argparse.ArgumentTypeError(f"unknown kind {text!r}; known: {', '.join(KINDS)}")
    return text


if __name__ == "__main__":
    sys.exit(main())
