"""What HTTP and WebSocket streams are made of, well-formed and less so."""

from __future__ import annotations

from collections.abc import Sequence

from fuzz.inputs import ODD, Draw
from tests.gate import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    WEBSOCKET_KEY,
    close_frame,
    close_payload,
    deflate,
    frame,
)

TARGETS = (
    b"/",
    b"/chat",
    b"/chat?room=7&token=a%20b",
    b"/a/b//c/../d",
    b"//evil.test/",
    b'/"#?',
    b"/%00%0d%0a",
    b"/" + b"a" * 2047,
    b"/" + b"a" * 2048,
    b"/" + b"a" * 16380,
    b"*",
    b"http://gateway.test/",
    b"gateway.test:80",
    b"/\xc3\xbc",
    b"",
)
METHODS = (b"GET", b"GET", b"PUT", b"HEAD", b"POST", b"OPTIONS", b"CONNECT", b"PRI", b"get", b"G\x00T", b"DELETE", b"")
VERSIONS = (b"HTTP/1.1",) * 8 + (b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.2", b"http/1.1", b"HTTP/1.1 ", b"HTTP", b"")
BLANKS = (b": ", b": ", b": ", b": ", b":", b":\t", b" : ", b":  ", b":\x0b", b"")
ENDS = (b"\r\n",) * 12 + (b"\n", b"\r", b"\r\n ", b"\r\n\t", b"\n\r\n")
HANDSHAKE = (
    (b"Host", (b"gateway.test", b"gateway.test:8080", b"[::1]", b"", b"a b", b"\xff", b"a,b", b"good.test")),
    (b"Upgrade", (b"websocket", b"WebSocket", b"websocket, h2c", b"h2c", b"", b"websocket/13", b",websocket,")),
    (b"Connection", (b"Upgrade", b"keep-alive, Upgrade", b"upgrade", b"close, Upgrade", b"keep-alive", b"", b"Ws-Uri")),
    (
        b"Sec-WebSocket-Key",
        (WEBSOCKET_KEY.encode(), b"AAAAAAAAAAAAAAAAAAAAAA==", b"YQ==", b"", b"====", b"a" * 24, b"\xff" * 24),
    ),
    (b"Sec-WebSocket-Version", (b"13", b"8", b"13, 8", b"", b"013", b"+13", b"13\x00")),
)
#: Further fields, and their values.
FIELDS = (
    (b"Origin", (b"https://good.test", b"https://evil.test", b"null", b"file://", b"https://good.test.", b"", b"\xfc")),
    (b"User-Agent", (b"a", b"Mozilla/5.0 (\xe9)", b"", b"a" * 3000)),
    (b"Authorization", (b"Bearer right", b"Bearer wrong", b"Basic YTpi", b"bearer  right ", b"", b"a" * 6144)),
    (b"Cookie", (b"a=b; c=d", b"=;=", b"a" * 5000)),
    (b"Sec-WebSocket-Protocol", (b"a", b"a, b", b"a a", b"a,a", b",", b"chat.v1", b"\xff", b"a/b")),
    (
        b"Sec-WebSocket-Extensions",
        (
            b"permessage-deflate",
            b"permessage-deflate; client_max_window_bits",
            b"permessage-deflate; client_max_window_bits=99",
            b"permessage-deflate; server_max_window_bits=8; server_no_context_takeover",
            b"permessage-deflate; client_max_window_bits=9, permessage-deflate",
            b"permessage-deflate;;;=",
            b"x-webkit-deflate-frame",
            b"permessage-bzip2; a=b",
            b'permessage-deflate; a="b\\"c"',
            b"\xff",
        ),
    ),
    (b"X-Forwarded-For", (b"192.0.2.7", b"unknown", b"a, 192.0.2.7, [2001:db8::1]:80", b"::ffff:1.2.3.4", b",,,", b"")),
    (b"X-Forwarded-Proto", (b"https", b"http, https", b"HTTPS", b"ftp")),
    (b"Ws-Uri", (b"http://evil.test",)),
    (b"Ws_Id", (b"forged",)),
    (b"Content-Length", (b"65", b"1000000")),
    (b"Content-Length", (b"0", b"3", b"00", b"+3", b"-1", b"3, 3", b"9" * 18, b"9" * 5000, b"0x3", b"")),
    (b"Transfer-Encoding", (b"Chunked", b"\x0bchunked")),
    (b"Transfer-Encoding", (b"chunked", b"identity", b"gzip, chunked", b"chunked, chunked", b"")),
    (b"Expect", (b"100-continue", b"100-Continue", b"a", b"")),
    (b"Content-Type", (b"text/plain", b"application/octet-stream", b"multipart/form-data", b"", b"\xe9")),
    (b"Content-Type", (b"text/plain; charset=latin-1", b'text/a;charset="utf-8', b"application/x-www-form-urlencoded")),
    (b"Content-Encoding", (b"gzip", b"identity", b"")),
    (b"Idempotency-Key", (b"a", b"a b", b"", b"a" * 65, b"\xff", b"k1")),
    (b"Ws-Confirm", (b"1000", b"0", b"30001", b"-1", b"1e3", b"", b"30000", b"9" * 5000, b"\xd9\xa3")),
    (b"TE", (b"trailers",)),
    (b"Trailer", (b"Host",)),
    (b"Accept", (b"text/plain", b"*/*", b"application/openmetrics-text; version=1.0.0; escaping=allow-utf-8")),
    (b"A b", (b"c",)),
    (b"", (b"no name",)),
    (b"A", (b"a" * 9000, b"a" * 16384, b"\x00", b"b\rC: d", b"\x7f", b"")),
)  # fmt: skip


def field(draw: Draw, fields: Sequence[tuple[bytes, Sequence[bytes]]] = FIELDS, *, plain: float = 0.8) -> bytes:
    """:returns: a header line with its end

    :param plain: share of those whose form is as it should be
    """
    name, values = draw.one(fields)
    value = draw.one(values)
    if draw.chance(plain):
        return name + b": " + value + b"\r\n"
    if draw.chance(0.3):
        value = draw.damaged(value)
    if draw.chance(0.2):
        name = draw.one((name.lower(), name.upper(), name.replace(b"-", b"_"), name + b" ", b"\t" + name))
    return name + draw.one(BLANKS) + value + draw.one(ENDS)


def handshake(draw: Draw) -> bytes:
    """:returns: a handshake; most of them are as they should be"""
    wrong = draw.chance(0.35)
    target = draw.one(TARGETS) if draw.chance(0.3) else b"/chat"
    method, version = (draw.one(METHODS), draw.one(VERSIONS)) if wrong and draw.chance(0.2) else (b"GET", b"HTTP/1.1")
    lines = [method + b" " + target + b" " + version + b"\r\n"]
    for name, values in HANDSHAKE:
        if wrong and draw.chance(0.1):
            if draw.chance(0.5):
                lines.append(name + draw.one(BLANKS) + draw.one(values) + draw.one(ENDS))
            continue
        lines.append(name + b": " + (draw.one(values) if wrong and draw.chance(0.1) else values[0]) + b"\r\n")
    for _ in range(draw.number(3)):
        lines.insert(1 + draw.number(len(lines) - 1), field(draw, plain=0.6 if wrong else 0.98))
    return b"".join(lines) + b"\r\n"


def request(draw: Draw, targets: Sequence[bytes], methods: Sequence[bytes], fields: Sequence[bytes] = ()) -> bytes:
    """Make a request that may have a body, and what it says of that may even be true.

    :param targets: more likely ones first
    :param methods: so, too
    :param fields: header lines that it may have, besides others
    """
    wrong = draw.chance(0.35)
    body = draw.one((b"", b"abc", b"hello", b"\xff\xfe", b"a" * 64, b"a" * 65, b"\r\n", b"PUT / HTTP/1.1\r\n\r\n"))
    version = draw.one(VERSIONS) if wrong else b"HTTP/1.1"
    lines = [
        methods[draw.number(len(methods) - 1)]
        + b" "
        + targets[draw.number(len(targets) - 1)]
        + b" "
        + version
        + b"\r\n"
    ]
    lines.append(b"Host: gateway.test\r\n" if not wrong or draw.chance(0.9) else b"")
    kind = draw.random.random()
    if kind < 0.75 or kind > 0.97:
        lines.append(b"Content-Length: %d\r\n" % len(body))
    if 0.75 <= kind < 0.9 or kind > 0.97:
        lines.append(b"Transfer-Encoding: chunked\r\n")
        body = chunked(draw, body)
    lines += draw.some(fields, 3)
    if wrong:
        for _ in range(draw.number(3)):
            lines.insert(1 + draw.number(len(lines) - 1), field(draw))
    return b"".join(lines) + b"\r\n" + body


def chunked(draw: Draw, body: bytes) -> bytes:
    """:returns: a body in chunks, most of the time"""
    half = draw.number(len(body))
    chunks = [chunk for chunk in (body[:half], body[half:]) if chunk]
    written = b"".join(
        b"%x%b\r\n%b\r\n" % (len(chunk), draw.one((b"", b"", b";a=b", b';a="\r\n"', b" ")), chunk) for chunk in chunks
    )
    last = draw.one((b"0\r\n\r\n",) * 5 + (b"0\r\nA: b\r\n\r\n", b"", b"-1\r\n\r\n", b"0x0\r\n\r\n", b"00000\r\n\r\n"))
    return written + last


PAYLOADS = (
    b"",
    b"a",
    b"hello",
    "grüße".encode(),
    "€".encode()[:2],
    b"\xff",
    b"\xed\xa0\x80",
    b"a" * 125,
    b"a" * 126,
    b"a" * 999,
    b"a" * 1000,
    b"a" * 1001,
    b"a" * 4097,
    b"a" * 65536,
)
CODES = (1000, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1011, 1014, 1015, 1016, 2999, 3000, 4999, 5000, 0, 65535)
REASONS = ("", "", "bye", "ü" * 61, "a" * 123, "a" * 124, "\x00\r\n", "{0}")


def frames(draw: Draw) -> bytes:
    """:returns: some frames, most of them well-formed"""
    return b"".join([_frames(draw) for _ in range(1 + draw.number(6))])


def _frames(draw: Draw) -> bytes:
    kind = draw.random.random()
    payload = draw.one(PAYLOADS[:8] if draw.chance(0.8) else PAYLOADS)
    if kind < 0.4:
        return frame(draw.one((TEXT, BINARY)), payload)
    if kind < 0.5:
        return _fragments(draw, payload)
    if kind < 0.6:
        return frame(draw.one((PING, PONG)), draw.one(PAYLOADS[:9]))
    if kind < 0.66:
        return close_frame(draw.one(CODES), draw.one(REASONS))
    if kind < 0.69:
        return frame(CLOSE, draw.one((b"", b"\x03", b"\x03\xe8\xff", close_payload(1000, "x") + b"\xc3", b"a" * 126)))
    if kind < 0.78:
        return _compressed(draw, payload)
    if kind < 0.9:
        opcode = int(draw.random.random() * 16)
        mask = None if draw.chance(0.2) else draw.one((b"mask", b"\x00\x00\x00\x00", b"\xff\xff\xff\xff"))
        rsv = int(draw.random.random() * 8) if draw.chance(0.3) else 0
        return frame(opcode, payload, fin=draw.chance(0.8), rsv=rsv, mask=mask)
    if kind < 0.95:
        return _lengths(draw)
    return draw.noise(12)


def _fragments(draw: Draw, payload: bytes) -> bytes:
    """:returns: a message in fragments, with control frames between them, or one too many"""
    count = 1 + draw.number(6) if draw.chance(0.95) else 80
    size = max(1, len(payload) // count)
    made = [frame(draw.one((TEXT, BINARY)), payload[:size], fin=False)]
    for number in range(1, count):
        if draw.chance(0.2):
            made.append(frame(draw.one((PING, PONG)), b"between"))
        made.append(frame(CONTINUATION, payload[number * size : (number + 1) * size], fin=False))
    if draw.chance(0.9):
        made.append(frame(CONTINUATION, payload[count * size :]))
    return b"".join(made)


def _compressed(draw: Draw, payload: bytes) -> bytes:
    """:returns: a message with RSV1, which inflates to what it should, to far too much, or not at all"""
    data = deflate(draw.one((payload, payload, b"a" * 1000, b"a" * 1001, b"\x00" * 100_000)))
    if draw.chance(0.3):
        data = draw.damaged(data)
    kind = draw.one((TEXT, BINARY))
    if draw.chance(0.7):
        return frame(kind, data, rsv=4)
    half = len(data) // 2
    return frame(kind, data[:half], fin=False, rsv=4) + frame(CONTINUATION, data[half:], rsv=draw.one((0, 0, 4)))


def _lengths(draw: Draw) -> bytes:
    """:returns: a frame with a length in an odd form"""
    first = draw.one((0x81, 0x82, 0x01, 0x89, 0x88))
    length = draw.one((b"\x7e\x00\x05", b"\x7f" + b"\x00" * 7 + b"\x05", b"\x7f" + b"\xff" * 8, b"\x7e\xff\xff"))
    return bytes((first, length[0] | 0x80)) + length[1:] + draw.one((b"mask", b"ma")) + draw.one((b"hello", b""))


def damaged_stream(draw: Draw, stream: bytes, share: float = 0.3) -> bytes:
    """:returns: a stream in which a share of cases is damaged"""
    return draw.damaged(stream, ODD) if draw.chance(share) else stream
