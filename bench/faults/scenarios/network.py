"""A bad network, between clients and gateway or between gateway and API, while clients send numbered messages."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import monotonic

from bench.faults.balance import compare
from bench.faults.clients import LOST, close_all, connect_all, sending
from bench.faults.outcome import Outcome
from bench.faults.plan import Plan
from bench.faults.proxy import WELL, Fault, Proxy, Then
from bench.faults.rig import set_up

TIMEOUT = "1000"  #: API_TIMEOUT in ms: shorter than any hole
SETTLE_LIMIT = 60.0  #: seconds from the end of the fault to the last DELETE
MESSAGE = 200  #: bytes, so that most cuts fall into a frame


@dataclass(frozen=True)
class Weather:
    """
    A fault and what it may do.

    :param clients: a share of the clients, as some faults take the proxy's whole time.
    :param ends: whether it may end the connections of clients where it is on their leg.
    """

    fault: Fault
    clients: float = 1.0
    ends: bool = False


WEATHERS = {
    "latency": Weather(Fault(latency=0.1)),
    "slices": Weather(Fault(slices=True), clients=0.05),
    "bandwidth": Weather(Fault(bandwidth=4000), clients=0.5),
    "hole": Weather(Fault(hole=True)),
    "cut": Weather(Fault(share=(300, 2000), then=Then.END), ends=True),
    "reset": Weather(Fault(share=(300, 2000), then=Then.RESET), ends=True),
    "half-open": Weather(Fault(share=(300, 2000), then=Then.SILENCE), ends=True),
}
LEGS = ("clients", "api")


async def network(plan: Plan, leg: str, weather: Weather) -> Outcome:
    """
    Have a leg go bad, and well again.

    :param leg: which; one of :data:`LEGS`.
    """
    outcome = Outcome()
    timeout = int(plan.fault * 1000)
    settings = {
        # An attempt that a hole swallows is over before the hole is; a client that it swallows is not given up.
        "API_TIMEOUT": TIMEOUT if weather.fault.hole or weather.fault.share else str(timeout * 4),
        "API_RETRY_FOR": "60000",
        "WS_TIMEOUT": str(timeout * 2),
    }
    async with set_up(settings, start=False) as rig, Proxy(rig.api.port) as far, Proxy(rig.port) as near:
        await rig.start(api_port=far.port if leg == "api" else None)
        proxy, port = (far, rig.port) if leg == "api" else (near, near.port)
        count = max(2, int(plan.network_clients * weather.clients))
        clients = await connect_all(port, [f"/sender/{number}" for number in range(count)])
        async with sending(clients, plan.rate, MESSAGE):
            await asyncio.sleep(plan.fault / 4)
            proxy.set(weather.fault)
            await asyncio.sleep(plan.fault)
            proxy.set(WELL)
            mended = monotonic()
            await asyncio.sleep(plan.fault / 4)
        sent = sum(client.sent for client in clients)
        if leg == "api" or not weather.ends:
            await rig.api.until(lambda counts: counts.messages >= sent, SETTLE_LIMIT)
            outcome.figures["seconds until all had come"] = monotonic() - mended
            await close_all(clients)
        else:
            # A client behind a half-open connection would wait in vain for an answer to its Close frame.
            for client in clients:
                client.drop()
        counts = await rig.api.quiet(SETTLE_LIMIT)
        may_end = (LOST,) if leg == "clients" and weather.ends else ()
        outcome.add(compare(await rig.api.accounts(), clients, may_end=may_end))
        assert rig.gateway is not None
        outcome.add(rig.gateway.faults())
        ended = proxy.ended
    outcome.figures |= {
        "clients": len(clients),
        "messages sent": sent,
        "messages at the API": counts.messages,
        "calls repeated": counts.repeats,
        "connections that the fault ended": ended,
    }
    outcome.check(counts.messages > 0, "no message came at all")
    outcome.check(not weather.ends or ended > 0, "no connection was ended, so nothing was tried")
    return outcome
