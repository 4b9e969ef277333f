"""The outbox: pushes and replies to one client, in order and within bounds, before they reach the peer's buffer.

Pushes and replies leave in the order in which they were completely received (protocol §3). During the handshake they
are held. Later, a push without room is refused; a reply without room waits, and holds up everything behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from wsaas.connections.confirmations import Confirmations
from wsaas.connections.idempotency import Answers
from wsaas.connections.messages import Message, SharedMessage, Traffic
from wsaas.errors import NotPresentError, TooManyWaitError, TooSlowError
from wsaas.limits import OVERHEAD

if TYPE_CHECKING:
    from wsaas.connections.identity import Identity
    from wsaas.connections.interfaces import Peer
    from wsaas.connections.keepalive import Keepalive
    from wsaas.connections.totals import Totals

#: How many pushes may wait for the end of the handshake.
MAX_HELD = 64

#: What became of a publish to one client: its connection is closing; the message was sent; it is held until the
#: handshake is done; there is no room for it.
GONE, SENT, HELD, FULL = range(4)
#: For what was taken already.
_ANY_ROOM = 1 << 62


class Receipts:
    """What a connection keeps for pushes with ``Idempotency-Key`` or ``Ws-Confirm``; most connections need none.

    :param secret: the connection's, for the pings of ``Ws-Confirm``
    :param clock: for timeouts
    """

    __slots__ = ("answers", "confirmations")

    def __init__(self, secret: bytes, clock: IReactorTime) -> None:
        #: By ``Idempotency-Key``.
        self.answers: Answers[Any] = Answers()
        #: For ``Ws-Confirm``.
        self.confirmations = Confirmations(secret, clock)


class Watcher(Protocol):
    """Checks soon whether buffered bytes move."""

    def check_soon(self) -> None:
        """Something may be buffered for the client."""

    def unblocked(self) -> None:
        """A reply that waited for room was sent."""


class Outbox:
    """Sends messages to one client, or holds or refuses them.

    :param identity: the connection's names
    :param traffic: counts what is sent
    :param keepalive: told when bytes may begin to wait
    :param room: bytes that may wait (``WS_MAX_BUFFER``)
    :param totals: counters and budgets of all connections
    :param clock: for times
    """

    __slots__ = (
        "_clock",
        "_held",
        "_held_bytes",
        "_identity",
        "_keepalive",
        "_peer",
        "_receipts",
        "_room",
        "_totals",
        "_traffic",
        "_watcher",
        "shut",
        "waiting",
    )

    def __init__(
        self,
        identity: Identity,
        traffic: Traffic,
        keepalive: Keepalive,
        room: int,
        totals: Totals,
        clock: IReactorTime,
    ) -> None:
        self._identity = identity
        self._traffic = traffic
        self._keepalive = keepalive
        self._room = room
        self._totals = totals
        self._clock = clock
        self._peer: Peer | None = None
        self._watcher: Watcher | None = None
        self._held: list[Message | SharedMessage] | None = None
        self._held_bytes = 0
        self._receipts: Receipts | None = None
        #: Whether pushes are refused because the connection is closing.
        self.shut = False
        #: The reply that waits for room.
        self.waiting: Message | None = None

    @property
    def buffered(self) -> int:
        """Bytes that wait for the client."""
        return self._held_bytes if self._peer is None else self._peer.buffered

    def open(self, peer: Peer, watcher: Watcher) -> None:
        """Send what was held: the client has its 101.

        :param watcher: told when bytes may be buffered, until :meth:`lost`
        """
        self._peer = peer
        self._watcher = watcher
        for message in self._take_held():
            if isinstance(message, Message):
                self._send(peer, message, peer.buffered)
            else:
                self._totals.counts.messages_out += 1
                self._totals.counts.bytes_out += message.size
                self._publish(peer, message, _ANY_ROOM)
        if self._receipts is not None:
            self._ping(peer, self._receipts)

    # Pushes

    def push(self, message: Message) -> bool:
        """Send one message to the client.

        :returns: whether it was sent; else it is held until the handshake is done
        :raises NotPresentError: if the connection is closing
        :raises TooSlowError: if there is no room for it
        """
        if self.shut:
            raise NotPresentError
        peer = self._peer
        if peer is None:
            self._hold(message)
            return False
        waited = peer.buffered
        # No push may overtake a reply that waits for room.
        if self.waiting is not None or waited + len(message.payload) > self._room or (waited and peer.crowded):
            raise TooSlowError
        self._send(peer, message, waited)
        return True

    def _hold(self, message: Message) -> None:
        held = self._held
        if held is None:
            held = self._held = []
        size = len(message.payload)
        outgoing = self._totals.budgets.outgoing
        if len(held) >= MAX_HELD or self._held_bytes + size > self._room or outgoing.exhausted:
            raise TooSlowError
        held.append(message)
        self._held_bytes += size
        outgoing.used += size + OVERHEAD

    def _take_held(self) -> list[Message | SharedMessage]:
        """:returns: the messages for the client that came during the handshake; they are no longer held"""
        held = self._held
        if held is None:
            return []
        self._held = None
        self._held_bytes = 0
        outgoing = self._totals.budgets.outgoing
        for message in held:
            outgoing.used -= OVERHEAD
            if isinstance(message, Message):
                outgoing.used -= len(message.payload)
            else:
                message.release(outgoing)
        return held

    def _send(self, peer: Peer, message: Message, waited: int) -> None:
        traffic = self._traffic
        counts = self._totals.counts
        size = len(message.payload)
        traffic.messages_out += 1
        traffic.bytes_out += size
        counts.messages_out += 1
        counts.bytes_out += size
        if peer.send(message) and not waited:
            # From now on there may be bytes that have to move.
            self._keepalive.about_to_send(self._clock.seconds())
            if self._watcher is not None:
                self._watcher.check_soon()

    # Publishes

    def publish(self, message: SharedMessage) -> int:
        """Send one message that many clients get, if the client's own bounds have room for it.

        What waits for all clients together is no concern of this one: whoever publishes looks at that, and counts what
        was sent.

        :returns: :data:`GONE`, :data:`SENT`, :data:`HELD` or :data:`FULL`
        """
        if self.shut:
            return GONE
        peer = self._peer
        if peer is None:
            return self._hold_shared(message)
        if self.waiting is not None:
            return self._publish_behind(peer, message, self.waiting)
        return self._publish(peer, message, self._room - message.size)

    def _publish(self, peer: Peer, message: SharedMessage, room: int) -> int:
        begins = peer.send_shared(message, room)
        if begins is None:
            return FULL
        traffic = self._traffic
        traffic.messages_out += 1
        traffic.bytes_out += message.size
        if begins:
            # From now on there may be bytes that have to move.
            self._keepalive.about_to_send(self._clock.seconds())
            if self._watcher is not None:
                self._watcher.check_soon()
        return SENT

    def _publish_behind(self, peer: Peer, message: SharedMessage, reply: Message) -> int:
        """Send a message behind the reply that waits, as nothing may overtake that."""
        if peer.full or peer.buffered + len(reply.payload) + message.size > self._room:
            return FULL
        # The reply waited for the memory of all, not for this client's.
        self.flush()
        fate = self._publish(peer, message, _ANY_ROOM)
        if self._watcher is not None:
            self._watcher.unblocked()
        return fate

    def _hold_shared(self, message: SharedMessage) -> int:
        held = self._held
        if held is None:
            held = self._held = []
        if len(held) >= MAX_HELD or self._held_bytes + message.size > self._room:
            return FULL
        held.append(message)
        self._held_bytes += message.size
        outgoing = self._totals.budgets.outgoing
        outgoing.used += OVERHEAD
        message.keep(outgoing)
        return HELD

    # Pushes with Idempotency-Key or Ws-Confirm

    @property
    def receipts(self) -> Receipts:
        """The state behind ``Idempotency-Key`` and ``Ws-Confirm``, made when it is first needed."""
        if self._receipts is None:
            self._receipts = Receipts(self._identity.key.encode("ascii"), self._clock)
        return self._receipts

    def push_confirmed(self, message: Message, seconds: float) -> Deferred[bool]:
        """Send one message, and a ping behind it.

        The timeout of a message that is held during the handshake runs from now on too; one ping confirms all that
        were held.

        :param seconds: the timeout for the pong
        :returns: fires with whether the pong came, in time and before the connection ended; may be cancelled
        :raises NotPresentError: if the connection is closing
        :raises TooSlowError: if there is no room for it
        :raises TooManyWaitError: if too many pushes wait for pongs already
        """
        receipts = self.receipts
        if receipts.confirmations.is_full:
            raise TooManyWaitError
        self.push(message)
        confirmed = receipts.confirmations.wait(seconds)
        if self._peer is not None:
            self._ping(self._peer, receipts)
        return confirmed

    def _ping(self, peer: Peer, receipts: Receipts) -> None:
        payload = receipts.confirmations.ping()
        if payload is not None:
            peer.ping(payload)

    def pong(self, payload: bytes) -> None:
        """Take a pong of the client, asked for or not."""
        if self._receipts is not None:
            self._receipts.confirmations.pong(payload)

    def give_up(self) -> None:
        """Tell pushers that no pong will come. Always the last step, as they may push again at once."""
        if self._receipts is not None:
            self._receipts.confirmations.give_up()

    # Replies

    def reply(self, message: Message) -> None:
        """Send a reply, now or when there is room for it.

        :meth:`drained` or :meth:`flush` sends a reply that waits; until then there must be no other.
        """
        peer = self._peer
        if peer is None:
            return
        waited = peer.buffered
        if waited + len(message.payload) > self._room or (waited and peer.crowded):
            self._totals.budgets.outgoing.used += len(message.payload)
            self.waiting = message
        else:
            self._send(peer, message, waited)

    def _take_waiting(self) -> Message | None:
        """:returns: the reply that waits for room; it no longer waits"""
        reply, self.waiting = self.waiting, None
        if reply is not None:
            self._totals.budgets.outgoing.used -= len(reply.payload)
        return reply

    def drained(self) -> bool:
        """Send the reply that waits, if there is room for it now.

        :returns: whether a reply waited and was sent, so that the next PUT may start
        """
        reply = self._take_waiting()
        if reply is None:
            return False
        self.reply(reply)
        return self.waiting is None

    # The end

    def flush(self) -> None:
        """Send the reply that waits, even without room: it is in memory either way."""
        reply = self._take_waiting()
        if reply is not None and self._peer is not None:
            self._send(self._peer, reply, self._peer.buffered)

    def forget(self) -> None:
        """Drop what is held and the reply that waits."""
        self._take_held()
        self._take_waiting()

    def lost(self) -> None:
        """Drop everything: the TCP connection is over."""
        self._peer = None
        self._watcher = None
        self.forget()
