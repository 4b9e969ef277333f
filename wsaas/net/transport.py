"""TCP and UNIX transports that send at once, with bounded buffers.

Twisted buffers what is written, registers the socket with epoll, sends in the next turn of the reactor, and unregisters
the socket: for a message of a few bytes that costs more than the message. The transports here send at once when nothing
waits in their buffers. In every other case they do what Twisted's transports do.

A caller of ``write`` sees no error of such a send: the bytes are buffered, and the reactor meets the error as it would
have without this module.

Private names of Twisted's transports stand in this module and in :func:`.unsent` only.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IListeningPort, IProtocol
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.protocols.policies import ProtocolWrapper

#: After these errors, the same send may succeed later.
_TEMPORARY = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS, errno.EINTR})
#: The most frames that the kernel takes in one call: UIO_MAXIOV on Linux, IOV_MAX elsewhere.
MAX_IOV = 1024


@dataclass(frozen=True, slots=True)
class Buffers:
    """The sizes of a transport's buffers, in bytes.

    :param receive: the most bytes per read. They are parsed in one go, while the reactor serves no other socket: 64 KiB
        of frames with one byte each take tens of milliseconds.
    :param send: about how much the kernel buffers for a peer that does not read; :data:`None` leaves it to the kernel,
        which goes up to megabytes. A distant peer gets this much in each round trip. With less than 128 KiB, bulk data
        stalls over loopback: its packets have 64 KiB, and a single one is not acknowledged at once.
    :param full: how much waits in this process before a streaming producer is paused
    """

    receive: int = 65536
    send: int | None = None
    full: int = 65536


class EagerServer(tcp.Server):
    """An accepted TCP connection that sends at once.

    :param buffers: the sizes of its buffers
    """

    #: A send failed, and its bytes are buffered for the reactor to meet the error.
    _failed = False
    #: Descriptors that a UNIX socket sends along with buffered bytes.
    _sendmsgQueue: list[int] | tuple[()] = ()

    def __init__(self, sock: socket.socket, *arguments: Any, buffers: Buffers) -> None:
        if buffers.send is not None:
            try:
                # The kernel doubles the value for its own bookkeeping: socket(7).
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers.send // 2)
            except OSError:
                pass  # If the socket is broken, reading from it will show that.
        self.bufferSize = buffers.receive
        self._buffers = buffers
        # Twisted has these in its classes. send() looks at them each time, and in the object they are found faster.
        self.dataBuffer = b""
        self.disconnecting = self.TLS = self._aborting = self._writeDisconnecting = False
        super().__init__(sock, *arguments)

    def write(self, data: bytes) -> None:
        """Send as many of the bytes as the kernel takes, and buffer the rest."""
        self.send(data)

    def send(self, data: bytes) -> bool:
        """Send bytes like :meth:`write`.

        :returns: whether the kernel took all of them and nothing is buffered
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
            # The bytes are not encrypted yet.
            or self.TLS
            # A pull producer is asked for more only after the reactor has written.
            or (self.producer is not None and not self.streamingProducer)
            or type(data) is not bytes
            or not data
        ):
            super().write(data)
            return False
        try:
            sent = self.socket.send(data)
        except OSError as error:
            if error.errno not in _TEMPORARY:
                # The kernel reports an error once. After that, reading would look like an orderly end.
                self._failed = True
                super().write(data)
                return False
            sent = 0
        if sent == len(data):
            return True
        self._keep(data, sent)
        return False

    def send_all(self, frames: Sequence[bytes]) -> int:
        """Send as many of some frames as the kernel takes, without joining them.

        :param frames: at most :data:`MAX_IOV`, none of them empty
        :returns: how many of them this transport has taken; what the kernel did not take of the last one is buffered
        """
        if (
            self.dataBuffer
            or self._tempDataBuffer
            or self._sendmsgQueue
            or not self.connected
            or self.disconnecting
            or self._aborting
            or self._writeDisconnecting
            or self.TLS
            or len(frames) == 1
        ):
            self.send(b"".join(frames))
            return len(frames)
        try:
            sent = self.socket.sendmsg(frames)
        except OSError as error:
            if error.errno in _TEMPORARY:
                self._keep(frames[0], 0)
            else:
                self._failed = True
                super().write(frames[0])
            return 1
        for taken, frame in enumerate(frames):
            if sent < len(frame):
                self._keep(frame, sent)
                return taken + 1
            sent -= len(frame)
        return len(frames)

    def _keep(self, data: bytes, sent: int) -> None:
        """Buffer bytes, some of which are sent already; nothing else is buffered."""
        self.dataBuffer = data
        self.offset = sent
        self._maybePauseProducer()
        self.startWriting()

    def doWrite(self) -> Any:
        """Send what is buffered.

        Twisted copies it each time, to put together what may have been written since. What many clients get must not
        become a copy for each of those that read slowly.
        """
        if self._tempDataBuffer or self._sendmsgQueue or not self.dataBuffer:
            return super().doWrite()
        sent: Any = self.writeSomeData(memoryview(self.dataBuffer)[self.offset :])  # type: ignore[arg-type]  # as Twisted calls it
        if isinstance(sent, Exception):
            return sent
        self.offset += sent
        if self.offset < len(self.dataBuffer):
            return None
        self.dataBuffer = b""
        self.offset = 0
        # There is nothing left to send, and Twisted knows what to do then.
        return super().doWrite()

    def _isSendBufferFull(self) -> bool:
        # Twisted would compare with bufferSize, the size for reading, and count bytes that are sent already.
        return len(self.dataBuffer) - self.offset + self._tempDataLen > self._buffers.full

    def doRead(self) -> ConnectionDone | ConnectionLost | None:  # type: ignore[override]  # as below
        """Read, and pass the bytes to the protocol."""
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
    """An accepted connection on a UNIX socket that sends at once."""

    _sendmsgQueue: list[int]
    #: Also receives descriptors that are sent along.
    doRead = unix.Server.doRead

    def _isSendBufferFull(self) -> bool:
        return len(self._sendmsgQueue) > self._fileDescriptorBufferSize or super()._isSendBufferFull()


_EAGER: dict[object, type[EagerServer]] = {tcp.Server: EagerServer, unix.Server: EagerUnixServer}


def install(port: IListeningPort, buffers: Buffers) -> bool:
    """Make a port use these transports for the connections that it accepts from now on.

    TLS and PROXY work on top of them, and adopted sockets work like others. A port with transports of another kind
    keeps those.

    :param port: what an endpoint's ``listen`` returned
    :returns: whether the port uses them
    """
    kind = _EAGER.get(getattr(port, "transport", None))
    if kind is None:
        return False
    # A documented attribute of tcp.Port, made to be replaced.
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
