"""What is kept in memory for all connections together, and how much of it there may be.

Each connection has its own bounds; a thousand connections at their bounds are too much all the same. What goes straight
to the kernel or straight to the API is not counted: only what waits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: Bytes that everything that waits counts for besides its own: what Python needs to keep it.
OVERHEAD = 96


class Budget:
    """Bytes of one kind.

    It refuses nothing by itself: those who keep bytes ask whether it is exhausted before they take more.

    :param limit: bytes that may be kept, give or take what one read or one message brings
    """

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        #: Bytes that are kept.
        self.used = 0

    @property
    def exhausted(self) -> bool:
        """Whether nobody should keep more."""
        return self.used >= self.limit

    @property
    def overrun(self) -> bool:
        """Whether those who kept more all the same have to go."""
        return self.used >= 2 * self.limit


class Budgets:
    """All kinds; none can use up another's.

    :param total: bytes of all together
    """

    __slots__ = ("bodies", "incoming", "outgoing", "partial")

    def __init__(self, total: int = 1 << 29) -> None:
        #: What waits for clients.
        self.outgoing = Budget(total * 3 // 8)
        #: Messages that wait for the API: beyond the limit who has some is not read, beyond twice as much it has to go.
        self.incoming = Budget(total * 3 // 16)
        #: Parts of messages that are not complete.
        self.partial = Budget(total // 8)
        #: Bodies of pushes on their way.
        self.bodies = Budget(total // 8)


def total_for(max_buffer: int) -> int:
    """Choose how much may be kept in all: 512 MiB, or more where one connection may keep so much.

    :param max_buffer: bytes that one connection may keep, in each direction
    """
    return max(1 << 29, 64 * max_buffer)


class Queue:
    """Those who have begun something and not finished it, the eldest first. Beyond a bound, the eldest has to go.

    Who is honest is done soon; so it is those who dawdle that make room, however many they are.

    :param most: how many there may be
    :param evict: called with the one that has to go; it has left then
    """

    __slots__ = ("_evict", "_most", "_waiting")

    def __init__(self, most: int, evict: Callable[[Any], object]) -> None:
        self._most = most
        self._evict = evict
        # A dict keeps the order in which they came, and lets anyone leave at the cost of one look.
        self._waiting: dict[object, None] = {}

    def __len__(self) -> int:
        """:returns: how many there are"""
        return len(self._waiting)

    def enter(self, who: object) -> None:
        """Begin, at the end of the queue."""
        self._waiting[who] = None
        if len(self._waiting) > self._most:
            self.evict()

    def leave(self, who: object) -> None:
        """Finish; no effect if it has left."""
        self._waiting.pop(who, 0)

    def evict(self) -> bool:
        """Give up the eldest.

        :returns: whether there was one
        """
        for who in self._waiting:
            del self._waiting[who]
            self._evict(who)
            return True
        return False
