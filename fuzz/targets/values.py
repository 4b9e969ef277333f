"""Values that clients, proxies and pushers choose: origins, addresses, tokens, dates, keys and times."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from fuzz.inputs import ODD, Draw
from tests.gate import NOW
from wsaas.connections.addresses import Addresses
from wsaas.connections.confirmations import read_time
from wsaas.connections.idempotency import read_key
from wsaas.connections.messages import checked_close
from wsaas.connections.retry import asked_pause
from wsaas.errors import HandshakeRefused, PushRefused
from wsaas.net.http1.forwarded import believed
from wsaas.net.http1.messages import RequestFields, RequestHead, client_of, plain_address
from wsaas.pushes.resource import is_text
from wsaas.pushes.tokens import PushTokens
from wsaas.websocket.frames import read_close
from wsaas.websocket.handshake import check_handshake, is_handshake
from wsaas.websocket.origins import Origins, parse_origins
from wsaas.websocket.settings import HandshakeSettings

#: What stands between the values of an input.
_BETWEEN = b"\x1e"
_TOKENS = PushTokens([b"right", b"other"])
_ORIGINS = parse_origins("https://good.test https://*.wild.test:8443 http://[::1]:81 app://x null same")
_DATES = (
    b"Sun, 06 Nov 1994 08:49:37 GMT",
    b"Sunday, 06-Nov-94 08:49:37 GMT",
    b"Sun Nov  6 08:49:37 1994",
    b"Fri, 31 Dec 9999 23:59:59 GMT",
    b"Fri, 31 Dec 9999 23:59:59 -2359",
    b"Mon, 01 Jan 0001 00:00:00 +2359",
    b"120",
    b"0",
    b"-1",
    b"1.5",
    b"99999999999999999999",
)


def _text(data: bytes) -> str:
    return data.decode("latin-1")


def _origins(values: list[bytes]) -> Hashable:
    """The setting, the origin, the host."""
    setting, origin, host = (*values, b"", b"", b"")[:3]
    try:
        origins = parse_origins(_text(setting))
    except ValueError:
        origins = _ORIGINS
    allowed = origins.allows(_text(origin), _text(host))
    if allowed and not origins.everyone and _text(origin) != "null":
        _check_allowed(origins, _text(origin).lower(), _text(host).lower())
    return allowed


def _check_allowed(origins: Origins, origin: str, host: str) -> None:
    """Whoever is allowed has, as Python reads URLs, a host that is listed or asked for."""
    name = (urlsplit(origin).hostname or "").rpartition("%")[0] or urlsplit(origin).hostname or ""
    listed = [".".join(pattern.labels).strip("[]") for pattern in origins.patterns]
    try:
        same = urlsplit(f"//{host}").hostname if origins.same else None
    except ValueError:  # half a pair of brackets, and nothing that an origin could be the same as
        same = None
    for pattern in listed:
        labels, ours = pattern.split("."), name.split(".")
        if len(labels) == len(ours) and all(a in ("*", b) for a, b in zip(labels, ours, strict=True)):
            return
    assert name == same, f"{origin} is let in"


def _head(lines: list[tuple[bytes, bytes]], target: bytes = b"/", client: str | None = None) -> RequestHead:
    """:returns: the head of a GET"""
    return RequestHead(b"GET", target, b"HTTP/1.1", RequestFields(lines), False, client)


def _forwarded(values: list[bytes]) -> Hashable:
    """How many proxies, then the lines of X-Forwarded-For, and the last one of X-Forwarded-Proto."""
    count = values[0][:1] or b"\1"
    lines = [*((b"X-Forwarded-For", value) for value in values[1:]), *((b"X-Forwarded-Proto", v) for v in values[-1:])]
    client, secure = believed(count[0] % 4 + 1, _head(lines, client="203.0.113.1"))
    assert client is not None and str(ip_address(client)) == client, client
    addresses = Addresses(1)
    addresses.enter(client)
    assert not addresses.has_room(client)
    addresses.leave(client)
    assert not len(addresses)
    return secure, client == "203.0.113.1", ":" in client


def _addresses(values: list[bytes]) -> Hashable:
    """What a resolver, a socket or a proxy may call an address."""
    plain = plain_address(_text(values[0]))
    assert plain is None or str(ip_address(plain)) == plain, plain

    class Address:
        host = values[-1]

    client_of(Address())  # type: ignore[arg-type]  # of kinds that nobody foresaw
    return plain is None


def _tokens(values: list[bytes]) -> Hashable:
    """The lines of Authorization."""
    allowed = _TOKENS.allow(values)
    if allowed:
        assert len(values) == 1, "two lines"
        scheme, token = values[0].split(b" ", 1)
        assert scheme.lower() == b"bearer" and token.strip(b" \t") in (b"right", b"other"), values
    return allowed


def _times(values: list[bytes]) -> Hashable:
    """A Retry-After; a Ws-Confirm; an Idempotency-Key."""
    pause = asked_pause(values[0], NOW)
    assert 0 <= pause < 1e12, pause
    seen: list[Any] = [pause > 0]
    for read in (read_time, read_key):
        try:
            seen.append(type(read(values)))
        except PushRefused as error:
            seen.append(error.status)
    seconds = seen[1] is float and read_time(values)
    assert not seconds or 0 < seconds <= 30, values
    return tuple(seen)


def _types(values: list[bytes]) -> Hashable:
    """A Content-Type; a close code and a reason; a Close frame."""
    seen: list[Hashable] = []
    try:
        seen.append(is_text(_text(values[0])))
    except PushRefused as error:
        seen.append(error.status)
    try:
        close = checked_close(_text(values[0]), values[-1].decode("utf-8", "surrogateescape"))
    except ValueError:
        seen.append(False)
    else:
        assert 1000 <= close.code <= 4999 and close.code not in (1004, 1005, 1006, 1015)
        assert len(close.reason.encode("utf-8")) <= 123
        seen.append(True)
    read = read_close(values[-1])
    if read is not None:
        assert 6 <= read[3] <= len(values[-1])
        assert read[2] == b"\x88" + bytes((len(read[2]) - 2,)) + read[2][2:]
    seen.append(read is None)
    return tuple(seen)


def _heads(values: list[bytes]) -> Hashable:
    """Fields of a handshake, in the order in which they are looked at."""
    names = (
        b"upgrade",
        b"connection",
        b"host",
        b"sec-websocket-version",
        b"sec-websocket-key",
        b"origin",
        b"sec-websocket-protocol",
        b"authorization",
        b"user-agent",
        b"sec-websocket-extensions",
    )
    good = (b"websocket", b"Upgrade", b"good.test", b"13", b"dGhlIHNhbXBsZSBub25jZQ==")
    target, *given = values
    fields = {name: [value] for name, value in zip(names, good, strict=False)}
    for number, value in enumerate(given):
        if value:
            fields.setdefault(names[number % len(names)], []).append(value)
            if number < len(names):
                fields[names[number]] = [value]
    lines = [(name, value) for name, values in fields.items() for value in values]
    head = _head(lines, target or b"/")
    if not is_handshake(head):
        return None
    settings = HandshakeSettings(_ORIGINS, ("Authorization", "Sec-WebSocket-Protocol"), True)
    try:
        handshake = check_handshake(head, settings)
    except HandshakeRefused as refused:
        assert 400 <= refused.status < 600
        refused.reason.encode("ascii")
        return refused.status
    assert handshake.target.isascii() and b" " not in handshake.target and handshake.host.isascii()
    return bool(handshake.protocols)


_KINDS: tuple[Callable[[list[bytes]], Hashable], ...] = (
    _origins,
    _forwarded,
    _addresses,
    _tokens,
    _times,
    _types,
    _heads,
)
_WORDS: tuple[tuple[bytes, ...], ...] = (
    (
        b"https://good.test",
        b"https://good.test https://*.wild.test",
        b"same",
        b"null",
        b"*",
        b"https://a.wild.test:8443",
        b"https://good.test:443",
        b"https://good.test.",
        b"https://good.test@evil.test",
        b"https://evil.test/good.test",
        b"http://[::1]:81",
        b"https://xn--good-.test",
        b"HTTPS://GOOD.TEST",
        b"file://",
        b"https://good.test,https://evil.test",
        b"good.test:443",
        b"good.test",
    ),
    (
        b"\x01",
        b"192.0.2.1",
        b"192.0.2.1:80, [2001:db8::1]:80",
        b"unknown",
        b",,",
        b"::ffff:192.0.2.1",
        b"fe80::1%eth0",
        b"https",
        b"http,https",
        b"999.1.1.1",
        b"_hidden",
    ),
    (b"192.0.2.1", b"::1", b"fe80::1%eth0", b"::ffff:1.2.3.4", b"1.2.3", b"localhost", b"1.2.3.4\x00", b"%"),
    (b"Bearer right", b"bearer other", b"Bearer  right\t", b"Bearer rightx", b"Basic right", b"Bearer", b"right"),
    (*_DATES, b"1000", b"30000", b"30001", b"key"),
    (
        b"text/plain",
        b"text/plain; charset=utf-8",
        b'text/a;charset="latin-1"',
        b"application/x+json",
        b"4000",
        b"1005",
        b"bye",
        b"\x88\x80mask",
        b"\x88\x82\x00\x00\x00\x00\x03\xe8",
        b"\x88\x84\x00\x00\x00\x00\x03\xe8ok",
    ),
    (b"/chat", b"", b"", b"", b"Upgrade", b"a, b", b"https://good.test", b"permessage-deflate", b"a" * 7000),
)


def run(data: bytes) -> Hashable:
    """Try an input: one byte says what kind of values follow."""
    kind = (data[0] if data else 0) % len(_KINDS)
    return kind, _KINDS[kind](data[1:].split(_BETWEEN))


def make(draw: Draw) -> bytes:
    """:returns: an input"""
    kind = int(draw.random.random() * len(_KINDS))
    values = [draw.one(_WORDS[kind]) for _ in range(1 + draw.number(3 if kind < 6 else 9))]
    values = [draw.damaged(value, ODD + _WORDS[kind]) if draw.chance(0.4) else value for value in values]
    return bytes((kind,)) + _BETWEEN.join(values)
