"""The life of one connection, as a state machine without I/O of its own.

::

    AUTHORISING ──granted──▶ OPEN ──Close asked for or received──▶ CLOSING ──TCP over──▶ OVER
         │                    └──────────────TCP over─────────────────────────────────────▲
         └──refused, or the client left (then the POST's answer is awaited all the same)──┘

This module decides the order of callbacks (the POST, then one PUT at a time, then one DELETE, each finished before the
next begins), when to stop reading the client, who closed first, and whether a DELETE is due. :class:`.Inbox` queues
messages to the API, :class:`.Outbox` messages to the client. The client is a :class:`.Peer`, the API is
:class:`.Calls`; both are passed in, so that tests need no socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from wsaas.connections.close_timeout import CloseTimeout
from wsaas.connections.inbox import Inbox
from wsaas.connections.keepalive import Keepalive, check_interval, ping_interval
from wsaas.connections.log import ConnectionLog
from wsaas.connections.messages import TAKEN, Close, ClosedBy, End, Rejected, Traffic, remember
from wsaas.connections.outbox import Outbox
from wsaas.connections.states import LET_IN, STILL_DELIVERED, State
from wsaas.connections.wishes import regroup
from wsaas.errors import CallbackFailed, ClientLeftError, NotTried, Unusable

if TYPE_CHECKING:
    from wsaas.connections.identity import Identity
    from wsaas.connections.interfaces import Calls, Peer
    from wsaas.connections.messages import Delivered, Grant, Handshake, Message, Outcome, Remembered, Wishes
    from wsaas.connections.totals import Shared

__all__ = ["Connection", "State"]


class Connection:
    """One client, from its handshake request to the end of its DELETE.

    :param identity: its key and tag
    :param handshake: the client's request to connect
    :param calls: its callbacks to the API
    :param shared: what it has in common with all others
    """

    __slots__ = (
        "_calls",
        "_check_is_soon",
        "_close_timeout",
        "_end",
        "_inbox",
        "_keepalive",
        "_paused",
        "_peer",
        "_shared",
        "bucket",
        "groups",
        "handshake",
        "identity",
        "outbox",
        "protocol",
        "remembered",
        "state",
        "traffic",
    )

    _log = ConnectionLog()

    def __init__(
        self,
        identity: Identity,
        handshake: Handshake,
        calls: Calls,
        shared: Shared,
    ) -> None:
        self.identity = identity
        self.handshake = handshake
        self.state = State.AUTHORISING
        self.protocol: str | None = None
        #: What the API set, and every callback repeats.
        self.remembered: Remembered | None = None
        #: What it is in, in order of joining: targets such as ``groups/<name>``, and ``users/<name>`` of its user. They
        #: stay when it has left them all, at its end.
        self.groups: tuple[str, ...] = ()
        self.traffic = Traffic()
        self._calls = calls
        self._shared = shared
        settings, clock, totals = shared.settings, shared.clock, shared.totals
        self._peer: Peer | None = None
        self._end: End | None = None
        room = settings.max_buffer - settings.max_message
        self._inbox = Inbox(self, calls, room, totals.budgets.incoming)
        self._paused = False
        self._keepalive = Keepalive(clock.seconds())
        #: Sends messages to the client.
        self.outbox = Outbox(identity, self.traffic, self._keepalive, settings.max_buffer, totals, clock)
        self._check_is_soon = False
        #: Its bucket in the timer wheel.
        self.bucket: set[Connection] | None = None
        self._close_timeout: CloseTimeout | None = None

    # The handshake

    def authorise(self) -> Deferred[Grant]:
        """Ask the API whether the client may connect.

        From here on pushes find the connection, and its DELETE is pending.

        :returns: fires with the grant, and then the caller must call :meth:`open` at once; or fails with
            :class:`~wsaas.errors.CallbackFailed`, or :class:`ClientLeftError` if the grant came too late
        """
        self._shared.enter(self)
        try:
            recording = self._shared.journal.begin(self.identity, self.handshake)
            asking = self._calls.connect() if recording is None else recording.addCallback(self._recorded)
        except Exception:  # noqa: BLE001 - whatever it is, the counters above must be reset
            asking = fail()
        return asking.addCallbacks(self._granted, self._not_granted)

    def _recorded(self, _: None) -> Deferred[Grant]:
        if self._end is not None:
            raise NotTried("the client left, or the gateway is stopping", 1)
        return self._calls.connect()

    def _granted(self, grant: Grant) -> Grant | Failure:
        if grant.state is not None or grant.wishes is not None:
            self._remember(grant.state, grant.wishes)
        self.protocol = grant.protocol
        try:
            if grant.wishes is not None:
                regroup(self._shared.groups, self, grant.wishes)
        except Exception:  # noqa: BLE001 - whatever it is, the client is not let in
            return self._not_granted(Failure())
        self._shared.totals.asking -= 1
        if self.state is State.OVER or (self._end is not None and self._end.by not in LET_IN):
            self._disconnect()
            raise ClientLeftError
        return grant

    def _remember(self, state: str | None, wishes: Wishes | None) -> None:
        user = None if wishes is None else wishes.user
        remembered = remember(self.remembered, state, user)
        if remembered != self.remembered:
            self.remembered = remembered
            self._shared.journal.remember(self.identity.key, remembered)

    def _not_granted(self, failure: Failure) -> Failure:
        self._shared.totals.asking -= 1
        self._shared.registry.unlist(self)
        self.outbox.forget()
        error = self._log.error_of(self.identity.tag, failure)
        if error.needs_disconnect:
            self._set_end(End(Close(error.close_code), ClosedBy(error.closed_by)))
            self._disconnect()
        else:
            self.state = State.OVER
            self._shut()
            self._inbox.end()
            self._shared.refused(self)
        self.outbox.give_up()
        return Failure(error)

    def left(self) -> None:
        """The client left before the API answered. The answer is awaited all the same: it decides about the DELETE."""
        self._set_end(End(Close(1006), ClosedBy.CLIENT))
        self.state = State.OVER
        self.outbox.give_up()

    def open(self, peer: Peer, close: Close | None, by: ClosedBy = ClosedBy.API) -> None:
        """The handshake is done: the client has its 101.

        :param peer: the client
        :param close: if given, close at once, after what was pushed meanwhile
        :param by: who asked for that close
        """
        self._peer = peer
        self.state = State.OPEN
        self._shared.totals.counts.open += self._end is None
        self.handshake = self.handshake.remembered()
        now = self._shared.clock.seconds()
        self.traffic.connected_at, self.traffic.opened_at = self._shared.now(), now
        self._keepalive.listening(now)
        self._keepalive.about_to_send(now)
        self._shared.totals.due.put(self, now + ping_interval(self._shared.settings.timeout))
        self.outbox.open(peer, self)
        if self._end is not None:
            self._start_closing(peer, self._end.close)
        elif close is not None:
            self.close(close, by)

    # From the client to the API

    @property
    def last_seen_at(self) -> float:
        """When bytes last came from the client, in Unix seconds by the time of day that it is now."""
        return self._shared.now() - (self._shared.clock.seconds() - self._keepalive.heard_at)

    def heard(self) -> None:
        """Note that bytes came from the client."""
        self._keepalive.heard_at = self._shared.clock.seconds()

    def received(self, message: Message) -> None:
        """Take a complete message of the client."""
        traffic = self.traffic
        counts = self._shared.totals.counts
        size = len(message.payload)
        traffic.messages_in += 1
        traffic.bytes_in += size
        counts.messages_in += 1
        counts.bytes_in += size
        if self._end is not None and self._end.by not in STILL_DELIVERED:
            # The client sent it before it saw our Close frame.
            self._inbox.undelivered += 1
            return
        self._inbox.add(message)
        if self._paused or self._inbox.is_full:
            self._regulate()

    def _regulate(self) -> None:
        """Pause or resume reading the client, by the room for its next message."""
        if self._peer is None or (self._end is not None and self._end.by is not ClosedBy.SLOW):
            return
        if not self._paused and self._inbox.is_full:
            self._pause(self._peer)
        elif self._paused and self._inbox.is_roomy:
            self._resume(self._peer)

    def _pause(self, peer: Peer) -> None:
        self._paused = True
        self._shared.totals.counts.paused += 1
        peer.pause()

    def _resume(self, peer: Peer) -> None:
        # What the client sent while it was not read was not heard, so its silence starts now.
        self._paused = False
        self._shared.totals.counts.paused -= 1
        self._keepalive.listening(self._shared.clock.seconds())
        peer.resume()

    def drained(self) -> None:
        """Go on after the peer's buffer has emptied: send the reply that waits, then start the next PUT."""
        if self.state is State.OPEN and self.outbox.drained():
            self._inbox.proceed()

    def unblocked(self) -> None:
        """A reply that waited for room was sent: start the next PUT."""
        self._inbox.proceed()

    @property
    def is_blocked(self) -> bool:
        """Whether the next PUT has to wait, because an earlier reply waits for room."""
        return self.outbox.waiting is not None

    def answered(self, number: int, outcome: Outcome) -> None:
        """Carry out the API's answer to a message."""
        if outcome is TAKEN and not self._paused:
            return  # the usual case: there is nothing to do, and more room than before
        if isinstance(outcome, Rejected):
            self._shared.totals.counts.rejected += 1
            self._log.refused(self.identity.tag, number, outcome.status)
        else:
            if outcome.state is not None or outcome.wishes is not None:
                self._remember(outcome.state, outcome.wishes)
            if outcome.wishes is None or self._carry_out(number, outcome, outcome.wishes):
                self._answer_client(outcome)
        self._regulate()

    def _carry_out(self, number: int, delivered: Delivered, wishes: Wishes) -> bool:
        """:returns: whether the client gets its part now: there is one, and nothing is published before it"""
        try:
            regroup(self._shared.groups, self, wishes)
        except CallbackFailed:
            self.unanswered(number, Failure())
            return False
        if wishes.publication is None:
            return True
        # Everything else waits for it, the next callback too.
        self._inbox.hold()
        publishing = self._calls.publish(wishes.publication, self._stall)
        publishing.addCallback(lambda _: self._answer_client(delivered))
        publishing.addErrback(self.faulted).addCallback(self._published)
        return False

    def _answer_client(self, delivered: Delivered) -> None:
        if self._peer is None or self.state is not State.OPEN:
            return
        if delivered.reply is not None:
            self.outbox.reply(delivered.reply)
        if delivered.close is not None:
            self.close(delivered.close, ClosedBy.API)

    def _published(self, _: None) -> None:
        self._inbox.release()
        self._regulate()

    def _stall(self) -> None:
        """Stop reading the client until there is room for what the answer to its message publishes."""
        self._inbox.hold(reading=False)
        if self._peer is not None and self._end is None and not self._paused:
            self._pause(self._peer)

    def unanswered(self, number: int, failure: Failure) -> None:
        """Close the connection: a message brought no usable answer, and no other may overtake it."""
        error = self._log.error_of(self.identity.tag, failure)
        self._log.unanswered(self.identity.tag, number, error.reason)
        self._inbox.undelivered += not error.answered
        if self._end is not None and isinstance(error, Unusable):
            # The API has the message; a client that is gone does not need the answer.
            return
        self._inbox.drop()
        self.close(Close(error.close_code), ClosedBy(error.closed_by))

    def retrying(self, number: int, error: CallbackFailed) -> None:
        """Stop reading the client until a message whose first attempt failed is delivered or given up."""
        self._log.retrying(self.identity.tag, number, error.reason)
        if self._peer is not None and self._end is None and not self._paused:
            self._pause(self._peer)

    # The end

    def _set_end(self, end: End) -> bool:
        """:returns: whether this is the first cause"""
        if self._end is not None:
            return False
        self._end = end
        self._shut()
        self._shared.totals.counts.open -= self.state is State.OPEN
        self._shared.registry.unlist(self)
        return True

    def _shut(self) -> None:
        """No push finds it any more, and no publish."""
        self.outbox.shut = True
        if self.groups:
            self._shared.groups.end(self)

    def close(self, close: Close, by: ClosedBy) -> bool:
        """Close the connection from this side, after what was sent before.

        Messages of the client whose PUT has not started are dropped and counted.

        :returns: whether this was the first cause
        """
        if not self._set_end(End(close, by)):
            return False
        self._inbox.drop()
        if self._peer is not None:
            self._start_closing(self._peer, close)
        return True

    def _start_closing(self, peer: Peer, close: Close) -> None:
        self.state = State.CLOSING
        self._close_timeout = CloseTimeout(peer, self._shared.clock)
        # A reply that waits was there before the Close, so it is sent first.
        self.outbox.flush()
        peer.close(close)
        if self._paused and self._peer is not None:
            # The answer to the Close frame must be read.
            self._resume(peer)

    def fall_behind(self) -> None:
        """Close with 1013: there is no room for a message that it must not miss.

        What the client sent before it sees the Close is still delivered: it did not do anything wrong.
        """
        close = Close(1013)
        if self._set_end(End(close, ClosedBy.SLOW)) and self._peer is not None:
            self._start_closing(self._peer, close)
            self._inbox.proceed()  # No reply waits any more.

    def closed_by_client(self, close: Close) -> None:
        """Take the client's Close frame. Messages that came before it are still delivered.

        :param close: its code and reason; 1005 if it had none (RFC 6455 §7.1.5)
        """
        if self._set_end(End(close, ClosedBy.CLIENT)) and self._peer is not None:
            self.state = State.CLOSING
            self.outbox.forget()
            # The client may not read the answer to its Close frame.
            self._close_timeout = CloseTimeout(self._peer, self._shared.clock)
            self._inbox.proceed()
        self.outbox.give_up()

    def overwhelmed(self) -> None:
        """Close with 1013: the messages of all clients together exceed the budget."""
        self._log.no_room(self.identity.tag)
        self.close(Close(1013), ClosedBy.UNREACHABLE)

    def failed_by_peer(self, close: Close, *, at_once: bool = False) -> None:
        """Close because the client broke the protocol or a limit.

        First the message on its way to the API gets its answer, and the client the reply in it.

        :param at_once: skip that, as the client takes no reply any more
        """
        peer = self._peer
        if not self._set_end(End(close, ClosedBy.PROTOCOL)) or peer is None:
            return
        self._inbox.drop()
        if at_once:
            self.outbox.forget()
            self._start_closing(peer, close)
            return
        if not self._paused:
            self._pause(peer)
        self.idle()

    def broke(self) -> None:
        """Close with 1011: a fault of the gateway itself."""
        self.close(Close(1011), ClosedBy.ERROR)
        if self._peer is None:
            self.lost()

    def faulted(self, failure: Failure) -> None:
        """Log a fault in handling an answer, and close."""
        self._log.fault(self.identity.tag, failure)
        self.broke()

    def shut_down(self) -> None:
        """Close with 1001: the process stops. Messages whose PUT has not started are dropped and counted."""
        if not self.close(Close(1001), ClosedBy.SHUTDOWN) and self._inbox.drop():
            self._inbox.proceed()

    def record_end(self) -> None:
        """Record in the journal how the connection ended: the process ends before the API has its DELETE.

        Call it after :meth:`shut_down`, when at most one message can still be on its way.
        """
        if self._end is not None:
            undelivered = self._inbox.undelivered + self._inbox.awaits_answer
            self._shared.journal.ended(self.identity.key, self._end, undelivered)

    def abort(self) -> None:
        """End the TCP connection without waiting for the client."""
        if self._peer is not None:
            self._peer.abort()

    def lost(self) -> None:
        """Clean up after the end of the TCP connection."""
        self._set_end(End(Close(1006), ClosedBy.CLIENT))
        self._peer = None
        self.outbox.lost()
        self._shared.totals.counts.paused -= self._paused
        self._paused = False
        self.state = State.OVER
        self._shared.totals.due.drop(self)
        if self._close_timeout is not None:
            self._close_timeout.over()
            self._close_timeout = None
        self._inbox.proceed()
        self.outbox.give_up()

    def idle(self) -> None:
        """Take the step that waited for the inbox to empty: the DELETE, or the Close."""
        if self._end is None:
            return  # nothing waited: the connection goes on
        if not self._inbox.is_idle:
            return
        if self.state is State.OVER:
            self._disconnect()
        elif self.state is State.OPEN and self._end is not None and self._peer is not None:
            self._start_closing(self._peer, self._end.close)

    def _disconnect(self) -> None:
        end = self._end or End(Close(1006), ClosedBy.CLIENT)
        self.state = State.OVER
        self._inbox.end()  # No PUT may follow the DELETE.
        self.outbox.forget()
        undelivered = self._inbox.undelivered
        self._shared.ended(self, end, undelivered)
        self._calls.disconnect(end, undelivered, self.remembered, self.groups).addBoth(self._gone)
        self.outbox.give_up()

    def _gone(self, result: object) -> None:
        if isinstance(result, Failure):
            self._log.fault(self.identity.tag, result, " at the DELETE")
        self._shared.gone(self)

    # Keepalive

    def check_soon(self) -> None:
        """Have the next check soon: bytes may be buffered for the client, and only repeated checks show progress."""
        if not self._check_is_soon and self._peer is not None:
            self._check_is_soon = True
            shared = self._shared
            shared.totals.due.put(self, shared.clock.seconds() + check_interval(shared.settings.timeout))

    def check(self, now: float, working_since: float = 0.0) -> None:
        """Check whether the client is alive and reads; ping it if it is silent; schedule the next check.

        The gateway's one timer calls this when the connection is due in the timer wheel.

        :param now: the time, in seconds of the clock
        :param working_since: as for :meth:`.Keepalive.check`
        """
        peer = self._peer
        if peer is None or self.state is not State.OPEN:
            return
        found = self._keepalive.check(
            peer, now, self._shared.settings.timeout, listening=not self._paused, working_since=working_since
        )
        if isinstance(found, ClosedBy):
            self._set_end(End(Close(1006), found))
            self.state = State.CLOSING
            peer.abort()
            return
        self._check_is_soon = False
        self._shared.totals.due.put(self, found)
        if self.outbox.waiting is not None:
            # The transport may not tell of room if WS_MAX_BUFFER is smaller than its own buffer.
            self.drained()
