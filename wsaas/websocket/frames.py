"""Fast reading and writing of plain, complete frames: messages and the client's Close (RFC 6455 §5.2, §5.5.1, §7.1).

Autobahn's encoder can mask, fragment, compress and keep statistics, and its parser takes frames in any slices; checking
for all of that takes time with every frame. They still do whatever is not a plain, complete frame.
"""

from __future__ import annotations

from struct import Struct

from autobahn.websocket.protocol import WebSocketProtocol

from wsaas.connections.messages import Message

#: FIN with the opcodes of text, binary and Close.
_TEXT, _BINARY, _CLOSE = 0x81, 0x82, 0x88
#: The bit of a frame whose message is compressed (RSV1).
_COMPRESSED = 0x40

# A table is the fastest way to a header of two bytes.
_SHORT_TEXT = tuple(bytes((_TEXT, length)) for length in range(126))
_SHORT_BINARY = tuple(bytes((_BINARY, length)) for length in range(126))
#: An empty ping.
PING = b"\x89\x00"
#: How a client's answer to an empty ping begins: its mask follows.
PONG = b"\x8a\x80"
#: The length of that answer.
PONG_LENGTH = 6

_medium_header = Struct("!BBH").pack
_long_header = Struct("!BBQ").pack


def message_frame(payload: bytes, binary: bool) -> bytes:
    """Encode one message as one frame: final, not masked, not compressed.

    :param payload: the message; UTF-8 if it is text
    :param binary: whether it is a binary message
    :returns: the frame, with its length in the shortest form
    """
    length = len(payload)
    if length < 126:
        return (_SHORT_BINARY if binary else _SHORT_TEXT)[length] + payload
    return _frame(_BINARY if binary else _TEXT, payload)


def compressed_frame(payload: bytes, binary: bool) -> bytes:
    """Encode one message that was compressed, as one frame (RFC 7692 §6).

    :param payload: the message, compressed
    :param binary: whether it is a binary message
    """
    return _frame((_BINARY if binary else _TEXT) | _COMPRESSED, payload)


def _frame(first: int, payload: bytes) -> bytes:
    length = len(payload)
    if length < 126:
        return bytes((first, length)) + payload
    if length < 65536:
        return _medium_header(first, 126, length) + payload
    return _long_header(first, 127, length) + payload


#: The longest payload that is unmasked here; for longer ones, Autobahn's native code is faster.
_MAX_UNMASKED = 4096
#: The longest payload of a control frame (RFC 6455 §5.5).
_MAX_CONTROL = 125
#: Codes below 3000 that a client may send, as Autobahn has them.
_REGISTERED = frozenset(WebSocketProtocol.CLOSE_STATUS_CODES_ALLOWED)


def read_message(data: bytes, begin: int = 0) -> tuple[Message, int] | None:
    """Read one message that is a single, complete, masked frame.

    :param data: bytes from a client
    :param begin: where in them a frame begins; not within a fragmented message
    :returns: the message and where it ends; :data:`None` if the frame is longer, incomplete, of another kind, or
        malformed: Autobahn's parser takes it then
    """
    available = len(data)
    if available < begin + 6:
        return None
    first, length = data[begin], data[begin + 1] - 0x80  # negative if it is not masked
    if first != _TEXT and first != _BINARY:
        return None
    if 0 <= length < 126:
        begin += 6
    elif length == 126 and available >= begin + 8:
        length, begin = (data[begin + 2] << 8) | data[begin + 3], begin + 8
        if not 126 <= length <= _MAX_UNMASKED:
            return None
    else:
        return None
    end = begin + length
    if end > available:
        return None
    mask = int.from_bytes((data[begin - 4 : begin] * (length // 4 + 1))[:length], "little")
    payload = (int.from_bytes(data[begin:end], "little") ^ mask).to_bytes(length, "little")
    if first == _TEXT and not payload.isascii():
        try:
            payload.decode("utf-8")
        except UnicodeDecodeError:
            return None
    return Message(payload, first == _BINARY), end


def read_close(data: bytes) -> tuple[int | None, str, bytes, int] | None:
    """Read a Close frame.

    :param data: bytes from a client, from the beginning of a frame on
    :returns: its code and reason, the Close frame that answers it (RFC 6455 §5.5.1), and how many bytes it took;
        :data:`None` if the frame is incomplete, of another kind, or malformed: Autobahn's parser takes it then
    """
    if len(data) < 6 or data[0] != _CLOSE:
        return None
    length = data[1] - 0x80  # negative if it is not masked
    end = 6 + length
    if length == 0:
        return None, "", b"\x88\x00", end
    if not 2 <= length <= _MAX_CONTROL or end > len(data):
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
