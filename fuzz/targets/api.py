"""The API's answers through a whole gateway: whatever comes, the client gets one answer, and the API one DELETE."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.testing import MemoryReactorClock

from fuzz.inputs import ODD, Draw, parts, slices, stream_input
from fuzz.scene import statuses
from fuzz.targets.answers import answer
from fuzz.watch import watch
from tests.gate import TEXT, Wire, close_frame, frame, handshake_request, read_frames
from tests.memory_api import ReceivedRequest, read_requests
from tests.memory_machine import Machine
from wsaas.assembly import build
from wsaas.net.http1.pool import KEEP_IDLE
from wsaas.settings.read import read_settings

_WELL = b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"code": "OK"}'
#: Which call gets the stream for an answer.
_CALLS = ("POST", "PUT", "DELETE", "PUT")
#: Lines for each input: opened or refused; closed; no grant; a message tried again, and given up; a DELETE that is not
#: taken, and paid in the end; no route for it; several subprotocols and none chosen.
_LINES = 10


class _World:
    """A whole gateway, one client and an API that answers well, but for one kind of call."""

    def __init__(self, variant: int) -> None:
        self.machine = Machine()
        self.machine.advance(1_700_000_000.0)
        settings = {
            "API_URI": "127.0.0.1:5000/hook",
            "WS_HOSTNAME": "http://gateway.test",
            "WS_LISTEN": "tcp:1",
            "WS_MAX_MESSAGE": "1000",
            "API_RETRY_FOR": "3000",
            **({"API_SECRET": "0123456789abcdef"} if variant & 8 else {}),
        }
        self.gateway = build(read_settings(settings), self.machine, bytes, now=self.machine.seconds)
        self.gateway.startService()
        self._resting = len(self.machine.getDelayedCalls())
        self._hostile = _CALLS[variant & 3]
        self._clean = not variant & 4
        self._stream: list[bytes] | None = None
        self._wires: list[Wire] = []
        self.calls: list[ReceivedRequest] = []

    def meet(self) -> None:
        """Let connections to the API come about, and calls be answered, until there are none."""
        machine: MemoryReactorClock = self.machine
        for _ in range(20):
            machine.advance(0)
            busy = False
            while machine.tcpClients:
                machine.connectors.pop(0)
                factory: Any = machine.tcpClients.pop(0)[2]
                self._wires.append(Wire(machine).attach(factory.buildProtocol(None)))
                busy = True
            for wire in list(self._wires):
                data = wire.take()
                if data:
                    busy = True
                    self._answer(wire, read_requests(data))
                if wire.over:
                    self._wires.remove(wire)
            if not busy:
                return
        raise AssertionError("calls without end")

    def _answer(self, wire: Wire, requests: list[ReceivedRequest]) -> None:
        assert len(requests) == 1, "two calls at once on one connection"
        self.calls += requests
        if self._stream is None or requests[0].method != self._hostile:
            wire.deliver(_WELL)
            return
        pieces, self._stream = self._stream, None
        for piece in pieces:
            if wire.over:
                break
            wire.deliver(piece)
            self.machine.advance(0)
        wire.end(ConnectionDone if self._clean else ConnectionLost)

    def go(self, pieces: list[bytes]) -> tuple[list[int], list[Any], list[str]]:
        """:returns: the client's HTTP answers, its frames, and the calls that the API got"""
        self._stream = pieces
        client = self.machine.connect(1)
        watch.begin()
        client.deliver(handshake_request("/chat", ("Sec-WebSocket-Protocol", "a")))
        self.meet()
        client.deliver(frame(TEXT, b"hello"))
        self.meet()
        self._pass(5)
        if not client.over:
            client.deliver(close_frame(1000))
        self.machine.advance(0)
        client.end()
        self.meet()
        # Beyond the longest Retry-After that is heeded, and API_DELETE_FOR.
        self._pass(90_000)
        data = client.take()
        if not data.startswith(b"HTTP/1.1 101 "):
            # What a refusal passes on may be in any charset (RFC 9110 §5.5).
            data = data.decode("latin-1").encode("ascii", "replace")
        answers, rest = statuses(data)
        return answers, read_frames(rest), [call.method for call in self.calls]

    def _pass(self, seconds: float) -> None:
        """Let time pass, from one timer to the next."""
        end = self.machine.seconds() + seconds
        while self.machine.seconds() < end:
            # The regular looks are many; steps of a minute are enough for them.
            self.machine.advance(min(0.5 if seconds < 60 else 60.0, end - self.machine.seconds()))
            self.meet()
            if len(self.machine.getDelayedCalls()) == self._resting and seconds > 60:
                break

    def check_rest(self) -> None:
        """Nothing is left of it but the timers of a gateway that waits."""
        self.machine.advance(KEEP_IDLE + 1)
        self.machine.advance(5)
        self.meet()
        left = self.machine.getDelayedCalls()
        assert len(left) == self._resting, left
        assert not self._wires, "connections to the API are left"


