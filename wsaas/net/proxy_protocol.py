"""The PROXY protocol, versions 1 and 2: a proxy sends the client's address as the first bytes of a connection.

Specification: https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt, section 2. The header stands in front of
TLS, as all proxies send it. Twisted's own ``haproxy:`` expects it inside TLS, does not accept it in pieces, and does
not validate the addresses.
"""

from __future__ import annotations

import re
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocolFactory
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory

#: The most bytes of a header of version 1, CRLF included.
MAX_V1 = 107
#: The most bytes of a header of version 2, TLVs included. The format allows 65,551; nginx reads 4,096.
MAX_V2 = 4096

_V1, _V2 = b"PROXY ", b"\r\n\r\n\x00\r\nQUIT\n"
#: Family, source and destination address, source and destination port; none of them for UNKNOWN.
_LINE = re.compile(
    rb"PROXY (?:UNKNOWN(?: [^\r\n]*)?"
    rb"|(TCP[46]) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4}))"
)
#: Bytes of the fixed part of a header of version 2.
_FIXED = 16
_LOCAL, _PROXY = 0x20, 0x21
#: By family and transport of version 2: how many bytes the two addresses have.
_SIZES = {0x00: 0, 0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216}


def read_header(data: bytes) -> tuple[IAddress | None, int] | None:
    """Read a PROXY header.

    :param data: the first bytes of a connection
    :returns: the client's address and the length of the header; :data:`None` if it is incomplete. The address is
        :data:`None` for the proxy itself, as in health checks, and for an unknown client.
    :raises ValueError: if it is not a PROXY header
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
    if family in (0x11, 0x12):
        return IPv4Address("TCP", inet_ntop(AF_INET, addresses[:4]), int.from_bytes(addresses[8:10], "big"))
    if family in (0x21, 0x22):
        return IPv6Address("TCP", inet_ntop(AF_INET6, addresses[:16]), int.from_bytes(addresses[32:34], "big"))
    return UNIXAddress(None) if family in (0x31, 0x32) else None


class ProxiedConnection(ProtocolWrapper):
    """A connection from a proxy: the wrapped protocol gets the bytes after the header, and sees the client as its peer.

    The wrapped protocol is connected at once, so that its deadline and bounds apply to the header too.
    """

    transport: Any
    _log = Logger()
    #: The part of the header that has come; :data:`None` once it is complete.
    _header: bytes | None = b""
    _refused = False
    _client: IAddress | None = None

    def dataReceived(self, data: bytes) -> None:
        """Take bytes of the header, or pass them on."""
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
        """:returns: the client's address from the header, or the proxy's own"""
        if self._client is not None:
            return self._client
        peer: IAddress = self.transport.getPeer()
        return peer


class ProxiedFactory(WrappingFactory[ProxiedConnection]):
    """Expects a PROXY header on each connection.

    :param wrappedFactory: makes the protocols for the bytes after the header, TLS or not
    """

    protocol = ProxiedConnection
    noisy = False

    def __init__(self, wrappedFactory: IProtocolFactory) -> None:
        super().__init__(wrappedFactory)  # type: ignore[no-untyped-call]  # Twisted's is not annotated


class ProxiedReactor:
    """A reactor whose listening ports expect a PROXY header in front of everything else, TLS included.

    :param reactor: the reactor that does the rest
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(self, port: int, factory: IProtocolFactory, *args: Any, **options: Any) -> IListeningPort:
        """Listen; see :class:`~twisted.internet.interfaces.IReactorTCP`."""
        listening: IListeningPort = self._reactor.listenTCP(port, ProxiedFactory(factory), *args, **options)
        return listening

    def listenUNIX(self, address: str, factory: IProtocolFactory, *args: Any, **options: Any) -> IListeningPort:
        """Listen; see :class:`~twisted.internet.interfaces.IReactorUNIX`."""
        listening: IListeningPort = self._reactor.listenUNIX(address, ProxiedFactory(factory), *args, **options)
        return listening

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: IProtocolFactory) -> IListeningPort:
        """Listen; see :class:`~twisted.internet.interfaces.IReactorSocket`."""
        listening: IListeningPort = self._reactor.adoptStreamPort(
            fileDescriptor, addressFamily, ProxiedFactory(factory)
        )
        return listening
