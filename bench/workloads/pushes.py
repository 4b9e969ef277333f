"""Pushes: each PUT becomes a message at a client."""

from __future__ import annotations

from pathlib import Path

from bench.machine import Cores
from bench.rig import Measurement, Plan, set_up
from bench.systems import System

ADDRESS_LIMIT = 10.0  #: seconds for the API to know the address of every client


class Pushes:
    """
    Pushes on some keep-alive connections to all clients in turn; counted where they arrive, at the clients.

    :param size: of a message, in bytes.
    """

    metrics = {"pushes": "1/s", "accepted": "1/s"}
    saturates = True

    def __init__(self, size: int) -> None:
        self.name = f"pushes-{size}"
        self._size = size

    def rounds(self, plan: Plan) -> int:
        """How often it is run."""
        return plan.rounds

    def measure(self, system: System, load_program: Path, cores: Cores, plan: Plan) -> Measurement:
        """One run."""
        with set_up(system, load_program, cores, "pushes", api_path="/logged", pushers=plan.pushers) as rig:
            rig.load.open(plan.clients)
            uris = rig.api.ws_uris(plan.clients, ADDRESS_LIMIT)
            rig.load.prepare([rig.instance.push_request(uri, b"p" * self._size) for uri in uris])
            work, busy, faults = rig.run(plan.warm, plan.seconds)
        values = {"pushes": work.received / work.seconds, "accepted": work.answered / work.seconds}
        return Measurement(values, busy, faults)
