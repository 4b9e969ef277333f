"""DELETEs: the first attempt of each, and those that are paid late (protocol §2.1 and §2.3).

A connection says goodbye once. If the API does not take it, nothing is kept of the connection but a small record, and
one timer serves all records. They come back spread out: each after a pause of its own that grows with every attempt,
one at a time at first, and more only as the API takes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING
from urllib.parse import quote

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsaas.callbacks.answers import NO_ROUTE, is_refused, is_settled, retry_after
from wsaas.callbacks.breaker import Breaker
from wsaas.callbacks.signature import make_signer
from wsaas.callbacks.slots import Slots
from wsaas.callbacks.treq_client import CallsApi
from wsaas.connections.messages import End, PendingDisconnect
from wsaas.connections.retry import Backoff, asked_pause
from wsaas.errors import CallbackFailed
from wsaas.net.http1.messages import Answer

if TYPE_CHECKING:
    from wsaas.callbacks.settings import ApiSettings
    from wsaas.connections.totals import Pending

#: Seconds of the first pause at most, and of any. At the stop there is less time.
PAUSES = (1.0, 300.0)
HURRIED_PAUSES = (0.1, 1.0)
#: Debts found after a crash are spread over so many seconds.
REPAY_OVER = 1.0
#: Bytes of records from which on nobody new is let in. Those who are here may add theirs: nothing is dropped because
#: there is no room.
MAX_BYTES = 64 << 20
#: What a record takes besides its head, in bytes.
RECORD = 500
#: How many records one turn of the timer looks at, so that the reactor's other work has its turn too.
_AT_ONCE = 200


def end_lines(end: End, undelivered: int) -> list[bytes]:
    """:returns: the header lines that say how a connection ended"""
    lines = [b"Ws-Close-Code: %d\r\n" % end.close.code]
    if end.close.reason:
        lines.append(b"Ws-Close-Reason: %b\r\n" % quote(end.close.reason, safe="").encode("ascii"))
    lines.append(b"Ws-Closed-By: %b\r\n" % end.by.value.encode("ascii"))
    if undelivered:
        lines.append(b"Ws-Undelivered: %d\r\n" % undelivered)
    return lines


def _kept_lines(debt: PendingDisconnect) -> bytes:
    """:returns: the header lines of what was kept of a connection"""
    identity = debt.identity
    lines = [b"Ws-Uri: %b\r\nWs-Path: %b\r\n" % (identity.ws_uri.encode("ascii"), debt.target)]
    if debt.client is not None:
        address = debt.client.encode("ascii")
        lines.append(b"Ws-Client: %b\r\nX-Forwarded-For: %b\r\n" % (address, address))
    if debt.state:
        lines.append(b"Ws-State: %b\r\n" % debt.state.encode("ascii"))
    lines += end_lines(debt.end, debt.undelivered)
    lines.append(b"Ws-Id: %b-end\r\n" % identity.tag.encode("ascii"))
    return b"".join(lines)


class Goodbye:
    """A DELETE that is owed.

    :param key: the connection's key, for whoever keeps a list of its own
    :param tag: its name in the log
    :param head: the header lines, all but the ``Ws-Timestamp`` and the ``Ws-Signature``
    :param began: when the first attempt began, in seconds of the clock; :data:`None` before it
    """

    __slots__ = ("began", "head", "key", "refused_at", "tag", "tries")

    def __init__(self, key: str, tag: str, head: bytes) -> None:
        self.key = key
        self.tag = tag
        self.head = head
        self.began: float | None = None
        #: When the API first answered with what is no promise (404, say), if it has done nothing else since.
        self.refused_at: float | None = None
        self.tries = 0


class Goodbyes:
    """Who is still owed a DELETE.

    :param client: makes the calls
    :param slots: how many at once; those that are late hold a quarter at most
    :param breaker: knows whether trying is worth it
    :param clock: for times and the timer
    :param random: a number from 0 to 1
    :param settings: for how long each is tried
    :param pending: counts them, for the drain
    :param fixed_lines: header lines that every callback has
    :param settled: called with the key of each debt that is paid or dropped
    """

    _log = Logger()

    def __init__(
        self,
        client: CallsApi,
        slots: Slots,
        breaker: Breaker,
        clock: IReactorTime,
        random: Callable[[], float],
        settings: ApiSettings,
        pending: Pending,
        fixed_lines: bytes,
        settled: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._client = client
        self._slots = slots
        self._breaker = breaker
        self._clock = clock
        self._random = random
        self._settings = settings
        self._pending = pending
        self._fixed_lines = fixed_lines
        self._settled = settled
        self._signer = make_signer(settings.secrets)
        self._backoff = Backoff(random, *PAUSES)
        #: Records that wait: when they are due, and in which order they came if at the same time.
        self._waiting: list[tuple[float, int, Goodbye]] = []
        self._numbers = count()
        self._timer: IDelayedCall | None = None
        self._turning = False
        self._hurried = False
        self._stopped = False
        #: How many late ones may be tried at once now, and how many are.
        self._window = 1
        self._trying = 0
        self._warned_of_route = False
        #: How many are owed late, and the bytes that they take.
        self.owed = 0
        self.bytes = 0
        #: How many late attempts were begun.
        self.begun = 0
        #: How many were dropped: the API was never told.
        self.lost = 0

    def renew(self, settings: ApiSettings, lines: bytes) -> None:
        """Use new headers for DELETEs of an earlier life, and sign with new secrets from the next attempt on.

        :param lines: header lines that every callback has
        """
        self._fixed_lines = lines
        if self._signer is not None:
            self._signer.renew(settings.secrets)

    @property
    def is_full(self) -> bool:
        """Whether so much is owed that nobody new may come to owe more."""
        return self.bytes >= MAX_BYTES

    # The first attempt

    def say(self, goodbye: Goodbye) -> Deferred[None]:
        """Make the first attempt, in its turn; unless the API is known to be down.

        :returns: fires when the goodbye is paid, or nothing but it need be kept
        """
        if not self._is_worth_it():
            goodbye.began = self._clock.seconds()
            self._put_off(goodbye, None)
            return succeed(None)
        if self._slots.try_acquire("DELETE"):
            return self._try_first(None, goodbye)
        return self._slots.acquire("DELETE").addCallback(self._try_first, goodbye)

    def _try_first(self, _: None, goodbye: Goodbye) -> Deferred[None]:
        return self._attempt(goodbye).addBoth(self._first_ended, goodbye)

    def _first_ended(self, result: Answer | Failure, goodbye: Goodbye) -> None:
        self._slots.release("DELETE")
        if self._is_over(goodbye, result):
            self._settled(goodbye.key)
        else:
            self._put_off(goodbye, result)

    # All attempts

    def _is_worth_it(self) -> bool:
        # One attempt is promised in any case, and at the stop there may be no other.
        return self._hurried or not self._settings.delete_for or self._breaker.admits()

    def _attempt(self, goodbye: Goodbye) -> Deferred[Answer]:
        now = self._clock.seconds()
        if goodbye.began is None:
            goodbye.began = now
        head = b"%bWs-Timestamp: %d\r\n" % (goodbye.head, now)
        if self._signer is not None:
            head += self._signer.line(b"DELETE", head, b"")
        return self._client.call("DELETE", head, None)

    def _is_over(self, goodbye: Goodbye, result: Answer | Failure) -> bool:
        """:returns: whether an attempt was the last one: it was taken, or the time is over"""
        self._breaker.report(result, goodbye.tag)
        now = self._clock.seconds()
        if isinstance(result, Answer):
            if is_settled(result):
                self._look_at_route(result.status)
                return True
            if not is_refused(result):
                goodbye.refused_at = None
            elif goodbye.refused_at is None:
                goodbye.refused_at = now
            reason = f"the API answered {result.status}"
        else:
            if not isinstance(result.value, CallbackFailed):
                self._log.failure("{tag} a fault of the gateway at the goodbye", result, tag=goodbye.tag)
            goodbye.refused_at = None
            reason = str(result.value)
        if now < self._deadline(goodbye):
            return False
        self._lose(goodbye, reason)
        return True

    def _deadline(self, goodbye: Goodbye) -> float:
        if goodbye.refused_at is not None:
            return goodbye.refused_at + self._settings.retry_for
        return (goodbye.began or 0.0) + self._settings.delete_for

    def _look_at_route(self, status: int) -> None:
        if status in NO_ROUTE and not self._warned_of_route:
            self._warned_of_route = True
            self._log.warn(
                "the API answers DELETE with {status}: it is not told which connections are over", status=status
            )

    def _lose(self, goodbye: Goodbye, reason: str) -> None:
        self.lost += 1
        self._log.error(
            "{tag} the API was not told that the connection is over: {reason}",
            tag=goodbye.tag,
            reason=reason,
            lost_goodbyes=self.lost,
        )

    # Those that are late

    def repay(self, debts: Sequence[PendingDisconnect]) -> None:
        """Owe the DELETEs of connections that an earlier process left behind."""
        if debts:
            self._log.warn(
                "{count} connections of an earlier process are over without their DELETE, which follows now",
                count=len(debts),
            )
        now = self._clock.seconds()
        for debt in debts:
            goodbye = Goodbye(debt.identity.key, debt.identity.tag, self._fixed_lines + _kept_lines(debt))
            goodbye.began = debt.ended_at
            self._owe(goodbye)
            self._wait(goodbye, now + self._random() * REPAY_OVER)

    def _put_off(self, goodbye: Goodbye, result: Answer | Failure | None) -> None:
        """Owe what the first attempt did not pay."""
        if not self.owed:
            self._log.warn("the API does not take a DELETE now; it is tried again")
        self._owe(goodbye)
        self._postpone(goodbye, result)

    def _owe(self, goodbye: Goodbye) -> None:
        self.owed += 1
        self.bytes += len(goodbye.head) + RECORD
        self._pending.add()

    def _postpone(self, goodbye: Goodbye, result: Answer | Failure | None) -> None:
        """Try again after a pause, the last time when the time is just over."""
        now = self._clock.seconds()
        asked = asked_pause(retry_after(result), now) if isinstance(result, Answer) else 0.0
        if self._hurried:
            asked = min(asked, HURRIED_PAUSES[1])
        pause = asked + self._backoff.pause(goodbye.tries)
        goodbye.tries += 1
        self._wait(goodbye, min(now + pause, self._deadline(goodbye)))

    def _wait(self, goodbye: Goodbye, due: float) -> None:
        heappush(self._waiting, (due, next(self._numbers), goodbye))
        self._set_timer()

    def _set_timer(self, at_least: float = 0.0) -> None:
        if not self._waiting:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        elif not self._stopped and not self._turning and self._trying < self._window:
            now = self._clock.seconds()
            pause = max(at_least, self._waiting[0][0] - now)
            if self._timer is None:
                self._timer = self._clock.callLater(pause, self._wake)
            elif now + pause < self._timer.getTime():
                self._timer.reset(pause)

    def _wake(self) -> None:
        self._timer = None
        self._turn()

    def _turn(self) -> None:
        """Try those that are due, as many as may be at once. A loop, so that answers that come at once do not nest."""
        if self._turning or self._stopped:
            return
        self._turning = True
        looks = _AT_ONCE
        now = self._clock.seconds()
        try:
            while looks and self._waiting and self._trying < self._window and self._waiting[0][0] <= now:
                looks -= 1
                self._pick(heappop(self._waiting)[2], now)
        finally:
            self._turning = False
        self._set_timer(0.0 if looks else 0.01)

    def _pick(self, goodbye: Goodbye, now: float) -> None:
        if self._is_worth_it():
            self._trying += 1
            self._slots.acquire("LATE").addCallback(self._try_late, goodbye)
        elif now < self._deadline(goodbye):
            self._postpone(goodbye, None)
        else:
            self._lose(goodbye, "it could not be reached in all the time")
            self._pay(goodbye)

    def _try_late(self, _: None, goodbye: Goodbye) -> None:
        self.begun += 1
        self._attempt(goodbye).addBoth(self._late_ended, goodbye)

    def _late_ended(self, result: Answer | Failure, goodbye: Goodbye) -> None:
        self._slots.release("LATE")
        self._trying -= 1
        if self._is_over(goodbye, result):
            self._pay(goodbye)
        else:
            self._postpone(goodbye, result)
        if isinstance(result, Answer) and is_settled(result):
            self._window = min(self._window + 1, self._slots.quarter)
        else:
            self._window = max(1, self._window // 2)
        self._turn()

    def _pay(self, goodbye: Goodbye) -> None:
        """A debt is over, paid or dropped."""
        self.owed -= 1
        self.bytes -= len(goodbye.head) + RECORD
        if not self.owed:
            self._log.info("no DELETE is owed any more")
        self._settled(goodbye.key)
        self._pending.settle()

    # The end

    def hurry(self) -> None:
        """The process stops: try all that wait now, and again after short pauses."""
        self._hurried = True
        self._backoff = Backoff(self._random, *HURRIED_PAUSES)
        now = self._clock.seconds()
        # In the order that they have: that of when they were due.
        self._waiting = [(now, next(self._numbers), goodbye) for _, _, goodbye in sorted(self._waiting)]
        for _, _, goodbye in self._waiting:
            goodbye.tries = 0
        self._turn()

    def stop(self) -> None:
        """Begin no further attempt."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
