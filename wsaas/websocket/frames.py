"""Frames of whole messages, as a server sends and gets them (RFC 6455 §5.2).

Autobahn's own encoder can mask, fragment, compress and keep statistics, and its parser takes frames in any slices; each
looks all of that up for each frame. They remain the ones for everything that is not a plain, complete message.
"""

from __future__ import annotations

from struct import Struct

from wsaas.connections.messages import Message

#: FIN with the opcodes of text and binary.
_TEXT, _BINARY = 0x81, 0x82

# A table is the fastest way to a header of two bytes.
_SHORT_TEXT = tuple(bytes((_TEXT, length)) for length in range(126))
_SHORT_BINARY = tuple(bytes((_BINARY, length)) for length in range(126))
#: An empty ping.
PING = b"\x89\x00"
#: How a client's answer to it begins: its mask follows.
PONG = b"\x8a\x80"
#: Bytes of that answer.
PONG_LENGTH = 6

_medium_header = Struct("!BBH").pack
_long_header = Struct("!BBQ").pack


def message_frame(payload: bytes, binary: bool) -> bytes:
    """Write one message as one frame: final, not masked, not compressed.

    :param payload: the message; UTF-8 when it is text
    :param binary: whether it is a binary message
    :returns: the whole frame, its length in the shortest form
    """
    length = len(payload)
    if length < 126:
        return (_SHORT_BINARY if binary else _SHORT_TEXT)[length] + payload
    first = _BINARY if binary else _TEXT
    if length < 65536:
        return _medium_header(first, 126, length) + payload
    return _long_header(first, 127, length) + payload


#: Bytes of a payload beyond which Autobahn's native unmasking is faster.
_MAX_UNMASKED = 4096


def read_message(data: bytes, begin: int = 0) -> tuple[Message, int] | None:
    """Read one message that is a single, complete, masked frame.

    :param data: what a client sent
    :param begin: where in it a frame begins, outside a fragmented message
    :returns: the message and where it ends; :data:`None` for whatever is longer, incomplete, of another kind, or
        against the rules, which Autobahn can judge
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
    if first == _TEXT:
        try:
            payload.decode("utf-8")
        except UnicodeDecodeError:
            return None
    return Message(payload, first == _BINARY), end
