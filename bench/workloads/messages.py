"""Clients that send: each message becomes a call of the API."""

from __future__ import annotations

from typing import Any

from bench.rig import Measurement, Setting, set_up
from bench.systems import Ability, System


class Messages:
    """
    Messages of 64 bytes from many clients, several of each on their way; counted where they arrive, at the API.

    :param tls: whether clients speak TLS.
    :param crowd: whether many more clients are open, which say nothing.
    """

    metrics = {"messages": "1/s"}
    needs = frozenset({Ability.API})
    saturates = True

    def __init__(self, tls: bool = False, crowd: bool = False) -> None:
        self.name = "messages-64" + ("-tls" if tls else "") + ("-crowd" if crowd else "")
        self.tls = tls
        self._crowd = crowd

    def measure(self, system: System, setting: Setting) -> Measurement:
        """One run."""
        plan = setting.plan
        options: dict[str, Any] = {"size": 64, "waiting": plan.waiting, "active": plan.clients}
        with set_up(system, setting, "messages", tls=self.tls, **options) as rig:
            rig.load.open(plan.crowd if self._crowd else plan.clients)
            window = rig.run(plan.warm, plan.seconds)
        return window.measurement({"messages": window.work.delivered / window.work.seconds})
