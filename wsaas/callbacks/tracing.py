"""``traceparent``: the parent of what the API's tracing records of a callback (``TRACE=on``, protocol §2.7).

W3C Trace Context, version 00. A connection has one trace: that of its client's handshake, if ``FORWARD_HEADERS`` lets
that through and it is well-formed, else a new one. Each attempt of a callback has a parent id of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

#: Of any version; of a later one than 00, something may follow.
_PARENT = re.compile(rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(-[!-~]*)?")
#: The flags that are passed on: whether the trace is recorded, and whether its id is random (level 2).
_KNOWN_FLAGS = 0x03
#: Of a new trace: recorded. What began without a parent is for the API's own sampling to leave out.
_RECORDED = 0x01

_TRACEPARENT, _TRACESTATE = b"traceparent", b"tracestate"


def _client_parent(forwarded: Sequence[tuple[bytes, bytes]]) -> tuple[bytes, int] | None:
    """:returns: trace id and flags that a client sent, if they were let through and there is one value, well-formed"""
    values = [value for name, value in forwarded if name.lower() == _TRACEPARENT]
    parsed = _PARENT.fullmatch(values[0]) if len(values) == 1 else None
    if parsed is None or (parsed[1] == b"00" and parsed[4]):
        return None
    return parsed[2], int(parsed[3], 16)


class Trace:
    """The trace of one connection.

    :param random: so many random bytes
    :param trace_id: in hexadecimal
    :param flags: of each ``traceparent``
    """

    __slots__ = ("_flags", "_random", "trace_id")

    def __init__(self, random: Callable[[int], bytes], trace_id: bytes, flags: int) -> None:
        self._random = random
        self.trace_id = trace_id
        self._flags = flags

    def line(self) -> bytes:
        """:returns: the header line of one attempt, with a parent id of its own"""
        parent = int.from_bytes(self._random(8)) or 1
        return b"traceparent: 00-%b-%016x-%02x\r\n" % (self.trace_id, parent, self._flags)


class Tracer:
    """Gives each connection its trace.

    :param random: so many random bytes
    """

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random

    def begin(self) -> Trace:
        """:returns: a new trace"""
        trace_id = b"%032x" % (int.from_bytes(self._random(16)) or 1)
        return Trace(self._random, trace_id, _RECORDED)

    def take_up(self, forwarded: Sequence[tuple[bytes, bytes]]) -> tuple[Trace, Sequence[tuple[bytes, bytes]]]:
        """Continue the trace of a client, or begin one.

        :param forwarded: the headers of the handshake that callbacks repeat
        :returns: the trace, and those headers that callbacks repeat beside it: ``tracestate`` only belongs to the
            ``traceparent`` that it came with
        """
        known = _client_parent(forwarded)
        left_out = (_TRACEPARENT,) if known else (_TRACEPARENT, _TRACESTATE)
        rest = [field for field in forwarded if field[0].lower() not in left_out]
        if known is None:
            return self.begin(), rest
        return Trace(self._random, known[0], known[1] & _KNOWN_FLAGS), rest
