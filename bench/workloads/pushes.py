"""Pushes: each request becomes a message at a client."""

from __future__ import annotations

from bench.rig import Measurement, Setting, set_up
from bench.systems import System

ADDRESS_LIMIT = 10.0  #: seconds for the API to know the address of every client


class Pushes:
    """
    Pushes on some keep-alive connections to all clients in turn; counted where they arrive, at the clients.

    :param size: of a message, in bytes.
    :param tls: whether clients speak TLS, and pushers where the system lets them.
    """

    metrics = {"pushes": "1/s", "accepted": "1/s"}
    saturates = True

    def __init__(self, size: int, tls: bool = False) -> None:
        self.name = f"pushes-{size}" + ("-tls" if tls else "")
        self.tls = tls
        self._size = size

    def measure(self, system: System, setting: Setting) -> Measurement:
        """One run."""
        plan = setting.plan
        with set_up(system, setting, "pushes", tls=self.tls, pushers=plan.pushers) as rig:
            rig.load.open(plan.clients)
            uris = rig.api.ws_uris(plan.clients, ADDRESS_LIMIT)
            rig.load.prepare([rig.instance.push_request(uri, b"p" * self._size) for uri in uris])
            work, busy, faults = rig.run(plan.warm, plan.seconds)
        values = {"pushes": work.received / work.seconds, "accepted": work.answered / work.seconds}
        return Measurement(values, busy, faults)
