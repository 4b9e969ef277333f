"""A gateway in memory, how bytes are played to it, and what must hold when all is over."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tests.gate import ApiCall, Gate, Wire, read_answer
from wsaas.connections.identity import Identity, new_identity
from wsaas.net.http1.connection import REFUSED_PAUSE

#: Seconds that are let pass at the end, step by step: beyond every deadline of a client and of a call.
LATE = (0.0, 3.0, 31.0, 31.0, 31.0)

_HEAD = re.compile(rb"HTTP/1\.[01] [0-9]{3} .*?\r\n\r\n", re.DOTALL)


def numbered(hostname: str, number: int) -> Identity:
    """:returns: the names that :class:`tests.gate.Gate` gives to a connection, the first one being 1"""
    return new_identity(hostname, lambda count: number.to_bytes(count, "big"))


def normalised(data: bytes) -> bytes:
    """:returns: answers without Date and Server, which twisted.web adds, and with the header lines sorted"""

    def sort(match: re.Match[bytes]) -> bytes:
        status, *lines = match[0].split(b"\r\n")[:-2]
        lines = sorted(line for line in lines if not line.lower().startswith((b"date:", b"server:")))
        return b"\r\n".join([status, *lines]) + b"\r\n\r\n"

    return _HEAD.sub(sort, data) if b"HTTP/1." in data else data


#: Pauses behind refused requests in one input, at most.
_TURNS = 10


def play(gate: Gate, wire: Wire, pieces: Iterable[bytes], wait: float = 6.0) -> None:
    """Send pieces, as long as the gateway does not end the connection.

    :param wait: seconds that pass then, after what waited behind refused requests had its turn: who was told to go and
        does not is cut off
    """
    for piece in pieces:
        if wire.over:
            break
        wire.deliver(piece)
        gate.turn(1)
    gate.turn(2)
    if wait:
        for _ in range(_TURNS):
            gate.clock.advance(REFUSED_PAUSE)
    gate.clock.advance(wait)
    gate.turn(2)


def settle(gate: Gate, *wires: Wire, finish: Callable[[], object] = lambda: None) -> None:
    """Let everybody leave, and time pass until nothing can be left.

    :param finish: answers what the API still has to answer; called after each step
    """
    for wire in wires:
        wire.end()
    finish()
    for seconds in LATE:
        gate.clock.advance(seconds)
        finish()
        if not gate.clock.getDelayedCalls():
            break


def statuses(data: bytes, heads: int = 0) -> tuple[list[int], bytes]:
    """Read what a peer got that spoke HTTP.

    :param heads: whether it asked with HEAD, so that answers may have no body
    :returns: the statuses of the answers, all of them whole; and what follows a 101
    """
    found = []
    while data:
        if heads:
            head, _, rest = data.partition(b"\r\n\r\n")
            if not rest or rest.startswith(b"HTTP/1."):
                found.append(read_answer(head + b"\r\n\r\n", head_only=True)[0].status)
                data = rest
                continue
        answer, data = read_answer(data)
        found.append(answer.status)
        if answer.status == 101:
            break
    assert 500 not in found, "a fault of the gateway"
    return found, data


def shown(calls: Iterable[ApiCall]) -> list[object]:
    """:returns: calls to the API as values

    When each was made is left out, and in which words a Close was put: that may depend on how much had come.
    """
    return [
        (
            call.method,
            sorted(
                field
                for field in call.headers.getAllRawHeaders()
                if field[0] not in (b"Ws-Timestamp", b"Ws-Close-Reason")
            ),
            call.body,
        )
        for call in calls
    ]


def ledger(calls: Iterable[ApiCall], refused: Sequence[ApiCall] = ()) -> list[str]:
    """Check what an API was called with (protocol §2.1): the POST, the PUTs in order, then one DELETE.

    :param refused: those POSTs that were refused; every other call must have been answered with OK
    :returns: for each connection, how it ended, as the DELETE says
    """
    accounts: dict[str, list[ApiCall]] = {}
    for call in calls:
        accounts.setdefault(call.header("Ws-Uri") or "", []).append(call)
    ends = []
    for uri, of_one in accounts.items():
        methods = [call.method for call in of_one]
        numbers = [(call.header("Ws-Id") or "").rpartition("-")[2] for call in of_one]
        if methods == ["POST"] and of_one[0] in refused:
            ends.append("refused")
            continue
        puts = len(of_one) - 2
        if methods != ["POST", *["PUT"] * puts, "DELETE"]:
            raise AssertionError(f"{uri} had {methods}")
        if numbers != [*map(str, range(puts + 1)), "end"]:
            raise AssertionError(f"{uri} had {numbers}")
        end = of_one[-1]
        code, by = end.header("Ws-Close-Code") or "", end.header("Ws-Closed-By")
        if not 1000 <= int(code) <= 4999:
            raise AssertionError(f"{uri} closed with {code}")
        ends.append(f"{code} {by}")
    return ends


class Differs(AssertionError):
    """What may make no difference made one."""


def compare(one: dict[str, object], other: dict[str, object]) -> None:
    """See that two sides show the same.

    :param one: what can be seen of it, by name
    """
    for name, seen in one.items():
        if seen != other[name]:
            raise Differs(f"{name}:\n  {seen!r}\n  {other[name]!r}")


def check_rest(gate: Gate) -> None:
    """Nobody is here: nothing is kept, nothing is owed, no timer runs."""
    registry, totals, budgets = gate.registry, gate.totals, gate.budgets
    left: dict[str, Any] = {
        "connections": len(registry),
        "unsettled": totals.pending.number,
        "addressed": registry.addressed,
        "asking": totals.asking,
        "open": totals.counts.open,
        "paused": totals.counts.paused,
        "addresses": len(totals.addresses),
        "slots": gate.slots.held,
        "outgoing": budgets.outgoing.used,
        "incoming": budgets.incoming.used,
        "partial": budgets.partial.used,
        "bodies": budgets.bodies.used,
        "requests awaited": gate.site.awaited + gate.push_site.awaited,
        "lingering": len(gate.site.lingering) + len(gate.push_site.lingering),
        "debts": gate.disconnects.waiting,
        "timers": len(gate.clock.getDelayedCalls()),
    }
    left = {name: count for name, count in left.items() if count}
    if left:
        raise AssertionError(f"left over: {left}, {gate.clock.getDelayedCalls()}")
