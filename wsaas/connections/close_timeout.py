"""The close timeout (protocol §4): 5 s for the close handshake, extended while buffered bytes still move."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from wsaas.connections.interfaces import Peer

#: Seconds for the close handshake, and for progress before it (protocol §4).
CLOSE_TIMEOUT = 5.0
#: How often the timeout may start again because buffered bytes still move.
CLOSE_ROUNDS = 6


class CloseTimeout:
    """Aborts a client that takes too long to close, counted from the first Close frame.

    :param peer: the client
    :param clock: for the timer
    """

    __slots__ = ("_clock", "_peer", "_rounds", "_sent", "_timer")

    def __init__(self, peer: Peer, clock: IReactorTime) -> None:
        self._peer = peer
        self._clock = clock
        self._rounds = 0
        self._wait()

    def _wait(self) -> None:
        self._sent = self._peer.sent
        self._timer = self._clock.callLater(CLOSE_TIMEOUT, self._timed_out)

    def _timed_out(self) -> None:
        self._rounds += 1
        if self._peer.buffered and self._peer.sent > self._sent and self._rounds < CLOSE_ROUNDS:
            # The close handshake starts when its frame is out (RFC 6455 §7.1.3); what was sent before still moves.
            self._wait()
        else:
            self._peer.abort()

    def over(self) -> None:
        """Stop the timer: the TCP connection is over."""
        if self._timer.active():
            self._timer.cancel()
