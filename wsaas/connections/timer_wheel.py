"""A timer wheel: connections sorted into buckets by when their next check is due.

A pass touches only the buckets that are due. Bytes from a client move nothing in the wheel: the next check sees that
the client was heard meanwhile, and schedules the one after it. So a client costs one check per interval.
"""

from __future__ import annotations

from math import ceil
from typing import Any, Generic, Protocol, TypeVar

#: Seconds that one bucket covers by default.
WIDTH = 0.25


class Scheduled(Protocol):
    """Something whose checks a timer wheel schedules. It stands in one bucket at most."""

    #: The bucket it stands in; only the timer wheel sets it.
    bucket: set[Any] | None


Item = TypeVar("Item", bound=Scheduled)


class TimerWheel(Generic[Item]):
    """Schedules one next check for each item. Times in seconds of one clock.

    :param width: seconds that one bucket covers: a check is late by that much at most, plus the wait for the next pass,
        which is to come after so many seconds, too
    """

    __slots__ = ("_buckets", "_per_second", "width")

    def __init__(self, width: float = WIDTH) -> None:
        self.width = width
        self._per_second = 1 / width
        #: By number. There are few: no check is scheduled more than half a minute ahead.
        self._buckets: dict[int, set[Item]] = {}

    def __len__(self) -> int:
        """:returns: how many items are scheduled"""
        return sum(map(len, self._buckets.values()))

    def put(self, item: Item, at: float) -> None:
        """Schedule the next check of an item, in place of the one scheduled before.

        :param at: the time; one in the past means the next pass
        """
        if item.bucket is not None:
            item.bucket.discard(item)
        number = ceil(at * self._per_second)
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = set()
        bucket.add(item)
        item.bucket = bucket

    def drop(self, item: Item) -> None:
        """Unschedule an item."""
        if item.bucket is not None:
            item.bucket.discard(item)
            item.bucket = None

    def take(self, now: float, most: int) -> list[Item]:
        """Take out the items that are due, the earliest first; :meth:`put` schedules them again.

        :param now: the time
        :param most: how many items to take at most
        """
        taken: list[Item] = []
        current = int(now * self._per_second)
        while self._buckets and len(taken) < most:
            number = min(self._buckets)
            if number > current:
                break
            bucket = self._buckets[number]
            while bucket and len(taken) < most:
                item = bucket.pop()
                item.bucket = None
                taken.append(item)
            if not bucket:
                del self._buckets[number]
        return taken
