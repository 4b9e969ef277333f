"""What goes to one client, on this side of its peer's buffer: in order, and only as much as there is room for.

Pushes and replies leave in the order in which they were completely received (protocol §3). During the handshake they
are held; later, what finds no room is refused if it is a push, and waits if it is a reply, which holds up everything
behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from wsaas.connections.confirmations import Confirmations
from wsaas.connections.idempotency import Answers
from wsaas.connections.messages import Message, Traffic
from wsaas.errors import NotPresentError, TooManyWaitError, TooSlowError
from wsaas.limits import OVERHEAD

if TYPE_CHECKING:
    from wsaas.connections.identity import Identity
    from wsaas.connections.interfaces import Peer
    from wsaas.connections.keepalive import Pulse
    from wsaas.connections.totals import Totals

#: How many pushes may wait for the end of the handshake.
MAX_HELD = 64


class Receipts:
    """What a connection keeps for pushes with ``Idempotency-Key`` or ``Ws-Confirm``; most connections need none.

    :param secret: of the connection
    :param clock: for times
    """

    __slots__ = ("answers", "confirmations")

    def __init__(self, secret: bytes, clock: IReactorTime) -> None:
        #: By ``Idempotency-Key``.
        self.answers: Answers[Any] = Answers()
        #: For ``Ws-Confirm``.
        self.confirmations = Confirmations(secret, clock)


class Watcher(Protocol):
    """Who looks whether what is buffered moves."""

    def look_soon(self) -> None:
        """Something may be buffered for the client."""


class Outbox:
    """One client's messages, from here to its peer.

    :param identity: the connection's
    :param traffic: what goes out is counted there
    :param pulse: told when something may have to move
    :param room: bytes that may wait (``WS_MAX_BUFFER``)
    :param totals: for what is kept and counted for all connections
    :param clock: for times
    """

    __slots__ = (
        "_clock",
        "_held",
        "_held_bytes",
        "_identity",
        "_peer",
        "_pulse",
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
        pulse: Pulse,
        room: int,
        totals: Totals,
        clock: IReactorTime,
    ) -> None:
        self._identity = identity
        self._traffic = traffic
        self._pulse = pulse
        self._room = room
        self._totals = totals
        self._clock = clock
        self._peer: Peer | None = None
        self._watcher: Watcher | None = None
        self._held: list[Message] | None = None
        self._held_bytes = 0
        self._receipts: Receipts | None = None
        #: Whether pushes are taken no more.
        self.shut = False
        #: The reply that waits for room.
        self.waiting: Message | None = None

    @property
    def buffered(self) -> int:
        """Bytes that wait for the client."""
        return self._held_bytes if self._peer is None else self._peer.buffered

    def open(self, peer: Peer, watcher: Watcher) -> None:
        """The client has its 101: send what was held.

        :param watcher: told of what may be buffered, until :meth:`lost`
        """
        self._peer = peer
        self._watcher = watcher
        for message in self._take_held():
            self._send(peer, message, peer.buffered)
        if self._receipts is not None:
            self._ping(peer, self._receipts)

    # Pushes

    def push(self, message: Message) -> bool:
        """Send one message to the client.

        :returns: whether it is on its way; else it waits for the end of the handshake
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
        # A reply that waits for room has its place in the order; nothing may overtake it.
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

    def _take_held(self) -> list[Message]:
        """:returns: what was pushed during the handshake; it is not kept any more"""
        held, self._held = self._held or [], None
        self._totals.budgets.outgoing.used -= self._held_bytes + OVERHEAD * len(held)
        self._held_bytes = 0
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
            # From now on there may be something that has to move.
            self._pulse.about_to_send(self._clock.seconds())
            if self._watcher is not None:
                self._watcher.look_soon()

    # Pushes that want proof

    @property
    def receipts(self) -> Receipts:
        """What pushers may ask for later; made when the first one does."""
        if self._receipts is None:
            self._receipts = Receipts(self._identity.key.encode("ascii"), self._clock)
        return self._receipts

    def push_confirmed(self, message: Message, seconds: float) -> Deferred[bool]:
        """Send one message, and a ping behind it.

        A message that waits for the end of the handshake takes its time from now on too; then one ping is enough for
        all that waited.

        :param seconds: to wait for the pong, at most
        :returns: fires with whether it came, in time and before the end of the connection; may be cancelled
        :raises NotPresentError: if the connection is closing
        :raises TooSlowError: if there is no room for it; :class:`TooManyWaitError` if it is one among too many
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
        """A pong came from the client, asked for or not."""
        if self._receipts is not None:
            self._receipts.confirmations.pong(payload)

    def give_up(self) -> None:
        """No pong will come any more. Pushers may push again as soon as they are told: always the last step."""
        if self._receipts is not None:
            self._receipts.confirmations.give_up()

    # Replies

    def reply(self, message: Message) -> None:
        """Send a reply, now or when there is room for it.

        One that waits is sent by :meth:`drained` or :meth:`flush`; until then no other may come.
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
        """:returns: the reply that waits for room; it is not kept any more"""
        reply, self.waiting = self.waiting, None
        if reply is not None:
            self._totals.budgets.outgoing.used -= len(reply.payload)
        return reply

    def drained(self) -> bool:
        """Send the reply that waits, if there is room for it now.

        :returns: whether it went, so that the next may come
        """
        reply = self._take_waiting()
        if reply is None:
            return False
        self.reply(reply)
        return self.waiting is None

    # The end

    def flush(self) -> None:
        """Send the reply that waits, room or not: it is in memory either way."""
        reply = self._take_waiting()
        if reply is not None and self._peer is not None:
            self._send(self._peer, reply, self._peer.buffered)

    def forget(self) -> None:
        """Nothing that waits here goes to the client any more."""
        self._take_held()
        self._take_waiting()

    def lost(self) -> None:
        """The TCP connection is over."""
        self._peer = None
        self._watcher = None
        self.forget()
