"""Bounds on what is kept in memory for all connections together: bytes that wait, and incomplete work.

Each connection has its own bounds, but a thousand connections at their bounds would still be too much. Only bytes that
wait are counted, not what goes straight to the kernel or to the API.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: Bytes that each waiting object counts for besides its content: Python's overhead.
OVERHEAD = 96


class Budget:
    """Counts bytes of one kind against a limit.

    It refuses nothing by itself: its users check whether it is exhausted before they keep more.

    :param limit: bytes that may be kept, exceeded by one read or one message at most
    """

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        #: Bytes that are kept now.
        self.used = 0

    @property
    def exhausted(self) -> bool:
        """Whether no more bytes should be kept."""
        return self.used >= self.limit

    @property
    def overrun(self) -> bool:
        """Whether so much is kept that connections with a part in it must be closed."""
        return self.used >= 2 * self.limit


class SharedBytes:
    """Bytes to which many refer: they count once in a budget, as long as anybody keeps them.

    :param content: the bytes
    """

    __slots__ = ("content", "kept")

    def __init__(self, content: bytes) -> None:
        self.content = content
        #: How many keep them.
        self.kept = 0

    def keep(self, budget: Budget) -> None:
        """Somebody more keeps them."""
        if not self.kept:
            budget.used += len(self.content) + OVERHEAD
        self.kept += 1

    def release(self, budget: Budget) -> None:
        """Somebody keeps them no longer."""
        self.kept -= 1
        if not self.kept:
            budget.used -= len(self.content) + OVERHEAD


class Budgets:
    """The budgets of all kinds of bytes; none can use up another's.

    :param total: bytes of all budgets together
    """

    __slots__ = ("bodies", "incoming", "outgoing", "partial")

    def __init__(self, total: int = 1 << 29) -> None:
        #: Bytes that wait for clients.
        self.outgoing = Budget(total * 3 // 8)
        #: Messages that wait for the API, and what its answers publish while there is no room. Beyond the limit,
        #: clients that have some are not read; beyond twice the limit, they are closed, and no more publishes wait.
        self.incoming = Budget(total * 3 // 16)
        #: Parts of incomplete messages.
        self.partial = Budget(total // 8)
        #: Bodies of pushes that are being received.
        self.bodies = Budget(total // 8)


def total_for(max_buffer: int) -> int:
    """Choose the total of all budgets: 512 MiB, or more if a single connection may keep much.

    :param max_buffer: bytes that one connection may keep in each direction (``WS_MAX_BUFFER``)
    """
    return max(1 << 29, 64 * max_buffer)


class Queue:
    """A bounded queue of unfinished work, such as incomplete requests. Beyond the bound the oldest entry is evicted.

    An honest client finishes soon, so that the oldest entries belong to clients that only hold on to resources.

    :param most: how many entries there may be
    :param evict: called with an entry that is evicted, after it has left the queue
    """

    __slots__ = ("_evict", "_most", "_waiting")

    def __init__(self, most: int, evict: Callable[[Any], object]) -> None:
        self._most = most
        self._evict = evict
        # A dict keeps insertion order, and removes any entry in constant time.
        self._waiting: dict[object, None] = {}

    def enter(self, who: object) -> None:
        """Add an entry at the end of the queue."""
        self._waiting[who] = None
        if len(self._waiting) > self._most:
            self.evict()

    def leave(self, who: object) -> None:
        """Remove an entry; no effect if it has left."""
        self._waiting.pop(who, 0)

    def evict(self) -> None:
        """Evict the oldest entry, if there is one."""
        if self._waiting:
            who = next(iter(self._waiting))
            del self._waiting[who]
            self._evict(who)
