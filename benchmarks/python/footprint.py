"""Memory of one training run, in a process of its own; memory.py starts it and reads its answer.

    python -m benchmarks.python.footprint fastprop FOLDER

FOLDER holds ``work.json``, ``x.npy`` and ``y.npy``: making the data here would take memory too.
"""

from __future__ import annotations

import json
import math
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .works import Work

Figures = dict[str, Any]


def main() -> None:
    key, folder = sys.argv[1], Path(sys.argv[2])
    saved = json.loads((folder / "work.json").read_text())
    work = Work(**{**saved, "sizes": tuple(saved["sizes"])})
    train = {"fastprop": _fastprop, "torch": _torch}[key]
    try:
        figures = train(work, folder)
    except ImportError as error:
        figures = {"absent": str(error)}
    print(json.dumps(figures))


def _data(folder: Path) -> list[NDArray[Any]]:
    return [np.load(folder / f"{name}.npy") for name in ("x", "y")]


def _fastprop(work: Work, folder: Path) -> Figures:
    from .contestants.fastprop_ import trainer

    imported = resident_bytes()
    x, y = _data(folder)
    run = trainer(work)
    losses = run.fit(x, y, batch_size=work.batch, verbose=False)["loss"]
    peak = peak_bytes()
    assert run.program is not None
    return _figures(losses, imported, peak) | arena(run.program)


def _torch(work: Work, folder: Path) -> Figures:
    from .contestants.torch_ import TorchEager

    imported = resident_bytes()
    x, y = _data(folder)
    contestant = TorchEager(0)
    contestant.build(work, x, y)
    losses = [float(loss) for loss in contestant.train(work.order(1))]
    return _figures(losses, imported, peak_bytes())


def _figures(losses: list[float], imported: int | None, peak: int | None) -> Figures:
    if not all(map(math.isfinite, losses)):
        raise RuntimeError(f"a run that fails has no footprint: losses {losses}")
    return {"imported_bytes": imported, "peak_bytes": peak}


def arena(program: Any) -> Figures:
    """The arena, the packed weights in it, and what else lies there when it is fullest.

    The last is summed by the instruction that wrote the bytes, and what an update reads as its
    gradient on its own. A value counts from the phase that writes it to the last one that reads it
    (on one thread every instruction is a phase); two that share their place count once.
    """
    schedule = program._schedule
    instructions = schedule.instructions
    names: dict[Any, str] = {}
    first: dict[Any, int] = {}
    last: dict[Any, int] = {}
    for phase, item in zip(schedule.phases, instructions, strict=True):
        for value in item.writes():
            names.setdefault(value, item.name)
            first.setdefault(value, phase)
            last[value] = phase
        for value, _ in item.reads():
            last[value] = phase
    packed = sum(v.nbytes for v, name in names.items() if name.startswith("pack_weights"))
    gradients = _gradients(instructions)
    fullest: dict[str, int] = {}
    held = 0
    for phase in sorted(set(schedule.phases)):
        places = {
            (v.offset, v.nbytes): (name, v in gradients)
            for v, name in names.items()
            if v.in_arena and not v.persistent and first[v] <= phase <= last[v]
        }
        written: dict[str, int] = defaultdict(int)
        for (_, nbytes), (name, _) in places.items():
            written[name] += nbytes
        if sum(written.values()) > sum(fullest.values()):
            fullest = written
            held = sum(nbytes for (_, nbytes), (_, gradient) in places.items() if gradient)
    return {
        "threads": program.threads,
        "arena_bytes": program.arena_bytes,
        "packed_weight_bytes": packed,
        "gradient_bytes": held,
        "fullest": dict(sorted(fullest.items(), key=lambda item: -item[1])),
    }


def _gradients(instructions: Any) -> set[Any]:
    """What lies in the arena and is read by an update of a parameter of its shape."""
    return {
        value.base
        for item in instructions
        if item.overwrites and item.outputs[0].parameter is not None
        for value in item.inputs
        if value is not None and value.base.in_arena and value.shape == item.outputs[0].shape
    }


def kept_bytes(work: Work) -> int:
    """What the backward pass must keep of the forward pass of one batch.

    The input of every layer, since its dW reads it (the gathered rows of the first one included);
    and where the derivative of an activation needs another array than the next layer's input, that
    one: z for gelu, and for a skip connection f(z), to which x was added.
    """
    columns = sum(n_in for n_in, _ in work.layers)
    for layer, (_, n_out) in enumerate(work.layers[:-1]):
        if work.activation == "gelu" or work.adds_input(layer):
            columns += n_out
    return work.batch * work.itemsize * columns


def resident_bytes() -> int | None:
    """Memory of this process now; None where the system does not tell."""
    return _status("VmRSS")


def peak_bytes() -> int | None:
    """Most memory that this process ever had; None where the system does not tell."""
    known = _status("VmHWM")
    if known is not None:
        return known
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _status(field: str) -> int | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith(f"{field}:")]
    return 1024 * int(found[0]) if found else None


if __name__ == "__main__":
    main()
