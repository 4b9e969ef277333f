"""Listening: endpoint descriptions become listening ports, or one clear error each."""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint

from wsaas.errors import SettingsError, raise_all
from wsaas.net.descriptions import PROXIED, read_place
from wsaas.net.proxy_protocol import ProxiedReactor
from wsaas.net.server_tls import TlsError, unwrap
from wsaas.net.transport import Buffers, install

#: How many connections the kernel completes before they are accepted. Twisted's 50 drop handshakes in a burst.
BACKLOG = 1024
DEFAULT_PORT = 8080
_LAST_PORT = 65535

_FREE = "an address that is free and ours"
#: An IPv6 address whose colons are taken for the ends of options.
_BARE_IPV6 = re.compile(r"interface=(?:\[([0-9A-Fa-f:.]*)\]|((?:[0-9A-Fa-f.]*:)+[0-9A-Fa-f.]*))(?=:[a-zA-Z]+=|$)")
_WITH_BACKLOG = ("tcp:", "tcp6:", "unix:")


def with_backlog(description: str) -> str:
    """:returns: an endpoint description with our backlog, unless it has its own"""
    if "backlog=" in description or not description.startswith(_WITH_BACKLOG):
        return description
    return f"{description}:backlog={BACKLOG}"


class ListeningPort:
    """A port that listens, can pause, and stops once.

    :param port: what an endpoint's ``listen`` gave
    :param adopted: whether another process opened the socket and keeps it open after this one has ended
    :param form: what is spoken beneath HTTP besides TCP, as endpoint descriptions begin: ``haproxy:tls:``, say
    :param certificate: its certificate, for the log; empty if there is none
    """

    def __init__(self, port: IListeningPort, *, adopted: bool = False, form: str = "", certificate: str = "") -> None:
        self.port: Any = port
        self.adopted = adopted
        self.certificate = certificate
        self._form = form
        self._pauses = 0
        self._stopping: Deferred[Any] | None = None

    @property
    def where(self) -> str:
        """Where it listens, as what it is, such as ``tls:192.0.2.1:443``."""
        address: Any = self.port.getHost()
        host, number = getattr(address, "host", None), getattr(address, "port", None)
        if host is None:
            name = getattr(address, "name", b"")
            place = f"unix:{name.decode() if isinstance(name, bytes) else name}"
        else:
            place = f"tcp:{f'[{host}]' if ':' in host else host}:{number}"
        return self._form + (place.removeprefix("tcp:") if self._form.endswith("tls:") else place)

    def pause(self) -> None:
        """Accept no connection for now: clients wait in the backlog. Each pause needs a resume of its own."""
        self._pauses += 1
        if self._stopping is None:
            self.port.pauseProducing()

    def resume(self) -> None:
        """Accept connections again, unless there were more pauses than resumes."""
        self._pauses -= 1
        if not self._pauses and self._stopping is None:
            self.port.resumeProducing()

    def stop(self) -> Deferred[Any]:
        """Stop listening.

        :returns: fires when it is done
        """
        if self._stopping is None:
            self._stopping = maybeDeferred(self.port.stopListening)
        return self._stopping


class Endpoint:
    """An endpoint to listen on.

    :param reactor: opens the socket
    :param setting: the setting that the description comes from
    :param description: Twisted's endpoint description
    :raises SettingsError: if the description makes no endpoint, as with a certificate that cannot be read
    """

    def __init__(self, reactor: Any, setting: str, description: str) -> None:
        self._reactor = reactor
        self._setting = setting
        self._description = description
        #: Where it listens, as :attr:`ListeningPort.where`; empty before.
        self.where = ""
        inner = description.removeprefix(PROXIED)
        #: Whether the socket is handed over, and stays open after this process has ended.
        self.adopted = inner.startswith("systemd:")
        if inner != description:
            # The header stands in front of TLS; Twisted's own haproxy: would expect it inside.
            reactor = ProxiedReactor(reactor)
        port = read_place(description).options.get("port", "")
        if port.isdigit() and int(port[-12:]) > _LAST_PORT:
            raise SettingsError(setting, description, f"ports from 0 to {_LAST_PORT}", f"there is no port {port}")
        try:
            beneath, self._tls = unwrap(inner)
            self._endpoint: IStreamServerEndpoint = serverFromString(reactor, with_backlog(beneath))
        except TlsError as error:
            raise SettingsError(setting, description, error.allowed, str(error)) from error
        except (IndexError, KeyError) as error:
            allowed = "systemd: only where systemd hands over the socket"
            raise SettingsError(setting, description, allowed, "there is no such descriptor here") from error
        except Exception as error:  # whatever a plugin's parser and OpenSSL raise
            raise SettingsError(
                setting, description, "a Twisted endpoint description", _why(description, error)
            ) from error

    @property
    def encrypted(self) -> bool:
        """Whether it has certificates."""
        return self._tls is not None

    @property
    def expires(self) -> float | None:
        """When the first of its certificates expires, in seconds since 1970; :data:`None` if it has none."""
        return None if self._tls is None else self._tls.expires.timestamp()

    def reload(self) -> None:
        """Reload its certificates, if it has any."""
        if self._tls is not None:
            self._tls.reload()

    async def listen(self, factory: IProtocolFactory) -> list[ListeningPort]:
        """Listen.

        :raises SettingsError: if it cannot
        """
        form, certificate = PROXIED if self._description.startswith(PROXIED) else "", ""
        if self._tls is not None:
            factory = self._tls.wrap(factory, self._reactor)
            form, certificate = f"{form}tls:", self._tls.shown
        try:
            port = await self._endpoint.listen(factory)
        except (CannotListenError, OSError, OverflowError) as error:
            raise SettingsError(self._setting, self._description, _FREE, _cause(error)) from error
        made = ListeningPort(port, adopted=self.adopted, form=form, certificate=certificate)
        self.where = made.where
        return [made]


