"""Clients that say nothing: what each costs in memory, and what their pings cost in CPU time."""

from __future__ import annotations

import time
from pathlib import Path

from bench.machine import Cores
from bench.programs import resident_bytes
from bench.rig import Measurement, Plan, set_up
from bench.systems import System

SETTLE = 1.0  #: seconds between the last handshake and the reading of memory


class Idle:
    """Memory at each number of idle clients, then CPU time at the last of them."""

    name = "idle"
    metrics = {"memory": "KiB/client", "base": "MiB", "pings": "1/s", "cpu": "s/min"}
    saturates = False

    def rounds(self, plan: Plan) -> int:
        """How often it is run."""
        return plan.idle_rounds

    def measure(self, system: System, load_program: Path, cores: Cores, plan: Plan) -> Measurement:
        """
        One run.

        ``memory`` and ``base`` are slope and intercept of the straight line through resident memory at the first and
        the last number of clients. A process without any client is not on that line: it has never answered anybody.
        """
        resident: list[int] = []
        with set_up(system, load_program, cores, "idle", room=plan.idle[-1]) as rig:
            for before, clients in zip((0, *plan.idle), plan.idle, strict=False):
                rig.load.open(clients - before)
                time.sleep(SETTLE)
                resident.append(resident_bytes(rig.instance.pids()))
            work, busy, faults = rig.run(0, plan.idle_seconds)
        if work.open != plan.idle[-1]:
            faults.append(f"{work.open} of {plan.idle[-1]} clients were still open at the end")
        slope = (resident[-1] - resident[0]) / (plan.idle[-1] - plan.idle[0])
        values = {
            "memory": slope / 1024,
            "base": (resident[0] - slope * plan.idle[0]) / 2**20,
            "pings": work.pings / work.seconds,
            "cpu": busy["system"] * 60,
        }
        values |= {f"resident_{n}": size / 2**20 for n, size in zip(plan.idle, resident, strict=True)}
        return Measurement(values, busy, faults)
