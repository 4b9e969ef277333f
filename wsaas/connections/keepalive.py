"""Whether a client is there: silence, pings, and bytes that do not move (protocol §4, ``WS_TIMEOUT``)."""

from __future__ import annotations

from wsaas.connections.interfaces import Peer
from wsaas.connections.messages import ClosedBy

#: Pings go out after this many seconds of silence at the latest: below the idle limits of common proxies.
MAX_SILENCE = 25.0


def silence(timeout: float) -> float:
    """:returns: seconds of silence after which a ping goes out (protocol §4)

    :param timeout: ``WS_TIMEOUT`` in seconds; 0: nobody is given up
    """
    return min(timeout / 2, MAX_SILENCE) if timeout else MAX_SILENCE


def pause(timeout: float) -> float:
    """:returns: seconds between two looks at a client for whom something is buffered

    :param timeout: as above
    """
    return min(1.0, timeout / 10) if timeout else 1.0


class Pulse:
    """The signs of life of one client. Times in seconds of one clock.

    :param now: when it was last heard: now
    """

    __slots__ = ("_listening_since", "_moved_at", "_moved_sent", "_pinged_at", "heard_at")

    def __init__(self, now: float) -> None:
        #: When bytes last came; set by whoever gets them.
        self.heard_at = now
        self._listening_since = now
        self._pinged_at = now
        self._moved_sent = 0
        self._moved_at = now

    def listening(self, now: float) -> None:
        """From now on the client is read; that nothing came before does not count."""
        self._listening_since = now

    def about_to_send(self, now: float) -> None:
        """Nothing was buffered, and now something may be: from here on it has to move."""
        self._moved_at = now

    def look(
        self, peer: Peer, now: float, timeout: float, *, listening: bool, working_since: float = 0.0
    ) -> float | ClosedBy:
        """Ping a silent client; tell whether one is to be given up.

        :param timeout: ``WS_TIMEOUT`` in seconds; 0: nobody is given up
        :param listening: whether the gateway reads the client; time in which it does not is no silence
        :param working_since: before that, the gateway read and wrote nobody for a while; the same holds for that time
        :returns: when to look again, or what is wrong; looks in between find nothing to do
        """
        buffered = peer.buffered
        if not buffered:
            self._moved_at = now
        elif self._is_stuck(peer, now, timeout, working_since):
            return ClosedBy.SLOW
        # One that is not read begins its silence when it is read again: later than now. Compared one by one, as
        # max() takes longer than all the rest here.
        quiet_since = self.heard_at if listening else now
        if quiet_since < self._listening_since:
            quiet_since = self._listening_since
        if quiet_since < working_since:
            quiet_since = working_since
        if timeout and now - quiet_since >= timeout:
            return ClosedBy.TIMEOUT
        pinged = self._pinged_at > quiet_since
        until_ping = silence(timeout)
        ping_at = (self._pinged_at if pinged else quiet_since) + until_ping
        if ping_at <= now:
            # A ping that is still buffered needs no company: nothing else bounds their number without a time limit.
            if not (pinged and buffered):
                peer.ping()
            self._pinged_at = now
            ping_at = now + until_ping
        at = min(ping_at, quiet_since + timeout) if timeout else ping_at
        return min(at, now + pause(timeout)) if buffered else at

    def _is_stuck(self, peer: Peer, now: float, timeout: float, working_since: float) -> bool:
        sent = peer.sent
        # Less than before is no movement: TLS makes what is buffered longer.
        if sent > self._moved_sent:
            self._moved_at = now
        self._moved_sent = sent
        return timeout > 0 and now - max(self._moved_at, working_since) >= timeout
