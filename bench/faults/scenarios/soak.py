"""Millions of messages and hundreds of thousands of connections through one process: nothing may grow."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from statistics import median
from time import monotonic

from bench.faults.balance import compare
from bench.faults.clients import Client, close_all, connect, connect_all
from bench.faults.gauges import can_be_read, endpoint, left_over
from bench.faults.hostile import Watch
from bench.faults.outcome import Outcome
from bench.faults.plan import Plan
from bench.faults.rig import Rig, set_up
from bench.ports import free_port

SENDERS = 100
BURST = 8  #: messages that a client sends in one go
AHEAD = 32  #: messages that a client may be ahead of what has come back
VISITORS = 32  #: at a time
VISIT_MESSAGES = 2
SAMPLES = 400  #: at most
MIB = 2**20
SETTLE_LIMIT = 10.0  #: seconds after which nothing may be left

#: How much more there may be in the last fifth than in the second one, in MiB, descriptors and threads.
NOISE = {"process, MiB": 3.0, "kernel, MiB": 2.0, "descriptors": 40.0, "threads": 0.0}
ENOUGH = 50  #: samples below which nothing is said about growth


async def soak(plan: Plan) -> Outcome:
    """Run it, and compare the end with the beginning."""
    outcome = Outcome()
    settings, admin = {"API_MAX_REQUESTS": "64"}, free_port()
    if can_be_read():
        settings["ADMIN_LISTEN"] = endpoint(admin)
    async with set_up(settings, journal=True) as rig:
        await rig.api.script(PUT="echo")
        began = monotonic()
        every = max(0.1, (plan.messages / 10_000 + plan.visits / 2_000) / SAMPLES)
        async with Watch(rig, every) as watch:
            clients = await _work(rig, plan)
            seconds = monotonic() - began
        await close_all(clients)
        counts = await rig.api.quiet(60)
        outcome.add(compare(await rig.api.accounts(), clients))
        if can_be_read():
            outcome.add(await left_over(admin, SETTLE_LIMIT))
        assert rig.gateway is not None
        outcome.add(rig.gateway.faults())
    outcome.at = watch.at
    outcome.series = {
        "process, MiB": [sample.process / MIB for sample in watch.samples],
        "kernel, MiB": [sample.kernel / MIB for sample in watch.samples],
        "descriptors": [float(sample.descriptors) for sample in watch.samples],
        "threads": [float(sample.threads) for sample in watch.samples],
    }
    outcome.figures = {
        "messages": counts.messages,
        "connections": counts.granted,
        "seconds": seconds,
        "calls repeated": counts.repeats,
        "DELETEs missing": counts.owed,
    }
    for name, values in outcome.series.items():
        more = growth(values)
        outcome.figures[f"growth: {name}"] = more
        outcome.check(
            more <= NOISE[name] or len(values) < ENOUGH,
            f"{name}: {more:.1f} more at the end, of {NOISE[name]} that are noise",
        )
    outcome.check(counts.messages >= plan.messages, f"only {counts.messages} messages came")
    outcome.check(counts.granted >= plan.visits, f"only {counts.granted} connections were made")
    return outcome


def growth(values: Sequence[float]) -> float:
    """How much the median of the last fifth is above that of the second; the first one is the warming up."""
    fifth = len(values) // 5
    if not fifth:
        return 0.0
    # What was taken and given back within the end, as the clients leave, is no growth.
    return median(values[-fifth - 1 : -1]) - median(values[fifth : 2 * fifth])


async def _work(rig: Rig, plan: Plan) -> list[Client]:
    """
    Messages of some clients that stay, and visits of others, side by side and ending about together.

    :returns: those that stay.
    """
    senders = await connect_all(rig.port, [f"/sender/{number}" for number in range(min(SENDERS, plan.messages))])
    visits = iter(range(plan.visits))
    visited = 0

    async def visit(name: int) -> None:
        nonlocal visited
        for number in visits:
            client = await connect(rig.port, f"/visitor/{number}", source=name)
            await client.send(VISIT_MESSAGES)
            await client.close()
            visited += 1

    async def send(client: Client, count: int) -> None:
        room = asyncio.Event()

        def heard(_: bytes) -> None:
            if client.sent - client.received <= AHEAD - BURST:
                room.set()

        client.on_message = heard
        while client.sent < count and client.is_open:
            # Nobody runs ahead of the visits: both last to the end.
            if client.sent * plan.visits > (visited + plan.visits / 50 + VISITORS) * count:
                await asyncio.sleep(0.01)
                continue
            await client.send(min(BURST, count - client.sent))
            if client.sent - client.received > AHEAD - BURST:
                room.clear()
                await room.wait()
        while client.received < client.sent and client.is_open:
            await asyncio.sleep(0.01)

    share = -(-plan.messages // len(senders))
    await asyncio.gather(*(send(client, share) for client in senders), *(visit(number) for number in range(VISITORS)))
    return senders
