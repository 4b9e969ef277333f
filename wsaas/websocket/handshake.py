"""What a client asks for, checked before anybody is asked (RFC 6455 §4.2.1, protocol §4). No input or output."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from functools import lru_cache
from http import HTTPStatus

from wsaas.connections.messages import Handshake
from wsaas.errors import HandshakeRefused
from wsaas.net.http1.messages import RequestHead
from wsaas.websocket.origins import shown_origin
from wsaas.websocket.settings import HandshakeSettings

#: Lines of forwarded headers, and bytes of ``Host``, ``Origin`` and ``User-Agent`` together. Servers of HTTP bound
#: heads (16 KiB and 100 lines, often), and every callback carries all of this: a client that could make its POST just
#: short enough would have the DELETE refused, which is longer.
MAX_LINES = 32
MAX_NAMED = 2 * 1024

_VISIBLE = re.compile(rb"[\x21-\x7e]+")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VERSION = b"13"
#: 16 bytes in base64.
_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")


#: What may stand in a head once, as it is spelled, and as it is looked up.
_ONCE = {
    name: name.lower().encode("ascii")
    for name in ("Host", "Origin", "Authorization", "Sec-WebSocket-Version", "Sec-WebSocket-Key")
}


def is_handshake(head: RequestHead) -> bool:
    """:returns: whether a request asks for a WebSocket, well or badly: a GET with ``Upgrade: websocket``"""
    return head.method == b"GET" and b"websocket" in head.fields.tokens(b"Upgrade")


def _bad(reason: str) -> HandshakeRefused:
    return HandshakeRefused(HTTPStatus.BAD_REQUEST, reason, "malformed")


def _too_long(reason: str, status: int = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE) -> HandshakeRefused:
    return HandshakeRefused(status, reason, "too_long")


def _one(head: RequestHead, name: str) -> bytes | None:
    """:returns: a header that may stand there once"""
    values = head.fields.by_name.get(_ONCE.get(name) or name.lower().encode("ascii"))
    if values is None:
        return None
    if len(values) > 1:
        raise _bad(f"repeated {name}")
    return values[0]


def _protocols(head: RequestHead) -> tuple[str, ...]:
    values = head.all(b"Sec-WebSocket-Protocol")
    if not values:
        return ()
    # Empty elements count for nothing (RFC 9110 §5.6.1.2); a field with nothing else names none.
    names = [name for value in values for element in value.split(b",") if (name := element.strip(b" \t"))]
    if not all(_TOKEN.fullmatch(name) for name in names):
        raise _bad("Sec-WebSocket-Protocol: not a list of tokens")
    if len(set(names)) != len(names):
        raise _bad("Sec-WebSocket-Protocol: a subprotocol offered twice")
    return tuple(name.decode("ascii") for name in names)


def _key(head: RequestHead) -> str:
    key = _one(head, "Sec-WebSocket-Key") or b""
    if _KEY.fullmatch(key):
        return key.decode("ascii")
    try:
        if len(b64decode(key, validate=True)) != 16:
            raise _bad("Sec-WebSocket-Key: not 16 bytes")
    except Base64Error:
        raise _bad("Sec-WebSocket-Key: not base64") from None
    return key.decode("ascii")


def _check_version(head: RequestHead) -> None:
    version = _one(head, "Sec-WebSocket-Version")
    if version is None:
        raise _bad("no Sec-WebSocket-Version")
    if version != _VERSION:
        reason, spoken = "only WebSocket version 13 is spoken", [(b"Sec-WebSocket-Version", _VERSION)]
        raise HandshakeRefused(HTTPStatus.UPGRADE_REQUIRED, reason, "version", spoken)


@lru_cache(maxsize=4)
def _encoded(names: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(name.encode("ascii") for name in names)


def _forwarded(head: RequestHead, settings: HandshakeSettings) -> tuple[tuple[bytes, bytes], ...]:
    fields = tuple([(name, value) for name in _encoded(settings.forward_headers) for value in head.all(name)])
    if fields and sum(len(name) + len(value) for name, value in fields) > settings.max_headers:
        raise _too_long(f"the forwarded headers are over {settings.max_headers} bytes (WS_MAX_HEADERS)")
    if len(fields) > MAX_LINES:
        raise _too_long(f"the forwarded headers are over {MAX_LINES} lines")
    return fields


def check_handshake(head: RequestHead, settings: HandshakeSettings) -> Handshake:
    """Check a request to connect.

    :raises HandshakeRefused: with the status of the answer
    """
    if len(head.target) > settings.max_target:
        reason = f"the target is over {settings.max_target} bytes (WS_MAX_TARGET)"
        raise _too_long(reason, HTTPStatus.REQUEST_URI_TOO_LONG)
    if not _VISIBLE.fullmatch(head.target) or not head.target.startswith(b"/"):
        raise _bad("the target is no path in visible ASCII")
    if head.version != b"HTTP/1.1":
        raise _bad("a handshake needs HTTP/1.1")
    if head.length != 0:
        raise _bad("a handshake has no body")
    host, origin = _one(head, "Host"), _one(head, "Origin")
    _one(head, "Authorization")
    for name in settings.of_proxies:
        # Of two, one may be the client's: a proxy that adds its own instead of replacing what is there.
        _one(head, name)
    if host is None or not _VISIBLE.fullmatch(host):
        raise _bad("no Host")
    if b"upgrade" not in head.fields.tokens(b"Connection"):
        raise _bad("no Connection: Upgrade")
    user_agent = b", ".join(filter(None, head.all(b"User-Agent"))) or None
    if len(host) + len(origin or b"") + len(user_agent or b"") > MAX_NAMED:
        raise _too_long(f"Host, Origin and User-Agent are over {MAX_NAMED} bytes together")
    _check_version(head)
    key = _key(head)
    protocols = _protocols(head)
    if origin is not None and not _VISIBLE.fullmatch(origin):
        raise _bad("Origin: not visible ASCII")
    if not settings.origins.allows(None if origin is None else origin.decode("ascii"), host.decode("ascii")):
        reason = "this Origin may not connect (WS_ORIGINS)"
        detail = f"the Origin {shown_origin(origin)} may not connect (WS_ORIGINS)"
        raise HandshakeRefused(HTTPStatus.FORBIDDEN, reason, "origin", detail=detail)
    return Handshake(
        target=head.target,
        host=host,
        secure=head.secure,
        client=head.client,
        origin=origin,
        user_agent=user_agent,
        forwarded=_forwarded(head, settings),
        key=key,
        protocols=protocols,
        extensions=b", ".join(head.all(b"Sec-WebSocket-Extensions")).decode("latin-1") if settings.compression else "",
    )
