"""The compiled programs: the load generator of ``generator/``, driven line by line, and the API of ``sink/``."""

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

SOURCES = Path(__file__).parent
#: Stands in a request, once at most, where the generator puts a number of as many digits, a new one each time.
NUMBER = b"@" * 16
TLS = ("-DWITH_TLS", "-lssl", "-lcrypto")


def find_compiler() -> str | None:
    """A C compiler, or None."""
    return shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")


@dataclass(frozen=True)
class Compiled:
    """
    The compiled programs.

    :param load: the load generator.
    :param sink: the API.
    :param tls: whether the load generator can speak TLS.
    """

    load: Path
    sink: Path
    tls: bool


def _compile(program: Path, folder: Path, options: Sequence[str]) -> str:
    """
    Compile the C files of a folder.

    :returns: what the compiler complained about, if it gave up.
    :raises BenchError: there is no compiler.
    """
    compiler = find_compiler()
    if compiler is None:
        raise BenchError("a C compiler is needed and not installed")
    done = subprocess.run(  # nosec B603  # the compiler that was found, and files of ours
        [compiler, "-O2", "-o", program, *sorted(folder.glob("*.c")), *options],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return (done.stderr or "the compiler failed") if done.returncode else ""


def compile_programs(directory: Path) -> Compiled:
    """
    Compile both; without OpenSSL's headers, the load generator cannot speak TLS.

    :param directory: takes the programs.
    :raises BenchError: there is no compiler, or it does not understand the source.
    """
    load, sink = directory / "load", directory / "sink"
    problem = _compile(sink, SOURCES / "sink", [])
    tls = not problem and not _compile(load, SOURCES / "generator", [*TLS, "-lm"])
    if not problem and not tls:
        problem = _compile(load, SOURCES / "generator", ["-lm"])
    if problem:
        raise BenchError(f"the load generator or its API does not compile:\n{problem}")
    return Compiled(load, sink, tls)


@dataclass(frozen=True)
class Work:
    """
    What the generator did in a counted window.

    :param seconds: length of the window.
    :param cpu: CPU seconds that the generator itself took.
    :param sent: messages by clients, or pushes or publishes by pushers.
    :param answered: pushes answered with 2xx; in ``publish`` publishes alone.
    :param refused: pushes answered otherwise.
    :param received: messages that arrived at clients; in ``publish`` deliveries of publishes alone.
    :param delivered: messages that arrived at the API.
    :param disconnects: connections that the API was told to be over.
    :param opened: handshakes finished.
    :param closed: closing handshakes finished.
    :param pings: pings that clients answered.
    :param open: clients open at the end.
    :param errors: everything that went wrong since the start of the program.
    :param latencies: how many latencies were measured; those below are in seconds.
    :param p50: what half of them do not exceed.
    :param p99: what 99 % of them do not exceed.
    :param p999: what 99.9 % of them do not exceed.
    :param longest: the longest.
    :param first_error: what the first error was.
    """

    seconds: float
    cpu: float
    sent: int
    answered: int
    refused: int
    received: int
    delivered: int
    disconnects: int
    opened: int
    closed: int
    pings: int
    open: int
    errors: int
    latencies: int
    p50: float
    p99: float
    p999: float
    longest: float
    first_error: str


class Load(Program):
    """
    A running generator.

    :param program: the compiled generator.
    :param mode: ``idle``, ``messages``, ``pushes``, ``handshakes``, ``echo`` or ``publish``.
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
        **options: str | int | Path,
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

    def open(self, clients: int, timeout: float = 180.0) -> None:
        """
        Open more clients.

        :param timeout: seconds for all of them.
        :raises BenchError: some could not be opened.
        """
        self.tell(f"open {clients}")
        event = self._event("opened", timeout)
        if event["failed"] or event["errors"]:
            raise self.error(f"could not open every client: {event['first_error']}")

    def prepare(self, requests: Sequence[bytes], kind: str = "requests") -> None:
        """
        Give the pushers what they send, in turn: whole HTTP requests. :data:`NUMBER` in one is another each time.

        :param kind: ``requests``, or ``direct`` for direct pushes beside publishes.
        """
        file = self._directory / kind
        file.write_bytes(b"".join(b"%d %d\n%s" % (len(request), request.find(NUMBER), request) for request in requests))
        self.tell(f"{kind} {file}")

    def run(self, warm: float, seconds: float, mark: Callable[[], None], rate: float = 0, direct: float = 0) -> Work:
        """
        Do the work of the mode.

        :param warm: seconds before the counted window.
        :param seconds: length of the window.
        :param mark: called at its beginning and at its end.
        :param rate: messages, handshakes or publishes a second where the mode has a rate; 0: as many as go, or none.
        :param direct: direct pushes a second, beside publishes.
        """
        self.tell(f"run {warm} {seconds} {rate} {direct}")
        self._event("begin", warm + 30)
        mark()
        event = self._event("end", seconds + 30)
        mark()
        return Work(**event)
