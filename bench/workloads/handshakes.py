"""Clients that come and go: a handshake with its POST, a closing handshake with its DELETE."""

from __future__ import annotations

from bench.rig import Measurement, Setting, set_up
from bench.systems import Ability, System


class Handshakes:
    """Clients that leave as soon as they are in, and are followed by the next; their DELETEs are counted at the API."""

    name = "handshakes"
    metrics = {"handshakes": "1/s", "disconnects": "1/s"}
    needs = frozenset({Ability.API})
    saturates = True
    tls = False

    def measure(self, system: System, setting: Setting) -> Measurement:
        """One run."""
        plan = setting.plan
        with set_up(system, setting, "handshakes", parallel=plan.handshakes) as rig:
            window = rig.run(plan.warm, plan.seconds)
        work = window.work
        values = {"handshakes": work.opened / work.seconds, "disconnects": work.disconnects / work.seconds}
        return window.measurement(values)