def _check_calls(calls: list[ReceivedRequest], answers: list[int]) -> None:
    ids = [call.headers["ws-id"][0].rpartition("-")[2] for call in calls]
    order = {"POST": 0, "PUT": 1, "DELETE": 2}
    steps = [order[call.method] for call in calls]
    assert steps == sorted(steps), f"out of order: {ids}"
    accepted = 101 in answers
    if accepted:
        assert ids[-1] == "end", f"no DELETE: {ids}"
    if ids[-1] != "end":
        assert answers and 400 <= answers[0] < 500, f"no DELETE after {answers}"


def run(data: bytes) -> Hashable:
    """Try an input."""
    variant, cut, stream = parts(data)
    world = _World(variant)
    answers, frames, methods = world.go(slices(stream, cut))
    assert len(answers) == 1, f"{len(answers)} answers"
    _check_calls(world.calls, answers)
    watch.check(_LINES)
    world.check_rest()
    codes = tuple(int.from_bytes(each.payload[:2], "big") for each in frames if each.opcode == 8)
    return answers[0], codes, tuple(methods)


_FIELDS = (
    b"Ws-State: s\r\n",
    b"Ws-State: " + b"a" * 1025 + b"\r\n",
    b"Ws-State: \xe9\r\n",
    b"Ws-Close: 4000 go%20now\r\n",
    b"Ws-Close: 1005\r\n",
    b"Ws-Close: 4000 %ff\r\n",
    b"Ws-Reply: text\r\n",
    b"Ws-Reply: binary\r\n",
    b"Ws-Reply: x\r\n",
    b"Sec-WebSocket-Protocol: a\r\n",
    b"Sec-WebSocket-Protocol: b\r\n",
    b"Retry-After: 1\r\n",
    b"Retry-After: 99999999999\r\n",
    b"Retry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n",
    b"WWW-Authenticate: Basic\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Location: http://evil.test/\r\n",
)
_STATUS = (b"200", b"202", b"302", b"400", b"401", b"403", b"404", b"405", b"410", b"429", b"500", b"501", b"503")


def _stream(draw: Draw) -> bytes:
    fields = b"".join(draw.some(_FIELDS, 2))
    if draw.chance(0.6):
        body = draw.one((b'{"code": "OK"}', b'{"code": "OK"}', b'{"code": "NO"}', b"", b"\xff", b"a" * 1001))
        head = b"HTTP/1.1 %b -\r\n%bContent-Length: %d\r\n\r\n" % (draw.one(_STATUS), fields, len(body))
        stream = head + body
    else:
        stream = answer(draw, fields)
    return draw.damaged(stream, ODD + _FIELDS) if draw.chance(0.35) else stream


def make(draw: Draw) -> bytes:
    """:returns: an input"""
    return stream_input(draw, _stream)
