"""The send queue: whole frames that wait in front of a client's transport, and exact counts of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.protocols.policies import ProtocolWrapper
from zope.interface import implementer

from wsaas.limits import OVERHEAD, Budget, SharedBytes
from wsaas.net.transport import MAX_IOV, EagerServer

#: How many frames may wait. Bytes are bounded too, but even empty frames cost memory.
MAX_FRAMES = 16384
#: Bytes that are written to the transport at a time, when it has room again.
_BATCH = 65536


def _sender(transport: Any) -> Any:
    """:returns: the transport that a wrapper around it hands everything to as it is, such as the one for PROXY"""
    sender = transport
    while isinstance(sender, ProtocolWrapper) and type(sender).write is ProtocolWrapper.write:
        sender = sender.transport
    return sender if isinstance(sender, EagerServer) else transport


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
        self._transport = _sender(transport)
        self._drained = drained
        self._budget = budget
        #: Bytes that are counted in the budget for this client alone.
        self._counted = 0
        #: Made when first needed, as an empty deque has 600 bytes.
        self._queue: _Waiting | None = None
        self._written = 0
        self._paused = False
        #: Whether the transport tells if it could send at once.
        self._eager = isinstance(self._transport, EagerServer)
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

    def write_shared(self, frame: SharedBytes, room: int) -> bool | None:
        """Send a frame that many clients get. What waits of it is not copied, and counts once.

        :param room: bytes that may wait before it
        :returns: whether anything may begin to wait now; :data:`None` if there is no room for it
        """
        content = frame.content
        if self._waits:
            waited = self.buffered
            if waited:
                if waited > room or self.full:
                    return None
                self._put_shared(frame)
                return False
        if room < 0:
            return None
        if not self._eager or self._paused:
            self._put_shared(frame)
            return True
        self._written += len(content)
        if self._transport.send(content):
            return False
        if self._paused:
            self._lend(frame)
        self._waits = True
        return True

    def _put_shared(self, frame: SharedBytes) -> None:
        content = frame.content
        if self._paused:
            self._enqueue(frame, len(content), OVERHEAD)
            frame.keep(self._budget)
            return
        self._written += len(content)
        self._waits = True
        if not self._eager:
            self._transport.write(content)
        else:
            self._transport.send(content)
        if self._paused:
            self._lend(frame)

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
        if not self._eager or unsent(self._transport) > len(frame.content):
            return  # TLS makes bytes of its own, and something else may wait in front of it
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
            self._release(queue.frames)
            queue.frames.clear()

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
        waiting = queue.frames
        frames: list[bytes | SharedBytes] = []
        contents: list[bytes] = []
        size, most = 0, MAX_IOV if self._eager else MAX_FRAMES
        while waiting and size < _BATCH and len(frames) < most:
            frame = waiting.popleft()
            content = frame if isinstance(frame, bytes) else frame.content
            frames.append(frame)
            contents.append(content)
            size += len(content)
        taken = len(frames)
        if self._eager:
            taken = self._transport.send_all(contents)
        else:
            self._transport.write(b"".join(contents))
        if self._queue is not queue:
            self._release(frames)  # the transport is gone
            return
        waiting.extendleft(reversed(frames[taken:]))
        last = frames[taken - 1]
        if self._paused and isinstance(last, SharedBytes):
            self._lend(last)
        size = sum(map(len, contents[:taken]))
        self._written += size
        queue.bytes -= size
        queue.cost -= size + OVERHEAD * taken - self._release(frames[:taken])
        self._count(queue.cost - self._counted)
        if self._paused and queue.lent is None:
            self._count(unsent(self._transport))

    def _release(self, frames: Iterable[bytes | SharedBytes]) -> int:
        """Frames wait here no longer.

        :returns: how many bytes of them are shared
        """
        shared = 0
        for frame in frames:
            if not isinstance(frame, bytes):
                frame.release(self._budget)
                shared += len(frame.content)
        return shared

    def stopProducing(self) -> None:
        """The transport is gone."""
        self.clear()
