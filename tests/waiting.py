"""Waiting for something to happen on the real reactor, but not for ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as WaitedTooLongError

reactor: Any = _reactor

#: Seconds for which a test waits for one thing to happen before it fails.
PATIENCE = 8.0


async def within(deferred: Deferred[Any], what: str) -> Any:
    """Wait for something, but not for ever.

    :param what: for the failure: what was waited for
    """
    try:
        return await deferred.addTimeout(PATIENCE, reactor)
    except WaitedTooLongError:
        raise AssertionError(f"waited {PATIENCE} s in vain for {what}") from None


class Condition:
    """Wakes who waits for something to become true, each time that something changed."""

    def __init__(self) -> None:
        self._waiting: list[Deferred[None]] = []

    def changed(self) -> None:
        """Have everybody look again."""
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(None)

    async def until(self, is_true: Callable[[], bool], what: str) -> None:
        """Wait until something is true."""
        while not is_true():
            deferred: Deferred[None] = Deferred(self._waiting.remove)
            self._waiting.append(deferred)
            await within(deferred, what)
