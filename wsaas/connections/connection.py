"""One connection's life, without input or output of its own.

::

    AUTHORISING ──granted──▶ OPEN ──Close asked for or received──▶ CLOSING ──TCP over──▶ OVER
         │                    └──────────────TCP over─────────────────────────────────────▲
         └──refused, or the client left (then the POST's answer is awaited all the same)──┘

Here is decided, and only here: the order of callbacks (the POST, then one PUT at a time, then one DELETE, each finished
before the next begins), when the client is not read, who closed first, and what is owed. What waits on the way to the
API is :class:`.Delivery`'s, on the way to the client :class:`.Outbox`'s. The client's side is a :class:`.Peer`, the
API's side :class:`.Calls`; both come from outside, so that all of it runs in a test without a socket.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from wsaas.connections.close_timeout import Closing
from wsaas.connections.inbox import Delivery
from wsaas.connections.interfaces import NO_JOURNAL
from wsaas.connections.keepalive import Pulse, pause, silence
from wsaas.connections.log import ConnectionLog
from wsaas.connections.messages import (
    TAKEN,
    Close,
    ClosedBy,
    Delivered,
    End,
    Grant,
    Message,
    Outcome,
    Rejected,
    Traffic,
)
from wsaas.connections.outbox import Outbox
from wsaas.errors import (
    CallbackFailed,
    ClientLeftError,
    Denied,
    GatewayFault,
    NotTried,
    Unusable,
)

if TYPE_CHECKING:
    from wsaas.connections.identity import Identity
    from wsaas.connections.interfaces import Calls, Journal, Peer
    from wsaas.connections.messages import Handshake
    from wsaas.connections.registry import Registry
    from wsaas.connections.settings import ConnectionSettings
    from wsaas.connections.totals import Totals

#: After these ends, messages that had arrived are still delivered: nobody but the client knows that it is gone.
_STILL_DELIVERED = frozenset({ClosedBy.CLIENT, ClosedBy.TIMEOUT, ClosedBy.SLOW})


class State(Enum):
    """Where in its life a connection is."""

    AUTHORISING = "authorising"
    OPEN = "open"
    CLOSING = "closing"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Shared:
    """What a connection has in common with all others.

    :param settings: the bounds of each
    :param registry: told when one can be addressed, and when nothing is left of it
    :param totals: what all of them share
    :param clock: for timers and times
    :param journal: told which DELETEs are pending
    """

    settings: ConnectionSettings
    registry: Registry
    totals: Totals
    clock: IReactorTime
    journal: Journal = NO_JOURNAL


class Connection:
    """One client, from its handshake request to the end of what is owed to the API.

    :param identity: its names
    :param handshake: what its client asked for
    :param calls: its callbacks
    :param shared: what it has in common with all others
    """

    __slots__ = (
        "_calls",
        "_closing",
        "_delivery",
        "_end",
        "_looked_at_soon",
        "_paused",
        "_peer",
        "_pulse",
        "_shared",
        "bucket",
        "handshake",
        "identity",
        "outbox",
        "protocol",
        "state",
        "traffic",
        "ws_state",
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
        #: What the API last set with ``Ws-State``.
        self.ws_state: str | None = None
        self.traffic = Traffic()
        self._calls = calls
        self._shared = shared
        settings, clock, totals = shared.settings, shared.clock, shared.totals
        self._peer: Peer | None = None
        self._end: End | None = None
        room = settings.max_buffer - settings.max_message
        self._delivery = Delivery(self, calls, room, totals.budgets.incoming)
        self._paused = False
        self._pulse = Pulse(clock.seconds())
        #: What goes to the client.
        self.outbox = Outbox(identity, self.traffic, self._pulse, settings.max_buffer, totals, clock)
        self._looked_at_soon = False
        #: Where it stands in the registry's wheel.
        self.bucket: set[Connection] | None = None
        self._closing: Closing | None = None

    # The handshake

    def authorise(self) -> Deferred[Grant]:
        """Ask the API.

        From here on pushes find the connection and a goodbye may be owed.

        :returns: fires with the grant, and then :meth:`open` must be called at once; or fails with
            :class:`~wsaas.errors.CallbackFailed`, or :class:`ClientLeftError` if the grant came too late
        """
        self._shared.registry.add(self)
        self._shared.totals.pending.add()
        self._shared.totals.addresses.enter(self.handshake.client)
        self._shared.totals.asking += 1
        try:
            recording = self._shared.journal.owe(self.identity, self.handshake)
            asking = self._calls.connect() if recording is None else recording.addCallback(self._recorded)
        except Exception:  # noqa: BLE001 - whatever it is, what was counted above has to be counted back
            asking = fail()
        return asking.addCallbacks(self._granted, self._not_granted)

    def _recorded(self, _: None) -> Deferred[Grant]:
        if self._end is not None:
            raise NotTried("the client left, or the gateway is stopping", 1)
        return self._calls.connect()

    def _granted(self, grant: Grant) -> Grant:
        self._shared.totals.asking -= 1
        if grant.state:
            self.ws_state = grant.state
            self._shared.journal.remember(self.identity.key, grant.state)
        self.protocol = grant.protocol
        if self.state is State.OVER or (self._end is not None and self._end.by is not ClosedBy.API):
            self._say_goodbye()
            raise ClientLeftError
        return grant

    def _not_granted(self, failure: Failure) -> Failure:
        self._shared.totals.asking -= 1
        self._shared.registry.unlist(self)
        self.outbox.forget()
        error = self._callback_error(failure)
        # While the API is down, or the journal, there may be many who are not even asked for; that it is has been said.
        if not isinstance(error, (Denied, NotTried)):
            self._log.no_grant(self.identity.tag, error.reason)
        if error.owed:
            self._set_end(End(Close(error.close_code), ClosedBy(error.closed_by)))
            self._say_goodbye()
        else:
            self._is_over()
            self._leave_address()
            self.outbox.shut = True
            self._delivery.end()
            self._shared.journal.settle(self.identity.key)
            self._shared.registry.remove(self)
            self._shared.totals.pending.settle()
        self.outbox.give_up()
        return Failure(error)

    def _callback_error(self, failure: Failure) -> CallbackFailed:
        """:returns: why a callback failed; what nobody foresaw is logged and counts as our fault"""
        if isinstance(failure.value, CallbackFailed):
            return failure.value
        self._log.fault(self.identity.tag, failure)
        return GatewayFault("a fault of the gateway")

    def left(self) -> None:
        """The client went away while the API was asked. The answer is awaited all the same: a DELETE may be owed."""
        self._set_end(End(Close(1006), ClosedBy.CLIENT))
        self._is_over()
        self.outbox.give_up()

    def open(self, peer: Peer, close: Close | None, by: ClosedBy = ClosedBy.API) -> None:
        """The client has its 101.

        :param peer: the client
        :param close: close at once, after what was pushed meanwhile
        :param by: whose wish that is
        """
        self._peer = peer
        self.state = State.OPEN
        self._shared.totals.counts.open += self._end is None
        self.handshake = self.handshake.remembered()
        now = self._shared.clock.seconds()
        self.traffic.connected_at = now
        self._pulse.listening(now)
        self._pulse.about_to_send(now)
        self._shared.totals.due.put(self, now + silence(self._shared.settings.timeout))
        self.outbox.open(peer, self)
        if self._end is not None:
            self._start_closing(peer, self._end.close)
        elif close is not None:
            self.close(close, by)

    # From the client to the API

    @property
    def last_seen_at(self) -> float:
        """When something last came from the client, in seconds of the clock."""
        return self._pulse.heard_at

    def heard(self) -> None:
        """Bytes came from the client."""
        self._pulse.heard_at = self._shared.clock.seconds()

    def received(self, message: Message) -> None:
        """A whole message came from the client."""
        traffic = self.traffic
        counts = self._shared.totals.counts
        size = len(message.payload)
        traffic.messages_in += 1
        traffic.bytes_in += size
        counts.messages_in += 1
        counts.bytes_in += size
        if self._end is not None and self._end.by not in _STILL_DELIVERED:
            # The client sent it before it knew of the Close.
            self._delivery.undelivered += 1
            return
        self._delivery.add(message)
        self._regulate()

    def _regulate(self) -> None:
        """Read the client only while there is room for its next message."""
        if self._peer is None or self._end is not None:
            return
        if not self._paused and self._delivery.is_full:
            self._pause(self._peer)
        elif self._paused and self._delivery.is_roomy:
            self._resume(self._peer)

    def _pause(self, peer: Peer) -> None:
        self._paused = True
        self._shared.totals.counts.paused += 1
        peer.pause()

    def _resume(self, peer: Peer) -> None:
        # While the gateway did not read it could not hear: the clock of liveness starts again.
        self._paused = False
        self._shared.totals.counts.paused -= 1
        self._pulse.listening(self._shared.clock.seconds())
        peer.resume()

    def drained(self) -> None:
        """The peer has room again."""
        if self.state is State.OPEN and self.outbox.drained():
            self._delivery.proceed()

    @property
    def is_blocked(self) -> bool:
        """Whether the next PUT has to wait, because a reply waits for room."""
        return self.outbox.waiting is not None

    def answered(self, number: int, outcome: Outcome) -> None:
        """The API answered a message."""
        if outcome is TAKEN:
            pass
        elif isinstance(outcome, Rejected):
            self._shared.totals.counts.rejected += 1
            self._log.refused(self.identity.tag, number, outcome.status)
        else:
            if outcome.state is not None:
                self.ws_state = outcome.state or None
                self._shared.journal.remember(self.identity.key, self.ws_state)
            if self._peer is not None and self.state is State.OPEN:
                self._carry_out(outcome)
        self._regulate()

    def _carry_out(self, delivered: Delivered) -> None:
        if delivered.reply is not None:
            self.outbox.reply(delivered.reply)
        if delivered.close is not None:
            self.close(delivered.close, ClosedBy.API)

    def unanswered(self, number: int, failure: Failure) -> None:
        """A message brought no answer that counts; so nothing may follow it."""
        error = self._callback_error(failure)
        self._log.unanswered(self.identity.tag, number, error.reason)
        self._delivery.undelivered += not error.answered
        if self._end is not None and isinstance(error, Unusable):
            # The API has it; that its answer cannot be carried out is nothing to a client that is gone.
            return
        self._delivery.drop()
        self.close(Close(error.close_code), ClosedBy(error.closed_by))

    def retrying(self, number: int, error: CallbackFailed) -> None:
        """The first attempt of a message failed. Until it is through, or given up, the client is not read."""
        self._log.retrying(self.identity.tag, number, error.reason)
        if self._peer is not None and self._end is None and not self._paused:
            self._pause(self._peer)

    # The end

    def _set_end(self, end: End) -> bool:
        """:returns: whether this is the first cause"""
        if self._end is not None:
            return False
        self._end = end
        self.outbox.shut = True
        self._shared.totals.counts.open -= self.state is State.OPEN
        self._shared.registry.unlist(self)
        return True

    def close(self, close: Close, by: ClosedBy) -> bool:
        """Close the connection from this side, after what was sent before.

        Messages of the client that no PUT was begun for are dropped and counted.

        :returns: whether this was the first cause
        """
        if not self._set_end(End(close, by)):
            return False
        self._delivery.drop()
        if self._peer is not None:
            self._start_closing(self._peer, close)
        return True

    def _start_closing(self, peer: Peer, close: Close) -> None:
        self.state = State.CLOSING
        self._closing = Closing(peer, self._shared.clock)
        # A reply that waits came before the Close, so it goes before it.
        self.outbox.flush()
        peer.close(close)
        if self._paused and self._peer is not None:
            # The answer to the Close frame must be read.
            self._resume(peer)

    def closed_by_client(self, close: Close) -> None:
        """The client's Close frame came. What it sent before is still delivered.

        :param close: its code, 1005 if it had none (RFC 6455 §7.1.5)
        """
        if self._set_end(End(close, ClosedBy.CLIENT)) and self._peer is not None:
            self.state = State.CLOSING
            self.outbox.forget()
            # The answer to it may find a client that does not read.
            self._closing = Closing(self._peer, self._shared.clock)
            self._delivery.proceed()
        self.outbox.give_up()

    def overwhelmed(self) -> None:
        """More waits for the API than there is room for, of all clients together."""
        self._log.no_room(self.identity.tag)
        self.close(Close(1013), ClosedBy.UNREACHABLE)

    def failed_by_peer(self, close: Close, *, at_once: bool = False) -> None:
        """The client broke the protocol or a limit.

        The message on its way to the API gets its answer, and the client that answer's reply; then comes the Close.

        :param at_once: the client takes no reply any more
        """
        peer = self._peer
        if not self._set_end(End(close, ClosedBy.PROTOCOL)) or peer is None:
            return
        self._delivery.drop()
        if at_once:
            self.outbox.forget()
            self._start_closing(peer, close)
            return
        if not self._paused:
            self._pause(peer)
        self.idle()

    def broke(self) -> None:
        """The gateway itself failed the client."""
        self.close(Close(1011), ClosedBy.ERROR)
        if self._peer is None:
            self.lost()

    def faulted(self, failure: Failure) -> None:
        """The gateway failed at an answer."""
        self._log.fault(self.identity.tag, failure)
        self.broke()

    def shut_down(self) -> None:
        """The process stops: close with 1001. What has not been begun is dropped and counted."""
        if not self.close(Close(1001), ClosedBy.SHUTDOWN) and self._delivery.drop():
            self._delivery.proceed()

    def leave_to_next(self) -> None:
        """The process ends before the API answered: have the next one say how the connection ended.

        To be called after :meth:`shut_down`, so that nothing but one message can still be on its way.
        """
        if self._end is not None:
            undelivered = self._delivery.undelivered + (not self._delivery.is_idle)
            self._shared.journal.ended(self.identity.key, self._end, undelivered)

    def abort(self) -> None:
        """Do not wait any longer for the client."""
        if self._peer is not None:
            self._peer.abort()

    def _is_over(self) -> None:
        """There is no client any more: it is gone, or it is not let in."""
        self.state = State.OVER

    def _leave_address(self) -> None:
        """Nothing of the client's is on its way to the API any more.

        Not at the end of TCP: who comes, asks and goes would have the API asked any number of times at once.
        """
        self._shared.totals.addresses.leave(self.handshake.client)

    def lost(self) -> None:
        """The TCP connection is over."""
        self._set_end(End(Close(1006), ClosedBy.CLIENT))
        self._peer = None
        self.outbox.lost()
        self._shared.totals.counts.paused -= self._paused
        self._paused = False
        self._is_over()
        self._shared.totals.due.drop(self)
        if self._closing is not None:
            self._closing.over()
            self._closing = None
        self._delivery.proceed()
        self.outbox.give_up()

    def idle(self) -> None:
        """Take the step that had to wait until no message was waiting or on its way."""
        if not self._delivery.is_idle:
            return
        if self.state is State.OVER:
            self._say_goodbye()
        elif self.state is State.OPEN and self._end is not None and self._peer is not None:
            self._start_closing(self._peer, self._end.close)

    def _say_goodbye(self) -> None:
        end = self._end or End(Close(1006), ClosedBy.CLIENT)
        self._is_over()
        self._leave_address()
        self._delivery.end()  # Nothing may follow.
        self.outbox.forget()
        self._shared.registry.unlist(self)
        self._shared.totals.counts.ended(end, self._delivery.undelivered)
        was_open = self.traffic.connected_at is not None
        self._log.closed(self.identity.tag, end, self._delivery.undelivered, was_open=was_open)
        self._shared.journal.ended(self.identity.key, end, self._delivery.undelivered)
        self._calls.disconnect(end, self._delivery.undelivered, self.ws_state).addBoth(self._gone)
        self.outbox.give_up()

    def _gone(self, result: object) -> None:
        if isinstance(result, Failure):
            self._log.fault(self.identity.tag, result, " at the goodbye")
        self._shared.registry.remove(self)
        self._shared.totals.pending.settle()

    # Liveness

    def look_soon(self) -> None:
        """Something may be buffered for the client: whether it moves shows only to those who look again and again."""
        if not self._looked_at_soon and self._peer is not None:
            self._looked_at_soon = True
            self._shared.totals.due.put(self, self._shared.clock.seconds() + pause(self._shared.settings.timeout))

    def check(self, now: float, working_since: float = 0.0) -> None:
        """Look whether the client is alive and reads; ping it if it is silent.

        Called by the gateway's one timer, when the registry's wheel says that this connection is due. Puts it down for
        the next look.

        :param now: the clock's time, in seconds
        :param working_since: as for :meth:`~wsaas.connections.keepalive.Pulse.look`
        """
        peer = self._peer
        if peer is None or self.state is not State.OPEN:
            return
        found = self._pulse.look(
            peer, now, self._shared.settings.timeout, listening=not self._paused, working_since=working_since
        )
        if isinstance(found, ClosedBy):
            self._set_end(End(Close(1006), found))
            self.state = State.CLOSING
            peer.abort()
            return
        self._looked_at_soon = False
        self._shared.totals.due.put(self, found)
        if self.outbox.waiting is not None:
            # Where WS_MAX_BUFFER is smaller than the transport's own, the transport need not tell.
            self.drained()
