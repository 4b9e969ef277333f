"""When each connection is next to be looked at: buckets of time, so that a pass touches only what is due.

A client that is heard moves nothing: when the time for which it was put down comes, whoever looks at it sees that it
was heard meanwhile, and puts it down for later. So hearing costs nothing, and a look falls due once in each silence.
"""

from __future__ import annotations

from math import ceil
from typing import Any, Generic, Protocol, TypeVar

#: Seconds of time that share a bucket, unless told otherwise.
WIDTH = 0.25


class Watched(Protocol):
    """Something that is looked at. It may stand in one bucket."""

    #: Where it stands: the timer wheel's business.
    bucket: set[Any] | None


Item = TypeVar("Item", bound=Watched)


class TimerWheel(Generic[Item]):
    """Who is due when. Times in seconds of one clock.

    :param width: seconds of time that share a bucket: a look is late by so much at most, besides what it waits for
        the next pass
    """

    __slots__ = ("_buckets", "_per_second")

    def __init__(self, width: float = WIDTH) -> None:
        self._per_second = 1 / width
        #: By number; few, as nothing is put down for more than half a minute ahead.
        self._buckets: dict[int, set[Item]] = {}

    def __len__(self) -> int:
        """:returns: how many are put down"""
        return sum(map(len, self._buckets.values()))

    def put(self, item: Item, at: float) -> None:
        """Put down when to look at something; what was put down before no longer counts.

        :param at: the time; what is past means the next pass
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
        """Look at something no more."""
        if item.bucket is not None:
            item.bucket.discard(item)
            item.bucket = None

    def take(self, now: float, most: int) -> list[Item]:
        """Take out what is due, the earliest first. What is still to be looked at later must be put down again.

        :param now: the time
        :param most: how many, at most
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
