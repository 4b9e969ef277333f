"""The API that the system under test calls: the compiled ``sink/``, which says yes to everything and counts."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from bench.ports import free_port
from bench.programs import Program, wait_until

_COUNTS = struct.Struct("=5Q")  #: struct counts of sink.c


@dataclass(frozen=True)
class Counts:
    """
    What has arrived so far.

    :param connects: clients that asked to connect.
    :param messages: messages of clients.
    :param disconnects: connections that were said to be over.
    :param requests: HTTP requests of any kind.
    :param malformed: requests that could not be understood.
    """

    connects: int
    messages: int
    disconnects: int
    requests: int
    malformed: int


class Api(Program):
    """
    A running API, ready when the constructor returns.

    :param program: the compiled API.
    :param directory: an empty folder for its files.
    :param core: where it runs.
    :param limit: seconds after which it ends by itself.
    :raises BenchError: it does not start.
    """

    def __init__(self, program: Path, directory: Path, core: int, limit: int) -> None:
        self.port = free_port()
        self.counters = directory / "counters"
        self._uris = directory / "uris"
        options = {"port": self.port, "counters": self.counters, "uris": self._uris, "limit": limit}
        arguments: list[str | Path] = [program]
        for name, value in options.items():
            arguments += [f"--{name}", str(value)]
        super().__init__(arguments, core, directory / "api.log")
        self.wait_for_port_or_stop(self.port)

    def counts(self) -> Counts:
        """What has arrived so far."""
        return Counts(*_COUNTS.unpack(self.counters.read_bytes()[: _COUNTS.size]))

    def ws_uris(self, expected: int, timeout: float) -> list[str]:
        """
        The addresses of all clients so far.

        :param expected: how many to wait for.
        :param timeout: seconds to wait for them.
        :raises BenchError: fewer came.
        """
        found: set[str] = set()

        def complete() -> bool:
            found.update(self._uris.read_text("utf-8").splitlines())
            return len(found) >= expected

        if not wait_until(complete, timeout):
            raise self.error(f"was told {len(found)} of {expected} addresses to push to")
        return sorted(found)
