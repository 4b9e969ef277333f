"""
The workloads, each in a module of its own.

To add one, write a class with the methods of :class:`Workload` and name it in :func:`all_workloads`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from bench.machine import Cores
from bench.rig import Measurement, Plan
from bench.systems import System


class Workload(Protocol):
    """Something to measure."""

    @property
    def name(self) -> str:
        """Its name in tables and options."""

    @property
    def metrics(self) -> Mapping[str, str]:
        """The unit of each metric, in the order of the table."""

    @property
    def saturates(self) -> bool:
        """Whether it is meant to take all of the system's core."""

    def rounds(self, plan: Plan) -> int:
        """How often it is run."""

    def measure(self, system: System, load_program: Path, cores: Cores, plan: Plan) -> Measurement:
        """
        One run.

        :param load_program: the compiled generator.
        :raises BenchError: it could not be run at all.
        """


def all_workloads() -> dict[str, Workload]:
    """Every workload by its name."""
    from bench.workloads.handshakes import Handshakes
    from bench.workloads.idle import Idle
    from bench.workloads.messages import Messages
    from bench.workloads.pushes import Pushes

    workloads: list[Workload] = [Idle(), Messages(), Pushes(64), Pushes(4096), Handshakes()]
    return {workload.name: workload for workload in workloads}
