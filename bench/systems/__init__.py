"""
The systems that can be measured, each in a module of its own.

A system is started for each run anew, on one core, and told where the API is. To add one, write a class with the
methods of :class:`System` and name it in :func:`all_systems`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from bench.programs import Program


class Instance(Protocol):
    """A running system."""

    @property
    def port(self) -> int:
        """Where WebSocket clients and pushers connect."""

    @property
    def program(self) -> Program:
        """What to stop."""

    def pids(self) -> Sequence[int]:
        """All its processes: what they use is what the system uses."""

    def push_request(self, ws_uri: str, body: bytes) -> bytes:
        """The whole HTTP request that pushes a text message to a client."""


class System(Protocol):
    """A system that can be started."""

    @property
    def name(self) -> str:
        """Its name in tables and options."""

    def missing(self) -> str | None:
        """Why it cannot be measured here, or None."""

    def version(self) -> str:
        """Its version."""

    def start(self, api_uri: str, core: int, directory: Path) -> Instance:
        """
        Start it and wait until it listens.

        :param api_uri: where its callbacks go.
        :param core: where it runs.
        :param directory: an empty folder for its files.
        :raises BenchError: it does not start.
        """


def all_systems() -> dict[str, System]:
    """Every system by its name."""
    from bench.systems.gateway import Wsaas

    systems: list[System] = [Wsaas()]
    return {system.name: system for system in systems}
