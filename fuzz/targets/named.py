"""What is asked for by name: cut anywhere, it is answered alike; counts add up."""

from __future__ import annotations

import json
from collections.abc import Hashable

from fuzz.grammar import damaged_stream, request
from fuzz.inputs import Draw, parts, slices, stream_input
from fuzz.scene import check_rest, compare, ledger, normalised, numbered, play, settle, shown, statuses
from fuzz.watch import watch
from tests.gate import Gate, handshake_request, read_frames
from wsaas.connections.identity import tag_of

#: The keys of three clients, and one that nobody has.
KEYS = [numbered("", number).key.encode() for number in (1, 2, 3, 9)]
_TAGS = [tag_of(key.decode()).encode() for key in KEYS]
#: As they may stand in a path, good or bad.
_NAMES = (
    *(b"a",) * 6,
    *(b"b%20%C3%A9",) * 3,
    b"all",
    b"members",
    b"groups",
    KEYS[0],
    b"",
    b"..",
    b"%2e",
    b"%00",
    b"%ff",
    b"a,b",
    b"*",
    b"a" * 65,
    b"\x80",
    b"%F0%9F%90%8E" * 64,
    b"../all",
    b"x/all",
)
_FORMS = (
    *(b"/groups/%n", b"/users/%n", b"/all") * 4,
    b"/groups/%n/members?limit=%l",
    b"/users/%n/members?after=%t&limit=1",
    b"/all/members?ws_uri=1&limit=%l",
    b"/all/members?x=%n",
    b"/groups/%n?code=400%l&reason=%n",
    b"/users/%n/groups/%n",
    b"/%k/groups/%n",
    b"/%k/groups/%n",
    b"/%k/groups",
    b"/gw/v1/all",
    b"/%k",
    b"/batch",
    b"/batch",
    b"http://groups/%k",
    b"/groups/%n/groups/%n",
)
_FIELDS = (
    *(b"Authorization: Bearer publish\r\n",) * 8,
    b"Authorization: Bearer push\r\n",
    b"Content-Type: image/png\r\n",
    b"Ws-Except: %t\r\n",
    b"Ws-Except: %t-1, %t-end,, \r\n",
    b"Ws-Except: self\r\n",
    b"Ws-Slow: skip\r\n",
    b"Ws-Slow: close\r\n",
    b"Ws-Slow: wait\r\n",
    b"Ws-Confirm: 1000\r\n",
    b"Idempotency-Key: a\r\n",
    b"Expect: 100-continue\r\n",
    b"Upgrade: websocket\r\n",
)
_METHODS = (b"PUT",) * 10 + (b"POST",) * 6 + (b"GET",) * 4 + (b"DELETE",) * 3 + (b"HEAD", b"OPTIONS", b"put")
_LINES = (
    *(b'{"to": "groups/a", "text": "x"}', b'{"to": ["all", "%k"], "base64": "/w=="}') * 3,
    b'{"to": ["users/b \xc3\xa9", "groups/%n", "http://h/%k"], "text": "x", "except": ["%t-1"], "slow": "skip"}',
    b'{"to": "%k", "text": "%n"}',
    b'{"to": [], "text": "x"}',
    b'{"to": "all", "text": "\\ud800"}',
    b'{"to": "all", "text": "x", "text": "y"}',
    b'{"to": "all", "base64": "x"}',
    b"[" * 2000,
    b"",
    b"\xff",
)


def _settings(variant: int) -> dict[str, str]:
    return {
        "WS_MAX_MESSAGE": "64",
        "WS_MAX_BUFFER": "200",
        "WS_MAX_GROUPS": "3",
        "PUSH_MAX_BATCH": "1024",
        **({} if variant & 1 else {"PUBLISH_TOKEN": "publish"}),
        **({"PUSH_TOKEN": "push"} if variant & 2 else {}),
        **({"PUSH_LISTEN": "tcp:1"} if variant & 4 else {}),
    }


def _check_counts(answers: list[dict[str, object]]) -> None:
    """They always add up."""
    for answer in answers:
        if "sent" in answer:
            names = ("sent", "held", "skipped", "closed", "except")
            assert answer["members"] == sum(int(str(answer[name])) for name in names), answer


def _side(variant: int, pieces: list[bytes]) -> tuple[dict[str, object], Hashable]:
    """:returns: all that can be seen from outside; and in short"""
    gate = Gate(None, **_settings(variant))
    gate.agent.react = lambda call: call.answer()
    clients = []
    for groups, user in ((("a",), "b \xe9"), (("a", "b \xe9"), None), ((), None)):
        clients.append(gate.open_as(handshake_request("/")))
        gate.groups.join(gate.connection, groups)
        gate.groups.set_user(gate.connection, user)
    if variant & 8:
        clients[1].stall()
    pusher = gate.connect(gate.push_site)
    watch.begin()
    play(gate, pusher, pieces)
    gate.turn(8)
    over = pusher.over
    if variant & 8:
        clients[1].flow()
    settle(gate, pusher, *clients)
    data = pusher.take()
    stream = b"".join(pieces)
    found, rest = statuses(data, heads=b"HEAD" in stream)
    if b"HEAD" not in stream:
        for part in data.split(b"\r\n\r\n")[1:]:
            line = part.partition(b"\n")[0]
            if line.startswith(b"{"):
                answer = json.loads(line)
                _check_counts([answer, *answer.get("results", [])])
    got = [read_frames(client.take()) for client in clients]
    ends = ledger(gate.agent.calls)
    check_rest(gate)
    handshakes = stream.lower().count(b"upgrade")
    lines = watch.check(2 + len(ends) + 2 * handshakes + sum(status >= 400 for status in found))
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


def _filled(draw: Draw, text: bytes) -> bytes:
    """:returns: a text with names, keys, tags and limits in it"""
    for mark, choices in ((b"%k", KEYS), (b"%t", _TAGS), (b"%n", _NAMES), (b"%l", (b"1", b"2", b"0", b"1001", b"x"))):
        while mark in text:
            text = text.replace(mark, draw.one(choices), 1)
    return text


def _stream(draw: Draw) -> bytes:
    made = []
    for _ in range(1 + draw.number(4)):
        target = _filled(draw, draw.one(_FORMS))
        if target == b"/batch" and draw.chance(0.8):
            body = b"\n".join(_filled(draw, draw.one(_LINES)) for _ in range(draw.number(5)))
            head = b"POST /batch HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer publish\r\nContent-Length: %d\r\n\r\n"
            made.append(head % len(body) + body)
        else:
            fields = tuple(_filled(draw, field) for field in _FIELDS)
            made.append(request(draw, (target,), _METHODS, fields))
    return damaged_stream(draw, b"".join(made))


def make(draw: Draw) -> bytes:
    """:returns: an input"""
    return stream_input(draw, _stream)
