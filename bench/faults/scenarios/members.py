"""Members of a group: some that never read, and all of them when the gateway stops or is killed in the midst."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from bench.faults.clients import LOST, close_all, connect_all, numbered
from bench.faults.groups import BEHIND, GROUP, SETTINGS, Answer, Members, Pusher, counts_that_differ, pushers
from bench.faults.hostile import Watch, attacked
from bench.faults.ledger import Account, broken_rules
from bench.faults.outcome import Outcome
from bench.faults.plan import Plan
from bench.faults.rig import Rig, set_up
from bench.faults.scenarios.drain import GOING_AWAY
from bench.faults.scenarios.memory import BASE, KIB, UNSENT

SLOW = 1013
PUBLISHED = 8192  #: bytes of a publish
BUFFER = 131072  #: WS_MAX_BUFFER: so that a client that does not read is soon without room
#: What one that never reads may take beside what the kernel holds: its place in queues, and the rest of one frame.
QUEUED = 2 * PUBLISHED
READ_LIMIT = 60.0  #: seconds for the honest to have what was published
SETTLE_LIMIT = 60.0  #: seconds to the last DELETE
SEED = 12


async def deaf(plan: Plan) -> Outcome:
    """Publish to members of whom some never read: the others get everything, these are closed, memory is bounded."""
    outcome = Outcome()
    count, slow = plan.members, plan.deaf_members
    # Nobody is given up while the buffers fill.
    settings = {**SETTINGS, "WS_TIMEOUT": "120000", "WS_MAX_BUFFER": str(BUFFER), "WS_MAX_MESSAGE": str(BUFFER // 2)}
    async with set_up(settings) as rig, attacked(rig, "member", slow, 600) as attackers:
        await rig.api.until(lambda counts: counts.granted >= slow, READ_LIMIT)
        clients = await connect_all(rig.port, [f"/group/{GROUP}/reader-{number}" for number in range(count)])
        members = Members(clients)
        async with Watch(rig) as watch, pushers(rig.port) as (pusher,):
            answers = await _publish(pusher, members, plan.publishes)
            outcome.check(await members.have(plan.publishes, READ_LIMIT), "honest members lack messages")
            left = await pusher.ask("GET", f"/groups/{GROUP}")
        await attackers.stop()
        await close_all(clients)
        counts = await rig.api.quiet(SETTLE_LIMIT)
        accounts = await rig.api.accounts()
        assert rig.gateway is not None
        outcome.add(rig.gateway.faults())
    base, peak = watch.samples[0], watch.peak
    closed = [account for account in accounts if account.by == "slow"]
    outcome.figures = {
        "members that read": count,
        "members that never read": slow,
        "publishes": len(answers),
        "deliveries to the former": members.received,
        "members closed with 1013": len(closed),
        "KiB that each of them took at the peak": (peak.total - base.total) / slow / KIB,
        "of which in the kernel": (peak.kernel - base.kernel) / slow / KIB,
        "KiB that each may take": (QUEUED + UNSENT) / KIB,
    }
    outcome.series = {
        "process, MiB": [sample.process / KIB / KIB for sample in watch.samples],
        "kernel, MiB": [sample.kernel / KIB / KIB for sample in watch.samples],
    }
    outcome.at = watch.at
    outcome.add(members.problems)
    outcome.add(counts_that_differ(answers))
    outcome.add(broken_rules(accounts))
    outcome.add([f"a publish was answered with {a.status} {a.values}" for a in answers if a.status != 200])
    outcome.check(not counts.owed, f"{counts.owed} DELETEs are missing")
    outcome.check(left.values.get("members") == count, f"{left.values} members are left of {count} that read")
    told = sum(answer.values.get("closed", 0) for answer in answers)
    outcome.check(told == len(closed) == slow, f"{told} were said to be closed, {len(closed)} were, of {slow}")
    outcome.check(all(account.code == SLOW for account in closed), "not all of them were closed with 1013")
    taken, bound = peak.process - base.process, BASE + slow * QUEUED
    outcome.check(taken <= bound, f"{taken / KIB:,.0f} KiB were taken, of {bound / KIB:,.0f} that may be")
    taken, bound = peak.kernel - base.kernel, BASE + slow * UNSENT + count * BEHIND * PUBLISHED
    outcome.check(taken <= bound, f"the kernel holds {taken / KIB:,.0f} KiB, of {bound / KIB:,.0f} that may be")
    return outcome


async def _publish(pusher: Pusher, members: Members, publishes: int) -> list[Answer]:
    """Publish numbered messages, never too many for those who read."""
    answers: list[Answer] = []
    for number in range(1, publishes + 1):
        await members.have(number - BEHIND, READ_LIMIT)
        answers.append(await pusher.ask("PUT", f"/groups/{GROUP}", numbered(number, PUBLISHED)))
    return answers


async def interrupted(plan: Plan, *, killed: bool) -> Outcome:
    """
    End the gateway while something is published, and start it again.

    :param killed: whether it is killed, again and again; otherwise it is told to stop.
    """
    outcome = Outcome()
    dice = random.Random(SEED)  # nosec B311  # for a load, not for secrets
    published = deliveries = paid = 0
    settings = {**SETTINGS, "WS_TIMEOUT": "60000", "DRAIN_TIMEOUT": str(int(plan.drain * 1000))}
    async with set_up(settings, journal=True) as rig:
        for _ in range(plan.group_kills if killed else 1):
            paths = [f"/group/{GROUP}/user-{number}" for number in range(plan.members)]
            members = Members(await connect_all(rig.port, paths))
            begun, answered = await _end_in_the_midst(rig, plan, members, dice, outcome, killed=killed)
            before = await rig.api.counts()
            await rig.start()
            await rig.api.quiet(SETTLE_LIMIT)
            accounts = await rig.api.accounts()
            outcome.add(members.problems)
            outcome.add(broken_rules(accounts))
            outcome.add(_wrong_ends(accounts, killed=killed))
            outcome.check(max(members.seen) <= begun, "more came than was published")
            # What was answered with 200 goes out before the Close.
            least = min(members.seen)
            outcome.check(killed or least >= answered, f"one has {least} messages of {answered} answered with 200")
            outcome.check(killed or not before.owed, f"{before.owed} DELETEs did not come before the end")
            assert rig.gateway is not None
            outcome.add(rig.gateway.faults())
            published, deliveries, paid = published + answered, deliveries + members.received, paid + len(accounts)
            await rig.api.order("forget")
    outcome.figures |= {
        "members": plan.members,
        "publishes answered with 200": published,
        "deliveries": deliveries,
        "DELETEs with Ws-User": paid,
    }
    outcome.check(published > 0 and paid >= plan.members, "there was nothing to see")
    return outcome


async def _end_in_the_midst(
    rig: Rig, plan: Plan, members: Members, dice: random.Random, outcome: Outcome, *, killed: bool
) -> tuple[int, int]:
    """
    Publish until the gateway has ended.

    :returns: how many publishes were begun, and how many were answered with 200 before it was told to end.
    """
    assert rig.gateway is not None
    begun = answered = 0

    async def publish(pusher: Pusher) -> None:
        nonlocal begun, answered
        while True:
            await members.have(begun - BEHIND, READ_LIMIT)
            begun += 1
            try:
                answer = await pusher.ask("PUT", f"/groups/{GROUP}", numbered(begun, PUBLISHED))
            except (OSError, asyncio.IncompleteReadError):
                return
            if answer.status != 200:
                begun -= 1  # nothing was sent, so that the number is free
                return
            answered = begun

    async with pushers(rig.port) as (pusher,):
        publishing = asyncio.ensure_future(publish(pusher))
        await asyncio.sleep(dice.uniform(1.0, 2.0))
        before = answered
        if killed:
            await asyncio.to_thread(rig.gateway.kill)
        else:
            status = await rig.gateway.drain(plan.drain + plan.slack)
            outcome.check(status is not None, f"it still ran {plan.drain + plan.slack:.0f} s after SIGTERM")
        codes = {await client.ended() for client in members.clients}
        outcome.check(codes == {LOST if killed else GOING_AWAY}, f"members ended with {codes}")
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)
    return begun, before


def _wrong_ends(accounts: Sequence[Account], *, killed: bool) -> list[str]:
    """DELETEs that lack what the API had set, or what the connection was in; the latter a crash has wiped out."""
    groups = "" if killed else GROUP
    return [
        f"{account.client}: a DELETE with Ws-User {account.user!r} and Ws-Groups {account.groups!r}"
        for account in accounts
        if account.user != account.client.rpartition("/")[2] or account.groups != groups
    ]
