"""Many trainings in one call, side by side on the threads that there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from fastprop import _core
from fastprop.graph.forms import Planned, Plans
from fastprop.train.errors import NonFiniteError
from fastprop.train.history import History
from fastprop.train.inputs import check_threads
from fastprop.train.many_inputs import ManyInputs, Training, check_trainers
from fastprop.train.progress import Progress
from fastprop.train.runs import Run, Runs
from fastprop.train.trainer import Trainer

# Trainings under way for each thread: while one is in Python, others have runs for the threads. Two
# threads were busy 82 % of the time with 2, 86 % with 4, 91 % with 8.
_UNDER_WAY = 8


def fit_many(
    trainers: Iterable[Trainer],
    x: Any,
    y: Any = None,
    *,
    rows: Sequence[Any] | None = None,
    epochs: int | Sequence[int] = 1,
    batch_size: int | Sequence[int | None] | None = 32,
    validation_data: Any = None,
    validation_rows: Sequence[Any] | None = None,
    validation_split: float = 0.0,
    stratify: Any = False,
    sample_weight: Any = None,
    class_weight: Any = None,
    sampler: Any = None,
    mixup: float = 0.0,
    shuffle: bool = True,
    drop_last: bool = False,
    callbacks: Any = (),
    threads: int | None = None,
    verbose: bool | None = None,
    check_finite: bool = True,
) -> list[History]:
    """Train many networks, of any shapes, side by side: each on one thread, as many as there are.

    Each ends as ``trainer.fit`` with the same arguments would end, bit by bit: weights, optimizer,
    history. Small networks gain most, since threads that train a network each never wait for one
    another. A few large ones are better trained one after the other, each on all threads.

    Args:
        trainers: Each with a model and an optimizer of its own.
        x: Inputs, as for :meth:`Trainer.fit`, that all share; or a list with one entry for each
            trainer.
        y: Targets; shared or a list, too.
        rows: For each trainer the rows of `x` and `y` that it trains on: an array of row numbers,
            which may repeat, or of booleans. Nothing is copied. ``None`` for all rows.
        epochs: How often every row is used; one number, or a list.
        batch_size: Rows of a step; one number, or a list.
        validation_data: ``(x, y)`` or ``(x, y, sample_weight)`` to evaluate after every epoch, or a
            list of those.
        validation_rows: Or for each trainer the rows of `x` and `y` to evaluate: what
            cross-validation needs.
        validation_split: Or a random share of the rows, by each trainer's own seed.
        stratify: Split every class alike: True, or the class of each row of `x`.
        sample_weight: A weight for each row of `x`; shared or a list.
        class_weight: Weights of the classes, as for :meth:`Trainer.fit`; shared or a list.
        sampler: Chooses the rows of an epoch, as for :meth:`Trainer.fit`; shared or a list.
        mixup: Above 0, rows are mixed in pairs, as for :meth:`Trainer.fit`.
        shuffle: Take the rows in a new order in every epoch.
        drop_last: Leave out the last batch if it is short.
        callbacks: A :class:`Callback` or a tuple of them that all share (hooks are told which
            trainer it is), or a list with one entry for each trainer: a callback or several. They
            are called one at a time, on the caller's thread.
        threads: How many threads train; ``None`` for as many as the process may use.
        verbose: Progress bar; ``None`` shows one on a terminal only.
        check_finite: Look for NaN and infinity in all data first.

    Returns:
        A history for each trainer. One that diverged keeps its last good parameters, and has its
        :class:`NonFiniteError` as ``history.error``; the others go on.

    Raises:
        ValueError: Data that do not fit; lists of another length than `trainers`; trainers that
            share a model, a parameter that is trained, or an optimizer.
        TypeError: Something that is no Trainer, or data that are not numbers.
        KeyboardInterrupt: Ctrl-C. Every model is as after a whole step. An exception of a callback
            ends all in the same way.
    """
    where = "fit_many"
    trainings = ManyInputs(where, check_trainers(where, trainers), check_finite).read(
        x,
        y,
        sample_weight=sample_weight,
        rows=rows,
        epochs=epochs,
        batch_size=batch_size,
        validation_data=validation_data,
        validation_rows=validation_rows,
        validation_split=validation_split,
        stratify=stratify,
        class_weight=class_weight,
        sampler=sampler,
        mixup=mixup,
        shuffle=shuffle,
        drop_last=drop_last,
        callbacks=callbacks,
    )
    count = check_threads(where, threads) or _core.available_threads()
    plans: Plans[Planned] = Plans()
    # What is wrong with one of them is found out before any work: one of each kind tells.
    for training in {t.kind: t for t in trainings}.values():
        training.fit(plans).check()
    for training in trainings:
        training.check()
    bar = _Bar(trainings) if trainings and Progress.wanted(verbose) else None
    try:
        _Crew((_runs(t, plans, bar) for t in trainings), min(count, max(1, len(trainings)))).work()
    finally:
        if bar is not None:
            bar.close()
    return [t.history for t in trainings]


def _runs(training: Training, plans: Plans[Planned], bar: _Bar | None) -> Runs[None]:
    """All that one of them takes, from tracing its Program on."""
    with suppress(NonFiniteError):  # its history tells
        part = None if bar is None else bar.part(training)
        yield from training.fit(plans, part).runs()


class _Crew:
    """Does the runs of many trainings on the threads of a pool.

    All Python, that of callbacks too, runs on the caller's thread, meanwhile the pool's threads
    train.
    """

    def __init__(self, trainings: Iterator[Runs[None]], threads: int) -> None:
        self._waiting = trainings
        self._under_way: dict[Runs[None], Run] = {}
        self._most = _UNDER_WAY * threads
        self._pool = _core.RunPool(threads)
        self._failure: BaseException | None = None

    def work(self) -> None:
        """Do all; an exception ends all after their present steps, and is raised then."""
        try:
            while True:
                try:
                    self._begin_more()
                    if not self._take_one():
                        break
                except BaseException as error:
                    self._fail(error)
        finally:
            self._pool.close()
            for training in self._under_way:  # whose results were lost to an error
                training.close()
        if self._failure is not None:
            raise self._failure

    def _begin_more(self) -> None:
        while len(self._under_way) < self._most and self._failure is None:
            training = next(self._waiting, None)
            if training is None:
                break
            self._go_on(training, None)

    def _take_one(self) -> bool:
        ended = self._pool.next()
        if ended is None:
            return False
        training, outcome, seconds = ended
        self._go_on(training, self._under_way[training].ended(outcome, seconds))
        return True

    def _go_on(self, training: Runs[None], result: Any) -> None:
        try:
            run = training.send(result)
            while not run.traced.in_one_call:  # an optimizer in Python: only this thread may
                run = training.send(run.execute())
        except BaseException as error:
            self._under_way.pop(training, None)
            training.close()  # Ctrl-C may have come before it was reached
            if not isinstance(error, StopIteration):
                self._fail(error)
            return
        self._under_way[training] = run
        run.submit(self._pool, training)

    def _fail(self, error: BaseException) -> None:
        # Those that come later only tell that their runs were stopped.
        if self._failure is None:
            self._failure = error
            self._pool.stop()


class _Bar:
    """One progress bar for all: it counts networks, and moves with their epochs."""

    def __init__(self, trainings: Sequence[Training]) -> None:
        self._progress = Progress(len(trainings), "network")
        self._position = 0.0
        self._best = float("inf")

    def part(self, training: Training) -> _Part:
        """What one training tells its progress to."""
        return _Part(self, training.epochs)

    def move(self, by: float, logs: Mapping[str, float]) -> None:
        """Go forward by a part of a network."""
        self._position += by
        name = "val_loss" if "val_loss" in logs else "loss"
        self._best = min(self._best, logs.get(name, self._best))
        self._progress.epoch_done(self._position, {f"best {name}": self._best})

    def close(self) -> None:
        self._progress.close()


class _Part:
    """A training's share of the bar."""

    def __init__(self, bar: _Bar, epochs: int) -> None:
        self._bar = bar
        self._epochs = epochs
        self._done = 0.0
        self._logs: Mapping[str, float] = {}

    def steps_done(self, epochs_done: int, step: int, steps: int) -> None:
        self._move((epochs_done + step / steps) / self._epochs)

    def epoch_done(self, epochs_done: float, logs: Mapping[str, float]) -> None:
        self._logs = logs
        self._move(epochs_done / self._epochs)

    def close(self) -> None:
        self._move(1.0)  # it may have ended early

    def _move(self, done: float) -> None:
        by, self._done = done - self._done, done
        self._bar.move(by, self._logs)
