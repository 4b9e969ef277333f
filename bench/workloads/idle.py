"""Clients that say nothing: what each costs in memory, what their pings cost, how late the system answers others."""

from __future__ import annotations

import time

from bench.programs import resident_bytes
from bench.rig import Measurement, Rig, Setting, set_up
from bench.systems import System

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
            quiet, busy, faults = rig.run(0, plan.idle_seconds)
            if quiet.open != plan.idle[-1]:
                faults.append(f"{quiet.open} of {plan.idle[-1]} clients were still open after the quiet part")
            churn, _, problems = rig.run(plan.warm, plan.churn_seconds, plan.churn)
        if churn.open != plan.idle[-1]:
            problems.append(f"{churn.open} of {plan.idle[-1]} clients were still open at the end")
        values |= {"pings": quiet.pings / quiet.seconds, "cpu": busy["system"] * 100}
        if problems:  # memory and pings stand all the same
            return Measurement(values, busy, faults, [f"no figures with churn: {problem}" for problem in problems])
        values |= {
            "churn": churn.opened / churn.seconds,
            "lag p50": churn.p50 * 1000,
            "lag p99": churn.p99 * 1000,
            "lag p99.9": churn.p999 * 1000,
            "longest": churn.longest * 1000,
        }
        return Measurement(values, busy, faults)


class IdleTls:
    """Memory at each number of idle clients that speak TLS."""

    name = "idle-tls"
    metrics = {"memory": "KiB/client", "base": "MiB"}
    saturates = False
    tls = True

    def measure(self, system: System, setting: Setting) -> Measurement:
        """One run."""
        plan = setting.plan
        with set_up(system, setting, "idle", tls=True, room=plan.idle_tls[-1]) as rig:
            values = memory(rig, plan.idle_tls)
            _, busy, faults = rig.run(0, 0.5)
        return Measurement(values, busy, faults)
