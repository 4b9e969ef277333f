"""DELETEs: the first attempt of each, and the late ones (protocol §2.1 and §2.3).

Every connection gets one DELETE. If the API does not take it, nothing is kept of the connection but a small record, and
one timer serves all records. Attempts are spread out: each after a pause of its own that grows with every attempt, one
at a time at first, and more only as the API takes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from operator import attrgetter
from typing import TYPE_CHECKING
from urllib.parse import quote

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsaas.callbacks.access import ApiAccess
from wsaas.callbacks.answers import NO_ROUTE, is_refused, is_settled, read_last_words, retry_after
from wsaas.callbacks.publishing import AnswerPublisher
from wsaas.callbacks.signature import make_signer
from wsaas.callbacks.tracing import Trace
from wsaas.connections.messages import End, PendingDisconnect, Remembered
from wsaas.connections.retry import Backoff, asked_pause
from wsaas.errors import CallbackFailed
from wsaas.groups.names import encode
from wsaas.net.http1.headers import EncodedHeaders
from wsaas.net.http1.messages import Answer

if TYPE_CHECKING:
    from wsaas.connections.totals import Pending

#: Seconds of the first pause at most, and of any. At the stop there is less time.
PAUSES = (1.0, 300.0)
HURRIED_PAUSES = (0.1, 1.0)
#: DELETEs found pending after a crash are spread over so many seconds.
RESUME_OVER = 1.0
#: Bytes of records from which on new clients are refused. Clients that are connected may add theirs: nothing is dropped
#: because there is no room.
MAX_BYTES = 64 << 20
#: What a record takes besides its head, in bytes.
RECORD = 500
#: Bytes of a ``Ws-Groups``.
MAX_GROUPS = 1024
_BETWEEN = ", "
#: How many records one turn of the timer looks at, so that the reactor's other work has its turn too.
_AT_ONCE = 200


def remembered_lines(remembered: Remembered) -> bytes:
    """:returns: the header lines that repeat what the API set"""
    lines = b"" if remembered.state is None else b"Ws-State: %b\r\n" % remembered.state.encode("ascii")
    if remembered.user is not None:
        lines += b"Ws-User: %b\r\n" % encode(remembered.user).encode("ascii")
    return lines


def end_lines(end: End, undelivered: int) -> list[bytes]:
    """:returns: the header lines that say how a connection ended"""
    lines = [b"Ws-Close-Code: %d\r\n" % end.close.code]
    if end.close.reason:
        lines.append(b"Ws-Close-Reason: %b\r\n" % quote(end.close.reason, safe="").encode("ascii"))
    lines.append(b"Ws-Closed-By: %b\r\n" % end.by.value.encode("ascii"))
    if undelivered:
        lines.append(b"Ws-Undelivered: %d\r\n" % undelivered)
    return lines


def groups_lines(names: Sequence[str]) -> bytes:
    """:returns: the header lines that say in which groups a connection was, at most :data:`MAX_GROUPS` bytes of names

    :param names: in order of joining, not encoded
    """
    listed: list[str] = []
    size = -len(_BETWEEN)
    for name in map(encode, names):
        size += len(_BETWEEN) + len(name)
        if size > MAX_GROUPS:
            break
        listed.append(name)
    lines = f"Ws-Groups: {_BETWEEN.join(listed)}\r\n" if listed else ""
    if len(listed) < len(names):
        lines += f"Ws-Groups-Left-Out: {len(names) - len(listed)}\r\n"
    return lines.encode("ascii")


def _kept_lines(pending: PendingDisconnect) -> bytes:
    """:returns: the header lines of what was kept of a connection"""
    identity = pending.identity
    lines = [b"Ws-Uri: %b\r\nWs-Path: %b\r\n" % (identity.ws_uri.encode("ascii"), pending.target)]
    if pending.client is not None:
        address = pending.client.encode("ascii")
        lines.append(b"Ws-Client: %b\r\nX-Forwarded-For: %b\r\n" % (address, address))
    if pending.remembered is not None:
        lines.append(remembered_lines(pending.remembered))
    lines += end_lines(pending.end, pending.undelivered)
    lines.append(b"Ws-Id: %b-end\r\n" % identity.tag.encode("ascii"))
    return b"".join(lines)


@dataclass(slots=True, eq=False)
class Disconnect:
    """The DELETE of one connection.

    :param key: the connection's key, for the journal
    :param tag: its name in the log
    :param head: the header lines, all but the ``Ws-Timestamp``, the ``Ws-Signature`` and the ``traceparent``
    :param trace: its connection's, with ``TRACE=on``
    :param began: when the first attempt began, in seconds of the clock; :data:`None` before it
    :param refused_at: when the API first answered with what is no promise (404, say), if it has done nothing else since
    """

    key: str = field(repr=False)
    tag: str
    head: bytes = field(repr=False)
    trace: Trace | None = None
    began: float | None = None
    refused_at: float | None = None
    tries: int = 0


class Disconnects:
    """The DELETEs that the API has not taken yet.

    :param access: how the API is called; late attempts hold a quarter of the slots at most
    :param random: a number from 0 to 1
    :param pending: counts them, for the drain
    :param publisher: publishes what answers ask for
    :param settled: called with the key of each connection whose DELETE was taken or dropped
    """

    _log = Logger()

    def __init__(
        self,
        access: ApiAccess,
        random: Callable[[], float],
        pending: Pending,
        publisher: AnswerPublisher,
        settled: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._client = access.client
        self._slots = access.slots
        self._breaker = access.breaker
        self._clock = access.clock
        self._now = access.now
        self._settings = access.settings
        self._tracer = access.tracer
        self._fixed_lines = access.fixed_lines
        self._random = random
        self._pending = pending
        self._publisher = publisher
        self._settled = settled
        self._signer = make_signer(access.settings.secrets, access.settings.webhook_keys)
        self._backoff = Backoff(random, *PAUSES)
        #: Records that wait: when they are due, and in which order they came if at the same time.
        self._heap: list[tuple[float, int, Disconnect]] = []
        self._numbers = count()
        self._timer: IDelayedCall | None = None
        self._turning = False
        self._hurried = False
        self._stopped = False
        #: How many late ones may be tried at once now, and how many are.
        self._window = 1
        self._trying = 0
        self._warned_of_route = False
        #: How many wait for a late attempt or its answer, and the bytes that they take.
        self.waiting = 0
        self.bytes = 0
        #: Which, in the order in which they came.
        self._kept: dict[Disconnect, None] = {}
        #: How many late attempts were begun.
        self.begun = 0
        #: How many were dropped: the API was never told.
        self.lost = 0

    def renew(self, access: ApiAccess) -> None:
        """Use new headers for DELETEs of an earlier life, and sign with new secrets from the next attempt on."""
        self._fixed_lines = access.fixed_lines
        if self._signer is not None:
            self._signer.renew(access.settings.secrets, access.settings.webhook_keys)

    @property
    def is_full(self) -> bool:
        """Whether so many are waiting that new clients are refused."""
        return self.bytes >= MAX_BYTES

    @property
    def oldest(self) -> float:
        """For how many seconds the first of those that are waiting has been pending; 0 if none is."""
        first = next(iter(self._kept), None)
        return 0.0 if first is None or first.began is None else self._clock.seconds() - first.began

    # The first attempt

    def send(self, disconnect: Disconnect) -> Deferred[None]:
        """Make the first attempt, in its turn; unless the API is known to be down.

        :returns: fires when the DELETE was taken, or nothing but its record need be kept of the connection
        """
        if not self._is_worth_it():
            disconnect.began = self._clock.seconds()
            self._put_off(disconnect, None)
            return succeed(None)
        if self._slots.try_acquire("DELETE"):
            return self._try_first(None, disconnect)
        return self._slots.acquire("DELETE").addCallback(self._try_first, disconnect)

    def _try_first(self, _: None, disconnect: Disconnect) -> Deferred[None]:
        return self._attempt(disconnect).addBoth(self._first_ended, disconnect)

    def _first_ended(self, result: Answer | Failure, disconnect: Disconnect) -> None:
        self._slots.release("DELETE")
        if self._is_over(disconnect, result):
            self._settled(disconnect.key)
        else:
            self._put_off(disconnect, result)

    # All attempts

    def _is_worth_it(self) -> bool:
        # One attempt is promised in any case, and at the stop there may be no other.
        return self._hurried or not self._settings.delete_for or self._breaker.admits()

    def _attempt(self, disconnect: Disconnect) -> Deferred[Answer]:
        if disconnect.began is None:
            disconnect.began = self._clock.seconds()
        head = b"%bWs-Timestamp: %d\r\n" % (disconnect.head, self._now())
        if self._signer is not None:
            head += self._signer.line(b"DELETE", head, b"")
        if disconnect.trace is not None:
            head += disconnect.trace.line()
        return self._client.delete(self._client.uri, headers=EncodedHeaders(head))

    def _is_over(self, disconnect: Disconnect, result: Answer | Failure) -> bool:
        """:returns: whether an attempt was the last one: it was taken, or the time is over"""
        self._breaker.report(result, disconnect.tag)
        now = self._clock.seconds()
        if isinstance(result, Answer):
            if is_settled(result):
                self._look_at_route(result.status)
                self._publish(result, disconnect.tag)
                return True
            if not is_refused(result):
                disconnect.refused_at = None
            elif disconnect.refused_at is None:
                disconnect.refused_at = now
            reason = f"the API answered {result.status}"
        else:
            if not isinstance(result.value, CallbackFailed):
                self._log.failure("{tag} a fault of the gateway at the disconnect callback", result, tag=disconnect.tag)
            disconnect.refused_at = None
            reason = str(result.value)
        if now < self._deadline(disconnect):
            return False
        self._lose(disconnect, reason)
        return True

    def _deadline(self, disconnect: Disconnect) -> float:
        if disconnect.refused_at is not None:
            return disconnect.refused_at + self._settings.retry_for
        return (disconnect.began or 0.0) + self._settings.delete_for

    def _publish(self, answer: Answer, tag: str) -> None:
        """Publish what the answer to a DELETE asks for. Nothing waits for it: no other callback follows."""
        try:
            publication = read_last_words(answer)
        except CallbackFailed as error:
            self._log.error("{tag} the answer to the DELETE: {reason}", tag=tag, reason=error.reason)
        else:
            if publication is not None:
                self._publisher.publish(publication, tag)

    def _look_at_route(self, status: int) -> None:
        if status in NO_ROUTE and not self._warned_of_route:
            self._warned_of_route = True
            self._log.warn(
                "the API answers DELETE with {status}: it is not told which connections are over", status=status
            )

    def _lose(self, disconnect: Disconnect, reason: str) -> None:
        self.lost += 1
        self._log.error(
            "{tag} the API was not told that the connection is over: {reason}",
            tag=disconnect.tag,
            reason=reason,
            lost_disconnects=self.lost,
        )

    # Those that are late

    def resume(self, found: Sequence[PendingDisconnect]) -> None:
        """Take over the DELETEs of connections that an earlier process left behind."""
        if found:
            self._log.warn(
                "{count} connections of an earlier process are over without their DELETE, which follows now",
                count=len(found),
            )
        now, today = self._clock.seconds(), self._now()
        for pending in sorted(found, key=attrgetter("ended_at")):
            identity = pending.identity
            # Of its headers the journal has none, so nor of its trace.
            trace = None if self._tracer is None else self._tracer.begin()
            disconnect = Disconnect(identity.key, identity.tag, self._fixed_lines + _kept_lines(pending), trace)
            # Only its age is taken over: the earlier process had another clock. If it ended in the future, the time of
            # day was set back since.
            disconnect.began = now - max(0.0, today - pending.ended_at)
            self._add(disconnect)
            self._wait(disconnect, now + self._random() * RESUME_OVER)

    def _put_off(self, disconnect: Disconnect, result: Answer | Failure | None) -> None:
        """Keep what the first attempt did not settle for a late one."""
        if not self.waiting:
            self._log.warn("the API does not take a DELETE now; it is tried again")
        self._add(disconnect)
        self._postpone(disconnect, result)

    def _add(self, disconnect: Disconnect) -> None:
        self._kept[disconnect] = None
        self.waiting += 1
        self.bytes += len(disconnect.head) + RECORD
        self._pending.add()

    def _postpone(self, disconnect: Disconnect, result: Answer | Failure | None) -> None:
        """Try again after a pause, the last time when the time is just over."""
        now = self._clock.seconds()
        asked = asked_pause(retry_after(result), self._now()) if isinstance(result, Answer) else 0.0
        if self._hurried:
            asked = min(asked, HURRIED_PAUSES[1])
        pause = asked + self._backoff.pause(disconnect.tries)
        disconnect.tries += 1
        self._wait(disconnect, min(now + pause, self._deadline(disconnect)))

    def _wait(self, disconnect: Disconnect, due: float) -> None:
        heappush(self._heap, (due, next(self._numbers), disconnect))
        self._set_timer()

    def _set_timer(self, at_least: float = 0.0) -> None:
        if not self._heap:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        elif not self._stopped and not self._turning and self._trying < self._window:
            now = self._clock.seconds()
            pause = max(at_least, self._heap[0][0] - now)
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
            while looks and self._heap and self._trying < self._window and self._heap[0][0] <= now:
                looks -= 1
                self._pick(heappop(self._heap)[2], now)
        finally:
            self._turning = False
        self._set_timer(0.0 if looks else 0.01)

    def _pick(self, disconnect: Disconnect, now: float) -> None:
        if self._is_worth_it():
            self._trying += 1
            self._slots.acquire("LATE").addCallback(self._try_late, disconnect)
        elif now < self._deadline(disconnect):
            self._postpone(disconnect, None)
        else:
            self._lose(disconnect, "it could not be reached in all the time")
            self._settle(disconnect)

    def _try_late(self, _: None, disconnect: Disconnect) -> None:
        self.begun += 1
        self._attempt(disconnect).addBoth(self._late_ended, disconnect)

    def _late_ended(self, result: Answer | Failure, disconnect: Disconnect) -> None:
        self._slots.release("LATE")
        self._trying -= 1
        if self._is_over(disconnect, result):
            self._settle(disconnect)
        else:
            self._postpone(disconnect, result)
        if isinstance(result, Answer) and is_settled(result):
            self._window = min(self._window + 1, self._slots.quarter)
        else:
            self._window = max(1, self._window // 2)
        self._turn()

    def _settle(self, disconnect: Disconnect) -> None:
        """A late DELETE is over, taken or dropped."""
        del self._kept[disconnect]
        self.waiting -= 1
        self.bytes -= len(disconnect.head) + RECORD
        if not self.waiting:
            self._log.info("no DELETE is pending any more")
        self._settled(disconnect.key)
        self._pending.settle()

    # The end

    def hurry(self) -> None:
        """The process stops: try all that wait now, and again after short pauses."""
        self._hurried = True
        self._backoff = Backoff(self._random, *HURRIED_PAUSES)
        now = self._clock.seconds()
        # In the order that they have: that of when they were due.
        self._heap = [(now, next(self._numbers), disconnect) for _, _, disconnect in sorted(self._heap)]
        for _, _, disconnect in self._heap:
            disconnect.tries = 0
        self._turn()

    def stop(self) -> None:
        """Begin no further attempt."""
        self._stopped = True
        self._publisher.stop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
