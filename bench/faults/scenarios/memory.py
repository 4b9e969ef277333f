"""Attackers of each kind: what they take of the gateway's memory, the kernel's buffers counted, has a bound."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import urlsplit

from bench.faults.clients import RefusedError, connect
from bench.faults.hostile import Watch, attacked
from bench.faults.memory import available_bytes
from bench.faults.outcome import Outcome
from bench.faults.plan import Plan
from bench.faults.rig import Rig, set_up

KIB = 1024
MESSAGE = 131072  #: WS_MAX_MESSAGE
BUFFER = 1048576  #: WS_MAX_BUFFER
#: What the kernel holds at most for a client that is written to and does not read: SO_SNDBUF doubled, and its own.
UNSENT = 512 * KIB
#: What it holds at most of what a client sent and the gateway did not read yet.
UNREAD = 256 * KIB
SMALL = 24 * KIB  #: a connection without anything of a message

#: What one attacker of a kind may take, in bytes: kernel and process together.
BOUNDS = {
    "silent": SMALL,
    "mute": SMALL,
    "dripping": SMALL + MESSAGE,
    "heading": SMALL + UNREAD,
    "fragmenting": SMALL + UNREAD + 6 * MESSAGE,
    "bombing": SMALL + UNREAD + 4 * MESSAGE,
    "ignoring": SMALL + UNREAD + UNSENT + 2 * BUFFER,
}
#: Bytes beyond that which do not depend on how many there are: code that was never run before, fragmentation.
BASE = 24 * KIB * KIB

PUSHED = 16384  #: bytes of a push
PUSHERS = 16
IDLE = 2.0  #: seconds after which connections to the API are not kept any more
PATIENCE = 10.0  #: seconds for an honest client's handshake or echo
SETTLE_LIMIT = 20.0  #: seconds for the last DELETE
VISITS_EVERY = 0.2  #: seconds between two honest clients who look whether they are served


async def memory(plan: Plan, kind: str, count: int) -> Outcome:
    """Have a gateway attacked for longer than WS_TIMEOUT, while honest clients come and go."""
    outcome = Outcome()
    settings = {"WS_TIMEOUT": str(int(plan.timeout * 1000)), "WS_COMPRESSION": "on" if kind == "bombing" else "off"}
    seconds = 2.5 * plan.timeout
    async with set_up(settings) as rig:
        await rig.api.script(PUT="echo")
        await _visit(rig, 0)
        served = missed = 0
        async with Watch(rig) as watch, attacked(rig, kind, count, seconds) as attackers:
            ending = asyncio.ensure_future(attackers.result())
            while not ending.done():
                try:
                    await _visit(rig, served + missed + 1)
                    served += 1
                except (RefusedError, TimeoutError, OSError):
                    missed += 1
                await asyncio.wait([ending], timeout=VISITS_EVERY)
            result = await ending
            await rig.api.quiet(3 * plan.timeout + SETTLE_LIMIT)
            await asyncio.sleep(IDLE)
        counts = await rig.api.counts()
        base, peak, after = watch.samples[0], watch.peak, watch.samples[-1]
        outcome.check(not counts.owed, f"{counts.owed} DELETEs are missing")
        outcome.check(after.descriptors - base.descriptors < 20, f"{after.descriptors} descriptors are still open")
        assert rig.gateway is not None
        outcome.add(rig.gateway.faults())
    bound = BASE + count * BOUNDS[kind]
    outcome.figures = {
        "attackers": count,
        "connections that they made": result["connections"],
        "KiB that each took at the peak": (peak.total - base.total) / count / KIB,
        "of which in the kernel": (peak.kernel - base.kernel) / count / KIB,
        "KiB that each may take": BOUNDS[kind] / KIB,
        "MiB in all at the peak": peak.total / KIB / KIB,
        "MiB in all afterwards": after.total / KIB / KIB,
        "honest visits served": served,
        "honest visits refused": missed,
    } | {f"ended with {end}": number for end, number in sorted(result["ends"].items())}
    outcome.series = {
        "process, MiB": [sample.process / KIB / KIB for sample in watch.samples],
        "kernel, MiB": [sample.kernel / KIB / KIB for sample in watch.samples],
    }
    outcome.at = watch.at
    taken = peak.total - base.total
    outcome.check(taken <= bound, f"{taken / KIB:,.0f} KiB were taken, of {bound / KIB:,.0f} that may be")
    outcome.check(served > missed, f"{missed} of {served + missed} honest clients were not served")
    return outcome


async def _visit(rig: Rig, number: int) -> None:
    """An honest client comes, says something, hears its echo and leaves."""
    client = await connect(rig.port, f"/honest/{number}", source=number, timeout=PATIENCE)
    heard = asyncio.Event()
    client.on_message = lambda _: heard.set()
    try:
        await client.send()
        await asyncio.wait_for(heard.wait(), PATIENCE)
    finally:
        await client.close()


async def pushed(plan: Plan) -> Outcome:
    """Push to clients that never read, until there is no room, and on."""
    outcome = Outcome()
    count = plan.deaf
    bound = BASE + count * (SMALL + UNSENT + BUFFER)
    if available_bytes() < 2 * bound:
        outcome.skipped = f"needs {2 * bound / 2**30:.1f} GiB of free memory"
        return outcome
    # Nobody is given up while the buffers fill.
    async with set_up({"WS_TIMEOUT": "120000"}) as rig:
        async with Watch(rig) as watch, attacked(rig, "deaf", count, 600) as attackers:
            await rig.api.until(lambda counts: counts.granted >= count, 60)
            uris = [account.uri for account in await rig.api.accounts(only_open=True)]
            statuses = await push_all(rig.port, uris, plan.deaf_bytes // PUSHED, PUSHED)
            await watch.look()
            await attackers.stop()
            counts = await rig.api.quiet(60)
        base, peak, after = watch.samples[0], watch.peak, watch.samples[-1]
        outcome.check(not counts.owed, f"{counts.owed} DELETEs are missing")
    outcome.check(len(uris) == count, f"only {len(uris)} of {count} clients were there")
    taken = peak.total - base.total
    outcome.figures = {
        "clients": count,
        "pushes taken": statuses.get(200, 0),
        "pushes refused with 503": statuses.get(503, 0),
        "KiB that each took at the peak": taken / count / KIB,
        "of which in the kernel": (peak.kernel - base.kernel) / count / KIB,
        "KiB that each may take": (SMALL + UNSENT + BUFFER) / KIB,
        "MiB in all at the peak": peak.total / KIB / KIB,
        "MiB in all afterwards": after.total / KIB / KIB,
    }
    outcome.series = {
        "process, MiB": [sample.process / KIB / KIB for sample in watch.samples],
        "kernel, MiB": [sample.kernel / KIB / KIB for sample in watch.samples],
    }
    outcome.at = watch.at
    outcome.check(set(statuses) == {200, 503}, f"pushes were answered with {statuses}")
    outcome.check(taken <= bound, f"{taken / KIB:,.0f} KiB were taken, of {bound / KIB:,.0f} that may be")
    return outcome


async def push_all(port: int, uris: Sequence[str], rounds: int, size: int) -> dict[int, int]:
    """
    Push to each in turn, again and again.

    :param rounds: pushes to each.
    :param size: bytes of a push.
    :returns: how often each status was the answer.
    """
    statuses: dict[int, int] = {}
    paths = iter([urlsplit(uri).path for _ in range(rounds) for uri in uris])
    body = b"x" * size

    async def push() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for path in paths:
            writer.write(
                b"PUT %b HTTP/1.1\r\nHost: gateway\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b"
                % (path.encode("ascii"), size, body)
            )
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status = int(head[9:12])
            statuses[status] = statuses.get(status, 0) + 1
            length = next(line for line in head.lower().split("\r\n") if line.startswith("content-length:"))
            await reader.readexactly(int(length.partition(":")[2]))
        writer.close()

    await asyncio.gather(*(push() for _ in range(PUSHERS)))
    return statuses
