"""What follows a granted handshake: frames. The frames of our own and Autobahn's parser must see the same in them."""

from __future__ import annotations

from collections.abc import Hashable

from fuzz.grammar import damaged_stream, frames
from fuzz.inputs import Draw, parts, slices, stream_input
from fuzz.scene import check_rest, compare, ledger, play, settle, shown
from fuzz.watch import watch
from tests.gate import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    ApiCall,
    Frame,
    Gate,
    Wire,
    close_frame,
    frame,
    inflate,
    read_frames,
)

MAX_MESSAGE = 1000


_MANY = (
    frame(TEXT, b"many") * 70,
    frame(PING, b"many") * 300,
    frame(PONG) * 300,
    frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"", fin=False) * 100,
    frame(PING) * 100 + frame(BINARY, b"between") + frame(PING) * 100,
)


class _Side:
    """A gateway with one client, whose API does as the variant says.

    :param plain: whether plain frames are read without Autobahn, as they are
    """

    def __init__(self, plain: bool, variant: int) -> None:
        self._variant = variant
        self._compressed = bool(variant & 1)
        self.gate = Gate(
            WS_COMPRESSION="on" if self._compressed else "off",
            WS_MAX_MESSAGE=str(MAX_MESSAGE),
            WS_MAX_BUFFER="4000",
        )
        self.gate.agent.react = self._react
        offer = [("Sec-WebSocket-Extensions", "permessage-deflate")] if variant & 2 else []
        self.wire: Wire = self.gate.connect()
        handshake = b"\r\n".join(
            [
                b"GET / HTTP/1.1\r\nHost: gateway.test\r\nUpgrade: websocket\r\nConnection: Upgrade",
                *(f"{name}: {value}".encode() for name, value in offer),
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
            ]
        )
        self.wire.deliver(handshake)
        assert self.wire.take().startswith(b"HTTP/1.1 101 "), "no WebSocket"
        if not plain:
            setattr(type(self.wire.protocol), "_take_plain", lambda _: False)  # noqa: B010 - private, of its own class

    def _react(self, call: ApiCall) -> None:
        if call.method != "PUT":
            call.answer()
        elif self._variant & 4:
            pass  # later
        else:
            self._answer(call)

    def _answer(self, call: ApiCall) -> None:
        body = call.body or b""
        kind = self._variant >> 3 & 3
        if kind == 0:
            call.answer(204, b"")
        elif kind == 1:
            text = (call.header("Content-Type") or "").startswith("text/")
            call.answer(200, body, ("Ws-Reply", "text" if text else "binary"), ("Ws-State", str(len(body))))
        elif kind == 2:
            call.answer(404, b"")
        else:
            call.answer(200, b"", *[("Ws-Close", "4001 enough")] * (len(body) == 126))

    def finish(self) -> None:
        """The API answers what it has not answered."""
        while waiting := [call for call in self.gate.agent.calls if not call.result.called]:
            for call in waiting:
                self._answer(call)
            self.gate.turn(1)

    def go(self, pieces: list[bytes]) -> tuple[dict[str, object], Hashable]:
        """:returns: all that can be seen from outside; and in short"""
        gate, wire = self.gate, self.wire
        watch.begin()
        play(gate, wire, pieces, wait=0.0)
        self.finish()
        gate.turn()
        got = wire.take()
        if not wire.over and self._variant & 32:
            wire.deliver(close_frame(1000, "done"))
            gate.turn()
        gate.clock.advance(6.0)
        over = wire.over
        settle(gate, wire, finish=self.finish)
        got += wire.take()
        ends = ledger(gate.agent.calls)
        check_rest(gate)
        puts = [call for call in gate.agent.calls if call.method == "PUT"]
        lines = watch.check(1 + (len(puts) if self._variant >> 3 & 3 == 2 else 0))
        for call in puts:
            _check_message(call)
        seen = _check_frames(got, compressed=self._compressed)
        kinds = tuple(sorted({each.opcode for each in seen}))
        everything = {"frames": seen, "over": over, "calls": shown(gate.agent.calls), "log": lines}
        return everything, (tuple(ends), kinds, min(len(puts), 3))


def _check_message(call: ApiCall) -> None:
    body = call.body
    assert body is not None and len(body) <= MAX_MESSAGE, "a message is too long"
    if (call.header("Content-Type") or "").startswith("text/"):
        body.decode("utf-8")


def _check_frames(data: bytes, *, compressed: bool) -> list[Frame]:
    """:returns: what a client reads, compressed messages inflated"""
    found = []
    closed = False
    for each in read_frames(data):
        assert not closed, "something behind the Close frame"
        assert each.fin and each.opcode in (1, 2, CLOSE, 9, PONG), f"an odd frame: {each}"
        assert each.opcode < 8 or len(each.payload) <= 125, "a control frame is too long"
        assert not each.rsv or (compressed and each.rsv == 4 and each.opcode < 8), f"reserved bits: {each}"
        closed = each.opcode == CLOSE
        if closed:
            assert len(each.payload) != 1, "half of a code"
            each.payload[2:].decode("utf-8")
        payload = inflate(each.payload) if each.rsv else each.payload
        if each.opcode == 1:
            payload.decode("utf-8")
        # The words of a Close may depend on how much had come.
        found.append(Frame(each.opcode, payload[:2] if closed else payload, each.rsv))
    return found


def run(data: bytes) -> Hashable:
    """Try an input."""
    variant, cut, stream = parts(data)
    fast, outcome = _Side(True, variant).go(slices(stream, cut))
    # Of a frame that is not complete, a part may inflate to too much, or to nothing yet.
    plain, _ = _Side(False, variant).go(slices(stream, cut if variant & 3 == 3 else 0))
    compare(fast, plain)
    return outcome


def _stream(draw: Draw) -> bytes:
    stream = damaged_stream(draw, frames(draw))
    # Many at once: all that costs anything is bounded.
    return draw.one(_MANY) + stream if draw.chance(0.03) else stream


def make(draw: Draw) -> bytes:
    """:returns: an input"""
    return stream_input(draw, _stream)
