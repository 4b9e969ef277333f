"""How many calls may be under way at once: ``API_MAX_REQUESTS``, shared fairly between the three methods.

Late attempts of DELETEs count as a method of their own, ``LATE``.
"""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred, succeed


class Slots:
    """A counting semaphore with a queue for each method.

    No method may hold more than three quarters of four slots or more: PUTs that hang must not keep out POSTs and
    DELETEs. Within a method the first to wait is the first to go.

    :param total: how many attempts may be on the wire at once
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._share = total - total // 4
        #: How many late attempts of DELETEs may hold; the caller sees to it (protocol §2.1).
        self.quarter = max(1, total // 4)
        #: How many slots are in use.
        self.held = 0
        self._held: dict[str, int] = {}
        self._queues: dict[str, deque[Deferred[None]]] = {}
        #: How many attempts wait for a slot.
        self.waiting = 0

    def held_by(self, method: str) -> int:
        """:returns: how many slots a method holds"""
        return self._held.get(method, 0)

    def waiting_by(self, method: str) -> int:
        """:returns: how many attempts of a method wait"""
        return len(self._queues.get(method, ()))

    def _is_free(self, method: str) -> bool:
        return self.held < self._total and self._held.get(method, 0) < self._share

    def try_acquire(self, method: str) -> bool:
        """:returns: whether a slot was free, which is now held; a Deferred less than :meth:`acquire`"""
        held = self._held.get(method, 0)
        if self.held >= self._total or held >= self._share or (self.waiting and self._queues.get(method)):
            return False
        self._held[method] = held + 1
        self.held += 1
        return True

    def acquire(self, method: str) -> Deferred[None]:
        """Wait for a slot.

        :returns: fires when the slot is held; cancel it to stop waiting
        """
        queue = self._queues.setdefault(method, deque())
        if self.try_acquire(method):
            return succeed(None)

        def forget(deferred: Deferred[None]) -> None:
            self.waiting -= 1
            queue.remove(deferred)

        waiting: Deferred[None] = Deferred(forget)
        queue.append(waiting)
        self.waiting += 1
        return waiting

    def release(self, method: str) -> None:
        """Give a slot back, to a waiting attempt of the method that has the fewest: none must keep others waiting."""
        self._held[method] -= 1
        self.held -= 1
        if not self.waiting:
            return
        waiting = [name for name, queue in self._queues.items() if queue]
        for candidate in sorted(waiting, key=lambda name: self._held.get(name, 0)):
            queue = self._queues[candidate]
            if self._is_free(candidate):
                self._held[candidate] = self._held.get(candidate, 0) + 1
                self.held += 1
                # Among those that hold equally many, the one that was served longest ago is next.
                self._queues[candidate] = self._queues.pop(candidate)
                self.waiting -= 1
                queue.popleft().callback(None)
                return
