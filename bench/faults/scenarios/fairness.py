"""A hundred attackers at once: how much slower it gets for those that are honest."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from statistics import median
from time import monotonic

from bench.faults.clients import Client, close_all, connect_all
from bench.faults.hostile import attacked
from bench.faults.outcome import Outcome, percentile
from bench.faults.plan import Plan
from bench.faults.rig import Rig, set_up
from bench.faults.scenarios.memory import push_all

RATE = 10.0  #: messages a second of each honest client
SHORTEST = 0.001  #: seconds: below this, a p99 says more about the one who measures
SETTLE = 2.0  #: seconds for the attackers to get going
LATEST = 10.0  #: seconds for an echo, at the end
SEED = 7

PUSHES = 400  #: a second
PUSHED = 8192  #: bytes of each


async def fairness(plan: Plan, kind: str) -> Outcome:
    """Measure echoes through the API, in turn without and with attackers of a kind."""
    outcome = Outcome()
    settings = {"WS_COMPRESSION": "on" if kind == "bombing" else "off"}
    calm: list[float] = []
    attacks: list[float] = []
    async with set_up(settings) as rig:
        await rig.api.script(PUT="echo")
        clients = await connect_all(rig.port, [f"/honest/{number}" for number in range(plan.honest)])
        await latencies(clients, plan.measured / 4)
        pushed = kind == "deaf"
        for _ in range(plan.rounds):
            async with pushing(rig, "/honest" if pushed else None):
                await asyncio.sleep(SETTLE)
                calm.append(percentile(await latencies(clients, plan.measured), 0.99))
            attack = attacked(rig, kind, plan.attackers, plan.measured + LATEST + 2 * SETTLE)
            async with attack, pushing(rig, "/attacker" if pushed else None):
                await asyncio.sleep(SETTLE)
                attacks.append(percentile(await latencies(clients, plan.measured), 0.99))
        outcome.check(all(client.is_open for client in clients), "honest clients were thrown out")
        await close_all(clients)
        assert rig.gateway is not None
        outcome.add(rig.gateway.faults())
    # The lowest: what an attack leaves behind would count as calm.
    ratio = median(attacks) / max(min(calm), SHORTEST)
    outcome.figures = {
        "attackers": plan.attackers,
        "honest clients": plan.honest,
        "ms, p99 without attackers": min(calm) * 1000,
        "ms, p99 with them": median(attacks) * 1000,
        "times as long": ratio,
    }
    outcome.check(ratio <= plan.slower, f"the p99 of the honest is {ratio:.1f} times as long, of {plan.slower:g}")
    return outcome


async def latencies(clients: Sequence[Client], seconds: float) -> list[float]:
    """
    Have clients send at random moments.

    :returns: seconds from when a message was due to its echo; of one that never came, to the end.
    """
    found: list[float] = []
    dice = random.Random(SEED)  # nosec B311  # for a load, not for secrets
    deadline = monotonic() + seconds

    async def talk(client: Client, seed: int) -> None:
        due: dict[bytes, float] = {}

        def heard(payload: bytes) -> None:
            # One of an earlier measurement may come late; there it was counted.
            if (at := due.pop(payload.partition(b":")[0], None)) is not None:
                found.append(monotonic() - at)

        client.on_message = heard
        dice = random.Random(seed)  # nosec B311  # for a load, not for secrets
        at = monotonic() + dice.expovariate(RATE)
        while at < deadline and client.is_open:
            await asyncio.sleep(max(0.0, at - monotonic()))
            due[b"%d" % (client.sent + 1)] = at
            await client.send(1, 64)
            at += dice.expovariate(RATE)
        until = monotonic() + LATEST
        while due and client.is_open and monotonic() < until:
            await asyncio.sleep(0.02)
        found.extend(monotonic() - at for at in due.values())

    await asyncio.gather(*(talk(client, dice.randrange(2**32)) for client in clients))
    return found


@asynccontextmanager
async def pushing(rig: Rig, to: str | None) -> AsyncIterator[None]:
    """
    Push meanwhile: to those that never read, and, so that it makes no difference, to the honest when they are alone.

    :param to: how the paths of those begin who are pushed to; None: nobody is.
    """

    async def push() -> None:
        await asyncio.sleep(SETTLE / 2)
        accounts = await rig.api.accounts(only_open=True)
        uris = [account.uri for account in accounts if account.client.startswith(to or "")]
        while uris:
            began = monotonic()
            await push_all(rig.port, uris[: PUSHES // 10], 1, PUSHED)
            uris = uris[PUSHES // 10 :] + uris[: PUSHES // 10]
            await asyncio.sleep(max(0.0, began + 0.1 - monotonic()))

    task = asyncio.ensure_future(push() if to else asyncio.sleep(0))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
