"""Twisted's event loop, less a log context for each event.

For every event of every socket, Twisted prepares a context in which lines of log would name that socket, as its old
log did: a method call, two dictionaries and a context, 2 to 3 µs. Lines of this package name the connection themselves.
So reading from the sockets that most events are about goes without; everything else goes the way that it always goes.

Private names of Twisted's epoll reactor stand in this module and nowhere else.
"""

from __future__ import annotations

import errno
from select import EPOLLIN
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.tcp import Client
from twisted.python import log

from wsaas.net.transport import EagerServer, EagerUnixServer

#: What is read from directly: connections of clients and pushers, and those to the API.
_PLAIN = frozenset({EagerServer, EagerUnixServer, Client})


class Turn:
    """One turn of an epoll reactor, as :meth:`EPollReactor.doPoll` makes it.

    :param reactor: whose turns these are
    """

    def __init__(self, reactor: Any) -> None:
        self._disconnect = reactor._disconnectSelectable  # noqa: SLF001 - all of them are here
        self._poller = reactor._poller  # noqa: SLF001
        self._selectables: dict[int, Any] = reactor._selectables  # noqa: SLF001
        self._read_or_write = reactor._doReadOrWrite  # noqa: SLF001

    def __call__(self, timeout: float | None) -> None:
        """Wait for events, and deal with them.

        :param timeout: seconds; :data:`None` waits for as long as it takes
        """
        selectables = self._selectables
        try:
            # As many events as there are sockets, at most: what Twisted asks for.
            events = self._poller.poll(-1 if timeout is None else timeout, len(selectables))
        except OSError as error:
            if error.errno == errno.EINTR:
                return
            raise
        for descriptor, event in events:
            selectable = selectables.get(descriptor)
            if selectable is None:
                # It was closed in this very turn.
                continue
            if event != EPOLLIN or type(selectable) not in _PLAIN:
                log.callWithLogger(selectable, self._read_or_write, selectable, descriptor, event)
                continue
            try:
                why = selectable.doRead()
            except BaseException as error:  # noqa: BLE001 - as Twisted does: it ends this socket, and not the loop
                why = error
                log.err()
            if why:
                self._disconnect(selectable, why, True)


def install(reactor: Any) -> bool:
    """Have a reactor make its turns so from now on.

    :returns: whether it does; it must be Twisted's epoll reactor, and nothing derived from it
    """
    if type(reactor) is not EPollReactor:
        return False
    # The main loop looks it up in each turn: it is a public name, of what differs between the kinds of reactors.
    vars(reactor)["doIteration"] = Turn(reactor)
    return True
