"""Twisted's event loop: durations by a monotonic clock, and with epoll no log context for each event.

For every event of every socket, Twisted prepares a context that names the socket in log lines, for its old log module:
a method call, two dictionaries and a context, 2 to 3 µs. The log lines of this package name the connection themselves.
So the sockets with the most events are read without that context; everything else is done as Twisted does it.

Private names of Twisted's epoll reactor stand in this module and nowhere else.
"""

from __future__ import annotations

import errno
from select import EPOLLIN
from time import monotonic
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.tcp import Client
from twisted.python import log, runtime

from wsaas.net.transport import EagerServer, EagerUnixServer

#: Transports that are read directly: connections of clients and pushers, and those to the API.
_PLAIN = frozenset({EagerServer, EagerUnixServer, Client})


class Turn:
    """One turn of an epoll reactor, in place of :meth:`EPollReactor.doPoll`.

    :param reactor: the reactor
    """

    def __init__(self, reactor: Any) -> None:
        self._disconnect = reactor._disconnectSelectable  # noqa: SLF001 - the private names of this module
        self._poller = reactor._poller  # noqa: SLF001
        self._selectables: dict[int, Any] = reactor._selectables  # noqa: SLF001
        self._read_or_write = reactor._doReadOrWrite  # noqa: SLF001

    def __call__(self, timeout: float | None) -> None:
        """Wait for events and handle them.

        :param timeout: seconds; :data:`None` for no limit
        """
        selectables = self._selectables
        try:
            # At most as many events as there are sockets, as Twisted asks for.
            events = self._poller.poll(-1 if timeout is None else timeout, len(selectables))
        except OSError as error:
            if error.errno == errno.EINTR:
                return
            raise
        for descriptor, event in events:
            selectable = selectables.get(descriptor)
            if selectable is None:
                # It was closed earlier in this turn.
                continue
            if event != EPOLLIN or type(selectable) not in _PLAIN:
                log.callWithLogger(selectable, self._read_or_write, selectable, descriptor, event)
                continue
            try:
                why = selectable.doRead()
            except BaseException as error:  # noqa: BLE001 - as Twisted does: it ends this socket, not the loop
                why = error
                log.err()
            if why:
                self._disconnect(selectable, why, True)


def use_monotonic_clock(reactor: Any) -> bool:
    """Have a reactor measure time by a clock that nobody sets.

    Twisted's is the time of day: whatever is scheduled comes too late by as much as that is set back, and too early by
    as much as it is set forward. Everything that schedules asks the reactor itself: ``callLater()``, ``LoopingCall``,
    ``ClientService``, txaio, Autobahn.

    :returns: whether it does from now on; not if its clock is not Twisted's own
    :raises RuntimeError: if something is scheduled already, by the clock that it had
    """
    if reactor.seconds is not runtime.seconds:
        return False
    if reactor.getDelayedCalls():
        raise RuntimeError("something is scheduled already, by the time of day")
    vars(reactor)["seconds"] = monotonic
    return True


def install(reactor: Any) -> bool:
    """Make a reactor use :class:`Turn` from now on.

    :returns: whether it does; not for anything but Twisted's own epoll reactor
    """
    if type(reactor) is not EPollReactor:
        return False
    # A public name, which the main loop looks up in each turn: each kind of reactor has its own.
    vars(reactor)["doIteration"] = Turn(reactor)
    return True
