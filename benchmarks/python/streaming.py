"""Training on data that are read while it goes on, beside the same training on arrays in memory.

    python -m benchmarks.python.streaming
    python -m benchmarks.python.streaming --rounds 5 --folder /tmp/files --kinds memory,mapped

An MNIST-sized work (784-512-512-10, batch 128, Adam, 60,000 rows) is trained for an epoch from
arrays in memory, from memory-mapped files (float32, and uint8 that are converted on the way), and
from Parquet with a column for each pixel: through a cache of decoded rows, as it is by default
(decoded rows stay in memory), and decoded anew in every epoch, as it is in the first one. The same
from a single column, of fixed-size lists and of fixed-size binaries. In every round each kind gets
its turn; the figures are the median time of an epoch, the median of the ratios to memory in the
same round, and the processor time that the thread takes which reads. The first, untimed round
checks that all kinds give the same weights where the rows stay in order.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import fastprop as fp
from fastprop import data, nn, optim
from fastprop.data.prefetch import Pool
from fastprop.data.reading import Reading
from fastprop.data.windows import Buffer

from . import options

BATCH = 128
KINDS = (
    "memory",
    "mapped",
    "mapped-stream",
    "mapped-uint8",
    "parquet-cached",
    "parquet",
    "parquet-anew",
    "list",
    "list-anew",
    "binary",
    "binary-anew",
)


def main(argv: list[str] | None = None) -> int:
    chosen = _options(argv)
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        write_files(folder, chosen.rows)
        sets, seconds = open_sets(folder, chosen.kinds)
        if not chosen.unchecked:
            check(sets)
        figures = measure(sets, chosen.rounds)
        read = {kind: reading_seconds(*given) for kind, given in sets.items() if len(given) == 1}
        del sets  # before their files are deleted
    steps = -(-chosen.rows // BATCH)
    print(f"{chosen.rows} rows, {steps} steps an epoch; writing the cache took {seconds:.2f} s")
    print(f"{'':16}  {'epoch':>8}  {'step':>8}  {'to memory':>9}  {'reading':>8}")
    for kind, (epoch, ratio) in figures.items():
        reading = f"{read[kind]:6.3f} s" if kind in read else f"{'-':>8}"
        print(f"{kind:16}  {epoch:6.3f} s  {epoch / steps * 1e3:5.2f} ms  {ratio:9.3f}  {reading}")
    if chosen.json:
        record = {"rows": chosen.rows, "cache_seconds": seconds, "kinds": figures, "reading": read}
        chosen.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 0


def write_files(folder: Path, rows: int) -> None:
    """Images of uint8, four fifths of them zero as MNIST's are; used again if they are there."""
    done = folder / f"{rows}.written"
    if done.exists():
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (rows, 784), dtype=np.uint8)
    images[rng.random((rows, 784)) < 0.8] = 0
    labels = rng.integers(0, 10, rows)
    np.save(folder / "uint8.npy", images)
    np.save(folder / "float32.npy", images.astype(np.float32))
    np.save(folder / "labels.npy", labels)
    columns = {f"pixel{i}": images[:, i] for i in range(784)}
    table = pa.table({**columns, "label": labels})
    pq.write_table(table, folder / "columns.parquet", row_group_size=4096)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(images.ravel()), images.shape[1])
    buffers = [None, pa.py_buffer(images)]
    binary = pa.FixedSizeBinaryArray.from_buffers(pa.binary(images.shape[1]), rows, buffers)
    for name, column in (("list", lists), ("binary", binary)):
        single = pa.table({"pixels": column, "label": labels})
        pq.write_table(single, folder / f"{name}.parquet", row_group_size=4096)
    done.touch()


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


def make_trainer() -> fp.Trainer:
    fp.seed(0)
    layers = [nn.Dense(784, 512, "relu"), nn.Dense(512, 512, "relu"), nn.Dense(512, 10)]
    return fp.Trainer(nn.Sequential(*layers), "cross_entropy", optim.Adam(lr=1e-4))


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


def measure(sets: dict[str, tuple[Any, ...]], rounds: int) -> dict[str, tuple[float, float]]:
    """Median time of an epoch, and median ratio to memory, of each kind."""
    trainers = {kind: make_trainer() for kind in sets}
    times: dict[str, list[float]] = {kind: [] for kind in sets}
    for _ in range(rounds):
        for kind, given in sets.items():
            started = time.perf_counter()
            trainers[kind].fit(*given, batch_size=BATCH)
            times[kind].append(time.perf_counter() - started)
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
    parser.add_argument("--rounds", type=options.positive, default=7)
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
