"""The WebSocket protocol of a client: adapts Autobahn to :class:`~wsaas.connections.connection.Connection`.

Autobahn reads and writes frames (RFC 6455 §5 to §7); the connection makes the decisions.
"""

from __future__ import annotations

from typing import Any

from autobahn.util import encode_truncate
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsaas.connections.connection import Connection
from wsaas.connections.messages import MAX_REASON, Close, Message, SharedMessage
from wsaas.limits import Budgets, Queue, SharedBytes
from wsaas.websocket.autobahn_base import LeanServerProtocol
from wsaas.websocket.frames import PING, PONG, PONG_LENGTH, compressed_frame, message_frame, read_close, read_message
from wsaas.websocket.send_queue import Output

#: RFC 6455 §7.4.1: "no status code was present".
_NO_CODE = 1005
#: A message may have this many fragments of any size; if it has more, they must have so many bytes on average. Each
#: takes as long as a message of its own, so that a few clients with fragments of one byte would delay all others.
FREE_FRAGMENTS = 64
MEAN_FRAGMENT = 16
#: The most pings and unsolicited pongs of one client per second.
FREE_CONTROLS = 64
#: The most pings and pongs that are not counted after a pause in reading, as they may have come in the meantime:
#: :data:`FREE_CONTROLS` for each second of the pause, up to this.
MAX_SAVED = 256
#: How many frames are read after our Close frame, on the way to the client's own: so many at once, and then so many
#: after each pause (in seconds).
FREE_LATE, LATE_AT_ONCE, LATE_PAUSE = 256, 32, 0.1
#: So many fragments of a message in a row are joined, and so many slices of a fragment.
_JOINED = 1024

_log = Logger()


