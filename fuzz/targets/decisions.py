"""What the API's answers ask for: grants, refusals, states, replies, closes, pauses, groups."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from fuzz.inputs import ODD, Draw
from tests.gate import NOW
from wsaas.callbacks.answers import is_refused, is_settled, read_grant, read_last_words, read_outcome, retry_after
from wsaas.connections.messages import SELF, Close, Delivered, Message, Publication, Wishes
from wsaas.connections.retry import asked_pause
from wsaas.errors import CallbackFailed, Denied
from wsaas.groups.names import check_name, decode, encode, name_of
from wsaas.net.http1.headers import AnswerHeaders
from wsaas.net.http1.messages import Answer, phrase, text_response

_RETRY = frozenset({408, 425, 429, 502, 503, 504})
_BODIES = (
    b'{"code": "OK"}',
    b'{"code":"OK"}',
    b'{"code": "OK", "code": "NO"}',
    b'{"code": ["OK"]}',
    b'{"CODE": "OK"}',
    b'["code", "OK"]',
    b"OK",
    b"",
    b"null",
    b"NaN",
    b'{"code": 1e999}',
    b"[" * 100_000,
    b'{"a":' * 5000,
    b"9" * 5000,
    b'\xef\xbb\xbf{"code": "OK"}',
    '{"code": "OK"}'.encode("utf-16"),
    b'{"code": "\\ud800"}',
    b"hello",
    b"\xff",
)
_FIELDS = (
    (b"Ws-State", (b"s", b"", b"a" * 1024, b"a" * 1025, b"\xe9", b"a\tb", b"{}")),
    (b"Ws-Close", (b"4000 go", b"1000", b"1005", b"4000 %C3%BC", b"4000 %ff", b"4000 " + b"a" * 124, b"", b"go")),
    (b"Ws-Reply", (b"text", b"binary", b"Text", b"", b"text, text")),
    (b"Sec-WebSocket-Protocol", (b"a", b"b", b"c", b"a, b", b"", b"\xff")),
    (b"Retry-After", (b"5", b"-1", b"Sun, 06 Nov 1994 08:49:37 GMT", b"Fri, 31 Dec 9999 23:59:59 -2359", b"9" * 5000)),
    (b"Content-Encoding", (b"gzip", b"identity", b"", b"IDENTITY")),
    (b"WWW-Authenticate", (b"Basic", b"\xff", b'Basic realm="\\"')),
    (b"Content-Type", (b"application/json", b"text/html")),
    (b"Ws-User", (b"bob", b"", b"%C3%BC", b"a, b", b"%", b"%00", b"%2C", b"..", b"%F0%9F%98%80" * 64, b"a b")),
    (b"Ws-Join", (b"a, b", b"", b"%2A", b"*", b"a%2Fb", b"%ff", b",".join(b"%d" % n for n in range(200)))),
    (b"Ws-Leave", (b"*", b"a", b"*, a", b"%2A", b";")),
    (b"Ws-Publish", (b"text all", b"binary groups/a, users/%C3%BC", b"text", b"text groups/", b"all", b"text x/y")),
    (b"Ws-Except", (b"self", b"A" * 22, b"A" * 22 + b"-end", b"x", b"self, " * 65)),
    (b"Ws-Slow", (b"skip", b"close", b"Skip", b"")),
)  # fmt: skip


def _check_close(close: Close | None) -> None:
    if close is not None:
        assert 1000 <= close.code <= 4999
        assert len(close.reason.encode("utf-8")) <= 123


def _check_state(state: str | None) -> None:
    assert state is None or (state.isascii() and state.isprintable() and len(state) <= 1024)


def _check_reply(reply: Message | None) -> None:
    if reply is not None and not reply.binary:
        reply.payload.decode("utf-8")


def _check_wishes(wishes: Wishes | None) -> None:
    if wishes is not None:
        for name in (*wishes.join, *wishes.leave, *([wishes.user] if wishes.user else ())):
            assert decode(encode(check_name(name))) == name
        assert not (wishes.leaves_all and wishes.leave)
        _check_publication(wishes.publication)


def _check_publication(publication: Publication | None) -> None:
    if publication is not None:
        assert publication.targets
        for target in publication.targets:
            assert target == "all" or (target.startswith(("groups/", "users/")) and check_name(name_of(target)))
        assert len(publication.left_out) <= 65
        assert all(tag == SELF or len(tag) == 22 for tag in publication.left_out)
        _check_reply(publication.message)


def run(data: bytes) -> Hashable:
    """Try an input: two bytes of a status, lines of fields, an empty line, a body."""
    status = int.from_bytes(data[:2], "big") % 1000
    head, _, body = data[2:].partition(b"\n\n")
    pairs = [line.partition(b":") for line in head.split(b"\n")]
    answer = Answer(status, AnswerHeaders([(name, value) for name, _, value in pairs]), body)
    seen: list[Any] = [status // 100]
    for offered in ((), ("a",), ("a", "b")):
        try:
            grant = read_grant(answer, offered)
        except CallbackFailed as error:
            seen.append(type(error))
            assert len(error.reason) < 200, error.reason
            if isinstance(error, Denied):
                text_response(error.status, phrase(error.status), error.headers).encode()
        else:
            assert grant.protocol is None or grant.protocol in offered
            _check_close(grant.close)
            _check_state(grant.state)
            _check_wishes(grant.wishes)
            seen.append((grant.protocol, grant.close is not None, grant.state is not None))
    try:
        outcome = read_outcome(answer, _RETRY)
    except CallbackFailed as error:
        assert len(error.reason) < 200, error.reason
        assert 0 <= asked_pause(error.retry_after, NOW) < 1e12
        seen.append(type(error))
    else:
        if isinstance(outcome, Delivered):
            _check_close(outcome.close)
            _check_state(outcome.state)
            _check_reply(outcome.reply)
            _check_wishes(outcome.wishes)
            seen.append(outcome.wishes is None)
        seen.append(type(outcome))
    try:
        last_words = read_last_words(answer)
    except CallbackFailed as error:
        assert len(error.reason) < 200, error.reason
        seen.append(type(error))
    else:
        _check_publication(last_words)
        seen.append(last_words is None)
    assert not (is_settled(answer) and 500 <= status < 600 and status != 501)
    assert 0 <= asked_pause(retry_after(answer), NOW) < 1e12
    return (*seen, is_settled(answer), is_refused(answer))


def make(draw: Draw) -> bytes:
    """:returns: an input"""
    status = draw.one((200, 200, 200, 201, 204, 301, 400, 401, 403, 404, 405, 410, 429, 500, 501, 503, 999, 99, 0))
    lines = []
    for _ in range(draw.number(4)):
        name, values = draw.one(_FIELDS)
        value = draw.one(values)
        if draw.chance(0.2):
            value = draw.damaged(value).replace(b"\n", b"")
        lines.append((name.lower() if draw.chance(0.2) else name) + b": " + value)
    body = draw.one(_BODIES[:11] if draw.chance(0.9) else _BODIES)
    if draw.chance(0.2):
        body = draw.damaged(body, ODD)
    return status.to_bytes(2, "big") + b"\n".join(lines) + b"\n\n" + body
