"""The send queue: whole frames that wait in front of a client's transport, and exact counts of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.protocols.policies import ProtocolWrapper
from zope.interface import implementer

from wsaas.limits import OVERHEAD, Budget, SharedBytes
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


class _Waiting:
    """The frames that wait in front of one client's transport; those that many clients get are not copies."""

    __slots__ = ("bytes", "cost", "frames", "lent")

    def __init__(self) -> None:
        self.frames: deque[bytes | SharedBytes] = deque()
        #: Bytes of all of them.
        self.bytes = 0
        #: What they count for in the budget, besides shared bytes.
        self.cost = 0
        #: What the transport has, and has not sent completely, if that is shared.
        self.lent: SharedBytes | None = None


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
        "_transport",
        "_waits",
        "_written",
    )

    def __init__(self, transport: Any, drained: Callable[[], None], budget: Budget) -> None:
        self._transport = transport
        self._drained = drained
        self._budget = budget
        #: Bytes that are counted in the budget for this client alone.
        self._counted = 0
        #: Made when first needed, as an empty deque has 600 bytes.
        self._queue: _Waiting | None = None
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
    def full(self) -> bool:
        """Whether no more frames should be queued, as too many wait here."""
        return self._queue is not None and len(self._queue.frames) >= MAX_FRAMES

    @property
    def crowded(self) -> bool:
        """Whether no more frames should be queued: too many wait here, or too many bytes for all clients."""
        return self._budget.exhausted or self.full

    @property
    def buffered(self) -> int:
        """Bytes that are not yet in the kernel."""
        if not self._waits:
            return 0
        waiting = unsent(self._transport)
        if self._queue is not None:
            waiting += self._queue.bytes
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
            self._enqueue(frame, len(frame), OVERHEAD + len(frame))
            return True
        self._written += len(frame)
        if self._eager and self._transport.send(frame):
            return False
        if not self._eager:
            self._transport.write(frame)
        self._waits = True
        return True

    def write_shared(self, frame: SharedBytes) -> bool:
        """Send a frame that many clients get, like :meth:`write`. What waits of it is not copied, and counts once.

        :returns: whether anything may be waiting now
        """
        content = frame.content
        if self._paused:
            self._enqueue(frame, len(content), OVERHEAD)
            frame.keep(self._budget)
            return True
        self._written += len(content)
        if self._eager and self._transport.send(content):
            return False
        if not self._eager:
            self._transport.write(content)
        elif self._paused:
            self._lend(frame)
        self._waits = True
        return True

    def _enqueue(self, frame: bytes | SharedBytes, size: int, cost: int) -> None:
        queue = self._queue
        if queue is None:
            queue = self._queue = _Waiting()
        queue.frames.append(frame)
        queue.bytes += size
        queue.cost += cost
        self._count(cost)
        self._waits = True

    def _lend(self, frame: SharedBytes) -> None:
        """The transport has a frame that is shared, and keeps it until all of it is sent: no copy."""
        queue = self._queue
        if queue is None:
            queue = self._queue = _Waiting()
        # pauseProducing() has counted it as this client's own.
        self._count(queue.cost - self._counted)
        queue.lent = frame
        frame.keep(self._budget)

    def clear(self) -> None:
        """Drop the queued frames, as the client will not read them. Later frames are written at once."""
        queue, self._queue = self._queue, None
        self._paused = False
        self._count(-self._counted)
        if queue is not None:
            self._return(queue)
            for frame in queue.frames:
                if isinstance(frame, SharedBytes):
                    frame.release(self._budget)

    def _return(self, queue: _Waiting) -> None:
        """The transport has no shared frame any more."""
        if queue.lent is not None:
            queue.lent.release(self._budget)
            queue.lent = None

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
        queue = self._queue
        if queue is not None:
            self._return(queue)
            while queue.frames and not self._paused:
                self._write_batch(queue)
        if queue is None or not queue.frames:
            if not self._paused:
                self._count(-self._counted)
            if queue is not None and queue.lent is None:
                self._queue = None
        if not self._paused:
            self._drained()

    def _write_batch(self, queue: _Waiting) -> None:
        """Write the first frames that wait, as many as make a good size."""
        frames: list[bytes] = []
        size = 0
        shared: SharedBytes | None = None
        while queue.frames and size < _BATCH:
            frame = queue.frames.popleft()
            if isinstance(frame, SharedBytes):
                content = frame.content
                queue.cost -= OVERHEAD
                shared = frame
                # It may be lent to the transport, which keeps it again.
                frame.release(self._budget)
            else:
                content = frame
                queue.cost -= OVERHEAD + len(frame)
            frames.append(content)
            size += len(content)
        queue.bytes -= size
        self._written += size
        # If the transport pauses again, pauseProducing() counts what it has not sent.
        self._count(queue.cost - self._counted)
        self._transport.write(b"".join(frames))
        if self._eager and self._paused and len(frames) == 1 and shared is not None:
            self._lend(shared)

    def stopProducing(self) -> None:
        """The transport is gone."""
        self.clear()
