"""The API is down, or answers as no API should, while clients send numbered messages."""

from __future__ import annotations

import asyncio
from collections import Counter
from time import monotonic

from bench.faults.answers import UNUSABLE
from bench.faults.balance import GIVEN_UP, compare
from bench.faults.clients import Client, RefusedError, close_all, connect, connect_all, sending
from bench.faults.outcome import Outcome
from bench.faults.plan import Plan
from bench.faults.rig import Rig, set_up

DOWN = "down"  #: no answer in a script: connections are refused

#: By the end of a scenario's name, what the API does to every call.
FAULTS = {
    "down": DOWN,
    "500": "status:500",
    "503": "retry:1",
    "hanging": "hang",
    "cut": "cut",
    "closing": "hang-up",
    "resetting": "reset",
    "garbage": "garbage",
    "endless": "endless",
}

LEAVERS = 10  #: one client in so many leaves in order while the API is broken, and as many try to come
PATIENT = "60000"  #: API_RETRY_FOR in ms that outlasts everything here
TIMEOUT = "1000"  #: API_TIMEOUT in ms: shorter than any fault
SETTLE_LIMIT = 90.0  #: seconds from the end of the fault to the last DELETE


async def outage(plan: Plan, fault: str, *, patient: bool) -> Outcome:
    """
    Break the API, and mend it.

    :param fault: one of :data:`FAULTS`.
    :param patient: whether the gateway tries for longer than it lasts; else it gives up within a quarter of that.
    """
    outcome = Outcome()
    seconds = plan.outage if fault == "down" else plan.fault
    retry_for = PATIENT if patient else str(int(seconds * 250))
    may_end = () if patient and FAULTS[fault] not in UNUSABLE else GIVEN_UP
    async with set_up({"API_TIMEOUT": TIMEOUT, "API_RETRY_FOR": retry_for, "WS_TIMEOUT": "20000"}) as rig:
        clients = await connect_all(rig.port, [f"/sender/{number}" for number in range(plan.clients)])
        async with sending(clients, plan.rate):
            await asyncio.sleep(min(1.0, seconds))
            visitors, statuses = await _broken(rig, clients, fault, seconds)
            mended = monotonic()
            await asyncio.sleep(min(1.0, seconds))
        # Clients that came meanwhile count like the others.
        clients += visitors
        sent = sum(client.sent for client in clients)
        if not may_end:
            await rig.api.until(lambda counts: counts.messages >= sent, SETTLE_LIMIT)
            outcome.figures["seconds until all had come"] = monotonic() - mended
        await close_all(clients)
        counts = await rig.api.quiet(SETTLE_LIMIT)
        ends = Counter(client.code for client in clients if not client.closed_by_us)
        outcome.add(compare(await rig.api.accounts(), clients, may_end=may_end))
        assert rig.gateway is not None
        outcome.add(rig.gateway.faults())
    outcome.figures |= {
        "clients": len(clients),
        "messages sent": sent,
        "messages at the API": counts.messages,
        "calls repeated": counts.repeats,
        "handshakes refused meanwhile": sum(statuses.values()),
    }
    outcome.figures |= {f"connections closed with {code}": ends[code] for code in GIVEN_UP if ends[code]}
    outcome.check(counts.messages > 0, "no message came at all")
    # An API that refuses messages for good (500) or is slow to hang up keeps its clients.
    if not patient and fault in ("down", "503", "hanging", "cut", "resetting"):
        outcome.check(ends[1013] > 0, "nobody was given up, so nothing was tried")
    return outcome


async def _broken(rig: Rig, clients: list[Client], fault: str, seconds: float) -> tuple[list[Client], Counter[int]]:
    """
    The time in which the API is broken.

    :returns: the clients that came all the same, and with which statuses the others were refused.
    """
    if fault == "down":
        await rig.api.order("down")
    else:
        await rig.api.script(**dict.fromkeys(("POST", "PUT", "DELETE"), FAULTS[fault]))
    visitors: list[Client] = []
    statuses: Counter[int] = Counter()

    async def come(number: int) -> None:
        try:
            visitors.append(await connect(rig.port, f"/visitor/{number}"))
        except RefusedError as refused:
            statuses[refused.status] += 1

    leavers = clients[::LEAVERS]
    tasks: list[asyncio.Future[object]] = [asyncio.ensure_future(come(number)) for number in range(len(leavers))]
    tasks += [asyncio.ensure_future(client.close()) for client in leavers]
    await asyncio.sleep(seconds)
    if fault == "down":
        await rig.api.order("up")
    else:
        await rig.api.script()
    await asyncio.wait(tasks)
    return visitors, statuses
