"""Keepalive: ping silent clients; detect dead ones and those that do not read (protocol §4, ``WS_TIMEOUT``)."""

from __future__ import annotations

from wsaas.connections.interfaces import Peer
from wsaas.connections.messages import ClosedBy

#: Pings go out after this many seconds of silence at the latest: below the idle limits of common proxies. With a
#: ``WS_TIMEOUT`` below twice as much (30 s by default), half of that is earlier.
MAX_SILENCE = 25.0


def ping_interval(timeout: float) -> float:
    """:returns: seconds of silence after which a ping goes out (protocol §4)

    :param timeout: ``WS_TIMEOUT`` in seconds; 0 means no time limit
    """
    return min(timeout / 2, MAX_SILENCE) if timeout else MAX_SILENCE


def check_interval(timeout: float) -> float:
    """:returns: seconds between two checks of a client for which bytes are buffered

    :param timeout: ``WS_TIMEOUT`` in seconds; 0 means no time limit
    """
    return min(1.0, timeout / 10) if timeout else 1.0


class Keepalive:
    """When one client was last heard, pinged, and seen to read. Times in seconds of one clock.

    :param now: the time; the client counts as heard at it
    """

    __slots__ = ("_listening_since", "_moved_at", "_moved_sent", "_pinged_at", "heard_at")

    def __init__(self, now: float) -> None:
        #: When bytes last came from the client; the connection sets it.
        self.heard_at = now
        self._listening_since = now
        self._pinged_at = now
        self._moved_sent = 0
        self._moved_at = now

    def listening(self, now: float) -> None:
        """Start the silence at this time: the client is read from now on, and was not before."""
        self._listening_since = now

    def about_to_send(self, now: float) -> None:
        """Start the time for progress: nothing was buffered before, and from now on something may be."""
        self._moved_at = now

    def check(
        self, peer: Peer, now: float, timeout: float, *, listening: bool, working_since: float = 0.0
    ) -> float | ClosedBy:
        """Ping the client if it is silent; find out whether it is dead or stuck.

        :param timeout: ``WS_TIMEOUT`` in seconds; 0 means no time limit
        :param listening: whether the gateway reads the client; time in which it does not is not silence
        :param working_since: the end of the last long pause of the gateway itself; time before it is not silence either
        :returns: when the next check is due, or why to close the connection; checks in between would find nothing
        """
        buffered = peer.buffered
        if not buffered:
            self._moved_at = now
        elif self._is_stuck(peer, now, timeout, working_since):
            return ClosedBy.SLOW
        # A client that is not read starts its silence when it is read again: later than now. Compared one by one, as
        # max() takes longer than all the rest of this method.
        quiet_since = self.heard_at if listening else now
        if quiet_since < self._listening_since:
            quiet_since = self._listening_since
        if quiet_since < working_since:
            quiet_since = working_since
        if timeout and now - quiet_since >= timeout:
            return ClosedBy.TIMEOUT
        pinged = self._pinged_at > quiet_since
        until_ping = ping_interval(timeout)
        ping_at = (self._pinged_at if pinged else quiet_since) + until_ping
        if ping_at <= now:
            # No second ping while the last one may still be buffered: without a time limit nothing else bounds them.
            if not (pinged and buffered):
                peer.ping()
            self._pinged_at = now
            ping_at = now + until_ping
        at = min(ping_at, quiet_since + timeout) if timeout else ping_at
        return min(at, now + check_interval(timeout)) if buffered else at

    def _is_stuck(self, peer: Peer, now: float, timeout: float, working_since: float) -> bool:
        sent = peer.sent
        # Less than before is not progress: TLS makes what is buffered longer.
        if sent > self._moved_sent:
            self._moved_at = now
        self._moved_sent = sent
        return timeout > 0 and now - max(self._moved_at, working_since) >= timeout
