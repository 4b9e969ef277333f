"""Whether a client is there: silence, pings, and bytes that do not move (protocol §4, ``WS_TIMEOUT``)."""

from __future__ import annotations

from wsaas.interfaces import Peer
from wsaas.messages import ClosedBy

#: Pings go out after this many seconds of silence at the latest: below the idle limits of common proxies.
MAX_SILENCE = 25.0


class Pulse:
    """The signs of life of one client. Times in seconds of one clock.

    :param now: when it was last heard: now
    """

    __slots__ = ("_moved_at", "_moved_sent", "_pinged", "heard_at")

    def __init__(self, now: float) -> None:
        self.heard_at = now
        self._pinged = False
        self._moved_sent = 0
        self._moved_at = now

    def heard(self, now: float) -> None:
        """Bytes came, or the time before does not count because nobody listened."""
        self.heard_at = now
        self._pinged = False

    def about_to_send(self, now: float) -> None:
        """Nothing was buffered, and now something may be: from here on it has to move."""
        self._moved_at = now

    def check(self, peer: Peer, now: float, timeout: float, *, listening: bool) -> ClosedBy | None:
        """Ping a silent client; tell whether one is to be given up.

        :param timeout: ``WS_TIMEOUT`` in seconds; 0: nobody is given up
        :param listening: whether the gateway reads the client; time in which it does not is no silence
        :returns: what is wrong, if anything
        """
        if timeout and self._is_stuck(peer, now, timeout):
            return ClosedBy.SLOW
        if not listening:
            return None
        silence = now - self.heard_at
        if timeout and silence >= timeout:
            return ClosedBy.TIMEOUT
        if not self._pinged and silence >= (min(timeout / 2, MAX_SILENCE) if timeout else MAX_SILENCE):
            self._pinged = True
            peer.ping()
        return None

    def _is_stuck(self, peer: Peer, now: float, timeout: float) -> bool:
        sent = peer.sent
        if not peer.buffered or sent != self._moved_sent:
            self._moved_sent = sent
            self._moved_at = now
        return now - self._moved_at >= timeout
