"""Messages that the API answers with messages: how long a client waits."""

from __future__ import annotations

import time
from typing import Any

from bench.programs import BenchError
from bench.rig import Measurement, Setting, set_up
from bench.systems import Ability, System

REST = 0.5  #: seconds between the two windows


class Echo:
    """
    First as many round trips as go; then half as many, at random moments, and their latencies.

    Latency counts from the moment at which a message was due, so a system that falls behind cannot hide it.
    """

    name = "echo-64"
    metrics = {"highest": "1/s", "p50": "ms", "p99": "ms", "p99.9": "ms"}
    needs = frozenset({Ability.API})
    saturates = False  # the second window is what it is about
    tls = False

    def measure(self, system: System, setting: Setting) -> Measurement:
        """One run."""
        plan = setting.plan
        options: dict[str, Any] = {"size": 64, "waiting": plan.waiting, "active": plan.clients}
        with set_up(system, setting, "echo", path="/echo", **options) as rig:
            rig.load.open(plan.clients)
            full = rig.run(plan.warm, plan.seconds)
            highest = full.work.received / full.work.seconds
            if not highest:
                raise BenchError(f"{system.name} did not answer a single message: {full.work.first_error}")
            time.sleep(REST)
            half = rig.run(plan.warm, plan.seconds, highest / 2)
        work = half.work
        values = {
            "highest": highest,
            "p50": work.p50 * 1000,
            "p99": work.p99 * 1000,
            "p99.9": work.p999 * 1000,
            "longest": work.longest * 1000,
            "rate": work.received / work.seconds,
        }
        faults = [*full.faults, *(fault for fault in half.faults if fault not in full.faults)]
        return Measurement(values, half.busy, faults, limits=[*full.limits, *half.limits])
