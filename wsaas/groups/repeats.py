"""``Idempotency-Key`` of publishes: a repetition is answered with the counts of the first, and sends nothing (§6.4)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from hashlib import sha256

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from wsaas.connections.messages import Reached
from wsaas.errors import OverloadedError

#: For how many seconds counts are remembered, and of how many publications.
SECONDS, MOST = 120.0, 65536


def whole_key(key: bytes, targets: str, line: int = 0) -> bytes:
    """Tell the publications under one ``Idempotency-Key`` apart.

    :param key: the header
    :param targets: as they are written in the request; or the tag of a connection that is named by key
    :param line: the number of the line in a batch
    :returns: the ``key`` of a :class:`.Publication`
    """
    # Hashed, as a line of a batch may name a thousand targets.
    return sha256(b"%d %b %b" % (line, key, targets.encode("utf-8", "surrogatepass"))).digest()


class _Known:
    """One publication: its counts, or who waits for them."""

    __slots__ = ("at", "reached", "waiting")

    def __init__(self, at: float) -> None:
        self.at = at
        self.reached: Reached | None = None
        self.waiting: list[Deferred[Reached]] = []

    def wait(self) -> Deferred[Reached]:
        """:returns: fires with the counts; cancelling it does not affect others"""
        if self.reached is not None:
            return succeed(self.reached)
        deferred: Deferred[Reached] = Deferred(self.waiting.remove)
        self.waiting.append(deferred)
        return deferred

    def settle(self, result: Reached | Failure) -> None:
        """Tell all who wait."""
        while self.waiting:
            self.waiting.pop(0).callback(result)


class Repeats:
    """Remembers publications by their keys.

    :param clock: for times
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        #: The oldest first. Not a dict: it would look through what was removed at its front, again and again.
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    def __len__(self) -> int:
        """:returns: how many are remembered"""
        return len(self._known)

    def has_room(self, keys: Collection[bytes]) -> bool:
        """:returns: whether publications under all of these keys can be remembered now, unless they are already"""
        self._forget(self._clock.seconds())
        return len(self._known) + sum(key not in self._known for key in keys) <= MOST

    def once(self, key: bytes, publish: Callable[[], Deferred[Reached]]) -> Deferred[Reached]:
        """Publish, unless it was done under this key.

        :param key: see :func:`whole_key`
        :param publish: does it
        :returns: the counts of this publication or of the first under this key, which may still be worked off
        :raises OverloadedError: if too many are remembered, or by ``publish``
        """
        now = self._clock.seconds()
        known = self._known.get(key)
        if known is not None and (known.reached is None or now - known.at < SECONDS):
            return known.wait()
        self._forget(now)
        if len(self._known) >= MOST:
            raise OverloadedError
        publishing = publish()
        # An old one, if there is one, stands in front.
        self._known.pop(key, None)
        known = self._known[key] = _Known(now)
        waiting = known.wait()
        publishing.addBoth(self._settle, key, known)
        return waiting

    def _settle(self, result: Reached | Failure, key: bytes, known: _Known) -> None:
        if isinstance(result, Failure):
            self._known.pop(key, None)
        else:
            known.reached = result
        known.settle(result)

    def _forget(self, now: float) -> None:
        """Forget those that are old; never one that is still worked off."""
        known = self._known
        while known:
            oldest = next(iter(known.values()))
            if oldest.reached is None or now - oldest.at < SECONDS:
                return
            known.popitem(last=False)
