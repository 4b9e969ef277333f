"""File descriptors: how many the process may have, who gets them, and what happens when they run out.

The kernel gives each new descriptor the lowest number that is free. So a connection is accepted only while the lowest
free number is below a mark: then it gets that number, and those above the mark stay for who may not fail (calls to the
API, the journal, the log). Nothing has to be counted for that, and nobody is cut off: who comes waits in the backlog.
"""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from wsaas.net.listen import ListeningPort

#: Descriptors that are neither clients nor calls: listening sockets, the log, the journal, the loop's own.
_FILES = 64
#: … that pushers have for themselves.
_PUSHERS = 64
#: … of clients that are not connections: they have not asked for anything yet, or are told to come back later.
_BEFORE = 256
#: Connections that may owe a request at the same time; and where there are descriptors for many: these take 50 MB, or
#: 300 MB with TLS. More than are accepted in one turn, before any of them was read.
_AWAITED, _MAX_AWAITED = 1024, 8192
#: Beyond this many, no more are asked for: a limit of a billion is nothing to plan with.
_MOST = 1 << 20
#: Connections that are accepted in one turn of the reactor.
_ACCEPTS = 64
#: Seconds between two looks whether there is room again.
_LOOK_EVERY = 0.05
#: Seconds for which what was said about it is not said again.
_SAY_EVERY = 60.0


def raise_limit() -> int:
    """Raise the soft limit of open files to the hard one, where that is allowed.

    :returns: the limit that is in effect then
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            # Under systemd, the unit sets the limit and forbids to change it.
            wanted = soft
        soft = wanted
    return wanted if soft == resource.RLIM_INFINITY else soft


@dataclass(frozen=True, slots=True)
class Shares:
    """Who gets descriptors.

    :param clients: numbers below this are given to clients, pushers on the same listener included
    :param pushers: … to pushers on a listener of their own
    :param connections: connections that there may be, if ``WS_MAX_CONNECTIONS`` does not say
    :param awaited: connections that may owe a request or its rest
    """

    clients: int
    pushers: int
    connections: int
    awaited: int


def share_out(limit: int, max_requests: int) -> Shares:
    """Divide what there is. With few of them, everybody gets a share all the same.

    :param limit: of open files
    :param max_requests: calls to the API at once
    """
    pushers = limit - min(max_requests + _FILES, limit // 2)
    clients = pushers - min(_PUSHERS, pushers // 8)
    connections = max(1, clients - min(_BEFORE, clients // 8))
    return Shares(clients, pushers, connections, min(_MAX_AWAITED, max(_AWAITED, clients // 8)))


class Descriptors:
    """Keeps ports from accepting more than there are descriptors for.

    :param reactor: for the looks whether there is room again
    :param shares: who gets how many
    """

    _log = Logger()

    def __init__(self, reactor: Any, shares: Shares) -> None:
        self._reactor = reactor
        self._shares = shares
        self._probe: int | None = None
        self._held: list[tuple[ListeningPort, int]] = []
        self._said_at: float | None = None
        self._looks = LoopingCall(self._look)
        self._looks.clock = reactor
        #: How often a port had to wait.
        self.shortages = 0

    @property
    def is_holding(self) -> bool:
        """Whether somebody who comes now has to wait."""
        return bool(self._held)

    def guard(self, door: ListeningPort, *, clients: bool) -> None:
        """Have a port accept only while there is room.

        :param clients: whether clients come here; else only pushers do
        """
        port = door.port
        accept = getattr(port, "doRead", None)
        if accept is None:
            return
        mark = self._shares.clients if clients else self._shares.pushers

        def read() -> None:
            for _ in range(_ACCEPTS):
                if self.is_short(mark):
                    self._hold(door, mark)
                    return
                # One at a time gets the number that was looked at.
                port.numberAccepts = 1
                before = port.sessionno
                accept()
                if port.sessionno == before:
                    return

        vars(port)["doRead"] = read

    def is_short(self, mark: int) -> bool:
        """:returns: whether all numbers below a mark are taken"""
        try:
            if self._probe is None:
                self._probe = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            free = os.dup(self._probe)
        except OSError:
            return True
        os.close(free)
        return free >= mark

    def _hold(self, door: ListeningPort, mark: int) -> None:
        self.shortages += 1
        door.pause()
        self._held.append((door, mark))
        now = self._reactor.seconds()
        if self._said_at is None or now - self._said_at >= _SAY_EVERY:
            self._said_at = now
            self._log.warn(
                "no file descriptor is left for another connection; who comes has to wait (ulimit -n, LimitNOFILE=)"
            )
        if not self._looks.running:
            self._looks.start(_LOOK_EVERY, now=False)

    def _look(self) -> None:
        held, self._held = self._held, []
        for door, mark in held:
            if self.is_short(mark):
                self._held.append((door, mark))
            else:
                door.resume()
        if not self._held:
            self._looks.stop()

    def stop(self) -> None:
        """Look no longer."""
        if self._looks.running:
            self._looks.stop()
        if self._probe is not None:
            os.close(self._probe)
            self._probe = None
