"""The client's Close frame, and the answer to it, where nothing is unusual (RFC 6455 §5.5.1 and §7.1).

Autobahn's parser takes it in any slices and judges what is wrong with it; this one takes it when it is there as a whole
and nothing is wrong.
"""

from __future__ import annotations

from autobahn.websocket.protocol import WebSocketProtocol

_CLOSE = 0x88
#: A control frame's longest payload (RFC 6455 §5.5).
_MAX_PAYLOAD = 125
#: Codes below 3000 that a client may send, as Autobahn has them.
_REGISTERED = frozenset(WebSocketProtocol.CLOSE_STATUS_CODES_ALLOWED)


def read_close(data: bytes) -> tuple[int | None, str, bytes, int] | None:
    """Read a Close frame.

    :param data: what a client sent, from the beginning of a frame on
    :returns: its code, its reason, the frame that answers it with the same, and how many bytes it took; :data:`None`
        for whatever is incomplete, of another kind, or against the rules
    """
    if len(data) < 6 or data[0] != _CLOSE:
        return None
    length = data[1] - 0x80  # negative if it is not masked
    end = 6 + length
    if length == 0:
        return None, "", b"\x88\x00", end
    if not 2 <= length <= _MAX_PAYLOAD or end > len(data):
        return None
    mask = int.from_bytes((data[2:6] * (length // 4 + 1))[:length], "little")
    payload = (int.from_bytes(data[6:end], "little") ^ mask).to_bytes(length, "little")
    code = payload[0] << 8 | payload[1]
    if code not in _REGISTERED and not 3000 <= code <= 4999:
        return None
    try:
        reason = payload[2:].decode("utf-8")
    except UnicodeDecodeError:
        return None
    return code, reason, bytes((_CLOSE, length)) + payload, end
