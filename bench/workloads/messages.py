"""Clients that send: each message becomes a PUT at the API."""

from __future__ import annotations

from pathlib import Path

from bench.machine import Cores
from bench.rig import Measurement, Plan, set_up
from bench.systems import System


class Messages:
    """Messages of 64 bytes from many clients, several of each on their way; counted where they arrive, at the API."""

    name = "messages-64"
    metrics = {"messages": "1/s"}
    saturates = True

    def rounds(self, plan: Plan) -> int:
        """How often it is run."""
        return plan.rounds

    def measure(self, system: System, load_program: Path, cores: Cores, plan: Plan) -> Measurement:
        """One run."""
        with set_up(system, load_program, cores, "messages", size=64, waiting=plan.waiting) as rig:
            rig.load.open(plan.clients)
            work, busy, faults = rig.run(plan.warm, plan.seconds)
        return Measurement({"messages": work.delivered / work.seconds}, busy, faults)
