"""How a transport that carried a granted handshake becomes a WebSocket, and the answer to it (RFC 6455 §4.2.2)."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha1
from typing import Any, cast

from autobahn.twisted.websocket import WebSocketServerFactory
from twisted.internet.interfaces import IReactorTime

from wsaas.connections.connection import Connection
from wsaas.connections.messages import Grant, Handshake
from wsaas.limits import Budgets, Queue
from wsaas.net.transport import hand_over
from wsaas.websocket.compression import WholeMessages, accept_first
from wsaas.websocket.protocol import ClientProtocol

#: RFC 6455 §1.3: what is hashed with the client's key.
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#: Connections with an incomplete message. What they keep is bounded in bytes, too.
_MAX_PARTIAL = 1 << 20


def _switching_protocols(key: str, subprotocol: str | None, extension: str | None) -> bytes:
    """:returns: the answer to a handshake (RFC 6455 §4.2.2)"""
    accept = b64encode(sha1(key.encode("ascii") + _GUID, usedforsecurity=False).digest())
    lines = [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade"]
    if subprotocol is not None:
        lines.append(b"Sec-WebSocket-Protocol: " + subprotocol.encode("ascii"))
    if extension is not None:
        lines.append(b"Sec-WebSocket-Extensions: " + extension.encode("ascii"))
    lines.append(b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
    return b"\r\n".join(lines)


class ClientFactory(WebSocketServerFactory):
    """Makes the protocols of clients.

    :param reactor: Autobahn wants one; its timers are off
    :param max_message: bytes of a message that are accepted, inflated ones counted inflated
    :param compression: whether permessage-deflate is spoken
    :param budgets: of what is kept for all connections
    """

    protocol = ClientProtocol
    noisy = False

    def __init__(
        self,
        reactor: IReactorTime,
        max_message: int,
        compression: bool,
        budgets: Budgets | None = None,
    ) -> None:
        super().__init__(reactor=reactor, server=None)
        self.max_message = max_message
        self.compression = compression
        # What is the same for all connections of a factory stands in their class, not in each of them.
        same = {
            "factory": self,
            "maxMessagePayloadSize": max_message,
            "budgets": budgets or Budgets(),
            "partial": Queue(_MAX_PARTIAL, ClientProtocol.evict),
        }
        self.protocol = cast(type[ClientProtocol], type(ClientProtocol.__name__, (ClientProtocol,), same))

    def _compress(self, protocol: ClientProtocol, handshake: Handshake) -> str | None:
        """Have a connection compress, if that is spoken and offered in a way that can be accepted.

        :returns: what the client is told of it
        """
        accept = accept_first(handshake.extensions, self.max_message) if self.compression else None
        if accept is None:
            return None
        protocol._perMessageCompress = WholeMessages(accept)  # noqa: SLF001 - where Autobahn keeps it
        return str(accept.get_extension_string())

    def take_over(
        self, transport: Any, early: bytes, handshake: Handshake, grant: Grant, connection: Connection
    ) -> ClientProtocol:
        """Turn a transport that carried a granted handshake into a WebSocket.

        :param transport: connected, with no producer
        :param early: what the client sent behind its handshake
        :param handshake: the client's request
        :param grant: the API's answer
        :param connection: whose peer it becomes
        """
        protocol: ClientProtocol = self.protocol()
        protocol.connection = connection
        extension = self._compress(protocol, handshake)
        hand_over(transport, protocol)
        protocol.makeConnection(transport)
        protocol.sendData(_switching_protocols(handshake.key, grant.protocol, extension))
        protocol.state = ClientProtocol.STATE_OPEN
        connection.open(protocol, grant.close, grant.closed_by)
        if early:
            protocol.dataReceived(early)
        return protocol
