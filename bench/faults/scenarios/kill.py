"""The gateway is killed with all its connections, in the midst of others that come and go, and started again."""

from __future__ import annotations

import asyncio
import random
from time import monotonic

from bench.faults.balance import compare
from bench.faults.clients import LOST, Client, RefusedError, connect, connect_all
from bench.faults.outcome import Outcome
from bench.faults.plan import Plan
from bench.faults.rig import Rig, set_up

PAY_LIMIT = 60.0  #: seconds from the start to the last DELETE
LONGEST_STORM = 2.0  #: seconds
SEED = 11


async def kill(plan: Plan) -> Outcome:
    """Kill and start again and again; each time the ledger has to balance."""
    outcome = Outcome()
    dice = random.Random(SEED)  # nosec B311  # for a load, not for secrets
    owed = paid = repeats = 0
    longest = 0.0
    async with set_up({"WS_TIMEOUT": "60000"}, journal=True) as rig:
        for number in range(plan.kills):
            clients = await connect_all(rig.port, [f"/{number}/steady/{i}" for i in range(plan.open)])
            clients += await _storm(rig, plan, number, dice)
            # What the API knows to be open; a POST may be on its way besides.
            await asyncio.sleep(0.1)
            owed += (before := await rig.api.counts()).owed
            began = monotonic()
            await rig.start()
            counts = await rig.api.until(lambda counts: not counts.owed, PAY_LIMIT)
            # Those that were settled but not noted come once more.
            await rig.api.quiet(PAY_LIMIT, still=0.5)
            longest = max(longest, monotonic() - began)
            paid += before.owed - counts.owed
            repeats += counts.repeats
            outcome.add(
                [f"kill {number + 1}: {line}" for line in compare(await rig.api.accounts(), clients, may_end=(LOST,))]
            )
            assert rig.gateway is not None
            outcome.add(rig.gateway.faults())
            await rig.api.order("forget")
    outcome.figures |= {
        "kills": plan.kills,
        "connections open at each": plan.open,
        "DELETEs owed at the kills": owed,
        "DELETEs paid after them": paid,
        "calls repeated": repeats,
        "seconds from the start to the last DELETE, at most": longest,
    }
    outcome.check(owed >= plan.kills * plan.open, f"only {owed} connections were open")
    return outcome


async def _storm(rig: Rig, plan: Plan, number: int, dice: random.Random) -> list[Client]:
    """
    Let clients come and go, and kill the gateway at a random moment of that.

    :returns: those that had their 101.
    """
    assert rig.gateway is not None
    clients: list[Client] = []
    over = False

    async def visit(name: int) -> None:
        visits = 0
        while not over:
            visits += 1
            try:
                client = await connect(rig.port, f"/{number}/storm/{name}/{visits}", source=name)
            except (RefusedError, OSError):
                continue
            clients.append(client)
            await client.send(dice.randrange(3))
            if dice.random() < 0.3:
                client.drop()
            elif dice.random() < 0.9:
                await client.close()

    tasks = [asyncio.ensure_future(visit(name)) for name in range(plan.storm)]
    await asyncio.sleep(dice.uniform(0.1, LONGEST_STORM))
    over = True
    await asyncio.to_thread(rig.gateway.kill)
    await asyncio.gather(*tasks)
    return clients