class ClientProtocol(LeanServerProtocol):
    """One client's WebSocket: the :class:`~wsaas.connections.interfaces.Peer` of its connection."""

    transport: Any
    connection: Connection
    _output: Output
    _reading = True
    _broken = False
    _parsing = False
    #: The client's Close frame is being processed.
    _leaving = False
    _pong: bytes | None = None
    budgets: Budgets
    #: The clients with an incomplete message.
    partial: Queue
    #: Fragments and bytes of the incomplete message.
    _fragments = 0
    _partial = 0
    #: How many slices of the current frame are joined ones.
    _slabs = 0
    #: How many pings with a payload were sent whose pongs may still come.
    _asked = 0
    #: Pings and unsolicited pongs within the current second, and which second that is.
    _controls = 0
    _second = 0
    #: Since when the client is not read; and how many pings and pongs are not counted because of that.
    _paused_at: float | None = None
    _saved = 0
    #: How many frames may still be read after our Close frame before a pause, and the timer of that pause.
    _late = FREE_LATE
    _reading_late: IDelayedCall | None = None
    #: The client sent too many frames: it is not read any more.
    _flooded = False

    # As a Peer

    @property
    def buffered(self) -> int:
        """Bytes accepted for the client and not yet in the kernel."""
        return self._output.buffered

    @property
    def crowded(self) -> bool:
        """Whether nothing more may be buffered."""
        return self._output.crowded

    @property
    def sent(self) -> int:
        """Bytes ever handed to the kernel."""
        return self._output.sent

    def send(self, message: Message) -> bool:
        """Send one message."""
        if self.state == self.STATE_OPEN and self._perMessageCompress is None:
            return self._output.write(message_frame(message.payload, message.binary))
        self.sendMessage(message.payload, message.binary)
        return True

    @property
    def full(self) -> bool:
        """Whether too many frames wait."""
        return self._output.full

    def send_shared(self, message: SharedMessage, room: int) -> bool | None:
        """Send one message that many clients get."""
        if self._perMessageCompress is not None:
            return self._output.write_shared(self._rendering(message), room)
        frame = message.plain
        if frame is None:
            frame = message.plain = SharedBytes(message_frame(message.content, message.binary))
        return self._output.write_shared(frame, room)

    def _rendering(self, message: SharedMessage) -> SharedBytes:
        """:returns: the frame of a message for clients with which the same was negotiated"""
        parameters = self._perMessageCompress.parameters
        frame = message.renderings.get(parameters)
        if frame is None:
            compressed = self._perMessageCompress.compress(message.content)
            frame = message.renderings[parameters] = SharedBytes(compressed_frame(compressed, message.binary))
        return frame

    def ping(self, payload: bytes = b"") -> None:
        """Send a ping (RFC 6455 §5.5.2)."""
        if payload:
            self._asked += 1
            self.sendPing(payload)
        elif self.state == self.STATE_OPEN:
            self._output.write(PING)

    def close(self, close: Close) -> None:
        """Send a Close frame; the TCP connection ends after the client's answer."""
        self.sendCloseFrame(close.code, close.reason.encode("utf-8"))

    def abort(self) -> None:
        """End the TCP connection now."""
        self.transport.abortConnection()

    def pause(self) -> None:
        """Stop reading. Frames that were read already stay unparsed."""
        if self._reading:
            self._reading = False
            self._paused_at = self.factory.reactor.seconds()
        self.transport.pauseProducing()

    def resume(self) -> None:
        """Parse what was read already, then read again."""
        if self._flooded:
            return  # not even for the answer to our Close frame: the close timeout ends the connection
        if self._paused_at is not None:
            seconds = self.factory.reactor.seconds() - self._paused_at
            self._paused_at = None
            self._saved = min(MAX_SAVED, self._saved + int(seconds * FREE_CONTROLS))
        self._reading = True
        self.consumeData()
        if self._reading:
            self.transport.resumeProducing()

    # From the transport

    def connectionMade(self) -> None:
        """Take over the transport, without what Autobahn would find out about it: the handshake knows that."""
        self._connectionMade()
        self._output = Output(self.transport, self._drained, self.budgets.outgoing)

    def dataReceived(self, data: bytes) -> None:
        """Take bytes from the client."""
        self.connection.heard()
        if len(data) == PONG_LENGTH and data.startswith(PONG) and self._is_at_frame:
            return  # the answer to a keepalive ping, whose only purpose is that it was heard
        if self._broken:
            return
        self.data = self.data + data if self.data else data
        try:
            self.consumeData()
        except Exception:  # noqa: BLE001 - whatever it is, the connection must end, and the API get its DELETE
            self._fault()

    @property
    def _is_at_frame(self) -> bool:
        """Whether the next byte begins a frame that may be read without Autobahn."""
        return not self.data and self.current_frame is None

    def consumeData(self) -> None:
        """Parse frames as long as the connection is read. A nested call returns at once."""
        if self._parsing or self._broken:
            return
        self._parsing = True
        try:
            # A frame without a payload is complete without another byte.
            while (
                (self.data or self.current_frame is not None)
                and self._reading
                and self.state in (self.STATE_OPEN, self.STATE_CLOSING)
            ):
                if self._take_plain():
                    continue
                more = self.processData()
                if (self.state == self.STATE_CLOSING and self._is_late()) or not more:
                    break
        finally:
            self._parsing = False

    def _is_late(self) -> bool:
        """:returns: whether to pause reading, as the client sent many frames after our Close frame"""
        self._late -= self.current_frame is None
        if self._late > 0:
            return False
        self.pause()
        if self._reading_late is None:
            self._reading_late = self.factory.reactor.callLater(LATE_PAUSE, self._read_on)
        return True

    def _read_on(self) -> None:
        self._reading_late = None
        self._late = LATE_AT_ONCE
        self.resume()

    def _take_plain(self) -> bool:
        """Take plain messages from the start of the unparsed bytes; if there are none, a plain Close frame.

        :returns: whether there were any
        """
        if (
            self.current_frame is not None
            or self.inside_message
            or self.state != self.STATE_OPEN
            or self.failedByMe
            or self._perMessageCompress is not None
        ):
            return False
        data, begin = self.data, 0
        size = len(data)
        try:
            while begin < size and self._reading and self.state == self.STATE_OPEN:
                read = read_message(data, begin)
                if read is None or len(read[0].payload) > self.maxMessagePayloadSize:
                    break
                message, begin = read
                self.connection.received(message)
        finally:
            if begin:
                self.data = data[begin:]
        return begin > 0 or self._take_close()

    def _take_close(self) -> bool:
        """:returns: whether a plain Close frame was there; it is answered as Autobahn would answer it"""
        read = read_close(self.data)
        if read is None:
            return False
        code, reason, answer, used = read
        self.data = self.data[used:]
        # The client will not read what is queued, and the answer must not wait behind it.
        self._output.clear()
        self.wasClean = self.droppedByMe = True
        self._output.write(answer)
        self.state = self.STATE_CLOSED
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        self.connection.closed_by_client(Close(_NO_CODE if code is None else code, reason))
        return True

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Clean up after the transport. Messages that had arrived count as received."""
        self._reading = True
        try:
            self.consumeData()
        except Exception:  # noqa: BLE001 - as above
            self._fault()
        if self._reading_late is not None:
            self._reading_late.cancel()
            self._reading_late = None
        self._forget_partial()
        self._connectionLost(reason)
        self.connection.lost()
        self._output.clear()
        # The transport refers to the protocol: the cycle would last until a full garbage collection.
        self.transport = None
        del self.connection, self._output

    def _fault(self) -> None:
        # The parser is in an undefined state, and must not see further bytes.
        self._broken = True
        _log.failure("{tag} a fault of the gateway", tag=self.connection.identity.tag)
        self.connection.broke()

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:  # noqa: ARG002 - Autobahn's signature
        """Send through the queue, like everything else for the client."""
        self._output.write(data)

    def _drained(self) -> None:
        pong, self._pong = self._pong, None
        if pong is not None:
            self.sendPong(pong)
        self.connection.drained()

    # From Autobahn

    def onMessageFrameBegin(self, length: int) -> None:
        """Count a fragment. Each takes time, however short it is, so that their number is bounded, too."""
        self._fragments += 1
        super().onMessageFrameBegin(length)
        if (
            self._fragments > FREE_FRAGMENTS
            and self.message_data_total_length < self._fragments * MEAN_FRAGMENT
            and not self.failedByMe
        ):
            self._flooded = self._broken = True
            self._fail_connection(1008, "too many small fragments")

    def onMessageFrameData(self, payload: bytes) -> None:
        """Keep a part of a message. Empty parts are dropped, as no limit on bytes would bound them."""
        if payload and not self.failedByMe:
            if not self._partial:
                self.partial.enter(self)
            self._partial += len(payload)
            budget = self.budgets.partial
            budget.used += len(payload)
            if budget.exhausted:
                # The oldest may be this very client.
                self.partial.evict()
            super().onMessageFrameData(payload)
            if len(self.frame_data) - self._slabs >= _JOINED:
                self.frame_data[self._slabs :] = [b"".join(self.frame_data[self._slabs :])]
                self._slabs += 1

    def onMessageFrameEnd(self) -> None:
        """Join many short fragments into few long ones: each bytes object has an overhead of 33 bytes."""
        super().onMessageFrameEnd()
        self._slabs = 0
        if not self._fragments % _JOINED:
            self.message_data[-_JOINED:] = [b"".join(self.message_data[-_JOINED:])]

    def _forget_partial(self) -> None:
        self._fragments = 0
        if self._partial:
            self.partial.leave(self)
            self.budgets.partial.used -= self._partial
            self._partial = 0

    def evict(self) -> None:
        """Close the connection: incomplete messages take too much memory, and this one is the oldest."""
        self.message_data = self.frame_data = []
        self._forget_partial()
        self._fail_connection(1008, "the message took too long")

    def onMessageEnd(self) -> None:
        """Pass on a complete message. Autobahn's own method would also fire signals, which are not used."""
        parts, self.message_data = self.message_data, []
        self._forget_partial()
        if not self.failedByMe:
            self.connection.received(Message(b"".join(parts), self.message_is_binary))

    def _is_flood(self) -> bool:
        """:returns: whether this ping or pong is one too many, as each takes as long as a message"""
        now = int(self.factory.reactor.seconds())
        if now != self._second:
            self._second, self._controls = now, 0
        if self._saved:
            self._saved -= 1
            return False
        self._controls += 1
        if self._controls > FREE_CONTROLS and not self.failedByMe:
            self._flooded = self._broken = True
            self._fail_connection(1008, "too many pings or pongs")
        return self._flooded

    def _onPing(self, payload: bytes) -> None:
        if self._is_flood():
            return
        if self._output.paused:
            # RFC 6455 §5.5.3: only the most recent ping needs an answer, so no pongs are queued for a slow client.
            self._pong = payload
        else:
            self.sendPong(payload)
            if self._output.buffered:
                self.connection.check_soon()

    def _onPong(self, payload: bytes) -> None:
        if self._asked:
            self._asked -= 1
        elif self._is_flood():
            return
        self.connection.outbox.pong(payload)

    def onCloseFrame(self, code: int | None, reasonRaw: bytes | None) -> bool | None:
        """Take the client's Close frame, or its answer to ours."""
        first = self.state == self.STATE_OPEN
        if first:
            # The client will not read what is queued, and the answer must not wait behind it.
            self._output.clear()
            self._leaving = True
        stop: bool | None = super().onCloseFrame(code, reasonRaw)  # type: ignore[arg-type]  # either may be None
        if first and not self.failedByMe:
            self.connection.closed_by_client(Close(_NO_CODE if code is None else code, self.remoteCloseReason or ""))
        return stop

    def _fail_connection(self, code: int = 1002, reason: str = "") -> None:
        """Report that the client broke the protocol or a limit; the connection decides when the Close frame is sent."""
        if self.state == self.STATE_OPEN:
            self._forget_partial()
            if not self.failedByMe:
                self.failedByMe = True
                close = Close(code, encode_truncate(reason, MAX_REASON).decode("utf-8"))
                self.connection.failed_by_peer(close, at_once=self._leaving)
        else:
            super()._fail_connection(code, reason)

    def _closeConnection(self, abort: bool = False) -> None:  # noqa: ARG002 - Autobahn's signature
        # Close in good order after both Close frames, as a reset could overtake ours. The close timeout aborts.
        self.transport.loseConnection()
