"""All members of some targets, each once, in slices between which the reactor does other things."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from wsaas.groups.names import EVERYONE

if TYPE_CHECKING:
    from wsaas.connections.connection import Connection
    from wsaas.groups.membership import Membership


class Sweep:
    """Goes through the members of targets: those that were there when it came to a target, and still are.

    :param membership: knows the members
    :param targets: one or more
    """

    __slots__ = ("_at", "_left", "_membership", "_met", "_target", "_targets", "visited")

    def __init__(self, membership: Membership, targets: Sequence[str]) -> None:
        self._membership = membership
        #: Those to come, the next one last.
        self._targets = list(reversed(targets))
        self._target = ""
        self._left: list[Connection] = []
        self._at = 0
        #: Those who had their turn, if they could be met again.
        self._met: set[Connection] | None = set() if len(targets) > 1 else None
        #: How many were looked at, met before or not.
        self.visited = 0

    @property
    def done(self) -> bool:
        """Whether there is nobody any more."""
        return self._at >= len(self._left) and not self._targets

    def take(self, most: int) -> list[Connection]:
        """Go on.

        :param most: how many to look at
        :returns: members; fewer or none if some have left, or had their turn
        """
        fresh = self._at >= len(self._left)
        if fresh:
            if not self._targets:
                return []
            self._target = self._targets.pop()
            self._left, self._at = self._membership.members(self._target), 0
        part = self._left[self._at : self._at + most]
        self._at += len(part)
        # A target without members takes a little time, too.
        self.visited += len(part) or 1
        if not fresh or self._target == EVERYONE:
            part = self._membership.still(self._target, part)
        met = self._met
        if met is not None:
            part = [each for each in part if each not in met]
            met.update(part)
        return part
