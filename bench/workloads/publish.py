"""Publishes: each request becomes a message at every member of a group."""

from __future__ import annotations

import socket
import time

from bench.load import NUMBER
from bench.programs import BenchError, resident_bytes, wait_until
from bench.rig import Measurement, Rig, Setting, Window, set_up
from bench.systems import SUBSCRIBE, USER, Ability, System

DIRECT_CLIENTS = 64  #: that are in no group, and get direct pushes
ADDRESS_LIMIT = 10.0  #: seconds for the API to know the address of every client
REST = 0.5  #: seconds between two windows
SETTLE = 1.0  #: seconds before memory is read
JOIN_LIMIT = 20.0  #: seconds for a request that lets thousands join


def numbered(size: int) -> bytes:
    """A message that the generator makes another one each time."""
    return NUMBER.ljust(size, b"p")


def prepare_publishes(rig: Rig, size: int) -> None:
    """
    Give the pushers a publish of so many bytes.

    :raises BenchError: the system does not publish.
    """
    if rig.instance.publish_request is None:
        raise BenchError("it does not publish")
    rig.load.prepare([rig.instance.publish_request(numbered(size))])


def wait_for_subscribers(rig: Rig, number: int) -> None:
    """
    Wait until the API was asked for all of them: where they have to ask after their handshake, that takes a while.

    :raises BenchError: it was not.
    """
    if not wait_until(lambda: rig.api.counts().connects >= number, ADDRESS_LIMIT):
        raise BenchError(f"{rig.api.counts().connects} of {number} subscribers came to the API")
    time.sleep(REST)


class Publish:
    """
    Publishes to a group of thousands, as many as go, a few on their way at a time; counted where they arrive.

    Members see to it that each has the same messages in the same order, and none is left out.

    :param size: of a message, in bytes.
    """

    metrics = {"deliveries": "1/s", "publishes": "1/s"}
    needs = frozenset({Ability.GROUPS})
    saturates = True
    tls = False

    def __init__(self, size: int) -> None:
        self.name = f"publish-{size}"
        self._size = size

    def measure(self, system: System, setting: Setting) -> Measurement:
        """One run."""
        plan = setting.plan
        with set_up(system, setting, "publish", ask=SUBSCRIBE, pushers=plan.publishers) as rig:
            rig.load.open(plan.subscribers)
            wait_for_subscribers(rig, plan.subscribers)
            prepare_publishes(rig, self._size)
            window = rig.run(plan.warm, plan.seconds)
        work = window.work
        values = {"deliveries": work.received / work.seconds, "publishes": work.answered / work.seconds}
        return window.measurement(values)


class Lag:
    """
    How late things are: deliveries of publishes at half the highest rate; and direct pushes to others, first without
    publishes, then among publishes that follow each other without a pause.

    Latency counts from the moment at which a request was due.
    """

    name = "publish-lag"
    metrics = {
        "p50": "ms",
        "p99": "ms",
        "push p50, quiet": "ms",
        "push p99, quiet": "ms",
        "push p50": "ms",
        "push p99": "ms",
        "push p99 more": "ms",
    }
    needs = frozenset({Ability.API, Ability.GROUPS})
    saturates = False
    tls = False

    def measure(self, system: System, setting: Setting) -> Measurement:
        """One run."""
        plan = setting.plan
        with set_up(system, setting, "publish", ask=SUBSCRIBE, pushers=1, direct=DIRECT_CLIENTS) as rig:
            rig.load.open(DIRECT_CLIENTS)
            uris = rig.api.ws_uris(DIRECT_CLIENTS, ADDRESS_LIMIT)
            rig.load.open(plan.lag_subscribers)
            rig.load.prepare([rig.instance.push_request(uri, numbered(64)) for uri in uris], "direct")
            quiet = rig.run(plan.warm, plan.lag_seconds, direct=plan.direct)
            prepare_publishes(rig, 64)
            full = rig.run(plan.warm, plan.lag_seconds, direct=plan.direct)
            time.sleep(REST)
            highest = full.work.answered / full.work.seconds
            if not highest:
                raise BenchError(f"{system.name} did not answer a single publish: {full.work.first_error}")
            half = rig.run(plan.warm, plan.lag_seconds, highest / 2)
        return self._measurement(quiet, full, half)

    def _measurement(self, quiet: Window, full: Window, half: Window) -> Measurement:
        values = {
            "push p50, quiet": quiet.work.p50 * 1000,
            "push p99, quiet": quiet.work.p99 * 1000,
            "push p50": full.work.p50 * 1000,
            "push p99": full.work.p99 * 1000,
            "push p99 more": (full.work.p99 - quiet.work.p99) * 1000,
            "p50": half.work.p50 * 1000,
            "p99": half.work.p99 * 1000,
            "publishes": full.work.answered / full.work.seconds,
            "longest": full.work.longest * 1000,
            "pushes": full.work.latencies,
        }
        windows = (quiet, full, half)
        faults = list(dict.fromkeys(fault for window in windows for fault in window.faults))
        return Measurement(values, full.busy, faults, limits=[limit for window in windows for limit in window.limits])


class Membership:
    """What a membership costs in memory: all clients of a user join one group after the other."""

    name = "publish-memory"
    metrics = {"membership": "B"}
    needs = frozenset({Ability.USERS})
    saturates = False
    tls = False

    def measure(self, system: System, setting: Setting) -> Measurement:
        """One run. The first membership of each client is not counted: it brings what others use as well."""
        plan = setting.plan
        with set_up(system, setting, "idle", ask=USER, room=plan.lag_subscribers) as rig:
            rig.load.open(plan.lag_subscribers)
            join_all(rig, "first")
            time.sleep(SETTLE)
            before = resident_bytes(rig.pids())
            for number in range(plan.member_groups):
                join_all(rig, f"group-{number}")
            time.sleep(SETTLE)
            memberships = plan.lag_subscribers * plan.member_groups
            values = {"membership": (resident_bytes(rig.pids()) - before) / memberships}
            window = rig.run(0, 0.5)
        return window.measurement(values)


def join_all(rig: Rig, group: str) -> None:
    """
    Let all clients join a group.

    :raises BenchError: they may not.
    """
    if rig.instance.join_request is None:
        raise BenchError("it has no users")
    with socket.create_connection(("127.0.0.1", rig.instance.push_port), timeout=JOIN_LIMIT) as channel:
        channel.sendall(rig.instance.join_request(group))
        answer = channel.recv(65536).decode("latin-1")
    if not answer.startswith("HTTP/1.1 200 "):
        raise BenchError(f"nobody could join: {answer[:200]}")
