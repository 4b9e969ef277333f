"""The PROXY protocol, versions 1 and 2: a proxy says, before anything else on a connection, who connected to it.

Specification: https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt, section 2. The header stands in front of
TLS, as all proxies send it. Twisted's own ``haproxy:`` looks for it inside of TLS, takes none that comes in pieces, and
does not look whether addresses are any.
"""

from __future__ import annotations

import re
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocolFactory
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory

#: Bytes of a header of version 1 at most, its end included.
MAX_V1 = 107
#: Bytes of a header of version 2 that are read, further fields (TLVs) included. It could say 65,551; nginx reads 4,096.
MAX_V2 = 4096

_V1, _V2 = b"PROXY ", b"\r\n\r\n\x00\r\nQUIT\n"
#: Family, source, destination and their ports; nothing of them for somebody unknown.
_LINE = re.compile(
    rb"PROXY (?:UNKNOWN(?: [^\r\n]*)?"
    rb"|(TCP[46]) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4}))"
)
#: Bytes of the fixed part of version 2.
_FIXED = 16
_LOCAL, _PROXY = 0x20, 0x21
#: What version 2 knows of families and transports, and how many bytes the two addresses have.
_SIZES = {0x00: 0, 0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216}


def read_header(data: bytes) -> tuple[IAddress | None, int] | None:
    """Read a PROXY header.

    :param data: the first bytes of a connection
    :returns: who connected to the proxy, :data:`None` for the proxy itself, as at its checks of health (or for somebody
        of whom it does not tell), and how many bytes the header has; :data:`None` if more is to come
    :raises ValueError: if it is none
    """
    if data[: len(_V1)] == _V1[: len(data)]:
        return _read_v1(data)
    if data[: len(_V2)] == _V2[: len(data)]:
        return _read_v2(data)
    raise ValueError("no PROXY header")


def _read_v1(data: bytes) -> tuple[IAddress | None, int] | None:
    end = data.find(b"\r\n", 0, MAX_V1)
    if end < 0:
        if len(data) >= MAX_V1:
            raise ValueError("a PROXY header that is too long")
        return None
    match = _LINE.fullmatch(data, 0, end)
    if match is None:
        raise ValueError("a malformed PROXY header")
    if match[1] is None:
        return None, end + 2
    family, kind = (AF_INET, IPv4Address) if match[1] == b"TCP4" else (AF_INET6, IPv6Address)
    source, destination, port = match[2].decode("ascii"), match[3].decode("ascii"), int(match[4])
    try:
        inet_pton(family, source)
        inet_pton(family, destination)
    except OSError:
        raise ValueError("a PROXY header without addresses") from None
    if max(port, int(match[5])) > 0xFFFF:
        raise ValueError("a PROXY header without ports")
    return kind("TCP", source, port), end + 2


def _read_v2(data: bytes) -> tuple[IAddress | None, int] | None:
    if len(data) < _FIXED:
        return None
    command, family = data[12], data[13]
    size = _FIXED + int.from_bytes(data[14:16], "big")
    if command not in (_LOCAL, _PROXY):
        raise ValueError("a malformed PROXY header")
    if size > MAX_V2:
        raise ValueError("a PROXY header that is too long")
    if command == _PROXY and size - _FIXED < _SIZES.get(family, size):
        raise ValueError("a PROXY header without addresses")
    if len(data) < size:
        return None
    return (_address(family, data[_FIXED:size]) if command == _PROXY else None), size


def _address(family: int, addresses: bytes) -> IAddress | None:
    source: IAddress | None = None
    if family in (0x11, 0x12):
        source = IPv4Address("TCP", inet_ntop(AF_INET, addresses[:4]), int.from_bytes(addresses[8:10], "big"))
    elif family in (0x21, 0x22):
        source = IPv6Address("TCP", inet_ntop(AF_INET6, addresses[:16]), int.from_bytes(addresses[32:34], "big"))
    elif family in (0x31, 0x32):
        source = UNIXAddress(None)
    return source


class ProxiedConnection(ProtocolWrapper):
    """A connection from a proxy: the protocol inside sees what follows the header, and the client as its peer.

    That protocol is connected from the beginning, so that its deadline and its bounds hold for the header too.
    """

    transport: Any
    _log = Logger()
    #: What of the header is there; :data:`None` once it is complete.
    _header: bytes | None = b""
    _refused = False
    _client: IAddress | None = None

    def dataReceived(self, data: bytes) -> None:
        """Bytes came."""
        if self._header is None:
            self.wrappedProtocol.dataReceived(data)
        elif not self._refused:
            self._header += data
            self._read(self._header)

    def _read(self, data: bytes) -> None:
        try:
            read = read_header(data)
        except ValueError as error:
            self._refused = True
            self._header = b""
            self._log.info(
                "- refused: {client}: {reason} (haproxy:)",
                client=getattr(self.getPeer(), "host", None) or "unix",
                reason=str(error),
                many="PROXY headers",
            )
            self.transport.loseConnection()
            return
        if read is not None:
            self._client, size = read
            self._header = None
            if len(data) > size:
                self.wrappedProtocol.dataReceived(data[size:])

    def getPeer(self) -> IAddress:
        """:returns: the client's address as the proxy told it, or the proxy's own"""
        if self._client is not None:
            return self._client
        peer: IAddress = self.transport.getPeer()
        return peer


class ProxiedFactory(WrappingFactory[ProxiedConnection]):
    """Expects a PROXY header on each connection.

    :param wrappedFactory: makes the protocols of what follows, be it TLS
    """

    protocol = ProxiedConnection
    noisy = False

    def __init__(self, wrappedFactory: IProtocolFactory) -> None:
        super().__init__(wrappedFactory)  # type: ignore[no-untyped-call]  # Twisted's is not annotated


class ProxiedReactor:
    """A reactor at whose ports a PROXY header comes first, whatever an endpoint puts around its factory.

    :param reactor: does everything else, too
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(self, port: int, factory: IProtocolFactory, *args: Any, **options: Any) -> IListeningPort:
        """Listen as :class:`~twisted.internet.interfaces.IReactorTCP` has it."""
        listening: IListeningPort = self._reactor.listenTCP(port, ProxiedFactory(factory), *args, **options)
        return listening

    def listenUNIX(self, address: str, factory: IProtocolFactory, *args: Any, **options: Any) -> IListeningPort:
        """Listen as :class:`~twisted.internet.interfaces.IReactorUNIX` has it."""
        listening: IListeningPort = self._reactor.listenUNIX(address, ProxiedFactory(factory), *args, **options)
        return listening

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: IProtocolFactory) -> IListeningPort:
        """Listen as :class:`~twisted.internet.interfaces.IReactorSocket` has it."""
        listening: IListeningPort = self._reactor.adoptStreamPort(
            fileDescriptor, addressFamily, ProxiedFactory(factory)
        )
        return listening
