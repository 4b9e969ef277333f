"""What pushers send: cut anywhere, it is answered alike, and the same goes through to the clients."""

from __future__ import annotations

from collections.abc import Hashable

from fuzz.grammar import TARGETS, damaged_stream, handshake, request
from fuzz.inputs import Draw, parts, slices, stream_input
from fuzz.scene import check_rest, compare, ledger, normalised, numbered, play, settle, shown, statuses
from fuzz.watch import watch
from tests.gate import Gate, handshake_request, read_frames

#: The keys of two clients, of one that the API has not let in yet, and one that nobody has.
KEYS = [numbered("", number).key.encode() for number in (1, 2, 3, 9)]
_PUSHED = (
    *(b"/" + key for key in KEYS[:3] * 3),
    b"/" + KEYS[3],
    b"/a/b/" + KEYS[0],
    b"http://gateway.test/" + KEYS[0],
    b"/" + KEYS[0] + b"?code=4000&reason=bye",
    b"/" + KEYS[0] + b"/",
    b"/" + KEYS[0][:-1],
    b"/%41" + KEYS[0][1:],
    b"/" + KEYS[0].lower(),
    b"/../" + KEYS[0],
    b"/" + KEYS[1] + b"?code=1005",
    b"/" + KEYS[1] + b"?code=4000&code=4001",
    b"/" + KEYS[1] + b"?reason=%ff",
    b"/" + KEYS[1] + b"?reason=" + b"%C3%BC" * 70,
    b"/" + KEYS[1] + b"?;=&&",
    b"/?" + KEYS[1],
    *TARGETS,
)
_FIELDS = (
    *(b"Authorization: Bearer right\r\n",) * 6,
    b"Authorization: Bearer wrong\r\n",
    b"Content-Type: application/octet-stream\r\n",
    b"Content-Type: application/json\r\n",
    b"Content-Type: text/plain; charset=latin-1\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: keep-alive\r\n",
    b"Connection: close\r\n",
    b"Idempotency-Key: a\r\n",
    b"Idempotency-Key: a b\r\n",
    b"Ws-Confirm: 1000\r\n",
    b"Ws-Confirm: 0\r\n",
    b"User-Agent: a\r\n",
    b"X-Forwarded-For: 192.0.2.1\r\n",
)
_METHODS = (b"PUT",) * 12 + (b"DELETE", b"DELETE", b"GET", b"HEAD", b"POST", b"OPTIONS", b"PATCH", b"put", b"")


def _settings(variant: int) -> dict[str, str]:
    return {
        "WS_MAX_MESSAGE": "64",
        "WS_MAX_BUFFER": "200",
        "TRUST_PROXY": "1" if variant & 4 else "0",
        **({"PUSH_TOKEN": "other right"} if variant & 1 else {}),
        **({"PUSH_LISTEN": "tcp:1"} if variant & 2 else {}),
    }


def _side(variant: int, pieces: list[bytes]) -> tuple[dict[str, object], Hashable]:
    """:returns: all that can be seen from outside; and in short"""
    gate = Gate(None, **_settings(variant))
    gate.agent.react = lambda call: None if call.header("Ws-Path") == "/early" else call.answer()
    clients = [gate.open_as(handshake_request("/")) for _ in range(2)]
    early = gate.begin("/early")
    asked = gate.agent.last
    if variant & 8:
        clients[1].stall()
    pusher = gate.connect(gate.push_site)
    watch.begin()
    play(gate, pusher, pieces)
    over = pusher.over
    gate.agent.react = lambda call: call.answer()
    asked.answer()
    gate.turn()
    switched, frames_of_early = statuses(early.take())
    assert switched == [101], switched
    if variant & 8:
        clients[1].flow()
    settle(gate, pusher, early, *clients)
    data = pusher.take()
    found, rest = statuses(data, heads=b"HEAD" in b"".join(pieces))
    got = [*(read_frames(client.take()) for client in clients), read_frames(frames_of_early + early.take())]
    for frames in got:
        for each in frames:
            if each.opcode == 1:
                each.payload.decode("utf-8")
    ends = ledger(gate.agent.calls)
    check_rest(gate)
    # That the early one is let in, and the ends of all; what a pusher does is not logged, but for handshakes among it,
    # and what is no push and refused.
    handshakes = b"".join(pieces).lower().count(b"upgrade")
    refused = sum(status >= 400 for status in found)
    lines = watch.check(1 + len(ends) + 2 * handshakes + refused)
    seen = {
        "answers": normalised(data),
        "frames": got,
        "over": over,
        "calls": shown(gate.agent.calls),
        "log": lines,
    }
    return seen, (tuple(found[-3:]), tuple(ends), bool(rest))


def run(data: bytes) -> Hashable:
    """Try an input."""
    variant, cut, stream = parts(data)
    pieces, outcome = _side(variant, slices(stream, cut))
    whole, _ = _side(variant, slices(stream, 0))
    compare(pieces, whole)
    return outcome


def _stream(draw: Draw) -> bytes:
    made = []
    for _ in range(1 + draw.number(4)):
        if draw.chance(0.05):
            made.append(draw.one((b"\r\n", b"\n", b"\r\n\r\n", b"\x16\x03\x01", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")))
        elif draw.chance(0.03):
            made.append(handshake(draw))
        else:
            made.append(request(draw, _PUSHED, _METHODS, _FIELDS))
    return damaged_stream(draw, b"".join(made))


def make(draw: Draw) -> bytes:
    """:returns: an input"""
    return stream_input(draw, _stream)
