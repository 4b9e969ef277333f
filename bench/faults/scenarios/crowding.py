"""Joins and publishes by the million: what they take has a bound, and what was answered with 200 was done."""

from __future__ import annotations

import asyncio
from array import array
from collections import Counter
from itertools import count
from urllib.parse import urlsplit

from bench.faults.clients import Client, close_all, connect_all, numbered
from bench.faults.groups import GROUP, SETTINGS, Answer, Pusher, counts_that_differ, pushers, request, statuses
from bench.faults.hostile import Watch
from bench.faults.outcome import Outcome
from bench.faults.plan import Plan
from bench.faults.rig import set_up
from bench.faults.scenarios.memory import BASE, KIB, SMALL

MOST_MEMBERSHIPS = 100_000  #: of a process with a low bound of connections
MEMBERSHIP = 768  #: bytes of one in a group that nobody else is in, with that group
QUEUE = 64 * KIB * KIB  #: bytes of publishes that are being worked off
KEYS, KEY = 65_536, 512  #: how many are remembered, and the bytes of each
JOINERS = 8  #: connections
AT_A_TIME = 50  #: requests one behind the other
READERS = 10
READ_LIMIT = 60.0  #: seconds for the readers to have what was published
SETTLE_LIMIT = 60.0  #: seconds to the last DELETE


async def joins(plan: Plan) -> Outcome:
    """Have clients join more groups than they may, with names that nobody had before, leave them all, and on."""
    outcome = Outcome()
    most_groups = plan.groups_each * 9 // 10
    settings = {**SETTINGS, "WS_MAX_GROUPS": str(most_groups), "WS_MAX_CONNECTIONS": "1000"}
    found: Counter[int] = Counter()
    most = left = 0
    async with set_up(settings) as rig:
        clients = await connect_all(rig.port, [f"/joiner/{number}" for number in range(plan.join_clients)])
        paths = [urlsplit(account.uri).path for account in await rig.api.accounts()]
        async with Watch(rig) as watch, pushers(rig.port, JOINERS) as connections:
            while found.total() < plan.joins:
                tries = Tries(paths, plan.groups_each, found.total())
                await asyncio.gather(*(tries.work_off(pusher) for pusher in connections))
                found += tries.statuses
                most = max(most, tries.statuses[200])
                requests = [request("DELETE", f"{path}/groups") for path in paths]
                answers = await connections[0].ask_all(requests)
                left += sum(answer.values["left"] for answer in answers)
        await close_all(clients)
        counts = await rig.api.quiet(SETTLE_LIMIT)
        assert rig.gateway is not None
        outcome.add(rig.gateway.faults())
    base, peak, after = watch.samples[0], watch.peak, watch.samples[-1]
    taken, bound = peak.total - base.total, BASE + MOST_MEMBERSHIPS * MEMBERSHIP
    outcome.figures = {
        "clients": len(clients),
        "joins tried": found.total(),
        "joined": found[200],
        "refused with 409": found[409],
        "refused with 503": found[503],
        "memberships at a time, at most": most,
        "MiB taken at the peak": taken / KIB / KIB,
        "MiB that may be": bound / KIB / KIB,
        "MiB in all afterwards": after.total / KIB / KIB,
    }
    outcome.series = {"process, MiB": [sample.process / KIB / KIB for sample in watch.samples]}
    outcome.at = watch.at
    outcome.check(set(found) <= {200, 409, 503}, f"joins were answered with {found}")
    outcome.check(bool(found[409]), "nobody was in as many groups as may be")
    outcome.check(most <= min(MOST_MEMBERSHIPS, len(clients) * most_groups), f"there were {most} memberships at a time")
    outcome.check(left == found[200], f"{found[200]} joined, and {left} left")
    outcome.check(taken <= bound, f"{taken / KIB:,.0f} KiB were taken, of {bound / KIB:,.0f} that may be")
    outcome.check(not counts.owed, f"{counts.owed} DELETEs are missing")
    return outcome


