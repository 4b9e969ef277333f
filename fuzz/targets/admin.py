"""What comes to ``ADMIN_LISTEN``."""

from __future__ import annotations

from collections.abc import Hashable

from fuzz.grammar import TARGETS, damaged_stream, request
from fuzz.inputs import Draw, parts, slices, stream_input
from fuzz.scene import statuses
from fuzz.watch import watch
from tests.memory_machine import Machine
from tests.unit.test_assembly import API
from wsaas.assembly import build
from wsaas.settings.read import read_settings

_PAGES = (b"/healthz", b"/readyz", b"/metrics", b"/metrics?a=b", b"/healthz/", b"//metrics", b"/%6detrics", *TARGETS)
_METHODS = (b"GET",) * 6 + (b"HEAD", b"POST", b"PUT", b"OPTIONS", b"TRACE", b"")
_ACCEPT = (
    b"*/*",
    b"text/plain",
    b"text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    b"application/openmetrics-text; version=1.0.0; escaping=allow-utf-8",
    b"application/openmetrics-text; version=x.y",
    b"application/openmetrics-text; version=1.0.0; escaping=none",
    b"text/plain; version=1.0.0; escaping=values; q=nan",
    b"application/vnd.google.protobuf; proto=a",
    b"text/plain; version=99999999999999999999.0.0",
    b";;;=,,,",
)

_machine: Machine | None = None


def _listener() -> Machine:
    """:returns: a whole gateway, the same for all inputs: its pages keep nothing"""
    global _machine  # noqa: PLW0603 - built once, when first needed
    if _machine is None:
        _machine = Machine()
        settings = read_settings({**API, "WS_LISTEN": "tcp:1", "ADMIN_LISTEN": "tcp:2"})
        build(settings, _machine, bytes, now=_machine.seconds).startService()
    return _machine


def run(data: bytes) -> Hashable:
    """Try an input."""
    _, cut, stream = parts(data)
    machine = _listener()
    wire = machine.connect(2)
    watch.begin()
    for piece in slices(stream, cut):
        if wire.over:
            break
        wire.deliver(piece)
        machine.advance(0)
    machine.advance(0)
    over = wire.over
    wire.end()
    machine.advance(0)
    # Of many pages in a row, each is whole; of a page to HEAD, the head is.
    found, _ = statuses(wire.take(), heads=b"HEAD" in stream)
    watch.check(sum(status >= 400 for status in found))
    timers = [timer for timer in machine.getDelayedCalls() if timer.getTime() > machine.seconds() + 1]
    # The one tells once a minute how many pushes were refused.
    assert len(timers) == 1, timers
    return tuple(found[-3:]), over


def _stream(draw: Draw) -> bytes:
    made = []
    for _ in range(1 + draw.number(2)):
        one = request(draw, _PAGES, _METHODS) if draw.chance(0.3) else b""
        if not one or draw.chance(0.5):
            lines = [b"%b %b HTTP/1.1\r\nHost: a\r\n" % (draw.one(_METHODS), draw.one(_PAGES[:3]))]
            for _ in range(draw.number(2)):
                accept = draw.one(_ACCEPT)
                lines.append(b"Accept: " + (draw.damaged(accept) if draw.chance(0.4) else accept) + b"\r\n")
            one += b"".join(lines) + b"\r\n"
        made.append(one)
    return damaged_stream(draw, b"".join(made), 0.2)


def make(draw: Draw) -> bytes:
    """:returns: an input"""
    return stream_input(draw, _stream)
