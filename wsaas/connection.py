"""One connection's life, without input or output of its own.

::

    AUTHORISING ──granted──▶ OPEN ──Close asked for or received──▶ CLOSING ──TCP over──▶ OVER
         │                    └──────────────TCP over─────────────────────────────────────▲
         └──refused, or the client left (then the POST's answer is awaited all the same)──┘

Here is decided, and only here: the order of callbacks (the POST, then one PUT at a time, then one DELETE, each finished
before the next begins), what may wait and how much of it, when the client is not read, who closed first, and what is
owed. The client's side is a :class:`~wsaas.interfaces.Peer`, the API's side :class:`~wsaas.interfaces.Calls`; both come
from outside, so that all of it runs in a test without a socket.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsaas.errors import CallbackFailed, Denied, WsaasError
from wsaas.messages import Close, ClosedBy, Delivered, End, Grant, Message, Outcome, Rejected, Traffic

if TYPE_CHECKING:
    from wsaas.handshake import Handshake
    from wsaas.identity import Identity
    from wsaas.interfaces import Calls, Peer
    from wsaas.registry import Registry
    from wsaas.settings import ConnectionSettings

#: How many messages of one client may wait for the API. Bytes are bounded too; this bounds what empty ones cost.
MAX_WAITING = 64
#: How many pushes may wait for the end of the handshake.
MAX_HELD = 64
#: Seconds for the close handshake, and for progress before it (protocol §4).
CLOSE_TIMEOUT = 5.0
#: How often in a row the closing may be given more time because buffered bytes still move.
CLOSE_ROUNDS = 6
#: Pings go out after this many seconds of silence at the latest: below the idle limits of common proxies.
MAX_SILENCE = 25.0


#: After these ends, messages that had arrived are still delivered: nobody but the client knows that it is gone.
_STILL_DELIVERED = frozenset({ClosedBy.CLIENT, ClosedBy.TIMEOUT, ClosedBy.SLOW})


class State(Enum):
    """Where in its life a connection is."""

    AUTHORISING = "authorising"
    OPEN = "open"
    CLOSING = "closing"
    OVER = "over"


class NotPresentError(WsaasError):
    """The connection is closing or over, so nothing can be sent on it."""


class TooSlowError(WsaasError):
    """The client does not read and its buffer is full."""


class ClientLeftError(WsaasError):
    """The client left, or the gateway is stopping, before the API's grant could be used."""


