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

    __slots__ = ("_listening_since", "_moved_at", "_moved_sent", "_pinged_at", "heard_at")

    def __init__(self, now: float) -> None:
        #: When bytes last came.
        self.heard_at = now
        self._listening_since = now
        self._pinged_at = now
        self._moved_sent = 0
        self._moved_at = now

    def heard(self, now: float) -> None:
        """Bytes came."""
        self.heard_at = now

    def listening(self, now: float) -> None:
        """From now on the client is read; that nothing came before does not count."""
        self._listening_since = now

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
        silent_since = max(self.heard_at, self._listening_since)
        if timeout and now - silent_since >= timeout:
            return ClosedBy.TIMEOUT
        if now - max(silent_since, self._pinged_at) >= (min(timeout / 2, MAX_SILENCE) if timeout else MAX_SILENCE):
            # A ping that is still buffered needs no company: nothing else bounds their number without a time limit.
            if self._pinged_at <= silent_since or not peer.buffered:
                peer.ping()
            self._pinged_at = now
        return None

    def _is_stuck(self, peer: Peer, now: float, timeout: float) -> bool:
        sent = peer.sent
        # Less than before is no movement: TLS makes what is buffered longer.
        if not peer.buffered or sent > self._moved_sent:
            self._moved_at = now
        self._moved_sent = sent
        return now - self._moved_at >= timeout
