"""How long a client may take to close (protocol §4): a timer, and more time while what was sent before still moves."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from wsaas.connections.interfaces import Peer

#: Seconds for the close handshake, and for progress before it (protocol §4).
CLOSE_TIMEOUT = 5.0
#: How often in a row the closing may be given more time because buffered bytes still move.
CLOSE_ROUNDS = 6


class Closing:
    """The end of one connection, from the first Close frame on. It aborts who takes too long.

    :param peer: the client
    :param clock: for the time it takes
    """

    __slots__ = ("_clock", "_peer", "_rounds", "_sent", "_timer")

    def __init__(self, peer: Peer, clock: IReactorTime) -> None:
        self._peer = peer
        self._clock = clock
        self._rounds = 0
        self._wait()

    def _wait(self) -> None:
        self._sent = self._peer.sent
        self._timer = self._clock.callLater(CLOSE_TIMEOUT, self._took_long)

    def _took_long(self) -> None:
        self._rounds += 1
        if self._peer.buffered and self._peer.sent > self._sent and self._rounds < CLOSE_ROUNDS:
            # The close handshake starts when its frame is out (RFC 6455 §7.1.3); what was sent before still moves.
            self._wait()
        else:
            self._peer.abort()

    def over(self) -> None:
        """The TCP connection is over."""
        if self._timer.active():
            self._timer.cancel()
