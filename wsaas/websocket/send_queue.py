"""The send queue: whole frames that wait in front of a client's transport, and exact counts of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.protocols.policies import ProtocolWrapper
from zope.interface import implementer

from wsaas.limits import OVERHEAD, Budget
from wsaas.net.transport import EagerServer

#: How many frames may wait. Bytes are bounded too, but even empty frames cost memory.
MAX_FRAMES = 16384
#: Bytes that are written to the transport at a time, when it has room again.
_BATCH = 65536


def unsent(transport: Any) -> int:
    """Count the bytes that a transport has taken and not yet given to the kernel.

    Twisted has no public API for it, and its pause and resume are too coarse to tell whether a slow client reads. This
    function reads private attributes; those that are missing count as empty.

    :param transport: a TCP or UNIX transport, or TLS or PROXY around one
    """
    waiting = 0
    while isinstance(transport, ProtocolWrapper):
        # TLS buffers what is written before its handshake is done, or during a renegotiation,
        waiting += sum(map(len, getattr(transport, "_appSendBuffer", ())))
        # and collects small writes until the next turn of the reactor.
        waiting += sum(map(len, getattr(getattr(transport, "_aggregator", None), "_buffer", ())))
        transport = transport.transport
    length: int = len(getattr(transport, "dataBuffer", b"")) - getattr(transport, "offset", 0)
    buffered: int = getattr(transport, "_tempDataLen", 0)
    return waiting + length + buffered


@implementer(IPushProducer)
class Output:
    """Writes frames in order, and queues them while the transport's own buffer is full.

    It registers itself as the transport's producer.

    :param transport: the client's transport
    :param drained: called when the transport has room again
    :param budget: of the bytes that wait for all clients
    """

    __slots__ = (
        "_budget",
        "_counted",
        "_drained",
        "_eager",
        "_paused",
        "_queue",
        "_queued",
        "_transport",
        "_waits",
        "_written",
    )

    def __init__(self, transport: Any, drained: Callable[[], None], budget: Budget) -> None:
        self._transport = transport
        self._drained = drained
        self._budget = budget
        #: Bytes that are counted in the budget.
        self._counted = 0
        #: Made when first needed, as an empty deque has 600 bytes.
        self._queue: deque[bytes] | None = None
        self._queued = 0
        self._written = 0
        self._paused = False
        #: Whether the transport tells if it could send at once.
        self._eager = isinstance(transport, EagerServer)
        #: Whether anything may be waiting.
        self._waits = True
        transport.registerProducer(self, True)

    @property
    def paused(self) -> bool:
        """Whether frames are queued instead of written."""
        return self._paused

    @property
    def crowded(self) -> bool:
        """Whether no more frames should be queued: too many wait here, or too many bytes for all clients."""
        return self._budget.exhausted or (self._queue is not None and len(self._queue) >= MAX_FRAMES)

    @property
    def buffered(self) -> int:
        """Bytes that are not yet in the kernel."""
        if not self._waits:
            return 0
        waiting = self._queued + unsent(self._transport)
        if not waiting:
            self._waits = False
        return waiting

    @property
    def sent(self) -> int:
        """Bytes that have reached the kernel since the start."""
        return self._written - unsent(self._transport) if self._waits else self._written

    def write(self, frame: bytes) -> bool:
        """Send a frame, or queue it until there is room. The caller decides how much may be queued.

        :returns: whether anything may be waiting now
        """
        if self._paused:
            if self._queue is None:
                self._queue = deque()
            self._queue.append(frame)
            self._queued += len(frame)
            self._count(len(frame) + OVERHEAD)
            self._waits = True
            return True
        self._written += len(frame)
        if self._eager and self._transport.send(frame):
            return False
        if not self._eager:
            self._transport.write(frame)
        self._waits = True
        return True

    def clear(self) -> None:
        """Drop the queued frames, as the client will not read them. Later frames are written at once."""
        self._queue = None
        self._queued = 0
        self._paused = False
        self._count(-self._counted)

    def _count(self, size: int) -> None:
        self._counted += size
        self._budget.used += size

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        if not self._paused:
            self._paused = True
            self._count(unsent(self._transport))

    def resumeProducing(self) -> None:
        """The transport's buffer is empty."""
        self._paused = False
        self._waits = True
        while self._queue and not self._paused:
            frames = [self._queue.popleft()]
            size = len(frames[0])
            while self._queue and size < _BATCH:
                frame = self._queue.popleft()
                frames.append(frame)
                size += len(frame)
            self._queued -= size
            self._written += size
            # If the transport pauses again, pauseProducing() counts what it has not sent.
            self._count(self._queued + OVERHEAD * len(self._queue) - self._counted)
            self._transport.write(b"".join(frames))
        if not self._queue and not self._paused:
            self._count(-self._counted)
        if not self._queue:
            self._queue = None
        if not self._paused:
            self._drained()

    def stopProducing(self) -> None:
        """The transport is gone."""
        self.clear()
