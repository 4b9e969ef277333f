"""Frames of whole messages, as a server sends them (RFC 6455 §5.2).

Autobahn's own encoder can mask, fragment, compress and keep statistics, and looks each of these up for each frame; it
remains the one for everything that is not a plain message.
"""

from __future__ import annotations

from struct import Struct

#: FIN with the opcodes of text and binary.
_TEXT, _BINARY = 0x81, 0x82

# A table is the fastest way to a header of two bytes.
_SHORT_TEXT = tuple(bytes((_TEXT, length)) for length in range(126))
_SHORT_BINARY = tuple(bytes((_BINARY, length)) for length in range(126))
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
