"""Names of hosts to addresses, in threads that nobody waits for.

Twisted's own resolver asks once for each connection, in the reactor's ten threads, which are joined at the end: a slow
name server makes the eleventh connection wait for the first, and the end of the process for them all.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from functools import partial
from threading import Thread
from typing import Any, TypeAlias

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IHostnameResolver, IHostResolution, IResolutionReceiver
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

#: Look-ups at the same time. A gateway asks for the name of its API, and for few others.
_THREADS = 4

_BOTH = frozenset((IPv4Address, IPv6Address))
_FAMILIES: dict[frozenset[Any], int] = {
    frozenset((IPv4Address,)): socket.AF_INET,
    frozenset((IPv6Address,)): socket.AF_INET6,
    _BOTH: socket.AF_UNSPEC,
}
_TYPES: dict[int, Callable[..., IAddress]] = {socket.AF_INET: IPv4Address, socket.AF_INET6: IPv6Address}
_SOCKETS = {"TCP": socket.SOCK_STREAM, "UDP": socket.SOCK_DGRAM}

#: Name, port, family, type of socket: the first arguments of ``getaddrinfo``.
_Key: TypeAlias = tuple[str, int, int, int]


class _DaemonThreads(ThreadPool):
    """Threads that do not keep their process from ending."""

    threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]  # a class in Twisted, which only calls it


@implementer(IHostResolution)
class _Resolution:
    """Somebody's wait for an answer.

    :param name: what is looked up
    :param receiver: who waits
    """

    def __init__(self, name: str, receiver: IResolutionReceiver) -> None:
        self.name = name
        self.receiver: IResolutionReceiver | None = receiver

    def cancel(self) -> None:
        """Wait no longer. The look-up itself goes on, as nothing ends ``getaddrinfo``."""
        self.receiver = None


@implementer(IHostnameResolver)
class Resolver:
    """Asks ``getaddrinfo``, once for all who want to know the same at the same time.

    ``getaddrinfo`` keeps to ``nsswitch.conf``, ``/etc/hosts``, and ``search`` and ``ndots`` of ``resolv.conf``, which
    names in Kubernetes and Compose depend on. Nothing is remembered: that is the system's business.

    :param reactor: in which answers are given
    :param getaddrinfo: :func:`socket.getaddrinfo`
    """

    _log = Logger()

    def __init__(self, reactor: Any, getaddrinfo: Callable[..., Sequence[Any]] = socket.getaddrinfo) -> None:
        self._reactor = reactor
        self._getaddrinfo = getaddrinfo
        self._under_way: dict[_Key, list[_Resolution]] = {}
        self._threads = _DaemonThreads(0, _THREADS, "names")
        # Not before the reactor runs: twistd may fork, which threads do not survive. It is never stopped: to stop it is
        # to join its threads, and a name server may keep them for half a minute.
        reactor.callWhenRunning(self._threads.start)

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """Look a name up; see :class:`twisted.internet.interfaces.IHostnameResolver`.

        As with Twisted's resolver, a name without an address is told by an end without one, whatever the reason.

        :raises KeyError: for address types or semantics that there are not
        """
        family = _FAMILIES[_BOTH if addressTypes is None else frozenset(addressTypes)]
        key = hostName, portNumber, family, _SOCKETS[transportSemantics]
        resolution = _Resolution(hostName, resolutionReceiver)
        resolutionReceiver.resolutionBegan(resolution)
        waiting = self._under_way.get(key)
        if waiting is not None:
            waiting.append(resolution)
            return resolution
        self._under_way[key] = [resolution]
        try:
            self._threads.callInThreadWithCallback(partial(self._looked_up, key), self._getaddrinfo, *key)
        except RuntimeError:
            # The process may have no more threads.
            self._answer(key, False, Failure())
        return resolution

    def _looked_up(self, key: _Key, success: bool, result: Any) -> None:
        self._reactor.callFromThread(self._answer, key, success, result)

    def _answer(self, key: _Key, success: bool, result: Any) -> None:
        waiting = self._under_way.pop(key)
        if not success:
            # UnicodeError: a name that IDNA does not know, or with a label of more than 63 characters.
            if not result.check(OSError, UnicodeError):
                self._log.failure("{name} could not be looked up", result, name=key[0])
            result = []
        semantics = "TCP" if key[3] == socket.SOCK_STREAM else "UDP"
        addresses = [_TYPES[family](semantics, *where) for family, _, _, _, where in result if family in _TYPES]
        for resolution in waiting:
            receiver = resolution.receiver
            if receiver is None:
                continue
            try:
                for address in addresses:
                    receiver.addressResolved(address)
                receiver.resolutionComplete()
            except Exception:  # noqa: BLE001 - one's fault must not keep the answer from the others
                self._log.failure("a fault of the gateway")
