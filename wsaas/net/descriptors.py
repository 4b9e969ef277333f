"""File descriptors: how many the process may have, what they are reserved for, and what happens when they run out.

The kernel gives each new descriptor the lowest number that is free. So a connection is accepted only while the lowest
free number is below a mark: then it gets that number, and the numbers above the mark stay reserved for what must not
fail (calls to the API, the journal, the log). That needs no counting and cuts off no connection: new ones wait in the
backlog.
"""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from wsaas.net.listen import ListeningPort

#: Descriptors reserved for files: listening sockets, the log, the journal, the event loop's own.
_FILES = 64
#: Descriptors reserved for pushers.
_PUSHERS = 64
#: Descriptors of clients that are no WebSocket yet: their request is incomplete, or is being refused.
_BEFORE = 256
#: How many connections may have an incomplete request, at least and at most (the latter take 50 MB, or 300 MB with
#: TLS). More than are accepted in one turn of the reactor, as none of these has been read yet.
_AWAITED, _MAX_AWAITED = 1024, 8192
#: The highest limit that is asked for, as a hard limit may be a billion.
_MOST = 1 << 20
#: Connections that are accepted in one turn of the reactor.
_ACCEPTS = 64
#: Seconds between two checks whether a descriptor is free again.
_CHECK_EVERY = 0.05
#: Seconds between two warnings in the log.
_WARN_EVERY = 60.0


def raise_limit() -> int:
    """Raise the soft limit of open files to the hard one, where that is allowed.

    :returns: the limit in effect
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
    """How the descriptors are divided.

    :param clients: the mark for clients, and for pushers on the same listener: they get numbers below it
    :param pushers: the mark for pushers on a listener of their own
    :param connections: the most connections, unless ``WS_MAX_CONNECTIONS`` is set
    :param awaited: the most connections whose request is incomplete
    """

    clients: int
    pushers: int
    connections: int
    awaited: int


def share_out(limit: int, max_requests: int) -> Shares:
    """Divide the descriptors; even of few, each purpose gets a share.

    :param limit: the limit of open files
    :param max_requests: the most calls to the API at once
    """
    pushers = limit - min(max_requests + _FILES, limit // 2)
    clients = pushers - min(_PUSHERS, pushers // 8)
    connections = max(1, clients - min(_BEFORE, clients // 8))
    return Shares(clients, pushers, connections, min(_MAX_AWAITED, max(_AWAITED, clients // 8)))


class Descriptors:
    """Pauses listening ports while no descriptor is free below their mark.

    :param reactor: for the checks whether one is free again
    :param shares: the marks
    """

    _log = Logger()

    def __init__(self, reactor: Any, shares: Shares) -> None:
        self._reactor = reactor
        self._shares = shares
        self._probe: int | None = None
        self._held: list[tuple[ListeningPort, int]] = []
        self._warned_at: float | None = None
        self._checks = LoopingCall(self._check)
        self._checks.clock = reactor
        #: How often a port had to wait.
        self.shortages = 0

    @property
    def is_holding(self) -> bool:
        """Whether a port is paused, so that new connections wait."""
        return bool(self._held)

    def guard(self, listening: ListeningPort, *, clients: bool) -> None:
        """Have a port accept only while descriptors are free.

        :param clients: whether clients connect here; else only pushers do
        """
        port = listening.port
        accept = getattr(port, "doRead", None)
        if accept is None:
            return
        mark = self._shares.clients if clients else self._shares.pushers

        def read() -> None:
            for _ in range(_ACCEPTS):
                if self.is_short(mark):
                    self._hold(listening, mark)
                    return
                # One at a time, so that it gets the number that was just checked.
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

    def _hold(self, listening: ListeningPort, mark: int) -> None:
        self.shortages += 1
        listening.pause()
        self._held.append((listening, mark))
        now = self._reactor.seconds()
        if self._warned_at is None or now - self._warned_at >= _WARN_EVERY:
            self._warned_at = now
            self._log.warn(
                "no file descriptor is left for another connection; new ones have to wait (ulimit -n, LimitNOFILE=)"
            )
        if not self._checks.running:
            self._checks.start(_CHECK_EVERY, now=False)

    def _check(self) -> None:
        held, self._held = self._held, []
        for listening, mark in held:
            if self.is_short(mark):
                self._held.append((listening, mark))
            else:
                listening.resume()
        if not self._held:
            self._checks.stop()

    def stop(self) -> None:
        """Stop checking."""
        if self._checks.running:
            self._checks.stop()
        if self._probe is not None:
            os.close(self._probe)
            self._probe = None