class Tries:
    """
    Clients that join one after the other, each group under a name of its own.

    :param paths: of their ws_uri.
    :param each: groups that each of them tries.
    :param first: the number of the first name.
    """

    def __init__(self, paths: list[str], each: int, first: int) -> None:
        names = count(first)
        self._requests = iter([request("PUT", f"{path}/groups/g{next(names)}") for path in paths for _ in range(each)])
        self.statuses: Counter[int] = Counter()

    async def work_off(self, pusher: Pusher) -> None:
        """Send what is left, with others."""
        while some := [one for _, one in zip(range(AT_A_TIME), self._requests, strict=False)]:
            self.statuses += statuses(await pusher.ask_all(some))


class Readers:
    """
    Members that note which messages they got, and in which order.

    :param clients: they themselves.
    """

    def __init__(self, clients: list[Client]) -> None:
        self.seen = [array("L") for _ in clients]
        for client, numbers in zip(clients, self.seen, strict=True):
            client.on_message = lambda payload, numbers=numbers: numbers.append(int(payload.partition(b":")[0]))

    async def have(self, number: int, timeout: float) -> None:
        """
        Wait until each has so many.

        :param timeout: seconds; then that is for the caller to see.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while min(map(len, self.seen)) < number and loop.time() < deadline:
            await asyncio.sleep(0.05)


async def publishes(plan: Plan) -> Outcome:
    """Publish without a pause on more connections than may wait, every other time with a key of its own."""
    outcome = Outcome()
    numbers = iter(range(1, plan.flood + 1))
    taken_numbers = array("L")
    found: Counter[int] = Counter()
    wrong: list[str] = []

    async def flood(pusher: Pusher) -> None:
        for number in numbers:
            key = f"key-{number}" if number % 2 else ""
            answer = await pusher.ask("PUT", f"/groups/{GROUP}", numbered(number, 64), key)
            note(answer, number)

    def note(answer: Answer, number: int) -> None:
        found[answer.status] += 1
        if answer.status == 200:
            taken_numbers.append(number)
            wrong.extend(counts_that_differ([answer]))

    async with set_up({**SETTINGS, "WS_TIMEOUT": "120000"}) as rig:
        clients = await connect_all(rig.port, [f"/group/{GROUP}/reader-{number}" for number in range(READERS)])
        readers = Readers(clients)
        async with Watch(rig) as watch, pushers(rig.port, plan.flood_pushers) as connections:
            await asyncio.gather(*(flood(pusher) for pusher in connections))
            await readers.have(len(taken_numbers), READ_LIMIT)
        await close_all(clients)
        counts = await rig.api.quiet(SETTLE_LIMIT)
        assert rig.gateway is not None
        outcome.add(rig.gateway.faults())
    base, peak, after = watch.samples[0], watch.peak, watch.samples[-1]
    taken, bound = peak.total - base.total, BASE + QUEUE + KEYS * KEY + plan.flood_pushers * SMALL
    outcome.figures = {
        "publishes tried": found.total(),
        "answered with 200": found[200],
        "refused with 503": found[503],
        "members": READERS,
        "deliveries": sum(map(len, readers.seen)),
        "MiB taken at the peak": taken / KIB / KIB,
        "MiB that may be": bound / KIB / KIB,
        "MiB in all afterwards": after.total / KIB / KIB,
    }
    outcome.series = {"process, MiB": [sample.process / KIB / KIB for sample in watch.samples]}
    outcome.at = watch.at
    outcome.add(wrong)
    outcome.check(set(found) <= {200, 503}, f"publishes were answered with {found}")
    first = readers.seen[0]
    outcome.check(all(seen == first for seen in readers.seen), "not all members got the same in the same order")
    outcome.check(
        len(first) == len(taken_numbers) and set(first) == set(taken_numbers),
        f"{len(taken_numbers)} were answered with 200, and {len(first)} came",
    )
    outcome.check(taken <= bound, f"{taken / KIB:,.0f} KiB were taken, of {bound / KIB:,.0f} that may be")
    outcome.check(not counts.owed, f"{counts.owed} DELETEs are missing")
    return outcome
