"""Clients that come and go: a handshake with its POST, a closing handshake with its DELETE."""

from __future__ import annotations

from pathlib import Path

from bench.machine import Cores
from bench.rig import Measurement, Plan, set_up
from bench.systems import System


class Handshakes:
    """Clients that leave as soon as they are in, and are followed by the next."""

    name = "handshakes"
    metrics = {"handshakes": "1/s", "closes": "1/s"}
    saturates = True

    def rounds(self, plan: Plan) -> int:
        """How often it is run."""
        return plan.rounds

    def measure(self, system: System, load_program: Path, cores: Cores, plan: Plan) -> Measurement:
        """One run."""
        with set_up(system, load_program, cores, "handshakes", parallel=plan.handshakes) as rig:
            work, busy, faults = rig.run(plan.warm, plan.seconds)
        values = {"handshakes": work.opened / work.seconds, "closes": work.closed / work.seconds}
        return Measurement(values, busy, faults)
