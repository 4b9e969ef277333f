"""Sockets that are written to at once.

Twisted keeps what is written, has epoll tell it in the next turn of the reactor that the socket takes it, sends it, and
has epoll stop telling: for a message of a few bytes, that costs more than the message. The transports here send at once
when nothing waits. Whatever is not as simple as that goes the way that it always goes.

An error of such a send is not told to who writes: the bytes are kept, and the reactor meets the error as it would have
met it without this module.

Private names of Twisted's transports stand in this module and nowhere else but in :func:`.unsent`.
"""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IListeningPort, IProtocol
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.protocols.policies import ProtocolWrapper

#: After these, the same send may succeed later.
_TEMPORARY = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS, errno.EINTR})


@dataclass(frozen=True, slots=True)
class Buffers:
    """How much is on its way between a socket and its protocol.

    :param receive: bytes read at a time, at most. What is read is parsed in one go, while nobody else is served: 64 KiB
        of frames with one byte each take tens of milliseconds.
    :param send: bytes that the kernel keeps for a peer that does not read, about; :data:`None` leaves it to the kernel,
        which lets them grow to megabytes. For a distant peer, this much can be sent in each round trip. With less than
        128 KiB, a bulk of bytes stalls over loopback: its packets have 64 KiB, and one is not acknowledged at once.
    :param full: bytes that wait in this process before a streaming producer is paused
    """

    receive: int = 65536
    send: int | None = None
    full: int = 65536


class EagerServer(tcp.Server):
    """A TCP connection that was accepted.

    :param buffers: its sizes
    """

    #: A send failed, and its bytes wait for the reactor to find out.
    _failed = False
    #: What UNIX sockets also may have to send: descriptors, which go with bytes that wait.
    _sendmsgQueue: list[int] | tuple[()] = ()

    def __init__(self, sock: socket.socket, *arguments: Any, buffers: Buffers) -> None:
        if buffers.send is not None:
            try:
                # The kernel doubles it, for what it needs itself: socket(7).
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers.send // 2)
            except OSError:
                pass  # Whatever is wrong with the socket, reading from it will show.
        self.bufferSize = buffers.receive
        self._buffers = buffers
        super().__init__(sock, *arguments)

    def write(self, data: bytes) -> None:
        """Send bytes, or as many of them as the kernel takes, and keep the rest."""
        self.send(data)

    def send(self, data: bytes) -> bool:
        """Do the same as :meth:`write`.

        :returns: whether all of them are in the kernel, and nothing waits
        """
        if (
            self.dataBuffer
            or self._tempDataBuffer
            or self._sendmsgQueue
            or not self.connected
            or self.disconnecting
            # abortConnection() leaves it connected until the next turn.
            or self._aborting
            or self._writeDisconnecting
            # What it would send is not encrypted yet.
            or self.TLS
            # A pull producer is asked for more when the reactor has written.
            or (self.producer is not None and not self.streamingProducer)
            or type(data) is not bytes
            or not data
        ):
            super().write(data)
            return False
        try:
            sent = self.socket.send(data)
        except OSError as error:
            # An error is told once. If it is told here, reading would find what looks like an orderly end.
            self._failed = error.errno not in _TEMPORARY
            super().write(data)
            return False
        if sent == len(data):
            return True
        self.dataBuffer = data
        self.offset = sent
        self._maybePauseProducer()
        self.startWriting()
        return False

    def _isSendBufferFull(self) -> bool:
        # Twisted would take bufferSize for both directions, and count what was sent already.
        return len(self.dataBuffer) - self.offset + self._tempDataLen > self._buffers.full

    def doRead(self) -> ConnectionDone | ConnectionLost | None:  # type: ignore[override]  # as below
        """Read what came, and give it to the protocol."""
        try:
            data = self.socket.recv(self.bufferSize)
        except OSError as error:
            return None if error.errno == errno.EWOULDBLOCK else CONNECTION_LOST
        return self._dataReceived(data)

    def _dataReceived(self, data: bytes | None) -> ConnectionDone | ConnectionLost | None:  # type: ignore[override]  # doRead() may return either
        if not data:
            return CONNECTION_LOST if self._failed else CONNECTION_DONE
        self.protocol.dataReceived(data)
        return None


class EagerUnixServer(EagerServer, unix.Server):
    """The same for a UNIX socket."""

    _sendmsgQueue: list[int]
    #: Which also takes descriptors that were sent along.
    doRead = unix.Server.doRead

    def _isSendBufferFull(self) -> bool:
        return len(self._sendmsgQueue) > self._fileDescriptorBufferSize or super()._isSendBufferFull()


_EAGER: dict[object, type[EagerServer]] = {tcp.Server: EagerServer, unix.Server: EagerUnixServer}


def install(port: IListeningPort, buffers: Buffers) -> bool:
    """Have a port make such transports of what it accepts from now on.

    TLS and PROXY are protocols on top of them, and sockets that were adopted are like others. A port with transports
    of its own keeps them.

    :param port: what an endpoint's ``listen`` gave
    :returns: whether it does
    """
    kind = _EAGER.get(getattr(port, "transport", None))
    if kind is None:
        return False
    # tcp.Port has promised for twenty years that this may be replaced.
    vars(port)["transport"] = partial(kind, buffers=buffers)
    return True


def hand_over(transport: Any, protocol: IProtocol) -> None:
    """Let another protocol have what comes from a transport; who calls has to connect it.

    :param transport: a socket's, or TLS or PROXY around one
    """
    if isinstance(transport, ProtocolWrapper):
        transport.wrappedProtocol = protocol
    else:
        transport.protocol = protocol
