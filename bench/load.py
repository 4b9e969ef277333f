"""The load generator of ``generator/``: compiled at the start of a benchmark, driven line by line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.programs import BenchError, Program

SOURCES = Path(__file__).with_name("generator")


def find_compiler() -> str | None:
    """A C compiler, or None."""
    return shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")


def compile_load(directory: Path) -> Path:
    """
    Compile the generator.

    :param directory: takes the program.
    :returns: the program.
    :raises BenchError: there is no compiler, or it does not understand the source.
    """
    compiler = find_compiler()
    if compiler is None:
        raise BenchError("no C compiler is installed")
    program = directory / "load"
    done = subprocess.run(
        [compiler, "-O2", "-o", program, *sorted(SOURCES.glob("*.c"))],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"the load generator does not compile:\n{done.stderr}")
    return program


@dataclass(frozen=True)
class Work:
    """
    What the generator did in a counted window.

    :param seconds: length of the window.
    :param cpu: CPU seconds that the generator itself took.
    :param sent: messages by clients or pushes by pushers.
    :param answered: pushes answered with 2xx.
    :param refused: pushes answered otherwise.
    :param received: messages that arrived at clients.
    :param delivered: calls that arrived at the API (in ``messages`` only).
    :param opened: handshakes finished.
    :param closed: closing handshakes finished.
    :param pings: pings that clients answered.
    :param open: clients open at the end.
    :param errors: everything that went wrong since the start of the program.
    :param first_error: what the first of them was.
    """

    seconds: float
    cpu: float
    sent: int
    answered: int
    refused: int
    received: int
    delivered: int
    opened: int
    closed: int
    pings: int
    open: int
    errors: int
    first_error: str


class Load(Program):
    """
    A running generator.

    :param program: what :func:`compile_load` returned.
    :param mode: ``idle``, ``messages``, ``pushes`` or ``handshakes``.
    :param port: where the clients connect.
    :param core: where it runs.
    :param directory: takes its log.
    :param limit: seconds after which it ends by itself.
    :param options: further options, as in the comment of ``generator/main.c``.
    """

    def __init__(
        self,
        program: Path,
        mode: str,
        port: int,
        core: int,
        directory: Path,
        limit: int,
        **options: str | int,
    ) -> None:
        arguments: list[str | Path] = [program, mode, "--port", str(port), "--limit", str(limit)]
        for name, value in options.items():
            arguments += [f"--{name.replace('_', '-')}", str(value)]
        self._directory = directory
        super().__init__(arguments, core, directory / "load.log", dialogue=True)

    def _event(self, name: str, timeout: float) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.hear(timeout))
        if event.pop("event") != name:
            raise self.error(f"said {event} instead of {name!r}")
        return event

    def open(self, clients: int, timeout: float = 120.0) -> None:
        """
        Open more clients.

        :param timeout: seconds for all of them.
        :raises BenchError: some could not be opened.
        """
        self.tell(f"open {clients}")
        event = self._event("opened", timeout)
        if event["failed"] or event["errors"]:
            raise self.error(f"could not open every client: {event['first_error']}")

    def prepare(self, requests: Sequence[bytes]) -> None:
        """Give the pushers what they send, in turn: whole HTTP requests."""
        file = self._directory / "requests"
        file.write_bytes(b"".join(b"%d\n%s" % (len(request), request) for request in requests))
        self.tell(f"requests {file}")

    def run(self, warm: float, seconds: float, mark: Callable[[], None]) -> Work:
        """
        Do the work of the mode.

        :param warm: seconds before the counted window.
        :param seconds: length of the window.
        :param mark: called at its beginning and at its end.
        """
        self.tell(f"run {warm} {seconds}")
        self._event("begin", warm + 30)
        mark()
        event = self._event("end", seconds + 30)
        mark()
        return Work(**event)
