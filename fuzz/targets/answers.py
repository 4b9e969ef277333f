"""The API's answers out of bytes: what our agent takes for an answer is the one that Twisted's agent sees.

It may refuse more, and does (``tests/unit/net/http1/test_client_differential.py`` says what and why).
However the bytes are cut, it decides alike; and a head that it knows from before means what it meant then.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from fuzz.inputs import ODD, Draw, parts, slices, stream_input
from fuzz.scene import Differs
from fuzz.watch import watch
from tests.agents import Network, Ours, Twisteds
from wsaas.callbacks.failures import why
from wsaas.errors import CallbackFailed

_METHODS = (b"PUT", b"PUT", b"PUT", b"PUT", b"POST", b"DELETE", b"DELETE", b"HEAD")
#: Empty lines before an answer: the one tolerance of our agent that damage comes upon.
_EMPTY_LINES = re.compile(rb"(\A|\r\n\r\n)[\r\n]+(?=HTTP/)")
FAILED = "failed"


def _outcome(kind: type[Ours], variant: int, pieces: list[bytes], *, twice: bool = False) -> Any:
    """:returns: the answer as an agent sees it, or that it failed

    :param twice: whether the same came before, on a call before
    """
    network = Network()
    agent = kind(network)
    method = _METHODS[variant & 7]
    body = None if method in (b"HEAD", b"DELETE") else b"x"
    answers: list[list[Any]] = []
    peers: list[Any] = []
    for _ in range(1 + twice):
        call = agent.ask(method, body)
        if network.attempts:
            peers.append(network.accept())
        peers[-1].received()
        peers[-1].send(*pieces)
        answers.append([])
        call.addBoth(answers[-1].append)
    for peer in peers:
        peer.end(ConnectionLost() if variant & 64 else ConnectionDone())
    for _ in range(3):
        network.reactor.advance(5)
        if network.attempts:
            # A kept connection ended before the first byte of an answer: repeated once.
            network.refuse()
    assert [len(results) for results in answers] == [1] * len(answers), answers
    left = network.reactor.getDelayedCalls()
    assert not left, f"timers: {left}"
    result = answers[-1][0]
    if isinstance(result, Failure):
        said = why(result, False, True)
        assert isinstance(said, CallbackFailed)
        return FAILED
    return result


def run(data: bytes) -> Hashable:
    """Try an input."""
    variant, cut, stream = parts(data)
    watch.begin()
    short = _outcome(Ours, variant, slices(stream, cut))
    whole = _outcome(Ours, variant, slices(stream, 0))
    if short != whole:
        raise Differs(f"cut:\n  {short!r}\n  {whole!r}")
    if variant & 128 and whole != FAILED:
        again = _outcome(Ours, variant & ~64, [stream], twice=True)
        if again not in (whole, FAILED):
            raise Differs(f"known:\n  {again!r}\n  {whole!r}")
    watch.check(0)
    if short == FAILED:
        return FAILED
    plain = _outcome(Twisteds, variant, slices(stream, 0))
    for count in range(1, 5):
        if plain == FAILED:
            # No more of them than it takes: the body may look like an answer.
            plain = _outcome(Twisteds, variant, [_EMPTY_LINES.sub(rb"\1", stream, count)])
    watch.begin()
    if plain not in (short, FAILED):
        raise Differs(f"twisted:\n  {plain!r}\n  {short!r}")
    status, headers, body = short
    return status, len(headers) > 0, len(body) > 0, plain == FAILED


_LINES = (b"200 OK",) * 6 + (
    b"201 ",
    b"204 No Content",
    b"304 -",
    b"404 No",
    b"500 \xff",
    b"999 x",
    b"099 x",
    b"101 x",
    b"+20 x",
    b"",
)
_NAMES = (
    b"Server",
    b"Ws-Close",
    b"ws-state",
    b"A",
    b"Content-Type",
    b"Date",
    b"Set-Cookie",
    b"",
    b"A b",
    b"Content-Length ",
)
_VALUES = (b"", b"x", b" ", b"\t\xff", b"a" * 300, b"4000 go", b"a\x00b", b"\x7f")
_CONNECTION = (b"",) * 4 + (b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Connection: upgrade\r\n")
_FRAMING = (b"HTTP/1.1 200 OK\r\n", b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n",
            b"Connection: close\r\n", b"\r\n ", b"0\r\n\r\n", b"gzip, ", b"chunked", b"Content-Length: 0\r\n",
            b"\r\nWs-Close: 1000")  # fmt: skip


def answer(draw: Draw, fields: bytes = b"") -> bytes:
    """:returns: an answer, with a body and those before it

    :param fields: further header lines
    """
    interim = b"".join(
        b"HTTP/1.1 %b\r\n\r\n" % draw.one((b"100 Continue", b"103 x", b"102 y"))
        for _ in range(draw.one((0,) * 9 + (1, 2)))
    )
    lines = [
        draw.one((b"HTTP/1.1 ",) * 9 + (b"HTTP/1.0 ", b"HTTP/2.0 ", b"HTTP/1.2 ", b"ICY "))
        + draw.one(_LINES)
        + b"\r\n",
        fields,
    ]
    lines += [
        draw.one(_NAMES[:7] if draw.chance(0.9) else _NAMES) + b":" + draw.one(_VALUES[:6]) + b"\r\n"
        for _ in range(draw.number(3))
    ]
    body = draw.one((b"", b"hello", b'{"code": "OK"}', b"\xff" * 3, b"a" * 200))
    kind = draw.random.random()
    if kind < 0.55:
        lines.append(b"Content-Length: %d\r\n" % len(body))
    elif kind < 0.85:
        lines.append(b"Transfer-Encoding: chunked\r\n")
        half = draw.number(len(body))
        chunks = [
            b"%x%b\r\n%b\r\n" % (len(part), draw.one((b"", b"", b";a=b", b' ; a="b"')), part)
            for part in (body[:half], body[half:])
            if part
        ]
        body = b"".join(chunks) + b"0\r\n" + draw.one((b"", b"", b"A: b\r\n", b"Ws-Close: 1000\r\n")) + b"\r\n"
    lines.insert(draw.number(len(lines) - 1) + 1, draw.one(_CONNECTION))
    return interim + b"".join(lines) + b"\r\n" + body


def _stream(draw: Draw) -> bytes:
    stream = answer(draw)
    if draw.chance(0.1):
        stream += draw.one((b"x", b"HTTP/1.1 200 OK\r\n", b"\r\n", answer(draw)))
    return draw.damaged(stream, ODD + _FRAMING * 2) if draw.chance(0.4) else stream


def make(draw: Draw) -> bytes:
    """:returns: an input"""
    return stream_input(draw, _stream)