class Connection:
    """One client, from its handshake request to the end of what is owed to the API.

    :param identity: its names
    :param handshake: what its client asked for
    :param calls: its callbacks
    :param settings: its bounds
    :param registry: told when it can be addressed and when it owes nothing any more
    :param clock: for timers and times
    """

    __slots__ = (
        "_calling",
        "_calls",
        "_clock",
        "_close_rounds",
        "_close_timer",
        "_delivering",
        "_end",
        "_held",
        "_held_bytes",
        "_moved_at",
        "_moved_sent",
        "_number",
        "_paused",
        "_peer",
        "_pinged",
        "_registry",
        "_reply",
        "_settings",
        "_undelivered",
        "_waiting",
        "_waiting_bytes",
        "handshake",
        "identity",
        "protocol",
        "state",
        "traffic",
        "ws_state",
    )

    _log = Logger()

    def __init__(
        self,
        identity: Identity,
        handshake: Handshake,
        calls: Calls,
        settings: ConnectionSettings,
        registry: Registry,
        clock: IReactorTime,
    ) -> None:
        self.identity = identity
        self.handshake = handshake
        self.state = State.AUTHORISING
        self.protocol: str | None = None
        #: What the API last set with ``Ws-State``.
        self.ws_state: str | None = None
        self.traffic = Traffic(last_seen_at=clock.seconds())
        self._calls = calls
        self._settings = settings
        self._registry = registry
        self._clock = clock
        self._peer: Peer | None = None
        self._end: End | None = None
        self._held: list[Message] = []
        self._held_bytes = 0
        self._waiting: deque[Message] = deque()
        self._waiting_bytes = 0  # the message in flight included
        self._undelivered = 0
        self._number = 0
        self._calling = False
        self._delivering = False
        self._paused = False
        self._reply: Delivered | None = None
        self._pinged = False
        self._moved_sent = 0
        self._moved_at = 0.0
        self._close_timer: IDelayedCall | None = None
        self._close_rounds = 0

    # The handshake

    def authorise(self) -> Deferred[Grant]:
        """Ask the API.

        From here on pushes find the connection and a goodbye may be owed.

        :returns: fires with the grant, and then :meth:`open` must be called at once; or fails with
            :class:`~wsaas.errors.CallbackFailed`, or :class:`ClientLeftError` if the grant came too late
        """
        self._registry.add(self)
        self._calling = True
        return self._calls.connect().addCallbacks(self._granted, self._not_granted)

    def _granted(self, grant: Grant) -> Grant:
        self._calling = False
        self.ws_state = grant.state or None
        self.protocol = grant.protocol
        if self.state is State.OVER or (self._end is not None and self._end.by is not ClosedBy.API):
            self._say_goodbye()
            raise ClientLeftError
        return grant

    def _not_granted(self, failure: Failure) -> Failure:
        self._calling = False
        self._registry.unlist(self)
        self._held.clear()
        error = failure.value
        if not isinstance(error, CallbackFailed):
            self._log.failure("{tag} asking the API failed by a fault of the gateway", failure, tag=self.identity.tag)
            self._settle(End(Close(1011), ClosedBy.ERROR))
        elif error.owed:
            self._settle(End(Close(error.close_code), ClosedBy(error.closed_by)))
        else:
            self.state = State.OVER
            self._registry.remove(self)
        if not isinstance(error, Denied):
            self._log.warn("{tag} no grant from the API: {reason}", tag=self.identity.tag, reason=str(error))
        return failure

    def _settle(self, end: End) -> None:
        self._end = self._end or end
        self._say_goodbye()

    def left(self) -> None:
        """The client went away while the API was asked. The answer is awaited all the same: a DELETE may be owed."""
        self._set_end(End(Close(1006), ClosedBy.CLIENT))
        self.state = State.OVER

    def open(self, peer: Peer, close: Close | None) -> None:
        """The client has its 101.

        :param peer: the client
        :param close: close at once, after what was pushed meanwhile
        """
        self._peer = peer
        self.state = State.OPEN
        now = self._clock.seconds()
        self.traffic.connected_at = self.traffic.last_seen_at = self._moved_at = now
        held, self._held = self._held, []
        for message in held:
            self._send(peer, message)
        if self._end is not None:
            self._start_closing(peer, self._end.close)
        elif close is not None:
            self.close(close, ClosedBy.API)

    # From the API to the client

    def push(self, message: Message) -> bool:
        """Send one message to the client.

        :returns: whether it is on its way; else it waits for the end of the handshake
        :raises NotPresentError: if the connection is closing
        :raises TooSlowError: if there is no room for it
        """
        if self._end is not None or self.state not in (State.AUTHORISING, State.OPEN):
            raise NotPresentError
        if self._peer is None:
            size = len(message.payload)
            if len(self._held) >= MAX_HELD or self._held_bytes + size > self._settings.max_buffer:
                raise TooSlowError
            self._held.append(message)
            self._held_bytes += size
            return False
        # A reply that waits for room has its place in the order; nothing may overtake it.
        if self._reply is not None or not self._has_room(self._peer, message):
            raise TooSlowError
        self._send(self._peer, message)
        return True

    def _has_room(self, peer: Peer, message: Message) -> bool:
        return peer.buffered + len(message.payload) <= self._settings.max_buffer

    def _send(self, peer: Peer, message: Message) -> None:
        self.traffic.messages_out += 1
        self.traffic.bytes_out += len(message.payload)
        if not peer.buffered:
            # From now on there may be something that has to move.
            self._moved_at = self._clock.seconds()
        peer.send(message)

    @property
    def buffered(self) -> int:
        """Bytes that wait for the client."""
        return self._held_bytes if self._peer is None else self._peer.buffered

    def drained(self) -> None:
        """The peer has room again."""
        delivered = self._reply
        if delivered is None or self._peer is None or self._end is not None:
            return
        if delivered.reply is None or self._has_room(self._peer, delivered.reply):
            self._reply = None
            self._carry_out(self._peer, delivered)
            self._deliver()
            self._regulate()

    # From the client to the API

    def heard(self) -> None:
        """Bytes came from the client."""
        self.traffic.last_seen_at = self._clock.seconds()
        self._pinged = False

    def received(self, message: Message) -> None:
        """A whole message came from the client."""
        size = len(message.payload)
        self.traffic.messages_in += 1
        self.traffic.bytes_in += size
        if self._end is not None and self._end.by not in _STILL_DELIVERED:
            # The client sent it before it knew of the Close.
            self._undelivered += 1
            return
        self._waiting.append(message)
        self._waiting_bytes += size
        self._deliver()
        self._regulate()

    def _regulate(self) -> None:
        """Read the client only while there is room for its next message."""
        if self._peer is None or self._end is not None:
            return
        room = self._settings.max_buffer - self._settings.max_message
        if not self._paused and (len(self._waiting) >= MAX_WAITING or self._waiting_bytes > room):
            self._paused = True
            self._peer.pause()
        elif self._paused and len(self._waiting) <= MAX_WAITING // 2 and self._waiting_bytes <= room // 2:
            self._resume(self._peer)

    def _resume(self, peer: Peer) -> None:
        # While the gateway did not read it could not hear: the clock of liveness starts again.
        self._paused = False
        self.heard()
        peer.resume()

    def _deliver(self) -> None:
        """Begin the next PUT, if its turn has come. A loop, so that answers at once do not nest."""
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._waiting and not self._calling and self._reply is None:
                self._calling = True
                self._number += 1
                message = self._waiting.popleft()
                self._calls.message(self._number, message, self.ws_state).addCallbacks(
                    self._answered, self._unanswered, callbackArgs=(message,), errbackArgs=(message,)
                )
        finally:
            self._delivering = False
        if self.state is State.CLOSING or self.state is State.OVER:
            self._say_goodbye_if_done()

    def _done_with(self, message: Message) -> None:
        self._calling = False
        self._waiting_bytes -= len(message.payload)

    def _answered(self, outcome: Outcome, message: Message) -> None:
        self._done_with(message)
        if isinstance(outcome, Rejected):
            self._log.warn(
                "{tag} the API refused message {number} with {status}",
                tag=self.identity.tag,
                number=self._number,
                status=outcome.status,
            )
        else:
            if outcome.state is not None:
                self.ws_state = outcome.state or None
            if self._peer is not None and self._end is None:
                if outcome.reply is not None and not self._has_room(self._peer, outcome.reply):
                    self._reply = outcome
                else:
                    self._carry_out(self._peer, outcome)
        self._deliver()
        self._regulate()

    def _carry_out(self, peer: Peer, delivered: Delivered) -> None:
        if delivered.reply is not None:
            self._send(peer, delivered.reply)
        if delivered.close is not None:
            self.close(delivered.close, ClosedBy.API)

    def _unanswered(self, failure: Failure, message: Message) -> None:
        self._done_with(message)
        error = failure.value
        if isinstance(error, CallbackFailed):
            self._log.warn(
                "{tag} message {number}: {reason}", tag=self.identity.tag, number=self._number, reason=error.reason
            )
            self._undelivered += not error.answered
            if not (error.answered and self._end is not None and error.closed_by == ClosedBy.ERROR):
                # A client that is gone suffers nothing from an answer that cannot be carried out.
                self._drop_waiting()
            self.close(Close(error.close_code), ClosedBy(error.closed_by))
        else:
            self._log.failure("{tag} a fault of the gateway", failure, tag=self.identity.tag)
            self._undelivered += 1
            self._drop_waiting()
            self.close(Close(1011), ClosedBy.ERROR)
        self._deliver()

    def _drop_waiting(self) -> None:
        self._undelivered += len(self._waiting)
        self._waiting_bytes -= sum(len(message.payload) for message in self._waiting)
        self._waiting.clear()

    # The end

    def _set_end(self, end: End) -> bool:
        """:returns: whether this is the first cause"""
        if self._end is not None:
            return False
        self._end = end
        self._registry.unlist(self)
        return True

    def close(self, close: Close, by: ClosedBy) -> bool:
        """Close the connection from this side, after what was sent before.

        Messages of the client that no PUT was begun for are dropped and counted.

        :returns: whether this was the first cause
        """
        if not self._set_end(End(close, by)):
            return False
        self._drop_waiting()
        self._reply = None
        if self._peer is not None:
            self._start_closing(self._peer, close)
        return True

    def _start_closing(self, peer: Peer, close: Close) -> None:
        self.state = State.CLOSING
        self._arm_close_timer(peer)
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
            self._reply = None
            # The reply may find a client that does not read.
            self._arm_close_timer(self._peer)
            self._deliver()

    def failed_by_peer(self, close: Close) -> None:
        """The client broke the protocol or a limit; the peer has sent the Close frame already."""
        if self._set_end(End(close, ClosedBy.PROTOCOL)) and self._peer is not None:
            self.state = State.CLOSING
            self._drop_waiting()
            self._reply = None
            self._arm_close_timer(self._peer)
            if self._paused:
                self._resume(self._peer)

    def broke(self) -> None:
        """The gateway itself failed the client."""
        self._set_end(End(Close(1011), ClosedBy.ERROR))
        if self._peer is not None:
            self._peer.abort()
        else:
            self.lost()

    def shut_down(self) -> None:
        """The process stops: close with 1001. What has not been begun is dropped and counted."""
        if not self.close(Close(1001), ClosedBy.SHUTDOWN):
            self._drop_waiting()

    def abort(self) -> None:
        """Do not wait any longer for the client."""
        if self._peer is not None:
            self._peer.abort()

    def _arm_close_timer(self, peer: Peer) -> None:
        self._moved_sent = peer.sent
        self._close_timer = self._clock.callLater(CLOSE_TIMEOUT, self._closing_took_long)

    def _closing_took_long(self) -> None:
        self._close_timer = None
        peer = self._peer
        if peer is None:
            return
        self._close_rounds += 1
        if peer.buffered and peer.sent > self._moved_sent and self._close_rounds < CLOSE_ROUNDS:
            # The close handshake starts when its frame is out (RFC 6455 §7.1.3); what was sent before still moves.
            self._arm_close_timer(peer)
        else:
            peer.abort()

    def lost(self) -> None:
        """The TCP connection is over."""
        self._set_end(End(Close(1006), ClosedBy.CLIENT))
        self._peer = None
        self._reply = None
        self._paused = False
        self.state = State.OVER
        if self._close_timer is not None:
            self._close_timer.cancel()
            self._close_timer = None
        self._deliver()

    def _say_goodbye_if_done(self) -> None:
        if self._peer is None and not self._calling and not self._waiting:
            self._say_goodbye()

    def _say_goodbye(self) -> None:
        end = self._end or End(Close(1006), ClosedBy.CLIENT)
        self.state = State.OVER
        self._calling = True  # Nothing may follow.
        self._held.clear()
        self._registry.unlist(self)
        self._log.info(
            "{tag} closed: {code} by {by}",
            tag=self.identity.tag,
            code=end.close.code,
            by=end.by.value,
            reason=end.close.reason,
            undelivered=self._undelivered,
        )
        self._calls.disconnect(end, self._undelivered, self.ws_state).addBoth(self._gone)

    def _gone(self, result: object) -> None:
        if isinstance(result, Failure):
            self._log.failure("{tag} a fault of the gateway at the goodbye", result, tag=self.identity.tag)
        self._registry.remove(self)

    # Liveness

    def check(self, now: float) -> None:
        """Look whether the client is alive and reads; ping it if it is silent.

        Called for every connection by one timer.

        :param now: the clock's time, in seconds
        """
        peer, timeout = self._peer, self._settings.timeout
        if peer is None or self.state is not State.OPEN:
            return
        if timeout and self._is_stuck(peer, now):
            self._give_up(peer, ClosedBy.SLOW)
            return
        if self._paused:
            return
        silence = now - self.traffic.last_seen_at
        if timeout and silence >= timeout:
            self._give_up(peer, ClosedBy.TIMEOUT)
        elif not self._pinged and silence >= (min(timeout / 2, MAX_SILENCE) if timeout else MAX_SILENCE):
            self._pinged = True
            peer.ping()

    def _is_stuck(self, peer: Peer, now: float) -> bool:
        sent = peer.sent
        if not peer.buffered or sent != self._moved_sent:
            self._moved_sent = sent
            self._moved_at = now
        return now - self._moved_at >= self._settings.timeout

    def _give_up(self, peer: Peer, by: ClosedBy) -> None:
        self._set_end(End(Close(1006), by))
        self.state = State.CLOSING
        peer.abort()
