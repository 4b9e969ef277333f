"""The gateway is told to stop while its clients send; the API takes what comes, or hangs until the next start."""

from __future__ import annotations

import asyncio
from time import monotonic

from bench.faults.balance import compare
from bench.faults.clients import LOST, close_all, connect_all, sending
from bench.faults.outcome import Outcome
from bench.faults.plan import Plan
from bench.faults.rig import set_up

GOING_AWAY = 1001
DRAIN = 5.0  #: DRAIN_TIMEOUT in seconds where the API hangs, so that all of it is used up
SETTLE_LIMIT = 60.0  #: seconds from the next start to the last DELETE


async def drain(plan: Plan, *, hanging: bool) -> Outcome:
    """
    Stop it with SIGTERM, and start it again.

    :param hanging: whether the API answers nothing meanwhile.
    """
    outcome = Outcome()
    limit = DRAIN if hanging else plan.drain
    settings = {"DRAIN_TIMEOUT": str(int(limit * 1000)), "API_TIMEOUT": "60000"}
    async with set_up(settings, journal=True) as rig:
        clients = await connect_all(rig.port, [f"/sender/{number}" for number in range(plan.clients)])
        async with sending(clients, plan.rate):
            await asyncio.sleep(1.0)
            if hanging:
                await rig.api.script(POST="hang", PUT="hang", DELETE="hang")
                await asyncio.sleep(0.5)
            began = monotonic()
            assert rig.gateway is not None
            status = await rig.gateway.drain(limit + plan.slack)
            seconds = monotonic() - began
        outcome.check(status is not None, f"it still ran {limit + plan.slack:.0f} s after SIGTERM")
        await close_all(clients)
        before = await rig.api.counts()
        await rig.api.script()
        await rig.start()
        counts = await rig.api.quiet(SETTLE_LIMIT)
        outcome.add(
            compare(await rig.api.accounts(), clients, may_end=(GOING_AWAY, LOST) if hanging else (GOING_AWAY,))
        )
        outcome.add(rig.gateway.faults())
    outcome.figures = {
        "clients": len(clients),
        "messages sent": sum(client.sent for client in clients),
        "messages at the API": counts.messages,
        "clients closed with 1001": sum(client.code == GOING_AWAY for client in clients),
        "seconds from SIGTERM to the end": seconds,
        "DELETEs before the end": before.disconnects,
        "DELETEs after the next start": counts.disconnects - before.disconnects,
    }
    if not hanging:
        outcome.check(before.disconnects == len(clients), f"only {before.disconnects} DELETEs came before the end")
    return outcome
