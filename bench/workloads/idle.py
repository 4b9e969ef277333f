"""Clients that say nothing: what each costs in memory, what their pings cost, how late the system answers others."""

from __future__ import annotations

import time

from bench.programs import resident_bytes
from bench.rig import Measurement, Rig, Setting, set_up
from bench.systems import Ability, System

SETTLE = 1.0  #: seconds between the last handshake and the reading of memory
VISITORS = 512  #: places for clients that come and go


def memory(rig: Rig, numbers: tuple[int, ...]) -> dict[str, float]:
    """
    Open clients and read the memory at each number of them.

    ``memory`` and ``base`` are slope and intercept of the straight line through the first and the last number. A
    process without any client is not on that line: it has never answered anybody.
    """
    resident: list[int] = []
    for before, clients in zip((0, *numbers), numbers, strict=False):
        rig.load.open(clients - before)
        time.sleep(SETTLE)
        resident.append(resident_bytes(rig.pids()))
    slope = (resident[-1] - resident[0]) / (numbers[-1] - numbers[0])
    values = {"memory": slope / 1024, "base": (resident[0] - slope * numbers[0]) / 2**20}
    return values | {f"resident_{n}": size / 2**20 for n, size in zip(numbers, resident, strict=True)}


class Idle:
    """Memory at each number of idle clients; at the last, the CPU time of pings, and lag while others come and go."""

    name = "idle"
    metrics = {
        "memory": "KiB/client",
        "base": "MiB",
        "pings": "1/s",
        "cpu": "% of a core",
        "churn": "1/s",
        "lag p50": "ms",
        "lag p99": "ms",
        "lag p99.9": "ms",
    }
    needs = frozenset({Ability.API})
    saturates = False
    tls = False

    def measure(self, system: System, setting: Setting) -> Measurement:
        """
        One run.

        Lag is measured from outside: how late the answers to HTTP requests are, one of which is due every 5 ms.
        """
        plan = setting.plan
        with set_up(system, setting, "idle", room=plan.idle[-1], parallel=VISITORS) as rig:
            values = memory(rig, plan.idle)
            quiet = rig.run(0, plan.idle_seconds)
            work, busy, faults = quiet.work, quiet.busy, quiet.faults
            if work.open != plan.idle[-1]:
                faults.append(f"{work.open} of {plan.idle[-1]} clients were still open after the quiet part")
            noisy = rig.run(plan.warm, plan.churn_seconds, plan.churn)
        churn, problems = noisy.work, [*noisy.faults, *noisy.limits]
        if churn.open != plan.idle[-1]:
            problems.append(f"{churn.open} of {plan.idle[-1]} clients were still open at the end")
        values |= {"pings": work.pings / work.seconds, "cpu": busy["system"] * 100}
        if problems:  # memory and pings stand all the same
            return quiet.measurement(values, [f"no figures with churn: {problem}" for problem in problems])
        values |= {
            "churn": churn.opened / churn.seconds,
            "lag p50": churn.p50 * 1000,
            "lag p99": churn.p99 * 1000,
            "lag p99.9": churn.p999 * 1000,
            "longest": churn.longest * 1000,
        }
        return quiet.measurement(values)


class Memory:
    """
    Memory at each number of idle clients, and nothing else.

    :param tls: whether they speak TLS.
    """

    metrics = {"memory": "KiB/client", "base": "MiB"}
    needs = frozenset({Ability.API})
    saturates = False

    def __init__(self, tls: bool = False) -> None:
        self.name = "idle-tls" if tls else "idle-memory"
        self.tls = tls

    def measure(self, system: System, setting: Setting) -> Measurement:
        """One run."""
        numbers = setting.plan.idle_tls if self.tls else setting.plan.idle
        with set_up(system, setting, "idle", tls=self.tls, room=numbers[-1]) as rig:
            values = memory(rig, numbers)
            window = rig.run(0, 0.5)
        return window.measurement(values)
