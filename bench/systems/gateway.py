"""WSAAS itself, as an operator runs it: ``twistd -n wsaas`` with default settings."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench.programs import Program, free_port
from wsaas import __version__

ROOT = Path(__file__).parent.parent.parent
_TWISTD = "from twisted.scripts.twistd import run; run()"


@dataclass(frozen=True)
class WsaasInstance:
    """
    A running gateway.

    :param program: its process.
    :param port: where it listens for clients and pushes.
    """

    program: Program
    port: int

    def pids(self) -> Sequence[int]:
        """Its one process."""
        return [self.program.pid]

    def push_request(self, ws_uri: str, body: bytes) -> bytes:
        """``PUT ws_uri``."""
        parts = urlsplit(ws_uri)
        head = (
            f"PUT {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            f"Content-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode("ascii") + body


class Wsaas:
    """This checkout's gateway under this very Python."""

    name = "wsaas"

    def missing(self) -> str | None:
        """Nothing: it is here."""
        return None

    def version(self) -> str:
        """The package's version."""
        return __version__

    def start(self, api_uri: str, core: int, directory: Path) -> WsaasInstance:
        """
        Start the gateway.

        :raises BenchError: it does not listen in time.
        """
        port = free_port()
        environment = {
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
            "API_URI": api_uri,
            "WS_HOSTNAME": f"http://127.0.0.1:{port}",
            # Many clients connect at once; the default backlog would make some of them wait for a repeated SYN.
            "WS_LISTEN": f"tcp:{port}:interface=127.0.0.1:backlog=1024",
        }
        arguments = [sys.executable, "-c", _TWISTD, "--nodaemon", "--pidfile=", "wsaas"]
        program = Program(arguments, core, directory / "wsaas.log", environment, cwd=directory)
        try:
            program.wait_for_port(port)
        except BaseException:  # SIGTERM's SystemExit too: nothing stays behind
            program.stop()
            raise
        return WsaasInstance(program, port)
