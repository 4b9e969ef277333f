"""PROXY headers, versions 1 and 2, and the handshake behind one: cut anywhere, the client is the same."""

from __future__ import annotations

from collections.abc import Hashable
from ipaddress import ip_address
from socket import AF_INET, AF_INET6, inet_pton
from struct import pack

from fuzz.grammar import damaged_stream
from fuzz.inputs import Draw, parts, slices, stream_input
from fuzz.scene import Differs, check_rest, ledger, play, settle, statuses
from fuzz.watch import watch
from tests.gate import Gate, handshake_request
from wsaas.net.proxy_protocol import MAX_V1, MAX_V2, ProxiedFactory, read_header

_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
_ADDRESSES = (b"192.0.2.7", b"2001:db8::7", b"::ffff:192.0.2.7", b"256.0.0.1", b"1.2.3", b"", b"::%eth0", b"0x7f.1")
_PORTS = (b"443", b"0", b"65535", b"65536", b"99999", b"-1", b"080", b"", b"\xd9\xa3")


def _gateway(pieces: list[bytes]) -> Hashable:
    """:returns: what came of it: statuses, whom the API was told of, and how the connections ended"""
    gate = Gate(WS_MAX_PER_ADDRESS="2")
    gate.agent.react = lambda call: call.answer()
    wire = gate.connect(ProxiedFactory(gate.site))
    watch.begin()
    play(gate, wire, pieces)
    over = wire.over
    settle(gate, wire)
    found, _ = statuses(wire.take())
    clients = []
    for call in gate.agent.calls:
        client = call.header("Ws-Client")
        clients.append(client)
        assert client is None or str(ip_address(client)) == client, client
    ends = ledger(gate.agent.calls)
    watch.check(1 + len(found) + len(ends))
    check_rest(gate)
    return tuple(found), tuple(clients), tuple(ends), over


def run(data: bytes) -> Hashable:
    """Try an input: the header for itself, and some in front of a gateway."""
    variant, cut, stream = parts(data)
    try:
        read = read_header(stream)
    except ValueError as error:
        outcome: Hashable = str(error)
    else:
        outcome = read if read is None else (type(read[0]), 0 < read[1] <= max(MAX_V1, MAX_V2))
        if read is not None:
            assert read[1] <= len(stream), "more than there is"
            _same_for_any_end(stream, read)
    if variant % 4:
        return outcome
    whole = _gateway(slices(stream, 0))
    split = _gateway(slices(stream, cut))
    if whole != split:
        raise Differs(f"proxied:\n  {whole!r}\n  {split!r}")
    return outcome, whole[:1] if isinstance(whole, tuple) else whole


def _same_for_any_end(stream: bytes, read: tuple[object, int]) -> None:
    """What is behind a header makes no difference to it, and no part of it is one."""
    assert read_header(stream[: read[1]]) == read, "what is behind it counts"
    for end in {0, 1, 5, 6, 12, 13, 15, 16, read[1] // 2, read[1] - 1}:
        if end < read[1]:
            assert read_header(stream[:end]) is None, f"{end} bytes are enough"


def _v1(draw: Draw) -> bytes:
    family = draw.one((b"TCP4", b"TCP4", b"TCP6", b"UNKNOWN", b"TCP", b"tcp4"))
    plain = draw.chance(0.5)
    if plain and family in (b"TCP4", b"TCP6"):
        address = b"192.0.2.7" if family == b"TCP4" else b"2001:db8::7"
        words = [address, address, b"50000", b"443"]
    else:
        words = [draw.one(_ADDRESSES), draw.one(_ADDRESSES), draw.one(_PORTS), draw.one(_PORTS)][
            : draw.one((4, 4, 0, 3))
        ]
    return b" ".join([b"PROXY", family, *words]) + draw.one((b"\r\n",) * 6 + (b"\n", b" \r\n", b"a" * 90 + b"\r\n"))


def _v2(draw: Draw) -> bytes:
    command = draw.one((0x21, 0x21, 0x21, 0x20, 0x22, 0x11))
    family = draw.one((0x11, 0x11, 0x21, 0x31, 0x00, 0x12, 0x41, 0xFF))
    four, six = inet_pton(AF_INET, "192.0.2.7"), inet_pton(AF_INET6, draw.one(("2001:db8::7", "::ffff:1.2.3.4", "::")))
    addresses = {1: four * 2 + pack("!HH", 50000, 443), 2: six * 2 + pack("!HH", 1, 2), 3: b"/x".ljust(216, b"\0")}
    body = addresses.get(family >> 4, b"") + draw.one((b"", b"", b"\x03\x00\x04abcd", b"a" * 300, b"a" * 4060))
    size = len(body) if draw.chance(0.85) else draw.number(0xFFFF)
    return _V2 + pack("!BBH", command, family, size) + body


def _stream(draw: Draw) -> bytes:
    header = damaged_stream(draw, _v1(draw) if draw.chance(0.5) else _v2(draw), 0.4)
    if draw.chance(0.05):
        header += _v1(draw)
    return header + (handshake_request("/chat") if draw.chance(0.6) else b"")


def make(draw: Draw) -> bytes:
    """:returns: an input"""
    return stream_input(draw, _stream)