class DefaultEndpoint:
    """Port 8080 on IPv4 and, where the machine has it, IPv6.

    :param reactor: opens the sockets
    :param local: listen on the loopback addresses only
    """

    encrypted = False
    where = ""
    expires: float | None = None

    def __init__(self, reactor: Any, *, local: bool = False) -> None:
        self._reactor = reactor
        self._local = local

    def reload(self) -> None:
        """No-op: it has no certificates."""

    async def listen(self, factory: IProtocolFactory) -> list[ListeningPort]:
        """Listen.

        :raises SettingsError: if it cannot
        """
        ports: list[ListeningPort] = []
        for kind, interface in (
            (TCP6ServerEndpoint, "::1" if self._local else "::"),
            (TCP4ServerEndpoint, "127.0.0.1" if self._local else ""),
        ):
            try:
                endpoint = kind(self._reactor, DEFAULT_PORT, BACKLOG, interface)
                ports.append(ListeningPort(await endpoint.listen(factory)))
            except CannotListenError as error:
                in_use = getattr(error.socketError, "errno", None) == errno.EADDRINUSE
                if kind is TCP6ServerEndpoint and not in_use:
                    continue  # a machine without IPv6
                if ports and in_use and not self._local:
                    continue  # the IPv6 socket serves IPv4 too, as Linux has it by default
                _stop(ports)
                raise SettingsError("WS_LISTEN", f"tcp:{DEFAULT_PORT}", _FREE, _cause(error)) from error
        return ports


def _cause(error: Exception) -> str:
    cause = getattr(error, "socketError", None) or error
    return getattr(cause, "strerror", None) or str(cause)


def _why(description: str, error: Exception) -> str:
    """:returns: what is wrong with a description, and how it is written where that is known"""
    bare = _BARE_IPV6.search(description)
    if bare is not None:
        address = (bare[1] or bare[2]).replace(":", "\\:")
        said = f"{description[: bare.start()]}interface={address}{description[bare.end() :]}"
        return f"each colon of an IPv6 address needs a backslash before it: {said} (in an env file in single quotes)"
    if "," in description:
        return "endpoints are separated by blanks, not commas"
    port = re.match(r"(?:haproxy:)?tcp6?:(?:port=)?([^:]*)", description)
    if port is not None and not re.fullmatch(r"[0-9]+", port[1]):
        return f"the port is not a number: {port[1]!r}"
    option = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    return str(error) if option is None else f"{option[1]}= is no option of it"


def endpoints(reactor: Any, setting: str, descriptions: Sequence[str]) -> list[Endpoint]:
    """Parse endpoint descriptions, without listening yet.

    :param setting: the setting that the descriptions come from
    :raises SettingsError: for all that make no endpoint
    """
    found, errors = [], []
    for description in descriptions:
        try:
            found.append(Endpoint(reactor, setting, description))
        except SettingsError as error:
            errors.append(error)
    raise_all(errors)
    return found


async def listen_all(
    places: Sequence[Endpoint | DefaultEndpoint], factory: IProtocolFactory, buffers: Buffers | None = None
) -> list[ListeningPort]:
    """Listen on every endpoint, or on none if one fails.

    :param buffers: use transports that write at once, with these sizes; :data:`None` for Twisted's own
    :raises SettingsError: for all that cannot be listened on
    """
    listening: list[ListeningPort] = []
    errors: list[SettingsError] = []
    for place in places:
        try:
            listening += await place.listen(factory)
        except SettingsError as error:
            errors.append(error)
    if errors:
        _stop(listening)
    raise_all(errors)
    if buffers is not None:
        for each in listening:
            install(each.port, buffers)
    return listening


def _stop(ports: Sequence[ListeningPort]) -> None:
    """Stop listening, without waiting for it: the start of the service must fail at once."""
    for port in ports:
        port.stop()
