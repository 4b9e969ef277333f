"""
The workloads, each in a module of its own.

To add one, write a class with the methods of :class:`Workload` and name it in :func:`all_workloads`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from bench.rig import Measurement, Setting
from bench.systems import Ability, System


class Workload(Protocol):
    """Something to measure."""

    @property
    def name(self) -> str:
        """Its name in tables and options."""

    @property
    def metrics(self) -> Mapping[str, str]:
        """The unit of each metric, in the order of the table."""

    @property
    def needs(self) -> frozenset[Ability]:
        """What a system must be able to do, or it is left out."""

    @property
    def saturates(self) -> bool:
        """Whether it is meant to take all of the system's core."""

    @property
    def tls(self) -> bool:
        """Whether it needs TLS."""

    def measure(self, system: System, setting: Setting) -> Measurement:
        """
        One run.

        :raises BenchError: it could not be run at all.
        """


def all_workloads() -> dict[str, Workload]:
    """Every workload by its name."""
    from bench.workloads.echo import Echo
    from bench.workloads.handshakes import Handshakes
    from bench.workloads.idle import Idle, Memory
    from bench.workloads.messages import Messages
    from bench.workloads.publish import Lag, Membership, Publish
    from bench.workloads.pushes import VARIANTS, Pushes

    workloads: list[Workload] = [
        Messages(),
        Pushes(64),
        Pushes(4096),
        *(Pushes(64, variant=variant) for variant in VARIANTS),
        Handshakes(),
        Echo(),
        Messages(tls=True),
        Pushes(64, tls=True),
        Pushes(4096, tls=True),
        Messages(crowd=True),
        Publish(64),
        Publish(1024),
        Lag(),
        Idle(),
        Memory(),
        Memory(tls=True),
        Membership(),
    ]
    return {workload.name: workload for workload in workloads}
