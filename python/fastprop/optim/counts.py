"""How many updates each parameter has had."""

from __future__ import annotations

from collections.abc import Collection, Sequence


class Counts:
    """Counts the updates of every parameter, as some may be left out: frozen ones, for a time.

    What a rule does in its first steps (the bias correction of Adam, the first buffer of SGD) goes
    by the parameter's own count, as with PyTorch; a learning rate goes by the optimizer's steps.

    Args:
        group_of: The group of each parameter.

    Attributes:
        latest: Steps of the optimizer.
        slots: Group, and steps left out, of the parameters that share the numbers of a step.
        slot_of: Which of them each parameter is in.
    """

    def __init__(self, group_of: Sequence[int] = ()) -> None:
        self.latest = 0
        self._group_of = group_of
        self._behind = [0] * len(group_of)
        self._left_out: dict[int, int] = {}  # parameters that are left out now: their counts
        self._set_slots()

    def _set_slots(self) -> None:
        keys = list(zip(self._group_of, self._behind, strict=True))
        self.slots = sorted(set(keys))
        self.slot_of = [self.slots.index(key) for key in keys]

    @property
    def of_each(self) -> list[int]:
        """The updates of each parameter."""
        counts = [max(0, self.latest - behind) for behind in self._behind]
        return [self._left_out.get(i, count) for i, count in enumerate(counts)]

    @of_each.setter
    def of_each(self, counts: Sequence[int]) -> None:
        self.latest = max(counts, default=0)
        self._behind = [self.latest - count for count in counts]
        self._left_out = {}
        self._set_slots()

    def train(self, these: Collection[int]) -> bool:
        """From now on these parameters are updated, and no others.

        Returns:
            True if other parameters share numbers from now on.
        """
        left_out = self._left_out
        if len(these) + len(left_out) == len(self._behind) and left_out.keys().isdisjoint(these):
            return False
        trained = set(these)
        for i, count in enumerate(self.of_each):
            if i in trained and i in left_out:
                self._behind[i] = self.latest - left_out.pop(i)
            elif i not in trained:
                left_out[i] = count
        before = self.slot_of, self.slots
        self._set_slots()
        return before != (self.slot_of, self.slots)
