"""How much of everything: the whole, and a short form of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """
    Sizes of the scenarios. Times in seconds.

    :param clients: honest clients that send numbered messages while something is broken.
    :param rate: messages a second of each.
    :param outage: how long the API is down.
    :param fault: how long it answers wrongly, or a leg of the network is bad.
    :param network_clients: clients behind the proxy.
    :param drain: DRAIN_TIMEOUT where the API answers.
    :param slack: how long a process may take to end, beyond that.
    :param open: connections that are open when the gateway is killed.
    :param kills: how often it is killed.
    :param storm: clients that come and go at a time meanwhile.
    :param deaf: clients that never read.
    :param deaf_bytes: pushed to each of them.
    :param silent: connections that say nothing.
    :param attackers: hostile clients of each other kind.
    :param timeout: WS_TIMEOUT while they are there.
    :param honest: clients whose latency is compared.
    :param measured: how long it is measured.
    :param rounds: how often, in turn with and without attackers.
    :param slower: how many times as long the p99 of the honest may be among attackers.
    :param messages: of the soak.
    :param visits: connections of the soak.
    :param members: of a group, that read what is published.
    :param deaf_members: of the same group, that never read.
    :param publishes: to them.
    :param group_kills: how often the gateway is killed while something is published.
    :param join_clients: clients that join groups in turn.
    :param joins: tries to join, in all.
    :param groups_each: groups that each of them tries to be in at a time.
    :param flood: publishes without a pause, in all.
    :param flood_pushers: connections that they come on.
    :param cases: the Autobahn TestSuite's, as patterns.
    """

    clients: int = 200
    rate: float = 10.0
    outage: float = 30.0
    fault: float = 5.0
    network_clients: int = 100
    drain: float = 5.0
    slack: float = 3.0
    open: int = 10_000
    kills: int = 20
    storm: int = 100
    deaf: int = 1000
    deaf_bytes: int = 4 * 2**20
    silent: int = 10_000
    attackers: int = 100
    timeout: float = 4.0
    honest: int = 100
    measured: float = 5.0
    rounds: int = 3
    slower: float = 3.0
    messages: int = 2_000_000
    visits: int = 200_000
    members: int = 4000
    deaf_members: int = 1000
    publishes: int = 200
    group_kills: int = 5
    join_clients: int = 200
    joins: int = 1_000_000
    groups_each: int = 1000
    flood: int = 1_000_000
    flood_pushers: int = 1200
    cases: tuple[str, ...] = ("*",)


FULL = Plan()

#: Seconds in all: for every change.
QUICK = Plan(
    clients=20,
    rate=10.0,
    outage=2.0,
    fault=2.0,
    network_clients=10,
    drain=30.0,  # A loaded machine is slow, and nobody measures: what matters is that every DELETE comes.
    slack=60.0,
    open=200,
    kills=2,
    storm=10,
    deaf=20,
    deaf_bytes=2 * 2**20,
    silent=200,
    attackers=10,
    timeout=2.0,
    honest=20,
    measured=1.0,
    rounds=1,
    slower=1e6,  # A second says nothing about a p99; that everybody is served can be seen.
    messages=5_000,
    visits=500,
    members=40,
    deaf_members=10,
    publishes=120,
    group_kills=1,
    join_clients=10,
    joins=4000,
    groups_each=100,
    flood=4000,
    flood_pushers=100,
    cases=tuple(f"12.{kind}.3" for kind in range(1, 6)) + tuple(f"13.{kind}.3" for kind in range(1, 8)),
)
