"""What clients send on ``WS_LISTEN``, from the first byte on: where segments end makes no difference."""

from __future__ import annotations

from collections.abc import Hashable

from fuzz.grammar import TARGETS, damaged_stream, frames, handshake, request
from fuzz.inputs import Draw, parts, slices, stream_input
from fuzz.scene import check_rest, compare, ledger, normalised, play, settle, shown, statuses
from fuzz.watch import watch
from tests.gate import ApiCall, Gate

#: How the API answers a POST, by the lowest bits of the variant.
_ANSWERS: tuple[tuple[int, bytes, tuple[tuple[str, str], ...]], ...] = (
    (200, b'{"code": "OK"}', ()),
    (200, b'{"code": "OK"}', (("Ws-State", "s"), ("Ws-Reply", "text"))),
    (200, b'{"code": "OK"}', (("Ws-Close", "4000 go"),)),
    (401, b"", (("WWW-Authenticate", 'Basic realm="a"'), ("Retry-After", "7"))),
)


def _settings(variant: int) -> dict[str, str]:
    return {
        "WS_MAX_MESSAGE": "1000",
        "WS_MAX_BUFFER": "4000",
        "WS_COMPRESSION": "on" if variant & 4 else "off",
        "WS_ORIGINS": "https://good.test same" if variant & 8 else "*",
        "TRUST_PROXY": "2" if variant & 16 else "0",
        "WS_MAX_PER_ADDRESS": "3" if variant & 32 else "0",
        # With proxies, as long heads as can be.
        **({"WS_MAX_TARGET": "16384", "WS_MAX_HEADERS": "32768"} if variant & 16 else {}),
        **({"PUSH_LISTEN": "tcp:1"} if variant & 64 else {}),
        **({"PUSH_TOKEN": "right"} if variant & 128 else {}),
        "API_HEADERS": "A: b",
        "FORWARD_HEADERS": "Authorization, Sec-WebSocket-Protocol, Accept",
    }


def _side(variant: int, pieces: list[bytes]) -> tuple[dict[str, object], Hashable]:
    """:returns: all that can be seen from outside; and in short"""
    refused: list[ApiCall] = []
    gate = Gate(None, **_settings(variant))

    def react(call: ApiCall) -> None:
        status, body, headers = _ANSWERS[variant & 3] if call.method == "POST" else (200, b"", ())
        if status >= 400:
            refused.append(call)
        call.answer(status, body, *headers)

    gate.agent.react = react
    wire = gate.connect()
    watch.begin()
    play(gate, wire, pieces)
    over = wire.over
    settle(gate, wire)
    data = wire.take()
    ends = ledger(gate.agent.calls, refused)
    heads = b"HEAD" in b"".join(pieces)
    found, rest = statuses(data, heads)
    # A line for each answer, one for the end of a connection, and one where the API leaves browsers without a choice.
    told = sum(call.method == "DELETE" or _offers_several(call) for call in gate.agent.calls)
    lines = watch.check(len(found) + told)
    check_rest(gate)
    seen = {"answers": normalised(data), "over": over, "calls": shown(gate.agent.calls), "log": lines}
    return seen, (tuple(found[-2:]), tuple(ends), bool(rest))


def _offers_several(call: ApiCall) -> bool:
    return call.method == "POST" and "," in ",".join(call.headers.getRawHeaders("Sec-WebSocket-Protocol", []))


def run(data: bytes) -> Hashable:
    """Try an input."""
    variant, cut, stream = parts(data)
    pieces, outcome = _side(variant, slices(stream, cut))
    # With compression, how far a message of too many bytes is inflated depends on how much of it had come.
    if not variant & 4:
        whole, _ = _side(variant, slices(stream, 0))
        compare(pieces, whole)
    return outcome


def _stream(draw: Draw) -> bytes:
    kind = draw.random.random()
    if kind < 0.75:
        first = handshake(draw)
    elif kind < 0.95:
        methods = (b"GET", b"PUT", b"HEAD", b"POST", b"DELETE", b"OPTIONS")
        first = request(draw, TARGETS, methods) + (handshake(draw) if draw.chance(0.5) else b"")
    else:
        first = draw.noise(40)
    behind = frames(draw) if draw.chance(0.5) else b""
    return damaged_stream(draw, first) + behind


def make(draw: Draw) -> bytes:
    """:returns: an input"""
    return stream_input(draw, _stream)
