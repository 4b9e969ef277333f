"""Where it listens: endpoint descriptions become listening ports, or one clear error each."""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint

from wsaas.errors import SettingsError
from wsaas.net.proxy_protocol import ProxiedReactor
from wsaas.net.server_tls import TlsError, unwrap
from wsaas.net.transport import Buffers, install

#: How many connections the kernel completes before they are accepted. Twisted's 50 drop handshakes in a burst.
BACKLOG = 1024
DEFAULT_PORT = 8080
#: What stands before the description of a place where proxies connect that speak the PROXY protocol.
PROXIED = "haproxy:"

_WITH_BACKLOG = re.compile(r"(tcp|tcp6|unix):")


def with_backlog(description: str) -> str:
    """:returns: an endpoint description with our backlog, unless it has its own"""
    if "backlog=" in description or not _WITH_BACKLOG.match(description):
        return description
    return f"{description}:backlog={BACKLOG}"


class ListeningPort:
    """A port that listens.

    :param port: what an endpoint's ``listen`` gave
    :param adopted: whether somebody else opened it and keeps it open when this process has ended
    """

    def __init__(self, port: IListeningPort, *, adopted: bool = False) -> None:
        self.port: Any = port
        self.adopted = adopted
        self._pauses = 0
        self._stopping: Deferred[Any] | None = None

    def pause(self) -> None:
        """Accept nobody for now: who comes waits in the backlog. Each pause takes a resume of its own."""
        self._pauses += 1
        if self._stopping is None:
            self.port.pauseProducing()

    def resume(self) -> None:
        """Accept who waits and who comes."""
        self._pauses -= 1
        if not self._pauses and self._stopping is None:
            self.port.resumeProducing()

    def stop(self) -> Deferred[Any]:
        """Listen no longer.

        :returns: fires when it is done
        """
        if self._stopping is None:
            self._stopping = maybeDeferred(self.port.stopListening)
        return self._stopping


class Endpoint:
    """One place to listen at.

    :param reactor: listens
    :param setting: the setting it comes from
    :param description: Twisted's endpoint description
    :raises SettingsError: if the description makes no endpoint, as with a certificate that cannot be read
    """

    def __init__(self, reactor: Any, setting: str, description: str) -> None:
        self._reactor = reactor
        self._setting = setting
        self._description = description
        #: Whether the socket is handed over, and stays open when this process has ended.
        inner = description.removeprefix(PROXIED)
        self.adopted = inner.startswith("systemd:")
        if inner != description:
            # In front of TLS, too, which Twisted's own would look into.
            reactor = ProxiedReactor(reactor)
        try:
            beneath, self._tls = unwrap(inner)
            self._endpoint: IStreamServerEndpoint = serverFromString(reactor, with_backlog(beneath))
        except TlsError as error:
            raise SettingsError(setting, description, f"{error.allowed} ({error})") from error
        except (IndexError, KeyError) as error:
            allowed = "systemd: only where systemd hands over the socket (no such descriptor here)"
            raise SettingsError(setting, description, allowed) from error
        except Exception as error:  # whatever a plugin's parser and OpenSSL raise
            raise SettingsError(setting, description, f"a Twisted endpoint description ({error})") from error

    @property
    def encrypted(self) -> bool:
        """Whether it has certificates."""
        return self._tls is not None

    def reload(self) -> None:
        """Read its certificates anew, if it has any."""
        if self._tls is not None:
            self._tls.reload()

    async def listen(self, factory: IProtocolFactory) -> list[IListeningPort]:
        """Listen.

        :raises SettingsError: if it cannot
        """
        if self._tls is not None:
            factory = self._tls.wrap(factory, self._reactor)
        try:
            return [await self._endpoint.listen(factory)]
        except (CannotListenError, OSError, OverflowError) as error:
            raise SettingsError(self._setting, self._description, _free(error)) from error


class DefaultEndpoint:
    """Port 8080, IPv4 and, where the machine has it, IPv6.

    :param reactor: listens
    :param local: at the loopback addresses only, in place of all
    """

    adopted = False
    encrypted = False

    def __init__(self, reactor: Any, *, local: bool = False) -> None:
        self._reactor = reactor
        self._local = local

    def reload(self) -> None:
        """Nothing: it has no certificates."""

    async def listen(self, factory: IProtocolFactory) -> list[IListeningPort]:
        """Listen.

        :raises SettingsError: if it cannot
        """
        ports: list[IListeningPort] = []
        for kind, interface in (
            (TCP6ServerEndpoint, "::1" if self._local else "::"),
            (TCP4ServerEndpoint, "127.0.0.1" if self._local else ""),
        ):
            try:
                ports.append(await kind(self._reactor, DEFAULT_PORT, BACKLOG, interface).listen(factory))
            except CannotListenError as error:
                in_use = getattr(error.socketError, "errno", None) == errno.EADDRINUSE
                if kind is TCP6ServerEndpoint and not in_use:
                    continue  # a machine without IPv6
                if ports and in_use and not self._local:
                    continue  # the IPv6 socket serves IPv4 too, as Linux has it by default
                _stop(ports)
                raise SettingsError("WS_LISTEN", f"tcp:{DEFAULT_PORT}", _free(error)) from error
        return ports


def _free(error: Exception) -> str:
    cause = getattr(error, "socketError", None) or error
    return f"an address that is free and ours ({getattr(cause, 'strerror', None) or cause})"


def endpoints(reactor: Any, setting: str, descriptions: Sequence[str]) -> list[Endpoint]:
    """Prepare to listen, without listening yet.

    :param setting: the setting that the descriptions come from
    :raises SettingsError: if one of them makes no endpoint
    """
    return [Endpoint(reactor, setting, description) for description in descriptions]


def listen_all(
    places: Sequence[Endpoint | DefaultEndpoint], factory: IProtocolFactory, buffers: Buffers | None = None
) -> Deferred[list[ListeningPort]]:
    """Listen at every place; at none if one fails.

    :param buffers: accept with transports that write at once, and with these sizes; else with Twisted's
    :returns: fires with the doors; fails with :class:`~wsaas.errors.SettingsError`
    """

    async def listen() -> list[ListeningPort]:
        doors: list[ListeningPort] = []
        try:
            for place in places:
                opened = await place.listen(factory)
                doors.extend(ListeningPort(port, adopted=place.adopted) for port in opened)
                if buffers is not None:
                    for port in opened:
                        install(port, buffers)
        except SettingsError:
            _stop([door.port for door in doors])
            raise
        return doors

    return Deferred.fromCoroutine(listen())


def _stop(ports: Sequence[IListeningPort]) -> None:
    """Stop listening; not waited for, so that whoever starts the service hears of its failure at once."""
    for port in ports:
        maybeDeferred(port.stopListening)
